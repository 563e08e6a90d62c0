"""What is right is not accused, and what is wrong is named where it is: pairs that people ask about in public."""

import re
from dataclasses import replace

import keras
import lightning
import numpy as np
import pytest
import tensorflow as tf
import torch
import torch.nn.functional as F
from torch import nn

import keras_parity as kp
from cnn_mnist.errors import UserError
from keras_parity.twin.dtypes import copy_in
from tests.ladder.cases import FAST, SAME, Case, apart, as_keras, by_check, fill, other, squared
from tests.ladder.test_cases import cases

L = keras.layers
O = keras.optimizers  # noqa: E741
RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(64, 6)).astype(np.float32)
LABELS = RANDOM.integers(0, 3, 64)


class Translator(nn.Module):
    """An encoder whose states a decoder begins with, in this order or the other."""

    def __init__(self, swapped):
        super().__init__()
        self.swapped, self.out = swapped, nn.Linear(5, 2)
        self.encoder, self.decoder = nn.LSTM(3, 5, batch_first=True), nn.LSTM(2, 5, batch_first=True)
        for part in (self.encoder, self.decoder):
            part.bias_hh_l0.requires_grad_(False)

    def forward(self, source, target):
        _, (hidden, cell) = self.encoder(source)
        states = (cell, hidden) if self.swapped else (hidden, cell)
        return self.out(self.decoder(target, states)[0])


def translators(swapped):
    network = Translator(swapped)
    source, target = keras.Input((6, 3)), keras.Input((4, 2))
    _, *states = L.LSTM(5, return_state=True)(source)
    steps = L.LSTM(5, return_sequences=True)(target, initial_state=states)
    model = keras.Model([source, target], L.Dense(2)(steps))
    fill(model, network.encoder, network.decoder, network.out)
    sources, targets = (RANDOM.normal(size=(64, *shape)).astype(np.float32) for shape in ((6, 3), (4, 2)))
    return Case(network, model, [sources, targets], targets, FAST, F.mse_loss, squared)


@cases(right=SAME, swapped=other("decoder", None))
def test_states_that_a_decoder_begins_with(hold, which, truth):
    """The two biases of PyTorch's LSTM are no other weights where their sum is Keras's bias."""
    hold(translators(which == "swapped"), truth)


def test_two_biases_that_add_up_to_keras_s_are_not_accused():
    report = translators(swapped=True).check()
    assert not [finding.where for finding in report.findings if "bias" in finding.where]


class Frozen(nn.Sequential):
    """Keeps its batch norm in inference mode."""

    def train(self, mode=True):
        super().train(mode)
        self[1].eval()
        return self


class Mode(L.Layer):
    """A batch norm that is called in one mode, or in that of its model; one that scales its output in training."""

    def __init__(self, mode=None, scale=1.0, **options):
        super().__init__(**options)
        self.mode, self.scale = mode, scale
        self.norm = L.BatchNormalization(momentum=0.9)

    def call(self, inputs, training=None):
        out = self.norm(inputs, training=training if self.mode is None else self.mode)
        return out * self.scale if training else out

    def get_config(self):
        return super().get_config() | {"mode": self.mode, "scale": self.scale}


def normed(kind, keras_norm):
    parts = nn.Linear(6, 8), nn.BatchNorm1d(8, eps=1e-3), nn.Tanh(), nn.Linear(8, 3)
    parts[1].requires_grad_(kind is nn.Sequential)
    network = kind(*parts)
    norm = keras_norm()
    model = keras.Sequential([keras.Input((6,)), L.Dense(8), norm, L.Activation("tanh"), L.Dense(3)])
    fill(model, parts[0], parts[1], parts[3])
    norm.trainable = kind is nn.Sequential
    return Case(network, model, ROWS, LABELS, FAST)


