"""The log activation: public function, and what torch needs to know of its operator."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ._checks import AUTOCAST_DEVICES, check_backend, check_out, check_tensor, refuse_forward_mode, result_dtype
from ._vmap import batch_first
from .dtypes import FLOATING

_INVERSE_E = 1.0 / math.e


def log_activation(
    x: Tensor, alpha: float | Tensor = 0.2, *, bias: Tensor | None = None, out: Tensor | None = None
) -> Tensor:
    r"""Logarithmic activation of a neural network (P1, eq. 11 and 12).

    .. math:: h(x) = \alpha\,\mathrm{sign}(x)\,\bigl(\log(|x| + 1/e) + 1\bigr)
              = \alpha\,\mathrm{sign}(x)\,\log(1 + e|x|), \qquad h'(x) = \frac{\alpha}{|x| + 1/e}

    The second form is computed: it has no cancellation near 0. There the function is continuous with slope
    :math:`\alpha e` from both sides (P1 speaks of a discontinuity; there is none).

    Parameters
    ----------
    x : Tensor
        Any shape and memory format; float16, bfloat16, float32 or float64. Arithmetic runs in float32 for the
        half types. ``NaN`` gives ``NaN`` and an infinity gives an infinity of its sign.
    alpha : float or Tensor, default 0.2
        Scale. A tensor must have one element, on the CPU or on ``x``'s device, and gets a gradient.
    bias : Tensor, optional
        Shape (C,), floating, on ``x``'s device: the result is :math:`h(x + b)`, with ``bias[c]`` added to channel
        ``x[:, c]``. It takes the place of the preceding convolution's bias, whose own pass over memory it saves;
        the sum is not rounded to a half type in between. It gets a gradient.
    out : Tensor, optional
        Where to write the result: of its shape, dtype and device, dense in any order of its dimensions. It may be
        ``x`` itself, but share memory with no input otherwise. Not while a gradient is recorded for any argument.

    Returns
    -------
    Tensor
        Like ``x`` in shape, dtype and memory format, or ``out``. Under autocast, float32.

    Raises
    ------
    TypeError
        If an argument is not a floating tensor, or ``out`` has not the result's dtype.
    ValueError
        If ``alpha`` is a tensor of more than one element; if ``bias`` has not one element for each of ``x``'s
        channels; if ``out`` has another shape, device or layout than it must, or overlaps an input.
    RuntimeError
        If ``x`` is on a device that this build has no kernel for; if ``out`` is given while a gradient is recorded.
    NotImplementedError
        Under forward-mode differentiation.

    Notes
    -----
    Differentiable any number of times in ``x``, ``alpha`` and ``bias``; the first derivative is a fused kernel, the
    second a composition of torch operators. The gradient of the bias is summed in float64.

    References
    ----------
    P1: Zimmermann et al., Phys. Rev. E 99, 063309 (2019), section 5.1.

    Examples
    --------
    >>> log_activation(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.2627,  0.0000,  0.2627])
    >>> log_activation(torch.tensor([[-2.0, 3.0]]), bias=torch.tensor([1.0, -3.0]))
    tensor([[-0.2627,  0.0000]])
    """
    check_tensor("log_activation", "x", x, FLOATING)
    given = [x]
    if isinstance(alpha, Tensor):
        check_tensor("log_activation", "alpha", alpha, FLOATING)
        if alpha.numel() != 1:
            raise ValueError(f"log_activation: alpha must have one element, got shape {tuple(alpha.shape)}")
        given.append(alpha)
    else:
        # float64 on the CPU: read on the host, so that no GPU call waits for it, and left alone by autocast.
        alpha = torch.full((), float(alpha), dtype=torch.float64, device="cpu")
    if bias is not None:
        _check_bias(x, bias)
        given.append(bias)
    refuse_forward_mode("log_activation", *given)
    check_backend("log_activation", x)
    if out is None:
        return torch.ops.cdifast.log_activation(x, alpha, bias)
    dtype = result_dtype(x)
    check_out("log_activation", out, x.shape, dtype, x.device, *given, in_place=x)
    # Cast here: an autocast rule would cast `out` too, and the result would go into the copy.
    torch.ops.cdifast.log_activation_out(x.to(dtype), alpha, bias, out)
    return out


def _check_bias(x: Tensor, bias: Tensor) -> None:
    check_tensor("log_activation", "bias", bias, FLOATING)
    if x.dim() < 2 or bias.dim() != 1 or bias.shape[0] != x.shape[1]:
        raise ValueError(
            "log_activation: bias must have shape (C,) for x of shape (N, C, ...), got bias of shape "
            f"{tuple(bias.shape)} for x of shape {tuple(x.shape)}"
        )
    if bias.device != x.device:
        raise ValueError(f"log_activation: bias is on {bias.device}, x on {x.device}")


# --- shapes and dtypes, for torch.compile and torch.export


@torch.library.register_fake("cdifast::log_activation")
def _(x: Tensor, alpha: Tensor, bias: Tensor | None) -> Tensor:
    return torch.empty_like(x)


@torch.library.register_fake("cdifast::log_activation_out")
def _(x: Tensor, alpha: Tensor, bias: Tensor | None, out: Tensor) -> None:
    return None


@torch.library.register_fake("cdifast::log_activation_backward")
def _(grad: Tensor, x: Tensor, alpha: Tensor, bias: Tensor | None) -> Tensor:
    return torch.empty_like(x)


@torch.library.register_fake("cdifast::log_activation_backward_alpha")
def _(grad: Tensor, x: Tensor, alpha: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(alpha)


@torch.library.register_fake("cdifast::log_activation_backward_bias")
def _(grad_x: Tensor) -> Tensor:
    return grad_x.new_empty(grad_x.shape[1], dtype=_compute_dtype(grad_x))


# --- autograd


def _compute_dtype(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


def _along_channels(vector: Tensor, like: Tensor) -> Tensor:
    """(C,) shaped to combine with ``like`` (N, C, ...), in the dtype of arithmetic on ``like``."""
    return vector.to(_compute_dtype(like)).reshape(-1, *(1,) * (like.dim() - 2))


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, alpha, bias = ctx.saved_tensors
    grad_alpha = grad_bias = None
    if ctx.needs_input_grad[1]:
        grad_x, grad_alpha = torch.ops.cdifast.log_activation_backward_alpha(grad, x, alpha, bias)
    else:
        grad_x = torch.ops.cdifast.log_activation_backward(grad, x, alpha, bias)
    if bias is not None and ctx.needs_input_grad[2]:
        grad_bias = torch.ops.cdifast.log_activation_backward_bias(grad_x).to(bias.dtype)
    return grad_x, grad_alpha, grad_bias


torch.library.register_autograd("cdifast::log_activation", _backward, setup_context=_setup)


def _second_order(
    ctx: Any, grad_of_grad_x: Tensor, grad_of_grad_alpha: Tensor | None = None
) -> tuple[Tensor | None, ...]:
    """Gradients of ``grad_x = g alpha d`` and ``grad_alpha = sum(g u)``, d = 1 / (|v| + 1/e), u = h / alpha.

    Both are functions of ``v = x + bias``.
    """
    grad, x, alpha, bias = ctx.saved_tensors
    compute = _compute_dtype(x)
    g, value, cotangent = grad.to(compute), x.to(compute), grad_of_grad_x.to(compute)
    if bias is not None:
        value = value + _along_channels(bias, x)
    a = alpha.to(device=x.device, dtype=compute).reshape(())
    d = 1 / (value.abs() + _INVERSE_E)
    to_grad = cotangent * a * d
    to_value = -cotangent * g * a * value.sign() * d.square()
    to_alpha = (cotangent * g * d).sum()
    if grad_of_grad_alpha is not None:
        b = grad_of_grad_alpha.to(device=x.device, dtype=compute).reshape(())
        to_grad = to_grad + b * log_activation(value, 1.0)
        to_value = to_value + b * g * d
    to_bias = None
    if bias is not None and ctx.needs_input_grad[3]:
        to_bias = torch.ops.cdifast.log_activation_backward_bias(to_value).to(bias.dtype)
    return to_grad.to(grad.dtype), to_value.to(x.dtype), to_alpha.to(alpha).reshape(alpha.shape), to_bias


for _op in ("log_activation_backward", "log_activation_backward_alpha"):
    torch.library.register_autograd(f"cdifast::{_op}", _second_order, setup_context=_setup)


def _expand(ctx: Any, grad: Tensor) -> Tensor:
    (grad_x,) = ctx.saved_tensors
    return _along_channels(grad, grad_x).expand(grad_x.shape).to(grad_x.dtype)


torch.library.register_autograd("cdifast::log_activation_backward_bias", _expand, setup_context=_setup)


# --- autocast: a logarithm belongs in float32, as torch's own do

for _device in AUTOCAST_DEVICES:
    torch.library.register_autocast("cdifast::log_activation", _device, torch.float32)


# --- vmap


def _per_sample(alpha: Tensor, like: Tensor) -> Tensor:
    """One alpha a sample, shaped to multiply ``like`` (batch first)."""
    return alpha.to(like).reshape(-1, *(1,) * (like.dim() - 1))


def _shifted(info: Any, x: Tensor, x_dim: int | None, bias: Tensor | None, bias_dim: int | None) -> Tensor:
    """``x + bias``, batch first and not rounded to a half type: what the kernels compute with."""
    x = batch_first(x, x_dim, info.batch_size)
    if bias is None:
        return x
    bias = batch_first(bias, bias_dim, info.batch_size).to(_compute_dtype(x))
    return x + bias.reshape(bias.shape[0], 1, bias.shape[1], *(1,) * (x.dim() - 3))


@torch.library.register_vmap("cdifast::log_activation")
def _(
    info: Any, in_dims: tuple[int | None, ...], x: Tensor, alpha: Tensor, bias: Tensor | None
) -> tuple[Tensor, int | None]:
    if in_dims[1] is None and bias is None:
        return torch.ops.cdifast.log_activation(x, alpha, None), in_dims[0]
    value = _shifted(info, x, in_dims[0], bias, in_dims[2])
    if in_dims[1] is None:
        result = torch.ops.cdifast.log_activation(value, alpha, None)
    else:
        result = log_activation(value, 1.0) * _per_sample(alpha.movedim(in_dims[1], 0), value)
    return result.to(x.dtype), 0


@torch.library.register_vmap("cdifast::log_activation_backward")
def _(
    info: Any, in_dims: tuple[int | None, ...], grad: Tensor, x: Tensor, alpha: Tensor, bias: Tensor | None
) -> tuple[Tensor, int]:
    value = _shifted(info, x, in_dims[1], bias, in_dims[3])
    grad = batch_first(grad, in_dims[0], info.batch_size).to(value.dtype)
    if in_dims[2] is None:
        return torch.ops.cdifast.log_activation_backward(grad, value, alpha, None).to(x.dtype), 0
    one = torch.ones((), dtype=torch.float64, device="cpu")
    slope = torch.ops.cdifast.log_activation_backward(grad, value, one, None)
    return (slope * _per_sample(alpha.movedim(in_dims[2], 0), value)).to(x.dtype), 0


@torch.library.register_vmap("cdifast::log_activation_backward_alpha")
def _(
    info: Any, in_dims: tuple[int | None, ...], grad: Tensor, x: Tensor, alpha: Tensor, bias: Tensor | None
) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
    value = _shifted(info, x, in_dims[1], bias, in_dims[3])
    grad = batch_first(grad, in_dims[0], info.batch_size).to(value.dtype)
    alpha = batch_first(alpha, in_dims[2], info.batch_size)
    one = torch.ones((), dtype=torch.float64, device="cpu")
    grad_x = torch.ops.cdifast.log_activation_backward(grad, value, one, None) * _per_sample(alpha, value)
    compute = _compute_dtype(x)
    grad_alpha = (grad.to(compute) * log_activation(value.to(compute), 1.0)).flatten(1).sum(1)
    return (grad_x.to(x.dtype), grad_alpha.to(alpha).reshape(alpha.shape)), (0, 0)


@torch.library.register_vmap("cdifast::log_activation_backward_bias")
def _(info: Any, in_dims: tuple[int | None, ...], grad_x: Tensor) -> tuple[Tensor, int]:
    grad_x = batch_first(grad_x, in_dims[0], info.batch_size).movedim(0, 1)  # (N, batch, C, ...)
    sums = torch.ops.cdifast.log_activation_backward_bias(grad_x.flatten(1, 2))
    return sums.reshape(grad_x.shape[1:3]), 0
