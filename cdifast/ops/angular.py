"""Angular correlation functions: public function, and what torch needs to know of their operators."""

from __future__ import annotations

import functools
import math
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from ._checks import (
    AUTOCAST_DEVICES,
    check_backend,
    check_out,
    check_tensor,
    has_kernel,
    refuse_forward_mode,
    result_dtype,
)
from ._vmap import batch_first
from ._weights import merged_weight, ring_weights
from .dtypes import FLOATING, compute_dtype

Pairs = Literal["all", "diagonal"]


def angular_correlation(
    unwrapped: Tensor,
    *,
    pairs: Pairs | Tensor = "all",
    weight: Tensor | None = None,
    fill: float = 0.0,
    min_weight: float = 0.05,
    out: Tensor | None = None,
) -> Tensor:
    r"""Angular correlation functions of pairs of rings of unwrapped images, at all lags (P1, eq. 13).

    .. math:: C_{ij}(d) = \frac{\sum_k w_{ik} w_{j,k+d}\, I_{ik} I_{j,k+d}}{\sum_k w_{ik} w_{j,k+d}},
              \qquad d = 0 \ldots K-1, \quad k + d \bmod K

    which without weights is the mean of :math:`I_{ik} I_{j,k+d}` over the angles. Lag 0 is the zero-lag half of
    :func:`correlation_map`; the Fourier transform over the lags is :math:`K\,\overline{I^n_i} I^n_j` of
    :func:`angular_harmonics` for n != 0, without weights. All of it is the same for every in-plane rotation.

    Parameters
    ----------
    unwrapped : Tensor, shape (..., n_radial, n_angular)
        float16, bfloat16, float32 or float64, as from :func:`polar_resample`.
    pairs : {"all", "diagonal"} or int64 Tensor of shape (P, 2)
        "all": the pairs i <= j in the order of ``torch.triu_indices(n_radial, n_radial)``; the others are
        :math:`C_{ji}(d) = C_{ij}(-d)`. "diagonal": i = j. Or rings (i, j) of one's own, in any order and repeated at
        will. A tensor on a GPU is read back to be checked, which waits for the GPU; one on the CPU is checked there.
    weight : Tensor, optional
        Validity weights in [0, 1], shape (n_radial, n_angular) or that of ``unwrapped``, as from
        ``polar_resample(..., return_weight=True)``. Where a weight is 0, the value (``NaN`` included) is ignored.
        A constant: it gets no gradient. One set of weights for all images costs less than one for each.
    fill : float, default 0.0
        Value of a cell without enough weight.
    min_weight : float, default 0.05
        Least weight of a cell as a fraction of ``n_angular``. Sums come from Fourier transforms, whose rounding errors
        do not shrink with a cell's weight: a cell of weight v is good to about 1e-7 / v in float32. A weight below
        2e-6 (float64: 4e-15) is none.
    out : Tensor, optional
        Where the result goes: contiguous, of the result's very shape and dtype, sharing no memory with an input. Not
        while a gradient is recorded.

    Returns
    -------
    Tensor, shape (..., n_pairs, n_angular)
        In the dtype of ``unwrapped`` (float32 under autocast). ``out``, if given.

    Raises
    ------
    TypeError
        If ``unwrapped`` or ``weight`` is not a floating tensor, or ``pairs`` not int64.
    ValueError
        If a shape, a ring of ``pairs`` or an option does not fit, or ``weight`` requires a gradient; if ``out`` does
        not fit.
    RuntimeError
        If ``unwrapped`` is on a device that this build has no kernel for, or a gradient is recorded with ``out``.
    NotImplementedError
        Under forward-mode differentiation.

    Notes
    -----
    Differentiable any number of times in ``unwrapped``.

    On the CPU the transforms are part of the kernel, for any ``n_angular``; one whose prime factors are all at most 7
    is fastest, and one with a prime factor above 31 takes about eight times as long. All pairs of a 112 x 224 map are
    5.7 MB in float32: give ``out`` where maps are many. On CUDA it is composed of torch's transforms and products of
    spectra, some images at a time.

    A ring that holds an infinity is ``NaN`` at all lags.

    References
    ----------
    P1: Zimmermann et al., Phys. Rev. E 99, 063309 (2019), section 5.3.

    Examples
    --------
    >>> angular_correlation(torch.rand(5, 32, 64)).shape
    torch.Size([5, 528, 64])
    >>> angular_correlation(torch.rand(5, 32, 64), pairs="diagonal").shape
    torch.Size([5, 32, 64])
    """
    op = "angular_correlation"
    check_tensor(op, "unwrapped", unwrapped, FLOATING)
    if unwrapped.dim() < 2 or unwrapped.shape[-1] == 0:
        raise ValueError(
            f"{op}: unwrapped must have shape (..., n_radial, n_angular) with at least one angle, "
            f"got {tuple(unwrapped.shape)}"
        )
    if not 0.0 <= min_weight <= 1.0:
        raise ValueError(f"{op}: min_weight must be between 0 and 1, got {min_weight}")
    *batch, n_radial, n_angular = unwrapped.shape
    rings = _pairs(op, pairs, n_radial, unwrapped)
    weights = ring_weights(op, weight, unwrapped)
    refuse_forward_mode(op, unwrapped)
    check_backend(op, unwrapped)

    count = math.prod(batch)
    flat = unwrapped.reshape(count, n_radial, n_angular)
    shape = (*batch, rings.shape[0], n_angular)
    if out is None:
        return torch.ops.cdifast.angular_correlation(flat, weights, rings, fill, min_weight).reshape(shape)
    inputs = (unwrapped, weight, pairs if isinstance(pairs, Tensor) else None)
    check_out(op, out, shape, result_dtype(unwrapped), unwrapped.device, *inputs)
    target = out.view(count, rings.shape[0], n_angular)
    torch.ops.cdifast.angular_correlation_out(flat.to(out.dtype), weights, rings, fill, min_weight, target)
    return out


