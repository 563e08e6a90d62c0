"""Ports that people ask about in public: ``check`` separates right from wrong, names the fault and fixes it."""

import keras
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cnn_mnist.errors import UserError
from tests.ladder.cases import SAME, Case, apart, columns, fill, gates, other, recurrent, squared

L = keras.layers
O = torch.optim  # noqa: E741 - beside L
generator = np.random.default_rng(0)
SEQUENCES, CLASSES = generator.normal(size=(96, 7, 5)).astype(np.float32), generator.integers(0, 3, 96)
ROWS, KINDS = generator.normal(size=(160, 6)).astype(np.float32), generator.integers(0, 4, 160)
IMAGES = generator.random((64, 8, 8, 2), dtype=np.float32)


def cases(**truths):
    """Runs a test on each variant with its expected verdict."""
    named = {name.replace("_", " "): (name, truth) for name, truth in truths.items()}
    return pytest.mark.parametrize(("which", "truth"), named.values(), ids=named)


def mlp(**words) -> tuple[nn.Module, keras.Model]:
    """Two dense layers with a tanh between them and equal weights."""
    network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))
    model = keras.Sequential([keras.Input((6,)), L.Dense(8, activation="tanh", **words), L.Dense(4, **words)])
    fill(model, network[0], network[2])
    return network, model


class Recurrent(nn.Module):
    """A recurrent layer, its last step or the mean of all, a dense layer."""

    def __init__(self, kind, mean=False, layers=1):
        super().__init__()
        self.mean, self.rnn, self.head = mean, getattr(nn, kind)(5, 6, layers, batch_first=True), nn.Linear(6, 3)

    def forward(self, steps):
        steps = self.rnn(steps)[0]
        return self.head(steps.mean(1) if self.mean else steps[:, -1])


USE = "torch.optim.SGD(torch.nn.Linear(2, 2).parameters(), lr=0.1).step()\nprint(keras.layers.Dense(3), 'fine')"
IMPORTS = ["import torch, keras\nimport keras_parity as kp", "import keras_parity as kp\nimport torch, keras"]


@pytest.mark.parametrize("imports", IMPORTS, ids=["imported last", "imported first"])
def test_pytorch_works_behind_the_package_whatever_of_it_was_used(run_python, imports):
    """Finding A26: `torch.optim.SGD` crashed with a segmentation fault until `kp.check` was used."""
    answer = run_python("-c", f"{imports}\n{USE}")
    assert (answer.returncode, answer.stdout[-5:]) == (0, "fine\n"), answer.stderr[-500:]


@cases(gates_in_keras_order=SAME, gates_only_transposed=other("gru|rnn"))
def test_two_gru_layers_in_one_module(hold, which, truth):
    """keras-team/keras#15915."""
    network = Recurrent("GRU", layers=2)
    layers = [L.GRU(6, return_sequences=True), L.GRU(6), L.Dense(3)]
    model = keras.Sequential([keras.Input((7, 5)), *layers])
    both = [recurrent(network.rnn, suffix) for suffix in ("l0", "l1")]
    if which == "gates_only_transposed":  # swaps the gates again
        both = [[gates(kernel.T).T, gates(inner.T).T, gates(bias.T).T] for kernel, inner, bias in both]
    fill(model, *both, network.head)
    hold(Case(network, model, SEQUENCES, CLASSES), truth)


TWO_BIASES = apart("bias")


@cases(LSTM=TWO_BIASES, LSTM_without_its_second_bias=TWO_BIASES, LSTM_of_one_trained_bias=SAME, GRU=SAME)
@pytest.mark.parametrize("mean", [False, True], ids=["last step", "all steps"])
def test_a_second_bias_that_learns_too_is_the_same_function_and_trains_apart(hold, which, truth, mean):
    """keras-team/keras#15915 at its smallest: PyTorch's LSTM trains two biases, Keras's one."""
    network = Recurrent(which[:4].strip("_"), mean)
    if "without" in which:
        nn.init.zeros_(network.rnn.bias_hh_l0)
    if "trained" in which:
        network.rnn.bias_hh_l0.requires_grad_(False)
    pooled = [L.GlobalAveragePooling1D()] if mean else []
    layer = getattr(L, which[:4].strip("_"))(6, return_sequences=mean)
    model = keras.Sequential([keras.Input((7, 5)), layer, *pooled, L.Dense(3)])
    fill(model, network.rnn, network.head)
    hold(Case(network, model, SEQUENCES, CLASSES), truth)


