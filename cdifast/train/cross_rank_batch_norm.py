"""Batch normalisation over the joint batch of all ranks, on CPUs as well.

`torch.nn.SyncBatchNorm` refuses tensors on the CPU, so that nothing trained on a laptop could be compared with what is
trained on several GPUs.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from .distributed import current_ranks


class _CrossRankNorm(torch.autograd.Function):
    """Normalise with the statistics of all ranks; one exchange forwards, one backwards."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        # Statistics in at least float32, as torch's own do in mixed precision.
        dtype = torch.promote_types(x.dtype, torch.float32)
        values = x.to(dtype)
        axes = [0, *range(2, x.dim())]
        count = x.numel() // x.shape[1]
        if count:
            variance, mean = torch.var_mean(values, axes, correction=0)
        else:
            variance = mean = values.new_zeros(x.shape[1])
        own = torch.cat([mean, variance, mean.new_tensor([count])])
        parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, own)
        every = torch.stack(parts)
        means, variances, counts = every[:, : len(mean)], every[:, len(mean) : -1], every[:, -1:]
        total = counts.sum()
        # Chan, Golub and LeVeque's update: no difference of large numbers, unlike sums of squares.
        mean = (counts * means).sum(0) / total
        variance = (counts * (variances + (means - mean).square())).sum(0) / total
        scale = torch.rsqrt(variance + eps)
        ctx.save_for_backward(x, weight, mean, scale, total)
        shape = [1, -1, *[1] * (x.dim() - 2)]
        gain = scale if weight is None else scale * weight.to(dtype)
        shift = -mean * gain if bias is None else bias.to(dtype) - mean * gain
        result = torch.addcmul(shift.view(shape), values, gain.view(shape)).to(x.dtype)
        ctx.mark_non_differentiable(mean, variance, total)
        return result, mean, variance, total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *unused: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        x, weight, mean, scale, total = ctx.saved_tensors
        axes, shape = [0, *range(2, x.dim())], [1, -1, *[1] * (x.dim() - 2)]
        gradient = gradient.to(mean.dtype)
        normal = (x.to(mean.dtype) - mean.view(shape)) * scale.view(shape)
        # This rank's share of the gradients of bias and weight; the caller averages parameters over ranks.
        of_bias, of_weight = gradient.sum(axes), (gradient * normal).sum(axes)
        sums = torch.cat([of_bias, of_weight])
        dist.all_reduce(sums)
        first, second = (sums / total).view(2, *shape[1:])
        gain = scale if weight is None else scale * weight.to(mean.dtype)
        of_x = (gradient - first - normal * second) * gain.view(shape)
        if weight is None:
            return of_x.to(x.dtype), None, None, None
        return of_x.to(x.dtype), of_weight.to(weight.dtype), of_bias.to(weight.dtype), None


class _CrossRankBatchNorm(_BatchNorm):
    def forward(self, x: Tensor) -> Tensor:
        uses_batch = self.training or self.running_mean is None
        if not uses_batch or current_ranks().world_size == 1:
            return super().forward(x)
        self._check_input_dim(x)
        result, mean, variance, count = _CrossRankNorm.apply(x, self.weight, self.bias, self.eps)
        if self.training and self.running_mean is not None and self.running_var is not None:
            self._track(mean, variance, float(count))
        return result

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: float) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        momentum = self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if momentum is None:  # the plain mean over batches
                momentum = 1 / float(self.num_batches_tracked)
        assert momentum is not None
        unbiased = variance * (count / max(count - 1, 1))
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), momentum)


class CrossRankBatchNorm1d(_CrossRankBatchNorm, nn.BatchNorm1d):
    """`torch.nn.BatchNorm1d` whose statistics in training are those of all ranks' batches together.

    Output, gradients and running statistics are those that one process with the joint batch would have; ranks may
    have batches of unequal size. With one rank, and in evaluation, it is `torch.nn.BatchNorm1d` itself. First-order
    gradients only. All ranks must call it equally often.
    """


class CrossRankBatchNorm2d(_CrossRankBatchNorm, nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` over all ranks, see `CrossRankBatchNorm1d`."""


def convert_batch_norm(model: nn.Module) -> nn.Module:
    """Replace every `BatchNorm1d` and `BatchNorm2d` of a network by its `CrossRankBatchNorm`.

    Parameters, statistics and names stay the same objects, so that an optimizer made before and files written after
    fit either form.

    Parameters
    ----------
    model
        Changed in place; if it is itself a batch normalisation, its replacement is returned.

    Returns
    -------
    nn.Module
        The network.
    """
    new: dict[type, type[_CrossRankBatchNorm]] = {
        nn.BatchNorm1d: CrossRankBatchNorm1d,
        nn.BatchNorm2d: CrossRankBatchNorm2d,
    }
    kind = new.get(type(model))
    if kind is not None:
        assert isinstance(model, _BatchNorm)
        layer = kind(model.num_features, model.eps, model.momentum, model.affine, model.track_running_stats)
        layer.weight, layer.bias = model.weight, model.bias
        layer.running_mean, layer.running_var = model.running_mean, model.running_var
        layer.num_batches_tracked = model.num_batches_tracked
        return layer.train(model.training)
    for name, child in model.named_children():
        setattr(model, name, convert_batch_norm(child))
    return model
