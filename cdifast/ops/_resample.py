"""What polar resampling and its way back share: checks, the call, and what torch needs to know of their operators.

``source`` is what is sampled, ``rows`` and ``columns`` are the output's: of an unwrapped map for ``polar``, of a
detector image for ``cartesian``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode

from ._checks import check_backend, check_out, check_size, check_tensor, refuse_forward_mode, result_dtype
from ._vmap import batch_first
from .dtypes import FLOATING, IMAGE_DTYPES

Interpolation = Literal["bilinear", "nearest"]
Center = Sequence[float] | Tensor | None

SOURCE = {"polar": "images", "cartesian": "unwrapped"}
"""The name of the first argument."""


def resample(
    kind: Literal["polar", "cartesian"],
    source: Tensor,
    rows: int,
    columns: int,
    center: Center,
    r_min: float,
    r_max: float | None,
    mask: Tensor | None,
    interpolation: Interpolation,
    fill: float,
    return_weight: bool,
    out: Tensor | None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Check the arguments of a public function and call its operators."""
    op = f"{kind}_resample"
    name = SOURCE[kind]
    check_source(op, name, source, ("height", "width") if kind == "polar" else ("n_radial", "n_angular"))
    names = ("n_radial", "n_angular") if kind == "polar" else ("height", "width")
    rows = check_size(op, names[0], rows)
    columns = check_size(op, names[1], columns)
    detector = source.shape[-2:] if kind == "polar" else torch.Size((rows, columns))
    nearest = check_interpolation(op, interpolation)
    r_max = check_radii(op, r_min, r_max, detector)
    if kind == "cartesian" and r_min == r_max and source.shape[-2] > 1:
        raise ValueError(f"{op}: {source.shape[-2]} rings need r_min < r_max, got {r_min} for both")
    batch = source.shape[:-2]
    count = math.prod(batch)
    centers = as_centers(op, center, name, source, detector)
    good = as_good(op, mask, name, source)
    refuse_forward_mode(op, source, centers)
    check_backend(op, source)

    # One small image takes as long here as in its kernel: no call of torch is made that changes nothing.
    shape = (*batch, rows, columns)
    flat = source if source.dim() == 3 else source.reshape(count, *source.shape[-2:])
    operators = torch.ops.cdifast
    if out is None:
        forward = getattr(operators, op)
        result = forward(flat, centers, good, rows, columns, r_min, r_max, nearest, fill)
        result = result if source.dim() == 3 else result.reshape(shape)
    else:
        own_center = center if isinstance(center, Tensor) else None
        check_out(op, out, shape, result_dtype(source), source.device, source, own_center, mask)
        target = out if out.dim() == 3 else out.view(count, rows, columns)
        if source.is_floating_point() and source.dtype != out.dtype:
            flat = flat.to(out.dtype)  # under autocast
        getattr(operators, f"{op}_out")(flat, centers, good, r_min, r_max, nearest, fill, target)
        result = out
    if not return_weight:
        return result
    weight = getattr(operators, f"{kind}_weight")(
        centers.detach(),
        good,
        *source.shape[-2:],
        rows,
        columns,
        r_min,
        r_max,
        nearest,
        source.dtype == torch.float64,
    )
    if weight.shape[0] != count:
        weight = weight.expand(count, rows, columns)
    return result, weight.reshape(shape)


def check_source(op: str, name: str, source: Any, axes: tuple[str, str]) -> None:
    """Refuse what is no batch of images of a known dtype, or has no pixels."""
    check_tensor(op, name, source, IMAGE_DTYPES)
    if source.dim() < 2:
        raise ValueError(f"{op}: {name} must have shape (..., {axes[0]}, {axes[1]}), got {tuple(source.shape)}")
    if source.shape[-2] < 1 or source.shape[-1] < 1:
        raise ValueError(f"{op}: {name} have no pixels, shape {tuple(source.shape)}")


def check_interpolation(op: str, interpolation: str) -> bool:
    """Whether it is nearest; refuses what is neither that nor bilinear."""
    if interpolation not in ("bilinear", "nearest"):
        raise ValueError(f'{op}: interpolation must be "bilinear" or "nearest", got {interpolation!r}')
    return interpolation == "nearest"


def check_radii(op: str, r_min: float, r_max: float | None, detector: Sequence[int]) -> float:
    """``r_max``, by default that of the largest circle inside the detector round its middle."""
    if r_max is None:
        r_max = (min(*detector) - 1) / 2
    if not 0.0 <= r_min <= r_max < math.inf:
        raise ValueError(f"{op}: need 0 <= r_min <= r_max < inf, got r_min={r_min} and r_max={r_max}")
    return r_max


@functools.lru_cache(maxsize=64)
def _kept_center(y: float, x: float) -> Tensor:
    """A centre on the CPU, (1, 2), kept for the next call: to make it takes a fifth of a call on a small image."""
    with torch.inference_mode(False):  # or a graph could not save it
        return torch.tensor([[y, x]], dtype=torch.float64, device="cpu")


