"""Polar resampling (unwrapping): public function, and what torch needs to know of its operators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, overload

import torch
from torch import Tensor

from ._checks import check_backend, check_size, check_tensor, refuse_forward_mode
from ._vmap import batch_first
from .dtypes import FLOATING, IMAGE_DTYPES

Interpolation = Literal["bilinear", "nearest"]


@overload
def polar_resample(
    images: Tensor,
    n_radial: int,
    n_angular: int,
    *,
    center: Sequence[float] | Tensor | None = ...,
    r_min: float = ...,
    r_max: float | None = ...,
    mask: Tensor | None = ...,
    interpolation: Interpolation = ...,
    fill: float = ...,
    return_weight: Literal[False] = ...,
) -> Tensor: ...


@overload
def polar_resample(
    images: Tensor,
    n_radial: int,
    n_angular: int,
    *,
    center: Sequence[float] | Tensor | None = ...,
    r_min: float = ...,
    r_max: float | None = ...,
    mask: Tensor | None = ...,
    interpolation: Interpolation = ...,
    fill: float = ...,
    return_weight: Literal[True],
) -> tuple[Tensor, Tensor]: ...


def polar_resample(
    images: Tensor,
    n_radial: int,
    n_angular: int,
    *,
    center: Sequence[float] | Tensor | None = None,
    r_min: float = 0.0,
    r_max: float | None = None,
    mask: Tensor | None = None,
    interpolation: Interpolation = "bilinear",
    fill: float = 0.0,
    return_weight: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    r"""Unwrap detector images into (radius, angle) maps.

    Sample ``(j, k)`` lies at

    .. math:: x = c_x + r_j \cos\varphi_k,\quad y = c_y - r_j \sin\varphi_k,\quad
              r_j = r_\mathrm{min} + j\,\frac{r_\mathrm{max} - r_\mathrm{min}}{n_\mathrm{radial} - 1},\quad
              \varphi_k = \frac{2\pi k}{n_\mathrm{angular}}

    in pixels, pixel centres on whole numbers: counter-clockwise as displayed, the end point of the circle left out.
    A sample's *validity weight* is the sum of the bilinear weights of its neighbours that lie in the image and are
    not masked. At 0.5 or more the sample is their weighted mean; below, it is ``fill`` and its weight is 0. A
    neighbour that the sample does not reach (weight 0) does not count, nor can a masked pixel's value, ``NaN``
    included, get into the result.

    P2 calls the detector image "polar form" and this map "Cartesian form".

    Parameters
    ----------
    images : Tensor, shape (..., H, W)
        uint8, uint16, int16, int32, float16, bfloat16, float32 or float64.
    n_radial, n_angular : int
        Size of the map.
    center : pair of float or Tensor, optional
        ``(y, x)`` in pixels: shape (2,) for all images, or (..., 2) with the images' batch dimensions. Default
        ``((H - 1) / 2, (W - 1) / 2)``. A floating tensor gets a gradient (first order).
    r_min, r_max : float
        First and last radius in pixels. ``r_max`` defaults to ``(min(H, W) - 1) / 2``, the largest circle inside
        the image round the default centre: the same grid whatever the centres.
    mask : Tensor of bool, optional
        True where a pixel is good: shape (H, W) for all images, or (..., H, W) with their batch dimensions.
    interpolation : {"bilinear", "nearest"}
    fill : float, default 0.0
        Value of a sample without enough valid neighbours.
    return_weight : bool, default False
        Also return the validity weights.

    Returns
    -------
    unwrapped : Tensor, shape (..., n_radial, n_angular)
        In the images' dtype if that is floating (float32 under autocast), else float32. Integers up to 2^24 are
        exact.
    weight : Tensor, shape (..., n_radial, n_angular)
        In [0, 1], float64 for float64 images, else float32; only with ``return_weight``. May be an expanded view.
        It depends on the geometry and the mask only, and carries no gradient.

    Raises
    ------
    TypeError
        If ``images`` or ``mask`` has another dtype, or a size is no int.
    ValueError
        If a shape, radius or option does not fit.
    RuntimeError
        If ``images`` is on a device that this build has no kernel for.
    NotImplementedError
        Under forward-mode differentiation, and for a second derivative with respect to ``center``.

    Notes
    -----
    Geometry is computed in float64. Linear in ``images``; the backward pass is the exact adjoint, one thread an
    image, so that results do not depend on the number of threads.

    References
    ----------
    P2: Zimmermann et al., "Finding the semantic similarity in single-particle diffraction images using self-supervised
    contrastive projection learning" (2022), section II. It leaves the grid open; angles that leave out the end point,
    the validity rule and the defaults are decided here.

    Examples
    --------
    >>> polar_resample(torch.ones(5, 65, 65), 32, 64).shape
    torch.Size([5, 32, 64])
    """
    op = "polar_resample"
    check_tensor(op, "images", images, IMAGE_DTYPES)
    if images.dim() < 2:
        raise ValueError(f"{op}: images must have shape (..., height, width), got {tuple(images.shape)}")
    n_radial = check_size(op, "n_radial", n_radial)
    n_angular = check_size(op, "n_angular", n_angular)
    if interpolation not in ("bilinear", "nearest"):
        raise ValueError(f'{op}: interpolation must be "bilinear" or "nearest", got {interpolation!r}')
    *batch, height, width = images.shape
    if height < 1 or width < 1:
        raise ValueError(f"{op}: images have no pixels, shape {tuple(images.shape)}")
    if r_max is None:
        r_max = (min(height, width) - 1) / 2
    if not 0.0 <= r_min <= r_max < math.inf:
        raise ValueError(f"{op}: need 0 <= r_min <= r_max < inf, got r_min={r_min} and r_max={r_max}")
    count = math.prod(batch)
    centers = _centers(center, images)
    good = _good_pixels(mask, images)
    refuse_forward_mode(op, images, centers)
    check_backend(op, images)

    nearest = interpolation == "nearest"
    unwrapped = torch.ops.cdifast.polar_resample(
        images.reshape(count, height, width), centers, good, n_radial, n_angular, r_min, r_max, nearest, fill
    ).reshape(*batch, n_radial, n_angular)
    if not return_weight:
        return unwrapped
    weight = torch.ops.cdifast.polar_weight(
        centers.detach(),
        good,
        height,
        width,
        n_radial,
        n_angular,
        r_min,
        r_max,
        nearest,
        images.dtype == torch.float64,
    )
    if weight.shape[0] != count:
        weight = weight.expand(count, n_radial, n_angular)
    return unwrapped, weight.reshape(*batch, n_radial, n_angular)


def _centers(center: Sequence[float] | Tensor | None, images: Tensor) -> Tensor:
    """Centres as (1 or N, 2) float64 on the images' device."""
    *batch, height, width = images.shape
    if center is None:
        center = ((height - 1) / 2, (width - 1) / 2)
    if not isinstance(center, Tensor):
        try:
            y, x = (float(value) for value in center)
        except (TypeError, ValueError):
            raise ValueError(f"polar_resample: center must be (y, x) or a tensor, got {center!r}") from None
        center = torch.tensor([y, x], dtype=torch.float64, device=images.device)
    # Shapes of equal rank only: comparing others would tie torch.export to one batch size.
    shared = center.dim() == 1
    if center.shape != ((2,) if shared else (*batch, 2)):
        raise ValueError(
            f"polar_resample: center must have shape (2,) or {(*batch, 2)} for images of shape {tuple(images.shape)}, "
            f"got {tuple(center.shape)}"
        )
    return center.to(images.device, torch.float64).reshape(1 if shared else math.prod(batch), 2)


