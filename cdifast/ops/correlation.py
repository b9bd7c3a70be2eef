"""Angular correlation maps: public function, and what torch needs to know of its operators."""

from __future__ import annotations

import math
from typing import Any, Literal, overload

import torch
from torch import Tensor

from ._checks import check_backend, check_out, check_size, check_tensor, refuse_forward_mode, result_dtype
from ._vmap import batch_first
from ._weights import merged_weight, ring_weights
from .dtypes import FLOATING, compute_dtype

Part = Literal["real", "abs"]
Normalize = Literal["none", "mean", "pearson"]
_NORMALIZE: tuple[str, ...] = ("none", "mean", "pearson")


@overload
def correlation_map(
    unwrapped: Tensor,
    *,
    order: int = ...,
    part: Part = ...,
    weight: Tensor | None = ...,
    normalize: Normalize = ...,
    fill: float = ...,
    min_weight: float = ...,
    return_weight: Literal[False] = ...,
    out: Tensor | None = ...,
) -> Tensor: ...


@overload
def correlation_map(
    unwrapped: Tensor,
    *,
    order: int = ...,
    part: Part = ...,
    weight: Tensor | None = ...,
    normalize: Normalize = ...,
    fill: float = ...,
    min_weight: float = ...,
    return_weight: Literal[True],
    out: Tensor | None = ...,
) -> tuple[Tensor, Tensor]: ...


