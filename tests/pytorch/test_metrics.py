import numpy as np
import torch
import torch.nn.functional as F

from cnn_mnist.pytorch.metrics import LossAndAccuracy, Predictions


def test_means_weigh_samples_and_equal_a_float64_recomputation():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6000, 10, generator=generator)
    labels = torch.randint(10, (6000,), generator=generator)
    metric = LossAndAccuracy()
    for some, their in zip(logits.split(64), labels.split(64), strict=True):
        metric.update(F.cross_entropy(some, their, reduction="sum"), some, their)
    values = metric.compute()
    exact = F.cross_entropy(logits.double(), labels).item()
    assert abs(values["loss"].item() - exact) < 1e-6
    assert values["acc"].item() == np.float32((logits.argmax(1) == labels).sum().item() / 6000)


def test_accuracy_is_micro_not_the_mean_over_classes():
    metric = LossAndAccuracy()
    logits = F.one_hot(torch.tensor([0, 0, 0, 0]), 10).float()
    metric.update(torch.zeros(()), logits, torch.tensor([0, 0, 0, 1]))
    assert metric.compute()["acc"].item() == 0.75


def test_predictions_come_in_the_order_of_the_data_set():
    metric = Predictions()
    logits = torch.randn(5, 10)
    metric.update(torch.tensor([3, 1]), logits[:2])
    metric.update(torch.tensor([0, 4, 2]), logits[2:])
    indices, probabilities = metric.compute()
    assert indices.tolist() == [0, 1, 2, 3, 4]
    torch.testing.assert_close(probabilities[3], logits[0].softmax(0))
