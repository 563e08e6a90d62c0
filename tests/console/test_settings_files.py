"""Settings files that somebody else wrote: nothing runs that should not, and nothing grows."""

import json
import random
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonargparse import capture_parser

from cnn_mnist.errors import UserError
from cnn_mnist.pytorch import cli
from cnn_mnist.runs.folder import read_config
from cnn_mnist.yaml_files import load_yaml
from keras_parity.twin.cli import build_parser
from tests.conftest import PROJECT

LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
LOOP = "a: &a [*a]"
REFUSED = (
    "expected classes of cnn_mnist, lightning, lightning_fabric, pytorch_lightning, torch, torchmetrics, got {}, whose "
    "code would run; add --allow_classes if you trust the settings"
)


@pytest.mark.parametrize("content", [LAUGHS, LOOP])
def test_yaml_whose_aliases_multiply_is_refused_at_once(command, tmp_path, content):
    assert len(LAUGHS) < 435
    (tmp_path / "config.yaml").write_text(content)
    assert read_config(tmp_path) is None
    for package, *arguments in ("cnn_mnist", "fit"), ("keras_parity",):
        code, out, err = command(package, *arguments, "--config=config.yaml")
        assert code in (1, 2)
        assert (out, err.count("\n")) == ("", 1)
        assert "got more through aliases; write them out" in err


def test_yaml_with_an_alias_is_read():
    assert load_yaml("a: &a {b: [1, 2]}\nc: *a\nd: {<<: *a}") == {
        "a": {"b": [1, 2]},
        "c": {"b": [1, 2]},
        "d": {"b": [1, 2]},
    }
    assert load_yaml("") is None
    with pytest.raises(UserError, match="got more through aliases"):
        load_yaml(f"[{'1,' * 100_000}]")


@pytest.mark.parametrize("content", [LAUGHS, LOOP])
def test_aliases_do_not_multiply_in_settings_within_settings_either(command, tmp_path, content):
    (tmp_path / "inner.yaml").write_text(content)
    (tmp_path / "outer.yaml").write_text("trainer: inner.yaml")
    (tmp_path / "text.yaml").write_text(yaml.safe_dump({"trainer": content}))
    for argument in "--trainer=inner.yaml", "--config=outer.yaml", "--config=text.yaml":
        code, out, err = command("cnn_mnist", "fit", argument)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "got more through aliases; write them out" in err


