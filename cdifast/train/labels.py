"""Training labels: shape and values are checked, broken rules are reported."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike

from cdifast.evaluate.rules import RuleViolations, rule_violations


class LabelRuleWarning(UserWarning):
    """Labels that break the exclusion rules; `violations` says which images break which rule."""

    def __init__(self, violations: RuleViolations) -> None:
        super().__init__(f"labels: {violations}")
        self.violations = violations


def check_labels(
    labels: ArrayLike | torch.Tensor, count: int, classes: Sequence[str]
) -> tuple[torch.Tensor, RuleViolations]:
    """Check labels before training on them.

    Labels that break the rules are not an error, for the real labels hold eleven true exceptions; they
    are reported by a `LabelRuleWarning` and returned.

    Parameters
    ----------
    labels
        (count, len(classes)), only 0 and 1, any numeric dtype or bool.
    count
        Number of images.
    classes
        Class names.

    Returns
    -------
    labels : torch.Tensor
        (count, len(classes)) uint8, a copy.
    violations : RuleViolations
        Broken rules.

    Raises
    ------
    ValueError
        Another shape or length, or another value (the first is named).
    """
    array = np.asarray(labels)
    if array.ndim != 2 or array.shape[1] != len(classes):
        raise ValueError(f"labels: found shape {array.shape}, expected ({count}, {len(classes)})")
    if len(array) != count:
        raise ValueError(f"labels: found {len(array)} rows for {count} images")
    wrong = (array != 0) & (array != 1)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"labels: found {array[row, column]} for image {row}, class {classes[column]!r}; expected 0 or 1"
        )
    violations = rule_violations(array, classes)
    if len(violations.indices):
        warnings.warn(LabelRuleWarning(violations), stacklevel=3)
    return torch.from_numpy(array.astype(np.uint8)), violations
