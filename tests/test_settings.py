import shutil
from typing import get_args, get_type_hints

import keras
import numpy as np
import pytest

from cnn_mnist.errors import UserError, UserNotice
from cnn_mnist.settings import OPTIMIZERS, ModelSettings, names
from keras_parity.twin.dtypes import in_dtype
from tests.conftest import PROJECT

NEW = {
    "    softmax_before_loss: bool = ": '    novelty: float = setting("optimizer", 0.25)\n',
    "        softmax_before_loss: ": "        novelty: Said of it once.\n",
    '    "rmsprop": Optimizer("RMSprop", {': '"novelty": "news", ',
}
"""A setting of RMSprop, entered before or behind these in ``cnn_mnist/settings.py``, and nowhere else."""

LOOK = """
import contextlib, io
from cnn_mnist.pytorch import cli
from cnn_mnist.runs import hparams
from cnn_mnist.settings import DataSettings, ModelSettings
from keras_parity.settings import TrainerSettings, settings_that_matter
from keras_parity.study import cli as study
from keras_parity.study.jobs import Job
from keras_parity.twin.cli import build_parser

model, data, trainer, printed = ModelSettings(), DataSettings(), TrainerSettings(), io.StringIO()
with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
    cli.main(["fit", "--print_config"])
assert "novelty: 0.25" in printed.getvalue()
for parser in build_parser(), study._build_parser():
    assert "Said of it once. (type: float, default: 0.25)" in " ".join(parser.format_help().split())
assert "--model.novelty=0.25" in Job("pytorch", model, data, trainer).command
assert settings_that_matter({"model": {"seed": 1}})["model.novelty"] == 0.25
assert "novelty" in str(hparams.summaries("keras", model, data, 1, "32-true", "version_0"))
assert model.optimizer_settings["novelty"] == 0.25
print("everywhere")
"""


def test_a_new_setting_is_entered_once(tmp_path, run_python):
    for package in "cnn_mnist", "keras_parity":
        shutil.copytree(PROJECT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "cnn_mnist/settings.py"
    text = path.read_text()
    for line, entry in NEW.items():
        assert text.count(line) == 1
        text = text.replace(line, line + entry if line.endswith("{") else entry + line)
    path.write_text(text)
    answer = run_python("-c", LOOK)
    assert answer.stdout == "everywhere\n", answer.stderr


def test_each_optimizer_has_its_settings():
    assert set(get_args(get_type_hints(ModelSettings)["optimizer"])) == OPTIMIZERS.keys()
    taken = {name for optimizer in OPTIMIZERS.values() for name in optimizer.takes}
    assert taken | {"optimizer", "learning_rate", "weight_decay"} == names(ModelSettings, "optimizer")


def penalized(*regularized):
    regularizer = {"class_name": "L2", "config": {"l2": 0.01}}
    dense = {"units": 3, "kernel_initializer": {"class_name": "HeNormal"}} | dict.fromkeys(regularized, regularizer)
    layers = [{"class_name": "Flatten", "config": {}}, {"class_name": "Dense", "config": dense}]
    return {"class_name": "Sequential", "config": {"layers": layers}}


BOTH = ("kernel_regularizer", "bias_regularizer")


@pytest.mark.parametrize(
    ("regularized", "chosen", "decay", "named"),
    [
        (
            *(BOTH, {"optimizer": "sgd"}, 0.02),
            [
                "L2 penalty of 0.01 is weight_decay=0.02",
                "clipping are without it",
                "Dense: kernel_initializer;",
            ],
        ),
        (BOTH, {"optimizer": "sgd", "momentum": 0.9}, 0.0, ["Dense: bias_regularizer"]),
        (BOTH, {"optimizer": "adam"}, 0.0, ["Dense: bias_regularizer"]),
        (BOTH, {"optimizer": "sgd", "weight_decay": 0.1}, 0.1, ["Dense: bias_regularizer"]),
        (BOTH[:1], {"optimizer": "sgd"}, 0.0, ["Dense: kernel_regularizer"]),
    ],
)
def test_an_l2_penalty_becomes_decay_only_where_that_is_the_same(regularized, chosen, decay, named):
    with pytest.warns(UserNotice) as notices:
        settings = ModelSettings(architecture=penalized(*regularized), **chosen)
    assert settings.weight_decay == decay
    for words in named:
        assert any(words in str(notice.message) for notice in notices), [str(n.message) for n in notices]


def test_sgd_with_that_decay_takes_the_steps_of_keras_with_the_penalty():
    l2 = keras.regularizers.L2(0.01)
    penalty = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, kernel_regularizer=l2, bias_regularizer=l2)])
    decay = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    decay.set_weights([weight + 0.1 for weight in penalty.get_weights()])
    penalty.set_weights(decay.get_weights())
    penalty.compile(keras.optimizers.SGD(0.1), "mse")
    decay.compile(keras.optimizers.SGD(0.1, weight_decay=0.02), "mse")
    generator = np.random.default_rng(0)
    for _ in range(20):
        batch = generator.standard_normal((8, 4)), generator.standard_normal((8, 3))
        penalty.train_on_batch(*batch)
        decay.train_on_batch(*batch)
    for one, other in zip(penalty.get_weights(), decay.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize("limit", [None, 0.1])
def test_keras_clips_the_gradient_of_a_penalty_which_decay_is_not(limit):
    rate, l2, generator = 0.1, 0.5, np.random.default_rng(0)
    images, targets, before = (generator.standard_normal(shape) for shape in ((8, 4), (8, 3), (4, 3)))
    with in_dtype("float64"):
        dense = keras.layers.Dense(3, use_bias=False, kernel_regularizer=keras.regularizers.L2(l2))
        model = keras.Sequential([keras.Input((4,)), dense])
        model.set_weights([before])
        model.compile(keras.optimizers.SGD(rate, global_clipnorm=limit), "mse")
        model.train_on_batch(images, targets)
    (after,) = model.get_weights()

    def clipped(gradient):
        return gradient * min(1, (limit or np.inf) / np.linalg.norm(gradient))

    gradient = 2 * images.T @ (images @ before - targets) / targets.size
    np.testing.assert_allclose(after, before - rate * clipped(gradient + 2 * l2 * before), rtol=0, atol=1e-7)
    decayed = before - rate * (clipped(gradient) + 2 * l2 * before)
    assert (np.abs(after - decayed).max() < 1e-7) == (limit is None)


MISTYPED = {
    "learning_rate": "0.1",
    "rho": True,
    "decay_steps": 2.5,
    "centered": "yes",
    "optimizer": "lion",
    "seed": None,
    "align": ["keras"],
}


@pytest.mark.parametrize("name", MISTYPED)
def test_a_setting_of_another_type_is_refused_by_its_name_also_out_of_a_checkpoint(tmp_path, name):
    import torch

    from cnn_mnist.pytorch.checkpoints import read_checkpoint
    from cnn_mnist.pytorch.module import Classifier

    with pytest.raises(UserError, match=f"{name}: expected"):
        ModelSettings(**{name: MISTYPED[name]})
    model = Classifier()
    state = {f"network.{key}": tensor for key, tensor in model.network.state_dict().items()}
    for settings in ({name: MISTYPED[name]}, {f"un{name}": 1}):
        held = {"state_dict": state, "hyper_parameters": dict(model.hparams) | settings}
        torch.save(held, tmp_path / "a.ckpt")
        with pytest.raises(UserError, match=f"whose hyper_parameters are wrong .*{next(iter(settings))}"):
            read_checkpoint(tmp_path / "a.ckpt")
