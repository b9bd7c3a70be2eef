"""What follows a network's first convolution: P1's log activation, or what it is compared with."""

from __future__ import annotations

from typing import Literal

from torch import nn

from .log_activation import LogActivation

FirstActivation = Literal["log", "leaky", "none"]


def first_activation_layer(
    kind: FirstActivation, alpha: float, learnable_alpha: bool, negative_slope: float, channels: int | None = None
) -> nn.Module:
    """The layer after the first convolution.

    Parameters
    ----------
    kind
        ``"log"`` (P1, eq. 11 and 12), ``"leaky"`` or ``"none"``.
    alpha, learnable_alpha
        Of the log activation, see `LogActivation`.
    negative_slope
        Of the LeakyReLU.
    channels
        Channels of a bias that the log activation adds, see `LogActivation`; None: none.

    Raises
    ------
    ValueError
        Another kind.
    """
    if kind == "log":
        return LogActivation(alpha, learnable=learnable_alpha, channels=channels)
    if kind == "leaky":
        return nn.LeakyReLU(negative_slope)
    if kind == "none":
        return nn.Identity()
    raise ValueError(f"first_activation: found {kind!r}, expected 'log', 'leaky' or 'none'")
