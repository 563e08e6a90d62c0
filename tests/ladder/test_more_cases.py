"""More ports that people ask about in public, one test for each question; see ``test_cases``."""

import keras
import lightning
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cnn_mnist.errors import UserError
from cnn_mnist.pytorch.keras_optimizers import KerasAdam
from tests.ladder.cases import FAST, SAME, Case, apart, attention, columns, fill, gates, numpy, other, recurrent
from tests.ladder.test_cases import CLASSES, IMAGES, KINDS, ROWS, SEQUENCES, cases, mlp

L = keras.layers
LABELS = CLASSES[:64]
LENGTHS = np.random.default_rng(1).integers(2, 8, 96)
PADDED = SEQUENCES * (np.arange(7) < LENGTHS[:, None])[..., None]
WORDS = np.random.default_rng(2).integers(1, 11, (96, 7)) * (np.arange(7) < LENGTHS[:, None])


class Directions(nn.Module):
    """A bidirectional GRU, one form of its output, a dense layer."""

    def __init__(self, how):
        super().__init__()
        self.how, self.rnn = how, nn.GRU(5, 6, batch_first=True, bidirectional=True)
        self.head = nn.Linear(6 if how == "added" else 12, 3)

    def forward(self, steps):
        steps, state = self.rnn(steps)
        forms = {
            "last_states": lambda: torch.cat([*state], 1),
            "last_step": lambda: steps[:, -1],
            "all_steps": lambda: steps.mean(1),
            "added": lambda: (steps[..., :6] + steps[..., 6:]).mean(1),
        }
        return self.head(forms[self.how]())


@cases(last_states=SAME, last_step=other("rnn|head|directional", None), all_steps=SAME, added=SAME)
def test_both_directions_of_a_gru(hold, which, truth):
    """pytorch/pytorch#3587: at the last step, the backward direction has seen one input only."""
    network, sequences = Directions(which), which in ("all_steps", "added")
    both = L.Bidirectional(L.GRU(6, return_sequences=sequences), merge_mode="sum" if which == "added" else "concat")
    layers = [both, *([L.GlobalAveragePooling1D()] if sequences else []), L.Dense(3)]
    model = keras.Sequential([keras.Input((7, 5)), *layers])
    fill(model, [*recurrent(network.rnn), *recurrent(network.rnn, "l0_reverse")], network.head)
    hold(Case(network, model, SEQUENCES, CLASSES, FAST), truth)


class Packed(nn.Module):
    """A GRU of padded sequences, packed or not; its last state, a dense layer."""

    def __init__(self, packed, both):
        super().__init__()
        self.packed, self.rnn = packed, nn.GRU(5, 6, batch_first=True, bidirectional=both)
        self.head = nn.Linear(12 if both else 6, 3)

    def forward(self, steps):
        if self.packed:
            lengths = (steps != 0).any(-1).sum(1)
            steps = nn.utils.rnn.pack_padded_sequence(steps, lengths, batch_first=True, enforce_sorted=False)
        return self.head(torch.cat([*self.rnn(steps)[1]], 1))


@cases(
    packed=SAME,
    packed_in_both_directions=SAME,
    not_packed=other("mask|rnn|gru", None),
    no_mask_in_keras=other("mask|rnn|gru", None),
)
def test_masks_and_packed_sequences(hold, which, truth):
    """yalesong/pvse#13, stackoverflow 54989442: a mask in Keras is a packed sequence in PyTorch."""
    both = which == "packed_in_both_directions"
    network = Packed(which != "not_packed", both)
    layers = [*([] if which == "no_mask_in_keras" else [L.Masking()]), L.Bidirectional(L.GRU(6)) if both else L.GRU(6)]
    model = keras.Sequential([keras.Input((7, 5)), *layers, L.Dense(3)])
    back = recurrent(network.rnn, "l0_reverse") if both else []
    fill(model, [*recurrent(network.rnn), *back], network.head)
    hold(Case(network, model, PADDED, CLASSES, FAST), truth)