@cases(
    frozen=apart("^1: Keras runs it in inference mode"),
    called_without=apart("^1: Keras runs it in inference mode"),
    scaled=apart("^the output: the outputs differ in training mode", mended=None),
    frozen_in_both=SAME,
)
def test_a_batch_norm_that_one_side_runs_in_inference_mode_is_named_and_not_the_loss(hold, which, truth):
    """keras.io/guides/transfer_learning: trainable=False is inference mode for a batch norm, requires_grad is not."""
    norms = {"called_without": lambda: Mode(False), "scaled": lambda: Mode(None, 2.0)}
    case = normed(Frozen if which == "frozen_in_both" else nn.Sequential, norms.get(which, L.BatchNormalization))
    if which == "frozen":
        case.keras_model.layers[1].trainable = False
        case.torch_model[1].requires_grad_(False)
    hold(case, truth)


class Sampled(nn.Module):
    """Draws random numbers in its own forward while it trains: a functional dropout, or a code of an autoencoder."""

    def __init__(self, how):
        super().__init__()
        self.how, self.first, self.last = how, nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, rows):
        out = torch.tanh(self.first(rows))
        if self.how == "dropout":
            out = F.dropout(out, 0.5, self.training)
        elif self.training:
            out = out + 0.1 * torch.randn_like(out)
        return self.last(out)


@cases(dropout=SAME, noise=SAME)
def test_random_numbers_that_a_module_draws_itself_are_off(hold, which, truth):
    """discuss.pytorch.org: `F.dropout(x, training=self.training)` has no module of its own."""
    network = Sampled(which)
    noise = L.Dropout(0.5) if which == "dropout" else L.GaussianNoise(0.1)
    model = keras.Sequential([keras.Input((6,)), L.Dense(8, activation="tanh"), noise, L.Dense(3)])
    fill(model, network.first, network.last)
    if hold is not by_check:
        network.eval().train = lambda mode=True: network
    hold(Case(network, model, ROWS, LABELS, FAST), truth)


class Noisy(nn.Sequential):
    """Adds noise in inference mode, too."""

    def forward(self, rows):
        out = super().forward(rows)
        return out + 5e-4 * out.abs().max() * torch.randn_like(out)


def test_random_outputs_in_inference_mode_decide_nothing_and_hide_no_fault():
    """keras.io/examples/generative/vae: the code is sampled in every mode; PyTorch's forward does so, too."""
    network = Noisy(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    model = keras.Sequential([keras.Input((6,)), L.Dense(8, activation="tanh"), L.Dense(3)])
    fill(model, network[0], network[2])
    network[2].weight.data *= 1.003
    report = Case(network, model, ROWS, LABELS, FAST).check()
    assert (report.same_function, report.same_training) == (None, None)
    assert "PyTorch's outputs are not repeatable" in report.verdict


class Last(nn.Module):
    """The last step of a GRU, a dense layer."""

    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.GRU(5, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, steps):
        return self.head(self.rnn(steps)[0][:, -1])


@cases(stateful=apart("^carried: Keras carries its state on"), stateless=SAME)
def test_a_state_that_only_keras_carries_on_is_the_same_function_at_first(hold, which, truth):
    """keras.io/api/layers/recurrent_layers/gru: `stateful=True` begins with the state of the batch before."""
    network, rows = Last(), RANDOM.normal(size=(16, 7, 5)).astype(np.float32)
    rnn = L.GRU(6, stateful=which == "stateful", name="carried")
    model = keras.Sequential([keras.Input(batch_shape=(16, 7, 5)), rnn, L.Dense(3)])
    fill(model, network.rnn, network.head)
    hold(Case(network, model, rows, LABELS[:16], FAST), truth)


class OwnStep(keras.Model):
    """A training step written as in Keras's guide, with its gradients clipped or not."""

    clip = 0.0

    def train_step(self, data):
        rows, labels = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(y=labels, y_pred=self(rows, training=True))
        gradients = tape.gradient(loss, self.trainable_variables)
        if self.clip:
            gradients, _ = tf.clip_by_global_norm(gradients, self.clip)
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": loss}


@cases(plain=SAME, clipped=apart("", mended=None))
def test_a_training_step_that_keras_s_model_overrides(hold, which, truth):
    """keras.io/guides/custom_train_step_in_tensorflow: `x, y = data`, as `fit` gives it."""
    network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    rows = keras.Input((6,))
    model = OwnStep(rows, L.Dense(3)(L.Dense(8, activation="tanh")(rows)))
    model.clip = 0.05 * (which == "clipped")
    fill(model, network[0], network[2])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss)
    hold(Case(network, model, ROWS, LABELS, {"torch_optimizer": FAST["torch_optimizer"]}), truth)


