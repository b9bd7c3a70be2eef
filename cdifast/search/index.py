"""Embedding files as one searchable stack."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from cdifast.data import FrameError
from cdifast.data.hdf5 import hdf5_faults, import_h5py, open_hdf5

from .distances import Metric
from .exact import Backend, Neighbours, nearest

EMBEDDINGS: Final = "/entry_1/embeddings/embedding"
EVENTS: Final = "/entry_1/events"


class Index:
    """One or several embedding files (`cdifast.jobs.write_embeddings`) whose rows are searched as one stack.

    Nothing but sizes and attributes is read before a search; a search reads blocks of rows. Rows are counted through
    the files in the order given.

    Parameters
    ----------
    paths
        One file or several.

    Attributes
    ----------
    paths : tuple of Path
    dimension : int
        Length of an embedding.
    weights_sha256 : str
        Fingerprint of the weights that made the embeddings, the same for all files.

    Raises
    ------
    FrameError
        A file that is no embedding file, or was made by other weights, or for embeddings of another length, than the
        first.
    FileNotFoundError
        No such file.
    ValueError
        No file.

    Examples
    --------
    >>> with Index(["run7-embeddings.h5", "run8-embeddings.h5"]) as index:  # doctest: +SKIP
    ...     found = index.similar([17], k=20)
    ...     index.event(int(found.indices[0, 0]))
    """

    def __init__(self, paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> None:
        import_h5py()
        several = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
        self.paths = tuple(Path(path) for path in several)
        if not self.paths:
            raise ValueError("paths: found none, expected at least one embedding file")
        self._files: list[Any] = []
        self._shards: list[Any] = []
        try:
            for path in self.paths:
                self._open(path)
        except BaseException:
            self.close()
            raise
        self.dimension = int(self._shards[0].shape[1])
        self.weights_sha256 = self._weights(0)
        for number, path in enumerate(self.paths):
            if self._shards[number].shape[1] != self.dimension:
                raise self._closed(
                    f"found embeddings of length {self._shards[number].shape[1]}; expected {self.dimension}, as in "
                    f"{self.paths[0]}",
                    path,
                )
            if self._weights(number) != self.weights_sha256:
                raise self._closed(
                    f"its embeddings come from other weights (sha256 {self._weights(number)[:12]}) than those of "
                    f"{self.paths[0]} ({self.weights_sha256[:12]}); distances between them mean nothing",
                    path,
                )
        self._starts = np.cumsum([0, *(len(shard) for shard in self._shards)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __repr__(self) -> str:
        return f"Index({len(self)} embeddings of length {self.dimension} in {len(self.paths)} files)"

    def rows(self, indices: ArrayLike) -> NDArray[Any]:
        """The embeddings (n, d) of some rows, in the order asked for.

        Raises
        ------
        IndexError
            A row that is not there.
        """
        wanted = self._checked(indices)
        found = np.empty((len(wanted), self.dimension), self._shards[0].dtype)
        for place, row in enumerate(wanted):
            number, local = self._locate(int(row))
            found[place] = self._shards[number][local]
        return found

    def event(self, row: int) -> dict[str, Any]:
        """What identifies a row's shot: ``path`` and ``index`` in that file, and the other keys of `Frames.events`.

        Raises
        ------
        IndexError
            A row that is not there.
        """
        number, local = self._locate(int(self._checked([row])[0]))
        group = self._files[number][EVENTS]
        keys: dict[str, Any] = {}
        for name, values in group.items():
            if name == "paths":
                continue
            value = values[local]
            if name == "file":
                keys["path"] = Path(os.fsdecode(group["paths"][int(value)]))
            else:
                keys[name] = value.decode(errors="replace") if isinstance(value, bytes) else value.item()
        return keys

    def nearest(
        self,
        queries: ArrayLike,
        k: int,
        metric: Metric = "cosine",
        *,
        exclude_self: ArrayLike | None = None,
        device: str | torch.device = "cpu",
        backend: Backend = "torch",
        progress: Callable[[int], None] | None = None,
    ) -> Neighbours:
        """The rows nearest to some embeddings (Q, d); arguments as `cdifast.search.nearest`."""
        return nearest(
            queries,
            self._shards,
            k,
            metric,
            exclude_self=exclude_self,
            device=device,
            backend=backend,
            progress=progress,
        )

    def similar(self, rows: ArrayLike, k: int, metric: Metric = "cosine", **options: Any) -> Neighbours:
        """The rows nearest to some of the rows, themselves left out; `options` as `nearest`."""
        wanted = self._checked(rows)
        return self.nearest(self.rows(wanted), k, metric, exclude_self=wanted, **options)

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()
        self._files.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, path: Path) -> None:
        with hdf5_faults(path):
            file = open_hdf5(path)
            self._files.append(file)
            shard = file.get(EMBEDDINGS)
        if shard is None or len(getattr(shard, "shape", ()) or ()) != 2 or EVENTS not in file:
            raise FrameError(
                f"found no {EMBEDDINGS} (N, d) with {EVENTS}; expected a file that `cdifast embed` wrote", path=path
            )
        self._shards.append(shard)

    def _weights(self, number: int) -> str:
        return str(self._shards[number].parent.attrs.get("weights_sha256", ""))

    def _closed(self, message: str, path: Path) -> FrameError:
        self.close()
        return FrameError(message, path=path)

    def _checked(self, rows: ArrayLike) -> NDArray[np.int64]:
        wanted = np.atleast_1d(np.asarray(rows))
        if wanted.ndim != 1 or (wanted.size and wanted.dtype.kind not in "iu"):
            raise IndexError(f"rows: found {wanted.dtype} of shape {wanted.shape}, expected integers (n,)")
        outside = wanted[(wanted < 0) | (wanted >= len(self))]
        if len(outside):
            raise IndexError(f"{self.paths[0]}: found row {outside[0]}, expected 0 to {len(self) - 1}")
        return wanted.astype(np.int64)

    def _locate(self, row: int) -> tuple[int, int]:
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        return number, row - int(self._starts[number])