class Bag(nn.Module):
    """A mean of embeddings, of all words or without padding, a dense layer."""

    def __init__(self, masked, padding=None):
        super().__init__()
        self.masked, self.embedding, self.out = masked, nn.Embedding(11, 6, padding), nn.Linear(6, 3)

    def forward(self, words):
        vectors, mask = self.embedding(words), (words != 0)[..., None].to(self.out.weight.dtype)
        return self.out((vectors * mask).sum(1) / mask.sum(1) if self.masked else vectors.mean(1))


@cases(
    masked_in_both=SAME,
    masked_in_keras_alone=other("mask|embedding|pool|mean", None),
    masked_in_neither=SAME,
    padding_learns_in_keras_alone=apart("embedding|padding"),
)
def test_a_mean_of_words_without_the_padding(hold, which, truth):
    """keras-team/keras#10895; minibatchai.com "Embedding": `padding_idx` stops learning, not averaging."""
    padding = 0 if which in ("padding_learns_in_keras_alone", "masked_in_keras_alone") else None
    network = Bag(which == "masked_in_both", padding)
    embedding = L.Embedding(11, 6, mask_zero="masked_in" in which and "neither" not in which)
    model = keras.Sequential([keras.Input((7,), dtype="int32"), embedding, L.GlobalAveragePooling1D(), L.Dense(3)])
    fill(model, network.embedding, network.out)
    hold(Case(network, model, WORDS, CLASSES, FAST), truth)


class Tagger(nn.Module):
    """A class for each word."""

    def __init__(self):
        super().__init__()
        self.embedding, self.out = nn.Embedding(11, 6), nn.Linear(6, 3)

    def forward(self, words):
        return self.out(torch.tanh(self.embedding(words)))


@cases(padding_ignored=SAME, padding_counted=apart("loss|mask", mended=None))
def test_a_loss_of_each_word_without_the_padding(hold, which, truth):
    """tensorflow/tensorflow#39146: Keras's mask reaches the loss; PyTorch needs `ignore_index`."""
    network = Tagger()
    given = keras.Input((7,), dtype="int32")
    model = keras.Model(given, L.Dense(3)(L.Activation("tanh")(L.Embedding(11, 6, mask_zero=True)(given))))
    fill(model, network.embedding, network.out)
    tags, ignored = np.where(WORDS == 0, 0, WORDS % 2 + 1), 0 if which == "padding_ignored" else -100
    loss = lambda output, labels: F.cross_entropy(output.transpose(1, 2), labels, ignore_index=ignored)  # noqa: E731
    words = {"torch_loss": loss, "keras_loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}
    hold(Case(network, model, WORDS, tags, FAST | words), truth)


class Attends(nn.Module):
    """Self-attention, the mean over the steps, a dense layer."""

    def __init__(self, mask):
        super().__init__()
        self.mask, self.attention, self.out = mask, nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)

    def forward(self, steps):
        later = torch.triu(torch.ones(7, 7, dtype=torch.bool), 1)
        padding = (steps == 0).all(-1)
        words = {
            "causal": {"attn_mask": later},
            "padding": {"key_padding_mask": padding},
            "inverted": {"key_padding_mask": ~padding},
        }
        return self.out(self.attention(steps, steps, steps, **words.get(self.mask, {}))[0].mean(1))


