"""Frames of one or many files as one stack: `open_frames`."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdifast.labels import CLASSES

from .beside import file_beside, given_labels, given_mask
from .errors import FrameError, describe
from .joined import joined_energy, joined_events, joined_labels, joined_mask
from .paths import PathLike, expand_paths
from .recognition import recognise
from .source import FrameSource, mask_sample

# Runs of one file a shot have thousands of files; a process may hold about a thousand open.
_MAX_OPEN: Final = 64


def open_frames(
    paths: PathLike | Iterable[PathLike],
    *,
    dataset: str | None = None,
    mask: ArrayLike | PathLike | None = None,
    labels: ArrayLike | PathLike | None = None,
) -> Frames:
    """Open the frames of one or many files as one stack; the layout is recognised.

    Parameters
    ----------
    paths : path or list of paths
        Files, glob patterns, or folders, which stand for the files of frames in them: of one format and one layout.
        A pattern's and a folder's files come in lexicographic order, a list in its own.
    dataset : str, optional
        The data set or array that holds the frames, where the file leaves a choice. ``"A+B"`` joins the two halves
        of a detector, one below the other; ``"entry_*/PLACE"`` takes the frame at that place of every CXI entry.
    mask : array_like or path, optional
        Pixels to use, (H, W): booleans (True = good), CXI bits (0 = good), or a file (``file:array`` where it
        holds several). It takes the place of the files' own masks. `cdifast.data.masks.good_pixels` has the
        rule.
    labels : array_like or path, optional
        (N, 11) of 0 and 1 in the order of `cdifast.labels.CLASSES`, or a file. Takes the place of the files'
        own.

    Returns
    -------
    Frames
        Also a context manager.

    Raises
    ------
    FileNotFoundError
        A file is missing or a pattern matches nothing.
    FrameError
        Anything else that is wrong; the message names file, data set and index, what was found and expected. A file
        that can be read in several ways is one such thing: the message lists the choices.
    ImportError
        A package that reads the format is missing; the message names the extra that brings it.

    Examples
    --------
    >>> with open_frames("run7.cxi") as frames:  # doctest: +SKIP
    ...     print(frames.shape, frames.why)
    ...     batch = frames[100:164]
    """
    inputs = expand_paths(paths)
    sources = [recognise(path, dataset) for path in inputs.files]
    notes = []
    for folder, others in inputs.folders.items():
        inside = [source for source in sources if source.path.parent == folder]
        for source in inside[1:]:
            if source.layout != inside[0].layout:
                raise FrameError(
                    f"is {source.layout}, but {inside[0].path.name} is {inside[0].layout}; expected one layout in a "
                    "folder that is opened as a whole: name the files wanted with a pattern",
                    path=source.path,
                )
        notes.append(f"{others} other files of the folder left out" if others else "")
    frames = Frames(sources, mask=mask, labels=labels)
    frames.why = "; ".join(filter(None, [frames.why, *notes]))
    return frames


class Frames:
    """A stack of diffraction frames, read on demand; made by `open_frames`.

    Works as a map-style PyTorch dataset in worker processes: each process opens the files for itself at its
    first read, under fork and spawn. One instance is not for several threads at once.

    Attributes
    ----------
    shape : tuple of int
        ``(N, H, W)``.
    dtype : dtype
        Element type, native byte order.
    layout : str
        One of `cdifast.data.LAYOUTS`' names, such as ``"cxi"`` or ``"hdf5"``; several joined by ``"+"``.
    why : str
        How the layout, the data set, the mask and the labels were recognised, for people to read.
    warnings : tuple of str
        What looks wrong without being an error, a sentence each, for a program to show: at present, an integer
        mask that may have been meant the other way round.
    mask : ndarray of bool, (H, W), or None
        True = good pixel. Where frames have their own good pixels (``masks_differ``): those that are good in at
        least half of 16 frames, evenly spread over the stack; `read_mask` gives each frame's own.
    masks_differ : bool
        Whether good pixels may differ from frame to frame. With ``mask`` given: only where modules may be missing.
    labels : ndarray of uint8, (N, 11), or None
        None too where only some of the files have labels (`why` says so).
    class_names : tuple of str
        The columns of ``labels``.
    energy : ndarray of float64, (N,), or None
        Photon energy in joules, always one a frame; NaN for frames of a file that does not give it, None
        when no file does.
    paths : tuple of Path
        The files, absolute, in stack order.
    input_paths : tuple of Path
        Every file that was or will be read: ``paths``, the files that their external links and virtual data sets
        lead to, and those that ``mask`` and ``labels`` were read from. None of them may be written to.
    """

    class_names: Final[tuple[str, ...]] = CLASSES

    def __init__(
        self,
        sources: Sequence[FrameSource],
        *,
        mask: ArrayLike | PathLike | None = None,
        labels: ArrayLike | PathLike | None = None,
    ) -> None:
        self._sources = tuple(sources)
        self._open: OrderedDict[int, None] = OrderedDict()
        first = self._sources[0]
        for source in self._sources[1:]:
            found, expected = (source.shape[1:], source.dtype), (first.shape[1:], first.dtype)
            if found != expected:
                raise FrameError(
                    f"found frames {describe(*found)}; expected {describe(*expected)} as in {first.path}: "
                    "one stack holds frames of one shape and type",
                    path=source.path,
                    dataset=source.dataset,
                )
        self._starts = np.cumsum([0, *(source.shape[0] for source in self._sources)])
        self.shape: tuple[int, int, int] = (int(self._starts[-1]), *first.shape[1:])
        self.dtype = first.dtype
        self.paths = tuple(source.path for source in self._sources)
        self.layout = "+".join(dict.fromkeys(source.layout for source in self._sources))

        notes = [f"{first.path.name} read as {first.layout}: frames from '{first.dataset}', {first.why}"]
        if len(self._sources) > 1:
            notes.append(f"{len(self._sources)} files in one stack")
        self.labels, note = joined_labels(self._sources) if labels is None else given_labels(labels, len(self))
        notes.append(note)
        self.energy = joined_energy(self._sources)
        self._events: NDArray[np.void] | None = None
        self._given = mask is not None
        if mask is None:
            pixels, self.masks_differ = joined_mask(self._sources)
        else:
            pixels = given_mask(mask, self.shape[1:])
            self.masks_differ = any(source.gaps for source in self._sources)
        self.mask = None if pixels is None else pixels.good
        self.warnings = () if pixels is None or not pixels.warning else (pixels.warning,)
        notes.insert(-1, "" if pixels is None else pixels.why)
        if self.masks_differ and not self._given:
            self.mask, note = self._majority_mask()
            notes.insert(-1, note)
        beside = [path.absolute() for path in (file_beside(mask), file_beside(labels)) if path is not None]
        self.input_paths = tuple(dict.fromkeys([*(file for s in self._sources for file in s.files), *beside]))
        self.why = "; ".join(filter(None, notes))

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<Frames {describe(self.shape, self.dtype)}, layout {self.layout}, {len(self.paths)} file(s)>"

    def __getitem__(self, key: int | slice | ArrayLike) -> NDArray[Any]:
        """Frame ``key`` (H, W), or those of a slice, index list or boolean array (n, H, W) in its order."""
        frames = self.read(key)
        return frames[0] if not isinstance(key, slice) and np.ndim(key) == 0 else frames

    def read(self, indices: Any, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Read frames, into a buffer where one is given: fresh memory costs more than the copy.

        Parameters
        ----------
        indices : int, slice or array_like
            Any order; duplicates and negative indices allowed.
        out : ndarray, (n, H, W), optional
            Writable; a type that the frames' converts to under NumPy's "same_kind" rule.

        Returns
        -------
        ndarray, (n, H, W)
            ``out``, or a new array of the frames' type.

        Raises
        ------
        IndexError
            Out of range, or not indices; names the file and the range.
        ValueError
            ``out`` has another shape or a type that cannot hold the frames.
        FrameError
            A frame cannot be read or decoded.
        """
        rows = self._rows(indices)
        shape = (len(rows), *self.shape[1:])
        if out is None:
            out = np.empty(shape, dtype=self.dtype)
        elif out.shape != shape or not np.can_cast(self.dtype, out.dtype, "same_kind") or not out.flags.writeable:
            raise ValueError(
                f"out: found {describe(out.shape, out.dtype)}; expected a writable array "
                f"{describe(shape, self.dtype)} or of a type that it converts to"
            )
        files = np.searchsorted(self._starts, rows, side="right") - 1
        for number in dict.fromkeys(files.tolist()):
            chosen = np.flatnonzero(files == number)
            local = rows[chosen] - self._starts[number]
            source = self._touch(number)
            if len(chosen) == chosen[-1] - chosen[0] + 1:
                source.read(local, out[chosen[0] : chosen[-1] + 1])
            else:
                part = np.empty((len(chosen), *self.shape[1:]), dtype=out.dtype)
                source.read(local, part)
                out[chosen] = part
        return out

    def read_mask(self, indices: Any, images: NDArray[Any] | None = None) -> NDArray[np.bool_]:
        """Each frame's own good pixels, for every layout.

        Where frames differ (``masks_differ``), what the file says of each: European XFEL, Cheetah and Condor have a
        mask for each frame, and a module that was not recorded is bad in that frame. With the ``mask`` of
        `open_frames`, that mask and such modules. Else ``mask`` for each frame, or all True where there is none.

        Parameters
        ----------
        indices : int, slice or array_like
            As for `read`.
        images : ndarray, (n, H, W), optional
            What `read` gave for these indices: saves reading frames again to find the NaN of missing modules.

        Returns
        -------
        ndarray of bool, (n, H, W)
            True = good.

        Raises
        ------
        IndexError, FrameError
            As `read`.
        """
        rows = self._rows(indices)
        if images is not None and images.shape != (len(rows), *self.shape[1:]):
            raise ValueError(f"images: found {images.shape}; expected the frames {(len(rows), *self.shape[1:])}")
        good = np.ones((len(rows), *self.shape[1:]), dtype=bool)
        if self.mask is not None and (self._given or not self.masks_differ):
            good &= self.mask
        if not self.masks_differ:
            return good
        files = np.searchsorted(self._starts, rows, side="right") - 1
        for number in dict.fromkeys(files.tolist()):
            chosen = np.flatnonzero(files == number)
            source = self._touch(number)
            part = good[chosen]
            if not self._given and not source.own_masks and (found := source.read_mask()) is not None:
                part &= found.good
            source.mark_bad(
                rows[chosen] - self._starts[number],
                part,
                own=not self._given,
                images=None if images is None else images[chosen],
            )
            good[chosen] = part
        return good

    def _majority_mask(self) -> tuple[NDArray[np.bool_], str]:
        sample = mask_sample(len(self))
        bad = np.zeros(self.shape[1:], dtype=np.int64)
        for row in sample.tolist():
            bad += ~self.read_mask(row)[0]
        self.close()
        good = 2 * bad <= len(sample)
        count = good.size - int(np.count_nonzero(good))
        why = (
            f"mask: pixels that are good in at least half of {len(sample)} frames, whose own masks differ; {count} of "
            f"{good.size} pixels bad ({100 * count / good.size:.1f} %)"
        )
        return good, why

    @property
    def chunks(self) -> NDArray[np.int64]:
        """Number of the storage chunk of each frame, (N,): frames of one chunk are read and decoded together."""
        numbers = []
        before = 0
        for number, source in enumerate(self._sources):
            # Thousands of files with one frame each need not be opened for this.
            own = np.zeros(1, dtype=np.int64) if source.shape[0] == 1 else self._touch(number).chunk_numbers()
            numbers.append(own + before)
            before += int(own.max()) + 1
        return np.concatenate(numbers)

    @property
    def events(self) -> NDArray[np.void]:
        """Keys of each frame, a structured array (N,).

        ``file`` (index into ``paths``), ``index`` in that file, and what all the files have of ``trainId``,
        ``pulseId``, ``cellId``, ``bunchId``, ``entry``, ``machineTime``, ``fiducial``, ``identifier``, ...: numbers,
        or names as bytes. Read from the files when it is first asked for.

        Raises
        ------
        FrameError
            Keys that do not fit the frames.
        """
        if self._events is None:
            self._events = joined_events(self._sources)
        return self._events.copy()

    def locate(self, index: int) -> tuple[Path, str, int]:
        """File, data set and index in it of frame ``index``: for messages.

        Raises
        ------
        IndexError
            Out of range.
        """
        row = self._rows(index)[0]
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        source = self._sources[number]
        local = int(row - self._starts[number])
        return source.path, source.dataset_at(local), local

    def fingerprint(self) -> dict[str, str | int]:
        """What makes these frames these frames, without reading them: for resuming a job.

        Covers path, size and time of change of every file, also of those that virtual data sets and external links
        lead to, the data set, the stack's shape and type, and the mask.
        The values are plain, so that a difference can be told in words.
        """
        digest = hashlib.sha256()
        size = changed = 0
        for source in self._sources:
            for path in source.files:
                stat = path.stat()
                size, changed = size + stat.st_size, max(changed, stat.st_mtime_ns)
                digest.update(repr((str(path), stat.st_size, stat.st_mtime_ns)).encode())
            digest.update(repr((source.dataset, source.shape, str(source.dtype))).encode())
        return {
            "first_file": str(self.paths[0]),
            "files": len(self.paths),
            "bytes": size,
            "changed_ns": changed,
            "dataset": self._sources[0].dataset,
            "shape": "x".join(map(str, self.shape)),
            "dtype": str(self.dtype),
            "mask": "none" if self.mask is None else hashlib.sha256(self.mask.tobytes()).hexdigest()[:16],
            "files_digest": digest.hexdigest()[:16],
        }

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_events": None}  # a worker reads them again if it wants them

    def close(self) -> None:
        """Close this process's handles; a later read opens them again."""
        for number in self._open:
            self._sources[number].close()
        self._open.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _rows(self, indices: Any) -> NDArray[np.int64]:
        """Indices of any kind as row numbers from 0."""
        count = len(self)
        if isinstance(indices, slice):
            return np.arange(*indices.indices(count), dtype=np.int64)
        array = np.atleast_1d(np.asarray(indices))
        if array.dtype.kind == "b" and array.shape == (count,):
            return np.flatnonzero(array)
        if array.size == 0 and array.ndim == 1:
            return np.empty(0, dtype=np.int64)
        if array.ndim != 1 or array.dtype.kind not in "ui":
            raise IndexError(
                f"{self._name()}: found an index {describe(array.shape, array.dtype)}; expected an integer, "
                f"a slice, a list of integers or {count} booleans"
            )
        rows = array.astype(np.int64)
        rows = np.where(rows < 0, rows + count, rows)
        wrong = np.flatnonzero((rows < 0) | (rows >= count))
        if len(wrong):
            raise IndexError(
                f"{self._name()}: frame {array[wrong[0]]} is out of range; there are {count} frames, "
                f"indices {-count} to {count - 1}"
            )
        return rows

    def _name(self) -> str:
        more = f" and {len(self.paths) - 1} more" if len(self.paths) > 1 else ""
        return f"{self.paths[0]}{more}"

    def _touch(self, number: int) -> FrameSource:
        """The source, most recently used; the least recently used one beyond the limit is closed."""
        self._open[number] = None
        self._open.move_to_end(number)
        if len(self._open) > _MAX_OPEN:
            oldest, _ = self._open.popitem(last=False)
            self._sources[oldest].close()
        return self._sources[number]
