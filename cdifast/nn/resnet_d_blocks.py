"""Residual blocks of ResNet-D, with the gates of P2's encoder."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import nn

from .attention import SelectiveKernels, SqueezeExcitation


def conv(channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size but for its stride, without bias: a normalisation or an activation follows."""
    return nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2, bias=False)


class _Shortcut(nn.Sequential):
    """Average pool where the block has a stride, then a 1 x 1 convolution and its normalisation.

    The pool lets every input pixel count; the strided 1 x 1 convolution of the plain ResNet skips three of four.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int, norm: dict[str, Any]) -> None:
        layers: list[nn.Module] = []
        if stride > 1:
            # An odd map keeps its last row and column, as the strided convolutions beside it do.
            layers.append(nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False))
        layers += [conv(channels_in, channels_out, 1), nn.BatchNorm2d(channels_out, **norm)]
        super().__init__(*layers)


class BasicBlockD(nn.Module):
    """Two 3 x 3 convolutions and the shortcut around them, ReLU after the sum.

    Parameters
    ----------
    channels_in, channels
        Channels of the input and of both convolutions.
    stride
        Stride of the first convolution and of the shortcut's pool.
    project
        Whether the shortcut is a projection instead of the input itself.
    norm
        `momentum` (PyTorch's sense) and `eps` of the batch normalisations.
    squeeze_excitation
        Ratio of `SqueezeExcitation` on the residual branch, or None.
    """

    expansion: Final = 1

    def __init__(
        self,
        channels_in: int,
        channels: int,
        stride: int,
        project: bool,
        norm: dict[str, Any],
        squeeze_excitation: float | None,
    ) -> None:
        super().__init__()
        self.shortcut = _Shortcut(channels_in, channels, stride, norm) if project else nn.Identity()
        self.conv1 = conv(channels_in, channels, 3, stride)
        self.norm1 = nn.BatchNorm2d(channels, **norm)
        self.conv2 = conv(channels, channels, 3)
        self.norm2 = nn.BatchNorm2d(channels, **norm)
        self.gate = nn.Identity() if squeeze_excitation is None else _gate(channels, channels, squeeze_excitation)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The normalisation at the end of the residual branch, which starts at zero."""
        return self.norm2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        residual = self.norm1(self.conv1(x)).relu_()
        residual = self.gate(self.norm2(self.conv2(residual)))
        return (residual + self.shortcut(x)).relu_()


class BottleneckBlockD(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions, the last four times as wide, and the shortcut around them.

    The stride sits on the 3 x 3 convolution. Parameters as in `BasicBlockD`; `channels` is the width of the 3 x 3
    convolution, and `selective_kernels` the arguments of the `SelectiveKernels` in its place, or None.
    """

    expansion: Final = 4

    def __init__(
        self,
        channels_in: int,
        channels: int,
        stride: int,
        project: bool,
        norm: dict[str, Any],
        squeeze_excitation: float | None,
        selective_kernels: dict[str, Any] | None,
    ) -> None:
        super().__init__()
        channels_out = self.expansion * channels
        self.shortcut = _Shortcut(channels_in, channels_out, stride, norm) if project else nn.Identity()
        self.conv1 = conv(channels_in, channels, 1)
        self.norm1 = nn.BatchNorm2d(channels, **norm)
        self.conv2: nn.Module
        if selective_kernels is None:
            self.conv2 = nn.Sequential(
                conv(channels, channels, 3, stride), nn.BatchNorm2d(channels, **norm), nn.ReLU(inplace=True)
            )
        else:
            self.conv2 = SelectiveKernels(channels, stride, norm=norm, **selective_kernels)
        self.conv3 = conv(channels, channels_out, 1)
        self.norm3 = nn.BatchNorm2d(channels_out, **norm)
        self.gate = nn.Identity() if squeeze_excitation is None else _gate(channels_out, channels, squeeze_excitation)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The normalisation at the end of the residual branch, which starts at zero."""
        return self.norm3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        residual = self.norm1(self.conv1(x)).relu_()
        residual = self.gate(self.norm3(self.conv3(self.conv2(residual))))
        return (residual + self.shortcut(x)).relu_()


def _gate(channels: int, block_channels: int, ratio: float) -> SqueezeExcitation:
    return SqueezeExcitation(channels, max(1, int(block_channels * ratio)))
