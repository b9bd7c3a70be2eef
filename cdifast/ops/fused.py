"""Correlation maps straight from detector frames: public function, and what torch needs to know of its operator."""

from __future__ import annotations

import math
from typing import Any, Literal, overload

import torch
from torch import Tensor

from ._checks import check_backend, check_out, check_size, refuse_forward_mode, result_dtype
from ._resample import (
    Center,
    Interpolation,
    as_centers,
    as_good,
    check_interpolation,
    check_radii,
    check_source,
    merge,
    merge_geometry,
)
from .correlation import Normalize, Part, check_options
from .dtypes import FLOATING


@overload
def polar_correlation_map(
    images: Tensor,
    n_radial: int,
    n_angular: int,
    *,
    center: Center = ...,
    r_min: float = ...,
    r_max: float | None = ...,
    mask: Tensor | None = ...,
    interpolation: Interpolation = ...,
    order: int = ...,
    part: Part = ...,
    normalize: Normalize = ...,
    fill: float = ...,
    min_weight: float = ...,
    return_weight: Literal[False] = ...,
    out: Tensor | None = ...,
) -> Tensor: ...


@overload
def polar_correlation_map(
    images: Tensor,
    n_radial: int,
    n_angular: int,
    *,
    center: Center = ...,
    r_min: float = ...,
    r_max: float | None = ...,
    mask: Tensor | None = ...,
    interpolation: Interpolation = ...,
    order: int = ...,
    part: Part = ...,
    normalize: Normalize = ...,
    fill: float = ...,
    min_weight: float = ...,
    return_weight: Literal[True],
    out: Tensor | None = ...,
) -> tuple[Tensor, Tensor]: ...