class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Rises over five steps; a user's own class, which nothing can rebuild."""

    def __init__(self, late):
        self.late = late

    def __call__(self, step):
        return 0.2 * keras.ops.minimum(1.0, (keras.ops.cast(step, "float32") + 1 - self.late) / 5)


@cases(right=SAME, late=apart("^the schedule: learning rate at step 1: 0.04 in PyTorch, 0 in Keras", mended=None))
def test_a_schedule_of_one_s_own(hold, which, truth):
    """tensorflow.org/text/tutorials/transformer: a `CustomSchedule` without `get_config`, ported as a `LambdaLR`."""
    network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    model = keras.Sequential([keras.Input((6,)), L.Dense(8, activation="tanh"), L.Dense(3)])
    fill(model, network[0], network[2])
    words = {
        "torch_optimizer": lambda params: torch.optim.SGD(params, 0.2),
        "torch_schedule": lambda sgd: torch.optim.lr_scheduler.LambdaLR(sgd, lambda step: min(1, (step + 1) / 5)),
        "keras_optimizer": lambda: keras.optimizers.SGD(WarmUp(which == "late")),
    }
    hold(Case(network, model, ROWS, LABELS, words), truth)


@pytest.mark.parametrize("compiled", [False, True])
def test_classes_in_a_column_as_keras_s_data_sets_have_them_are_classes(compiled):
    """keras.io/api/datasets/cifar10: labels [count, 1], which PyTorch's cross-entropy rejects."""
    network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    model = keras.Sequential([keras.Input((6,)), L.Dense(8, activation="tanh"), L.Dense(3)])
    fill(model, network[0], network[2])
    if compiled:
        model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    words = {"torch_optimizer": FAST["torch_optimizer"]} if compiled else FAST
    case = Case(network, model, ROWS, LABELS[:, None], words)
    assert case.check().same_training is True
    assert "pass torch_labels=" in case.check(torch_loss=nn.CrossEntropyLoss()).verdict
    assert case.check(torch_loss=nn.CrossEntropyLoss(), torch_labels=LABELS).same_training is True


class Weather(nn.Module):
    """An LSTM of convolutions, written by hand as there is none in PyTorch; the mean over the pixels, a dense layer."""

    def __init__(self):
        super().__init__()
        self.gates, self.head = nn.Conv2d(1 + 3, 4 * 3, 3, padding=1), nn.Linear(3, 2)

    def forward(self, frames):
        hidden = cell = frames.new_zeros(len(frames), 3, *frames.shape[3:])
        for step in range(frames.shape[1]):
            inp, forget, new, out = self.gates(torch.cat([frames[:, step], hidden], 1)).chunk(4, 1)
            cell = forget.sigmoid() * cell + inp.sigmoid() * new.tanh()
            hidden = out.sigmoid() * cell.tanh()
        return self.head(hidden.mean((2, 3)))


@cases(right=SAME, hard_sigmoid=other("head", None))
def test_a_convolutional_lstm(hold, which, truth):
    """discuss.pytorch.org: ConvLSTM2D of Keras ported by hand; its old default was `hard_sigmoid`."""
    network, act = Weather(), "sigmoid" if which == "right" else "hard_sigmoid"
    rnn = L.ConvLSTM2D(3, 3, padding="same", recurrent_activation=act)
    model = keras.Sequential([keras.Input((3, 4, 4, 1)), rnn, L.GlobalAveragePooling2D(), L.Dense(2)])
    kernel, bias = as_keras(network.gates)
    fill(model, [kernel[:, :, :1], kernel[:, :, 1:], bias], network.head)
    frames = RANDOM.normal(size=(32, 3, 4, 4, 1)).astype(np.float32)
    words = FAST | {"torch_images": np.ascontiguousarray(np.moveaxis(frames, -1, 2))}
    hold(Case(network, model, frames, LABELS[:32] % 2, words), truth)