def _good_pixels(mask: Tensor | None, images: Tensor) -> Tensor | None:
    """The mask as (1 or N, H, W) bool on the images' device."""
    if mask is None:
        return None
    check_tensor("polar_resample", "mask (True = good pixel)", mask, (torch.bool,))
    *batch, height, width = images.shape
    shared = mask.dim() == 2
    if mask.shape != ((height, width) if shared else images.shape):
        raise ValueError(
            f"polar_resample: mask must have shape {(height, width)} or {tuple(images.shape)}, got {tuple(mask.shape)}"
        )
    return mask.to(images.device).reshape(1 if shared else math.prod(batch), height, width)


# --- shapes and dtypes, for torch.compile and torch.export


@torch.library.register_fake("cdifast::polar_resample")
def _(
    images: Tensor,
    center: Tensor,
    good: Tensor | None,
    n_radial: int,
    n_angular: int,
    r_min: float,
    r_max: float,
    nearest: bool,
    fill: float,
) -> Tensor:
    dtype = images.dtype if images.dtype in FLOATING else torch.float32
    return images.new_empty((images.shape[0], n_radial, n_angular), dtype=dtype)


@torch.library.register_fake("cdifast::polar_weight")
def _(
    center: Tensor,
    good: Tensor | None,
    height: int,
    width: int,
    n_radial: int,
    n_angular: int,
    r_min: float,
    r_max: float,
    nearest: bool,
    float64: bool,
) -> Tensor:
    count = good.shape[0] if good is not None and good.shape[0] != 1 else center.shape[0]
    return center.new_empty((count, n_radial, n_angular), dtype=torch.float64 if float64 else torch.float32)


