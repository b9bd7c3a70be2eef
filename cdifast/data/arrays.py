"""NumPy files: one array in an ``.npy``, several in an ``.npz``."""

from __future__ import annotations

import math
import os
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from .class_labels import check_labels
from .errors import FrameError, MissingFileError, describe, describe_all
from .masks import PixelMask, good_pixels
from .source import FrameSource

FRAME_NAMES: Final = ("frames", "images", "data")
"""Array names that mean frames in an ``.npz``, in order of preference."""

MASK_NAMES: Final = ("bad_pixels", "good", "mask")
"""Array names that mean a mask in an ``.npz``; `cdifast.data.masks.good_pixels` says how each is read."""

# What numpy.lib.format and zipfile raise over damaged files.
_FAULTS: Final = (
    ValueError,
    TypeError,
    KeyError,
    OSError,
    EOFError,
    OverflowError,
    MemoryError,
    SyntaxError,
    NotImplementedError,
    RuntimeError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def starts_with(path: Path, signature: bytes) -> bool:
    """Whether these are the file's first bytes."""
    with path.open("rb") as file:
        return file.read(len(signature)) == signature


class NpySource(FrameSource):
    """Frames of one ``.npy`` file: only the frames asked for are read from disk.

    They are read, not mapped into memory: a file that shrinks under a map kills the process with SIGBUS, a short
    read can be reported. An array in Fortran order, whose frames lie scattered over the file, is read whole at the
    first read and kept until `close`.
    """

    layout: ClassVar[str] = "npy"

    def __init__(self, path: Path) -> None:
        self._header = _npy_header(path)
        super().__init__(path, "array", self._header.shape, self._header.dtype, "the file's one array")
        self._descriptor: int | None = None
        self._array: NDArray[Any] | None = None

    @classmethod
    def recognise(cls, path: Path, dataset: str | None, file: Any) -> Self | None:
        """By its first bytes; there is one array, so ``dataset`` must be None."""
        if not starts_with(path, b"\x93NUMPY"):
            return None
        if dataset is not None:
            raise FrameError(f"an .npy file holds one unnamed array; expected no dataset, found '{dataset}'", path=path)
        return cls(path)

    def read_run(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Read the frames' bytes, converting the byte order."""
        header = self._header
        if header.fortran_order:
            if self._array is None:
                size = math.prod(header.shape)
                self._array = self._read(header.offset, np.empty(size, header.dtype)).reshape(header.shape, order="F")
            out[...] = self._array if self.single else self._array[start:stop]
            return
        shape = (stop - start, *self.shape[1:])
        offset = header.offset + start * math.prod(shape[1:]) * header.dtype.itemsize
        if out.dtype == header.dtype and out.flags.c_contiguous:
            self._read(offset, out)
        else:
            out[...] = self._read(offset, np.empty(shape, header.dtype))

    def _read(self, offset: int, out: NDArray[Any]) -> NDArray[Any]:
        """Fill ``out`` from the file; an OSError where that ends too early."""
        descriptor = self._open()
        view = out.reshape(-1).view(np.uint8).data  # no copy: `out` is contiguous
        done = 0
        while done < len(view):
            count = os.preadv(descriptor, [view[done:]], offset + done)
            if count == 0:
                raise OSError(f"the file ends {len(view) - done} bytes too early: it was cut short after it was opened")
            done += count
        return out

    def _open(self) -> int:
        # Reads name their place in the file, so that processes after a fork can share the descriptor.
        if self._descriptor is None:
            if (found := _npy_header(self.path)) != self._header:
                raise FrameError(
                    f"changed since it was opened: {describe(self._header.shape, self._header.dtype)} then, "
                    f"{describe(found.shape, found.dtype)} now",
                    path=self.path,
                )
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        return self._descriptor

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = self._array = None

    def __del__(self) -> None:
        # Not there when __init__ has refused the file.
        if getattr(self, "_descriptor", None) is not None:
            self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_descriptor": None, "_array": None}


class _NpyHeader(NamedTuple):
    """What an ``.npy`` file says about its array, and where its data begin."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool
    offset: int


def _npy_header(path: Path) -> _NpyHeader:
    try:
        # NumPy checks the header against the file's size; no byte of the data is touched.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        return _NpyHeader(array.shape, array.dtype, not array.flags.c_contiguous, array.offset)
    except FileNotFoundError as error:
        raise MissingFileError("no such file", path=path) from error
    except _FAULTS as error:
        raise FrameError(
            f"not readable as .npy: truncated, damaged or of Python objects ({error})", path=path
        ) from error


class NpzSource(FrameSource):
    """Frames of one array in an ``.npz`` file.

    The array is decoded whole at the first read and kept until `close`: the format allows nothing else.
    An array called ``bad_pixels``, ``good`` or ``mask`` is the mask, one called ``labels`` the labels.
    """

    layout: ClassVar[str] = "npz"

    def __init__(self, path: Path, dataset: str, shape: tuple[int, ...], dtype: Any, why: str) -> None:
        super().__init__(path, dataset, shape, dtype, why)
        self._array: NDArray[Any] | None = None

    @classmethod
    def recognise(cls, path: Path, dataset: str | None, file: Any) -> Self | None:
        """By its first bytes, those of a zip file."""
        if not (starts_with(path, b"PK\x03\x04") or starts_with(path, b"PK\x05\x06")):
            return None
        arrays = npz_arrays(path)
        listing = describe_all(arrays) or "no array"
        if dataset is not None:
            if dataset not in arrays:
                raise FrameError(f"is not in the file, which holds {listing}", path=path, dataset=dataset)
            return cls(path, dataset, *arrays[dataset], "the array asked for")
        for name in FRAME_NAMES:
            if name in arrays:
                return cls(path, name, *arrays[name], f"called '{name}'")
        others = {
            name: (shape, dtype)
            for name, (shape, dtype) in arrays.items()
            if name not in (*MASK_NAMES, "labels") and dtype.kind in "uif" and len(shape) in (2, 3)
        }
        stacks = [name for name, (shape, _) in others.items() if len(shape) == 3]
        chosen = stacks or list(others)
        if len(chosen) == 1:
            why = "the only three-dimensional array" if stacks else "the only array that can be one frame"
            return cls(path, chosen[0], *others[chosen[0]], why)
        if chosen:
            raise FrameError(f"several arrays can be the frames: name one with dataset=: {listing}", path=path)
        raise FrameError(f"no array can be frames (N, H, W); the file holds {listing}", path=path)

    def read_run(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Copy from the decoded array, converting the byte order."""
        if self._array is None:
            self._array = load_npz_array(self.path, self.dataset)
        out[...] = self._array if self.single else self._array[start:stop]

    def close(self) -> None:
        """Free the decoded array."""
        self._array = None

    def read_mask(self) -> PixelMask | None:
        """The array called ``bad_pixels``, ``good`` or ``mask``."""
        arrays = npz_arrays(self.path)
        for name in MASK_NAMES:
            if name in arrays:
                mask = load_npz_array(self.path, name)
                place = f"{self.path}, array '{name}'"
                found = good_pixels(mask, self.shape[1:], name=name, place=place)
                return found._replace(why=f"mask from array '{name}' ({found.why})")
        return None

    def read_labels(self) -> NDArray[np.uint8] | None:
        """The array called ``labels``."""
        if "labels" not in npz_arrays(self.path):
            return None
        labels = load_npz_array(self.path, "labels")
        return check_labels(labels, self.shape[0], place=f"{self.path}, array 'labels'")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_array": None}


def npz_arrays(path: str | os.PathLike[str]) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Name, shape and type of every array in an ``.npz``, from the headers alone.

    Raises
    ------
    FrameError
        Not a zip file of arrays, or damaged.
    """
    arrays = {}
    name = None
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                if not member.endswith(".npy"):
                    continue
                name = member.removesuffix(".npy")
                with archive.open(member) as file:
                    version = np.lib.format.read_magic(file)
                    # Version 3 exists for structured types with Unicode names alone: never frames.
                    if version == (1, 0):
                        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
                    elif version == (2, 0):
                        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
                    else:
                        continue
                arrays[name] = (shape, dtype)
    except FileNotFoundError as error:
        raise MissingFileError("no such file", path=path) from error
    except _FAULTS as error:
        raise FrameError(f"not readable as .npz: truncated or damaged ({error})", path=path, dataset=name) from error
    return arrays


def load_npz_array(path: str | os.PathLike[str], name: str) -> NDArray[Any]:
    """One array of an ``.npz``, decoded; its checksum is verified by the zip format.

    Raises
    ------
    FrameError
        Damaged, or an array of Python objects.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return archive[name]
    except FileNotFoundError as error:
        raise MissingFileError("no such file", path=path) from error
    except _FAULTS as error:
        raise FrameError(
            f"cannot be decoded: truncated, damaged or of Python objects ({error})", path=path, dataset=name
        ) from error
