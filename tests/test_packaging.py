"""What a project has: floors that shut out known holes, commands, a license."""

import tomllib

from tests.conftest import PROJECT

_TABLES = tomllib.loads((PROJECT / "pyproject.toml").read_text())
PROJECT_TABLE = _TABLES["project"]


def _floor(package: str) -> tuple[int, ...]:
    (line,) = (line for line in PROJECT_TABLE["dependencies"] if line.startswith(f"{package}>="))
    return tuple(map(int, line.partition(">=")[2].split(".")))


def test_the_floors_shut_out_versions_that_run_code_or_read_other_files():
    assert _floor("lightning") >= (2, 6, 6)
    assert _floor("keras") >= (3, 15)
    assert _floor("jsonargparse[signatures]") >= (4, 52)


def test_the_group_without_tensorflow_has_jax_in_its_place_and_all_other_dependencies():
    others = {line for line in PROJECT_TABLE["dependencies"] if not line.startswith("tensorflow")}
    assert set(_TABLES["dependency-groups"]["without-tensorflow"]) == others | {
        *PROJECT_TABLE["optional-dependencies"]["jax"]
    }


def test_the_commands_name_functions_that_are_there():
    from cnn_mnist.__main__ import main
    from keras_parity.__main__ import main as keras_main

    assert PROJECT_TABLE["scripts"] == {
        f"{function.__module__.split('.')[0].replace('_', '-')}": f"{function.__module__}:{function.__name__}"
        for function in (main, keras_main)
    }


def test_the_license_is_apache_2():
    assert PROJECT_TABLE["license"] == "Apache-2.0"
    assert "Apache License" in (PROJECT / "LICENSE").read_text()
