"""Embeddings of a whole run: one vector a frame, into a result file or into memory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cdifast.data import Frames, RowDataset, check_finite, nxdata
from cdifast.data.prepare import Preparer, make_preparer, preparation_of
from cdifast.data.prepared import Center, prepared_center
from cdifast.data.view_recipe import ViewRecipe
from cdifast.data.views import plain_view
from cdifast.nn import Encoder, ModelCard, load_encoder, package_weights
from cdifast.nn.contrastive import Embedding

from .progress import progress_bar
from .rows import refuse_inputs, run_over_frames

GROUP = "/entry_1/embeddings"


class Embedder:
    """From raw frames to embeddings, as the card of some weights says: preparation, view, encoder.

    Parameters
    ----------
    weights : path, optional
        As :func:`cdifast.nn.load_encoder`.
    embedding : {"head", "features"}, optional
        Other than the weights' own.
    device : str or torch.device
        Where the encoder runs.

    Attributes
    ----------
    weights : Path
    sha256 : str
        Fingerprint of the weights' file.
    embedding : str
        ``"head"``, ``"features"``, or ``"classifier"``: the pooled features of a network that was trained with labels.
    view : str
        What the encoder sees of a frame: ``"detector"`` or ``"unwrapped"``.
    dimension : int
        Length of an embedding.

    Raises
    ------
    FileNotFoundError, ValueError
        Weights that are missing, damaged, or do not say how frames were prepared.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | None = None,
        *,
        embedding: Embedding | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self.weights = package_weights() if weights is None else Path(weights)
        self.encoder, self.card = load_encoder(self.weights, embedding=embedding, device=device)
        try:
            self.preparation = preparation_of(self.card.input)
            self._recipe = _view_recipe(self.card)
        except ValueError as error:
            raise ValueError(f"{self.weights}: {error}") from error
        self.sha256 = hashlib.sha256(self.weights.read_bytes()).hexdigest()
        self.device = torch.device(device)
        self.dimension = self.encoder.num_embedding
        self.embedding = _kind(self.encoder)
        self.view: str = "detector" if self._recipe is None else self._recipe.first
        if self.device.type == "cpu":
            # The order in which the convolutions of oneDNN are fastest on few channels.
            self.encoder = self.encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def for_frames(
        self, shape: tuple[int, int], mask: NDArray[np.bool_] | None, center: Center | None = None
    ) -> Callable[[NDArray[Any], NDArray[np.bool_] | None], NDArray[np.float32]]:
        """A function from raw frames (n, H, W) and their good pixels to embeddings (n, dimension) float32.

        Parameters
        ----------
        shape : tuple of int
            (H, W) of the frames.
        mask : numpy.ndarray, optional
            Good pixels (H, W) of all of them. The function's second argument only counts where it is (n, H, W).
        center : tuple of float, optional
            Beam centre (y, x) in pixels of the frames, for encoders that see unwrapped views; default the middle.
        """
        whole = make_preparer(shape, mask, self.preparation, self.device)
        place = None if center is None else prepared_center(center, shape, self.preparation.size)

        def embed(images: NDArray[Any], good: NDArray[np.bool_] | None) -> NDArray[np.float32]:
            own = good is not None and good.ndim == 3
            preparer = make_preparer(shape, good, self.preparation, self.device, like=whole) if own else whole
            valid = preparer.valid if isinstance(preparer, Preparer) and not preparer.all_valid else None
            return self.prepared(preparer.checked(images), valid, place)

        return embed

    def prepared(
        self, images: torch.Tensor, valid: torch.Tensor | None = None, center: Center | None = None
    ) -> NDArray[np.float32]:
        """Embeddings (n, dimension) float32 of prepared images (n, 1, S, S).

        Parameters
        ----------
        images : torch.Tensor
        valid : torch.Tensor, optional
            (1 or n, S, S) bool: pixels that hold data.
        center : tuple of float, optional
            Beam centre (y, x) in pixels of the prepared images.
        """
        if self._recipe is not None:
            place = None if center is None or self._recipe.unwrapping != "polar" else torch.tensor(center)
            images = plain_view(images, self._recipe, mask=valid, centers=place)
        if self.device.type == "cpu":
            images = images.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            return self.encoder(images).float().cpu().numpy()


