"""The log activation as a layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cdifast import ops


class LogActivation(nn.Module):
    """Logarithmic activation :func:`cdifast.ops.log_activation` as a layer (P1, eq. 11 and 12).

    P1 uses it once, on the output of the network's first convolution, where it compresses the dynamic range of a
    diffraction image.

    Parameters
    ----------
    alpha : float, default 0.2
        Scale, P1's best value.
    learnable : bool, default False
        Make ``alpha`` a parameter.

    Examples
    --------
    >>> first = torch.nn.Sequential(torch.nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False), LogActivation())
    """

    alpha: Tensor | float

    def __init__(self, alpha: float = 0.2, learnable: bool = False) -> None:
        super().__init__()
        self.learnable = learnable
        self.alpha = nn.Parameter(torch.tensor(float(alpha))) if learnable else float(alpha)

    def forward(self, x: Tensor) -> Tensor:
        return ops.log_activation(x, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={float(torch.as_tensor(self.alpha).detach()):g}, learnable={self.learnable}"