TENS = generator.normal(size=(256, 10)).astype(np.float32)
SUMS = np.sin(TENS).sum(1)
SUMS = ((SUMS - SUMS.min()) / (SUMS.max() - SUMS.min())).astype(np.float32)
REGRESSION = {
    "torch_loss": lambda output, labels: F.mse_loss(output.flatten(), labels.flatten()),
    "keras_loss": squared,
}


def regression(labels, rate, scaled=False, **words):
    """A regression of one output with SGD."""
    network = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 1))
    if scaled:  # puts the outputs between 0 and 1, like probabilities
        with torch.no_grad():
            network[2].weight *= 0.3
            network[2].bias.fill_(0.5)
    model = keras.Sequential([keras.Input((10,)), L.Dense(16, activation="relu"), L.Dense(1)])
    fill(model, network[0], network[2])
    made = {"torch_optimizer": lambda p: O.SGD(p, rate), "keras_optimizer": lambda: keras.optimizers.SGD(rate)}
    return Case(network, model, TENS, labels, made | words, **REGRESSION)


@cases(flattened=SAME, broadcast=apart("loss"), guessed=SAME, guessed_of_a_column=SAME)
@pytest.mark.filterwarnings("ignore:Using a target size")  # the fault under test
def test_a_regression_of_one_output_and_flat_labels(hold, which, truth):
    """discuss.pytorch.org 160720, "400% higher error": PyTorch's [n, 1] - [n] is [n, n], Keras squeezes."""
    given = {"torch_loss": REGRESSION["torch_loss"] if which == "flattened" else nn.MSELoss()}
    given["keras_loss"] = keras.losses.MeanSquaredError()
    labels = SUMS[:, None] if which.endswith("column") else SUMS
    hold(regression(labels, 0.1, **({} if which.startswith("guessed") else given)), truth)


@pytest.mark.parametrize("labels", [SUMS, SUMS[:, None], np.round(SUMS * 40 + 20)], ids=["flat", "column", "years"])
@pytest.mark.parametrize("rate", [0.01, 0.1])
def test_outputs_between_0_and_1_are_no_probabilities_where_labels_are_floats(hold, labels, rate):
    """As before, with scaled targets, or integers as floats, and no loss given."""
    hold(regression(labels, rate if labels.max() <= 1 else rate / 100, scaled=True), SAME)


RARE, WEIGHTS = (np.random.default_rng(0).random(160) < 0.2).astype(np.int64), (1.0, 9.0)


def cross_entropies(labels, logits):
    """Keras's cross-entropy of each sample."""
    return keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)


def weighted(labels, logits):
    """The loss of Keras's fit with class weights: their sum divided by the number of samples."""
    losses, labels = cross_entropies(labels, logits), keras.ops.cast(labels, "int64")
    weights = keras.ops.take(keras.ops.cast(keras.ops.convert_to_tensor(WEIGHTS), losses.dtype), labels)
    return keras.ops.sum(losses * weights) / keras.ops.cast(keras.ops.shape(losses)[0], losses.dtype)


def over_samples(logits, labels):
    """PyTorch's sum of weighted losses divided by the number of samples."""
    weight = torch.tensor(WEIGHTS, dtype=logits.dtype)
    return F.cross_entropy(logits, labels, weight=weight, reduction="sum") / len(labels)


