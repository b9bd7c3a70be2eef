"""How far a contrastive training has come."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Self

from .history import ContrastRecord


@dataclass
class ContrastPosition:
    """How far a run has come: epochs completed, steps of the next, their losses' sum and seconds, records."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    history: list[ContrastRecord] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-serialisable dictionary."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Inverse of `to_dict`."""
        return cls(**{**content, "history": [ContrastRecord(**record) for record in content["history"]]})
