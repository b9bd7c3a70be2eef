"""What one run on a GPU found, and the tables that are made from it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import tables

from .works import OURS

BEGIN, END = "<!-- gpu:begin -->", "<!-- gpu:end -->"
README_WORKS = (
    "log activation, forward + backward, float32",
    "log activation, forward, float16",
    "polar 224x224 to 112x224, float32",
    "polar 224x224 to 112x224, uint16",
    "polar 224x224 to 112x224, backward",
    "cartesian 112x224 to 224x224",
    "correlation map 112x224",
    "correlation map 112x224, weighted",
    "correlation map 112x224, backward",
    "angular harmonics 112x224, 8 orders",
    "angular correlation 112x224, all lags and pairs",
    "fused 512x512 uint16 to 112x112 maps",
    "fused 1024x1024 uint16 to 112x112 maps",
)
"""What the README shows."""


@dataclass(frozen=True)
class Timed:
    """One call: seconds of it (median and quartiles), items, relative error against float64; what it needs an item."""

    work: str
    name: str
    items: int
    median: float
    first_quartile: float
    third_quartile: float
    error: float | None
    bytes: float | None
    operations: float | None

    @property
    def item_seconds(self) -> float:
        """Median time of one item."""
        return self.median / self.items


@dataclass(frozen=True)
class GpuResults:
    """A card, and what was timed on it."""

    card: dict[str, Any]
    entries: list[Timed]

    @property
    def bandwidth(self) -> float:
        """Bytes a second of a copy, read and written."""
        copy = next(entry for entry in self.entries if entry.work.startswith("copy"))
        return 8 * copy.items / copy.median

    @property
    def peak(self) -> float:
        """Float32 operations a second of a matrix product."""
        product = next(entry for entry in self.entries if entry.name == "torch.mm")
        return 2 * product.items / product.median

    def of_work(self, work: str) -> list[Timed]:
        """Ours and its peers."""
        return [entry for entry in self.entries if entry.work == work]

    def share(self, entry: Timed) -> str:
        """Of the time that the limit which binds allows, in the time taken."""
        if entry.bytes is None or entry.operations is None:
            return "–"
        memory, operations = entry.bytes / self.bandwidth, entry.operations / self.peak
        bound = "memory" if memory >= operations else "operations"
        return f"{100 * max(memory, operations) / entry.item_seconds:.0f} % of {bound}"


def full_page(found: GpuResults) -> str:
    """Every entry, in Markdown."""
    head = ("work", "call", "time of an item", "against ours", "share of the limit", "error")
    lines = []
    for work in dict.fromkeys(entry.work for entry in found.entries):
        ours = next((entry for entry in found.of_work(work) if entry.name == OURS), None)
        for entry in found.of_work(work):
            against = (
                "" if ours is None or entry is ours else f"{tables.times(entry.item_seconds / ours.item_seconds)}x"
            )
            share = found.share(entry) if entry.name in (OURS, "copy", "torch.mm") else ""
            error = "–" if entry.error is None else f"{entry.error:.0e}"
            lines.append([work, entry.name, tables.duration(entry.item_seconds), against, share, error])
    parts = (
        f"# Benchmarks on one {found.card['card']}",
        f"Written by `make bench-gpu`. {card_line(found)}",
        f"A copy moves {found.bandwidth / 1e12:.2f} TB/s, read and written; a float32 product without TF32 does "
        f"{found.peak / 1e12:.1f} TFLOP/s. The share is the time that these two allow (the longer, named) over the "
        "time taken; bytes and operations are those of [the roofline page](../../../docs/roofline.md). An item is an "
        "element, an image or a map; the error is relative, in the norm, against float64.",
        tables.table(head, lines),
    )
    return "\n\n".join(parts) + "\n"


def readme_block(found: GpuResults, name: str) -> str:
    """Ours beside the fastest peer, with the markers."""
    head = ("work", "against", "ratio", "ours", "theirs", "share of the limit", "error")
    lines = []
    for work in README_WORKS:
        ours = next(entry for entry in found.of_work(work) if entry.name == OURS)
        peers = [entry for entry in found.of_work(work) if not entry.name.startswith(("ours", "copy"))]
        fastest = min(peers, key=lambda entry: entry.item_seconds)
        error = "–" if ours.error is None else f"{ours.error:.0e}"
        lines.append(
            [
                work,
                fastest.name,
                f"{tables.times(fastest.item_seconds / ours.item_seconds)}x",
                tables.duration(ours.item_seconds),
                tables.duration(fastest.item_seconds),
                found.share(ours),
                error,
            ]
        )
    note = f"[every entry](benchmarks/results/gpu/{name}.md)."
    return f"{BEGIN}\n{tables.table(head, lines)}\n\n{card_line(found)} {note}\n{END}"


def card_line(found: GpuResults) -> str:
    """The card, the versions, the commit: one sentence."""
    card = found.card
    return (
        f"{card['card']}, {card['memory_gb']} GB, {card['multiprocessors']} multiprocessors, compute capability "
        f"{card['capability']}; torch {card['torch']}, CUDA {card['cuda']}, cdifast {card['cdifast']}; {card['date']}, "
        f"commit {card['commit']}."
    )


def save(found: GpuResults, path: Path) -> None:
    """Write as JSON, an entry a line, times with four digits."""
    lines = ",\n".join(
        json.dumps({name: _digits(value) for name, value in asdict(entry).items()}) for entry in found.entries
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{{\n"card": {json.dumps(found.card)},\n"entries": [\n{lines}\n]\n}}\n', encoding="utf-8")


def load(path: Path) -> GpuResults:
    """Read what :func:`save` wrote."""
    data = json.loads(path.read_text(encoding="utf-8"))
    return GpuResults(data["card"], [Timed(**entry) for entry in data["entries"]])


def _digits(value: Any) -> Any:
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.4g}")
    return value
