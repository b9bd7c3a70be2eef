"""The log activation: public function, and what torch needs to know of its operator."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ._checks import check_backend, check_tensor, refuse_forward_mode
from ._vmap import batch_first
from .dtypes import FLOATING

_INVERSE_E = 1.0 / math.e


def log_activation(x: Tensor, alpha: float | Tensor = 0.2) -> Tensor:
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

    Returns
    -------
    Tensor
        Like ``x`` in shape, dtype and memory format. Under autocast, float32.

    Raises
    ------
    TypeError
        If ``x`` is not a floating tensor.
    ValueError
        If ``alpha`` is a tensor of more than one element.
    RuntimeError
        If ``x`` is on a device that this build has no kernel for.
    NotImplementedError
        Under forward-mode differentiation.

    Notes
    -----
    Differentiable any number of times in ``x`` and ``alpha``; the first derivative is a fused kernel, the second
    a composition of torch operators.

    References
    ----------
    P1: Zimmermann et al., Phys. Rev. E 99, 063309 (2019), section 5.1.

    Examples
    --------
    >>> log_activation(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.2627,  0.0000,  0.2627])
    """
    check_tensor("log_activation", "x", x, FLOATING)
    if isinstance(alpha, Tensor):
        check_tensor("log_activation", "alpha", alpha, FLOATING)
        if alpha.numel() != 1:
            raise ValueError(f"log_activation: alpha must have one element, got shape {tuple(alpha.shape)}")
        refuse_forward_mode("log_activation", x, alpha)
    else:
        # float64 on the CPU: read on the host, so that no GPU call waits for it, and left alone by autocast.
        alpha = torch.full((), float(alpha), dtype=torch.float64, device="cpu")
        refuse_forward_mode("log_activation", x)
    check_backend("log_activation", x)
    return torch.ops.cdifast.log_activation(x, alpha)


# --- shapes and dtypes, for torch.compile and torch.export


@torch.library.register_fake("cdifast::log_activation")
def _(x: Tensor, alpha: Tensor) -> Tensor:
    return torch.empty_like(x)


@torch.library.register_fake("cdifast::log_activation_backward")
def _(grad: Tensor, x: Tensor, alpha: Tensor) -> Tensor:
    return torch.empty_like(x)


@torch.library.register_fake("cdifast::log_activation_backward_alpha")
def _(grad: Tensor, x: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(alpha)


# --- autograd


def _setup(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
    x, alpha = ctx.saved_tensors
    if ctx.needs_input_grad[1]:
        return torch.ops.cdifast.log_activation_backward_alpha(grad, x, alpha)
    return torch.ops.cdifast.log_activation_backward(grad, x, alpha), None


torch.library.register_autograd("cdifast::log_activation", _backward, setup_context=_setup)


def _setup_second(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Any) -> None:
    ctx.save_for_backward(*inputs)


def _second_order(
    ctx: Any, grad_of_grad_x: Tensor, grad_of_grad_alpha: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of ``grad_x = g alpha d`` and ``grad_alpha = sum(g u)``, d = 1 / (|x| + 1/e), u = h / alpha."""
    grad, x, alpha = ctx.saved_tensors
    compute = torch.promote_types(x.dtype, torch.float32)
    g, value, cotangent = grad.to(compute), x.to(compute), grad_of_grad_x.to(compute)
    a = alpha.to(device=x.device, dtype=compute).reshape(())
    d = 1 / (value.abs() + _INVERSE_E)
    to_grad = cotangent * a * d
    to_x = -cotangent * g * a * value.sign() * d.square()
    to_alpha = (cotangent * g * d).sum()
    if grad_of_grad_alpha is not None:
        b = grad_of_grad_alpha.to(device=x.device, dtype=compute).reshape(())
        to_grad = to_grad + b * log_activation(value, 1.0)
        to_x = to_x + b * g * d
    return to_grad.to(grad.dtype), to_x.to(x.dtype), to_alpha.to(alpha).reshape(alpha.shape)


for _op in ("log_activation_backward", "log_activation_backward_alpha"):
    torch.library.register_autograd(f"cdifast::{_op}", _second_order, setup_context=_setup_second)


# --- autocast: a logarithm belongs in float32, as torch's own do

for _device in ("cpu", "cuda"):
    torch.library.register_autocast("cdifast::log_activation", _device, torch.float32)


# --- vmap


def _per_sample(alpha: Tensor, like: Tensor) -> Tensor:
    """One alpha a sample, shaped to multiply ``like`` (batch first)."""
    return alpha.to(like).reshape(-1, *(1,) * (like.dim() - 1))


@torch.library.register_vmap("cdifast::log_activation")
def _(info: Any, in_dims: tuple[int | None, int | None], x: Tensor, alpha: Tensor) -> tuple[Tensor, int | None]:
    if in_dims[1] is None:
        return torch.ops.cdifast.log_activation(x, alpha), in_dims[0]
    x = batch_first(x, in_dims[0], info.batch_size)
    return log_activation(x, 1.0) * _per_sample(alpha.movedim(in_dims[1], 0), x), 0


@torch.library.register_vmap("cdifast::log_activation_backward")
def _(
    info: Any, in_dims: tuple[int | None, int | None, int | None], grad: Tensor, x: Tensor, alpha: Tensor
) -> tuple[Tensor, int]:
    grad = batch_first(grad, in_dims[0], info.batch_size)
    x = batch_first(x, in_dims[1], info.batch_size)
    if in_dims[2] is None:
        return torch.ops.cdifast.log_activation_backward(grad, x, alpha), 0
    one = torch.ones((), dtype=torch.float64, device="cpu")
    slope = torch.ops.cdifast.log_activation_backward(grad, x, one)
    return slope * _per_sample(alpha.movedim(in_dims[2], 0), x), 0


@torch.library.register_vmap("cdifast::log_activation_backward_alpha")
def _(
    info: Any, in_dims: tuple[int | None, int | None, int | None], grad: Tensor, x: Tensor, alpha: Tensor
) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
    grad = batch_first(grad, in_dims[0], info.batch_size)
    x = batch_first(x, in_dims[1], info.batch_size)
    alpha = batch_first(alpha, in_dims[2], info.batch_size)
    one = torch.ones((), dtype=torch.float64, device="cpu")
    grad_x = torch.ops.cdifast.log_activation_backward(grad, x, one) * _per_sample(alpha, x)
    compute = torch.promote_types(x.dtype, torch.float32)
    grad_alpha = (grad.to(compute) * log_activation(x.to(compute), 1.0)).flatten(1).sum(1)
    return (grad_x, grad_alpha.to(alpha).reshape(alpha.shape)), (0, 0)