def polar_correlation_map(
    images: Tensor,
    n_radial: int,
    n_angular: int,
    *,
    center: Center = None,
    r_min: float = 0.0,
    r_max: float | None = None,
    mask: Tensor | None = None,
    interpolation: Interpolation = "bilinear",
    order: int = 8,
    part: Part = "real",
    normalize: Normalize = "none",
    fill: float = 0.0,
    min_weight: float = 0.05,
    return_weight: bool = False,
    out: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Merged angular correlation maps of detector images, without the unwrapped maps in between.

    The same as

    .. code-block:: python

        unwrapped, weight = polar_resample(images, n_radial, n_angular, ..., return_weight=True)
        correlation_map(unwrapped, weight=weight, ...)

    up to rounding, but each image is unwrapped into a workspace that stays in the caches, so that only images and
    maps move through memory. On a GPU the workspace is of a bounded size, and of large batches it is in memory.

    Parameters
    ----------
    images : Tensor, shape (..., H, W)
        uint8, uint16, int16, int32, float16, bfloat16, float32 or float64.
    n_radial, n_angular, center, r_min, r_max, mask, interpolation
        As for :func:`polar_resample`.
    order, part, normalize, fill, min_weight
        As for :func:`correlation_map`; ``fill`` is the value of a cell of the map.
    return_weight : bool, default False
        Also return every cell's weight.
    out : Tensor, shape (..., n_radial, n_radial), optional
        Where to write the maps: contiguous, of their dtype, apart from the images in memory. Without gradients only.

    Returns
    -------
    map : Tensor, shape (..., n_radial, n_radial)
        In the images' dtype if that is floating (float32 under autocast), else float32.
    weight : Tensor, shape (..., n_radial, n_radial)
        As from :func:`correlation_map`; only with ``return_weight``. May be an expanded view.

    Raises
    ------
    TypeError
        If ``images`` or ``mask`` has another dtype, or a size or the order is no int.
    ValueError
        If a shape, radius, order or option does not fit, or ``out`` does not.
    RuntimeError
        If ``images`` is on a device that this build has no kernel for, or ``out`` is given while a gradient is
        recorded.
    NotImplementedError
        Under forward-mode differentiation, and for a second derivative with respect to ``center``.

    Notes
    -----
    The backward pass unwraps the images again and goes through the two operators' own. Validity weights are constants
    of it: where samples are only partly valid, the gradient of ``center`` leaves out how it moves them.

    Workspace on the CPU: a thread's unwrapped map, twice, and one map; with a mask or centre for each image also its
    sampling plan. On a GPU: 256 MiB for as many images as fit, or what a single larger one takes;
    more images go through it in turn.

    References
    ----------
    P1: Zimmermann et al., Phys. Rev. E 99, 063309 (2019), section 5.3, whose maps took 6.5 s each.

    Examples
    --------
    >>> frames = torch.randint(0, 4000, (5, 65, 65), dtype=torch.int32)
    >>> polar_correlation_map(frames, 32, 64).shape
    torch.Size([5, 32, 32])
    """
    op = "polar_correlation_map"
    check_source(op, "images", images, ("height", "width"))
    n_radial = check_size(op, "n_radial", n_radial)
    n_angular = check_size(op, "n_angular", n_angular)
    nearest = check_interpolation(op, interpolation)
    *batch, height, width = images.shape
    r_max = check_radii(op, r_min, r_max, (height, width))
    options = check_options(op, n_angular, order, part, normalize, fill, min_weight)
    centers = as_centers(op, center, "images", images, (height, width))
    good = as_good(op, mask, "images", images)
    refuse_forward_mode(op, images, centers)
    check_backend(op, images)

    count = math.prod(batch)
    shape = (*batch, n_radial, n_radial)
    flat = images.reshape(count, height, width)
    grid = (r_min, r_max, nearest)
    operators = torch.ops.cdifast
    if out is None:
        maps = operators.polar_correlation_map(flat, centers, good, n_radial, n_angular, *grid, *options).reshape(shape)
    else:
        dtype = result_dtype(images)
        check_out(op, out, shape, dtype, images.device, images, center if isinstance(center, Tensor) else None, mask)
        if images.is_floating_point():
            flat = flat.to(dtype)  # under autocast
        target = out.view(count, n_radial, n_radial)
        operators.polar_correlation_map_out(flat, centers, good, n_angular, *grid, *options, target)
        maps = out
    if not return_weight:
        return maps
    double = images.dtype == torch.float64
    weight = operators.polar_weight(centers.detach(), good, height, width, n_radial, n_angular, *grid, double)
    cells = operators.correlation_weight(weight, min_weight)
    if cells.shape[0] != count:
        cells = cells.expand(count, n_radial, n_radial)
    return maps, cells.reshape(shape)


# --- shapes and dtypes, for torch.compile and torch.export


@torch.library.register_fake("cdifast::polar_correlation_map")
def _(images: Tensor, center: Tensor, good: Tensor | None, n_radial: int, n_angular: int, *options: Any) -> Tensor:
    dtype = images.dtype if images.dtype in FLOATING else torch.float32
    return images.new_empty((images.shape[0], n_radial, n_radial), dtype=dtype)


@torch.library.register_fake("cdifast::polar_correlation_map_out")
def _(*arguments: Any) -> None:
    return None


# --- autograd: the images are unwrapped once more, and the parts' own operators go back from there


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    images, center, good, ctx.n_radial, ctx.n_angular, *options = inputs
    r_min, r_max, nearest, order, modulus, normalize, _fill, min_weight = options
    ctx.save_for_backward(images, center, good)
    ctx.grid = (r_min, r_max, nearest)
    ctx.options = (order, modulus, normalize, min_weight)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    images, center, good = ctx.saved_tensors
    size = images.shape[1:]
    operators = torch.ops.cdifast
    # In the images' own type: autograd may run inside the caller's autocast.
    with torch.autocast(grad.device.type, enabled=False):
        unwrapped = operators.polar_resample(images, center, good, ctx.n_radial, ctx.n_angular, *ctx.grid, 0.0)
        double = unwrapped.dtype == torch.float64
        weight = operators.polar_weight(center.detach(), good, *size, *unwrapped.shape[1:], *ctx.grid, double)
        to_unwrapped = operators.correlation_map_backward(grad, unwrapped, weight, *ctx.options)
        to_images = to_center = None
        if ctx.needs_input_grad[0]:
            to_images = operators.polar_resample_backward(to_unwrapped, center, good, *size, *ctx.grid)
        if ctx.needs_input_grad[1]:
            to_center = operators.polar_resample_backward_center(to_unwrapped, images, center, good, *ctx.grid)
    return to_images, to_center, *(None,) * 11


torch.library.register_autograd("cdifast::polar_correlation_map", _backward, setup_context=_setup)


# --- autocast

for _device in ("cpu", "cuda"):
    torch.library.register_autocast("cdifast::polar_correlation_map", _device, torch.float32)


# --- vmap: the mapped dimension becomes part of the batch


@torch.library.register_vmap("cdifast::polar_correlation_map")
def _(
    info: Any, in_dims: tuple[Any, ...], images: Tensor, center: Tensor, good: Tensor | None, *options: Any
) -> tuple[Tensor, int]:
    batch = info.batch_size
    merged, count = merge(images, in_dims[0], batch)
    center_ = merge_geometry(center, in_dims[1], batch, count)
    good_ = merge_geometry(good, in_dims[2], batch, count)
    result = torch.ops.cdifast.polar_correlation_map(merged, center_, good_, *options)
    return result.unflatten(0, (batch, count)), 0
