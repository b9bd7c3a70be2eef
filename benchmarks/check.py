"""``python -m benchmarks.check RUN.json``: the ratios of a run beside the committed ones. Times are never compared.

Both sides of a ratio were timed in turn in one run, so that a slower machine moves it little. What remains is noise on
small machines (two quiet runs on two cores differ by up to a fifth), so a ratio fails that fell by more than 30 %. A
busy machine does move it: threads that wait for each other lose more than a peer that uses one. On a machine without
committed results, its ratios are set against those that the README shows, with a wider tolerance: caches and
instruction sets differ.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import machine, report, results
from .results import Results
from .rows import MEASURED
from .tables import times

TOLERANCE = 0.30
OTHER_MACHINE_TOLERANCE = 0.60
BUSY = 1.0  # load average before the run, beyond which a failure may be the machine's


@dataclass(frozen=True)
class Verdict:
    """A row beside its committed ratio."""

    id: str
    committed: float | None
    found: float | None
    reason: str
    tolerance: float

    @property
    def failed(self) -> bool:
        """Fallen by more than the tolerance, or not measured any more. A row that is new cannot fail."""
        if self.committed is None:
            return False
        return self.found is None or self.found < (1 - self.tolerance) * self.committed


def compare(committed: Results, found: Results, tolerance: float) -> list[Verdict]:
    """One verdict for every measured row."""
    verdicts = []
    for row in MEASURED:
        measured = found.row(row.id)
        why = "; ".join(measured.missing.values()) if measured is not None and measured.missing else "not measured"
        ratio = found.ratio(row)
        verdicts.append(Verdict(row.id, committed.ratio(row), ratio, why if ratio is None else "", tolerance))
    return verdicts


def render(verdicts: Sequence[Verdict]) -> str:
    """A table for the terminal."""
    lines = [f"{'ratio':20} {'committed':>10} {'now':>10} {'change':>8}"]
    for verdict in verdicts:
        before = "new" if verdict.committed is None else times(verdict.committed)
        now = verdict.reason if verdict.found is None else times(verdict.found)
        change = ""
        if verdict.committed is not None and verdict.found is not None:
            change = f"{100 * (verdict.found / verdict.committed - 1):+.0f} %"
        mark = "  FELL" if verdict.failed and verdict.found is not None else "  MISSING" if verdict.failed else ""
        lines.append(f"{verdict.id:20} {before:>10} {now:>10} {change:>8}{mark}")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """0 if no ratio fell, else 1."""
    here = machine.machine()
    slug = machine.slug(here)
    tolerance = TOLERANCE
    if not (report.RESULTS / f"{slug}.json").exists():
        other = report.readme_slug()
        print(f"no committed results of this machine ({slug}): compared with those of {other}")
        slug, tolerance = other, OTHER_MACHINE_TOLERANCE
    committed = results.load(report.RESULTS / f"{slug}.json")
    found = results.collect(map(Path, arguments), machine=here, versions={}, date="", commit="")
    verdicts = compare(committed, found, tolerance)
    print(render(verdicts))
    load = max(json.loads(Path(argument).read_text(encoding="utf-8")).get("load", 0.0) for argument in arguments)
    failed = [verdict.id for verdict in verdicts if verdict.failed]
    if failed:
        print(f"fell by more than {100 * tolerance:.0f} %, or is missing: {', '.join(failed)}", file=sys.stderr)
        if load > BUSY:
            print(f"the machine was busy (load average {load:.1f}): run this again when it is not", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
