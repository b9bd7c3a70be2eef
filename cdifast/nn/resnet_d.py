"""ResNet-D encoders with squeeze-excitation and selective kernels (P2; the encoder of SimCLRv2)."""

from __future__ import annotations

import math
from typing import Any, Final, Literal

import torch
from torch import nn

from .attention import SelectiveKernels, SqueezeExcitation
from .checks import check_images
from .log_activation import LogActivation

StemActivation = Literal["relu", "log", "leaky"]

_BLOCKS_PER_STAGE: Final[dict[int, tuple[int, int, int, int]]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
}
_STEM_CHANNELS: Final = 64

# Standard deviation of the standard normal distribution cut off at +-2.
_TRUNCATED_STD: Final = 0.8796256610342398


def _conv(channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> nn.Conv2d:
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
        layers += [_conv(channels_in, channels_out, 1), nn.BatchNorm2d(channels_out, **norm)]
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
        self.conv1 = _conv(channels_in, channels, 3, stride)
        self.norm1 = nn.BatchNorm2d(channels, **norm)
        self.conv2 = _conv(channels, channels, 3)
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
        self.conv1 = _conv(channels_in, channels, 1)
        self.norm1 = nn.BatchNorm2d(channels, **norm)
        self.conv2: nn.Module
        if selective_kernels is None:
            self.conv2 = nn.Sequential(
                _conv(channels, channels, 3, stride), nn.BatchNorm2d(channels, **norm), nn.ReLU(inplace=True)
            )
        else:
            self.conv2 = SelectiveKernels(channels, stride, norm=norm, **selective_kernels)
        self.conv3 = _conv(channels, channels_out, 1)
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


class ResNetD(nn.Module):
    """ResNet-D encoder; build it with `resnet_d`, which describes the arguments.

    Attributes
    ----------
    arguments : dict
        The arguments that rebuild this architecture, JSON-serialisable; they go onto the weights' card.
    num_features : int
        Length of the vectors that `features` returns.
    stages : torch.nn.Sequential
        The four stages.
    """

    architecture: Final = "resnet_d"

    def __init__(
        self,
        depth: int,
        in_channels: int = 1,
        width: float = 1,
        *,
        squeeze_excitation: float | None = 0.25,
        selective_kernels: bool = False,
        selective_ratio: float = 0.0625,
        selective_dilation: int = 1,
        first_activation: StemActivation = "relu",
        alpha: float = 0.2,
        learnable_alpha: bool = False,
        batch_norm_momentum: float = 0.9,
        batch_norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        _check_arguments(depth, in_channels, width, batch_norm_momentum)
        if squeeze_excitation is not None and not squeeze_excitation > 0:
            raise ValueError(f"squeeze_excitation: found {squeeze_excitation}, expected a positive ratio or None")
        if selective_kernels and depth < 50:
            raise ValueError(
                f"selective_kernels: found True at depth {depth}, expected a depth with bottleneck blocks (50, 101)"
            )
        self.arguments: dict[str, Any] = {
            "depth": depth,
            "in_channels": in_channels,
            "width": width,
            "squeeze_excitation": squeeze_excitation,
            "selective_kernels": selective_kernels,
            "selective_ratio": selective_ratio,
            "selective_dilation": selective_dilation,
            "first_activation": first_activation,
            "alpha": alpha,
            "learnable_alpha": learnable_alpha,
            "batch_norm_momentum": batch_norm_momentum,
            "batch_norm_eps": batch_norm_eps,
        }
        # TensorFlow's momentum is the share of the old average, PyTorch's that of the new batch.
        norm: dict[str, Any] = {"momentum": 1 - batch_norm_momentum, "eps": batch_norm_eps}
        kernels = {"ratio": selective_ratio, "dilation": selective_dilation} if selective_kernels else None
        channels = max(1, round(_STEM_CHANNELS * width))
        half = max(1, round(_STEM_CHANNELS * width / 2))
        self.in_channels = in_channels
        self.stem = nn.Sequential(
            _conv(in_channels, half, 3, 2),
            *_first_activation(first_activation, alpha, learnable_alpha, half, norm),
            _conv(half, half, 3),
            nn.BatchNorm2d(half, **norm),
            nn.ReLU(inplace=True),
            _conv(half, channels, 3),
            nn.BatchNorm2d(channels, **norm),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, padding=1),
        )
        stages = []
        channels_in = channels
        for stage, blocks in enumerate(_BLOCKS_PER_STAGE[depth]):
            stage_channels = max(1, round(_STEM_CHANNELS * width * 2**stage))
            layers: list[nn.Module] = []
            for index in range(blocks):
                stride = 2 if index == 0 and stage > 0 else 1
                first = index == 0
                if depth < 50:
                    layers.append(BasicBlockD(channels_in, stage_channels, stride, first, norm, squeeze_excitation))
                    channels_in = stage_channels
                else:
                    layers.append(
                        BottleneckBlockD(channels_in, stage_channels, stride, first, norm, squeeze_excitation, kernels)
                    )
                    channels_in = BottleneckBlockD.expansion * stage_channels
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)
        self.num_features = channels_in
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights anew from torch's global generator.

        Convolutions: normal distribution of variance 1 / fan-in, cut off at two standard deviations and widened so
        that the variance holds after the cut (SimCLRv2's, and C1's). Batch normalisation: scale 1, but 0 at the end
        of each residual branch, so that every block starts as its shortcut.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                std = 1 / math.sqrt(module.weight[0].numel()) / _TRUNCATED_STD
                nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
        for module in self.modules():
            if isinstance(module, BasicBlockD | BottleneckBlockD):
                nn.init.zeros_(module.last_norm.weight)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the pooled features.

        Parameters
        ----------
        x
            Images (N, in_channels, H, W), any floating dtype that the weights have.

        Returns
        -------
        torch.Tensor
            (N, num_features).

        Raises
        ------
        ValueError
            Wrong rank or number of channels.
        TypeError
            Not a floating-point tensor.
        """
        check_images(x, self.in_channels)
        return self.stages(self.stem(x)).mean(dim=(2, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same as `features`: the encoder has no classifier."""
        return self.features(x)


