"""Checks of labels and scores, worded alike for every measure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def binary_labels(values: ArrayLike, name: str, classes: Sequence[str]) -> NDArray[np.bool_]:
    """Labels (N, C) as booleans; a ValueError for another shape or another value than 0 and 1."""
    array = np.asarray(values)
    if array.ndim != 2 or array.shape[1] != len(classes):
        raise ValueError(f"{name}: found shape {array.shape}, expected (N, {len(classes)})")
    refuse_first(name, array, (array != 0) & (array != 1), "only 0 and 1")
    return array != 0


def numbers(values: ArrayLike, name: str, shape: tuple[int, ...], *, probabilities: bool) -> NDArray[np.floating]:
    """Scores of the labels' shape, float64 if they are, else float32.

    Raises
    ------
    ValueError
        Another shape, or a value that is not finite, with `probabilities` also one outside [0, 1].
    """
    array = np.asarray(values)
    if array.shape != shape:
        raise ValueError(f"{name}: found shape {array.shape}, the labels have {shape}")
    if probabilities:
        refuse_first(name, array, ~((array >= 0) & (array <= 1)), "a number from 0 to 1")
    else:
        refuse_first(name, array, ~np.isfinite(array), "a finite number")
    result: NDArray[np.floating] = array.astype(np.float64 if array.dtype == np.float64 else np.float32)
    return result


def refuse_first(name: str, array: NDArray[np.generic], wrong: NDArray[np.bool_], expected: str) -> None:
    """A ValueError that names the first wrong value of an array (N, C), if there is one."""
    if wrong.any():
        row, column = (int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(f"{name}: found {array[row, column]} at [{row}, {column}], expected {expected}")


def json_number(value: float) -> float | None:
    """The number, None for NaN (not measurable), which JSON lacks."""
    return None if np.isnan(value) else float(value)
