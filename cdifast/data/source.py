"""What a layout must provide: the frames of one file, readable run by run.

To add a layout, copy `cdifast/data/condor.py` (one data set of frames in HDF5) or `cdifast/data/png.py` (anything
else), change what it recognises and where it looks, and add its class to ``LAYOUTS`` in
`cdifast/data/recognition.py`. Everything else (index lists, stacks of files, masks, labels, events, fork and
pickle) is shared.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .errors import FrameError, MissingFileError, describe
from .masks import PixelMask

# A corrupted header can claim any size; no detector frame comes near this one (64 megapixels in float64 are
# 512 MiB), and refusing it turns an allocation failure into a message.
MAX_FRAME_BYTES = 1 << 31


class FrameSource(ABC):
    """The frames of one file.

    An instance holds no open handle until the first read and drops it when pickled, so that it works in
    DataLoader workers under fork and spawn alike.

    Parameters
    ----------
    path : Path
        The file.
    dataset : str
        The data set or array that holds the frames.
    shape : tuple of int
        ``(H, W)`` (one frame) or ``(N, H, W)`` as found in the file.
    dtype : dtype
        Element type as found in the file; any byte order.
    why : str
        Which data set was taken, and why, as a clause for `Frames.why`.

    Attributes
    ----------
    files : tuple of Path
        All files that hold the frames: ``path``, and those that external links or virtual data sets lead to.
    own_masks : bool
        Whether the good pixels may differ from frame to frame: `mark_bad` then does something.
    gaps : bool
        Whether parts of some frames may hold no data, which no mask of the user's changes.

    Raises
    ------
    FrameError
        Not two- or three-dimensional, no frames, or not a real number type.
    """

    layout: ClassVar[str]
    """Short name of the layout, as `Frames.layout` gives it."""

    def __init__(self, path: Path, dataset: str, shape: tuple[int, ...], dtype: DTypeLike, why: str) -> None:
        self.path = path
        self.files: tuple[Path, ...] = (path,)
        self.dataset = dataset
        self.dtype = check_frame_type(shape, dtype, path, dataset)
        self.single = len(shape) == 2
        self.shape: tuple[int, int, int] = (1, *shape) if self.single else tuple(shape)  # type: ignore[assignment]
        self.why = why
        self.own_masks = False
        self.gaps = False

    @classmethod
    @abstractmethod
    def recognise(cls, path: Path, dataset: str | None, file: Any) -> Self | None:
        """The file's frames when it has this layout, else None.

        ``file`` is the open `h5py.File` where the file is HDF5, opened once for all layouts, else None. Raises
        `FrameError` when the file clearly has this layout but cannot be used.
        """

    @abstractmethod
    def read_run(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Read frames ``start`` to ``stop - 1`` into ``out`` (``stop - start``, H, W), native byte order."""

    @abstractmethod
    def close(self) -> None:
        """Close the handle of this process; the next read opens it again."""

    def dataset_at(self, index: int) -> str:
        """The data set that holds a frame; one and the same but for layouts with one for each frame."""
        return self.dataset

    def read_mask(self) -> PixelMask | None:
        """The file's own mask, and where it came from; None when it has none.

        Where each frame has its own: pixels that are good in at least half of `mask_sample`'s frames.
        """
        return None

    def mark_bad(  # noqa: B027 - frames of most layouts do not differ
        self, indices: NDArray[np.int64], good: NDArray[np.bool_], *, own: bool, images: NDArray[Any] | None = None
    ) -> None:
        """Set to False what is bad in these frames but not in all, in ``good`` (len(indices), H, W).

        Parameters
        ----------
        indices : ndarray of int, (n,)
            Any order, duplicates allowed.
        good : ndarray of bool, (n, H, W)
        own : bool
            Heed the file's own masks. False where the user's mask takes their place: only pixels that hold no
            data count then.
        images : ndarray, (n, H, W), optional
            The frames, where they have been read already.
        """

    def read_labels(self) -> NDArray[np.uint8] | None:
        """The file's own labels, (n, 11), or None."""
        return None

    def read_energy(self) -> NDArray[np.float64] | None:
        """The file's own photon energies in joules, (n,), or None."""
        return None

    def chunk_numbers(self) -> NDArray[np.int64]:
        """(n,) number of the storage chunk that each frame lies in: those of one chunk are decoded together."""
        return np.arange(self.shape[0], dtype=np.int64)

    def read_events(self) -> dict[str, NDArray[Any]]:
        """What identifies each frame in its experiment, (n,) each, by name: trainId, bunchId, ..."""
        return {}

    def read(self, indices: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Read frames in any order, duplicates allowed, into ``out`` (len(indices), H, W).

        Neighbouring frames are read in one call: chunks that hold several frames are then decoded once.
        """
        order = np.argsort(indices, kind="stable")
        rows = indices[order]
        unique, inverse = np.unique(rows, return_inverse=True)
        breaks = np.flatnonzero(np.diff(unique) != 1) + 1
        edges = [0, *breaks.tolist(), len(unique)]
        for low, high in itertools.pairwise(edges):
            start, stop = int(unique[low]), int(unique[low]) + high - low
            first, last = np.searchsorted(inverse, [low, high])
            targets = order[first:last]
            if len(targets) == high - low and np.array_equal(targets, np.arange(targets[0], targets[0] + high - low)):
                self._read_or_name(start, stop, out[targets[0] : targets[0] + high - low])
            else:
                block = np.empty((high - low, *self.shape[1:]), dtype=out.dtype)
                self._read_or_name(start, stop, block)
                out[targets] = block[inverse[first:last] - low]

    def _read_or_name(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Read a run; when that fails, find and name the frame that cannot be read."""
        try:
            self.read_run(start, stop, out)
        except FrameError as error:
            if error.index is not None:
                raise
            raise error.located(self.path, self.dataset_at(start), start) from error
        except FileNotFoundError as error:
            place = self.dataset_at(start)
            raise MissingFileError("no such file", path=self.path, dataset=place, index=start) from error
        except OSError as error:
            for index in range(start, stop):
                try:
                    self.read_run(index, index + 1, out[index - start : index - start + 1])
                except FrameError as frame_error:
                    raise frame_error.located(self.path, self.dataset_at(index), index) from error
                except OSError as frame_error:
                    raise FrameError(
                        f"cannot be read or decoded ({frame_error}); the file is damaged here: copy it again, "
                        "or leave this frame out",
                        path=self.path,
                        dataset=self.dataset_at(index),
                        index=index,
                    ) from frame_error
            # Every frame alone could be read: a passing fault of the file system, and `out` is whole.


def mask_sample(count: int) -> NDArray[np.int64]:
    """The frames whose own masks are looked at for the one of the stack: all, or 16 that are evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(16, count)).round().astype(np.int64))


def check_frame_type(shape: tuple[int, ...], dtype: DTypeLike, path: Path, dataset: str) -> np.dtype[Any]:
    """The native-endian element type, once ``shape`` and ``dtype`` are those of frames.

    Raises
    ------
    FrameError
        Another rank than 2 or 3, zero frames or pixels, a frame above 2 GiB, or not an integer or
        floating type of at most 8 bytes.
    """
    native = np.dtype(dtype)
    found = describe(shape, native)

    def refuse(expected: str) -> FrameError:
        return FrameError(f"found {found}; expected {expected}", path=path, dataset=dataset)

    if native.kind not in "uif" or native.itemsize > 8:
        raise refuse("integers or floating-point numbers of at most 64 bits")
    if len(shape) not in (2, 3):
        raise refuse("one frame (H, W) or a stack (N, H, W)")
    if 0 in shape:
        raise refuse("at least one frame with at least one pixel, but it is empty")
    if shape[-1] * shape[-2] * native.itemsize > MAX_FRAME_BYTES:
        raise refuse(f"frames of at most {MAX_FRAME_BYTES >> 20} MiB; the header may be damaged")
    return np.dtype(native.newbyteorder("=").str)  # .str drops the metadata of HDF5 enumerations
