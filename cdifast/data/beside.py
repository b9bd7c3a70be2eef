"""Masks and labels given beside the frames: as arrays, or as files that hold them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .arrays import MASK_NAMES, load_npz_array, npz_arrays
from .class_labels import check_labels
from .errors import FrameError, describe_all
from .hdf5 import hdf5_faults, is_hdf5, list_datasets, named_dataset, open_hdf5
from .masks import PixelMask, good_pixels

MASK_PATHS = ("entry_1/data_1/mask", "entry_1/instrument_1/detector_1/mask", *MASK_NAMES)
LABEL_PATHS = ("entry_1/labels/data", "labels")


def given_mask(mask: ArrayLike | str | os.PathLike[str], shape: tuple[int, int]) -> PixelMask:
    """Good pixels from the ``mask`` argument of `open_frames`.

    Parameters
    ----------
    mask : array_like or path
        Booleans (True = good) or CXI bits (0 = good); or a file, ``file:array`` where it holds several.
        An array called ``bad_pixels`` or ``good`` in a file is read as its name says.
    shape : tuple of int
        ``(H, W)`` of the frames.

    Returns
    -------
    PixelMask

    Raises
    ------
    FrameError, FileNotFoundError
        As `good_pixels`, or the file cannot be read.
    """
    if isinstance(mask, str | os.PathLike):
        array, name, place = _load(mask, MASK_PATHS, "mask")
    else:
        array, name, place = np.asarray(mask), "mask", "the mask argument"
    found = good_pixels(array, shape, name=name, place=place)
    return found._replace(why=f"mask from {place} ({found.why})")


def given_labels(labels: ArrayLike | str | os.PathLike[str], count: int) -> tuple[NDArray[np.uint8], str]:
    """Labels from the ``labels`` argument of `open_frames`: an array (N, 11), or a file as for masks.

    Raises
    ------
    FrameError, FileNotFoundError
        As `cdifast.data.class_labels.check_labels`, or the file cannot be read.
    """
    if isinstance(labels, str | os.PathLike):
        array, _, place = _load(labels, LABEL_PATHS, "labels")
    else:
        array, place = np.asarray(labels), "the labels argument"
    return check_labels(array, count, place=place), f"labels from {place}"


def file_beside(source: ArrayLike | str | os.PathLike[str] | None) -> Path | None:
    """The file that a ``mask`` or ``labels`` argument names; None for an array."""
    return _split(source)[0] if isinstance(source, str | os.PathLike) else None


def _split(source: str | os.PathLike[str]) -> tuple[Path, str]:
    """The file, and the array's name or nothing, of ``file`` or ``file:array``."""
    text = os.fspath(source)
    if not os.path.exists(text) and ":" in text:
        head, _, wanted = text.rpartition(":")
        return Path(head), wanted
    return Path(text), ""


def _load(source: str | os.PathLike[str], names: tuple[str, ...], what: str) -> tuple[NDArray[Any], str, str]:
    """The array, its name and what to call it, from ``file`` or ``file:array``."""
    path, wanted = _split(source)
    if path.is_dir():
        raise FrameError(f"is a directory; expected a file with the {what}", path=path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file (given as {what})")
    if path.suffix == ".npy":
        try:
            return np.load(path, allow_pickle=False), what, str(path)
        except (ValueError, EOFError, OSError) as error:
            raise FrameError(f"not readable as .npy ({error})", path=path) from error
    if is_hdf5(path):
        with hdf5_faults(path, wanted or None), open_hdf5(path) as file:
            name = wanted or _choose(list_datasets(file), [n for n in names if n in file], path, what)
            return np.asarray(named_dataset(file, path, name)[()]), name, f"{path}, data set '{name}'"
    arrays = npz_arrays(path)
    if wanted and wanted not in arrays:
        listing = describe_all(arrays) or "no array"
        raise FrameError(f"is not in the file, which holds {listing}", path=path, dataset=wanted)
    name = wanted or _choose(arrays, [n for n in names if n in arrays], path, what)
    return load_npz_array(path, name), name, f"{path}, array '{name}'"


def _choose(arrays: dict[str, tuple[tuple[int, ...], Any]], named: list[str], path: Path, what: str) -> str:
    """The array of a usual name, or the only two-dimensional one."""
    if named:
        return named[0]
    flat = [name for name, (shape, _) in arrays.items() if len(shape) == 2]
    if len(flat) == 1:
        return flat[0]
    listing = describe_all(arrays) or "no array"
    raise FrameError(f"which array is the {what}? Write '{path}:name'; the file holds {listing}", path=path)