def write_embeddings(
    frames: Frames,
    output: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None = None,
    *,
    embedding: Embedding | None = None,
    center: Center | None = None,
    batch: int = 256,
    device: str | torch.device = "cpu",
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Write the embedding of every frame to an HDF5 file, in stack order, keyed by event.

    The file's ``/entry_1/embeddings/embedding`` is (N, d) float32; the group's attributes tell weights, their
    fingerprint, the view and which layer. :class:`cdifast.search.Index` searches one or several such files. An
    interrupted job continues when the same call is repeated.

    Parameters
    ----------
    frames : Frames
        Prepared as the weights' card says; their mask is used.
    output : path
    weights : path, optional
        Of an encoder or a classifier; default the encoder that comes with the package.
    embedding : {"head", "features"}, optional
        Output of the projection head's first layer, or the encoder's pooled output; default as the weights say.
    center : tuple of float, optional
        Beam centre (y, x) in pixels of the frames, for encoders that see unwrapped views; default the middle.
    batch : int
        Frames at a time.
    device : str or torch.device
        Where the network runs.
    overwrite, progress
        As :func:`cdifast.jobs.rows.run_over_frames`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    FrameError
        Frames that cannot be read or hold NaN outside the mask, or an ``output`` that is another job's, the weights
        or a file of the frames.
    FileExistsError
        If ``output`` exists and ``overwrite`` is False.
    FileNotFoundError, ValueError
        If the weights are missing, damaged, or do not say how to prepare frames.
    """
    embedder = Embedder(weights, embedding=embedding, device=device)
    refuse_inputs(output, [embedder.weights])
    embed = embedder.for_frames(frames.shape[1:], frames.mask, center)
    return run_over_frames(
        frames,
        output,
        [RowDataset("embedding", (embedder.dimension,), "float32", path=f"{GROUP}/embedding")],
        lambda images, good: {"embedding": embed(images, good)},
        description="embeddings",
        fingerprint={
            "weights sha256": embedder.sha256,
            "embedding": embedder.embedding,
            "center": center and list(center),
        },
        attrs={
            "/entry_1": {"NX_class": "NXentry", "default": "embeddings"},
            GROUP: nxdata(
                "embedding",
                weights=os.fspath(embedder.weights),
                weights_sha256=embedder.sha256,
                layer=embedder.embedding,
                view=embedder.view,
                preset=embedder.card.preset,
            ),
        },
        constants={},
        batch=batch,
        overwrite=overwrite,
        progress=progress,
    )


def embed_frames(
    frames: Frames, embedder: Embedder, *, center: Center | None = None, batch: int = 256, progress: bool = False
) -> NDArray[np.float32]:
    """Embeddings (N, d) of all frames, in memory: what :func:`write_embeddings` would write.

    Raises
    ------
    FrameError
        Frames that cannot be read or hold NaN outside the mask.
    """
    count, height, width = frames.shape
    embed = embedder.for_frames((height, width), frames.mask, center)
    found = np.empty((count, embedder.dimension), np.float32)
    buffer = np.empty((min(batch, count), height, width), frames.dtype)
    with progress_bar("embeddings", count, show=progress) as report:
        for start in range(0, count, batch):
            chosen = slice(start, min(start + batch, count))
            images = frames.read(chosen, out=buffer[: chosen.stop - start])
            good = frames.read_mask(chosen, images=images) if frames.masks_differ else frames.mask
            check_finite(images, good, start, frames)
            found[chosen] = embed(images, good)
            report(chosen.stop)
    return found


def _kind(encoder: Encoder) -> str:
    network: Any = encoder.network
    return str(getattr(network, "embedding", "classifier"))


def _view_recipe(card: ModelCard) -> ViewRecipe | None:
    """The recipe of the view that the encoder sees, or None where it sees prepared images as they are."""
    content = card.training.get("config", {}).get("views")
    if content is None:
        return None
    recipe = ViewRecipe.from_dict(content)
    return None if recipe.first == "detector" and recipe.unwrapping == "polar" else recipe
