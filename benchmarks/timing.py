"""How many rounds, in which order, and what is kept of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

# torch's OpenMP workers spin for 2 to 3 ms after a call, on cores that another package's threads then lack.
SETTLE_SECONDS = 0.004
# A call shorter than this runs untimed before it is timed in turn with others, for WARM_SECONDS: its threads are awake
# and its plan and code are in the caches, as in a loop over batches. A processor that others share loses both within
# milliseconds of anything else, sleep included, and calls of 1 ms are as fast as in a loop again after several only.
SHORT_SECONDS = 0.03
WARM_SECONDS = 0.01


def rounds_for(seconds: float, budget: float, least: int = 5, most: int = 60) -> int:
    """Rounds of a call that takes ``seconds``, for about ``budget`` seconds of all."""
    return max(least, min(most, int(budget / max(seconds, 1e-9))))


def seconds_of(run: Callable[[], Any]) -> float:
    """Wall time of one call, its result freed within it, as pytest-benchmark does."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


class Turns:
    """Calls that take turns: one round of each, again and again, so that drift of the machine meets all of them.

    Parameters
    ----------
    runs : mapping of name to callable
        The first is ours: pytest-benchmark times it. The others are timed here, in :meth:`others`, which
        pytest-benchmark calls before each round of the first.
    """

    def __init__(self, runs: Mapping[str, Callable[[], Any]]) -> None:
        self.runs = dict(runs)
        self.estimates = {}
        for name, run in self.runs.items():
            run()  # compiles, plans, touches pages
            self.estimates[name] = seconds_of(run)
        self.seconds: dict[str, list[float]] = {name: [] for name in list(self.runs)[1:]}

    def round_seconds(self) -> float:
        """Estimated time of one round of all, the untimed calls included."""
        return sum(
            SETTLE_SECONDS + seconds + (max(WARM_SECONDS, seconds) if seconds < SHORT_SECONDS else 0)
            for seconds in self.estimates.values()
        )

    def _get_ready(self, name: str) -> None:
        time.sleep(SETTLE_SECONDS)
        if self.estimates[name] >= SHORT_SECONDS:
            return
        end = time.perf_counter() + WARM_SECONDS
        self.runs[name]()
        while time.perf_counter() < end:
            self.runs[name]()

    def others(self) -> None:
        """Time one round of all but the first, and get the first ready."""
        first, *others = self.runs
        for name in others:
            self._get_ready(name)
            self.seconds[name].append(seconds_of(self.runs[name]))
        self._get_ready(first)


def summary(seconds: Sequence[float]) -> dict[str, float]:
    """Median and quartiles."""
    if len(seconds) < 2:
        return dict.fromkeys(("median", "first_quartile", "third_quartile"), seconds[0])
    first, median, third = statistics.quantiles(seconds, n=4, method="inclusive")
    return {"median": median, "first_quartile": first, "third_quartile": third}
