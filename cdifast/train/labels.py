"""Training labels: shape and values are checked, broken rules are reported."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from cdifast.evaluate.rules import RuleViolations, rule_violations

from .order import Split

BadLabels = Literal["keep", "drop", "refuse"]


class LabelRuleWarning(UserWarning):
    """Labels that break the exclusion rules; `violations` says which images, counted from 0, break which rule."""

    def __init__(self, violations: RuleViolations, text: str = "") -> None:
        super().__init__(f"labels: {violations}{text}")
        self.violations = violations


def check_labels(
    labels: ArrayLike | torch.Tensor,
    count: int,
    classes: Sequence[str],
    *,
    bad_labels: BadLabels = "keep",
    numbers: ArrayLike | None = None,
) -> tuple[torch.Tensor, RuleViolations]:
    """Check labels before training on them.

    Labels that break the rules are by default not an error, for real labels hold true exceptions; they are reported
    by a `LabelRuleWarning` and returned.

    Parameters
    ----------
    labels
        (count, len(classes)), only 0 and 1, any numeric dtype or bool.
    count
        Number of images.
    classes
        Class names.
    bad_labels
        ``"refuse"`` makes labels that break the rules an error; the others only change what the warning says.
    numbers
        (count,) what the images are called in reports; None: 0 to count - 1.

    Returns
    -------
    labels : torch.Tensor
        (count, len(classes)) uint8, a copy.
    violations : RuleViolations
        Broken rules.

    Raises
    ------
    ValueError
        Another shape or length, or another value (the first is named); broken rules, with ``"refuse"``.
    """
    if bad_labels not in get_args(BadLabels):
        raise ValueError(f"bad_labels: found {bad_labels!r}, expected {', '.join(map(repr, get_args(BadLabels)))}")
    names = np.arange(count) if numbers is None else np.asarray(numbers)
    if names.shape != (count,):
        raise ValueError(f"numbers: found shape {names.shape}, expected ({count},)")
    array = np.asarray(labels)
    if array.ndim != 2 or array.shape[1] != len(classes):
        raise ValueError(f"labels: found shape {array.shape}, expected ({count}, {len(classes)})")
    if len(array) != count:
        raise ValueError(f"labels: found {len(array)} rows for {count} images")
    wrong = (array != 0) & (array != 1)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"labels: found {array[row, column]} for image {names[row]}, class {classes[column]!r}; expected 0 or 1"
        )
    violations = rule_violations(array, classes)
    if len(violations.indices):
        named = RuleViolations({rule: names[rows] for rule, rows in violations.by_rule.items()}, violations.images)
        if bad_labels == "refuse":
            raise ValueError(f"labels: {named}; correct them, or keep or drop these images")
        warning = LabelRuleWarning(named, "; dropped" if bad_labels == "drop" else "; trained on as they are")
        warning.violations = violations
        warnings.warn(warning, stacklevel=3)
    return torch.from_numpy(array.astype(np.uint8)), violations


def without_images(split: Split, images: NDArray[np.int64]) -> Split:
    """The split without some images, in either part."""
    return Split(*(part[~np.isin(part, images)] for part in split))