@cases(
    none=SAME,
    causal=SAME,
    causal_in_keras_alone=other("attention|mask", None),
    padding=SAME,
    padding_inverted=other("attention|mask", None),
    heads_last_in_the_weights=other("attention"),
)
def test_attention_and_its_masks(hold, which, truth):
    """tensorflow/tensorflow#45854, AlexanderLutsenko/nobuco#46: True means visible in Keras, hidden in PyTorch."""
    network = Attends({"padding_inverted": "inverted"}.get(which, which))
    nn.init.normal_(network.attention.in_proj_bias)
    given = keras.Input((7, 8))
    words = {"use_causal_mask": True} if which.startswith("causal") else {}
    if which.startswith("padding"):
        words["attention_mask"] = keras.ops.any(keras.ops.not_equal(given, 0.0), axis=-1)[:, None, :]
    attended = L.MultiHeadAttention(2, 4)(given, given, **words)
    model = keras.Model(given, L.Dense(3)(L.GlobalAveragePooling1D()(attended)))
    weights = attention(network.attention)
    if which == "heads_last_in_the_weights":  # [size, head size, heads], transposed
        weights[0] = weights[0].reshape(8, 4, 2).swapaxes(1, 2)
    layer = next(layer for layer in model.layers if isinstance(layer, L.MultiHeadAttention))
    layer.set_weights(weights)
    model.layers[-1].set_weights([numpy(network.out.weight).T, numpy(network.out.bias)])
    wide = np.random.default_rng(0).normal(size=(96, 7, 8)).astype(np.float32)
    # at least one step is padding; PyTorch returns NaN if all steps are hidden
    seen = (np.arange(7) < np.minimum(LENGTHS, 6)[:, None])[..., None] if "padding" in which else 1
    hold(Case(network, model, (wide * seen).astype(np.float32), CLASSES, FAST), truth)


@cases(the_same_epsilon=SAME, epsilon_of_the_tutorial=other("^1:|norm|eps"))
def test_an_encoder_layer(hold, which, truth):
    """tensorflow/tensorflow#45854: `nn.TransformerEncoderLayer` and the tutorial's; dropout in both."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.1, batch_first=True)
    network = nn.Sequential(layer, nn.Flatten(), nn.Linear(56, 3))
    given, epsilon = keras.Input((7, 8)), 1e-5 if which == "the_same_epsilon" else 1e-2
    attended = L.Dropout(0.1)(L.MultiHeadAttention(2, 4, dropout=0.1)(given, given))
    steps = L.LayerNormalization(epsilon=epsilon)(given + attended)
    inner = L.Dropout(0.1)(L.Dense(8)(L.Dropout(0.1)(L.Dense(16, activation="relu")(steps))))
    steps = L.LayerNormalization(epsilon=epsilon)(steps + inner)
    model = keras.Model(given, L.Dense(3)(L.Flatten()(steps)))
    fill(model, layer.self_attn, layer.norm1, layer.linear1, layer.linear2, layer.norm2, network[2])
    hold(Case(network, model, np.concatenate([SEQUENCES, SEQUENCES[..., :3]], -1) * 0.1, CLASSES, FAST), truth)


def images_and(*parts, layers, last=4, **words):
    """A convolution, the layer under test, a mean over the image, a dense layer, in both frameworks."""
    network = nn.Sequential(nn.Conv2d(2, 4, 3), *parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, 3))
    ends = [L.GlobalAveragePooling2D(), L.Dense(3)]
    model = keras.Sequential([keras.Input((8, 8, 2)), L.Conv2D(4, 3), *layers, *ends])
    model.layers[0].set_weights([numpy(network[0].weight).transpose(2, 3, 1, 0), numpy(network[0].bias)])
    model.layers[-1].set_weights([numpy(network[-1].weight).T, numpy(network[-1].bias)])
    return network, model


@cases(
    the_same=SAME,
    pytorchs_momentum=apart("^1:|norm|momentum"),
    momentum_of_keras=apart("^1:|norm|momentum"),
    eps=other("^1:|norm|eps"),
)
def test_momentum_and_epsilon_of_a_batch_norm(hold, which, truth):
    """keras-team/keras#6839: Keras's momentum keeps, PyTorch's replaces; the epsilons differ by default."""
    words = {"pytorchs_momentum": {"momentum": 0.1}, "momentum_of_keras": {"momentum": 0.99}}.get(which, {})
    words = {"momentum": 0.01, "eps": 1e-5 if which == "eps" else 1e-3} | words
    network, model = images_and(nn.BatchNorm2d(4, **words), layers=[L.BatchNormalization()])
    hold(Case(network, model, IMAGES, LABELS, FAST, limit=0.0 if which == "eps" else 1e-3), truth)