def as_centers(op: str, center: Center, name: str, source: Tensor, detector: Sequence[int]) -> Tensor:
    """Centres as (1 or N, 2) float64 on the source's device; by default the middle of the detector image."""
    if center is None:
        center = ((detector[0] - 1) / 2, (detector[1] - 1) / 2)
    if not isinstance(center, Tensor):
        try:
            y, x = (float(value) for value in center)
        except (TypeError, ValueError):
            raise ValueError(f"{op}: center must be (y, x) or a tensor, got {center!r}") from None
        if source.is_cpu and not (torch.compiler.is_compiling() or _get_current_dispatch_mode()):
            return _kept_center(y, x)
        # Made where it is needed: a copy from the host would wait for all that the GPU has still to do.
        return torch.linspace(y, x, 2, dtype=torch.float64, device=source.device).view(1, 2)
    batch = source.shape[:-2]
    # Shapes of equal rank only: comparing others would tie torch.export to one batch size.
    shared = center.dim() == 1
    if center.shape != ((2,) if shared else (*batch, 2)):
        raise ValueError(
            f"{op}: center must have shape (2,) or {(*batch, 2)} for {name} of shape {tuple(source.shape)}, "
            f"got {tuple(center.shape)}"
        )
    return center.to(source.device, torch.float64).reshape(1 if shared else math.prod(batch), 2)


def as_good(op: str, mask: Tensor | None, name: str, source: Tensor) -> Tensor | None:
    """The mask as (1 or N, rows, columns) bool on the source's device."""
    if mask is None:
        return None
    check_tensor(op, "mask (True = good pixel)", mask, (torch.bool,))
    shared = mask.dim() == 2
    if mask.shape != (source.shape[-2:] if shared else source.shape):
        raise ValueError(
            f"{op}: mask must have shape {tuple(source.shape[-2:])} or {tuple(source.shape)}, got {tuple(mask.shape)}"
        )
    return mask.to(source.device).reshape(1 if shared else math.prod(source.shape[:-2]), *source.shape[-2:])


# --- vmap: the mapped dimension becomes part of the batch


def merge(tensor: Tensor, dim: int | None, batch: int) -> tuple[Tensor, int]:
    """(N, ...) with or without the mapped dimension -> (batch N, ...), and N."""
    tensor = batch_first(tensor, dim, batch)
    return tensor.flatten(0, 1), tensor.shape[1]


def merge_geometry(tensor: Tensor | None, dim: int | None, batch: int, count: int) -> Tensor | None:
    """A centre or mask, one for all images or one for each, likewise; one that serves everything stays one."""
    if tensor is None or (dim is None and tensor.shape[0] == 1):
        return tensor
    tensor = batch_first(tensor, dim, batch)
    return tensor.expand(batch, count, *tensor.shape[2:]).flatten(0, 1)


