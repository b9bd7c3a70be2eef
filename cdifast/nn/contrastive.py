"""Encoder and projection head as one model: what contrastive learning trains and an embedding comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import torch
from torch import nn

from .heads import ProjectionHead
from .preact_resnet import preact_resnet
from .resnet_d import resnet_d

Embedding = Literal["head", "features"]

_EMBEDDINGS: Final = ("head", "features")

ENCODERS: Final[dict[str, Callable[..., Any]]] = {"resnet_d": resnet_d, "preact_resnet": preact_resnet}
"""Constructors of the encoders that `contrastive_model` can rebuild, by name."""

CONTRASTIVE_PRESETS: Final[dict[str, dict[str, Any]]] = {
    "p2": {
        "encoder": {"depth": 50, "width": 2, "squeeze_excitation": 0.25, "selective_kernels": True},
        "head": {"final_norm": True},
        "embedding": "head",
    },
    "p2-code": {
        "encoder": {"depth": 18, "width": 2, "squeeze_excitation": 0.25},
        "head": {"final_norm": True},
        "embedding": "features",
    },
    "small": {
        "encoder": {"depth": 18, "width": 0.375, "squeeze_excitation": 0.25, "first_activation": "log"},
        "head": {},
        "embedding": "features",
    },
}
"""Arguments of the named models; see `contrastive_preset`."""


class ContrastiveModel(nn.Module):
    """An encoder with its projection head.

    `forward` gives the projection that the loss sees; `embed` the embedding that everything else sees.

    Parameters
    ----------
    encoder
        A network with `features` (images to (N, num_features)), `num_features`, `architecture` and `arguments`:
        `resnet_d`, or a classifier such as `preact_resnet`, whose last layer then goes unused.
    head
        `ProjectionHead` for as many features; None: P2's, d-d-128.
    embedding
        ``"head"``: output of the head's first layer (P2), or ``"features"``: the encoder's pooled output (C2).

    Attributes
    ----------
    architecture, arguments
        For the weights' card; `contrastive_model` rebuilds the model from them.
    in_channels : int
        Channels of the input images.
    num_embedding : int
        Length of the vectors that `embed` returns.

    Raises
    ------
    ValueError
        Encoder and head of other lengths, or an unknown `embedding`.
    """

    architecture: Final = "contrastive"

    def __init__(self, encoder: nn.Module, head: ProjectionHead | None = None, embedding: Embedding = "head") -> None:
        super().__init__()
        if embedding not in _EMBEDDINGS:
            raise ValueError(f"embedding: found {embedding!r}, expected 'head' or 'features'")
        described: Any = encoder
        head = ProjectionHead(described.num_features) if head is None else head
        if head.num_features != described.num_features:
            raise ValueError(
                f"head: found one for {head.num_features} features, the encoder gives {described.num_features}"
            )
        self.encoder = encoder
        self.head = head
        self.embedding = embedding
        self.arguments: dict[str, Any] = {
            "encoder": {"architecture": described.architecture, "arguments": dict(described.arguments)},
            "head": dict(head.arguments),
            "embedding": embedding,
        }
        self.in_channels: int = described.in_channels
        self.num_embedding: int = head.num_embedding if embedding == "head" else described.num_features

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Pooled output (N, num_features) of the encoder for the images `x` (N, in_channels, H, W)."""
        encoder: Any = self.encoder
        return encoder.features(x)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Embedding (N, num_embedding) of the images `x` (N, in_channels, H, W)."""
        features = self.features(x)
        return self.head.embedding(features) if self.embedding == "head" else features

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Projection (N, out) of the images `x` (N, in_channels, H, W), not of length one."""
        return self.head(self.features(x))


def contrastive_model(
    encoder: Mapping[str, Any], head: Mapping[str, Any] | None = None, embedding: Embedding = "head"
) -> ContrastiveModel:
    """The model that a weights' card describes.

    Parameters
    ----------
    encoder
        ``{"architecture": key of ENCODERS, "arguments": {...}}``.
    head
        Arguments of `ProjectionHead`; the number of features comes from the encoder.
    embedding
        As in `ContrastiveModel`.

    Returns
    -------
    ContrastiveModel
        With fresh random weights, in training mode.

    Raises
    ------
    ValueError
        An unknown architecture, or arguments that the constructors refuse.
    """
    name = encoder.get("architecture")
    if name not in ENCODERS:
        raise ValueError(f"encoder: found architecture {name!r}, expected one of {', '.join(ENCODERS)}")
    network = ENCODERS[name](**encoder.get("arguments", {}))
    return ContrastiveModel(network, ProjectionHead(network.num_features, **(head or {})), embedding)


def contrastive_preset(
    name: str,
    *,
    in_channels: int = 1,
    embedding: Embedding | None = None,
    encoder: Mapping[str, Any] | None = None,
    head: Mapping[str, Any] | None = None,
) -> ContrastiveModel:
    """A model by name.

    - ``"p2"``: ResNet50-D of width 2 with squeeze-excitation and selective kernels; 4096-4096-128 head, embedding =
      its first layer (P2, "Training and evaluation").
    - ``"p2-code"``: ResNet18-D of width 2 with squeeze-excitation, embedding = the encoder's 1024 pooled features (C2).
    - ``"small"``: for CPUs, and for weights that travel with the package (below 8 MB in float32, head included):
      ResNet18-D of width 0.375 with squeeze-excitation and the log activation in the stem, 192 features; meant for
      64 x 64 images.

    Parameters
    ----------
    name
        See above.
    in_channels
        Channels of the input images.
    embedding
        Other than the preset's.
    encoder, head
        Arguments of `resnet_d` and `ProjectionHead` other than the preset's.

    Returns
    -------
    ContrastiveModel
        With fresh random weights, in training mode.

    Raises
    ------
    ValueError
        An unknown name, or arguments that the constructors refuse.
    """
    if name not in CONTRASTIVE_PRESETS:
        raise ValueError(f"encoder: found preset {name!r}, expected one of {', '.join(CONTRASTIVE_PRESETS)}")
    preset = CONTRASTIVE_PRESETS[name]
    network = resnet_d(**{**preset["encoder"], **(encoder or {}), "in_channels": in_channels})
    return ContrastiveModel(
        network,
        ProjectionHead(network.num_features, **{**preset["head"], **(head or {})}),
        embedding or preset["embedding"],
    )
