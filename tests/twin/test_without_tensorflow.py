"""The twin on JAX where TensorFlow is not installed; and no backend imports another one."""

import pytest

from keras_parity.frameworks import RUN_NAMES
from tests.lives import NET, QUIET, held_by, same

pytest.importorskip("jax")


@pytest.fixture
def run(run_python, monkeypatch, tiny_file, tmp_path):
    """Runs commands in one process without TensorFlow, with Keras on JAX unless a command names another backend."""
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    (tmp_path / "net.yaml").write_text(NET)

    def run(*commands):
        data = f"--data.file={tiny_file}"
        lines = [line.replace("FLAGS", f"DATA {' '.join(QUIET)}").replace("DATA", data) for line in commands]
        return run_python("-m", "tests.twin.without_tensorflow", *lines)

    return run


def test_it_trains_resumes_converts_predicts_and_compares(run, data_dir, tmp_path):
    keras, convert = "lightning_logs/keras_jax/version_0", f"keras_parity convert --data.data_dir={data_dir}"
    answer = run(
        "keras_parity FLAGS --trainer.max_epochs=1 --trainer.precision=64-true --model.optimizer=adam",
        "keras_parity --resume=last --trainer.max_epochs=2",
        f"{convert} {keras} a.ckpt --with_optimizer",
        f"{convert} a.ckpt b.keras --with_optimizer",
        f"{convert} {keras} c.safetensors",
        f"{convert} c.safetensors d.keras",
        "keras_parity predict --ckpt_path=last",
        "keras_parity predict --ckpt_path=d.keras --ckpt_path=a.ckpt DATA",
        "cnn_mnist fit FLAGS --trainer.max_epochs=2 --trainer.precision=64-true --model.optimizer=adam",
        f"keras_parity compare {keras} lightning_logs/pytorch/version_0 --max_difference=test/loss=1e-5",
    )
    said = [line for line in answer.stderr.splitlines() if "batch norm: after 10 steps" not in line]
    assert (answer.returncode, said) == (0, [])
    assert answer.stdout.count(" 0 changed predictions") == 4
    assert "of 70 test images right" in answer.stdout
    assert "on JAX" in answer.stdout.rpartition("results\n")[2]
    (trained,) = (tmp_path / keras / "checkpoints").iterdir()
    assert same(held_by(tmp_path / "b.keras"), held_by(trained))


def test_a_missing_package_is_named_in_one_line(run):
    answer = run("keras_parity FLAGS --backend=tensorflow")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr == (
        "python -m keras_parity: error: Keras on tensorflow: expected the package tensorflow, found none; pip install "
        "tensorflow, or set KERAS_BACKEND=jax or KERAS_BACKEND=torch\n"
    )


@pytest.mark.parametrize("command", ["", "compare", "convert", "predict", "study"])
def test_every_command_prints_its_help(run, command):
    answer = run(f"keras_parity {command} --help")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.startswith("usage: python -m keras_parity")


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_whole_training_imports_no_other_backend(run_python, tiny_file, tmp_path, backend):
    (tmp_path / "net.yaml").write_text(NET)
    code = f"""
import sys
from keras_parity.__main__ import main
main()
print("imported:", {{name for name in {(RUN_NAMES.keys() | {"lightning"}) - {backend}} if sys.modules.get(name)}})
"""
    flags = (f"--data.file={tiny_file}", f"--backend={backend}", *QUIET)
    answer = run_python("-c", code, *flags)
    assert answer.stdout.endswith("imported: set()\n"), answer.stderr