@functools.lru_cache(maxsize=8)
def _all_pairs(n_radial: int) -> Tensor:
    """Kept for the CPU: made anew at every call, they take time that shows where maps are few."""
    with torch.inference_mode(False):  # or a graph could not save them
        return torch.from_numpy(np.stack(np.triu_indices(n_radial), axis=1))


def _pairs(op: str, pairs: Any, n_radial: int, unwrapped: Tensor) -> Tensor:
    """Pairs of rings as an int64 tensor (P, 2) on the device, each checked where its value is known."""
    device = unwrapped.device
    if isinstance(pairs, str):
        if pairs == "all":
            traced = torch.compiler.is_compiling() or isinstance(unwrapped, FakeTensor)
            if device.type == "cpu" and isinstance(n_radial, int) and not traced:
                return _all_pairs(n_radial)
            return torch.triu_indices(n_radial, n_radial, device=device).T.contiguous()
        if pairs == "diagonal":
            return torch.arange(n_radial, device=device)[:, None].repeat(1, 2)
        raise ValueError(f'{op}: pairs must be "all", "diagonal" or an int64 tensor of shape (P, 2), got {pairs!r}')
    check_tensor(op, "pairs", pairs, (torch.int64,))
    if pairs.dim() != 2 or pairs.shape[1] != 2:
        raise ValueError(f"{op}: pairs must have shape (P, 2), got {tuple(pairs.shape)}")
    # While torch traces there are no values; the kernels on the CPU look at them again.
    known = not (torch.compiler.is_compiling() or isinstance(pairs, FakeTensor) or pairs.is_meta)
    if known and pairs.numel() > 0:
        low, high = (int(bound) for bound in pairs.aminmax())
        if low < 0 or high >= n_radial:
            found = low if low < 0 else high
            raise ValueError(f"{op}: pairs must hold rings from 0 to n_radial - 1 = {n_radial - 1}, got {found}")
    return pairs.to(device)


# --- shapes and dtypes, for torch.compile and torch.export


@torch.library.register_fake("cdifast::angular_correlation")
def _(unwrapped: Tensor, weight: Tensor | None, pairs: Tensor, fill: float, min_weight: float) -> Tensor:
    return unwrapped.new_empty((unwrapped.shape[0], pairs.shape[0], unwrapped.shape[2]))


@torch.library.register_fake("cdifast::angular_correlation_out")
def _(*arguments: Any) -> None:
    return None


@torch.library.register_fake("cdifast::angular_correlation_backward")
def _(grad: Tensor, unwrapped: Tensor, weight: Tensor | None, pairs: Tensor, min_weight: float) -> Tensor:
    return unwrapped.new_empty(unwrapped.shape)


@torch.library.register_fake("cdifast::pair_spectra")
def _(spectra: Tensor, pairs: Tensor) -> Tensor:
    return spectra.new_empty((spectra.shape[0], pairs.shape[0], spectra.shape[2], 2))


@torch.library.register_fake("cdifast::pair_samples_out")
def _(spectra: Tensor, pairs: Tensor, inverse: Tensor | None, fill: float, out: Tensor) -> None: ...


@torch.library.register_fake("cdifast::pair_spectra_adjoint")
def _(product: Tensor, spectra: Tensor, pairs: Tensor, first: Tensor, entries: Tensor) -> Tensor:
    return spectra.new_empty(spectra.shape)


# --- autograd


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    unwrapped, weight, pairs, _fill, ctx.min_weight = inputs
    ctx.save_for_backward(unwrapped, weight, pairs)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    unwrapped, weight, pairs = ctx.saved_tensors
    gradient = torch.ops.cdifast.angular_correlation_backward(grad, unwrapped, weight, pairs, ctx.min_weight)
    return gradient, *(None,) * 4