@torch.library.register_fake("cdifast::polar_resample_backward")
def _(
    grad: Tensor,
    center: Tensor,
    good: Tensor | None,
    height: int,
    width: int,
    r_min: float,
    r_max: float,
    nearest: bool,
) -> Tensor:
    return grad.new_empty((grad.shape[0], height, width))


@torch.library.register_fake("cdifast::polar_resample_backward_center")
def _(
    grad: Tensor,
    images: Tensor,
    center: Tensor,
    good: Tensor | None,
    r_min: float,
    r_max: float,
    nearest: bool,
) -> Tensor:
    return center.new_empty(tuple(center.shape))


# --- autograd


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    images, center, good, _n_radial, _n_angular, r_min, r_max, nearest, _fill = inputs
    # The images themselves are needed only where the centre moves: they are the larger part of the memory.
    ctx.save_for_backward(images if ctx.needs_input_grad[1] else None, center, good)
    ctx.height, ctx.width = images.shape[1:]
    ctx.grid = (r_min, r_max, nearest)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    images, center, good = ctx.saved_tensors
    to_images = to_center = None
    if ctx.needs_input_grad[0]:
        to_images = torch.ops.cdifast.polar_resample_backward(grad, center, good, ctx.height, ctx.width, *ctx.grid)
    if ctx.needs_input_grad[1]:
        to_center = torch.ops.cdifast.polar_resample_backward_center(grad, images, center, good, *ctx.grid)
    return to_images, to_center, *(None,) * 7


torch.library.register_autograd("cdifast::polar_resample", _backward, setup_context=_setup)


