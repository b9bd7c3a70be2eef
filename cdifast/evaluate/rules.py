"""The rules between the classes of the helium-droplet data set, checked on labels or predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdifast.labels import CLASSES, EXCLUSIVE, SUPER_CLASSES


@dataclass(frozen=True)
class RuleViolations:
    """Which images break which rule.

    Attributes
    ----------
    by_rule
        Indices of the images that break each rule, int64 ascending, under a sentence that states it.
    images
        Number of images looked at.
    """

    by_rule: dict[str, NDArray[np.int64]]
    images: int

    @property
    def indices(self) -> NDArray[np.int64]:
        """Indices of all images that break at least one rule, ascending."""
        return np.unique(np.concatenate([np.empty(0, np.int64), *self.by_rule.values()]))

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of rules that each image breaks, (images,)."""
        broken = np.concatenate([np.empty(0, np.int64), *self.by_rule.values()])
        return np.bincount(broken, minlength=self.images)

    @property
    def matrix(self) -> NDArray[np.uint8]:
        """Which rules each image breaks, (images, rules) uint8 of 0 and 1, rules in the order of `by_rule`."""
        broken = np.zeros((self.images, len(self.by_rule)), np.uint8)
        for column, indices in enumerate(self.by_rule.values()):
            broken[indices, column] = 1
        return broken

    @property
    def per_image(self) -> float:
        """Broken rules per image (an image may break several); 0 without images."""
        return sum(map(len, self.by_rule.values())) / self.images if self.images else 0.0

    def __str__(self) -> str:
        lines = [f"{len(self.indices)} of {self.images} images break a rule"]
        for rule, indices in self.by_rule.items():
            if len(indices):
                shown = ", ".join(map(str, indices[:20])) + (", ..." if len(indices) > 20 else "")
                lines.append(f"{rule}: {len(indices)} (images {shown})")
        return "; ".join(lines)


def rule_violations(labels: ArrayLike, classes: Sequence[str] = CLASSES) -> RuleViolations:
    """Check P1's rules (section 2) image by image.

    Spherical/Oblate excludes Prolate, Round excludes Elliptical, and every image is Spherical/Oblate,
    Prolate or Empty. A rule is left out if `classes` lacks a class that it speaks of, so that other data
    sets' class lists pass through.

    Parameters
    ----------
    labels
        (N, len(classes)), 0 or 1 (or bool): true labels or thresholded predictions.
    classes
        Names of the columns.

    Returns
    -------
    RuleViolations

    Raises
    ------
    ValueError
        Another shape.
    """
    array = np.asarray(labels) != 0
    if array.ndim != 2 or array.shape[1] != len(classes):
        raise ValueError(f"labels: found shape {array.shape}, expected (N, {len(classes)})")
    column = {name: array[:, index] for index, name in enumerate(classes)}
    broken: dict[str, NDArray[np.bool_]] = {}
    for first, second in EXCLUSIVE:
        if first in column and second in column:
            broken[f"{first} excludes {second}"] = column[first] & column[second]
    if all(name in column for name in SUPER_CLASSES):
        any_super_class = np.logical_or.reduce([column[name] for name in SUPER_CLASSES])
        broken[f"one of {', '.join(SUPER_CLASSES)} is needed"] = ~any_super_class
    return RuleViolations({rule: np.flatnonzero(rows) for rule, rows in broken.items()}, len(array))
