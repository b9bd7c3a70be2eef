"""Pre-activation residual networks with a log activation after the first convolution (P1, table 8)."""

from __future__ import annotations

from typing import Any, Final, Literal

import torch
from torch import nn
from torch.nn import functional

from .checks import check_images, check_sizes
from .first_activation import FirstActivation, first_activation_layer
from .initialization import truncated_normal_

PoolPadding = Literal["both", "tensorflow"]

_BLOCKS_PER_STAGE: Final[dict[int, tuple[int, int, int, int]]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
}
_STEM_CHANNELS: Final = 64


class _PreActivation(nn.Sequential):
    """Batch normalisation, then LeakyReLU: what precedes every convolution of a block."""

    def __init__(self, channels: int, negative_slope: float, momentum: float, eps: float) -> None:
        # In place: the normalised map has no other reader, and its copy would be the largest tensor kept.
        super().__init__(
            nn.BatchNorm2d(channels, eps=eps, momentum=momentum), nn.LeakyReLU(negative_slope, inplace=True)
        )


def _conv(channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2, bias=False)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions, each behind its pre-activation, and the shortcut around them.

    Parameters
    ----------
    channels_in, channels
        Channels of the input and of both convolutions.
    stride
        Stride of the first convolution and of the projection.
    project
        Whether the shortcut is a 1 x 1 convolution of the pre-activated input instead of the input itself.
    norm
        `negative_slope`, `momentum` (PyTorch's sense) and `eps` of the pre-activations.
    """

    expansion: Final = 1

    def __init__(self, channels_in: int, channels: int, stride: int, project: bool, norm: dict[str, float]) -> None:
        super().__init__()
        self.preact1 = _PreActivation(channels_in, **norm)
        self.projection = _conv(channels_in, channels, 1, stride) if project else None
        self.conv1 = _conv(channels_in, channels, 3, stride)
        self.preact2 = _PreActivation(channels, **norm)
        self.conv2 = _conv(channels, channels, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        activated = self.preact1(x)
        shortcut = x if self.projection is None else self.projection(activated)
        return self.conv2(self.preact2(self.conv1(activated))) + shortcut


class BottleneckBlock(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions, the last four times as wide, and the shortcut around them.

    The stride sits on the 3 x 3 convolution, so that no input pixel is skipped. Parameters as in
    `BasicBlock`; `channels` is the width of the 3 x 3 convolution.
    """

    expansion: Final = 4

    def __init__(self, channels_in: int, channels: int, stride: int, project: bool, norm: dict[str, float]) -> None:
        super().__init__()
        channels_out = self.expansion * channels
        self.preact1 = _PreActivation(channels_in, **norm)
        self.projection = _conv(channels_in, channels_out, 1, stride) if project else None
        self.conv1 = _conv(channels_in, channels, 1)
        self.preact2 = _PreActivation(channels, **norm)
        self.conv2 = _conv(channels, channels, 3, stride)
        self.preact3 = _PreActivation(channels, **norm)
        self.conv3 = _conv(channels, channels_out, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        activated = self.preact1(x)
        shortcut = x if self.projection is None else self.projection(activated)
        residual = self.conv2(self.preact2(self.conv1(activated)))
        return self.conv3(self.preact3(residual)) + shortcut


class _FirstPool(nn.Module):
    """Max pooling 3 / 2 with one row and column of padding on both sides, or where TensorFlow's "SAME" puts them."""

    def __init__(self, padding: PoolPadding) -> None:
        super().__init__()
        if padding not in ("both", "tensorflow"):
            raise ValueError(f"pool_padding: found {padding!r}, expected 'both' or 'tensorflow'")
        self.padding = padding

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.padding == "both":
            return functional.max_pool2d(x, 3, 2, 1)
        # "SAME" pads an even side after its last pixel only: the windows that ceil_mode lets run over the edge.
        return functional.max_pool2d(x, 3, 2, (x.shape[2] % 2, x.shape[3] % 2), ceil_mode=True)

    def extra_repr(self) -> str:
        return f"padding={self.padding!r}"


class PreActResNet(nn.Module):
    """Pre-activation residual network; build it with `preact_resnet`, which describes the arguments.

    Attributes
    ----------
    arguments : dict
        The arguments that rebuild this architecture, JSON-serialisable; they go onto the weights' card.
    num_features : int
        Length of the vectors that `features` returns.
    stages : torch.nn.Sequential
        The four stages; the output of the last one is what Grad-CAM looks at.
    """

    architecture: Final = "preact_resnet"

    def __init__(
        self,
        depth: int,
        num_classes: int,
        in_channels: int = 1,
        width: float = 1,
        first_activation: FirstActivation = "log",
        alpha: float = 0.2,
        *,
        learnable_alpha: bool = False,
        negative_slope: float = 0.2,
        batch_norm_momentum: float = 0.997,
        batch_norm_eps: float = 1e-5,
        pool_padding: PoolPadding = "both",
    ) -> None:
        super().__init__()
        check_sizes(depth, _BLOCKS_PER_STAGE, num_classes, in_channels, width)
        if not 0 <= batch_norm_momentum < 1:
            raise ValueError(f"batch_norm_momentum: found {batch_norm_momentum}, expected 0 <= momentum < 1")
        self.arguments: dict[str, Any] = {
            "depth": depth,
            "num_classes": num_classes,
            "in_channels": in_channels,
            "width": width,
            "first_activation": first_activation,
            "alpha": alpha,
            "learnable_alpha": learnable_alpha,
            "negative_slope": negative_slope,
            "batch_norm_momentum": batch_norm_momentum,
            "batch_norm_eps": batch_norm_eps,
            "pool_padding": pool_padding,
        }
        block = BasicBlock if depth < 50 else BottleneckBlock
        norm = {
            "negative_slope": negative_slope,
            # TensorFlow's momentum is the share of the old average, PyTorch's that of the new batch.
            "momentum": 1 - batch_norm_momentum,
            "eps": batch_norm_eps,
        }
        channels = max(1, round(_STEM_CHANNELS * width))
        self.in_channels = in_channels
        self.conv1 = _conv(in_channels, channels, 7, 2)
        self.first_activation = first_activation_layer(first_activation, alpha, learnable_alpha, negative_slope)
        self.pool = _FirstPool(pool_padding)
        stages = []
        channels_in = channels
        for stage, blocks in enumerate(_BLOCKS_PER_STAGE[depth]):
            stage_channels = max(1, round(_STEM_CHANNELS * width * 2**stage))
            layers = []
            for index in range(blocks):
                stride = 2 if index == 0 and stage > 0 else 1
                layers.append(block(channels_in, stage_channels, stride, index == 0, norm))
                channels_in = block.expansion * stage_channels
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)
        self.final_preact = _PreActivation(channels_in, **norm)
        self.num_features = channels_in
        self.classifier = nn.Linear(channels_in, num_classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights anew from torch's global generator.

        Convolutions: normal distribution of variance 1 / fan-in, cut off at two standard deviations and
        widened so that the variance holds after the cut. Linear layer: Glorot uniform, zero bias (C1;
        P1 does not say).
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                truncated_normal_(module.weight)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
        nn.init.xavier_uniform_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the pooled features that the linear layer classifies.

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
        x = self.pool(self.first_activation(self.conv1(x)))
        return self.final_preact(self.stages(x)).mean(dim=(2, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits (N, num_classes) of the images `x` (N, in_channels, H, W); see `features`."""
        return self.classifier(self.features(x))


def preact_resnet(
    depth: int,
    num_classes: int,
    in_channels: int = 1,
    width: float = 1,
    first_activation: FirstActivation = "log",
    alpha: float = 0.2,
    *,
    learnable_alpha: bool = False,
    negative_slope: float = 0.2,
    batch_norm_momentum: float = 0.997,
    batch_norm_eps: float = 1e-5,
    pool_padding: PoolPadding = "both",
) -> PreActResNet:
    """Pre-activation residual network of P1 (table 8; He et al. 2016).

    conv 7 x 7 / 2 without bias or normalisation -> first activation -> max pool 3 / 2 -> four stages of
    blocks (strides 1, 2, 2, 2; projection shortcut at each stage's first block) -> batch normalisation,
    LeakyReLU -> global average pool -> linear. Any image size works; P1 uses 224 x 224.

    Parameters
    ----------
    depth
        18 or 34 (basic blocks), 50 or 101 (bottleneck blocks).
    num_classes
        Number of logits.
    in_channels
        Channels of the input images.
    width
        Factor on the number of channels of every convolution, the first one included (64, 64, 128, 256,
        512 at 1); any positive number, channels are rounded. P1 says "wide", but its table 8 prints the
        channels of 1, and its code uses 1.
    first_activation
        After the first convolution: ``"log"`` (P1 section 5.1), ``"leaky"``, or ``"none"`` (P1's unmodified
        network).
    alpha
        Scale of the log activation (P1 table 4: 0.2).
    learnable_alpha
        Whether `alpha` is trained along.
    negative_slope
        Slope of every LeakyReLU for negative input.
    batch_norm_momentum
        Share of the old running statistics that each step keeps (TensorFlow's sense, one minus PyTorch's).
        0.997 needs about a thousand steps to settle: see `cdifast.train.recalibrate_batch_norm`.
    batch_norm_eps
        Added to the variance.
    pool_padding
        Where the max pooling's padding lies: ``"both"`` sides, or as ``"tensorflow"`` places it, whose
        windows on an even side (112 of 224) lie one pixel later (C1; P1 does not say).

    Returns
    -------
    PreActResNet
        With fresh random weights, in training mode.

    Raises
    ------
    ValueError
        A depth, first activation or padding other than those above, or a number out of range.
    """
    return PreActResNet(
        depth,
        num_classes,
        in_channels,
        width,
        first_activation,
        alpha,
        learnable_alpha=learnable_alpha,
        negative_slope=negative_slope,
        batch_norm_momentum=batch_norm_momentum,
        batch_norm_eps=batch_norm_eps,
        pool_padding=pool_padding,
    )