class Elman(nn.Module):
    """The last step of an RNN, a dense layer."""

    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.RNN(5, 6, batch_first=True, nonlinearity="relu"), nn.Linear(6, 3)
        self.rnn.bias_hh_l0.requires_grad_(False)

    def forward(self, steps):
        return self.head(self.rnn(steps)[0][:, -1])


@cases(relu=SAME, tanh=other("^rnn: RNN differs"))
def test_the_activation_of_a_simple_rnn(hold, which, truth):
    """pytorch.org/docs: `nn.RNN(nonlinearity="relu")` against the default of Keras's SimpleRNN."""
    network, rows = Elman(), RANDOM.normal(size=(64, 7, 5)).astype(np.float32)
    model = keras.Sequential([keras.Input((7, 5)), L.SimpleRNN(6, which), L.Dense(3)])
    weights = [getattr(network.rnn, name).detach().numpy() for name in ("weight_ih_l0", "weight_hh_l0")]
    bias = (network.rnn.bias_ih_l0 + network.rnn.bias_hh_l0).detach().numpy()
    fill(model, [*(weight.T for weight in weights), bias], network.head)
    hold(Case(network, model, rows, LABELS, FAST), truth)


class NormedImage(nn.Module):
    """A convolution, a norm over height, width and channels, a global maximum, a dense layer."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(2, 3, 3), nn.LayerNorm((3, 4, 5), eps=1e-3), nn.Linear(3, 3)
        nn.init.normal_(self.norm.weight, 1.0, 0.3)
        nn.init.normal_(self.norm.bias)

    def forward(self, images):
        return self.head(F.silu(self.norm(self.conv(images))).amax((2, 3)))


@cases(right=SAME, relu=other("^norm to head"), channels_only=other("^norm: ", None))
def test_a_layer_norm_over_height_width_and_channels(hold, which, truth):
    """discuss.pytorch.org: `nn.LayerNorm([c, h, w])` is `LayerNormalization(axis=[1, 2, 3])`, its default -1."""
    network = NormedImage()
    norm = L.LayerNormalization(axis=-1 if which == "channels_only" else [1, 2, 3], name="norm")
    act = L.Activation("relu" if which == "relu" else "silu")
    model = keras.Sequential([keras.Input((6, 7, 2)), L.Conv2D(3, 3), norm, act, L.GlobalMaxPooling2D(), L.Dense(3)])
    weights = [np.moveaxis(tensor.detach().numpy(), 0, -1) for tensor in network.norm.parameters()]
    fill(model, network.conv, [np.ones(3), np.zeros(3)] if which == "channels_only" else weights, network.head)
    images = RANDOM.normal(size=(64, 6, 7, 2)).astype(np.float32)
    case = Case(network, model, images, LABELS, FAST)
    hold(case, truth)
    if which == "right" and hold is by_check:
        network.norm.weight.data.uniform_()
        assert case.check(weights="keras").same_training


def test_only_the_norm_is_accused_where_its_axes_differ():
    network = NormedImage()
    model = keras.Sequential([
        *(keras.Input((6, 7, 2)), L.Conv2D(3, 3), L.LayerNormalization(), L.Activation("silu")),
        *(L.GlobalMaxPooling2D(), L.Dense(3)),
    ])  # fmt: skip
    fill(model, network.conv, [np.ones(3), np.zeros(3)], network.head)
    images = RANDOM.normal(size=(64, 6, 7, 2)).astype(np.float32)
    places = [finding.where for finding in Case(network, model, images, LABELS, FAST).check().findings]
    assert "norm" in places
    assert not [place for place in places if " to " in place]


def plain_pair():
    network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    model = keras.Sequential([keras.Input((6,)), L.Dense(8, activation="tanh"), L.Dense(3)])
    fill(model, network[0], network[2])
    return network, model


@cases(
    amsgrad=apart("^the optimizer: Adam differs"),
    dampening=apart("^the optimizer: SGD differs"),
    averaged=apart("averages its weights", mended=None),
    accumulated=apart("accumulates 2 gradients", mended=None),
)
def test_settings_of_an_optimizer_that_only_one_framework_has(hold, which, truth):
    """keras.io/api/optimizers: `amsgrad`, `use_ema` and `gradient_accumulation_steps`; PyTorch's `dampening`."""
    network, model = plain_pair()
    in_keras = {
        "amsgrad": lambda: O.Adam(0.05, 0.9, 0.9, 1e-12, amsgrad=True),
        "dampening": lambda: O.SGD(0.1, 0.9),
        "averaged": lambda: O.SGD(0.1, use_ema=True, ema_overwrite_frequency=1),
        "accumulated": lambda: O.SGD(0.1, gradient_accumulation_steps=2),
    }
    in_torch = {
        "amsgrad": lambda params: torch.optim.Adam(params, 0.05, (0.9, 0.9), 1e-12),
        "dampening": lambda params: torch.optim.SGD(params, 0.1, 0.9, dampening=0.5),
    }
    words = {"torch_optimizer": in_torch.get(which, FAST["torch_optimizer"]), "keras_optimizer": in_keras[which]}
    hold(Case(network, model, ROWS, LABELS, words), replace(truth, since=(1, 2, 5)))