@cases(
    of_a_function=SAME,
    of_functions_that_differ=apart("loss", mended=None),
    of_keras_argument=SAME,
    of_keras_argument_and_a_weighted_loss=apart("loss"),
    of_keras_argument_alone=apart("loss|class_weight"),
    of_samples=SAME,
)
def test_class_weights(hold, which, truth):
    """discuss.pytorch.org 73623: `CrossEntropyLoss(weight=...)` averages over the weights, not over the samples."""
    network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))
    model = keras.Sequential([keras.Input((6,)), L.Dense(8, activation="tanh"), L.Dense(2)])
    fill(model, network[0], network[2])
    torchs = nn.CrossEntropyLoss(weight=torch.tensor(WEIGHTS))
    words = {"keras_loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "torch_loss": over_samples}
    if "argument" in which:
        words["class_weight"] = dict(enumerate(WEIGHTS))
    if which == "of_samples":
        words["sample_weight"] = np.asarray(WEIGHTS, np.float32)[RARE]
    if "function" in which:
        words["keras_loss"] = weighted
    if which in ("of_functions_that_differ", "of_keras_argument_and_a_weighted_loss"):
        words["torch_loss"] = torchs
    if which == "of_keras_argument_alone":
        words["torch_loss"] = nn.CrossEntropyLoss()
    hold(Case(network, model, ROWS, RARE, words), truth)


class Clipped(O.SGD):
    """SGD that clips its gradients."""

    def __init__(self, params, lr, how, limit):
        super().__init__(params, lr=lr)
        self.how, self.limit = how, limit

    def step(self, closure=None):
        params = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        if self.how == "all":
            norm = torch.sqrt(sum((p.grad**2).sum() for p in params)).item()
            for p in params:
                p.grad.mul_(min(1.0, self.limit / max(norm, 1e-300)))
        elif self.how == "all, by PyTorch":
            nn.utils.clip_grad_norm_(params, self.limit)
        elif self.how == "value":
            nn.utils.clip_grad_value_(params, self.limit)
        elif self.how == "each":
            for p in params:
                nn.utils.clip_grad_norm_([p], self.limit)
        return super().step(closure)


CLIPPED = {  # PyTorch's clipping; Keras's
    "all_together": ("all", {"global_clipnorm": 0.05}),
    "all_by_pytorch": ("all, by PyTorch", {"global_clipnorm": 0.05}),
    "each_by_itself": ("each", {"clipnorm": 0.05}),
    "all_against_each": ("all, by PyTorch", {"clipnorm": 0.05}),
    "values": ("value", {"clipvalue": 0.01}),
    "none_in_pytorch": ("none", {"clipnorm": 0.05}),
    "in_the_loop": ("all", {"global_clipnorm": 0.05}),
}


@cases(
    all_together=SAME,
    all_by_pytorch=SAME,
    each_by_itself=SAME,
    all_against_each=apart("clip|times Keras"),
    values=SAME,
    none_in_pytorch=apart("clip"),
    in_the_loop=SAME,
)
def test_clipped_gradients(hold, which, truth):
    """keras-team/keras#13575: `clipnorm` clips each variable separately, `clip_grad_norm_` all together."""
    how, words = CLIPPED[which]
    (network, model), limit = mlp(), 0.01 if how == "value" else 0.05
    given = {"torch_optimizer": lambda params: Clipped(params, 0.1, how, limit)}
    if which == "in_the_loop":
        optimizer = O.SGD(network.parameters(), 0.1)

        def torch_step(inputs, labels):
            optimizer.zero_grad()
            loss = F.cross_entropy(network(inputs), labels)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), limit)
            optimizer.step()
            return loss

        given = {"torch_step": torch_step}
    given |= {"keras_optimizer": keras.optimizers.SGD(0.1, **words)}
    # PyTorch adds 1e-6 to the norm, less than float32 rounding
    hold(Case(network, model, ROWS * 3, KINDS, given, limit=1e-6), truth)


class Cut(nn.Module):
    """All but the last row and column."""

    def forward(self, images):
        return images[..., :-1, :-1]


UPS = {  # kernel size, output size, PyTorch's settings
    "cut_at_the_end": (3, 16, {}),
    "padded_on_both_sides": (3, 16, {"padding": 1, "output_padding": 1}),
    "cropped_in_keras": (3, 15, {"padding": 1}),
    "kernel_of_4": (4, 16, {"padding": 1}),
}


@cases(cut_at_the_end=SAME, padded_on_both_sides=other("^2|transpose", None), cropped_in_keras=SAME, kernel_of_4=SAME)
def test_a_transposed_convolution(hold, which, truth):
    """gmalivenko/pytorch2keras#7, keras-team/keras#22876: Keras's "same" crops at the end only."""
    kernel, size, words = UPS[which]
    up = [nn.ConvTranspose2d(3, 4, kernel, stride=2, **words), *([Cut()] if which == "cut_at_the_end" else [])]
    dense = nn.Linear(4 * size**2, 5)
    network = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), *up, nn.ReLU(), nn.Flatten(), dense)
    cropped = which == "cropped_in_keras"
    ups = [L.Conv2DTranspose(4, kernel, 2, "valid" if cropped else "same"), *([L.Cropping2D(1)] if cropped else [])]
    layers = [L.Conv2D(3, 3, padding="same", activation="relu"), *ups, L.ReLU(), L.Flatten(), L.Dense(5)]
    model = keras.Sequential([keras.Input((8, 8, 2)), *layers])
    fill(model, network[0], network[2], columns(dense, size, size))
    hold(Case(network, model, IMAGES, np.arange(64) % 5), truth)


