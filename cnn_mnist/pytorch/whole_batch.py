"""Batch norm, dropout and sums of gradients over a batch that several processes share.

Process r of n has images r, r + n, r + 2n ... of each batch; the shares may differ by one image.
"""

import copy
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


def place() -> tuple[int, int]:
    """Returns the number of this process and of all; (0, 1) outside a process group."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


class _Total(torch.autograd.Function):
    """Sum over all processes. All of their losses depend on it, so its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _Total.apply(grad)


def normalize(norm: nn.BatchNorm1d | nn.BatchNorm2d, images: Tensor, correction: int) -> Tensor:
    """Applies a batch norm in training, by mean and variance over all processes, and updates its moving statistics.

    PyTorch's ``SyncBatchNorm`` does not run on CPUs.

    Args:
        norm: The layer.
        images: This process's share, [share, channels, height, width] or [share, features].
        correction: 1 for a moving average of the unbiased variance, 0 of the biased one.

    Returns:
        The shape of ``images``.
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.momentum is not None
    values = images.to(norm.running_mean.dtype)  # autocast gives half precision
    others = [axis for axis in range(images.ndim) if axis != 1]
    column = (-1, *[1] * (images.ndim - 2))
    count = values.new_tensor([values.numel() // values.shape[1]])
    *sums, size = _Total.apply(torch.cat([values.sum(others), count])).split(values.shape[1])
    mean = sums[0] / size
    centred = values - mean.view(column)
    variance = _Total.apply(centred.square().sum(others)) / size
    with torch.no_grad():
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * (size / (size - correction)), norm.momentum)
    outputs = centred * (variance + norm.eps).rsqrt().view(column)
    if norm.affine:
        outputs = outputs * norm.weight.view(column) + norm.bias.view(column)
    return outputs.to(images.dtype)


class _BatchNorm(nn.modules.batchnorm._BatchNorm):
    def forward(self, images: Tensor) -> Tensor:
        if not self.training:
            return super().forward(images)
        self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
        return normalize(self, images, correction=1)  # type: ignore[arg-type]


class BatchNorm2d(_BatchNorm, nn.BatchNorm2d):
    """PyTorch's batch norm of images."""


class BatchNorm1d(_BatchNorm, nn.BatchNorm1d):
    """PyTorch's batch norm of features."""


class Dropout(nn.Dropout):
    """PyTorch's dropout: every process draws the mask of the batch from the same random state, and takes its rows."""

    def forward(self, images: Tensor) -> Tensor:
        """Maps [share, ...] to the same shape."""
        if not self.training:
            return images
        rank, processes = place()
        size = _Total.apply(torch.tensor(len(images), device=images.device))
        whole = images.new_ones((int(size), *images.shape[1:]))
        if images.ndim == 4 and images.is_contiguous(memory_format=torch.channels_last):  # masks are drawn as stored
            whole = whole.contiguous(memory_format=torch.channels_last)
        return images * F.dropout(whole, self.p)[rank::processes]


_WHOLE: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: BatchNorm1d,
    nn.BatchNorm2d: BatchNorm2d,
    nn.Dropout: Dropout,
}


def act_on_whole_batches(network: nn.Module) -> None:
    """Changes PyTorch's batch norms and dropouts in place, as ``SyncBatchNorm.convert_sync_batchnorm`` does.

    It changes their class and keeps their parameters, which an optimizer may hold; there is no public way to do that.
    """
    for module in network.modules():
        module.__class__ = _WHOLE.get(type(module), type(module))


def settle_order(model: DistributedDataParallel, image_shape: tuple[int, int, int]) -> None:
    """Fixes the order of gradient sums from the first step on, so that a resumed training gets the same bits.

    DDP rearranges the gradients after its first step, and three or more processes then sum in another order. This
    function runs a step on zeros, without an update, and undoes its effects on batch norms and dropouts.

    Args:
        model: The wrapped module, whose parameters have no gradients yet.
        image_shape: [channels, height, width] of its images.
    """
    state, parameter = copy.deepcopy(model.module.state_dict()), next(model.parameters())
    model(parameter.new_zeros((1, *image_shape))).sum().backward()
    model.module.load_state_dict(state)
    model.zero_grad()
