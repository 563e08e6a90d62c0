"""In a notebook without ipywidgets: run by a real kernel."""

import re

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import PROJECT

TRAIN = """
from cnn_mnist import Classifier, MNISTDataModule
from lightning import Trainer
Trainer(max_epochs=2, accelerator="cpu").fit(Classifier(), MNISTDataModule(file={file!r}, val_size=50))
"""
TABLE = """
import keras_parity as kp
runs = [kp.read_run(folder) for folder in kp.find_folders(["lightning_logs"])]
kp.make_tables(runs)[0]
"""
CHECK = """
import keras
import numpy as np
from torch import nn
keras_model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
images = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
kp.check(nn.Linear(4, 2), keras_model, images, np.arange(8) % 2, weights="keras", steps=2)
"""


@pytest.fixture(scope="module")
def cells(tiny_file, tmp_path_factory):
    """The cells of a notebook after its run."""
    sources = TRAIN.format(file=str(tiny_file)), TABLE, CHECK
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    folder = tmp_path_factory.mktemp("notebook")
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(PROJECT))
        client.execute()
    return notebook.cells


def _printed(cell) -> str:
    return "".join(output.text for output in cell.outputs if output.get("name") == "stdout")


def _html(cell) -> str:
    return "".join(output.data["text/html"] for output in cell.outputs if "text/html" in output.get("data", {}))


def test_a_training_prints_a_line_for_each_epoch(cells):
    lines = re.findall(r"^epoch (\d)/2  4/4  \d+ s  loss \S+ acc \S+ val \S+ \S+$", _printed(cells[0]), re.MULTILINE)
    assert lines == ["1", "2"]


def test_a_table_and_a_report_are_shown_as_html(cells):
    table, report = _html(cells[1]), _html(cells[2])
    assert re.search(r"<table>.*PyTorch.*acc train.*</table>", table, re.DOTALL)
    assert report.startswith("<pre>same function, same training")
    assert _printed(cells[1]) == _printed(cells[2]) == ""