def test_the_variance_over_n_and_over_n_minus_1_is_told_where_it_is_taken_for_the_same():
    """pytorch/pytorch#19902: no PyTorch setting makes its moving variance equal to Keras's."""
    norm = nn.BatchNorm1d(6, eps=1e-3, momentum=0.01)
    network, model = nn.Sequential(norm, nn.Linear(6, 4)), keras.Sequential([L.BatchNormalization(), L.Dense(4)])
    model.build((None, 6))
    fill(model, norm, network[1])
    report = Case(network, model, ROWS, KINDS, FAST).check()
    assert report.same_function is True
    assert any("variance" in note for note in [*report.notes, *(finding.what for finding in report.findings)])


@cases(
    instances=SAME,
    instances_with_pytorchs_epsilon=other("^1:|norm|eps", None),
    instances_without_scale=apart("^1:|norm|gamma|beta|affine", mended=None),
    groups=SAME,
    other_groups=other("^1:|norm|groups"),
)
def test_norms_of_instances_and_groups(hold, which, truth):
    """keras-team/keras#19050: `GroupNormalization(groups=-1)` is an instance norm with another epsilon."""
    norm = {
        "instances": lambda: nn.InstanceNorm2d(4, 1e-3, affine=True),
        "instances_with_pytorchs_epsilon": lambda: nn.InstanceNorm2d(4, affine=True),
        "instances_without_scale": lambda: nn.InstanceNorm2d(4, 1e-3),
    }.get(which, lambda: nn.GroupNorm(4 if which == "other_groups" else 2, 4, 1e-3))()
    groups = -1 if which.startswith("instances") else 2
    layers = [L.GroupNormalization(groups), L.ReLU()]
    network, model = images_and(norm, nn.ReLU(), layers=layers)
    hold(Case(network, model, IMAGES, LABELS, FAST), truth)


@cases(by_channel=SAME, one_for_all=SAME, by_place_in_keras=apart("^1[:.]|p_?re_?lu|shared_axes", mended=None))
def test_slopes_of_a_prelu(hold, which, truth):
    """keras-team/keras#13543, zhijiesun/Mobilefacenet#2: Keras has one for each position by default."""
    axes = {"by_channel": [1, 2], "one_for_all": [1, 2, 3], "by_place_in_keras": None}[which]
    slopes = L.PReLU(keras.initializers.Constant(0.25), shared_axes=axes)
    network, model = images_and(nn.PReLU(1 if which == "one_for_all" else 4), layers=[slopes])
    hold(Case(network, model, IMAGES, LABELS, FAST), truth)


@cases(not_counted=SAME, counted=other("^1:|pool|count_include_pad"))
def test_an_average_at_the_border(hold, which, truth):
    """pytorch/pytorch#8644: Keras averages without the padding, PyTorch includes its zeros."""
    pool = nn.AvgPool2d(3, 1, 1, count_include_pad=which == "counted")
    ends = L.AveragePooling2D(3, 1, "same")
    network, model = images_and(pool, nn.ReLU(), layers=[ends, L.ReLU()])
    hold(Case(network, model, IMAGES, LABELS, FAST), truth)


@cases(centers=SAME, corners=other("^1:|up_?sampl|align_corners"), nearest=other("^1:|up_?sampl|mode|interpolation"))
def test_a_bilinear_resize(hold, which, truth):
    """bonlime/keras-deeplab-v3-plus#49, pytorch/pytorch#10604: aligned corners or centers."""
    words = {"mode": "nearest"} if which == "nearest" else {"mode": "bilinear", "align_corners": which == "corners"}
    up = nn.Upsample(scale_factor=2, **words)
    resized = L.UpSampling2D(2, interpolation="bilinear")
    network, model = images_and(up, nn.ReLU(), layers=[resized, L.ReLU()])
    # TensorFlow resizes in float32 under every policy
    hold(Case(network, model, IMAGES, LABELS, FAST, limit=2e-6), truth)