def correlation_map(
    unwrapped: Tensor,
    *,
    order: int = 8,
    part: Part = "real",
    weight: Tensor | None = None,
    normalize: Normalize = "none",
    fill: float = 0.0,
    min_weight: float = 0.05,
    return_weight: bool = False,
    out: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    r"""Merged angular correlation map of unwrapped diffraction images (P1, eq. 13 to 15, section 5.3).

    For an unwrapped map :math:`I_{jk}` (radius j, K angles k) with validity weights :math:`w_{jk}`, the lower
    triangle and the diagonal hold the zero-lag correlation, the strict upper triangle the order n:

    .. math::
       C^0_{ij} = \frac{\sum_k w_{ik} w_{jk} I_{ik} I_{jk}}{\sum_k w_{ik} w_{jk}}, \qquad
       C^n_{ij} = \overline{I^n_i} I^n_j, \qquad
       I^n_j = \frac{1}{W_j} \sum_k w_{jk} (I_{jk} - m_j)\, e^{-2\pi i n k / K}

    with :math:`W_j = \sum_k w_{jk}` and the ring's weighted mean :math:`m_j`. Without weights, P1's integral over
    the angle is the mean over all K angles.

    Parameters
    ----------
    unwrapped : Tensor, shape (..., n_radial, n_angular)
        float16, bfloat16, float32 or float64, as from :func:`polar_resample`.
    order : int, default 8
        Order n of the upper triangle, 1 to ``n_angular // 2``.
    part : {"real", "abs"}
        :math:`C^n` is Hermitian; a real map holds its real part or its modulus (P1 does not say which).
    weight : Tensor, optional
        Validity weights in [0, 1], shape (n_radial, n_angular) or that of ``unwrapped``, as from
        ``polar_resample(..., return_weight=True)``. Where a weight is 0, the value (``NaN`` included) is ignored.
        A constant: it gets no gradient.
    normalize : {"none", "mean", "pearson"}
        "mean" divides every cell by the product of its rings' means; "pearson" subtracts each ring's mean and
        divides by its standard deviation. A ring whose mean is 0, or that is constant, has no such value: its
        cells hold ``fill``.
    fill : float, default 0.0
        Value of a cell without enough weight.
    min_weight : float, default 0.05
        Least weight of a cell as a fraction of ``n_angular``: of the pair of rings in the lower triangle, of each
        of the two rings in the upper one.
    return_weight : bool, default False
        Also return every cell's weight.
    out : Tensor, shape (..., n_radial, n_radial), optional
        Where to write the maps: contiguous, of their dtype, apart from the inputs in memory. Without gradients only.

    Returns
    -------
    map : Tensor, shape (..., n_radial, n_radial)
        In the dtype of ``unwrapped`` (float32 under autocast).
    weight : Tensor, shape (..., n_radial, n_radial)
        Fraction of ``n_angular`` that each cell rests on (the smaller ring's in the upper triangle), 0 where there
        is too little; float64 for float64 maps, else float32. Only with ``return_weight``. May be an expanded view.

    Raises
    ------
    TypeError
        If ``unwrapped`` or ``weight`` is not a floating tensor, or ``order`` is no int.
    ValueError
        If a shape, the order or an option does not fit, ``weight`` requires a gradient, or ``out`` does not fit.
    RuntimeError
        If ``unwrapped`` is on a device that this build has no kernel for, or ``out`` is given while a gradient is
        recorded.
    NotImplementedError
        Under forward-mode differentiation.

    Notes
    -----
    Differentiable any number of times in ``unwrapped``: the first derivative is a kernel of its own, the second a
    composition of torch operators. On the CPU a thread needs the unwrapped map once more and one map as workspace.
    On a GPU it is 256 MiB for as many maps as fit: each takes its samples once more, backward twice, and a map.

    References
    ----------
    P1: Zimmermann et al., Phys. Rev. E 99, 063309 (2019), section 5.3.

    Examples
    --------
    >>> correlation_map(torch.rand(5, 32, 64)).shape
    torch.Size([5, 32, 32])
    """
    op = "correlation_map"
    check_tensor(op, "unwrapped", unwrapped, FLOATING)
    if unwrapped.dim() < 2:
        raise ValueError(f"{op}: unwrapped must have shape (..., n_radial, n_angular), got {tuple(unwrapped.shape)}")
    *batch, n_radial, n_angular = unwrapped.shape
    options = check_options(op, n_angular, order, part, normalize, fill, min_weight)
    weights = ring_weights(op, weight, unwrapped)
    refuse_forward_mode(op, unwrapped)
    check_backend(op, unwrapped)

    count = math.prod(batch)
    flat = unwrapped.reshape(count, n_radial, n_angular)
    shape = (*batch, n_radial, n_radial)
    if out is None:
        maps = torch.ops.cdifast.correlation_map(flat, weights, *options).reshape(shape)
    else:
        check_out(op, out, shape, result_dtype(unwrapped), unwrapped.device, unwrapped, weight)
        target = out.view(count, n_radial, n_radial)
        torch.ops.cdifast.correlation_map_out(flat.to(out.dtype), weights, *options, target)
        maps = out
    if not return_weight:
        return maps
    if weights is None:
        cells = unwrapped.new_ones((1, n_radial, n_radial), dtype=compute_dtype(unwrapped))
    else:
        cells = torch.ops.cdifast.correlation_weight(weights, min_weight)
    if cells.shape[0] != count:
        cells = cells.expand(count, n_radial, n_radial)
    return maps, cells.reshape(shape)


def check_options(
    op: str, n_angular: int, order: int, part: str, normalize: str, fill: float, min_weight: float
) -> tuple[int, bool, int, float, float]:
    """The options of a map as its operators take them: order, modulus, normalize, fill, min_weight."""
    order = check_size(op, "order", order)
    if order > n_angular // 2:
        raise ValueError(f"{op}: order must be at most n_angular // 2 = {n_angular // 2}, got {order}")
    if part not in ("real", "abs"):
        raise ValueError(f'{op}: part must be "real" or "abs", got {part!r}')
    if normalize not in _NORMALIZE:
        raise ValueError(f'{op}: normalize must be "none", "mean" or "pearson", got {normalize!r}')
    if not 0.0 <= min_weight <= 1.0:
        raise ValueError(f"{op}: min_weight must be between 0 and 1, got {min_weight}")
    return order, part == "abs", _NORMALIZE.index(normalize), fill, min_weight


# --- shapes and dtypes, for torch.compile and torch.export


@torch.library.register_fake("cdifast::correlation_map")
def _(
    unwrapped: Tensor,
    weight: Tensor | None,
    order: int,
    modulus: bool,
    normalize: int,
    fill: float,
    min_weight: float,
) -> Tensor:
    return unwrapped.new_empty((unwrapped.shape[0], unwrapped.shape[1], unwrapped.shape[1]))


@torch.library.register_fake("cdifast::correlation_map_out")
def _(*arguments: Any) -> None:
    return None


@torch.library.register_fake("cdifast::correlation_map_backward")
def _(grad: Tensor, unwrapped: Tensor, weight: Tensor | None, *options: Any) -> Tensor:
    return torch.empty_like(unwrapped, memory_format=torch.contiguous_format)


@torch.library.register_fake("cdifast::correlation_weight")
def _(weight: Tensor, min_weight: float) -> Tensor:
    return weight.new_empty((weight.shape[0], weight.shape[1], weight.shape[1]), dtype=compute_dtype(weight))


# --- autograd


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    unwrapped, weight, order, modulus, normalize, _fill, min_weight = inputs
    ctx.save_for_backward(unwrapped, weight)
    ctx.options = (order, modulus, normalize, min_weight)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    unwrapped, weight = ctx.saved_tensors
    return torch.ops.cdifast.correlation_map_backward(grad, unwrapped, weight, *ctx.options), *(None,) * 6


torch.library.register_autograd("cdifast::correlation_map", _backward, setup_context=_setup)


def _setup_second(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    grad, unwrapped, weight, *ctx.options = inputs
    ctx.save_for_backward(grad, unwrapped, weight)


def _second_order(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
    """The gradient of ``_gradient``, which says in torch operators what the kernel computes."""
    grad, unwrapped, weight = ctx.saved_tensors
    again = torch.is_grad_enabled()
    # Autograd may run inside the caller's autocast, which would take the products to half precision.
    with torch.enable_grad(), torch.autocast(grad.device.type, enabled=False):
        inputs = (grad, unwrapped) if again else (grad.detach().requires_grad_(), unwrapped.detach().requires_grad_())
        wanted = [tensor for tensor in inputs if tensor.requires_grad]
        found = torch.autograd.grad(
            _gradient(*inputs, weight, *ctx.options), wanted, cotangent, create_graph=again, allow_unused=True
        )
    gradients = iter(found)
    to_grad, to_unwrapped = (next(gradients) if tensor.requires_grad else None for tensor in inputs)
    return to_grad, to_unwrapped, *(None,) * 5


torch.library.register_autograd("cdifast::correlation_map_backward", _second_order, setup_context=_setup_second)


def _gradient(
    grad: Tensor,
    unwrapped: Tensor,
    weight: Tensor | None,
    order: int,
    modulus: bool,
    normalize: int,
    min_weight: float,
) -> Tensor:
    r"""Reverse of csrc/common/correlation_math.h, in its symbols.

    With ``L`` the lower triangle of the gradient over D and ``U`` the strict upper one,
    ``dY = (L + L') Y`` and ``dZ = (U + U') Z``; both reach I directly and through the rings' means and deviations.
    """
    dtype = compute_dtype(unwrapped)
    n_angular = unwrapped.shape[2]
    needed = (min_weight - 1e-5) * n_angular  # needed_weight of the same header
    values, grad = unwrapped.to(dtype), grad.to(dtype)
    if weight is None:
        w = values.new_ones((1, 1, n_angular))
        pair: Tensor | float = float(n_angular)
        enough = None
    else:
        w = weight
        values = torch.where(w > 0, values, 0)
        pairs = w @ w.mT
        enough = (pairs > 0) & (pairs >= needed)
        pair = torch.where(enough, pairs, 1)
    total = w.sum(-1, keepdim=True).clamp_min(torch.finfo(dtype).tiny)
    mean = (w * values).sum(-1, keepdim=True) / total
    centred = values - mean

    usable = (total > 0) & (total >= needed)
    scale = deviation = None
    if normalize == 1:
        usable = usable & (mean != 0)
        scale = 1 / torch.where(usable, mean, 1)
    elif normalize == 2:
        variance = (w * centred.square()).sum(-1, keepdim=True) / total
        mean_square = (w * values.square()).sum(-1, keepdim=True) / total
        noise = 8 * torch.finfo(dtype).eps
        usable = usable & ~(variance <= noise**2 * mean_square)
        deviation = torch.where(usable, variance, 1).sqrt()
        scale = 1 / deviation
    cells = usable & usable.mT
    lower = torch.where(cells if enough is None else cells & enough, grad, 0).tril() / pair
    upper = torch.where(cells, grad, 0).triu(1)

    raw = centred if normalize == 2 else values  # I - b
    y = w * raw if scale is None else w * raw * scale
    z = w * centred / total if scale is None else w * centred / total * scale
    phase = torch.arange(n_angular, device=values.device) * order % n_angular
    angle = phase.to(dtype) * (2 * math.pi / n_angular)
    harmonic = torch.stack((angle.cos(), -angle.sin()), dim=1)  # (K, 2)
    parts = z @ harmonic  # (N, R, 2): real and imaginary
    both = upper + upper.mT
    if modulus:
        square = parts.square().sum(-1, keepdim=True)
        nonzero = square > 0
        size = torch.where(nonzero, square, 1).sqrt()
        to_parts = torch.where(nonzero, (both @ torch.where(nonzero, size, 0)) * parts / size, 0)
    else:
        to_parts = both @ parts
    to_y = w * ((lower + lower.mT) @ y)
    to_z = w / total * (to_parts @ harmonic.mT)

    direct = to_y + to_z
    to_values = direct if scale is None else direct * scale
    # Through the mean: Z always subtracts it, Y only under "pearson".
    through_mean = direct if normalize == 2 else to_z
    to_mean = -(through_mean if scale is None else through_mean * scale).sum(-1, keepdim=True)
    if scale is not None:
        to_scale = (to_y * raw + to_z * centred).sum(-1, keepdim=True)
        if deviation is None:
            to_mean = to_mean - to_scale * scale.square()
        else:
            to_values = to_values - to_scale * scale.square() * w * centred / (total * deviation)
    to_values = to_values + to_mean * w / total
    if weight is not None:
        to_values = torch.where(w > 0, to_values, 0)
    return to_values.to(unwrapped.dtype)


# --- autocast: the order-n term is a small difference of large sums

for _device in ("cpu", "cuda"):
    torch.library.register_autocast("cdifast::correlation_map", _device, torch.float32)


# --- vmap: the mapped dimension becomes part of the batch


@torch.library.register_vmap("cdifast::correlation_map")
def _(info: Any, in_dims: tuple[Any, ...], unwrapped: Tensor, weight: Tensor | None, *args: Any) -> tuple[Tensor, int]:
    batch = info.batch_size
    unwrapped = batch_first(unwrapped, in_dims[0], batch)
    count = unwrapped.shape[1]
    weight = merged_weight(weight, in_dims[1], batch, count)
    return torch.ops.cdifast.correlation_map(unwrapped.flatten(0, 1), weight, *args).unflatten(0, (batch, count)), 0


@torch.library.register_vmap("cdifast::correlation_map_backward")
def _(
    info: Any, in_dims: tuple[Any, ...], grad: Tensor, unwrapped: Tensor, weight: Tensor | None, *options: Any
) -> tuple[Tensor, int]:
    batch = info.batch_size
    grad = batch_first(grad, in_dims[0], batch)
    unwrapped = batch_first(unwrapped, in_dims[1], batch)
    weight = merged_weight(weight, in_dims[2], batch, unwrapped.shape[1])
    result = torch.ops.cdifast.correlation_map_backward(grad.flatten(0, 1), unwrapped.flatten(0, 1), weight, *options)
    return result.unflatten(0, (batch, unwrapped.shape[1])), 0


@torch.library.register_vmap("cdifast::correlation_weight")
def _(info: Any, in_dims: tuple[Any, ...], weight: Tensor, min_weight: float) -> tuple[Tensor, int]:
    weight = weight.movedim(in_dims[0], 0)
    cells = torch.ops.cdifast.correlation_weight(weight.flatten(0, 1), min_weight)
    return cells.unflatten(0, tuple(weight.shape[:2])), 0
