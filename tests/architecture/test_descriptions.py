"""Descriptions come from names, lists and files, and are stored in one plain form."""

import json
import pickle
import zipfile

import pytest
import yaml
from hypothesis import given, settings

from cnn_mnist.architecture.descriptions import plain, read_network
from cnn_mnist.architecture.examples import EXAMPLES
from cnn_mnist.architecture.in_keras import keras_layers
from cnn_mnist.architecture.in_pytorch import ENTRIES, pytorch_modules
from cnn_mnist.architecture.layers import KINDS, Conv2D, Dense, Dropout, Flatten
from cnn_mnist.architecture.network import Network
from cnn_mnist.errors import UserError
from cnn_mnist.settings import ModelSettings
from tests.networks import broken, networks

OWN = [{"Conv2D": {"filters": 4, "kernel_size": 3, "activation": "relu"}}, "Flatten", {"Dense": 10}]


@given(networks())
def test_the_plain_form_of_any_network_is_read_back_from_yaml_and_json(network):
    for text in (yaml.safe_dump(plain(network)), json.dumps(plain(network))):
        assert read_network(yaml.safe_load(text)) == network


@settings(max_examples=300)
@given(broken())
def test_what_does_not_fit_is_one_line_that_names_the_layer_by_number(description):
    with pytest.raises(UserError, match=r"^layer \d+[,:]") as refusal:
        read_network(description)
    assert "\n" not in str(refusal.value)


def test_every_kind_of_layer_has_an_entry_for_each_framework():
    assert ENTRIES.keys() == set(KINDS.values())
    assert {call.kind for name in EXAMPLES for call in keras_layers(EXAMPLES[name])} <= {*KINDS, "ReLU"}


def test_a_packaged_network_is_stored_by_its_name():
    assert plain(EXAMPLES["lenet5"]) == "lenet5"
    assert ModelSettings(architecture=[*OWN]).architecture == OWN


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(UserError, match=r"unknown architecture 'lenet': expected one of three_conv, .* mean lenet5\?"):
        read_network("lenet")


@pytest.mark.parametrize("ending", [".yaml", ".json"])
def test_a_file_is_read_and_its_description_kept(tmp_path, ending):
    path = tmp_path / f"own{ending}"
    path.write_text(json.dumps(OWN))
    assert ModelSettings(architecture=str(path)).architecture == OWN


def test_a_file_whose_aliases_multiply_is_refused_in_a_short_line(tmp_path):
    nested = "".join(f", &{new} [{', '.join([f'*{old}'] * 9)}]" for old, new in zip("abcde", "bcdef", strict=True))
    (tmp_path / "own.yaml").write_text(f"- Conv2D: {{filters: 1, kernel_size: [&a [1]{nested}]}}")
    with pytest.raises(UserError, match="expected YAML of at most 100,000 values") as refusal:
        read_network(str(tmp_path / "own.yaml"))
    assert len(str(refusal.value)) < 300


def test_a_checkpoint_describes_its_network_and_runs_nothing(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",))

    path = tmp_path / "run.ckpt"
    for extra in ({}, {"harmful": Harmful()}):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("run/data.pkl", pickle.dumps({"hyper_parameters": {"architecture": OWN}, **extra}))
        assert plain(read_network(str(path))) == OWN
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("ending", [".yaml", ".keras", ".ckpt", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"\0" * 40, b"PK\3\4 and no more", b"[1, 2", b"\xff\xfe\0"])
def test_a_damaged_file_is_one_line(tmp_path, ending, content):
    path = tmp_path / f"damaged{ending}"
    path.write_bytes(content)
    with pytest.raises(UserError) as refusal:
        read_network(str(path))
    assert "\n" not in str(refusal.value)


def keras_model(*layers, kind="Sequential"):
    named = [{"class_name": name, "config": {"name": f"x{n}", **config}} for n, (name, config) in enumerate(layers)]
    return {"class_name": kind, "config": {"layers": named}}


INPUT = ("InputLayer", {"batch_shape": [None, 28, 28, 1]})


def test_keras_own_configuration_is_read():
    conv = {"filters": 4, "kernel_size": [3, 3], "kernel_initializer": {"class_name": "HeNormal"}, "strides": [1, 1]}
    config = keras_model(
        *(INPUT, ("Conv2D", conv | {"data_format": "channels_last", "trainable": True})),
        *(("Flatten", {"data_format": None}), ("Dropout", {"rate": 0.5, "seed": 3, "noise_shape": None})),
        ("Dense", {"units": 10, "activation": "softmax", "kernel_regularizer": None}),
    )
    assert read_network(config) == Network([Conv2D(4, 3), Flatten(), Dropout(0.5), Dense(10)])


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (("Dense", {"units": 10, "dtype": {"config": {"name": "int8_from_float32"}}}), "dtype=int8_from_float32"),
        (("Dense", {"units": 10, "trainable": False}), "trainable=False"),
        (("Conv2D", {"filters": 4, "kernel_size": 3, "data_format": "channels_first"}), "data_format=channels_first"),
        (("ReLU", {"max_value": 6.0}), "max_value=6.0"),
        (
            ("Dense", {"units": 10, "activation": {"class_name": "function", "registered_name": "mine>odd"}}),
            "activation",
        ),
        (("Rescaling", {"scale": 2.0}), "Rescaling"),
    ],
)
def test_a_keras_layer_that_does_more_than_its_record_is_refused_by_name(layer, named):
    with pytest.raises(UserError, match=named):
        read_network(keras_model(INPUT, layer))