@cases(weights_by_channel=SAME, weights_by_multiple=other("[12]|separable|depthwise"))
def test_a_separable_convolution(hold, which, truth):
    """stackguides.com 65154182 "Implement SeparableConv2D in PyTorch": one layer of Keras is two of PyTorch."""
    deep, point = nn.Conv2d(4, 8, 3, padding=1, groups=4, bias=False), nn.Conv2d(8, 4, 1)
    layers = [L.SeparableConv2D(4, 3, padding="same", depth_multiplier=2), L.ReLU()]
    network, model = images_and(deep, point, nn.ReLU(), layers=layers)
    kernel = numpy(deep.weight)[:, 0].reshape(4, 2, 3, 3)  # channel, multiplier
    if which == "weights_by_multiple":
        kernel = numpy(deep.weight)[:, 0].reshape(2, 4, 3, 3).swapaxes(0, 1)
    weights = [kernel.transpose(2, 3, 0, 1), numpy(point.weight).transpose(2, 3, 1, 0), numpy(point.bias)]
    model.layers[1].set_weights(weights)
    hold(Case(network, model, IMAGES, LABELS, FAST), truth)


@cases(padded_at_the_end=SAME, padded_on_both_sides=other("^0|conv", None))
def test_a_convolution_of_stride_2(hold, which, truth):
    """keras-team/keras#19291, keras-team/keras#16363: "same" pads at the end only if the size is even."""
    network, model = images_and(layers=[L.ReLU()])
    ends = which == "padded_at_the_end"
    first = [nn.ZeroPad2d((0, 1, 0, 1))] if ends else []
    conv = nn.Conv2d(2, 4, 3, 2, 0 if ends else 1)
    network = nn.Sequential(*first, conv, nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    layers = [L.Conv2D(4, 3, 2, "same", activation="relu"), L.Flatten(), L.Dense(3)]
    model = keras.Sequential([keras.Input((8, 8, 2)), *layers])
    fill(model, conv, columns(network[-1], 4, 4))
    hold(Case(network, model, IMAGES, LABELS, FAST), truth)


@cases(by_place=SAME, only_transposed=other("[23]|dense|linear|weight"))
def test_weights_behind_a_flattened_image(hold, which, truth):
    """gzuidhof/nn-transfer#16: PyTorch flattens by channel, Keras by position."""
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    layers = [L.Conv2D(4, 3, activation="relu"), L.Flatten(), L.Dense(3)]
    model = keras.Sequential([keras.Input((8, 8, 2)), *layers])
    fill(model, network[0], columns(network[3], 6, 6) if which == "by_place" else network[3])
    hold(Case(network, model, IMAGES, LABELS), truth)


@cases(flattened_by_channel=SAME, flattened_by_place=other("[23]|flatten|dense|weight", None))
def test_channels_first_in_keras(hold, which, truth):
    """gmalivenko/pytorch2keras#34: Keras's own NCHW, with a Flatten that reads by position if set so."""
    network = nn.Sequential(nn.Conv3d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))
    words, by_channel = {"data_format": "channels_first"}, which == "flattened_by_channel"
    flatten = L.Flatten(data_format="channels_last" if by_channel else "channels_first")
    model = keras.Sequential(
        [keras.Input((2, 4, 4, 4)), L.Conv3D(4, 3, activation="relu", **words), flatten, L.Dense(3)]
    )
    fill(model, network[0], network[3])
    volumes = np.random.default_rng(0).normal(size=(64, 2, 4, 4, 4)).astype(np.float32)
    hold(Case(network, model, volumes, LABELS, FAST | {"torch_images": volumes}), truth)


class Pooled(nn.Module):
    """A weighted mean over time, a dense layer."""

    def __init__(self, dim):
        super().__init__()
        self.score, self.softmax, self.out = nn.Linear(5, 5), nn.Softmax(dim), nn.Linear(5, 3)

    def forward(self, steps):
        return self.out((self.softmax(self.score(steps)) * steps).sum(1))


@cases(
    over_time=SAME, over_the_last_axis_in_keras=other("softmax|axis", None), over_images_in_pytorch=other("softmax|dim")
)
def test_the_axis_of_a_softmax(hold, which, truth):
    """whosebug.com 5625956 "Understanding the axis parameter in the softmax activation function"."""
    network = Pooled(0 if which == "over_images_in_pytorch" else 1)
    given = keras.Input((7, 5))
    parts = L.Softmax(-1 if which == "over_the_last_axis_in_keras" else 1)(L.Dense(5)(given))
    model = keras.Model(given, L.Dense(3)(keras.ops.sum(L.Multiply()([parts, given]), axis=1)))
    fill(model, network.score, network.out)
    hold(Case(network, model, SEQUENCES, CLASSES, FAST), truth)


