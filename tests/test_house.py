"""The rules of the house: who may import whom, how long a file may grow, what stands once, what earns its place."""

import ast
import re
from collections import defaultdict
from collections.abc import Collection
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import PROJECT

LIMIT = 220
"""About 200 lines a file; past that, look for the second role."""

TORCH = {"torch", "torchvision", "torchmetrics", "lightning"}
TENSORFLOW = {"tensorflow", "keras"}
BACKENDS = {"tensorflow", "jax", "torch"}

_ABSTRACT = {"cnn_mnist", "cnn_mnist.architecture", "cnn_mnist.data", "cnn_mnist.runs", "cnn_mnist.console"}
MAY_IMPORT = {  # room: the rooms that it may import beside itself; a package's own files are a room too
    "cnn_mnist": {"cnn_mnist.architecture"},
    "cnn_mnist.architecture": {"cnn_mnist"},
    "cnn_mnist.data": {"cnn_mnist", "cnn_mnist.architecture"},
    "cnn_mnist.runs": {"cnn_mnist", "cnn_mnist.architecture", "cnn_mnist.data"},
    "cnn_mnist.console": {"cnn_mnist", "cnn_mnist.architecture", "cnn_mnist.data", "cnn_mnist.runs"},
    "cnn_mnist.pytorch": _ABSTRACT,
    "keras_parity": {
        *_ABSTRACT,
        *(f"keras_parity.{room}" for room in ("twin", "logs", "compare", "ladder", "convert", "predict")),
    },
    "keras_parity.twin": {*_ABSTRACT, "keras_parity"},
    "keras_parity.logs": {*_ABSTRACT, "keras_parity"} - {"cnn_mnist.console"},  # a reader of logs needs no parser
    "keras_parity.compare": {*_ABSTRACT, "keras_parity", "keras_parity.logs"},
    "keras_parity.study": {*_ABSTRACT, "keras_parity", "keras_parity.logs", "keras_parity.compare"},
    "keras_parity.ladder": {*_ABSTRACT, "keras_parity", "keras_parity.twin", "cnn_mnist.pytorch"},
    "keras_parity.convert": {*_ABSTRACT, "keras_parity", "keras_parity.twin", "cnn_mnist.pytorch"},
    "keras_parity.predict": {*_ABSTRACT, "keras_parity", "keras_parity.twin", "cnn_mnist.pytorch"},
}
FRAMEWORKS = {  # room: what it may import of these; the other rooms import none
    "cnn_mnist.pytorch": TORCH,
    "keras_parity.twin": {"keras"},
    **{f"keras_parity.twin.engines.{backend}": {"keras", backend} for backend in BACKENDS},
    "keras_parity.ladder": TORCH | TENSORFLOW,
    "keras_parity.convert": TORCH | TENSORFLOW,
}
EXTRAS = (
    "cnn_mnist.data.digits",
    *(f"keras_parity.{room}" for room in ("convert", "ladder", "predict", "study")),
)
"""What the core does without: the door of its package alone imports an extra, and no extra another one."""

BOTH = "keras_parity/both_frameworks.py"
"""The one file outside a room that imports frameworks, in the order that does not crash."""

TRICKS = ("ctypes", "ModuleType", "sys.modules")
"""What a reader would not expect; a function that uses one says what it gains, in figures, or what crashes."""


def files(root: Path) -> list[Path]:
    return sorted(path for package in ("cnn_mnist", "keras_parity") for path in (root / package).rglob("*.py"))


def module_of(path: Path, root: Path) -> str:
    """The dotted name of a file."""
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def _file(name: str, modules: Collection[str]) -> str | None:
    """The module of ours that a dotted name is in, itself or one of its names."""
    return next((found for found in (name, name.rpartition(".")[0]) if found in modules), None)


def room(module: str) -> str:
    """The room of a dotted name, as far as it is one of ours."""
    parts = module.split(".")
    named = ".".join(parts[:2])
    return named if named in MAY_IMPORT else parts[0]


