"""What identifies a frame in its experiment: one-dimensional data sets beside the frames."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .errors import FrameError, describe
from .hdf5 import import_h5py
from .hdf5_text import dataset_texts

IDENTIFIERS: Final = ("experiment_identifier", "experimental_identifier")
"""The CXI format's name, and the one that half of the writers give it."""


def read_keys(
    file: Any, path: Path, places: Mapping[str, str], count: int, *, padded: bool = False
) -> dict[str, NDArray[Any]]:
    """One value a frame from each of the data sets that are there.

    Parameters
    ----------
    file : h5py.File
    path : Path
        What messages call it.
    places : mapping of str to str
        Key and data set.
    count : int
        Number of frames.
    padded : bool
        Longer data sets are fine: what comes after ``count`` is room that was never used.

    Returns
    -------
    dict
        Integers, floats or byte strings, (count,).

    Raises
    ------
    FrameError
        A length that is not the frames', or another kind of value.
    """
    h5py = import_h5py()
    keys: dict[str, NDArray[Any]] = {}
    for key, name in places.items():
        item = file.get(name)
        if not isinstance(item, h5py.Dataset) or item.shape is None:
            continue
        rows = item.shape[0] if item.shape else 1
        fits = rows == count or (padded and rows > count)
        if not fits or item.size != rows:
            if item.dtype.kind not in "uif":
                continue  # a name for the file as a whole
            raise FrameError(
                f"found {describe(item.shape, item.dtype)}; expected a value for each of the {count} frames",
                path=path,
                dataset=name,
            )
        if item.dtype.kind in "uif":
            keys[key] = np.asarray(item[()]).reshape(-1)[:count].astype(item.dtype.newbyteorder("="))
        elif item.dtype.kind == "S" or h5py.check_string_dtype(item.dtype) is not None:
            texts = dataset_texts(item, count)
            keys[key] = np.array(texts, dtype=f"S{max(1, *map(len, texts))}")
    return keys


def identifier_key(file: Any, path: Path, entry: str, count: int, *, padded: bool = False) -> dict[str, NDArray[Any]]:
    """The CXI entry's ``experiment_identifier`` as the key ``identifier``, by either spelling, where it is there."""
    for name in IDENTIFIERS:
        found = read_keys(file, path, {"identifier": f"{entry}/{name}"}, count, padded=padded)
        if found:
            return found
    return {}