torch.library.register_autograd("cdifast::angular_correlation", _backward, setup_context=_setup)


def _setup_second(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    grad, unwrapped, weight, pairs, ctx.min_weight = inputs
    ctx.save_for_backward(grad, unwrapped, weight, pairs)


def _second_order(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
    """Gradients of ``B(g, I)``, with ``<c, B(g, I)> = <g, D(I, c)>``, D the derivative of the correlation along c.

    The correlation is a quadratic form, so that D is its bilinear form, symmetric in I and c: the correlations of rings
    of I with rings of c and the other way round, which are those of one map that holds the rings of both. So nothing
    cancels, as it would between the correlations of I + c and I - c.
    """
    grad, unwrapped, weight, pairs = ctx.saved_tensors
    n_radial = unwrapped.shape[1]
    to_grad = None
    if ctx.needs_input_grad[0]:
        offset = n_radial * torch.arange(2, device=pairs.device)
        both = torch.cat((unwrapped, cotangent), dim=1)
        weights = None if weight is None else torch.cat((weight, weight), dim=1)
        # Autograd may run inside the caller's autocast, which would change the dtype of half types.
        with torch.autocast(grad.device.type, enabled=False):
            mixed = torch.cat((pairs + offset, pairs + offset.flip(0)))
            forms = torch.ops.cdifast.angular_correlation(both, weights, mixed, 0.0, ctx.min_weight)
        to_grad = forms[:, : pairs.shape[0]] + forms[:, pairs.shape[0] :]
    to_unwrapped = torch.ops.cdifast.angular_correlation_backward(grad, cotangent, weight, pairs, ctx.min_weight)
    return to_grad, to_unwrapped, None, None, None


torch.library.register_autograd("cdifast::angular_correlation_backward", _second_order, setup_context=_setup_second)


# --- autocast: sums over the angles belong in float32

for _device in AUTOCAST_DEVICES:
    torch.library.register_autocast("cdifast::angular_correlation", _device, torch.float32)


# --- vmap: the mapped dimension becomes part of the batch


def _same_pairs(dim: int | None) -> None:
    if dim is not None:
        raise NotImplementedError("angular_correlation: torch.func.vmap over pairs is not supported; pass them all")


@torch.library.register_vmap("cdifast::angular_correlation")
def _(
    info: Any, in_dims: tuple[Any, ...], unwrapped: Tensor, weight: Tensor | None, pairs: Tensor, *options: Any
) -> tuple[Tensor, int]:
    _same_pairs(in_dims[2])
    unwrapped = batch_first(unwrapped, in_dims[0], info.batch_size)
    batch, count = unwrapped.shape[:2]
    weight = merged_weight(weight, in_dims[1], batch, count)
    result = torch.ops.cdifast.angular_correlation(unwrapped.flatten(0, 1), weight, pairs, *options)
    return result.unflatten(0, (batch, count)), 0


@torch.library.register_vmap("cdifast::angular_correlation_backward")
def _(
    info: Any,
    in_dims: tuple[Any, ...],
    grad: Tensor,
    unwrapped: Tensor,
    weight: Tensor | None,
    pairs: Tensor,
    min_weight: float,
) -> tuple[Tensor, int]:
    _same_pairs(in_dims[3])
    grad = batch_first(grad, in_dims[0], info.batch_size)
    unwrapped = batch_first(unwrapped, in_dims[1], info.batch_size)
    batch, count = unwrapped.shape[:2]
    weight = merged_weight(weight, in_dims[2], batch, count)
    result = torch.ops.cdifast.angular_correlation_backward(
        grad.flatten(0, 1), unwrapped.flatten(0, 1), weight, pairs, min_weight
    )
    return result.unflatten(0, (batch, count)), 0


# --- CUDA: torch's transforms, and kernels for the products between them. In float, and of an even number of angles, a
# kernel makes the transforms back too: nothing but the spectra lies in memory before the result.

# Bytes of products of spectra at a time.
_CHUNK = 256 << 20


def _chunks(unwrapped: Tensor, n_pairs: int) -> list[slice]:
    """Slices of the batch whose products of spectra, and the transforms of those, stay near ``_CHUNK``."""
    image = 2 * n_pairs * (unwrapped.shape[2] + 2) * compute_dtype(unwrapped).itemsize
    size = max(1, _CHUNK // max(1, image))
    return [slice(begin, begin + size) for begin in range(0, unwrapped.shape[0], size)]


def _spectra(rings: Tensor) -> Tensor:
    """Spectra over K of the last axis: their products' plain sums over frequencies are means over angles."""
    return torch.view_as_real(torch.fft.rfft(rings, norm="forward"))


def _samples(spectra: Tensor, n_angular: int) -> Tensor:
    return torch.fft.irfft(torch.view_as_complex(spectra), n=n_angular, norm="forward")


def _weighted(unwrapped: Tensor, weight: Tensor | None) -> Tensor:
    values = unwrapped.to(compute_dtype(unwrapped))
    return values if weight is None else torch.where(weight > 0, values * weight, 0)


def _inverse_weights(weight: Tensor | None, pairs: Tensor, n_angular: int, min_weight: float) -> Tensor | None:
    """1 / weight of every cell, as a fraction of K; 0 where there is too little. As the CPU kernel has it."""
    if weight is None:
        return None
    cells = _samples(torch.ops.cdifast.pair_spectra(_spectra(weight), pairs), n_angular)
    least = max(min_weight - 1e-5, 2e-6 if weight.dtype == torch.float32 else 4e-15)
    return torch.where(cells >= least, 1 / cells, 0)


def _of_slice(weight: Tensor | None, part: slice) -> Tensor | None:
    return weight if weight is None or weight.shape[0] == 1 else weight[part]


def composed_out(
    unwrapped: Tensor, weight: Tensor | None, pairs: Tensor, fill: float, min_weight: float, out: Tensor
) -> None:
    """``angular_correlation_out`` of torch's transforms; the products of some images at a time are all it allocates."""
    n_angular = unwrapped.shape[2]
    shared = weight is not None and weight.shape[0] == 1
    inverse = _inverse_weights(weight, pairs, n_angular, min_weight) if shared else None
    # A product of K^2 operations a pair: for long rings a fast transform takes less.
    at_once = unwrapped.is_cuda and unwrapped.dtype != torch.float64 and n_angular % 2 == 0 and n_angular <= 2048
    for part in _chunks(unwrapped, pairs.shape[0]):
        w = _of_slice(weight, part)
        if not shared:
            inverse = _inverse_weights(w, pairs, n_angular, min_weight)
        spectra = _spectra(_weighted(unwrapped[part], w))
        if at_once:
            target = out[part] if out.dtype == torch.float32 else torch.empty_like(out[part], dtype=torch.float32)
            torch.ops.cdifast.pair_samples_out(spectra, pairs, inverse, fill, target)
            if target.dtype != out.dtype:
                out[part] = target
        else:
            cells = _samples(torch.ops.cdifast.pair_spectra(spectra, pairs), n_angular)
            out[part] = cells if inverse is None else torch.where(inverse > 0, cells * inverse, fill)


def composed(unwrapped: Tensor, weight: Tensor | None, pairs: Tensor, fill: float, min_weight: float) -> Tensor:
    """``angular_correlation`` of torch's transforms."""
    out = unwrapped.new_empty((unwrapped.shape[0], pairs.shape[0], unwrapped.shape[2]))
    composed_out(unwrapped, weight, pairs, fill, min_weight, out)
    return out


def composed_backward(
    grad: Tensor, unwrapped: Tensor, weight: Tensor | None, pairs: Tensor, min_weight: float
) -> Tensor:
    """``angular_correlation_backward`` of torch's transforms."""
    n_radial, n_angular = unwrapped.shape[1:]
    # Each ring's pairs, in one order always: entry 2 p for a first ring, 2 p + 1 for a second one.
    rings, entries = pairs.flatten().sort(stable=True)
    first = torch.searchsorted(rings, torch.arange(n_radial + 1, device=pairs.device))
    out = unwrapped.new_empty(unwrapped.shape)
    shared = weight is not None and weight.shape[0] == 1
    inverse = _inverse_weights(weight, pairs, n_angular, min_weight) if shared else None
    for part in _chunks(unwrapped, pairs.shape[0]):
        w = _of_slice(weight, part)
        if not shared:
            inverse = _inverse_weights(w, pairs, n_angular, min_weight)
        gradient = grad[part].to(compute_dtype(unwrapped))
        if inverse is not None:
            gradient = torch.where(inverse > 0, gradient * inverse, 0)
        sums = torch.ops.cdifast.pair_spectra_adjoint(
            _spectra(gradient), _spectra(_weighted(unwrapped[part], w)), pairs, first, entries
        )
        values = _samples(sums, n_angular)
        out[part] = values if w is None else torch.where(w > 0, values * w, 0)
    return out


# Where this build has no kernel for the products, the operator has none either, and check_backend says so.
if has_kernel("pair_spectra", "CUDA"):
    torch.library.impl("cdifast::angular_correlation", "cuda", composed)
    torch.library.impl("cdifast::angular_correlation_out", "cuda", composed_out)
    torch.library.impl("cdifast::angular_correlation_backward", "cuda", composed_backward)
