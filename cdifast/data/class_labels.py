"""Checks of label arrays: one row a shot, one column a class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdifast.labels import CLASSES

from .errors import FrameError, describe


def check_labels(labels: NDArray[Any], count: int, *, place: str = "labels") -> NDArray[np.uint8]:
    """``(N, 11)`` uint8 of 0 and 1, in the column order of `cdifast.labels.CLASSES`.

    Parameters
    ----------
    labels : ndarray, (N, 11)
        Booleans, integers or floats; every value 0 or 1.
    count : int
        Number of frames.
    place : str
        What error messages call it.

    Raises
    ------
    FrameError
        Another length or width, or values other than 0 and 1 (the first is named).
    """
    check_labels_shape(labels.shape, labels.dtype, count, place=place)
    wrong = np.argwhere((labels != 0) & (labels != 1))
    if len(wrong):
        row, column = (int(i) for i in wrong[0])
        raise FrameError(
            f"{place}: found {labels[row, column]} at frame {row}, class '{CLASSES[column]}'; expected 0 or 1"
        )
    return labels.astype(np.uint8)


def check_labels_shape(found: tuple[int, ...], dtype: Any, count: int, *, place: str) -> None:
    """Refuse labels that are not ``(count, 11)`` numbers.

    Raises
    ------
    FrameError
        Another length, another width or another type.
    """
    text = describe(found, dtype)
    if len(found) != 2 or found[1] != len(CLASSES):
        raise FrameError(f"{place}: found labels {text}; expected (N, {len(CLASSES)}), a column for each class")
    if found[0] != count:
        raise FrameError(f"{place}: found labels for {found[0]} frames; there are {count} frames")
    if np.dtype(dtype).kind not in "buif":
        raise FrameError(f"{place}: found labels {text}; expected 0 and 1")


def check_class_names(names: Sequence[str], *, place: str) -> None:
    """Refuse label columns that are named, but not with our classes in our order.

    Raises
    ------
    FrameError
        The first column that differs is named.
    """
    if tuple(names) != CLASSES:
        pairs = zip(names, CLASSES, strict=False)
        column = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(names), len(CLASSES)))
        got = repr(names[column]) if column < len(names) else "nothing"
        want = repr(CLASSES[column]) if column < len(CLASSES) else "nothing"
        raise FrameError(
            f"{place}: found the label columns of other classes: column {column} is {got}; expected {want} "
            "(the order of cdifast.labels.CLASSES)"
        )
