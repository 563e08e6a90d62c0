"""The rules of the house: who may import whom, and how long a file may grow."""

import ast
import gc
from pathlib import Path

import pytest

from cnn_mnist.importing import collector_at_rest
from tests.conftest import PROJECT

LIMIT = 220
"""About 200 lines a file; past that, look for the second role."""

FRAMEWORKS = {"torch", "torchvision", "torchmetrics", "lightning", "tensorflow", "keras"}

GROUND_FLOOR = [
    *("allocator", "architecture", "arguments", "batches", "digits", "errors", "hparams", "importing"),
    *("initial_weights", "layers", "layouts", "mistakes", "mnist", "no_tensorflow", "parts", "pictures"),
    *("random_streams", "readings", "results", "runs", "schedules", "settings", "summary", "tables", "timing"),
]


def _product() -> list[Path]:
    return sorted(path for package in ("cnn_mnist", "keras_parity") for path in (PROJECT / package).rglob("*.py"))


def _imports(path: Path) -> set[str]:
    """Every module that a file imports anywhere, as written."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _roots(path: Path) -> set[str]:
    return {name.split(".")[0] for name in _imports(path)}


@pytest.mark.parametrize("path", _product(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_file_has_one_role_and_says_it(path):
    text = path.read_text()
    assert len(text.splitlines()) <= LIMIT
    assert ast.get_docstring(ast.parse(text))


def test_cnn_mnist_never_imports_keras_parity_nor_its_frameworks():
    for path in (PROJECT / "cnn_mnist").glob("*.py"):
        assert not _roots(path) & {"keras_parity", "tensorflow", "keras"}, path


@pytest.mark.parametrize("name", GROUND_FLOOR)
def test_the_ground_floor_imports_no_framework_and_stands_on_itself(name):
    path = PROJECT / "cnn_mnist" / f"{name}.py"
    assert not _roots(path) & FRAMEWORKS
    ours = {imported.split(".")[1] for imported in _imports(path) if imported.startswith("cnn_mnist.")}
    assert ours <= set(GROUND_FLOOR)


def test_only_the_converter_and_the_ladder_have_both_frameworks():
    first_floor = {f"cnn_mnist.{path.stem}" for path in (PROJECT / "cnn_mnist").glob("*.py")}
    first_floor -= {f"cnn_mnist.{name}" for name in GROUND_FLOOR}
    with_torch = set()
    for path in (PROJECT / "keras_parity").glob("*.py"):
        imported = {name for name in _imports(path) if any(name.startswith(f"{floor}.") for floor in first_floor)}
        if imported or _roots(path) & {"torch", "lightning"}:
            with_torch.add(path.stem)
    assert with_torch <= {"both", "convert", "ladder", "port", "pytorch_files"}


def test_a_whole_fit_imports_neither_tensorflow_nor_keras(run_python, data_dir):
    code = """
import sys
from cnn_mnist import cli
assert not {"tensorflow", "keras"} & sys.modules.keys()
cli.main()
print("imported:", {"tensorflow", "keras"} & sys.modules.keys())
"""
    two_batches = [f"--trainer.limit_{loop}_batches=2" for loop in ("train", "test")]
    answer = run_python(
        "-c", code, "fit", f"--data.data_dir={data_dir}", "--trainer.max_epochs=1",
        "--trainer.enable_progress_bar=false", *two_batches,
    )  # fmt: skip
    assert answer.stdout.endswith("imported: set()\n"), answer.stderr


def test_summary_imports_no_framework(run_python):
    code = "import sys; from cnn_mnist.__main__ import main; main(); print(sorted(sys.modules))"
    answer = run_python("-c", code, "summary")
    assert "93,322" in answer.stdout
    modules = answer.stdout.splitlines()[-1]
    assert not [name for name in FRAMEWORKS if f"'{name}'" in modules]


def test_lightning_is_imported_without_scipy_signal_and_the_collector_works_afterwards(run_python):
    code = """
import atexit, gc, sys
atexit.register(lambda: print("scipy.signal" in sys.modules, gc.isenabled(), gc.get_freeze_count() > 0))
from cnn_mnist.__main__ import main
main()
"""
    answer = run_python("-c", code, "--help")
    assert answer.stdout.endswith("False True True\n"), answer.stderr


@pytest.mark.parametrize("when", ["meanwhile", "afterwards"])
def test_whoever_reads_scipy_signal_gets_the_real_one(run_python, when):
    use = "import scipy.signal; print(scipy.signal.windows.hamming(3).round(2).tolist())"
    meanwhile, afterwards = (use if when == moment else "pass" for moment in ("meanwhile", "afterwards"))
    code = f"""
from cnn_mnist.importing import importing_lightning
with importing_lightning():
    import torchmetrics
    {meanwhile}
{afterwards}
"""
    answer = run_python("-c", code)
    assert answer.stdout == "[0.08, 1.0, 0.08]\n", answer.stderr


def test_the_collector_works_again_after_an_import_that_fails():
    with pytest.raises(ImportError), collector_at_rest():
        import no_such_module  # noqa: F401
    assert gc.isenabled()
    gc.unfreeze()
