"""What each embedding method of P2's Table 1 comes down to: embeddings of some images, and of others the same way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .distances import Metric, as_matrix, join_gaussians, pairwise_distances
from .local_windows import check_images


@dataclass(frozen=True)
class FittedEmbedding:
    """A method that was fitted to images.

    Attributes
    ----------
    name : str
        For a table.
    embeddings : ndarray, shape (N, d)
        Of the images that it was fitted to.
    embed : callable
        From other images ``(M, 1, S, S)`` to embeddings ``(M, d)``, in the same space.
    metric : str
        Distance that suits it, see `cdifast.evaluate.pairwise_distances`.
    linear : ndarray, shape (N, d'), optional
        What a linear classifier sees, if that is not `embeddings` (the VAE's means alone).
    settings : dict
        What it was fitted with, JSON-serialisable.
    """

    name: str
    embeddings: NDArray[Any]
    embed: Callable[[Tensor], NDArray[Any]]
    metric: Metric = "euclidean"
    linear: NDArray[Any] | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def features(self) -> NDArray[Any]:
        """What a linear classifier sees."""
        return self.embeddings if self.linear is None else self.linear

    def distances(self, images: Tensor) -> NDArray[np.float64]:
        """Distances (M, N) of other images (M, 1, S, S) from those that it was fitted to."""
        return pairwise_distances(self.embed(images), self.embeddings, self.metric)


def encoder_embedding(
    name: str,
    encoder: Callable[[Tensor], Tensor],
    images: Tensor,
    *,
    metric: Metric = "cosine",
    batch_size: int = 64,
    device: str | torch.device = "cpu",
) -> FittedEmbedding:
    """Embeddings by a trained encoder: contrastive, or the ``features`` of a classifier (the supervised baseline).

    Parameters
    ----------
    name : str
    encoder : callable
        From images (n, 1, S, S) float32 to embeddings (n, d). A module is run in evaluation mode; of a classifier,
        pass ``model.features`` of a model in evaluation mode.
    images : Tensor, shape (N, 1, S, S)
    metric : str
        P2: cosine.
    batch_size : int
    device : str or torch.device
        Where batches are sent.
    """

    def embed(other: Tensor) -> NDArray[Any]:
        return run_in_batches(encoder, other, batch_size, device)[0]

    return FittedEmbedding(name, embed(images), embed, metric)


def gaussian_embedding(
    name: str,
    encode: Callable[[Tensor], tuple[Tensor, Tensor]],
    images: Tensor,
    *,
    batch_size: int = 64,
    device: str | torch.device = "cpu",
) -> FittedEmbedding:
    """Embeddings that are Gaussians, as a VAE's: Wasserstein-2 distances, linear evaluation on the means.

    P2 does not say what of the VAE its linear classifier sees; the means have the 1024 numbers that it names.

    Parameters
    ----------
    encode : callable
        From images (n, 1, S, S) to means and standard deviations, each (n, d): `cdifast.train.vae.BetaVae.encode`.
    name, images, batch_size, device
        As `encoder_embedding`.
    """

    def embed(other: Tensor) -> NDArray[Any]:
        return join_gaussians(*run_in_batches(encode, other, batch_size, device))

    joined = embed(images)
    return FittedEmbedding(name, joined, embed, "wasserstein", linear=joined[:, : joined.shape[1] // 2])


def run_in_batches(
    function: Callable[[Tensor], Any], images: Tensor, batch_size: int, device: str | torch.device
) -> tuple[NDArray[Any], ...]:
    """What a function makes of images, without gradients: one array for each of its results.

    Raises
    ------
    ValueError
        Images of another shape, or results that are not (n, d).
    """
    stack = check_images(images, "images")[:, None]
    module = getattr(function, "__self__", function)
    network = module if isinstance(module, nn.Module) and module.training else None
    if network is not None:
        network.eval()
    try:
        with torch.no_grad():
            found = [function(batch.to(device)) for batch in stack.split(batch_size)]
    finally:
        if network is not None:
            network.train()
    parts = zip(*(batch if isinstance(batch, tuple) else (batch,) for batch in found), strict=True)
    return tuple(as_matrix(torch.cat([part.float().cpu() for part in column]), "embeddings") for column in parts)
