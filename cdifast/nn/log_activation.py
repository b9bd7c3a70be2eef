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
    channels : int, optional
        Add a learnable bias of this size, at first 0, to the channels (dimension 1) before the activation. It takes
        the place of the bias of the convolution before, which is then built with ``bias=False``: the same function,
        with one pass over memory fewer.

    Examples
    --------
    >>> first = torch.nn.Sequential(torch.nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False), LogActivation())

    With a bias, and the weights of a convolution that had one:

    >>> convolution, activation = torch.nn.Conv2d(1, 64, 7, bias=False), LogActivation(channels=64)
    >>> with_bias = torch.nn.Conv2d(1, 64, 7)
    >>> _ = convolution.load_state_dict({"weight": with_bias.weight})
    >>> _ = activation.load_state_dict({"bias": with_bias.bias})
    """

    alpha: Tensor | float
    bias: nn.Parameter | None

    def __init__(self, alpha: float = 0.2, learnable: bool = False, channels: int | None = None) -> None:
        super().__init__()
        self.learnable = learnable
        self.alpha = nn.Parameter(torch.tensor(float(alpha))) if learnable else float(alpha)
        self.bias = None if channels is None else nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return ops.log_activation(x, self.alpha, bias=self.bias)

    def extra_repr(self) -> str:
        text = f"alpha={float(torch.as_tensor(self.alpha).detach()):g}, learnable={self.learnable}"
        return text if self.bias is None else f"{text}, channels={len(self.bias)}"