class Causal(nn.Module):
    """A dilated convolution of two steps and a shortcut."""

    def __init__(self, taken, units, dilation, how):
        super().__init__()
        self.how, self.width = how, dilation
        padding = {"cut_at_the_end": dilation, "padded_on_both_sides": "same", "padded_before": 0}[how]
        self.conv = nn.Conv1d(taken, units, 2, dilation=dilation, padding=padding)
        self.skip = nn.Conv1d(taken, units, 1)

    def forward(self, steps):
        out = self.conv(F.pad(steps, (self.width, 0)) if self.how == "padded_before" else steps)
        out = out[..., : -self.width] if self.how == "cut_at_the_end" else out
        return F.relu(F.relu(out) + self.skip(steps))


class Temporal(nn.Module):
    """Three causal blocks, the last step, a dense layer."""

    def __init__(self, how):
        super().__init__()
        self.blocks = nn.Sequential(*(Causal(5 if d == 1 else 4, 4, d, how) for d in (1, 2, 4)))
        self.head = nn.Linear(4, 3)

    def forward(self, steps):
        return self.head(self.blocks(steps)[..., -1])


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@cases(padded_before=SAME, cut_at_the_end=SAME, padded_on_both_sides=other("conv|blocks"))
def test_a_temporal_convolution_network(hold, which, truth):
    """paul-krug/pytorch-tcn#26: causal padding by zeros before, by cropping, and missing."""
    network = Temporal(which)
    steps = given = keras.Input((7, 5))
    for dilation in (1, 2, 4):
        out = L.Conv1D(4, 2, dilation_rate=dilation, padding="causal", activation="relu")(steps)
        steps = L.ReLU()(L.Add()([out, L.Conv1D(4, 1)(steps)]))
    model = keras.Model(given, L.Dense(3)(steps[:, -1]))
    fill(model, *(part for block in network.blocks for part in (block.conv, block.skip)), network.head)
    hold(Case(network, model, SEQUENCES, CLASSES, {"torch_images": SEQUENCES.transpose(0, 2, 1)}), truth)


class Words(nn.Module):
    """A mean of mixed embeddings, with the embedding again as the last layer."""

    def __init__(self, tied):
        super().__init__()
        self.embedding, self.mix, self.lm_head = nn.Embedding(11, 6), nn.Linear(6, 6), nn.Linear(6, 11, bias=False)
        weight = self.embedding.weight
        self.lm_head.weight = weight if tied else nn.Parameter(weight.detach().clone())

    def forward(self, words):
        return self.lm_head(torch.tanh(self.mix(self.embedding(words).mean(1))))


class Tied(keras.Model):
    """``Words`` with tied weights, as a product with the embedding's matrix."""

    def __init__(self):
        super().__init__()
        self.embedding, self.mix = L.Embedding(11, 6), L.Dense(6, activation="tanh")

    def call(self, words):
        mixed = self.mix(keras.ops.mean(self.embedding(words), axis=1))
        return keras.ops.matmul(mixed, keras.ops.transpose(self.embedding.embeddings))


@cases(in_both=SAME, by_a_layer_of_keras=SAME, copied_in_pytorch=apart("lm_head|embedding|tied"))
def test_tied_weights(hold, which, truth):
    """keras-team/keras-hub#883: a language model whose last layer is its transposed embedding."""
    network, model = Words(tied=which != "copied_in_pytorch"), Tied()
    if which == "by_a_layer_of_keras":
        embedding, given = L.ReversibleEmbedding(11, 6, tie_weights=True), keras.Input((5,), dtype="int32")
        mixed = L.Dense(6, activation="tanh")(L.GlobalAveragePooling1D()(embedding(given)))
        model = keras.Model(given, embedding(mixed, reverse=True))
    words = np.random.default_rng(0).integers(0, 11, (96, 6))
    model(words[:, :5])
    fill(model, network.embedding, network.mix)
    # at this rate 12 steps show more than float32 rounding
    made = {"torch_optimizer": lambda p: O.SGD(p, 0.1), "keras_optimizer": lambda: keras.optimizers.SGD(0.1)}
    hold(Case(network, model, words[:, :5], words[:, 5], made), truth)


PENALTY = 0.05


