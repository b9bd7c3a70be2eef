"""Projection heads of contrastive learning."""

from __future__ import annotations

import math
from typing import Any, Final

import torch
from torch import nn

# Standard deviation of the standard normal distribution cut off at +-2.
_TRUNCATED_STD: Final = 0.8796256610342398


class ProjectionHead(nn.Module):
    """Multi-layer perceptron between the encoder's features and the contrastive loss (P2: three layers, d-d-128).

    Every layer but the last is linear -> batch normalisation -> ReLU, without a bias of its own, which the
    normalisation would remove. The last is linear without bias (SimCLRv2's choice); `final_norm` puts a batch
    normalisation behind it, as SimCLRv2's code does, here without learnable scale. P2 says "three-layer perceptron ...
    as in SimCLRv2" and no more. The output is not normalised to length one: the loss does that.

    Parameters
    ----------
    num_features
        Length of the encoder's features.
    hidden
        Width of every layer but the last; None: `num_features` (P2's d).
    out
        Length of the projection.
    layers
        Number of linear layers, at least 1.
    final_norm
        Batch normalisation behind the last layer.
    batch_norm_momentum
        Share of the old running statistics that each step keeps (TensorFlow's sense).

    Raises
    ------
    ValueError
        A number out of range.
    """

    def __init__(
        self,
        num_features: int,
        hidden: int | None = None,
        out: int = 128,
        layers: int = 3,
        *,
        final_norm: bool = False,
        batch_norm_momentum: float = 0.9,
    ) -> None:
        super().__init__()
        hidden = num_features if hidden is None else hidden
        for name, value in (("num_features", num_features), ("hidden", hidden), ("out", out), ("layers", layers)):
            if value < 1:
                raise ValueError(f"{name}: found {value}, expected at least 1")
        if not 0 <= batch_norm_momentum < 1:
            raise ValueError(f"batch_norm_momentum: found {batch_norm_momentum}, expected 0 <= momentum < 1")
        self.arguments: dict[str, Any] = {
            "hidden": hidden,
            "out": out,
            "layers": layers,
            "final_norm": final_norm,
            "batch_norm_momentum": batch_norm_momentum,
        }
        momentum = 1 - batch_norm_momentum
        stack: list[nn.Module] = []
        width = num_features
        for _ in range(layers - 1):
            stack.append(
                nn.Sequential(
                    nn.Linear(width, hidden, bias=False),
                    nn.BatchNorm1d(hidden, momentum=momentum),
                    nn.ReLU(inplace=True),
                )
            )
            width = hidden
        last: list[nn.Module] = [nn.Linear(width, out, bias=False)]
        if final_norm:
            last.append(nn.BatchNorm1d(out, momentum=momentum, affine=False))
        self.layers = nn.Sequential(*stack, nn.Sequential(*last))
        self.num_features = num_features
        self.num_embedding = hidden if layers > 1 else out
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights anew: normal of variance 1 / fan-in, cut off at two standard deviations (variance kept)."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                std = 1 / math.sqrt(module.in_features) / _TRUNCATED_STD
                nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
            elif isinstance(module, nn.BatchNorm1d):
                module.reset_parameters()

    def embedding(self, features: torch.Tensor) -> torch.Tensor:
        """Output of the first layer, behind its normalisation and ReLU: P2's embedding, SimCLRv2's fine-tuning point.

        Parameters
        ----------
        features
            (N, num_features).

        Returns
        -------
        torch.Tensor
            (N, num_embedding).
        """
        return self.layers[0](features)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Projections (N, out) of the features (N, num_features)."""
        return self.layers(features)
