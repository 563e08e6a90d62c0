"""Which of several runs is the newest."""

from dataclasses import replace

from keras_parity.logs.run import newest_pair, read_run


def test_a_clock_that_goes_back_makes_no_run_older_than_the_one_before_it(make_run):
    runs = [read_run(make_run(framework, version)) for framework in ("keras", "pytorch") for version in (0, 9, 10)]
    back = [
        replace(
            run,
            points={
                tag: [point._replace(wall_time=1e9 - 3 * 3600 * (run.folder.name == "version_10")) for point in points]
                for tag, points in run.points.items()
            },
        )
        for run in runs
    ]
    assert {run.folder.name for run in newest_pair(back)} == {"version_10"}