def test_a_loss_whose_configuration_lacks_a_setting_is_copied_into_float64(never_settled):
    """Keras 3.15: the configurations of Huber and CosineSimilarity lack `delta` and `axis`."""
    network, model = plain_pair()
    words = FAST | {"torch_loss": nn.HuberLoss(delta=0.5), "keras_loss": keras.losses.Huber(0.5)}
    report = Case(network, model, ROWS, 3 * ROWS[:, :3], words).check()
    assert [comparison.precision for comparison in report.comparisons] == ["float64"] * 4
    assert report.same_training is True


def test_a_module_in_float64_is_compared_in_the_precision_of_keras():
    network, model = plain_pair()
    report = Case(network.double(), model, ROWS, LABELS, FAST).check()
    assert report.same_training is True
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float64}


@pytest.mark.parametrize("everywhere", [False, True])
def test_layers_in_half_precision_are_named(everywhere):
    """tensorflow.org/guide/mixed_precision: a policy for all layers, or for one, that PyTorch's side does not have."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16" if everywhere else before)
    try:
        hidden = L.Dense(8, activation="tanh", name="hidden", dtype=None if everywhere else "mixed_float16")
        model = keras.Sequential([keras.Input((6,)), hidden, L.Dense(3, name="last", dtype="float32")])
    finally:
        keras.config.set_dtype_policy(before)
    network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    fill(model, network[0], network[2])
    case = Case(network, model, ROWS, LABELS, FAST)
    report = case.check()
    assert [f"{x.where}: {x.what}" for x in report.findings] == ["hidden: Keras computes in float16 (mixed_float16)"]
    assert case.after_pasting(report).same_training


def test_batches_have_the_size_that_keras_s_inputs_fix():
    """keras.io/api/layers/recurrent_layers/lstm: `batch_shape` for a stateful RNN, 16 samples here."""
    network, rows = Last(), RANDOM.normal(size=(64, 7, 5)).astype(np.float32)
    model = keras.Sequential([keras.Input(batch_shape=(16, 7, 5)), L.GRU(6, stateful=True), L.Dense(3)])
    fill(model, network.rnn, network.head)
    case = Case(network, model, rows, LABELS, FAST)
    assert case.check(batch_size=32).same_function is True
    with pytest.raises(UserError, match="batches of 16 samples, got 10"):
        kp.check(network, model, rows[:10])


def test_layers_inside_others_are_copied_into_float64_too():
    steps = keras.Input((7, 5))
    both = L.Bidirectional(L.GRU(4, return_sequences=True))(steps)
    model = keras.Model(steps, L.RNN(L.LSTMCell(4))(L.TimeDistributed(L.Dense(3))(both)))
    copied = copy_in(model, "float64")
    assert {layer.compute_dtype for layer in copied._flatten_layers()} == {"float64"}
    assert {weight.dtype for weight in copied.weights} == {"float64"}


class Sampler(keras.Model):
    """Drops features in inference mode, too."""

    def __init__(self):
        super().__init__()
        self.first, self.noise, self.last = L.Dense(8, activation="tanh"), L.Dropout(0.5), L.Dense(3)

    def call(self, rows):
        return self.last(self.noise(self.first(rows), training=True))


def test_a_dropout_that_keras_s_model_calls_in_training_mode_always_is_random_in_inference():
    """stackoverflow.com: `dropout(x, training=True)` for Monte Carlo dropout; PyTorch's is off in `eval()`."""
    network, model = plain_pair()[0], Sampler()
    model(ROWS[:1])
    fill(model, network[0], network[2])
    report = Case(network, model, ROWS, LABELS, FAST).check()
    assert report.same_function is None
    assert "Keras's outputs are not repeatable" in report.verdict


