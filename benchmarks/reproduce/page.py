"""Pieces of a page of results in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np


def header(names: Sequence[str]) -> list[str]:
    """A table's first two lines."""
    return [row(names), "|" + "---|" * len(names)]


def row(cells: Sequence[str]) -> str:
    """A table's line."""
    return "| " + " | ".join(cells) + " |"


def spread(values: Iterable[float | None]) -> str:
    """Mean ± standard deviation (n - 1) of what was measured; the value alone where it was once."""
    numbers = [value for value in values if value is not None]
    if not numbers:
        return ""
    deviation = f" ± {np.std(numbers, ddof=1):.3f}" if len(numbers) > 1 else ""
    return f"{np.mean(numbers):.3f}{deviation}"
