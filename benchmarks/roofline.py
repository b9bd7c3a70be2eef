"""What each kernel must move and compute, and how long that takes at the machine's measured limits.

A kernel needs at least the longer of two times: its bytes at the machine's bandwidths, its operations at the peak of
the multiply-add units. Bytes are those that must cross once: inputs read, outputs written, whatever a cache keeps in
between. Operations are additions and multiplications in float32; a multiply-add is two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .results import Results


@dataclass(frozen=True)
class Need:
    """Bytes read, bytes written and operations of one item."""

    read: float
    written: float
    operations: float

    def __add__(self, other: Need) -> Need:
        return Need(self.read + other.read, self.written + other.written, self.operations + other.operations)


@dataclass(frozen=True)
class Kernel:
    """A kernel of the page: what it needs an item, in words and in numbers, and which entry measures it.

    Attributes
    ----------
    title
        For the page.
    family, work, name, size, dtype
        The entry of the results.
    items
        Items of one call of it.
    formula
        Bytes and operations of one item as the page prints them.
    need
        The same as numbers.
    """

    title: str
    family: str
    work: str
    name: str
    size: int
    dtype: str
    items: int
    formula: str
    need: Need

    @property
    def working_set(self) -> float:
        """Bytes that one call touches."""
        return self.items * (self.need.read + self.need.written)


@dataclass(frozen=True)
class Limits:
    """Measured limits of one number of threads.

    Attributes
    ----------
    rates
        Bytes a second of ``copy``, ``read`` and ``fill``, by working set in bytes; the fastest way of each.
    operations
        Additions and multiplications a second.
    """

    rates: dict[str, dict[int, float]]
    operations: float

    def bandwidth(self, kind: str, working_set: float) -> float:
        """The best rate of this kind with the measured working set nearest to this one or a larger one.

        What a larger one reaches a smaller one can; copies of large blocks go past the caches and may be faster.
        """
        rates = self.rates[kind]
        nearest = min(rates, key=lambda size: abs(math.log(size / working_set)))
        return max(rate for size, rate in rates.items() if size >= nearest)

    def memory_seconds(self, need: Need, working_set: float) -> float:
        """Time to move an item's bytes: read and written apart, or together as far as copies go, whichever is less."""
        read, fill, copy = (self.bandwidth(kind, working_set) for kind in ("read", "fill", "copy"))
        both = min(need.read, need.written)
        apart = need.read / read + need.written / fill
        together = 2 * both / copy + (need.read - both) / read + (need.written - both) / fill
        return min(apart, together)

    def compute_seconds(self, need: Need) -> float:
        """Time to compute an item at the peak of the multiply-add units."""
        return need.operations / self.operations


@dataclass(frozen=True)
class Standing:
    """A kernel beside its limit: seconds an item."""

    kernel: Kernel
    threads: int
    memory: float
    compute: float
    measured: float

    @property
    def bound(self) -> str:
        """The limit that binds."""
        return "memory" if self.memory >= self.compute else "operations"

    @property
    def share(self) -> float:
        """Time at the limit / measured time: 1 is the limit."""
        return max(self.memory, self.compute) / self.measured


def limits(results: Results, threads: int) -> Limits | None:
    """The machine's limits as ``bench_limits.py`` measured them; None where it did not run."""
    rates: dict[str, dict[int, float]] = {}
    for entry in results.entries:
        if entry.family == "limits" and entry.threads == threads:
            kind = rates.setdefault(entry.name.split(",")[0], {})  # "copy, memcpy" is another way to copy
            kind[entry.size] = max(kind.get(entry.size, 0), 1 / entry.timing.item_seconds)
    operations = [*rates.pop("torch.mm", {}).values(), *rates.pop("registers", {}).values()]
    return Limits(rates, max(operations)) if rates and operations else None


def standings(results: Results, kernels: Sequence[Kernel]) -> list[Standing]:
    """Every kernel that was measured, for each number of threads."""
    found = []
    for threads in sorted({entry.threads for entry in results.entries}):
        machine = limits(results, threads)
        if machine is None:
            continue
        for kernel in kernels:
            entry = results.entry(kernel.family, kernel.work, kernel.name, kernel.size, kernel.dtype, threads)
            if entry is not None:
                memory = machine.memory_seconds(kernel.need, kernel.working_set)
                compute = machine.compute_seconds(kernel.need)
                found.append(Standing(kernel, threads, memory, compute, entry.timing.item_seconds))
    return found
