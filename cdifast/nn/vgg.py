"""VGG networks with a fully-convolutional head and LeakyReLU in place of ReLU (P1, table 7)."""

from __future__ import annotations

import math
from typing import Any, Final, Literal

import torch
from torch import nn

from .checks import check_images, check_sizes
from .first_activation import FirstActivation, first_activation_layer
from .initialization import truncated_normal_

Initialization = Literal["he", "unit"]

_CONVOLUTIONS_PER_STAGE: Final[dict[int, tuple[int, int, int, int, int]]] = {
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
_STAGE_CHANNELS: Final = (64, 128, 256, 512, 512)
_HEAD_CHANNELS: Final = 4096
_HEAD_KERNEL: Final = 7
# Five poolings halve the sides; what is left must be a pixel.
_SMALLEST_SIDE: Final = 2 ** len(_STAGE_CHANNELS)


class VGG(nn.Module):
    """VGG network; build it with `vgg`, which describes the arguments.

    Attributes
    ----------
    arguments : dict
        The arguments that rebuild this architecture, JSON-serialisable; they go onto the weights' card.
    num_features : int
        Length of the vectors that `features` returns.
    stages : torch.nn.Sequential
        The five stages, without the poolings after them; the output of the last one is what Grad-CAM looks at.
    """

    architecture: Final = "vgg"

    def __init__(
        self,
        depth: int,
        num_classes: int,
        in_channels: int = 1,
        width: float = 1,
        first_activation: FirstActivation = "leaky",
        alpha: float = 0.2,
        *,
        learnable_alpha: bool = False,
        leaky_after_log: bool = False,
        negative_slope: float = 0.2,
        bias: bool = True,
        dropout: float = 0.0,
        initialization: Initialization = "he",
    ) -> None:
        super().__init__()
        check_sizes(depth, _CONVOLUTIONS_PER_STAGE, num_classes, in_channels, width)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: found {dropout}, expected 0 <= dropout < 1")
        if initialization not in ("he", "unit"):
            raise ValueError(f"initialization: found {initialization!r}, expected 'he' or 'unit'")
        self.arguments: dict[str, Any] = {
            "depth": depth,
            "num_classes": num_classes,
            "in_channels": in_channels,
            "width": width,
            "first_activation": first_activation,
            "alpha": alpha,
            "learnable_alpha": learnable_alpha,
            "leaky_after_log": leaky_after_log,
            "negative_slope": negative_slope,
            "bias": bias,
            "dropout": dropout,
            "initialization": initialization,
        }
        self.in_channels = in_channels
        self.initialization: Initialization = initialization
        self.negative_slope = negative_slope
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(dropout)

        def activation() -> nn.Module:
            return nn.LeakyReLU(negative_slope, inplace=True)

        stages = []
        before = in_channels
        for stage, count in enumerate(_CONVOLUTIONS_PER_STAGE[depth]):
            channels = max(1, round(_STAGE_CHANNELS[stage] * width))
            layers: list[nn.Module] = []
            for index in range(count):
                first = stage == index == 0
                # The log activation adds the bias itself: a pass over the largest map of the network fewer.
                own_bias = first and first_activation == "log" and bias
                layers.append(nn.Conv2d(before, channels, 3, padding=1, bias=bias and not own_bias))
                if first:
                    layers.append(
                        first_activation_layer(
                            first_activation, alpha, learnable_alpha, negative_slope, channels if own_bias else None
                        )
                    )
                if not first or (first_activation == "log" and leaky_after_log):
                    layers.append(activation())
                before = channels
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)
        self.num_features = max(1, round(_HEAD_CHANNELS * width))
        self.head = nn.Sequential(
            nn.Conv2d(before, self.num_features, _HEAD_KERNEL, padding=_HEAD_KERNEL // 2, bias=bias),
            activation(),
            self.dropout,
            nn.Conv2d(self.num_features, self.num_features, 1, bias=bias),
            activation(),
        )
        # The mean commutes with a 1 x 1 convolution: taken first (as C1 does), a linear layer is the same and cheaper.
        self.classifier = nn.Linear(self.num_features, num_classes, bias=bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights anew from torch's global generator; `vgg` says how. Biases become zero."""
        he = math.sqrt(2 / (1 + self.negative_slope**2))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                truncated_normal_(module.weight, he if self.initialization == "he" else 1.0)
            elif isinstance(module, nn.Linear):
                truncated_normal_(module.weight)
            bias = getattr(module, "bias", None)
            if isinstance(bias, nn.Parameter):
                nn.init.zeros_(bias)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the pooled features that the last layer classifies.

        Parameters
        ----------
        x
            Images (N, in_channels, H, W), H and W at least 32, any floating dtype that the weights have.

        Returns
        -------
        torch.Tensor
            (N, num_features).

        Raises
        ------
        ValueError
            Wrong rank, number of channels or size.
        TypeError
            Not a floating-point tensor.
        """
        check_images(x, self.in_channels)
        if min(x.shape[2:]) < _SMALLEST_SIDE:
            raise ValueError(
                f"images: found {x.shape[2]} x {x.shape[3]} pixels, expected at least {_SMALLEST_SIDE} along each "
                "side: five poolings halve them"
            )
        for stage in self.stages:
            x = self.pool(stage(x))
        return self.head(x).mean(dim=(2, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits (N, num_classes) of the images `x` (N, in_channels, H, W); see `features`."""
        return self.classifier(self.dropout(self.features(x)))


def vgg(
    depth: int,
    num_classes: int,
    in_channels: int = 1,
    width: float = 1,
    first_activation: FirstActivation = "leaky",
    alpha: float = 0.2,
    *,
    learnable_alpha: bool = False,
    leaky_after_log: bool = False,
    negative_slope: float = 0.2,
    bias: bool = True,
    dropout: float = 0.0,
    initialization: Initialization = "he",
) -> VGG:
    """VGG network of P1 (table 7; Simonyan and Zisserman 2015, variants D and E).

    Five stages of 3 x 3 convolutions, each followed by max pooling 2 / 2 -> conv 7 x 7 to 4096 channels -> conv 1 x 1
    to 4096 -> conv 1 x 1 to `num_classes` -> mean over the map; LeakyReLU after each convolution but the last, no
    batch normalisation. Table 7 prints the head as "2 x conv(7, 4096, 1)"; a second 7 x 7 convolution of 4096 channels
    would have 822 million weights, and C1 has 1 x 1.

    All convolutions keep the size of the map (zeros outside), the 7 x 7 one included, as in C1: an image of 224 x 224
    gives a 7 x 7 map of class evidence, of which the mean is taken, and one of 64 x 64, whose map behind the last
    pooling is 2 x 2 and thus smaller than the kernel, still gives 2 x 2. The outer weights of the kernel then only
    ever meet zeros. Any size from 32 x 32 on works; poolings drop an odd last row or column.

    Parameters
    ----------
    depth
        16 (variant D) or 19 (variant E).
    num_classes
        Number of logits.
    in_channels
        Channels of the input images.
    width
        Factor on the number of channels of every convolution (64, 128, 256, 512, 512; 4096 in the head); any positive
        number, channels are rounded. At 1 and 11 classes, depth 16 has 134 million parameters.
    first_activation
        After the first convolution: ``"leaky"`` (P1's table 9, made before the log activation was introduced),
        ``"log"`` (P1 section 5.1), or ``"none"``.
    alpha
        Scale of the log activation.
    learnable_alpha
        Whether `alpha` is trained along.
    leaky_after_log
        Whether a LeakyReLU follows the log activation (C1) or the log activation stands alone (P1).
    negative_slope
        Slope of every LeakyReLU for negative input: 0.2 in P1 (section 5.1), 0.1 in C1's VGG.
    bias
        Whether convolutions and the last layer have biases (P1, appendix A; C1's have none).
    dropout
        Share of the head's features that are zeroed in training, after the 7 x 7 convolution and before the last
        layer. P1 speaks of none. C1 zeroes half, also when it predicts; here it is in training only.
    initialization
        Convolutions are drawn from a normal distribution cut off at two standard deviations. ``"he"``: variance
        2 / (1 + negative_slope²) / fan-in, which keeps the signal's size through LeakyReLUs (He et al. 2015; P1
        says nothing). ``"unit"``: 1 / fan-in (C1), under which the signal falls more than a hundredfold through
        depth 16. The last layer has 1 / fan-in in either case.

    Returns
    -------
    VGG
        With fresh random weights, in training mode.

    Raises
    ------
    ValueError
        A depth, first activation or initialisation other than those above, or a number out of range.
    """
    return VGG(
        depth,
        num_classes,
        in_channels,
        width,
        first_activation,
        alpha,
        learnable_alpha=learnable_alpha,
        leaky_after_log=leaky_after_log,
        negative_slope=negative_slope,
        bias=bias,
        dropout=dropout,
        initialization=initialization,
    )
