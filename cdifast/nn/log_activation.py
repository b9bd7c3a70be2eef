"""The log activation as a module."""

from __future__ import annotations

import torch
from torch import nn

from cdifast import ops


class LogActivation(nn.Module):
    """Log activation h(x) = alpha sign(x) log1p(e |x|) (P1, equations 11 and 12), element by element.

    Parameters
    ----------
    alpha
        Scale; 0.2 is P1's best (table 4).
    learnable
        Whether `alpha` is a parameter with a gradient; otherwise it is a buffer.
    """

    alpha: torch.Tensor

    def __init__(self, alpha: float = 0.2, learnable: bool = False) -> None:
        super().__init__()
        value = torch.tensor(float(alpha))
        if learnable:
            self.alpha = nn.Parameter(value)
        else:
            self.register_buffer("alpha", value)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return h(x), of the shape and dtype of the floating-point `x`."""
        return ops.log_activation(x, self.alpha)  # type: ignore[arg-type, unused-ignore]

    def extra_repr(self) -> str:
        return f"alpha={self.alpha.item():g}, learnable={isinstance(self.alpha, nn.Parameter)}"