@cases(as_decay=SAME, in_the_loss=SAME, forgotten=apart("regulari[sz]|L2"), decay_of_half=apart("regulari[sz]|L2"))
def test_a_penalty_on_kernels(hold, which, truth):
    """dragen1860/DeepEmbeddingModel_ZSL-Pytorch#3, pytorch/examples#1075: Keras's `kernel_regularizer=L2(r)`."""
    network, model = mlp(kernel_regularizer=keras.regularizers.L2(PENALTY))
    kernels, biases = ([getattr(network[place], name) for place in (0, 2)] for name in ("weight", "bias"))
    decay = {"as_decay": 2 * PENALTY, "decay_of_half": PENALTY}.get(which, 0.0)
    optimizer = O.SGD([{"params": kernels, "weight_decay": decay}, {"params": biases}], lr=0.1)
    words = {"torch_optimizer": optimizer, "keras_optimizer": keras.optimizers.SGD(0.1)}
    if which == "in_the_loss":
        penalty = lambda: PENALTY * sum((kernel**2).sum() for kernel in kernels)  # noqa: E731
        words["torch_loss"] = lambda output, labels: F.cross_entropy(output, labels) + penalty()
    hold(Case(network, model, ROWS, KINDS, words), truth)


class Adds(keras.Layer):
    """A layer with its own loss."""

    def call(self, inputs):
        self.add_loss(0.1 * keras.ops.mean(inputs**2))
        return inputs


class Remembers(nn.Module):
    """``mlp`` that stores the output of its hidden layer for a loss."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 4)

    def forward(self, rows):
        self.hidden = torch.tanh(self.first(rows))
        return self.last(self.hidden)


@pytest.mark.parametrize("ported", [True, False], ids=["ported", "forgotten"])
@cases(
    activity=apart("activity_regulari[sz]er|add_loss|losses", mended=None),
    add_loss=apart("add_loss|adds|losses", mended=None),
    bias=apart("regulari[sz]"),
    gamma=apart("regulari[sz]"),
)
def test_other_losses_that_a_keras_model_holds(hold, which, truth, ported):
    """As before (pytorch/examples#1075): an activity regularizer, `add_loss`, L1 of biases, L2 of a norm."""
    network = Remembers()
    norms = [nn.LayerNorm(4, eps=1e-3)] if which == "gamma" else []
    whole = nn.Sequential(network, *norms)
    hidden = {
        "activity": {"activity_regularizer": keras.regularizers.L2(0.01)},
        "bias": {"bias_regularizer": keras.regularizers.L1(0.05)},
    }.get(which, {})
    layers = [L.Dense(8, activation="tanh", **hidden), *([Adds()] if which == "add_loss" else []), L.Dense(4)]
    layers += [L.LayerNormalization(gamma_regularizer=keras.regularizers.L2(0.05))] if norms else []
    model = keras.Sequential([keras.Input((6,)), *layers])
    nn.init.normal_(network.first.bias)
    fill(model, network.first, network.last, *norms)
    penalties = {
        "activity": lambda: 0.01 * (network.hidden**2).sum() / len(network.hidden),
        "add_loss": lambda: 0.1 * (network.hidden**2).mean(),
        "bias": lambda: 0.05 * network.first.bias.abs().sum(),
        "gamma": lambda: 0.05 * (norms[0].weight ** 2).sum(),
    }
    words = {"torch_optimizer": lambda p: O.SGD(p, 0.1), "keras_optimizer": lambda: keras.optimizers.SGD(0.1)}
    if ported:
        words["torch_loss"] = lambda output, labels: F.cross_entropy(output, labels) + penalties[which]()
    hold(Case(whole, model, ROWS, KINDS, words), SAME if ported else truth)


@cases(of_a_function=SAME, as_an_instance=SAME, from_0=apart("accumulator"))
def test_the_accumulator_that_adagrad_begins_with(hold, which, truth):
    """pytorch/pytorch#6616: 0.1 in Keras, 0 in PyTorch."""
    network, model = mlp()
    begin = 0.0 if which == "from_0" else 0.1
    make = lambda params: O.Adagrad(params, 0.1, initial_accumulator_value=begin, eps=0)  # noqa: E731
    given = make(network.parameters()) if which == "as_an_instance" else make
    words = {"torch_optimizer": given, "keras_optimizer": keras.optimizers.Adagrad(0.1, epsilon=0.0)}
    hold(Case(network, model, ROWS, KINDS, words), truth)


def decaying() -> keras.Optimizer:
    """Keras's AdamW that decays kernels only; without epsilon, where PyTorch's formula differs."""
    optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.5, epsilon=0.0)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


