"""PyTorch and Keras in one process, in any order, before or after this project."""

import pytest

USE = """
import keras, torch
torch.optim.Adam(torch.nn.Linear(2, 2).parameters()).step()
print(keras.layers.Dense(3)(keras.ops.ones((1, 2))).shape)
"""

OURS = "from keras_parity.ladder import cli"  # imports both
ORDERS = [
    ("import torch", "import keras", OURS),
    ("import torch", OURS, "import keras"),
    ("import keras", "import torch", OURS),
    ("import keras", OURS, "import torch"),
    (OURS,),
]


@pytest.mark.parametrize("order", ORDERS, ids=" | ".join)
def test_both_work_whatever_is_imported_first(run_python, order):
    answer = run_python("-c", "\n".join(order) + USE)
    assert answer.returncode == 0, answer.stderr[-500:]
    assert answer.stdout == "(1, 3)\n"


def test_pytorch_works_behind_the_twin(run_python):
    twin = "from keras_parity.frameworks import importing_keras\nwith importing_keras():\n    import keras"
    assert run_python("-c", twin + USE).stdout == "(1, 3)\n"


@pytest.mark.parametrize("use", ["kp.check", "import tensorflow"])
def test_a_report_comes_without_tensorflows_log_unless_the_user_asks_for_it(run_python, monkeypatch, use):
    code = f"import keras_parity as kp, os; {use}; print(os.environ['TF_CPP_MIN_LOG_LEVEL'])"
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    quiet = run_python("-c", code)
    assert quiet.stdout == "3\n"
    assert len(quiet.stderr.splitlines()) <= (6 if use == "import tensorflow" else 0)  # before the level is read
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "1")
    assert run_python("-c", code).stdout == "1\n"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("fit", "python -m cnn_mnist fit trains in PyTorch, python -m keras_parity without a command in Keras"),
        ("summary", "python -m cnn_mnist summary does that"),
        ("compaer", "did you mean compare?"),
    ],
)
def test_an_unknown_command_names_the_one_that_was_meant(command, typed, meant):
    code, _, err = command("keras_parity", typed)
    assert (code, err.rpartition("; ")[2]) == (1, f"{meant}\n")


@pytest.mark.parametrize("before", ["", "import keras, os; del os.environ['KERAS_BACKEND']"], ids=["set", "imported"])
@pytest.mark.parametrize("used", ["from keras_parity import check", "from keras_parity import build_twin"])
def test_the_backend_that_the_user_chose_stays(run_python, monkeypatch, before, used):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    answer = run_python("-c", f"{before}\n{used}\nimport keras\nprint(keras.config.backend())")
    assert answer.stdout == "torch\n", answer.stderr


def test_a_second_backend_in_a_process_is_refused(run_python, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    answer = run_python("-c", "import keras\nfrom keras_parity.twin import cli\ncli.main(['--backend=tensorflow'], {})")
    assert "UserError: expected Keras on tensorflow, got Keras on torch; set KERAS_BACKEND=tensorflow" in answer.stderr


def test_triton_stays_where_tensorflow_is_looked_for_and_not_there(run_python):
    code = """
import sys
from tests.twin.without_tensorflow import WithoutTensorFlow, PathFinder
sys.meta_path[sys.meta_path.index(PathFinder)] = WithoutTensorFlow
import keras_parity
try:
    import tensorflow
except ModuleNotFoundError:
    print("triton" in sys.modules)
"""
    assert run_python("-c", code).stdout == "False\n"


@pytest.mark.parametrize(
    ("flags", "where"),
    [(["--backend=mxnet", "--resume=last"], "--backend"), (["--resume=last"], "KERAS_BACKEND")],
)
def test_an_unknown_backend_is_named_with_the_place_that_it_came_from(run_python, monkeypatch, flags, where):
    monkeypatch.setenv("KERAS_BACKEND", "openvino")
    answer = run_python("-m", "keras_parity", *flags)
    assert f"error: {where}: expected one of tensorflow, jax, torch, got" in answer.stderr
    assert (answer.returncode, answer.stderr.count("\n")) == (1, 1)


def test_a_run_that_names_no_backend_is_resumed_on_tensorflow(run_python, monkeypatch, tmp_path):
    run = tmp_path / "lightning_logs/keras/version_0"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("trainer: {log_dir: lightning_logs, max_epochs: 1}\n")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    answer = run_python("-m", "keras_parity", f"--resume={run}", "--backend=torch")
    assert "was trained on tensorflow; omit --backend=torch" in answer.stderr
