"""What is right is not accused, and what is wrong is named where it is: pairs that people ask about in public."""

import keras
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.ladder.cases import SAME, Case, apart, fill, other, squared
from tests.ladder.test_cases import cases

L = keras.layers
RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(64, 6)).astype(np.float32)
LABELS = RANDOM.integers(0, 3, 64)
FAST = {
    "torch_optimizer": lambda params: torch.optim.SGD(params, 0.1),
    "keras_optimizer": lambda: keras.optimizers.SGD(0.1),
}


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
