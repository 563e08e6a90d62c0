"""Studies of made-up runs."""

import itertools
import sys

import pytest

from keras_parity.study import jobs

_MAKE = "import shutil; shutil.copytree({source!r}, {target!r})"


@pytest.fixture
def studied(command, make_run, monkeypatch, tmp_path):
    """Runs a study whose trainings are made-up runs; gives (exit code, out, err, the jobs trained in their order).

    Jobs of which ``fails`` says so end in an error; ``values`` gives the figures of a job's run, and ``first`` what its
    training runs before all else.
    """
    trained, numbers = [], itertools.count(1000)

    def run(*arguments, fails=lambda job: False, values=lambda job: {}, first=lambda job: ""):
        def made(job):
            seed, framework = job.model.seed, job.framework
            trained.append((seed, job.model.align, framework))
            if fails(job):
                return [sys.executable, "-c", "raise SystemExit('no such luck')"]
            number = next(numbers)
            settings = {"align": job.model.align, "architecture": job.model.architecture}
            made = make_run(
                framework, number, epochs=job.trainer.max_epochs, settings=settings, seed=seed, **values(job)
            )
            folder = made.rename(tmp_path / f"made_{number}")
            target = tmp_path / job.trainer.log_dir / framework / f"version_{number}"
            return [sys.executable, "-c", first(job) + _MAKE.format(source=str(folder), target=str(target))]

        monkeypatch.setattr(jobs.Job, "command", property(made))
        trained.clear()
        return *command("keras_parity", "study", "--trainer.max_epochs=2", *arguments), list(trained)

    return run