def functional(*layers, outputs):
    config = keras_model(INPUT, *layers, kind="Functional")
    before = config["config"]["layers"][0]["config"]["name"]
    for layer in config["config"]["layers"][1:]:
        tensor = {"class_name": "__keras_tensor__", "config": {"keras_history": [before, 0, 0]}}
        layer["inbound_nodes"] = [{"args": [tensor], "kwargs": layer["config"].pop("kwargs", {})}]
        before = layer["config"]["name"]
    config["config"]["output_layers"] = outputs
    return config


@pytest.mark.parametrize(
    ("called", "outputs", "named"),
    [
        ({"training": True}, ["x3", 0, 0], "layer 2, Dropout: called with training=True"),
        ({}, [["x1", 0, 0], ["x3", 0, 0]], r"expected one output, got 2 \(x1, x3\); take one, as in keras.Model"),
        ({}, {"a": ["x1", 0, 0], "b": ["x3", 0, 0]}, "expected one output, got 2"),
        ({}, ["x1", 0, 0], "expected the output of the last layer, x3, got that of x1"),
    ],
)
def test_a_chain_with_call_arguments_or_other_outputs_is_refused_by_name(called, outputs, named):
    chain = [("Flatten", {}), ("Dropout", {"rate": 0.5, "kwargs": {"training": None}}), ("Dense", {"units": 3})]
    assert len(read_network(functional(*chain, outputs=["x3", 0, 0])).layers) == 3
    chain[1][1]["kwargs"] = called
    with pytest.raises(UserError, match=named):
        read_network(functional(*chain, outputs=outputs))


@pytest.mark.parametrize("kind", ["L2", "L1"])
def test_what_touches_training_alone_is_taken_and_noted(kind):
    regularizer = {"class_name": kind, "config": {kind.lower(): 0.01}}
    options = {"kernel_regularizer": regularizer, "bias_regularizer": regularizer, "bias_initializer": "zeros"}
    network = read_network(keras_model(INPUT, ("Flatten", {}), ("Dense", {"units": 3, **options})))
    assert network == Network([Flatten(), Dense(3)])
    assert [*network.left_out] == ["layer 2, Dense: kernel_regularizer", "layer 2, Dense: bias_regularizer"]


def test_modules_of_a_network_have_names_of_their_own():
    for network in EXAMPLES.values():
        names = [call.name for call in pytorch_modules(network)]
        assert len(names) == len(set(names))


def test_a_keras_model_that_was_built_without_an_input_is_read():
    config = keras_model(("Flatten", {}), ("Dense", {"units": 3}))
    config["config"]["build_input_shape"] = [None, 8, 8, 3]
    assert read_network(config) == Network([Flatten(), Dense(3)], (8, 8, 3))


@pytest.mark.parametrize(
    "config",
    [
        {"class_name": "Sequential", "config": {"layers": [{"config": {}}]}},
        {"class_name": "Sequential", "config": {"layers": []}},
        {"class_name": "Sequential"},
        {"class_name": "Functional", "config": {"layers": 3}},
        {"config": {"layers": [3]}},
        keras_model(("InputLayer", {})),
        keras_model(INPUT, ("BatchNormalization", {"axis": 1})),
        keras_model(INPUT, ("Sequential", {"layers": []})),
    ],
)
def test_another_keras_configuration_is_one_line(tmp_path, config):
    with zipfile.ZipFile(tmp_path / "odd.keras", "w") as archive:
        archive.writestr("config.json", json.dumps(config))
    with pytest.raises(UserError) as refusal:
        read_network(str(tmp_path / "odd.keras"))
    assert "\n" not in str(refusal.value)


def test_a_description_that_multiplies_is_refused_in_a_short_line(tmp_path):
    lines = ["a: &a0 [x, x]", *(f"b{n}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]" for n in range(40))]
    (tmp_path / "bomb.yaml").write_text("\n".join([*lines, "c: *a40"]).replace("a: ", "- a: ", 1).replace("\n", "\n  "))
    with pytest.raises(UserError) as refusal:
        read_network(str(tmp_path / "bomb.yaml"))
    assert len(str(refusal.value)) < 1000
