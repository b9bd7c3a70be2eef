"""The optimizer that a configuration asks for."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

Optimizer = Literal["sgd", "adamw"]


def make_optimizer(
    model: nn.Module, optimizer: Optimizer, learning_rate: float, *, momentum: float, weight_decay: float
) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum (P1), or AdamW (Loshchilov and Hutter 2019).

    Weight decay acts on kernels alone: biases and the scales of normalisations have no reason to be small. With
    SGD it is part of the gradient, with AdamW it is apart from it.

    Parameters
    ----------
    model
        The network.
    optimizer
        ``"sgd"`` or ``"adamw"``.
    learning_rate
        At first; the loop sets it before each step.
    momentum
        Of SGD, or AdamW's first beta; the second is 0.999.
    weight_decay
        Coefficient.

    Returns
    -------
    torch.optim.Optimizer
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups: list[dict[str, object]] = [{"params": parameters, "weight_decay": 0.0}]
    if weight_decay:
        groups = [
            {"params": [p for p in parameters if p.dim() > 1], "weight_decay": weight_decay},
            {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
        ]
    if optimizer == "sgd":
        return torch.optim.SGD(groups, learning_rate, momentum, nesterov=True)
    if optimizer == "adamw":
        return torch.optim.AdamW(groups, learning_rate, betas=(momentum, 0.999))
    raise ValueError(f"optimizer: found {optimizer!r}, expected 'sgd' or 'adamw'")