def imports(tree: ast.AST) -> set[str]:
    """Every module that a file imports anywhere, as written, and by ``import_module`` as far as it is written out."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            first = node.args[0].values[0] if isinstance(node.args[0], ast.JoinedStr) else node.args[0]
            names |= {str(first.value).rstrip(".")} if isinstance(first, ast.Constant) else set()
    return names


def constants(tree: ast.Module) -> dict[str, object]:
    """The names in capitals that a file sets to a number or a string."""
    found = {}
    for node in tree.body:
        value = getattr(node, "value", None)
        if isinstance(node, ast.Assign) and isinstance(value, ast.Constant) and not isinstance(value.value, bool):
            found |= {ast.unparse(target): value.value for target in node.targets}
    return {name: value for name, value in found.items() if name.isupper()}


@cache
def read(text: str) -> tuple[set[str], dict[str, object], str | None, list[str], bool]:
    """What the rules ask of a file: imports, constants, docstring, tricks without a figure, whether it reads argv."""
    tree = ast.parse(text)
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.argv"]
    argv = any(isinstance(node.ctx, ast.Load) for node in nodes) or "sys.argv" in imports(tree)
    return imports(tree), constants(tree), ast.get_docstring(tree), _tricks(tree), argv


def extra(module: str) -> str:
    """The extra that a dotted name is of; empty for the core."""
    return next((name for name in EXTRAS if f"{module}.".startswith(f"{name}.")), "")


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The groups of modules that import one another, whichever way round.

    Args:
        graph: What each module imports.
    """
    reached = {module: set(imported) for module, imported in graph.items()}
    for middle in graph:
        for module in graph:
            reached[module] |= reached[middle] if middle in reached[module] else set()
    groups = {tuple(sorted(m for m in graph if m in reached[n] and n in reached[m])) for n in graph if n in reached[n]}
    return sorted(map(list, groups))


def broken_rules(root: Path) -> list[str]:
    """What breaks a rule of the house under ``root``, one line each."""
    broken, where, graph = [], defaultdict(list), dict[str, set[str]]()
    modules = {module_of(path, root): path.relative_to(root).as_posix() for path in files(root)}
    for path in files(root):
        name, text, module = path.relative_to(root).as_posix(), path.read_text(), module_of(path, root)
        imported, own_constants, role, tricks, argv = read(text)
        here = room(module)
        roots = {module.split(".")[0] for module in imported}
        ours = {room(module) for module in imported if module.split(".")[0] in ("cnn_mnist", "keras_parity")}
        door = path.parent.parent == root and path.stem in ("__init__", "__main__")  # opens every room of its package
        allowed = {other for other in MAY_IMPORT if other.startswith(here)} | _ABSTRACT if door else MAY_IMPORT[here]
        broken += [f"{name}: imports {other}" for other in ours - allowed - {here}]
        if not door:  # it opens everything, so that it is in a circle with whatever names its package
            extras = set(map(extra, imported)) - {"", extra(module)}
            broken += [f"{name}: imports the extra {other}" for other in extras]
            graph[module] = {found for name in imported if (found := _file(name, modules.keys())) not in (module, None)}
        if argv and path.stem != "__main__":
            broken.append(f"{name}: reads sys.argv")
        if name != BOTH:
            own = FRAMEWORKS.get(module, FRAMEWORKS.get(here, set()))
            broken += [f"{name}: imports {other}" for other in roots & (TORCH | TENSORFLOW | BACKENDS) - own]
        if len(text.splitlines()) > LIMIT:
            broken.append(f"{name}: over {LIMIT} lines")
        if not role:
            broken.append(f"{name}: says no role")
        if path.name == "__init__.py" and path.parent.parent != root and "may import it" not in text.replace("\n", " "):
            broken += [f"{name}: does not say who may import it"] * ("no other room imports it" not in text)
        if path.name == "__init__.py" and module in (*MAY_IMPORT.keys() - {"cnn_mnist", "keras_parity"}, *EXTRAS):
            broken += [f"{name}: does not say Core or Extra"] * (("Extra: " if extra(module) else "Core") not in text)
        for constant in own_constants.items():
            where[constant].append(name)
        broken += [f"{name}: {line}" for line in tricks]
    broken += [f"{', '.join(modules[m] for m in group)}: a circle of files" for group in circles(graph)]
    broken += [f"{', '.join(names)}: {n} = {v!r} stands twice" for (n, v), names in where.items() if len(names) > 1]
    return broken


def _tricks(tree: ast.Module) -> list[str]:
    lines = []
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            continue
        used = [trick for trick in TRICKS if trick in ast.unparse(node)]
        documented = (isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node)) or ""
        earned = re.search(r"\d|half|third|quarter|seconds|crash|killed", documented)
        if used and not earned:
            lines.append(f"{getattr(node, 'name', 'module level')} uses {', '.join(used)} without a figure")
    return lines


def test_the_house_keeps_its_rules():
    assert broken_rules(PROJECT) == []
    assert len(files(PROJECT)) > 70


