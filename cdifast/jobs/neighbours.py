"""The shots most similar to one shot of a run, or to an image from elsewhere."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from cdifast.data import FrameError, Frames, check_finite, open_frames
from cdifast.data.prepared import Center
from cdifast.search import Index, Metric, nearest

from .embeddings import Embedder, embed_frames


@dataclass(frozen=True)
class SimilarShots:
    """The nearest shots of one query, nearest first.

    Attributes
    ----------
    query
        What it is, in words: ``"frame 17"``, or the file's name.
    image
        (H, W) The query's image, NaN where it is masked.
    indices
        (k,) int64: places in the stack.
    distances
        (k,) float64.
    metric
        What they are.
    """

    query: str
    image: NDArray[np.float64]
    indices: NDArray[np.int64]
    distances: NDArray[np.float64]
    metric: Metric


def similar_shots(
    frames: Frames,
    k: int,
    *,
    shot: int | None = None,
    like: str | os.PathLike[str] | None = None,
    embeddings: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
    weights: str | os.PathLike[str] | None = None,
    metric: Metric = "cosine",
    center: Center | None = None,
    device: str | torch.device = "cpu",
    progress: bool = False,
) -> SimilarShots:
    """Find the shots of a stack whose embeddings are nearest to a query's.

    Parameters
    ----------
    frames : Frames
    k : int
        How many; the query itself is not among them.
    shot : int
        The query's place in the stack; or
    like : path
        a file with one image of any size, prepared like the frames (each in a square of its longer side).
    embeddings : path or sequence of path, optional
        Embedding files of exactly these frames (:func:`cdifast.jobs.write_embeddings`); without them all frames are
        embedded now, in memory.
    weights : path, optional
        Of the encoder, for frames without embeddings and for ``like``; they must be those that made the embeddings.
        Default the ones that the embedding file names, where they are still there, else the package's.
    metric : {"cosine", "euclidean", "correlation"}
    center : tuple of float, optional
        As :func:`cdifast.jobs.write_embeddings`, for frames without embeddings; of ``like`` it is the middle.
    device : str or torch.device
    progress : bool
        Show bars.

    Returns
    -------
    SimilarShots

    Raises
    ------
    ValueError
        Neither or both of ``shot`` and ``like``; fewer frames than k; other weights than the embeddings'.
    IndexError
        A shot that is not there.
    FrameError
        Files that cannot be read, embeddings of other frames, or a ``like`` of several images.
    FileNotFoundError
        A missing file.
    """
    if (shot is None) == (like is None):
        raise ValueError("shot, like: found both or neither, expected one of them")
    if shot is not None and not -len(frames) <= shot < len(frames):
        raise IndexError(f"shot: found {shot}, expected 0 to {len(frames) - 1}")
    row = None if shot is None else shot % len(frames)
    if embeddings is None:
        embedder = Embedder(weights, device=device)
        vectors = embed_frames(frames, embedder, center=center, progress=progress)
        query = vectors[row : row + 1] if row is not None else _embedded(like, embedder)[None]
        found = nearest(query, vectors, k, metric, exclude_self=None if row is None else [row], device=device)
    else:
        with Index(embeddings) as index:
            check_same_frames(index, frames)
            if row is not None:
                found = index.similar([row], k, metric, device=device)
            else:
                if weights is None and Path(index.weights).is_file():
                    weights = index.weights
                embedder = Embedder(weights, device=device)
                if embedder.sha256 != index.weights_sha256:
                    raise ValueError(
                        f"weights: found {embedder.weights} (sha256 {embedder.sha256[:12]}), but {index.paths[0]} was "
                        f"made by {index.weights} (sha256 {index.weights_sha256[:12]}); name those"
                    )
                found = index.nearest(_embedded(like, embedder)[None], k, metric, device=device)
    if row is not None:
        name, image = f"frame {row}", masked_image(frames, row)
    else:
        assert like is not None
        with open_frames(like) as other:
            name, image = Path(like).name, masked_image(other, 0)
    return SimilarShots(name, image, found.indices[0], found.distances[0], metric)


def masked_image(frames: Frames, index: int) -> NDArray[np.float64]:
    """One frame (H, W) with NaN at its bad pixels, for drawing."""
    image = frames.read([index])
    good = frames.read_mask([index], images=image)[0] if frames.masks_differ else frames.mask
    shown = image[0].astype(np.float64)
    if good is not None:
        shown[~good] = np.nan
    return shown


def event_texts(frames: Frames, indices: ArrayLike) -> list[str]:
    """What identifies some frames in their experiment, a line each: their keys, or else file and index there."""
    events = frames.events
    names = [name for name in events.dtype.names or () if name not in ("file", "index")]
    texts = []
    for index in np.asarray(indices).tolist():
        if names:
            texts.append(", ".join(f"{name} {_plain(events[index][name])}" for name in names))
        else:
            path, _, local = frames.locate(index)
            texts.append(f"{path.name} {local}")
    return texts


def _plain(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _embedded(path: str | os.PathLike[str] | None, embedder: Embedder) -> NDArray[np.float32]:
    """The embedding (d,) of the one image of a file."""
    assert path is not None
    with open_frames(path) as frames:
        if len(frames) != 1:
            raise FrameError(f"found {len(frames)} images; expected one", path=os.fspath(path))
        images = frames.read([0])
        good = frames.read_mask([0], images=images) if frames.masks_differ else frames.mask
        check_finite(images, good, 0, frames)
        return embedder.for_frames(frames.shape[1:], frames.mask)(images, good)[0]


def check_same_frames(index: Index, frames: Frames) -> None:
    """Refuse embeddings whose rows are not the frames': another number, or keys that differ."""
    if len(index) != len(frames):
        raise FrameError(
            f"found {len(index)} embeddings for {len(frames)} frames; expected those of these frames, in their order",
            path=index.paths[0],
        )
    check_same_events(index.paths[0], index.events(), frames)


def check_same_events(path: str | os.PathLike[str], events: Mapping[str, NDArray[Any]], frames: Frames) -> None:
    """Refuse a result file whose rows are not the frames': `events` are its keys, by name."""
    expected = frames.events
    for name, values in events.items():
        # Paths may have moved, and the number of a file counts within one result file.
        if name in ("file", "paths") or name not in (expected.dtype.names or ()):
            continue
        differs = np.flatnonzero(values != expected[name])
        if len(differs):
            row = int(differs[0])
            raise FrameError(
                f"row {row}: found {name} {_plain(values[row])}, but frame {row} has {_plain(expected[name][row])}; "
                "expected the results for these frames, in their order",
                path=path,
            )
