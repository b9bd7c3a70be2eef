"""Weights of any network of this package as an encoder: from prepared images to embeddings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from .contrastive import ContrastiveModel, Embedding
from .weights import ModelCard, load_classifier

_PACKAGE_WEIGHTS: Final = Path(__file__).resolve().parents[1] / "weights"


class Encoder(nn.Module):
    """A network in evaluation mode, called for its embedding.

    Parameters
    ----------
    network
        A `ContrastiveModel`, or another network with `features` and `num_features`: a classifier's pooled features are
        the supervised embedding.
    embedding
        Of a `ContrastiveModel`: other than its own.

    Attributes
    ----------
    network : torch.nn.Module
    num_embedding : int
        Length of an embedding.

    Raises
    ------
    ValueError
        A network without features, or an `embedding` that it does not have.
    """

    def __init__(self, network: nn.Module, embedding: Embedding | None = None) -> None:
        super().__init__()
        if isinstance(network, ContrastiveModel):
            if embedding is not None and embedding != network.embedding:
                network = ContrastiveModel(network.encoder, network.head, embedding)
            self.num_embedding: int = network.num_embedding
        else:
            if not (hasattr(network, "features") and hasattr(network, "num_features")):
                raise ValueError(f"network: found {type(network).__name__}, expected one with features")
            if embedding == "head":
                raise ValueError("embedding: found 'head', but this network has no projection head")
            described: Any = network
            self.num_embedding = int(described.num_features)
        self.network = network.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Embedding (N, num_embedding) of prepared images (N, C, S, S)."""
        network: Any = self.network
        if isinstance(network, ContrastiveModel):
            return network.embed(x)
        return network.features(x)


def load_encoder(
    path: str | os.PathLike[str] | None = None,
    *,
    embedding: Embedding | None = None,
    device: str | torch.device = "cpu",
) -> tuple[Encoder, ModelCard]:
    """Rebuild the encoder that a file of weights describes.

    Parameters
    ----------
    path
        As `cdifast.train.train_contrastive` or `cdifast.train.train_classifier` writes them; None: those that come with
        the package (`package_weights`).
    embedding
        Other than the weights' own: ``"head"`` or ``"features"``.
    device
        Where the network goes.

    Returns
    -------
    encoder : Encoder
        In evaluation mode.
    card : ModelCard
        Its card, with the input preparation.

    Raises
    ------
    FileNotFoundError, ValueError
        As `load_classifier` and `Encoder`.
    """
    path = package_weights() if path is None else path
    network, card = load_classifier(path, device=device)
    try:
        return Encoder(network, embedding), card
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def package_weights(folder: Path = _PACKAGE_WEIGHTS) -> Path:
    """The pretrained encoder that comes with the package.

    Raises
    ------
    FileNotFoundError
        None came with this version, or more than one.
    """
    found = sorted(folder.glob("*.safetensors"))
    if len(found) != 1:
        raise FileNotFoundError(
            f"{folder}: found {len(found)} pretrained encoders, expected one; train an encoder with `cdifast pretrain` "
            "and name it with --weights"
        )
    return found[0]
