"""What ``python -m keras_parity compare`` makes of runs on several machines, on made-up runs."""

import json

import pytest
import yaml

from tests.logs import foreign

LAPTOP = {"device": "cpu", "cpu": "Laptop", "cores": 8, "threads": 8, "packages": {"torch": "2.9"}, "commit": "a" * 40}
SERVER = LAPTOP | {"cpu": "Server", "cores": 64, "threads": 64}
GPU = LAPTOP | {"device": "H200"}
TIMES = {"time/fit_seconds", "ms_per_step", "throughput/images_per_second", "time/setup_seconds"}


@pytest.fixture
def compare(command):
    return lambda *arguments: command("keras_parity", "compare", "lightning_logs/*/*", *arguments)


@pytest.fixture
def table(compare):
    """The one table of ``compare --format=json``."""

    def read():
        code, out, err = compare("--format=json")
        assert code == 0, err
        (found,) = json.loads(out)["tables"]
        return found

    return read


@pytest.fixture
def make_pairs(make_run):
    """Makes runs of both frameworks, a seed for each pair of environments."""

    def make(*environments):
        for seed, pair in enumerate(environments):
            for framework, environment in zip(("keras", "pytorch"), pair, strict=True):
                make_run(framework, seed, seed=seed, environment=environment)

    return make


def test_times_on_other_hardware_get_no_word_and_no_difference_but_keep_their_cells(compare, table, make_pairs):
    make_pairs(*[(LAPTOP, SERVER)] * 3)
    found = table()
    words = {key: verdict["word"] for key, verdict in found["verdicts"].items()}
    assert {key for key, word in words.items() if word == "other hardware"} == TIMES
    assert words["test/acc"] == words["test/loss"] == "same"
    assert all(found["verdicts"][key]["difference"]["mean"] is None for key in TIMES)
    _, out, _ = compare("--format=markdown")
    assert "| time (s) | other hardware |  | 18.8 ± 0.0 | 18.8 ± 0.0 |" in out
    assert "several machines: Keras on Laptop, 8 cores, PyTorch on Server, 64 cores; accuracies and losses are" in out


def test_times_by_the_wall_times_of_a_log_get_no_word_beside_measured_ones_but_keep_their_cells(
    compare, make_run, tmp_path
):
    for seed in range(3):
        foreign.write(tmp_path / f"lightning_logs/keras/version_{seed}", foreign.by_epoch("train_loss", steps=938))
        (make_run("pytorch", seed) / "config.yaml").unlink()
    _, out, _ = compare("--format=markdown")
    assert "| time (s) | other clock |  | 6.0 ± 0.0 | 18.8 ± 0.0 |" in out
    assert "| ms per step | other clock |" in out
    assert "| loss train | different |" in out
    assert "time/fit_seconds not compared: other clock" in compare("--max_difference=time/fit_seconds=9")[2]


def test_times_of_two_logs_by_their_wall_times_are_compared(compare, tmp_path):
    for framework in ("keras", "pytorch"):
        for seed in range(3):
            foreign.write(tmp_path / f"lightning_logs/{framework}/version_{seed}", foreign.by_epoch("train_loss"))
            (tmp_path / f"lightning_logs/{framework}/version_{seed}/environment.yaml").write_text(
                yaml.safe_dump(LAPTOP)
            )
    assert "| time (s) | same | +0.0%" in compare("--format=markdown")[1]


def test_threads_that_the_frameworks_chose_are_no_other_hardware(table, make_pairs):
    make_pairs(*[(LAPTOP, LAPTOP | {"threads": 4})] * 3)
    assert table()["verdicts"]["time/fit_seconds"]["word"] == "same"


def test_times_are_averaged_on_one_machine_and_on_that_which_both_share(compare, table, make_pairs):
    make_pairs(
        (LAPTOP, SERVER), (SERVER, SERVER), (LAPTOP, SERVER), (SERVER, SERVER), (SERVER, SERVER), (LAPTOP, SERVER)
    )
    found = table()
    assert [column["cells"]["time/fit_seconds"]["n"] for column in found["columns"][:2]] == [3, 6]
    assert [column["cells"]["test/acc"]["n"] for column in found["columns"][:2]] == [6, 6]
    assert found["verdicts"]["time/fit_seconds"]["basis"] == "3 and 6 runs"
    assert "Keras on Laptop, 8 cores (3 of 6 runs), Keras on Server, 64 cores (3 of 6 runs)" in compare()[1]


def test_the_cells_of_times_say_over_how_many_runs_they_are(compare, make_pairs):
    make_pairs((LAPTOP, LAPTOP), (LAPTOP, LAPTOP), (LAPTOP, LAPTOP | {"threads": 1}))
    assert "18.8 ± 0.0 (n = 2)" in compare("--format=markdown")[1]


@pytest.mark.parametrize(
    ("environments", "lacking"), [((LAPTOP, GPU), "tensorflow[and-cuda]"), ((GPU, LAPTOP), "torch")]
)
@pytest.mark.parametrize("form", ["rich", "markdown"])
def test_a_gpu_in_one_framework_alone_is_the_first_line(compare, make_pairs, environments, lacking, form):
    make_pairs(environments)
    first = compare(f"--format={form}")[1].splitlines()[0].replace("\\", "")  # Markdown escapes brackets
    assert "ran on a GPU (H200)" in first
    assert lacking in first


@pytest.mark.parametrize("environments", [(LAPTOP, LAPTOP), (GPU, GPU), (None, GPU), (None, None)])
def test_without_such_a_gpu_the_table_comes_first(compare, make_pairs, environments):
    make_pairs(environments)
    assert compare()[1].startswith("results\n")


def test_what_differs_in_the_environment_is_listed_and_that_alone(compare, make_pairs):
    newer = LAPTOP | {"packages": {"torch": "2.10"}, "commit": "b" * 40}
    make_pairs((LAPTOP, newer), (LAPTOP, LAPTOP))
    _, out, _ = compare("--format=markdown")
    listed = out.partition("What differs:\n\n")[2].partition("\n\n")[0].splitlines()
    assert listed == [
        "| setting | Keras | PyTorch |",
        "| --- | --- | --- |",
        f"| environment.commit | {'a' * 10} | {'a' * 10} or {'b' * 10} |",
        "| environment.packages.torch | 2.9 | 2.10 or 2.9 |",
    ]


def test_a_damaged_environment_is_one_that_is_not_known(compare, make_pairs, tmp_path):
    make_pairs((LAPTOP, LAPTOP))
    (tmp_path / "lightning_logs/keras/version_0/environment.yaml").write_text("device: [")
    code, out, err = compare("--format=markdown")
    assert (code, err) == (0, "")
    assert "| time (s) | unknown hardware |" in out
    assert "Keras on unknown hardware" in out
