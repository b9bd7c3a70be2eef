"""What P2 evaluates on: which images of the helium data set, and which seven classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdifast.labels import CLASSES

P2_CLASSES: Final[tuple[str, ...]] = (
    "Elliptical",
    "Streak",
    "Bent",
    "Asymmetric",
    "Newton rings",
    "Double rings",
    "Layered",
)
"""The seven classes of P2 (Table 2, figure 2 iii), in its order: not the super-classes, Round and Empty."""

LEFT_OUT: Final[tuple[str, ...]] = ("Round", "Empty")
"""Images of these classes are left out by P2 (section "The dataset"): too many and easily sorted, or without rings."""


def p2_selection(labels: ArrayLike, classes: Sequence[str] = CLASSES) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """P2's images and labels: Round == 0 and Empty == 0, the seven classes.

    Of the 7264 labelled images of CXIDB 94, 1261 remain (P2 prints 1264 and 1260). Nine of them carry none of the
    seven classes: they stay, as images that no class claims.

    Parameters
    ----------
    labels : array_like, shape (N, C)
        0 or 1.
    classes : sequence of str
        Names of the C columns; must hold `P2_CLASSES`, "Round" and "Empty".

    Returns
    -------
    indices : ndarray of int64, shape (M,)
        The selected rows, ascending.
    selected : ndarray of uint8, shape (M, 7)
        Their labels, columns as `P2_CLASSES`.

    Raises
    ------
    ValueError
        Another shape, or a class that is missing.
    """
    array = np.asarray(labels) != 0
    if array.ndim != 2 or array.shape[1] != len(classes):
        raise ValueError(f"labels: found shape {array.shape}, expected (N, {len(classes)})")
    missing = [name for name in (*P2_CLASSES, *LEFT_OUT) if name not in classes]
    if missing:
        raise ValueError(f"classes: {', '.join(missing)} missing, found {', '.join(classes)}")
    column = {name: index for index, name in enumerate(classes)}
    indices = np.flatnonzero(~array[:, [column[name] for name in LEFT_OUT]].any(axis=1))
    return indices, array[indices][:, [column[name] for name in P2_CLASSES]].astype(np.uint8)


def check_evaluation_labels(
    labels: ArrayLike, count: int, classes: Sequence[str] | None
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Labels (count, C) as float64 of 0 and 1, and the names of the columns.

    Without names, seven columns are `P2_CLASSES`, eleven `cdifast.labels.CLASSES`; others are numbered.
    """
    array = np.asarray(labels)
    if array.ndim != 2 or len(array) != count or array.shape[1] == 0:
        raise ValueError(f"labels: found shape {array.shape}, expected ({count}, C), a row for each image")
    wrong = (array != 0) & (array != 1)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(f"labels: found {array[row, column]} at [{row}, {column}], expected only 0 and 1")
    if classes is None:
        known = {len(P2_CLASSES): P2_CLASSES, len(CLASSES): CLASSES}
        classes = known.get(array.shape[1], tuple(f"class {index}" for index in range(array.shape[1])))
    if len(classes) != array.shape[1]:
        raise ValueError(f"classes: found {len(classes)} names for {array.shape[1]} columns of labels")
    return array.astype(np.float64), tuple(classes)