@cases(left_out_in_both=SAME, left_out_by_a_function=SAME, decayed_in_pytorch=apart("decay"))
def test_a_decay_that_leaves_biases_and_norms_out(hold, which, truth):
    """keras-team/keras#16201, huggingface/transformers#4360: `exclude_from_weight_decay` and parameter groups."""
    network = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8, eps=1e-3), nn.Tanh(), nn.Linear(8, 4))
    nn.init.normal_(network[1].weight, 1, 0.3)
    nn.init.normal_(network[1].bias)
    layers = [L.Dense(8), L.LayerNormalization(), L.Activation("tanh"), L.Dense(4)]
    model = keras.Sequential([keras.Input((6,)), *layers])
    fill(model, network[0], network[1], network[3])
    all_of_it = [{"params": [p for p in network.parameters() if (p.ndim > 1) is kernel]} for kernel in (True, False)]
    all_of_it[0]["weight_decay"] = 0.5
    all_of_it[1]["weight_decay"] = 0.5 if which == "decayed_in_pytorch" else 0.0
    words = {"torch_optimizer": O.AdamW(all_of_it, lr=0.01, eps=0)}
    words["keras_optimizer"] = decaying if which == "left_out_by_a_function" else decaying()
    # Keras computes 1 - beta**step in float32
    hold(Case(network, model, ROWS, KINDS, words, limit=3e-5), truth)


class Frames(nn.Module):
    """A network for each frame of a video, with frames folded into the batch; the mean over time, a dense layer."""

    def __init__(self, mixed_up):
        super().__init__()
        self.mixed_up, self.head = mixed_up, nn.Linear(27, 3)
        self.cnn = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())

    def forward(self, video):
        count, time = video.shape[:2]
        frames = self.cnn(video.reshape(count * time, *video.shape[2:]))
        frames = frames.reshape(time, count, -1).transpose(0, 1) if self.mixed_up else frames.reshape(count, time, -1)
        return self.head(frames.mean(1))


@cases(folded=SAME, unfolded_wrongly=other("cnn|head|mean|pool|reshape", None))
def test_one_network_for_each_frame(hold, which, truth):
    """keras-team/keras#7779: TimeDistributed, or time folded into the batch."""
    network = Frames(which == "unfolded_wrongly")
    frames = [L.Conv2D(3, 3, activation="relu"), L.MaxPooling2D(2), L.Flatten()]
    layers = [*map(L.TimeDistributed, frames), L.GlobalAveragePooling1D(), L.Dense(3)]
    model = keras.Sequential([keras.Input((4, 8, 8, 1)), *layers])
    fill(model, network.cnn[0], columns(network.head, 3, 3))
    video = np.random.default_rng(0).random((64, 4, 8, 8, 1), dtype=np.float32)
    hold(Case(network, model, video, CLASSES[:64], {"torch_images": np.moveaxis(video, -1, 2)}), truth)


class Steps(nn.Module):
    """A dense layer for each step, the mean over time, a dense layer."""

    def __init__(self):
        super().__init__()
        self.each, self.out = nn.Linear(5, 6), nn.Linear(6, 3)

    def forward(self, steps):
        return self.out(torch.relu(self.each(steps)).mean(1))


def test_one_dense_layer_for_each_step(hold):
    """keras-team/keras#7779, without folding."""
    network, each = Steps(), L.TimeDistributed(L.Dense(6, activation="relu"))
    model = keras.Sequential([keras.Input((7, 5)), each, L.GlobalAveragePooling1D(), L.Dense(3)])
    fill(model, network.each, network.out)
    hold(Case(network, model, SEQUENCES, CLASSES), SAME)


