"""What one run found: read from pytest-benchmark's JSON, kept as the JSON that is committed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .rows import BY_ID, PUBLISHED_SECONDS_A_MAP, ROWS, Row


@dataclass(frozen=True)
class Timing:
    """Seconds of one call on ``items`` items, and its relative error against float64 (None: computes nothing)."""

    median: float
    first_quartile: float
    third_quartile: float
    rounds: int
    items: int
    error: float | None

    @property
    def item_seconds(self) -> float:
        """Median time of one item."""
        return self.median / self.items


@dataclass(frozen=True)
class Entry:
    """One line of the full tables. ``size`` is the image's side; for the machine's limits, bytes or matrix side."""

    family: str
    work: str
    name: str
    size: int
    dtype: str
    threads: int
    heap: str
    timing: Timing


@dataclass(frozen=True)
class RatioRow:
    """A ratio's measurement: ours and its peers, from rounds taken in turn, with those that could not run.

    ``spread`` holds the quartiles of the ratio to the fastest peer, round by round.
    """

    id: str
    threads: int
    ours: Timing | None
    peers: dict[str, Timing]
    missing: dict[str, str]
    spread: tuple[float, float] | None

    @property
    def fastest(self) -> str | None:
        """Name of the fastest peer an item."""
        if not self.peers:
            return None
        return min(self.peers, key=lambda name: self.peers[name].item_seconds)

    @property
    def ratio(self) -> float | None:
        """Time of the fastest peer / our time, an item; None if either is missing."""
        if self.ours is None or self.fastest is None:
            return None
        return self.peers[self.fastest].item_seconds / self.ours.item_seconds


@dataclass(frozen=True)
class Results:
    """Everything that tables, plot and roofline page are made from."""

    machine: dict[str, Any]
    versions: dict[str, str | None]
    date: str
    commit: str
    rows: list[RatioRow] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    missing: list[dict[str, str]] = field(default_factory=list)

    def row(self, id: str) -> RatioRow | None:
        """The measurement of a row, or None."""
        return next((row for row in self.rows if row.id == id), None)

    def ratio(self, row: Row) -> float | None:
        """The row's ratio: measured, or against the published figure."""
        measured = self.row(row.published_of or row.id)
        if measured is None:
            return None
        if row.published_of is None:
            return measured.ratio
        return None if measured.ours is None else PUBLISHED_SECONDS_A_MAP / measured.ours.item_seconds

    def unmeasured(self) -> list[str]:
        """Ids of rows without a measurement of ours."""
        return [row.id for row in ROWS if (found := self.row(row.published_of or row.id)) is None or found.ours is None]

    def entry(self, family: str, work: str, name: str, size: int, dtype: str, threads: int) -> Entry | None:
        """The entry of these names on a warm heap, or None."""
        wanted = (family, work, name, size, dtype, threads, "warm")
        for entry in self.entries:
            if (
                entry.family,
                entry.work,
                entry.name,
                entry.size,
                entry.dtype,
                entry.threads,
                entry.heap,
            ) == wanted:
                return entry
        return None


def from_benchmark(data: Mapping[str, Any]) -> tuple[list[RatioRow], list[Entry], list[dict[str, str]]]:
    """Rows, entries and missing peers of one JSON of pytest-benchmark (``conftest.py`` wrote its extra_info)."""
    rows: list[RatioRow] = []
    entries: list[Entry] = []
    for benchmark in data["benchmarks"]:
        info = benchmark["extra_info"]
        stats = benchmark["stats"]
        ours = Timing(
            median=stats["median"],
            first_quartile=stats["q1"],
            third_quartile=stats["q3"],
            rounds=stats["rounds"],
            items=info["items"],
            error=info["error"],
        )
        if "row" in info:
            rows.append(
                RatioRow(
                    id=info["row"],
                    threads=info["threads"],
                    ours=ours,
                    peers={name: Timing(**peer) for name, peer in info["peers"].items()},
                    missing=info["missing"],
                    spread=tuple(info["spread"]) if info["spread"] else None,
                )
            )
        else:
            names = ("family", "work", "name", "size", "dtype", "threads", "heap")
            entries.append(Entry(**{name: info[name] for name in names}, timing=ours))
    return rows, entries, list(data.get("missing", ()))


def collect(
    files: Iterable[Path], *, machine: dict[str, Any], versions: dict[str, str | None], date: str, commit: str
) -> Results:
    """One :class:`Results` from the JSON files of one run, rows in the order of ``ROWS``."""
    results = Results(machine, versions, date, commit)
    for file in files:
        rows, entries, missing = from_benchmark(json.loads(file.read_text(encoding="utf-8")))
        results.rows.extend(rows)
        results.entries.extend(entries)
        results.missing.extend(missing)
    order = list(BY_ID)
    results.rows.sort(key=lambda row: order.index(row.id))
    return results


def save(results: Results, path: Path) -> None:
    """Write as JSON, an entry a line, times with four digits: more is noise."""
    parts = []
    for name, value in _rounded(dataclasses.asdict(results)).items():
        if isinstance(value, list):
            lines = ",\n".join(json.dumps(item) for item in value)
            parts.append(f"{json.dumps(name)}: [\n{lines}\n]")
        else:
            parts.append(f"{json.dumps(name)}: {json.dumps(value)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def load(path: Path) -> Results:
    """Read what :func:`save` wrote."""
    data = json.loads(path.read_text(encoding="utf-8"))
    rows = [
        RatioRow(
            id=row["id"],
            threads=row["threads"],
            ours=Timing(**row["ours"]) if row["ours"] else None,
            peers={name: Timing(**peer) for name, peer in row["peers"].items()},
            missing=row["missing"],
            spread=tuple(row["spread"]) if row["spread"] else None,
        )
        for row in data.pop("rows")
    ]
    entries = [Entry(**{**entry, "timing": Timing(**entry["timing"])}) for entry in data.pop("entries")]
    return Results(**data, rows=rows, entries=entries)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
