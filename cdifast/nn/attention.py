"""Gates that depend on the image: squeeze-excitation and selective kernels (P2's encoder)."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import nn

# Least number of channels between the two layers that choose among the kernels (Li et al. 2019 and SimCLRv2).
_LEAST_CHANNELS: Final = 32


class SqueezeExcitation(nn.Module):
    """Scale each channel by a gate that the image's channel means decide (Hu et al. 2018, equations 2 to 4).

    ``x * sigmoid(W2 relu(W1 mean(x) + b1) + b2)``.

    Parameters
    ----------
    channels
        Channels of the maps.
    squeezed
        Channels between the two layers.
    """

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.excite = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Gated maps, of the shape of `x` (N, channels, H, W)."""
        means = x.mean(dim=(2, 3), keepdim=True)
        return x * self.excite(self.squeeze(means).relu_()).sigmoid()


class SelectiveKernels(nn.Module):
    """Two 3 x 3 convolutions, mixed channel by channel as the image decides (Li et al. 2019, equations 1 to 6).

    Both are followed by batch normalisation and ReLU. The means of their sum pass a layer of
    ``max(32, channels * ratio)`` channels with batch normalisation and ReLU, then one that gives two numbers a channel,
    whose softmax are the shares. Li et al. have a 3 x 3 and a dilated 3 x 3 convolution (`dilation` 2); SimCLRv2, and
    with it P2, two alike (`dilation` 1).

    Parameters
    ----------
    channels
        Channels of input and output.
    stride
        Stride of both convolutions.
    ratio
        See above; SimCLRv2 and P2: 0.0625.
    dilation
        Dilation of the second convolution.
    norm
        `momentum` and `eps` of the batch normalisations.
    """

    def __init__(self, channels: int, stride: int, *, ratio: float, dilation: int, norm: dict[str, Any]) -> None:
        super().__init__()
        if not ratio > 0:
            raise ValueError(f"selective_ratio: found {ratio}, expected a positive number")
        if dilation < 1:
            raise ValueError(f"selective_dilation: found {dilation}, expected at least 1")
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, 3, stride, padding=spread, dilation=spread, bias=False),
                nn.BatchNorm2d(channels, **norm),
                nn.ReLU(inplace=True),
            )
            for spread in (1, dilation)
        )
        between = max(_LEAST_CHANNELS, int(channels * ratio))
        self.reduce = nn.Sequential(
            nn.Conv2d(channels, between, 1, bias=False), nn.BatchNorm2d(between, **norm), nn.ReLU(inplace=True)
        )
        self.choose = nn.Conv2d(between, 2 * channels, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, channels, H', W') from `x` (N, channels, H, W)."""
        first, second = (branch(x) for branch in self.branches)
        # The mean before the sum: no third map of full size.
        means = first.mean(dim=(2, 3), keepdim=True) + second.mean(dim=(2, 3), keepdim=True)
        one, other = self.choose(self.reduce(means)).chunk(2, dim=1)
        # Softmax over two is a sigmoid of the difference.
        share = (one - other).sigmoid()
        return torch.lerp(second, first, share)