def _register(kind: str) -> None:
    """Shapes and dtypes, autograd, autocast and vmap of the operators of one direction."""
    name = f"cdifast::{kind}_resample"
    forward = getattr(torch.ops.cdifast, f"{kind}_resample")
    weight_of = getattr(torch.ops.cdifast, f"{kind}_weight")
    backward = getattr(torch.ops.cdifast, f"{kind}_resample_backward")
    backward_center = getattr(torch.ops.cdifast, f"{kind}_resample_backward_center")

    # --- shapes and dtypes, for torch.compile and torch.export

    @torch.library.register_fake(name)
    def _(source: Tensor, center: Tensor, good: Tensor | None, rows: int, columns: int, *options: Any) -> Tensor:
        dtype = source.dtype if source.dtype in FLOATING else torch.float32
        return source.new_empty((source.shape[0], rows, columns), dtype=dtype)

    @torch.library.register_fake(f"{name}_out")
    def _(*arguments: Any) -> None:
        return None

    @torch.library.register_fake(f"cdifast::{kind}_weight")
    def _(
        center: Tensor,
        good: Tensor | None,
        source_rows: int,
        source_columns: int,
        rows: int,
        columns: int,
        r_min: float,
        r_max: float,
        nearest: bool,
        float64: bool,
    ) -> Tensor:
        count = good.shape[0] if good is not None and good.shape[0] != 1 else center.shape[0]
        return center.new_empty((count, rows, columns), dtype=torch.float64 if float64 else torch.float32)

    @torch.library.register_fake(f"{name}_backward")
    def _(grad: Tensor, center: Tensor, good: Tensor | None, rows: int, columns: int, *options: Any) -> Tensor:
        return grad.new_empty((grad.shape[0], rows, columns))

    @torch.library.register_fake(f"{name}_backward_center")
    def _(grad: Tensor, source: Tensor, center: Tensor, good: Tensor | None, *options: Any) -> Tensor:
        return center.new_empty(tuple(center.shape))

    # --- autograd

    def set_up(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        source, center, good, _rows, _columns, r_min, r_max, nearest, _fill = inputs
        # The source itself is needed only where the centre moves: it is the larger part of the memory.
        ctx.save_for_backward(source if ctx.needs_input_grad[1] else None, center, good)
        ctx.shape = source.shape[1:]
        ctx.grid = (r_min, r_max, nearest)

    def gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        source, center, good = ctx.saved_tensors
        to_source = backward(grad, center, good, *ctx.shape, *ctx.grid) if ctx.needs_input_grad[0] else None
        to_center = None
        if ctx.needs_input_grad[1]:
            to_center = backward_center(grad, source, center, good, *ctx.grid)
        return to_source, to_center, *(None,) * 7

    torch.library.register_autograd(name, gradient, setup_context=set_up)

    def set_up_adjoint(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        grad, center, good, _rows, _columns, r_min, r_max, nearest = inputs
        ctx.save_for_backward(grad if ctx.needs_input_grad[1] else None, center, good)
        ctx.shape = grad.shape[1:]
        ctx.grid = (r_min, r_max, nearest)

    def gradient_of_adjoint(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        """With P the resampling, the adjoint's output c gives <c, P'g> = <P c, g>: P again, and P's centre rule."""
        grad, center, good = ctx.saved_tensors
        to_grad = forward(cotangent, center, good, *ctx.shape, *ctx.grid, 0.0) if ctx.needs_input_grad[0] else None
        to_center = None
        if ctx.needs_input_grad[1]:
            to_center = backward_center(grad, cotangent, center, good, *ctx.grid)
        return to_grad, to_center, *(None,) * 6

    torch.library.register_autograd(f"{name}_backward", gradient_of_adjoint, setup_context=set_up_adjoint)

    def set_up_center(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Nothing to keep: there is no second derivative."""

    def no_second_derivative(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        raise NotImplementedError(f"{kind}_resample: there is no second derivative with respect to center")

    torch.library.register_autograd(f"{name}_backward_center", no_second_derivative, setup_context=set_up_center)

    # --- autocast: coordinates are float64 in any case, and float32 keeps photon counts exact

    for device in ("cpu", "cuda"):
        torch.library.register_autocast(name, device, torch.float32)

    # --- vmap

    @torch.library.register_vmap(name)
    def _(
        info: Any, in_dims: tuple[Any, ...], source: Tensor, center: Tensor, good: Tensor | None, *options: Any
    ) -> tuple[Tensor, int]:
        merged, count = merge(source, in_dims[0], info.batch_size)
        center_ = merge_geometry(center, in_dims[1], info.batch_size, count)
        good_ = merge_geometry(good, in_dims[2], info.batch_size, count)
        return forward(merged, center_, good_, *options).unflatten(0, (info.batch_size, count)), 0

    @torch.library.register_vmap(f"cdifast::{kind}_weight")
    def _(
        info: Any, in_dims: tuple[Any, ...], center: Tensor, good: Tensor | None, *options: Any
    ) -> tuple[Tensor, int]:
        batch = info.batch_size
        centers = batch_first(center, in_dims[0], batch)
        good_count = 1 if good is None else batch_first(good, in_dims[1], batch).shape[1]
        count = max(centers.shape[1], good_count)
        center_ = centers.expand(batch, count, 2).flatten(0, 1)
        good_ = merge_geometry(good, in_dims[1], batch, count)
        return weight_of(center_, good_, *options).unflatten(0, (batch, count)), 0

    @torch.library.register_vmap(f"{name}_backward")
    def _(
        info: Any, in_dims: tuple[Any, ...], grad: Tensor, center: Tensor, good: Tensor | None, *options: Any
    ) -> tuple[Tensor, int]:
        merged, count = merge(grad, in_dims[0], info.batch_size)
        center_ = merge_geometry(center, in_dims[1], info.batch_size, count)
        good_ = merge_geometry(good, in_dims[2], info.batch_size, count)
        return backward(merged, center_, good_, *options).unflatten(0, (info.batch_size, count)), 0

    @torch.library.register_vmap(f"{name}_backward_center")
    def _(
        info: Any,
        in_dims: tuple[Any, ...],
        grad: Tensor,
        source: Tensor,
        center: Tensor,
        good: Tensor | None,
        *options: Any,
    ) -> tuple[Tensor, int]:
        batch = info.batch_size
        grad_, count = merge(grad, in_dims[0], batch)
        source_, _ = merge(source, in_dims[1], batch)
        centers = batch_first(center, in_dims[2], batch)
        shared = centers.shape[1] == 1
        good_ = merge_geometry(good, in_dims[3], batch, count)
        # One centre an image, so that each sample of the map keeps its own sum.
        result = backward_center(
            grad_, source_, centers.expand(batch, count, 2).flatten(0, 1), good_, *options
        ).unflatten(0, (batch, count))
        return result.sum(1, keepdim=True) if shared else result, 0


for _kind in SOURCE:
    _register(_kind)