def test_a_difference_that_another_fix_removes_is_no_cause():
    class Gated(nn.Module):
        """A WaveNet's gates: tanh(f) * sigmoid(g)."""

        def __init__(self):
            super().__init__()
            self.f, self.g = nn.Linear(6, 8), nn.Linear(6, 8)

        def forward(self, rows):
            return self.f(rows).tanh() * self.g(rows).sigmoid()

    network, rows = Gated(), keras.Input((6,))
    first, second = L.Dense(8, activation="tanh"), L.Dense(8, activation="sigmoid")
    model = keras.Model(rows, first(rows) * second(rows))
    fill(model, network.g, network.f)  # exchanged
    report = Case(network, model, ROWS, LABELS, FAST).check()
    assert report.same_function is False
    assert report.findings
    assert all(finding.fixes for finding in report.findings)


def test_a_schedule_that_waits_for_a_metric_keeps_its_rate():
    network, model = plain_pair()
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau
    report = Case(network, model, ROWS, LABELS, FAST | {"torch_schedule": plateau}).check()
    assert report.same_training is True
    assert any("ReduceLROnPlateau" in note for note in report.notes)


@pytest.mark.parametrize("first", ["left", "right"])
def test_calls_of_a_shared_layer_are_matched_by_what_feeds_them(first):
    """A siamese pair whose sides run in another order in the two frameworks; PyTorch's layer lacks its bias."""

    class Siamese(nn.Module):
        def __init__(self):
            super().__init__()
            self.shared, self.head = nn.Linear(6, 4, bias=False), nn.Linear(8, 3)

        def forward(self, left, right):
            sides = {"left": left, "right": right}
            ran = {name: self.shared(sides[name]).sigmoid() for name in sorted(sides, key=lambda name: name != first)}
            return self.head(torch.cat([ran["left"], ran["right"]], 1))

    left, right = keras.Input((6,)), keras.Input((6,))
    shared = L.Dense(4, activation="sigmoid", name="shared", bias_initializer="ones")
    model = keras.Model([left, right], L.Dense(3)(L.Concatenate()([shared(left), shared(right)])))
    network = Siamese()
    fill(model, [network.shared.weight.detach().numpy().T, np.ones(4)], network.head)
    both = [ROWS, ROWS[::-1].copy()]
    report = Case(network, model, both, LABELS, FAST | {"torch_images": both}).check()
    assert {finding.where for finding in report.findings} <= {"shared", "shared/bias"}
    assert len(report.findings) == 2


@pytest.mark.parametrize("scheduled", ["PyTorch", "Keras"])
def test_a_schedule_of_a_lightning_module_is_compared(scheduled):
    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.network, model = plain_pair()
            self.port = [model]

        def forward(self, rows):
            return self.network(rows)

        def training_step(self, batch, place):
            return F.cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), 0.2)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)] * (scheduled == "PyTorch")

    network = Module()
    rate = 0.2 if scheduled == "PyTorch" else keras.optimizers.schedules.ExponentialDecay(0.2, 5, 0.5)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.port[0].compile(keras.optimizers.SGD(rate), loss)
    (finding,) = kp.check(network, network.port[0], ROWS, LABELS).findings
    assert finding.where == "the schedule"
    expected = {
        "PyTorch": r"PyTorch's learning rate goes from 0.2 to \S+, Keras's is constant",
        "Keras": r"learning rate at step 2: 0.2 in PyTorch, 0.174\d+ in Keras",
    }
    assert re.fullmatch(expected[scheduled], finding.what)