S, D = torch.optim.lr_scheduler, 0.05
RATES = {
    "by_lambda": lambda optimizer: S.LambdaLR(optimizer, lambda step: 1 / (1 + D * step)),
    "compounded": lambda optimizer: S.MultiplicativeLR(optimizer, lambda step: 1 / (1 + D * step)),
    "by_epoch": lambda optimizer: S.LambdaLR(optimizer, lambda step: 1 / (1 + D * (step // 5))),
    "constant": None,
}


@pytest.mark.parametrize("made", [False, True], ids=["instances", "functions"])
@cases(
    by_lambda=SAME,
    compounded=apart("rate|schedule", since=(3, 4, 5)),
    by_epoch=apart("rate|schedule", since=(2, 3, 4, 5)),
    constant=apart("rate|schedule", since=(2, 3, 4, 5)),
)
def test_a_rate_that_falls(hold, which, truth, made):
    """errorhandle.ai, "Keras learning rate decay in PyTorch"; one of its two ways compounds."""
    network, model = mlp()
    falling = lambda: keras.optimizers.SGD(keras.optimizers.schedules.InverseTimeDecay(0.1, 1, D))  # noqa: E731
    sgd = lambda params: O.SGD(params, 0.1)  # noqa: E731
    words = {"torch_optimizer": sgd if made else sgd(network.parameters()), "torch_schedule": RATES[which]}
    words["keras_optimizer"] = falling if made else falling()
    hold(Case(network, model, ROWS, KINDS, words), truth)


def maps(channels, act=None):
    """Two convolutions with an image as output."""
    ends = [nn.Sigmoid()] if act else []
    network = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, channels, 1), *ends)
    layers = [L.Conv2D(4, 3, padding="same", activation="relu"), L.Conv2D(channels, 1, activation=act)]
    model = keras.Sequential([keras.Input((8, 8, 2)), *layers])
    fill(model, network[0], network[2])
    return network, model


SQUARED = {"torch_loss": lambda output, labels: F.mse_loss(output.permute(0, 2, 3, 1), labels), "keras_loss": squared}


@pytest.mark.parametrize(("channels", "act"), [(1, "sigmoid"), (3, None)], ids=["one channel, sigmoid", "three"])
@pytest.mark.parametrize("given", [SQUARED, {}], ids=["losses given", "no loss given"])
def test_images_as_output(hold, channels, act, given):
    """From gmalivenko/pytorch2keras#7: an autoencoder."""
    network, model = maps(channels, act)
    target = np.random.default_rng(1).random((64, 8, 8, channels), dtype=np.float32)
    hold(Case(network, model, IMAGES, target, given, **SQUARED), SAME)


def test_masks_of_integers_as_output(hold):
    """From gmalivenko/pytorch2keras#7: a segmentation."""
    words = {"torch_loss": nn.CrossEntropyLoss()}
    words["keras_loss"] = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    masks = np.random.default_rng(1).integers(0, 4, (64, 8, 8))
    hold(Case(*maps(4), IMAGES, masks, words), SAME)


@pytest.mark.parametrize("channels", [4, 8], ids=["", "as many channels as columns"])
def test_a_loss_of_masks_is_guessed_right_or_asked_for(channels):
    masks = np.random.default_rng(1).integers(0, channels, (64, 8, 8))
    case = Case(*maps(channels), IMAGES, masks)
    try:
        report = case.check()
        decided, said = report.same_training, str(report)
    except UserError as refusal:
        decided, said = None, str(refusal)
    assert "torch_loss" in said if decided is None else decided and "cross-entropy" in said, said


class Normed(nn.Module):
    """A convolution, a norm, ReLU and flatten as functions, a dense layer."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4, eps=1e-3, momentum=0.01)
        self.out = nn.Linear(4 * 36, 3)

    def forward(self, images):
        return self.out(F.relu(self.norm(self.conv(images))).flatten(1))


def normed(fused=False) -> tuple[nn.Module, keras.Model]:
    """``Normed`` and its twin; a norm's moving variance divides by n in Keras and by n - 1 in PyTorch."""
    network = Normed()
    layers = [L.Conv2D(4, 3), L.BatchNormalization(), *([L.Activation("relu")] if fused else [L.ReLU()]), L.Flatten()]
    model = keras.Sequential([keras.Input((8, 8, 2)), *layers, L.Dense(3)])
    fill(model, network.conv, network.norm, columns(network.out, 6, 6))
    return network, model


def convolved(fused):
    """A convolution with its activation in the layer or after it, and layers of the same name."""
    network = nn.Sequential()
    parts = {"conv1": nn.Conv2d(2, 4, 3), "act": nn.ReLU(), "flatten": nn.Flatten(), "out": nn.Linear(4 * 36, 3)}
    for name, part in parts.items():
        network.add_module(name, part)
    conv = [L.Conv2D(4, 3, activation="relu", name="conv1")] if fused else [L.Conv2D(4, 3, name="conv1"), L.ReLU()]
    layers = [*conv, L.Flatten(name="flatten"), L.Dense(3, name="out")]
    model = keras.Sequential([keras.Input((8, 8, 2)), *layers])
    fill(model, network.conv1, columns(network.out, 6, 6))
    return network, model


def dropped(rate, mode=True, freeze=False):
    """A dropout in both; the first layer frozen in both."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(128, 16), nn.Dropout(rate), nn.Linear(16, 3)).train(mode)
    model = keras.Sequential([keras.Input((8, 8, 2)), L.Flatten(), L.Dense(16), L.Dropout(rate), L.Dense(3)])
    fill(model, columns(network[1], 8, 8), network[3])
    if freeze:
        network[1].requires_grad_(False)
        model.layers[1].trainable = False
    return network, model


class Subclass(keras.Model):
    """A dense layer of 16 and one of 3, as a class."""

    def __init__(self):
        super().__init__()
        self.flat, self.hidden, self.out = L.Flatten(), L.Dense(16), L.Dense(3)

    def call(self, images):
        return self.out(self.hidden(self.flat(images)))


def odd(which):
    """Two dense layers after a Lambda, or in a class."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(128, 16), nn.Linear(16, 3))
    layers = [L.Lambda(lambda images: images * 1.0), L.Flatten(), L.Dense(16), L.Dense(3)]
    model = Subclass() if which == "subclass" else keras.Sequential([keras.Input((8, 8, 2)), *layers])
    model(IMAGES[:1])
    fill(model, columns(network[1], 8, 8), network[2])
    return network, model


def unnamed(norm):
    """Dense layers with different names, with or without a norm of features."""
    norms = [nn.BatchNorm1d(8)] if norm else []
    network = nn.Sequential(nn.Flatten(), nn.Linear(128, 8), *norms, nn.ReLU(), nn.Linear(8, 3))
    behind = [L.BatchNormalization(name="n", epsilon=1e-5, momentum=0.9)] if norm else []
    layers = [L.Flatten(name="f"), L.Dense(8, name="a"), *behind, L.ReLU(name="r"), L.Dense(3, name="b")]
    model = keras.Sequential([keras.Input((8, 8, 2)), *layers])
    fill(model, columns(network[1], 8, 8), *norms, network[-1])
    return network, model


RIGHT = {
    "batch norm": normed,
    "activation in a layer of its own": lambda: convolved(fused=False),
    "activation in the layer": lambda: convolved(fused=True),
    "dropout": lambda: dropped(0.5),
    "dropout of a model in evaluation mode": lambda: dropped(0.5, mode=False),
    "dropout of rate 0": lambda: dropped(0.0),
    "a frozen layer": lambda: dropped(0.0, freeze=True),
    "lambda": lambda: odd("lambda"),
    "subclass": lambda: odd("subclass"),
    "other names": lambda: unnamed(norm=False),
    "batch norm of features": lambda: unnamed(norm=True),
}


@pytest.mark.parametrize("make", RIGHT.values(), ids=RIGHT)
def test_right_ports_with_parts_that_need_not_be_matched(hold, make):
    """Ports of earlier reports with weights as given; a norm's variance differs by n / (n - 1), see ``normed``."""
    limit = 2e-2 if "norm" in make.__name__ or make is RIGHT["batch norm of features"] else 0.0
    hold(Case(*make(), IMAGES, CLASSES[:64], limit=limit), SAME)


def test_a_layer_frozen_on_one_side_trains_apart(hold):
    network, model = dropped(0.0)
    model.layers[1].trainable = False
    hold(Case(network, model, IMAGES, CLASSES[:64]), apart("frozen|trainable|requires_grad"))


PORT = """
import keras, numpy as np, torch
from torch import nn
def torch_model():
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3, bias={bias}))
def keras_model():
    return keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3, "{act}")])
def data():
    return np.random.default_rng(0).random((64, 4, 4, 1), dtype=np.float32), np.arange(64) % 3
def weights():
    return "torch"
def torch_optimizer(params):
    return torch.optim.SGD(params, {rate})
def keras_optimizer():
    return keras.optimizers.SGD(0.1)
{more}
"""
RAISES = "def torch_loss(output, labels):\n    raise ValueError('no loss today')"
ENDS = {  # changes to a right file, exit code, verdict
    "the same": ({}, 0, "same function, same training"),
    "another rate": ({"rate": 0.05}, 1, "same function, training differs from step 1"),
    "another activation": ({"act": "tanh"}, 1, "not the same function"),
    "a step that raises": ({"more": RAISES}, 2, "not decided"),
}


@pytest.mark.parametrize(("changed", "code", "verdict"), ENDS.values(), ids=ENDS)
def test_the_command_prints_the_verdict_first_and_ends_in_its_code(command, tmp_path, changed, code, verdict):
    text = PORT.format(**{"bias": True, "act": "linear", "rate": 0.1, "more": ""} | changed)
    (tmp_path / "port.py").write_text(text)
    ended, out, _ = command("keras_parity", "ladder", "--port=port.py", "--steps=4")
    assert ended == code
    assert out.lstrip().startswith(verdict)


def test_flags_that_a_file_has_no_use_for_are_refused(command, tmp_path):
    (tmp_path / "port.py").write_text(PORT.format(bias=True, act="linear", rate=0.1, more=""))
    code, out, err = command("keras_parity", "ladder", "--port=port.py", "--model.architecture=mlp")
    assert (code > 0, out) == (True, "")
    assert "--model.architecture" in err
