"""``python -m benchmarks.gpu``: time everything on the current GPU.

Writes ``benchmarks/results/gpu/<card>.json`` and ``.md`` and the README's table; ``--render FILE.json`` makes the pages
again from what is committed.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import re
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import cdifast
from benchmarks import machine, tables
from benchmarks.call import Call, relative_error

from . import page
from .page import GpuResults, Timed
from .works import FAMILIES

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results" / "gpu"
WARM_UP_MS, MEASURE_MS = 20, 60


def measure(only: re.Pattern[str] = re.compile("")) -> list[Timed]:
    """Time every work whose title matches on the current GPU; what fails is printed and left out."""
    from triton.testing import do_bench

    found = []
    torch.manual_seed(0)
    with torch.device("cuda"):
        for family in FAMILIES:
            for work in family():
                if not only.search(work.title):
                    continue
                with torch.device("cpu"):
                    exact = None if work.exact is None else work.exact()
                for name, build in work.calls.items():
                    try:
                        call = build()
                        error = relative_error(_on_cpu(call), exact)
                        times = do_bench(call.run, warmup=WARM_UP_MS, rep=MEASURE_MS, return_mode="all")
                    except Exception as failure:  # a peer's failure is no reason to lose the others
                        print(f"{work.title}, {name}: {failure}", file=sys.stderr)
                        continue
                    first, median, third = (1e-3 * t for t in statistics.quantiles(times, n=4, method="inclusive"))
                    need = work.need
                    moved, computed = (None, None) if need is None else (need.read + need.written, need.operations)
                    found.append(Timed(work.title, name, call.items, median, first, third, error, moved, computed))
                    print(f"{work.title:62} {name:28} {1e3 * median:9.3f} ms", flush=True)
                    del call
                gc.collect()
                torch.cuda.empty_cache()
    return found


def _on_cpu(call: Call) -> Call:
    return Call(call.run, call.items, lambda result: call.read(result).cpu(), call.tolerance)


def card() -> dict[str, Any]:
    """The current GPU, and the versions that were timed."""
    properties = torch.cuda.get_device_properties(0)
    return {
        "card": properties.name,
        "memory_gb": round(properties.total_memory / 1e9),
        "multiprocessors": properties.multi_processor_count,
        "capability": f"{properties.major}.{properties.minor}",
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cdifast": cdifast.__version__,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": machine.commit(ROOT),
    }


def pages(found: GpuResults, path: Path) -> dict[Path, str]:
    """Every file of text that is made from the results at ``path``; the README with its table in place."""
    readme = README.read_text(encoding="utf-8")
    block = page.readme_block(found, path.stem)
    return {
        path.with_suffix(".md"): page.full_page(found),
        README: tables.replace_block(readme, block, page.BEGIN, page.END),
    }


def main(arguments: Sequence[str]) -> int:
    """Measure, or render what was measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where the results go")
    parser.add_argument("--only", default="", metavar="REGEX", help="only what matches is timed, and nothing written")
    parser.add_argument("--render", type=Path, metavar="JSON", help="make the page again from results")
    given = parser.parse_args(arguments)
    if given.only:
        measure(re.compile(given.only))
        return 0
    path = given.render
    if path is None:
        about = card()
        path = given.folder / f"{'-'.join(re.findall(r'[a-z0-9]+', about['card'].lower()))}.json"
        page.save(GpuResults(about, measure()), path)
    for target, text in pages(page.load(path), path).items():
        target.write_text(text, encoding="utf-8")
    print(path.with_suffix(".md").read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