BROKEN = {
    "a date that is none": b"seed_everything: 2001-99-99",
    "Latin-1": "data: {data_dir: caf\u00e9}".encode("latin-1"),
    "UTF-16": "seed_everything: 1".encode("utf-16"),
    "no number": b"seed_everything: !!int x",
    "no truth": b"trainer: {enable_progress_bar: !!bool x}",
    "no time": b"trainer: {max_time: !!timestamp x}",
    "a tag that runs code": b"trainer: !!python/object/apply:os.system [touch ran]",
    "deep": b"[" * 5000,
    "control characters": b"seed_everything: \x00",
    "no mapping": b"- 1",
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_file_that_cannot_be_read_is_refused_in_one_line(command, tmp_path, content):
    (tmp_path / "own.yaml").write_bytes(content)
    for package, *arguments in (
        ("cnn_mnist", "fit", "--config=own.yaml"),
        ("cnn_mnist", "fit", "--trainer=own.yaml"),
        ("keras_parity", "--config=own.yaml"),
        ("keras_parity", "study", "--config=own.yaml"),
    ):
        code, out, err = command(package, *arguments)
        assert code in (1, 2)
        assert (out, err.count("\n")) == ("", 1)
        assert err.startswith(f"python -m {package}")
    assert not (tmp_path / "ran").exists()


STRANGERS = {  # what a settings file may name, and how its code would run
    "os.system": "trainer: {logger: {class_path: os.system, init_args: {command: touch ran}}}",
    "subprocess.Popen": "trainer: {callbacks: [{class_path: subprocess.Popen, init_args: {args: [touch, ran]}}]}",
    "beside.Callback": "trainer: {callbacks: [beside.Callback]}",
    "beside.Logger": "trainer: {logger: [{class_path: beside.Logger}]}",
    "beside.Profiler": "trainer: {profiler: beside.Profiler}",
    "builtins.print": "trainer: {callbacks: [{class_path: LambdaCallback, init_args: {on_fit_start: builtins.print}}]}",
    # Reached through a package that may be named:
    "torch.os.system": "trainer: {callbacks: [{class_path: LambdaCallback, init_args: {on_fit_start: {class_path: "
    "torch.os.system, init_args: {command: touch ran}}}}]}",
    "torch.sys.modules": "trainer: {callbacks: [torch.sys.modules]}",
    # Functions of such packages, and a class whose objects are called, which run what their arguments name:
    "torch.hub.load": "trainer: {callbacks: [{class_path: LambdaCallback, init_args: {on_fit_start: {class_path: "
    "torch.hub.load, init_args: {repo_or_dir: ., model: main, source: local}}}}]}",
    "lightning.pytorch.cli.instantiate_class": "trainer: {callbacks: [{class_path: LambdaCallback, init_args: {"
    "on_fit_start: {class_path: lightning.pytorch.cli.instantiate_class, init_args: {args: [touch ran], init: {"
    "class_path: os.system}}}}}]}",
    "torch.distributed.launcher.api.elastic_launch": "trainer: {callbacks: [{class_path: LambdaCallback, init_args: {"
    "on_fit_start: {class_path: torch.distributed.launcher.api.elastic_launch, init_args: {config: {min_nodes: 1, "
    "max_nodes: 1, nproc_per_node: 1}, entrypoint: ./ran.sh}}}}]}",
}


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """The folder of the settings file, with code that leaves a mark where it runs."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in "beside", "hubconf":
        (tmp_path / f"{name}.py").write_text(
            "open('ran', 'w').close()\nfrom lightning.pytorch import Callback\nmain = print"
        )
    yield tmp_path
    assert not (tmp_path / "ran").exists()
    assert not {"beside", "hubconf"} & sys.modules.keys()


@pytest.mark.parametrize(("name", "content"), STRANGERS.items(), ids=STRANGERS)
def test_what_is_no_class_of_a_known_package_is_refused_before_its_code_runs(command, beside, name, content):
    (beside / "own.yaml").write_text(content)
    code, out, err = command("cnn_mnist", "fit", "--config=own.yaml")
    assert (code, out) == (2, "")
    assert err == f"python -m cnn_mnist: error: {REFUSED.format(name)} (see --help)\n"


def test_what_any_value_may_be_is_never_made_into_an_object(command, beside):
    process = "torch.distributed.elastic.multiprocessing.subprocess_handler.SubprocessHandler"
    arguments = {"entrypoint": "touch", "args": ["ran"], "env": {}, "local_rank_id": 0, "numa_options": None}
    spec = {"class_path": process, "init_args": arguments | {"stdout": None, "stderr": None}}
    callback = {"class_path": "RichProgressBar", "init_args": {"console_kwargs": {"file": spec}}}
    (beside / "own.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks": [callback], "max_epochs": 0}}))
    code, _, err = command("cnn_mnist", "fit", "--config=own.yaml")
    assert (code, err.count("\n")) == (1, 1)


HOSTILE = 'trainer: {callbacks: \'[{"class_path": "beside.Callback"}]\'}'


@pytest.mark.parametrize(
    "arguments",
    [
        ("fit", "--config=own.yaml"),
        ("validate", "--config=own.yaml", "--ckpt_path=none.ckpt"),
        ("test", "--config", "own.yaml"),
        ("-c", "all.yaml", "fit"),
        ("fit", "--config=own.yaml", "--config=fine.yaml"),
        ("fit", "--trainer=trainer.yaml"),
        ("fit", "--trainer.callbacks+=beside.Callback"),
        ("fit", "--trainer.logger.help=beside.Callback"),
        ("fit", "--resume=lightning_logs/pytorch/version_0"),
    ],
)
def test_every_command_refuses_whoever_names_it(command, beside, make_run, arguments):
    folder = make_run("pytorch", finished=False)
    (folder / "config.yaml").write_text(f"{HOSTILE}\nmodel: {{align: keras}}")
    (beside / "own.yaml").write_text(HOSTILE)
    (beside / "all.yaml").write_text(f"fit: {{{HOSTILE}}}")
    (beside / "fine.yaml").write_text("trainer: {max_epochs: 1}")
    (beside / "trainer.yaml").write_text("callbacks: [beside.Callback]")
    code, out, err = command("cnn_mnist", *arguments)
    assert (code, out) == (2, "")
    assert err == f"python -m cnn_mnist: error: {REFUSED.format('beside.Callback')} (see --help)\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--config=own.yaml",),
        ("--twin_of=lightning_logs/pytorch/version_0",),
        ("study", "--config=own.yaml"),
        ("--resume=lightning_logs/keras/version_0",),
    ],
)
def test_the_twin_and_a_study_import_nothing_that_is_named(command, beside, make_run, arguments):
    log_dir = {"keras": ", log_dir: lightning_logs", "pytorch": ""}
    for framework in "keras", "pytorch":
        folder = make_run(framework, finished=False)
        (folder / "config.yaml").write_text(HOSTILE.replace("}]'", f"}}]'{log_dir[framework]}"))
    (beside / "own.yaml").write_text(HOSTILE)
    code, out, err = command("keras_parity", *arguments)
    assert code in (1, 2)
    assert (out, err.count("\n")) == ("", 1)


PLACES: list[tuple[Callable[[Any], dict[str, Any]], tuple[str, ...]]] = [
    # Where a trainer's settings take a class, and as what: its name, a mapping, a mapping as JSON text, or a file
    (lambda spec: {"callbacks": spec}, ("name", "mapping", "text", "file")),
    (lambda spec: {"callbacks": [spec]}, ("name", "mapping", "file")),
    (lambda spec: {"callbacks": ["ModelCheckpoint", spec]}, ("name", "mapping", "file")),
    (lambda spec: {"callbacks+": spec}, ("name", "mapping", "text", "file")),
    (lambda spec: {"logger": spec}, ("name", "mapping", "text", "file")),
    (lambda spec: {"logger": [spec]}, ("name", "mapping", "file")),
    (lambda spec: {"profiler": spec}, ("name", "mapping", "text", "file")),
    (lambda spec: {"strategy": spec}, ("mapping", "text", "file")),
    (lambda spec: {"accelerator": spec}, ("mapping", "text", "file")),
    (lambda spec: {"plugins": [spec]}, ("name", "mapping", "file")),
    (lambda spec: {"callbacks": [_within("LambdaCallback", on_fit_start=spec)]}, ("name", "mapping", "text")),
    (lambda spec: {"callbacks": _within("RichProgressBar", console_kwargs={"file": spec})}, ("mapping", "text")),
    (
        lambda spec: {"strategy": _within("lightning.pytorch.strategies.DDPStrategy", cluster_environment=spec)},
        ("name", "mapping", "text", "file"),
    ),
]
LAYOUTS = [
    *("nested", "dotted", "text", "file", "anchor", "merge", "twice", "whole", "flags", "variables", "variable_file")
]


def _within(kind: str, **arguments: Any) -> dict[str, Any]:
    return {"class_path": kind, "init_args": arguments}


def spell(draw: random.Random, name: str, folder: Path) -> tuple[list[str], dict[str, str]]:
    """Arguments and variables of ``python -m cnn_mnist`` that name a class in one of many ways."""
    files = 0

    def write(content: Any) -> str:
        nonlocal files
        files += 1
        path = folder / f"{files}.yaml"
        text = json.dumps(content) if draw.random() < 0.2 else yaml.safe_dump(content, sort_keys=False)
        path.write_text(content if isinstance(content, str) else text)
        return path.name

    command, layout = draw.choice(["fit", "validate", "test"]), draw.choice(LAYOUTS)
    place, kinds = draw.choice(PLACES)
    kind = draw.choice(kinds)
    mapping = {"class_path": name} | draw.choice([{}, {"init_args": {}}, {"init_args": {"x": 1}}])
    trainer = place({"name": name, "mapping": mapping, "text": json.dumps(mapping)}.get(kind) or write(mapping))
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in trainer.items()}
    prefix = f"PL_{command.upper()}__"
    read = {"JSONARGPARSE_DEFAULT_ENV": "true"}
    match layout:
        case "dotted":
            settings = {f"trainer.{key}": value for key, value in trainer.items()}
        case "text":
            settings = {"trainer": json.dumps(trainer)}
        case "file":
            settings = {"trainer": write(trainer)}
        case "anchor":
            alias = yaml.safe_dump({"trainer": trainer}).replace(f" {name}\n", " *n\n")
            settings = f"data:\n  data_dir: &n {name}\n{alias}"
        case "merge":
            settings = f"trainer:\n  max_epochs: 1\n  <<: {json.dumps(trainer)}"
        case "whole":
            return ["-c", write({command: {"trainer": trainer}}), command], {}
        case "flags":
            return [command, *(f"--trainer.{key}={text}" for key, text in texts.items())], {}
        case "variables":
            return [command], read | {f"{prefix}TRAINER__{key.strip('+').upper()}": text for key, text in texts.items()}
        case "variable_file":
            return [command], read | {f"{prefix}CONFIG": write({"trainer": trainer})}
        case _:
            settings = {"trainer": trainer}
    typed = [f"--config={write(settings)}"]
    if layout == "twice":
        typed.insert(draw.choice([0, 1]), f"--config={write({'seed_everything': 1})}")
    return [command, *typed], {}


@pytest.mark.parametrize("ways", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_search_over_ways_to_write_one(tmp_path, monkeypatch, capsys, ways):
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    parsers, draw, inside = (
        dict[bool, Any](),
        random.Random(ways),
        [n for n in STRANGERS if not n.startswith("beside.")],
    )
    for number in range(ways):
        module = f"stranger_{number}"
        source = (
            "open(f'{__name__}.ran', 'w').close()\nfrom lightning.pytorch import Callback\nclass Mine(Callback): pass"
        )
        (tmp_path / f"{module}.py").write_text(source)
        name = f"{module}.Mine" if number % 3 else draw.choice(inside)
        arguments, variables = spell(draw, name, tmp_path)
        spelled = (arguments, variables, [path.read_text() for path in tmp_path.glob("*.yaml")])
        with monkeypatch.context() as patch:
            for variable, value in variables.items():
                patch.setenv(variable, value)
            if bool(variables) not in parsers:
                parsers[bool(variables)] = capture_parser(cli.main, [])
            parse = parsers[bool(variables)].parse_args
            with pytest.raises(SystemExit) as left:
                parse(arguments)
            assert left.value.code == 2, spelled
            err = capsys.readouterr().err
            assert err == f"python -m cnn_mnist: error: {REFUSED.format(name)} (see --help)\n", spelled
            assert not list(tmp_path.glob("*.ran")), spelled
            assert module not in sys.modules
            if name.startswith(module) and number % 10 == 1:  # a tenth, for the time it takes: it would have run
                with suppress(SystemExit):
                    parse([*arguments, "--allow_classes"])
                capsys.readouterr()
                assert [path.stem for path in tmp_path.glob("*.ran")] == [module], spelled
                (tmp_path / f"{module}.ran").unlink()
                del sys.modules[module]
        for path in tmp_path.glob("*.yaml"):
            path.unlink()


def test_a_value_that_looks_like_an_error_message_imports_nothing(command, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "stranger_named.py").write_text("class Mine: pass")
    text = "Subtypes: [<class 'stranger_named.Mine'>] Errors: none Given value: x"
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({"trainer": {"logger": text}}))
    for argument in (f"--trainer.logger={text}", "--config=own.yaml"):
        code, _, err = command("cnn_mnist", "fit", argument)
        assert (code, err.count("\n")) == (2, 1)
        assert "stranger_named" not in sys.modules


@pytest.mark.parametrize(
    "arguments",
    [
        ("fit", "--config=own.yaml", "--allow_classes"),
        ("fit", "--allow_classes", "--trainer.callbacks=trusted.Mine"),
        ("--allow_classes", "fit", "--config=own.yaml"),
        ("test", "--allow_classes", "--config=own.yaml"),
    ],
)
def test_a_file_that_is_trusted_may_name_any_class(command, tmp_path, monkeypatch, arguments):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "trusted.py").write_text("from lightning.pytorch import Callback\nclass Mine(Callback): pass")
    (tmp_path / "own.yaml").write_text("trainer: {callbacks: [{class_path: trusted.Mine}]}")
    code, out, err = command("cnn_mnist", *arguments, "--print_config")
    assert code == 0, err
    assert "trusted.Mine" in out


def test_names_with_dots_that_are_no_classes_are_let_by(command, tmp_path):
    (tmp_path / "own.yaml").write_text(
        "trainer: {default_root_dir: runs.of.may, max_time: '00:00:05:00', callbacks: [ModelCheckpoint, {class_path: "
        "EarlyStopping, init_args: {monitor: val/loss}}], logger: {class_path: lightning.pytorch.loggers.CSVLogger, "
        "init_args: {save_dir: runs.of.may, version: a.b}}}\ndata: {data_dir: 2001-99-99}"
    )
    code, _, err = command("cnn_mnist", "fit", "--config=own.yaml", "--print_config")
    assert code == 0, err


def test_our_own_callbacks_may_be_listed_though_they_are_built_in(command, use_tiny_mnist, tmp_path):
    logs = ["training_log.StopOnNonFiniteLoss", "training_log.TrainingLog"]
    listed = [f"cnn_mnist.pytorch.{name}" for name in ("callbacks.RunRecord", *logs, "progress.LineProgressBar")]
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks": listed, "max_epochs": 1}}))
    code, out, err = command("cnn_mnist", "fit", "--config=own.yaml")
    assert (code, err) == (0, "")
    assert out.count("epoch 1/1") == out.count("training took") == 1
    run = tmp_path / "lightning_logs/pytorch/version_0"
    assert [entry["class_path"] for entry in read_config(run)["trainer"]["callbacks"]] == listed
    assert len(list(run.glob("events.*"))) == 1


def test_a_logger_without_arguments_is_no_traceback_of_the_twins(command, tmp_path):
    (tmp_path / "own.yaml").write_text("trainer: {logger: {init_args: null}}")
    code, _, err = command("keras_parity", "--config=own.yaml", "--print_config")
    assert code == 0, err


@pytest.mark.parametrize("framework", ["keras", "pytorch"])
def test_the_reference_runs_settings_load(capsys, framework):
    parser = capture_parser(cli.main, ["fit"]) if framework == "pytorch" else build_parser()
    paths = sorted(PROJECT.glob(f"benchmarks/reference/{framework}/*/config.yaml"))
    assert len(paths) == 20
    for path in paths:
        with pytest.raises(SystemExit) as left:
            parser.parse_args([*(["fit"] if framework == "pytorch" else []), f"--config={path}", "--print_config"])
        assert not left.value.code
        printed = yaml.safe_load(capsys.readouterr().out)
        saved = yaml.safe_load(path.read_text())
        for group in "trainer", "model", "data":
            given = {name: value for name, value in printed[group].items() if value is not None}
            newer = {"devices": 1} if (framework, group) == ("keras", "trainer") else {}  # than these runs
            assert given.items() <= (newer | saved[group]).items()
