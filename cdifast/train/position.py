"""How far a training run has come."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Self

from .history import EpochRecord


@dataclass
class RunPosition:
    """How far a run has come.

    Attributes
    ----------
    epoch
        Epochs completed.
    step
        Steps completed in the epoch that follows.
    loss_sum, cross_entropy_sum
        Sums over those steps.
    seconds
        Wall time spent on those steps.
    best_epoch, best_accuracy
        The first epoch (from 1) with the highest validation accuracy; 0 and None before any.
    history
        Records of the epochs completed.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    cross_entropy_sum: float = 0.0
    seconds: float = 0.0
    best_epoch: int = 0
    best_accuracy: float | None = None
    history: list[EpochRecord] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-serialisable dictionary."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Inverse of `to_dict`."""
        return cls(**{**content, "history": [EpochRecord(**record) for record in content["history"]]})
