"""``python -m benchmarks.report RUN.json ...``: from pytest-benchmark's JSON to the committed files.

Writes ``benchmarks/results/<machine>.json`` and ``.md``, ``docs/images/benchmarks.png``, ``docs/roofline.md`` and the
README's table. All but the first are made from the first alone: ``tests/benchmarks`` makes them again and compares.
Without arguments they are made again from what is committed: after a change to how they look.
"""

from __future__ import annotations

import datetime
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from . import machine, plot, results, roofline_page, tables
from .kernels import kernels
from .results import Results

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"
PLOT = ROOT / "docs" / "images" / "benchmarks.png"
ROOFLINE = ROOT / "docs" / "roofline.md"


def pages(found: Results, slug: str) -> dict[Path, str]:
    """Every file of text that is made from results; the README with its table in place."""
    return {
        RESULTS / f"{slug}.md": tables.full_page(found),
        ROOFLINE: roofline_page.page(found, kernels()),
        README: tables.replace_block(README.read_text(encoding="utf-8"), tables.readme_block(found, slug)),
    }


def readme_slug() -> str:
    """The machine whose results the README shows."""
    found = re.search(r"benchmarks/results/([\w-]+)\.md", README.read_text(encoding="utf-8"))
    if found is None:
        raise ValueError("README.md links to no page of results; run `make bench`")
    return found.group(1)


def record(runs: Sequence[Path]) -> str:
    """Keep the JSON files of one run as this machine's results; returns its name."""
    here = machine.machine()
    slug = machine.slug(here)
    found = results.collect(
        runs,
        machine=here,
        versions=machine.versions(),
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        commit=machine.commit(ROOT),
    )
    results.save(found, RESULTS / f"{slug}.json")
    return slug


def main(arguments: Sequence[str]) -> int:
    """Write everything; 1 if a ratio was not measured."""
    slug = record([Path(argument) for argument in arguments]) if arguments else readme_slug()
    found = results.load(RESULTS / f"{slug}.json")
    for path, text in pages(found, slug).items():
        path.write_text(text, encoding="utf-8")
    plot.draw(found, PLOT)
    print(tables.ratio_table(found))
    unmeasured = found.unmeasured()
    if unmeasured:
        print(f"not measured: {', '.join(unmeasured)}", file=sys.stderr)
    return 1 if unmeasured else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
