"""The reference runs: the tables, pictures and numbers that are shown follow from the raw runs."""

import io
import json
import re
import shutil
from statistics import mean

import numpy as np
import pytest
import yaml
from PIL import Image

from benchmarks import reference
from cnn_mnist.runs import tags
from cnn_mnist.runs.recorder import Recorder
from keras_parity.logs.event_files import read_scalars
from keras_parity.logs.folders import all_folders
from keras_parity.logs.run import read_run
from tests.conftest import PROJECT

MEANS = [f"{framework}/{network}" for framework in ("keras", "pytorch") for network in ("conv5x5", "three_conv")]


@pytest.fixture(scope="module")
def made(tmp_path_factory, data_dir):
    """A folder in which ``python -m benchmarks.reference`` has run anew."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "benchmarks").symlink_to(PROJECT / "benchmarks")
    (folder / "data").symlink_to(data_dir)
    (folder / "lightning_logs/reference").mkdir(parents=True)
    shutil.copy(PROJECT / "lightning_logs/README.md", folder / "lightning_logs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        reference.main()
    return folder / "lightning_logs"


@pytest.mark.parametrize("name", MEANS)
def test_the_repository_holds_what_the_script_makes_of_the_raw_runs(made, name):
    kept, anew = (folder / "reference" / name for folder in (PROJECT / "lightning_logs", made))
    assert read_scalars(kept) == read_scalars(anew)
    assert reference.read_pictures(kept) == reference.read_pictures(anew)
    assert reference.read_pictures(kept).keys() == {tags.EXAMPLES, tags.CONFUSION_MATRIX, tags.MISTAKES}


def test_a_point_is_the_mean_over_the_seeds_of_one_network():
    raw = PROJECT / "benchmarks/reference/keras"
    seeds = [read_scalars(raw / f"version_{version}").points["train/loss"] for version in range(10)]
    shown = read_scalars(PROJECT / "lightning_logs/reference/keras/three_conv").points["train/loss"]
    assert [point.step for point in shown] == [
        938 * epoch + n for epoch in range(10) for n in (*range(50, 938, 50), 938)
    ]
    expected = [mean(point.value for point in points) for points in zip(*seeds, strict=True)]
    assert [point.value for point in shown] == pytest.approx(expected)


def test_the_reference_says_when_the_reference_seeds_decide_and_how_mcnemar_errs():
    found = []
    for network in ("three_conv", "conv5x5"):
        runs = [read_run(folder) for folder in (PROJECT / "benchmarks/reference").glob("*/*")]
        of_it = sorted((run for run in runs if run.settings["model.architecture"] == network), key=lambda run: run.seed)
        sides = [[run for run in of_it if run.framework == framework] for framework in ("keras", "pytorch")]
        found.append([*re.findall(r"(\d+) pairs", reference.decided(*sides)), reference.swapped(*sides)])
    page = " ".join((PROJECT / "keras_parity/REFERENCE.md").read_text().split())
    assert f"stops after {found[0][0]} pairs of three_conv and {found[1][0]} of conv5x5" in page
    assert f"needs {found[0][1]} and {found[1][1]} pairs for 80% power" in page
    assert f"it gives p <= 0.05 in {re.search(r'[0-9]+%', found[0][2]).group()} of cases" in page


def _without_nulls(config):
    """Keras's trainer leaves a setting out that is None."""
    return {
        name: _without_nulls(value) if isinstance(value, dict) else value
        for name, value in config.items()
        if value is not None
    }


@pytest.mark.parametrize(("framework", "train"), [("keras", ["keras_parity"]), ("pytorch", ["cnn_mnist", "fit"])])
def test_the_saved_configuration_of_every_raw_run_loads_as_it_is(command, framework, train):
    kinds = {}
    for path in (PROJECT / "benchmarks/reference" / framework).glob("version_*/config.yaml"):
        config = yaml.safe_load(path.read_text())
        kinds.setdefault(json.dumps(config | {"seed_everything": None}), {})[config["seed_everything"]] = path
    assert [len(paths) for paths in kinds.values()] == [10, 10]  # two networks, whose runs differ in the seed alone
    for paths in kinds.values():
        path = paths[9]
        code, out, err = command(*train, f"--config={path}", "--print_config")
        assert (code, err) == (0, "")
        printed, saved = (_without_nulls(yaml.safe_load(text)) for text in (out, path.read_text()))
        if framework == "keras":
            assert printed["trainer"].pop("devices") == 1  # newer than these runs
        assert printed == saved


def test_compare_takes_none_of_them_for_a_users_run(made):
    assert [path for path in made.rglob("*tfevents*") if path.parent.name in ("three_conv", "compare")]
    assert all_folders(made) == []


def test_the_readme_of_the_logs_holds_todays_tables_and_every_picture(made):
    readme = (PROJECT / "lightning_logs/README.md").read_text()
    assert readme == (made / "README.md").read_text()
    assert readme.count("right in Keras only") > 1
    for path in (PROJECT / "lightning_logs/reference").glob("*.png"):
        assert f"(reference/{path.name})" in readme


def test_the_newest_picture_of_a_tag_is_read_as_the_png_file_that_it_is(tmp_path):
    writer, pixels = Recorder(tmp_path), np.full((3, 5, 3), 7, np.uint8)
    for step, drawn in enumerate((pixels, 255 - pixels)):
        writer.add_image("seen", drawn, step)
    (png,) = reference.read_pictures(tmp_path).values()
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), 255 - pixels)
