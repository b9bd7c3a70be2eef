"""Results that no machine measured, small enough to check by hand."""

from __future__ import annotations

from benchmarks.results import Entry, RatioRow, Results, Timing
from benchmarks.rows import MEASURED

MACHINE = {
    "cpu": "Acme(R) Xeon(R) CPU @ 2.00GHz",
    "cores": 2,
    "instruction_set": "avx512",
    "memory_gb": 16.0,
    "system": "Linux x86_64",
}


def timing(seconds: float, items: int = 1, error: float | None = 1e-7) -> Timing:
    return Timing(seconds, 0.9 * seconds, 1.1 * seconds, rounds=5, items=items, error=error)


def row(id: str, ratio: float) -> RatioRow:
    """Ours takes 10 ms an item; one peer ``ratio`` times as long, another twice that again."""
    peers = {"fast": timing(0.01 * ratio), "slow": timing(0.02 * ratio)}
    return RatioRow(id, 2, timing(0.01), peers, {}, (0.9 * ratio, 1.1 * ratio))


def results(ratio: float = 20.0, entries: list[Entry] | None = None) -> Results:
    """Every row with the same ratio."""
    return Results(
        machine=MACHINE,
        versions={"torch": "2.13.0", "pyFAI": None},
        date="2026-01-02",
        commit="abc1234",
        rows=[row(known.id, ratio) for known in MEASURED],
        entries=entries or [],
    )


def entry(family: str, work: str, name: str, size: int, seconds: float, *, items: int = 1, threads: int = 2) -> Entry:
    return Entry(family, work, name, size, "float32", threads, "warm", timing(seconds, items))


def limits(threads: int = 2) -> list[Entry]:
    """A copy and a sum move 10 GB/s, a fill 5 GB/s, whatever the size; 100 G operations a second."""
    found = []
    for size in (1 << 20, 1 << 27):
        found.append(entry("limits", "bytes", "copy", size, size / 10e9, items=size, threads=threads))
        found.append(entry("limits", "bytes", "read", size, size / 10e9, items=size, threads=threads))
        found.append(entry("limits", "bytes", "fill", size, size / 5e9, items=size, threads=threads))
    found.append(entry("limits", "operations", "torch.mm", 2048, 1e-11 * 2**34, items=2**34, threads=threads))
    return found
