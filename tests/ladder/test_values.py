"""Values that a comparison of whole outputs, in float32, would hide or not take."""

import keras
import numpy as np
import pytest
import torch
from torch import nn

import keras_parity as kp
from cnn_mnist.errors import UserError
from keras_parity.ladder.judge.measures import compare_runs
from tests.ladder.test_restored import LOSS, X, Y, mlp, put

L, ops = keras.layers, keras.ops
MASK = np.array([0, 0, -1e9], "float32")


class Masked(nn.Module):
    """A network with a masked logit."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, inputs):
        """Inputs [batch, 6]."""
        logits = self.network(inputs)
        return logits + torch.from_numpy(MASK).to(logits.dtype)


@pytest.mark.parametrize(("changed", "same"), [(0.0, True), (1e-3, False)])
def test_a_masked_logit_hides_no_difference_of_the_others_and_no_step(changed, same):
    network, model = mlp("sgd")
    network[2].bias.data[0] += changed  # 1e-12 of the mask
    masked = keras.Sequential([*model.layers, L.Lambda(lambda x: x + MASK)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    report = kp.check(Masked(network), masked, X, Y % 2, keras_loss=loss, **LOSS)
    assert (report.same_function, report.same_training) == ((True, True) if same else (False, None)), str(report)


def test_a_column_of_millions_hides_no_difference_of_another():
    inputs, dense = keras.Input((6,)), L.Dense(1)
    model = keras.Model(inputs, ops.concatenate([1e7 * dense(inputs), ops.sigmoid(dense(inputs))], -1))
    linear = nn.Linear(6, 1)
    put(dense, linear)

    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = linear

        def forward(self, inputs):
            out = self.linear(inputs)
            return torch.cat([1e7 * out, 1 - out.sigmoid()], -1)

    assert kp.check(Module(), model, X).same_function is False


def test_small_values_are_compared_by_themselves_only_where_a_gap_sets_them_apart_and_noise_allows():
    generator = np.random.default_rng(0)
    ordinary, large = generator.normal(size=(64, 4)), np.full((64, 1), 1e9)
    for values, moved, expected in (
        (np.hstack([ordinary, large]), 1e-3, False),
        (np.hstack([ordinary, large]), 0.0, True),
        (np.hstack([1e-8 * ordinary, large / 1e9]), 1e-8, True),  # rounding next to values of 1
        (np.hstack([ordinary[:3], large[:3]]), 1e-3, True),  # too few to know their noise
    ):
        other = values.copy()
        other[:, 0] += moved
        runs = [
            [[side], *([side * (1 + 1e-8 * generator.normal(size=side.shape))] for _ in range(2))]
            for side in (values, other)
        ]
        assert compare_runs(0, "float64", runs)[0].same is expected
    for moved, expected in ((1e-3, None), (0.0, True)):  # rounding drowns a difference, but not an agreement
        drowned = [[[run] for run in (side, side * 1.5, side)] for side in (values, values * (1 + moved))]
        assert compare_runs(0, "float64", drowned)[0].same is expected


@pytest.mark.parametrize("tensors", [False, True])
def test_bool_inputs_stay_bool_on_both_sides(tensors):
    inputs, kept = keras.Input((5, 4)), keras.Input((5,), dtype="bool")
    score, out = L.Dense(1), L.Dense(2)
    weights = ops.softmax(ops.where(kept, ops.squeeze(score(inputs), -1), -1e9))
    model = keras.Model([inputs, kept], out(ops.sum(inputs * ops.expand_dims(weights, -1), 1)))

    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            self.score, self.out = nn.Linear(4, 1), nn.Linear(4, 2)

        def forward(self, inputs, kept):
            weights = (self.score(inputs).squeeze(-1) - 1e9 * ~kept).softmax(-1)
            return self.out((inputs * weights.unsqueeze(-1)).sum(1))

    network = Module()
    put(score, network.score)
    put(out, network.out)
    generator = np.random.default_rng(0)
    images = [generator.normal(size=(64, 5, 4)).astype("float32"), np.arange(5) < generator.integers(1, 6, (64, 1))]
    given = [torch.from_numpy(array) for array in images] if tensors else None
    assert kp.check(network, model, images, torch_images=given).same_function is True


def test_weights_that_keras_averages_at_the_end_of_fit_are_compared():
    network, model = mlp(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9))
    report = kp.check(network, model, X, Y, torch_optimizer=torch.optim.SGD(network.parameters(), 0.1), **LOSS)
    assert report.same_training is False
    assert "Keras averages its weights" in str(report)


def test_a_network_of_16_bits_is_refused_instead_of_compared_in_float32():
    network, model = mlp("sgd")
    with pytest.raises(UserError, match=r"expected PyTorch weights in float32, got torch\.bfloat16"):
        kp.check(network.bfloat16(), model, X)
    assert network[0].weight.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"images": torch.utils.data.DataLoader([1])}, "expected arrays or tensors .*, got DataLoader"),
        ({"images": X, "batch_size": 0}, "expected batch_size of at least 1, got 0"),
        ({"images": X, "steps": 0}, "expected steps of at least 1, got 0"),
    ],
)
def test_what_cannot_be_checked_is_one_line(words, message):
    with pytest.raises(UserError, match=message):
        kp.check(*mlp("sgd"), **words)


def test_a_batch_norm_that_cannot_train_on_one_sample_is_judged_as_a_function():
    model = keras.Sequential([keras.Input((6,)), L.Dense(8), L.BatchNormalization(epsilon=1e-5)])
    network = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8))
    put(model.layers[0], network[0])
    report = kp.check(network, model, X[:1], X[:1, :1], torch_loss=nn.MSELoss(), keras_loss="mse")
    assert report.same_function is True
    assert "PyTorch's training step fails with ValueError" in " ".join(report.verdict.split())


def test_outputs_in_another_order_are_named_and_no_weight_is_accused():
    inputs, mean, spread = keras.Input((6,)), L.Dense(2, name="mean"), L.Dense(2, name="spread")
    model = keras.Model(inputs, [mean(inputs), spread(inputs)])

    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            self.mean, self.spread = nn.Linear(6, 2), nn.Linear(6, 2)

        def forward(self, inputs):
            return self.spread(inputs), self.mean(inputs)

    network = Module()
    put(mean, network.mean)
    put(spread, network.spread)
    (finding,) = kp.check(network, model, X).findings
    assert (finding.where, "in the order (1, 0)" in finding.what) == ("the outputs", True)


def test_a_softmax_over_the_batch_is_no_logit():
    network, model = mlp("sgd")
    softmax = keras.Sequential([*model.layers, L.Softmax()])
    report = kp.check(nn.Sequential(network, nn.Softmax(0)), softmax, X)
    assert report.same_function is False
    assert "logits" not in str(report)


@pytest.mark.parametrize("eps", [1e-3, None])
def test_rms_norms_are_matched_and_their_epsilon_is_named(eps):
    model = keras.Sequential([keras.Input((6,)), L.RMSNormalization(epsilon=0.1), L.Dense(3)])
    network = nn.Sequential(nn.RMSNorm(6, eps=eps), nn.Linear(6, 3))
    report = kp.check(network, model, X, weights="keras")
    assert report.to_paste == ["torch_model[0].eps = 0.1"]
    assert report.notes[-1].startswith("after pasting: not decided: same function")


class Packed(nn.Module):
    """An LSTM over packed sequences, which gives zeros at the padding."""

    def __init__(self):
        super().__init__()
        self.rnn, self.out = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, steps):
        """Steps [batch, 5, 3], zeros at the end."""
        lengths = (steps != 0).any(-1).sum(1)
        packed = nn.utils.rnn.pack_padded_sequence(steps, lengths, batch_first=True, enforce_sorted=False)
        return self.out(nn.utils.rnn.pad_packed_sequence(self.rnn(packed)[0], batch_first=True, total_length=5)[0])


def test_outputs_at_the_padding_are_named_behind_the_lstm():
    layers = [L.Masking(0.0), L.LSTM(4, return_sequences=True), L.Dense(2)]
    steps = np.random.default_rng(0).normal(size=(32, 5, 3)).astype("float32")
    steps[:, 3:] = 0
    report = kp.check(Packed(), keras.Sequential([keras.Input((5, 3)), *layers]), steps, weights="keras")
    assert report.same_function is False
    (finding,) = report.findings
    assert finding.where.endswith("to out")
    assert "rejects" not in str(report)


class Positions(nn.Module):
    """A learned position, as a bare parameter, and causal or full attention."""

    def __init__(self, causal):
        super().__init__()
        self.causal, self.positions = causal, nn.Parameter(torch.randn(5, 8))
        self.attention, self.out = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)

    def forward(self, inputs):
        """Inputs [batch, 5, 8]."""
        inputs = inputs + self.positions
        mask = torch.ones(5, 5, dtype=torch.bool).triu(1) if self.causal else None
        return self.out(self.attention(inputs, inputs, inputs, attn_mask=mask, need_weights=False)[0])


class Placed(L.Layer):
    """Adds a learned position, from an embedding."""

    def __init__(self):
        super().__init__()
        self.table = L.Embedding(5, 8)

    def call(self, inputs):
        """Inputs [batch, 5, 8]."""
        return inputs + self.table(ops.arange(5))


@pytest.mark.parametrize("causal", [True, False])
def test_positions_that_are_an_embedding_in_keras_are_copied_and_not_accused(causal):
    inputs = keras.Input((5, 8))
    placed = Placed()(inputs)
    attended = L.MultiHeadAttention(2, 4, name="attention")(placed, placed, use_causal_mask=True)
    model = keras.Model(inputs, L.Dense(3, name="out")(attended))
    data = np.random.default_rng(0).normal(size=(32, 5, 8)).astype("float32")
    report = kp.check(Positions(causal), model, data, weights="keras")
    assert report.same_function is causal, str(report)
    assert "positions" not in " ".join(finding.where for finding in report.findings)


def test_the_projection_that_is_pasted_is_keras_max_norm_to_the_rounding():
    model = keras.Sequential([keras.Input((6,)), L.Dense(3, kernel_constraint=keras.constraints.MaxNorm(0.7))])
    network = nn.Sequential(nn.Linear(6, 3))
    report = kp.check(network, model, X, Y, weights="keras", torch_loss=nn.CrossEntropyLoss(), steps=50, batch_size=16)
    assert report.notes[-1].startswith("after pasting: same function, same training"), str(report)


def test_no_step_is_refused_in_plain_words(command):
    code, _, err = command("keras_parity", "ladder", "--steps=0")
    assert (code, "--steps: expected a whole number of at least 1 or null, got 0" in err) == (2, True)