def _setup_adjoint(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    grad, center, good, _height, _width, r_min, r_max, nearest = inputs
    ctx.save_for_backward(grad if ctx.needs_input_grad[1] else None, center, good)
    ctx.n_radial, ctx.n_angular = grad.shape[1:]
    ctx.grid = (r_min, r_max, nearest)


def _backward_adjoint(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
    """With P the resampling, the adjoint's output c gives <c, P'g> = <P c, g>: P again, and P's own centre rule."""
    grad, center, good = ctx.saved_tensors
    to_grad = to_center = None
    if ctx.needs_input_grad[0]:
        to_grad = torch.ops.cdifast.polar_resample(cotangent, center, good, ctx.n_radial, ctx.n_angular, *ctx.grid, 0.0)
    if ctx.needs_input_grad[1]:
        to_center = torch.ops.cdifast.polar_resample_backward_center(grad, cotangent, center, good, *ctx.grid)
    return to_grad, to_center, *(None,) * 6


torch.library.register_autograd("cdifast::polar_resample_backward", _backward_adjoint, setup_context=_setup_adjoint)


def _setup_center(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    """Nothing to keep: there is no second derivative."""


def _backward_center(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
    raise NotImplementedError("polar_resample: there is no second derivative with respect to center")


torch.library.register_autograd(
    "cdifast::polar_resample_backward_center", _backward_center, setup_context=_setup_center
)


# --- autocast: coordinates are float64 in any case, and float32 keeps photon counts exact

for _device in ("cpu", "cuda"):
    torch.library.register_autocast("cdifast::polar_resample", _device, torch.float32)


# --- vmap: the mapped dimension becomes part of the batch


def _merge(tensor: Tensor, dim: int | None, batch: int) -> tuple[Tensor, int]:
    """(N, ...) with or without the mapped dimension -> (batch N, ...), and N."""
    tensor = batch_first(tensor, dim, batch)
    return tensor.flatten(0, 1), tensor.shape[1]


def _merge_geometry(tensor: Tensor | None, dim: int | None, batch: int, count: int) -> Tensor | None:
    """A centre or mask, one for all images or one for each, likewise; one that serves everything stays one."""
    if tensor is None or (dim is None and tensor.shape[0] == 1):
        return tensor
    tensor = batch_first(tensor, dim, batch)
    return tensor.expand(batch, count, *tensor.shape[2:]).flatten(0, 1)


@torch.library.register_vmap("cdifast::polar_resample")
def _(
    info: Any, in_dims: tuple[Any, ...], images: Tensor, center: Tensor, good: Tensor | None, *args: Any
) -> tuple[Tensor, int]:
    batch = info.batch_size
    merged, count = _merge(images, in_dims[0], batch)
    center_ = _merge_geometry(center, in_dims[1], batch, count)
    good_ = _merge_geometry(good, in_dims[2], batch, count)
    return torch.ops.cdifast.polar_resample(merged, center_, good_, *args).unflatten(0, (batch, count)), 0


@torch.library.register_vmap("cdifast::polar_weight")
def _(info: Any, in_dims: tuple[Any, ...], center: Tensor, good: Tensor | None, *args: Any) -> tuple[Tensor, int]:
    batch = info.batch_size
    centers = batch_first(center, in_dims[0], batch)
    good_count = 1 if good is None else batch_first(good, in_dims[1], batch).shape[1]
    count = max(centers.shape[1], good_count)
    center_ = centers.expand(batch, count, 2).flatten(0, 1)
    good_ = _merge_geometry(good, in_dims[1], batch, count)
    return torch.ops.cdifast.polar_weight(center_, good_, *args).unflatten(0, (batch, count)), 0


@torch.library.register_vmap("cdifast::polar_resample_backward")
def _(
    info: Any, in_dims: tuple[Any, ...], grad: Tensor, center: Tensor, good: Tensor | None, *args: Any
) -> tuple[Tensor, int]:
    batch = info.batch_size
    merged, count = _merge(grad, in_dims[0], batch)
    center_ = _merge_geometry(center, in_dims[1], batch, count)
    good_ = _merge_geometry(good, in_dims[2], batch, count)
    return torch.ops.cdifast.polar_resample_backward(merged, center_, good_, *args).unflatten(0, (batch, count)), 0


@torch.library.register_vmap("cdifast::polar_resample_backward_center")
def _(
    info: Any,
    in_dims: tuple[Any, ...],
    grad: Tensor,
    images: Tensor,
    center: Tensor,
    good: Tensor | None,
    *args: Any,
) -> tuple[Tensor, int]:
    batch = info.batch_size
    grad_, count = _merge(grad, in_dims[0], batch)
    images_, _ = _merge(images, in_dims[1], batch)
    centers = batch_first(center, in_dims[2], batch)
    shared = centers.shape[1] == 1
    good_ = _merge_geometry(good, in_dims[3], batch, count)
    # One centre an image, so that each sample of the map keeps its own sum.
    result = torch.ops.cdifast.polar_resample_backward_center(
        grad_, images_, centers.expand(batch, count, 2).flatten(0, 1), good_, *args
    ).unflatten(0, (batch, count))
    return result.sum(1, keepdim=True) if shared else result, 0