@cases(
    sigmoid=SAME, hard_sigmoid_in_keras=other("gru|rnn|recurrent_activation"), before_the_product=other("gru|rnn", None)
)
def test_gates_of_old_models(hold, which, truth):
    """minimaxir/textgenrnn#153, keras-team/keras#15915: Keras's old default gate, and its old GRU with one bias."""
    network = nn.Sequential()
    network.add_module("rnn", nn.GRU(5, 6, batch_first=True))
    network.add_module("last", Last())
    network.add_module("head", nn.Linear(6, 3))
    gate = "hard_sigmoid" if which == "hard_sigmoid_in_keras" else "sigmoid"
    layer = L.GRU(6, recurrent_activation=gate, reset_after=which != "before_the_product")
    model = keras.Sequential([keras.Input((7, 5)), layer, L.Dense(3)])
    weights = recurrent(network.rnn)
    if which == "before_the_product":
        weights[2] = gates(numpy(network.rnn.bias_ih_l0 + network.rnn.bias_hh_l0))
    fill(model, weights, network.head)
    hold(Case(network, model, SEQUENCES, CLASSES, FAST), truth)


class Last(nn.Module):
    """The last step of a recurrent layer's output."""

    def forward(self, given):
        return given[0][:, -1]


def smoothed_by_others(output, labels):
    """A smoothing that excludes the label's own class, as often written by hand."""
    return -((labels * 0.9 + (1 - labels) * 0.1 / 3) * output.log_softmax(-1)).sum(-1).mean()


@cases(of_all_classes=SAME, of_the_other_classes=apart("loss|smooth"), forgotten=apart("loss|smooth"))
def test_label_smoothing(hold, which, truth):
    """pytorch/pytorch#7455: spread over all classes, or over all but one."""
    losses = {"of_all_classes": nn.CrossEntropyLoss(label_smoothing=0.1), "of_the_other_classes": smoothed_by_others}
    words = {"torch_loss": losses.get(which, nn.CrossEntropyLoss())}
    words["keras_loss"] = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    hold(Case(*mlp(), ROWS, np.eye(4, dtype=np.float32)[KINDS], FAST | words), truth)


@cases(mean=SAME, summed=apart("loss|reduction"), summed_by_sample=apart("loss", mended=None))
def test_a_loss_that_is_summed(hold, which, truth):
    """keras-team/keras#6015, maxhodak/keras-molecules#59: a mean or a sum, over features or samples."""
    by_sample = lambda output, labels: ((output - labels) ** 2).sum(-1).mean()  # noqa: E731
    loss = {"mean": nn.MSELoss(), "summed": nn.MSELoss(reduction="sum"), "summed_by_sample": by_sample}[which]
    targets = np.random.default_rng(0).normal(size=(160, 4)).astype(np.float32)
    words = {"torch_loss": loss, "keras_loss": keras.losses.MeanSquaredError()}
    hold(Case(*mlp(), ROWS, targets, words), truth)


class Heads(nn.Module):
    """Two dense layers on one hidden layer; returns a list or a dict."""

    def __init__(self, named=False):
        super().__init__()
        self.named, self.hidden, self.kind, self.size = named, nn.Linear(6, 8), nn.Linear(8, 4), nn.Linear(8, 1)

    def forward(self, rows):
        hidden = torch.tanh(self.hidden(rows))
        kind, size = self.kind(hidden), self.size(hidden)
        return {"kind": kind, "size": size} if self.named else [kind, size]


