"""What is exported from the two packages: found, and imported only when it is used."""

from importlib.metadata import version

import cnn_mnist
import keras_parity


def test_every_exported_name_is_there_and_listed():
    for package in (cnn_mnist, keras_parity):
        for name in package.__all__:
            assert getattr(package, name).__doc__
            assert name in dir(package)


def test_versions_are_those_of_the_installed_package(run_python):
    for package in (cnn_mnist, keras_parity):
        assert package.__version__ == version("cnn_mnist")
        assert run_python("-m", package.__name__, "--version").stdout == f"{package.__name__} {version('cnn_mnist')}\n"


def test_a_network_says_its_layers():
    layers = "conv 32@5x5, ReLU; max pool 2; conv 64@5x5, ReLU; max pool 2; flatten; dense 10"
    assert repr(cnn_mnist.EXAMPLES["conv5x5"]) == f"Network({layers}: 62,346 parameters)"


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(cnn_mnist, "no_such_name")
    assert not hasattr(keras_parity, "no_such_name")


def test_importing_the_packages_imports_no_framework(run_python):
    code = (
        "import sys, cnn_mnist, keras_parity; print({'torch', 'lightning', 'tensorflow', 'keras'} & sys.modules.keys())"
    )
    assert run_python("-c", code).stdout == "set()\n"


def test_the_twin_is_a_stock_keras_model_with_the_published_count(run_python):
    code = (
        "import keras_parity as kp\nfrom cnn_mnist.settings import ModelSettings\n"
        "print(kp.compile_twin(ModelSettings(), steps=1).count_params())"
    )
    assert run_python("-c", code).stdout == "93322\n"
