import numpy as np
import torch
import torch.nn.functional as F

from cnn_mnist.pytorch.metrics import make_metric
from cnn_mnist.pytorch.module import Classifier


def test_means_weigh_samples_and_equal_a_float64_recomputation():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6000, 10, generator=generator)
    labels = torch.randint(10, (6000,), generator=generator)
    loss, acc = make_metric("loss", 10), make_metric("acc", 10)
    for some, their in zip(logits.split(64), labels.split(64), strict=True):  # the last of 48 weighs less
        loss.update(F.cross_entropy(some, their, reduction="none"))
        acc.update(some, their)
    exact = F.cross_entropy(logits.double(), labels).item()
    assert abs(loss.compute().item() - exact) < 1e-6
    assert acc.compute().item() == np.float32((logits.argmax(1) == labels).sum().item() / 6000)


def test_accuracy_is_micro_not_the_mean_over_classes():
    metric = make_metric("acc", 10)
    metric.update(F.one_hot(torch.tensor([0, 0, 0, 0]), 10).float(), torch.tensor([0, 0, 0, 1]))
    assert metric.compute().item() == 0.75


def test_a_loss_of_nan_is_not_left_out():
    metric = make_metric("loss", 10)
    metric.update(torch.tensor([1.0, float("nan")]))
    assert metric.compute().isnan()


def test_predictions_come_in_the_order_of_the_data_set():
    module, probabilities = Classifier(), torch.randn(5, 10).softmax(1)
    module.predictions.update(torch.column_stack([torch.tensor([3, 1]), probabilities[:2]]))
    module.predictions.update(torch.column_stack([torch.tensor([0, 4, 2]), probabilities[2:]]))
    indices, found = module.take_predictions()
    assert indices.tolist() == [0, 1, 2, 3, 4]
    torch.testing.assert_close(found, probabilities[[2, 1, 4, 0, 3]], rtol=0, atol=0)