BREAKS = {
    "cnn_mnist/data/new/deep.py": ('"""Doc."""\nimport keras_parity.logs\n', "imports keras_parity.logs"),
    "cnn_mnist/pytorch/new.py": ('"""Doc."""\nimport tensorflow\n', "imports tensorflow"),
    "cnn_mnist/runs/new.py": ('"""Doc."""\ndef f():\n    from torch import nn\n', "imports torch"),
    "cnn_mnist/console/new.py": ('"""Doc."""\nimport_module("lightning.pytorch")\n', "imports lightning"),
    "cnn_mnist/architecture/new.py": ('"""Doc."""\nfrom cnn_mnist.data import mnist\n', "imports cnn_mnist.data"),
    "keras_parity/twin/engine.py": ('"""Doc."""\nimport jax\n', "imports jax"),
    "keras_parity/twin/new.py": ('"""Doc."""\nfrom cnn_mnist.pytorch import network\n', "imports cnn_mnist.pytorch"),
    "keras_parity/compare/new.py": ('"""Doc."""\nimport keras\n', "imports keras"),
    "keras_parity/study/new.py": ('"""Doc."""\nfrom keras_parity.twin import train\n', "imports keras_parity.twin"),
    "keras_parity/logs/new.py": ('"""Doc."""\nFILE = "mistakes.csv"\n', "stands twice"),
    "keras_parity/logs/long.py": ('"""Doc."""\n' + "x = 1\n" * LIMIT, f"over {LIMIT} lines"),
    "keras_parity/ladder/silent.py": ("x = 1\n", "says no role"),
    "keras_parity/ladder/rungs/__init__.py": ('"""Doc."""\n', "does not say who may import it"),
    "keras_parity/study/__init__.py": ('"""Core: the command may import it."""\n', "does not say Core or Extra"),
    "cnn_mnist/console/photos.py": (
        '"""Doc."""\ndef f():\n    from cnn_mnist.data.digits.read import read_digits\n',
        "imports the extra cnn_mnist.data.digits",
    ),
    "cnn_mnist/runs/tags.py": ('"""Doc."""\ndef f():\n    from cnn_mnist.runs import timing\n', "a circle of files"),
    "cnn_mnist/data/flags.py": ('"""Doc."""\nimport sys\nNUMBER = sys.argv[1]\n', "reads sys.argv"),
    "keras_parity/ladder/trick.py": (
        '"""Doc."""\ndef f():\n    """Quick."""\n    ctypes.CDLL(None)\n',
        "without a figure",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_rule_is_seen(tmp_path, name):
    for path in files(PROJECT):
        copy = tmp_path / path.relative_to(PROJECT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text())
    (tmp_path / name).parent.mkdir(exist_ok=True)
    text, complaint = BREAKS[name]
    (tmp_path / name).write_text(text)
    (line,) = broken_rules(tmp_path)
    assert name in line
    assert line.endswith(complaint) or complaint in line


SUBROOMS = {  # of the ladder: what each may import of the others
    "judge": set(),
    "capture": {"judge", "matching"},
    "matching": {"judge", "capture"},
    "rungs": {"judge", "capture", "matching"},
    "diagnosis": {"judge", "capture", "matching", "rungs"},
}


@pytest.mark.parametrize("inner", SUBROOMS)
def test_the_rooms_of_the_ladder_keep_their_order_and_the_judge_needs_no_tensorflow(inner):
    for path in (PROJECT / "keras_parity/ladder" / inner).glob("*.py"):
        imported = read(path.read_text())[0]
        rooms = {name.split(".")[2] for name in imported if name.startswith("keras_parity.ladder.")}
        assert rooms <= SUBROOMS[inner] | {inner}, path.name
        assert inner != "judge" or not any(name.startswith("tensorflow") for name in imported), path.name


def test_a_whole_fit_imports_neither_tensorflow_nor_keras(run_python, tiny_file):
    code = """
import sys
from cnn_mnist.pytorch import cli
assert not {"tensorflow", "keras"} & sys.modules.keys()
cli.main(sys.argv[1:])
print("imported:", {"tensorflow", "keras"} & sys.modules.keys())
"""
    flags = (f"--data.file={tiny_file}", "--trainer.max_epochs=1", "--trainer.enable_progress_bar=false")
    answer = run_python("-c", code, "fit", *flags)
    assert answer.stdout.endswith("imported: set()\n"), answer.stderr


def test_a_reader_of_logs_imports_no_parser(run_python):
    code = """
import sys
from keras_parity.logs import csv_files, event_files, event_writer, folders, run
print("imported:", [name for name in sys.modules if "jsonargparse" in name or name.startswith("cnn_mnist.console")])
"""
    answer = run_python("-c", code)
    assert answer.stdout.endswith("imported: []\n"), answer.stderr


@pytest.mark.parametrize("arguments", [("cnn_mnist", "summary"), ("cnn_mnist",), ("keras_parity", "--help")])
def test_what_computes_nothing_imports_no_framework(run_python, arguments):
    package, *words = arguments
    code = f"""
import atexit, sys
atexit.register(lambda: print("imported:", {TORCH | TENSORFLOW} & sys.modules.keys()))
from {package}.__main__ import main
main()
"""
    assert run_python("-c", code, *words).stdout.endswith("imported: set()\n")
