"""Attention: PyTorch's one matrix for query, key and value is three layers in Keras."""

import keras
import numpy as np
import pytest
import torch
from torch import nn

import keras_parity as kp
from keras_parity.ladder.capture.attention import SplitAttention, split_attention

L = keras.layers
generator = np.random.default_rng(0)
STEPS, LABELS = generator.normal(size=(48, 5, 16)).astype(np.float32), generator.integers(0, 3, 48)
QUICK = {"batch_size": 16, "steps": 6}


class Reader(nn.Module):
    """Self-attention, the mean over the steps, a dense layer."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
        self.out = nn.Linear(16, 3)

    def forward(self, steps):
        """Steps [batch, 5, 16]."""
        return self.out(self.attention(steps, steps, steps)[0].mean(1))


def twin() -> keras.Model:
    """``Reader`` in Keras."""
    given = keras.Input((5, 16))
    attended = L.MultiHeadAttention(4, 4)(given, given)
    return keras.Model(given, L.Dense(3)(L.GlobalAveragePooling1D()(attended)))


@pytest.mark.parametrize("weights", ["keras", "torch"])
def test_a_port_with_attention_holds_to_the_top(weights):
    network = Reader()
    optimizer = torch.optim.SGD(network.parameters(), 0.01)  # trains the one matrix that the copy splits
    words = {"torch_optimizer": optimizer, "keras_optimizer": keras.optimizers.SGD(0.01), "weights": weights}
    report = kp.check(network, twin(), STEPS, LABELS, **words, **QUICK)
    assert report.holds, report
    assert len(report.match.arrays) == 10


def test_its_weights_travel_both_ways():
    network, model, back = Reader(), twin(), Reader()
    match = kp.check(network, model, STEPS, LABELS, **QUICK).match
    match.copy_to_keras(network, model)
    report = kp.check(network, model, STEPS, LABELS, **QUICK)
    assert report.holds, report
    match.copy_to_torch(model, back)
    for ours, theirs in zip(network.parameters(), back.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_heads_in_another_order_are_named():
    network, model = Reader(), twin()
    kp.check(network, model, STEPS, LABELS, **QUICK).match.copy_to_keras(network, model)
    kernel = next(layer for layer in model.layers if isinstance(layer, L.MultiHeadAttention)).query_dense.kernel
    kernel.assign(kernel.numpy()[:, ::-1])
    report = kp.check(network, model, STEPS, LABELS, **QUICK)
    assert not report.holds
    assert [finding.where for finding in report.findings] == ["attention.query.weight"]


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_the_parts_compute_what_the_whole_does(batch_first, bias):
    whole = nn.MultiheadAttention(8, 2, bias=bias, batch_first=batch_first)
    parts, given = SplitAttention(whole), torch.randn(3, 3, 8)
    shut = torch.triu(torch.ones(3, 3, dtype=torch.bool), 1)
    padded = torch.tensor([[False, False, True]] * 3)
    assert not isinstance(
        split_attention(nn.MultiheadAttention(8, 2, add_zero_attn=True)), SplitAttention
    )  # Keras has no such option
    for masks in ({}, {"attn_mask": shut}, {"key_padding_mask": padded}, {"attn_mask": torch.randn(6, 3, 3)}):
        for ours, theirs in zip(parts(given, given, given, **masks), whole(given, given, given, **masks), strict=True):
            torch.testing.assert_close(ours, theirs)