@cases(weighted=SAME, weighted_of_a_dict=SAME, not_weighted_in_pytorch=apart("loss", mended=None))
def test_two_heads_and_the_weights_of_their_losses(hold, which, truth):
    """keras-team/keras#10306: `compile(loss=..., loss_weights=...)`; the compiled model brings its losses."""
    named = which == "weighted_of_a_dict"
    network, given = Heads(named), keras.Input((6,))
    hidden = L.Dense(8, activation="tanh")(given)
    outputs = {"kind": L.Dense(4, name="kind")(hidden), "size": L.Dense(1, name="size")(hidden)}
    nest = lambda one, two: {"kind": one, "size": two} if named else [one, two]  # noqa: E731
    model = keras.Model(given, nest(*outputs.values()))
    for name in ("kind", "size"):
        model.get_layer(name).set_weights([numpy(getattr(network, name).weight).T, numpy(getattr(network, name).bias)])
    model.layers[1].set_weights([numpy(network.hidden.weight).T, numpy(network.hidden.bias)])
    losses = nest(keras.losses.SparseCategoricalCrossentropy(from_logits=True), keras.losses.MeanSquaredError())
    model.compile(keras.optimizers.SGD(0.1), losses, loss_weights=nest(1.0, 0.2))
    part = 1.0 if which == "not_weighted_in_pytorch" else 0.2

    def torch_loss(output, labels):
        (kind, size), (kinds, sizes) = (list(v.values()) if named else v for v in (output, labels))
        return F.cross_entropy(kind, kinds) + part * F.mse_loss(size, sizes)

    words = {"torch_optimizer": torch.optim.SGD(network.parameters(), 0.1), "torch_loss": torch_loss}
    hold(Case(network, model, ROWS, nest(KINDS, ROWS[:, :1] ** 2), words), truth)


class Trained(lightning.LightningModule):
    """A LightningModule with its loss and optimizer."""

    def __init__(self, network, rate):
        super().__init__()
        self.network, self.rate = network, rate

    def forward(self, rows):
        return self.network(rows)

    def training_step(self, batch, place):
        rows, kinds = batch
        loss = F.cross_entropy(self(rows), kinds)
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), self.rate, momentum=0.9)


@cases(the_same=SAME, another_rate=apart("rate|lr|0.5 times", mended=None))
@pytest.mark.filterwarnings("ignore:You are trying to `self.log")
def test_a_lightning_module_and_a_compiled_model_as_they_come(hold, which, truth):
    """eagomez2/upf-smc-speech-enhancement-thesis#1: "a PyTorch translation" of a Keras training, without arguments."""
    network, model = mlp()
    model.compile(keras.optimizers.SGD(0.1, 0.9), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    hold(Case(Trained(network, 0.1 if which == "the_same" else 0.05), model, ROWS, KINDS), truth)


@cases(keras_formula=SAME, pytorchs_formula=apart("epsilon|eps|adam"), decay_in_the_gradient=apart("decay|adam"))
def test_epsilon_and_decay_of_adam(hold, which, truth):
    """iifx.dev "Why Your Adam Optimizer Has 400% Higher Error"; pytorch/pytorch#38767: Adam's decay is an L2."""
    network, model = mlp()
    words = {"keras_optimizer": keras.optimizers.Adam(0.01)}
    words["torch_optimizer"] = KerasAdam(network.parameters(), 0.01, 0.9, 0.999, 1e-7)
    if which == "pytorchs_formula":
        words["torch_optimizer"] = torch.optim.Adam(network.parameters(), 0.01)
    if which == "decay_in_the_gradient":
        words["torch_optimizer"] = torch.optim.Adam(network.parameters(), 0.01, eps=0, weight_decay=0.5)
        words["keras_optimizer"] = keras.optimizers.AdamW(0.01, weight_decay=0.5, epsilon=0.0)
    # small inputs give gradients small enough for epsilon to matter
    hold(Case(network, model, ROWS * 0.01, KINDS, words, limit=3e-5), truth)


LATER = (2, 3, 4, 5)


@cases(
    plain=SAME,
    decayed=SAME,
    decayed_with_momentum=apart("decay|momentum|optimizer", LATER, None),
    momentum=SAME,
    nesterov=SAME,
    momentum_with_a_falling_rate=apart("momentum|rate|schedule|optimizer", LATER, None),
)
def test_momentum_where_the_rate_or_the_decay_meets_it(hold, which, truth):
    """pytorch/pytorch#1099, keras-team/keras#19051: Keras's velocity includes the rate, and never the decay."""
    network, model = mlp()
    words = {"momentum": 0.9 if "momentum" in which or which == "nesterov" else 0.0, "nesterov": which == "nesterov"}
    decay = {"weight_decay": 0.5} if "decayed" in which else {}
    falling = "falling" in which
    rate = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.8) if falling else 0.1
    given = {"torch_optimizer": torch.optim.SGD(network.parameters(), 0.1, **words, **decay)}
    if falling:
        given["torch_schedule"] = lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.8)
    given["keras_optimizer"] = keras.optimizers.SGD(rate, **words, **decay)
    hold(Case(network, model, ROWS, KINDS, given), truth)