def resnet_d(
    depth: int,
    in_channels: int = 1,
    width: float = 1,
    *,
    squeeze_excitation: float | None = 0.25,
    selective_kernels: bool = False,
    selective_ratio: float = 0.0625,
    selective_dilation: int = 1,
    first_activation: StemActivation = "relu",
    alpha: float = 0.2,
    learnable_alpha: bool = False,
    batch_norm_momentum: float = 0.9,
    batch_norm_eps: float = 1e-5,
) -> ResNetD:
    """ResNet-D encoder of P2 (He et al. 2019, "Bag of tricks", figure 2; Chen et al. 2020, SimCLRv2).

    Stem of three 3 x 3 convolutions (the first with stride 2, of half the channels like the second) -> max pool
    3 / 2 -> four stages of blocks (strides 1, 2, 2, 2), whose first block has a projection shortcut: average pool
    2 / 2 where there is a stride, 1 x 1 convolution, batch normalisation -> global average pool. Any image size works.

    Decided where the sources differ: SimCLRv2's code pools the shortcut of the first stage too, 2 x 2 with stride 1,
    which shifts it by half a pixel; ResNet-D, and this, does not. Both project at the first stage.

    Parameters
    ----------
    depth
        18 or 34 (basic blocks), 50 or 101 (bottleneck blocks).
    in_channels
        Channels of the input images.
    width
        Factor on the number of channels of every convolution (64, 64, 128, 256, 512 at 1), rounded. P2: 2.
    squeeze_excitation
        Ratio of the squeezed channels to the block's own (before the factor four of a bottleneck's output, as in
        SimCLRv2, so that 0.25 is one in sixteen of the gated channels, the published default), or None: no gates.
    selective_kernels
        Replace the 3 x 3 convolution of each bottleneck by two whose mixture depends on the image.
    selective_ratio
        Ratio of the channels between, which are at least 32.
    selective_dilation
        Dilation of the second of the two 3 x 3 convolutions: 1 as in SimCLRv2 and P2, 2 as in Li et al. 2019.
    first_activation
        After the first convolution: ``"relu"`` (ResNet-D) and ``"leaky"`` (slope 0.2) behind batch normalisation, or
        ``"log"``: the log activation without a normalisation before it, as P1 places it.
    alpha, learnable_alpha
        Scale of the log activation, and whether it is trained along.
    batch_norm_momentum
        Share of the old running statistics that each step keeps (TensorFlow's sense, one minus PyTorch's).
    batch_norm_eps
        Added to the variance.

    Returns
    -------
    ResNetD
        With fresh random weights, in training mode.

    Raises
    ------
    ValueError
        A depth or first activation other than those above, selective kernels without bottleneck blocks, or a number
        out of range.
    """
    return ResNetD(
        depth,
        in_channels,
        width,
        squeeze_excitation=squeeze_excitation,
        selective_kernels=selective_kernels,
        selective_ratio=selective_ratio,
        selective_dilation=selective_dilation,
        first_activation=first_activation,
        alpha=alpha,
        learnable_alpha=learnable_alpha,
        batch_norm_momentum=batch_norm_momentum,
        batch_norm_eps=batch_norm_eps,
    )


def _first_activation(
    kind: StemActivation, alpha: float, learnable_alpha: bool, channels: int, norm: dict[str, Any]
) -> list[nn.Module]:
    if kind == "log":
        return [LogActivation(alpha, learnable=learnable_alpha)]
    if kind == "relu":
        return [nn.BatchNorm2d(channels, **norm), nn.ReLU(inplace=True)]
    if kind == "leaky":
        return [nn.BatchNorm2d(channels, **norm), nn.LeakyReLU(0.2, inplace=True)]
    raise ValueError(f"first_activation: found {kind!r}, expected 'relu', 'log' or 'leaky'")


def _check_arguments(depth: int, in_channels: int, width: float, batch_norm_momentum: float) -> None:
    if depth not in _BLOCKS_PER_STAGE:
        raise ValueError(f"depth: found {depth}, expected one of {', '.join(map(str, _BLOCKS_PER_STAGE))}")
    if in_channels < 1:
        raise ValueError(f"in_channels: found {in_channels}, expected at least 1")
    if not (math.isfinite(width) and width > 0):
        raise ValueError(f"width: found {width}, expected a positive number")
    if not 0 <= batch_norm_momentum < 1:
        raise ValueError(f"batch_norm_momentum: found {batch_norm_momentum}, expected 0 <= momentum < 1")
