"""LARS, the optimizer of P2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

import torch
from torch.optim.optimizer import ParamsT


class LARS(torch.optim.Optimizer):
    r"""Layer-wise adaptive rate scaling (You et al. 2017, arXiv:1708.03888), as SimCLR, hence P2, uses it.

    For each weight tensor w with gradient g:

    .. math:: d = g + \lambda w, \qquad r = \eta \|w\| / \|d\| \ (1 \text{ where a norm is 0}), \qquad
              v \leftarrow m v + \mathrm{lr}\, r\, d, \qquad w \leftarrow w - v

    Batch-normalisation parameters and biases, that is every tensor of less than two dimensions, have neither weight
    decay nor the factor r. The learning rate is inside the momentum, so that a schedule acts on new gradients only. You
    et al. write :math:`\|g\| + \lambda\|w\|` for :math:`\|d\|`; SimCLR's code, which P2 follows, takes the norm of the
    sum.

    Parameters
    ----------
    params
        Parameters, or groups of them with options of their own.
    lr
        Learning rate (P2: 0.1 sqrt(batch)).
    momentum
        m, 0 or more and below 1.
    weight_decay
        :math:`\lambda`.
    trust
        :math:`\eta`.
    exclude
        Tells the parameters without weight decay and factor; None: those of less than two dimensions.

    Raises
    ------
    ValueError
        A number out of range.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
        trust: float = 1e-3,
        exclude: Callable[[torch.Tensor], bool] | None = None,
    ) -> None:
        for name, value in (("lr", lr), ("weight_decay", weight_decay)):
            if not value >= 0:
                raise ValueError(f"{name}: found {value}, expected a number >= 0")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum: found {momentum}, expected 0 <= momentum < 1")
        if not trust > 0:
            raise ValueError(f"trust: found {trust}, expected a positive number")
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust})
        self.exclude = exclude or (lambda parameter: parameter.dim() < 2)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Change the parameters by one step; the closure, if given, computes the loss anew."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step(parameter, parameter.grad, group)
        return loss

    def _step(self, parameter: torch.Tensor, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        rate: torch.Tensor | float = group["lr"]
        direction = gradient
        if not self.exclude(parameter):
            direction = gradient.add(parameter, alpha=group["weight_decay"])
            length, slope = torch.linalg.vector_norm(parameter), torch.linalg.vector_norm(direction)
            # On the device: asking whether a norm is 0 would make the host wait.
            known = (length > 0) & (slope > 0)
            rate = rate * torch.where(known, group["trust"] * length / torch.where(known, slope, 1), 1)
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        velocity = state["momentum_buffer"].mul_(group["momentum"]).add_(direction * rate)
        parameter.sub_(velocity)