@cases(behind_each_step=SAME, before_training_alone=apart("constraint|max_?norm|[02].weight", mended=None))
def test_a_constraint_on_kernels(hold, which, truth):
    """amrzhd/EEGNet#3: Keras's `max_norm` acts after each step."""
    network, model = mlp(kernel_constraint=keras.constraints.MaxNorm(0.6))
    optimizer = torch.optim.SGD(network.parameters(), 0.1)

    def constrain():
        with torch.no_grad():
            for layer in (network[0], network[2]):
                norms = layer.weight.norm(dim=1, keepdim=True)
                layer.weight *= norms.clamp(0, 0.6) / (norms + 1e-7)

    constrain()
    fill(model, network[0], network[2])

    def torch_step(rows, kinds):
        optimizer.zero_grad()
        loss = F.cross_entropy(network(rows), kinds)
        loss.backward()
        optimizer.step()
        if which == "behind_each_step":
            constrain()
        return loss

    words = {"torch_step": torch_step, "keras_optimizer": keras.optimizers.SGD(0.1)}
    hold(Case(network, model, ROWS, KINDS, words), truth)


class Noise(nn.Module):
    """Gaussian noise in training."""

    rate = 0.2

    def forward(self, images):
        return images + self.rate * torch.randn_like(images) if self.training else images


def test_noise_of_every_kind_is_off_on_both_sides(hold):
    """keras-team/keras#15915 asks for recurrent layers; SpatialDropout2D and GaussianNoise are from finding A20."""
    network, model = images_and(
        nn.Dropout2d(0.3), Noise(), nn.ReLU(), layers=[L.SpatialDropout2D(0.3), L.GaussianNoise(0.2), L.ReLU()]
    )
    hold(Case(network, model, IMAGES, LABELS, FAST), SAME)


def test_probabilities_against_logits_are_told():
    """Finding A23: a softmax at the end of one model only."""
    network, model = mlp()
    ends = keras.Sequential([keras.Input((6,)), model, L.Softmax()])
    assert "softmax" in str(Case(network, ends, ROWS, KINDS, FAST).check()).lower()


class Carries(nn.Module):
    """A GRU that starts each batch with the last state of the batch before."""

    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.GRU(5, 6, batch_first=True), nn.Linear(6, 3)
        self.register_buffer("state", torch.zeros(1, 16, 6))

    def forward(self, steps):
        steps, state = self.rnn(steps, self.state)
        self.state = state.detach()
        return self.head(steps[:, -1])


def test_a_state_that_is_carried_on_is_not_accused():
    """errorhandle.ai "Keras LSTM state": `stateful=True` needs batches of one size; its state is restored."""
    network = Carries()
    model = keras.Sequential([keras.Input(batch_shape=(16, 7, 5)), L.GRU(6, stateful=True), L.Dense(3)])
    fill(model, recurrent(network.rnn), network.head)
    kept = [*model.variables, *model.layers[0].states]
    before = [np.array(variable) for variable in kept]
    try:
        report = Case(network, model, SEQUENCES, CLASSES).check()
        told = (report.same_function, report.same_training)
    except UserError:
        told = (None, None)
    assert told in [(True, True), (None, None), (True, None)]
    assert all(np.array_equal(old, new) for old, new in zip(before, kept, strict=True))
    assert not network.state.any()
