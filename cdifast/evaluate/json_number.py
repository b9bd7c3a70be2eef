"""Numbers as JSON knows them."""

from __future__ import annotations

import math


def json_number(value: float) -> float | None:
    """The number; None for NaN, which means "not measurable" and which JSON cannot hold."""
    return None if math.isnan(value) else float(value)
