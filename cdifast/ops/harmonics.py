"""Angular harmonics: public function, and what torch needs to know of its operators."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from ._checks import (
    AUTOCAST_DEVICES,
    check_backend,
    check_out,
    check_tensor,
    refuse_forward_mode,
    result_dtype,
)
from ._vmap import batch_first
from ._weights import merged_weight, ring_weights
from .dtypes import FLOATING, compute_dtype


def angular_harmonics(
    unwrapped: Tensor,
    orders: Sequence[int] | Tensor,
    *,
    weight: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    r"""Fourier coefficients of an unwrapped image's rings over the angle, for a few orders (P1, eq. 13 to 15).

    .. math:: I^n_j = \frac{1}{W_j} \sum_k w_{jk} (I_{jk} - m_j)\, e^{-2\pi i n k / K}, \quad n \ne 0, \qquad
              I^0_j = m_j

    with a ring's total weight :math:`W_j = \sum_k w_{jk}` and its weighted mean :math:`m_j` (without weights,
    :math:`W_j = K`). They are the factors of the order-n half of :func:`correlation_map`,
    :math:`C^n_{ij} = \overline{I^n_i} I^n_j`; turning the image by an angle multiplies order n by a phase.

    Parameters
    ----------
    unwrapped : Tensor, shape (..., n_radial, n_angular)
        float16, bfloat16, float32 or float64, as from :func:`polar_resample`.
    orders : sequence of int, or int64 Tensor of shape (O,)
        From ``-(n_angular // 2)`` to ``n_angular // 2``, in any order and repeated at will. Order -n is the complex
        conjugate of order n. Order 0 is the ring's weighted mean: with the mean subtracted it would be 0, and so say
        nothing. A sequence, or a tensor on the CPU, is checked; a tensor on a GPU is not, which would take waiting for
        it: there an order out of range gives ``NaN``.
    weight : Tensor, optional
        Validity weights in [0, 1], shape (n_radial, n_angular) or that of ``unwrapped``, as from
        ``polar_resample(..., return_weight=True)``. Where a weight is 0, the value (``NaN`` included) is ignored.
        A ring without any weight gives 0. A constant: it gets no gradient.
    out : Tensor, optional
        Where the result goes: contiguous, of the result's very shape and dtype, sharing no memory with an input. Not
        while a gradient is recorded.

    Returns
    -------
    Tensor, shape (..., O, n_radial)
        complex128 for float64, else complex64 (under autocast too). ``out``, if given.

    Raises
    ------
    TypeError
        If ``unwrapped`` or ``weight`` is not a floating tensor, or ``orders`` holds no integers.
    ValueError
        If a shape or an order does not fit, or ``weight`` requires a gradient; if ``out`` does not fit.
    RuntimeError
        If ``unwrapped`` is on a device that this build has no kernel for, or a gradient is recorded with ``out``.
    NotImplementedError
        Under forward-mode differentiation.

    Notes
    -----
    Differentiable any number of times in ``unwrapped``; the operator is linear in it. float32 keeps its digits for
    bright rings with weak structure: samples are summed as differences from the ring's mean.

    References
    ----------
    P1: Zimmermann et al., Phys. Rev. E 99, 063309 (2019), section 5.3.

    Examples
    --------
    >>> angular_harmonics(torch.rand(5, 32, 64), [1, 2, 8]).shape
    torch.Size([5, 3, 32])
    """
    op = "angular_harmonics"
    check_tensor(op, "unwrapped", unwrapped, FLOATING)
    if unwrapped.dim() < 2 or unwrapped.shape[-1] == 0:
        raise ValueError(
            f"{op}: unwrapped must have shape (..., n_radial, n_angular) with at least one angle, "
            f"got {tuple(unwrapped.shape)}"
        )
    *batch, n_radial, n_angular = unwrapped.shape
    given, orders = orders, _orders(op, orders, n_angular, unwrapped)
    weights = ring_weights(op, weight, unwrapped)
    refuse_forward_mode(op, unwrapped)
    check_backend(op, unwrapped)

    count = math.prod(batch)
    flat = unwrapped.reshape(count, n_radial, n_angular)
    shape = (*batch, orders.shape[0], n_radial)
    if out is None:
        return torch.view_as_complex(torch.ops.cdifast.angular_harmonics(flat, weights, orders)).reshape(shape)
    real = torch.promote_types(result_dtype(unwrapped), torch.float32)
    dtype = torch.complex128 if real == torch.float64 else torch.complex64
    inputs = (unwrapped, weight, given if isinstance(given, Tensor) else None)
    check_out(op, out, shape, dtype, unwrapped.device, *inputs)
    # The parts of a lazily conjugated tensor are not what lies in memory.
    if out.is_conj():
        raise ValueError(f"{op}: out is a conjugate view; pass out.resolve_conj()")
    target = torch.view_as_real(out).view(count, orders.shape[0], n_radial, 2)
    torch.ops.cdifast.angular_harmonics_out(flat, weights, orders, target)
    return out


@functools.lru_cache(maxsize=32)
def _kept_orders(values: tuple[int, ...], device: torch.device, stream: int) -> Tensor:
    """Orders on a GPU, kept for the next call: to send them takes time that shows beside the kernels'.

    Of each stream its own, because another one does not wait for the copy. Nor does the host: it has left its memory
    when the call returns, because that is not pinned.
    """
    with torch.inference_mode(False):  # or a graph could not save them
        return torch.tensor(values, dtype=torch.int64, device="cpu").to(device, non_blocking=True)


def _orders(op: str, orders: Any, n_angular: int, unwrapped: Tensor) -> Tensor:
    """The orders as an int64 tensor on the device, each checked where its value is known."""
    device = unwrapped.device
    if isinstance(orders, Tensor):
        check_tensor(op, "orders", orders, (torch.int64,))
        if orders.dim() != 1:
            raise ValueError(f"{op}: orders must have shape (O,), got {tuple(orders.shape)}")
        # While torch traces there are no values; the kernels on the CPU look at them again. On a GPU it would take
        # waiting for all that it has still to do.
        unknown = isinstance(orders, FakeTensor) or orders.is_meta or orders.is_cuda
        known = not (torch.compiler.is_compiling() or unknown)
        values = orders.tolist() if known else []
        result = orders.to(device)
    else:
        try:
            values = [operator.index(order) for order in orders]
        except TypeError:
            raise TypeError(f"{op}: orders must be a sequence of int or an int64 tensor, got {orders!r}") from None
        traced = torch.compiler.is_compiling() or isinstance(unwrapped, FakeTensor)
        if device.type == "cuda" and not traced:
            result = _kept_orders(tuple(values), device, torch.cuda.current_stream(device).stream_id)
        else:
            result = torch.tensor(values, dtype=torch.int64, device=device)
    for order in values:
        if abs(order) > n_angular // 2:
            raise ValueError(f"{op}: orders must be at most n_angular // 2 = {n_angular // 2}, got {order}")
    return result


# --- shapes and dtypes, for torch.compile and torch.export


@torch.library.register_fake("cdifast::angular_harmonics")
def _(unwrapped: Tensor, weight: Tensor | None, orders: Tensor) -> Tensor:
    shape = (unwrapped.shape[0], orders.shape[0], unwrapped.shape[1], 2)
    return unwrapped.new_empty(shape, dtype=compute_dtype(unwrapped))


@torch.library.register_fake("cdifast::angular_harmonics_out")
def _(unwrapped: Tensor, weight: Tensor | None, orders: Tensor, out: Tensor) -> None:
    return None


@torch.library.register_fake("cdifast::angular_harmonics_backward")
def _(grad: Tensor, weight: Tensor | None, orders: Tensor, n_angular: int) -> Tensor:
    return grad.new_empty((grad.shape[0], grad.shape[2], n_angular))


# --- autograd: each of the two linear operators is the other's gradient


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    unwrapped, weight, orders = inputs
    ctx.save_for_backward(weight, orders)
    ctx.n_angular, ctx.dtype = unwrapped.shape[2], unwrapped.dtype


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    weight, orders = ctx.saved_tensors
    gradient = torch.ops.cdifast.angular_harmonics_backward(grad, weight, orders, ctx.n_angular)
    return gradient.to(ctx.dtype), None, None


torch.library.register_autograd("cdifast::angular_harmonics", _backward, setup_context=_setup)


def _setup_second(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _grad, weight, orders, _n_angular = inputs
    ctx.save_for_backward(weight, orders)


def _second_order(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
    weight, orders = ctx.saved_tensors
    return torch.ops.cdifast.angular_harmonics(cotangent, weight, orders), None, None, None


torch.library.register_autograd("cdifast::angular_harmonics_backward", _second_order, setup_context=_setup_second)


# --- autocast: the result is float32 for the half types anyway; the rule says so in one place for all operators

for _device in AUTOCAST_DEVICES:
    torch.library.register_autocast("cdifast::angular_harmonics", _device, torch.float32)


# --- vmap: the mapped dimension becomes part of the batch


def _same_orders(dim: int | None) -> None:
    if dim is not None:
        raise NotImplementedError("angular_harmonics: torch.func.vmap over orders is not supported; pass them all")


@torch.library.register_vmap("cdifast::angular_harmonics")
def _(
    info: Any, in_dims: tuple[Any, ...], unwrapped: Tensor, weight: Tensor | None, orders: Tensor
) -> tuple[Tensor, int]:
    _same_orders(in_dims[2])
    unwrapped = batch_first(unwrapped, in_dims[0], info.batch_size)
    batch, count = unwrapped.shape[:2]
    weight = merged_weight(weight, in_dims[1], batch, count)
    result = torch.ops.cdifast.angular_harmonics(unwrapped.flatten(0, 1), weight, orders)
    return result.unflatten(0, (batch, count)), 0


@torch.library.register_vmap("cdifast::angular_harmonics_backward")
def _(
    info: Any, in_dims: tuple[Any, ...], grad: Tensor, weight: Tensor | None, orders: Tensor, n_angular: int
) -> tuple[Tensor, int]:
    _same_orders(in_dims[2])
    grad = batch_first(grad, in_dims[0], info.batch_size)
    batch, count = grad.shape[:2]
    weight = merged_weight(weight, in_dims[1], batch, count)
    result = torch.ops.cdifast.angular_harmonics_backward(grad.flatten(0, 1), weight, orders, n_angular)
    return result.unflatten(0, (batch, count)), 0
