"""Every operator, forward and backward, at small sizes on the GPU: what ``make sanitize-gpu`` runs under
compute-sanitizer. A script of its own because that instruments a whole process.

Shapes are such that every kernel runs, with tiles that are whole and that are not: more rings than a tile has, rings
of whole quads and others, weights of all maps and of each. Types as arguments (``float32``) leave out the others:
racecheck takes minutes for all.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from cdifast import ops

generator = torch.Generator().manual_seed(0)
FLOATING = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
INTEGER = (torch.uint8, torch.uint16, torch.int16, torch.int32)


def uniform(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(*shape, generator=generator).to(dtype).cuda()


def both_ways(operator: Callable[..., Any], *inputs: Tensor, **arguments: Any) -> None:
    """Forward, and backward where there is a gradient."""
    tracked = [x.detach().requires_grad_() if x.is_floating_point() else x for x in inputs]
    result = operator(*tracked, **arguments)
    if result.requires_grad:
        torch.autograd.grad(result.abs().double().sum(), [x for x in tracked if x.requires_grad])


def activations(dtype: torch.dtype) -> None:
    for shape in ((3, 5, 7, 9), (2, 64, 33)):
        x = uniform(*shape, dtype=dtype) - 0.5
        both_ways(ops.log_activation, x)
        both_ways(lambda x, bias: ops.log_activation(x, bias=bias), x, uniform(shape[1], dtype=dtype))


def correlations(dtype: torch.dtype) -> None:
    for n_radial, n_angular in ((112, 224), (20, 36), (130, 50)):
        maps = uniform(2, n_radial, n_angular, dtype=dtype)
        shared = (uniform(n_radial, n_angular) > 0.2).to(dtype)
        for weight in (None, shared, (uniform(2, n_radial, n_angular) > 0.2).to(dtype)):
            for normalize, part in itertools.product(("none", "mean", "pearson"), ("real", "abs")):
                both_ways(ops.correlation_map, maps, normalize=normalize, part=part, weight=weight)
            for pairs in ("all", "diagonal"):
                both_ways(ops.angular_correlation, maps, pairs=pairs, weight=weight)
            both_ways(ops.angular_harmonics, maps, orders=(0, 2, 4, 6, 8), weight=weight)


def resampling(images: Tensor) -> None:
    size = images.shape[-1]
    centers = (size - 1) / 2 + torch.rand(len(images), 2, generator=generator, dtype=torch.float64)
    mask = (torch.rand(size, size, generator=generator) > 0.1).cuda()
    for interpolation in ("bilinear", "nearest"):
        for geometry in ({}, {"center": centers}, {"mask": mask}):
            arguments = {"n_radial": 24, "n_angular": 40, "interpolation": interpolation, **geometry}
            both_ways(ops.polar_resample, images, **arguments)
            both_ways(ops.polar_correlation_map, images, **arguments)
    if images.is_floating_point():
        both_ways(ops.cartesian_resample, images, height=size, width=size)


chosen = [dtype for dtype in FLOATING + INTEGER if len(sys.argv) == 1 or str(dtype).split(".")[1] in sys.argv]
for dtype in chosen:
    if dtype.is_floating_point:
        activations(dtype)
        correlations(dtype)
    for size in (64, 51):
        resampling((200 * uniform(3, size, size)).to(dtype))
torch.cuda.synchronize()
