"""Tables: every row is there, a missing one says so, and the README shows what the committed run found."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import made_up
import pytest

from benchmarks import plot, report, results, tables
from benchmarks.gpu import __main__ as gpu_main
from benchmarks.gpu import page as gpu_page
from benchmarks.kernels import kernels
from benchmarks.machine import slug
from benchmarks.rows import ROWS


def test_ratio_table_holds_every_row_its_ratio_and_its_target() -> None:
    lines = tables.ratio_table(made_up.results(ratio=2.0)).splitlines()
    assert len(lines) == 2 + len(ROWS)
    by_work = {(row.work, row.against): line for row, line in zip(ROWS, lines[2:], strict=True)}
    for row in ROWS:
        line = by_work[row.work, row.against]
        assert line.startswith(f"| {row.work} | {row.against} |")
        if row.published_of is None:
            reached = "**2.00x**" if row.target <= 2 else "2.00x (below)"
            assert f"| {reached} | {tables.times(row.target)}x | 10 ms | 20 ms | 1e-07 | 1e-07 |" in line


def test_published_ratio_is_the_published_time_over_ours() -> None:
    """6.5 s / 10 ms."""
    line = tables.ratio_table(made_up.results()).splitlines()[-1]
    assert "| 650x (below) | 30,000x | 10 ms a map | 6.5 s a map |" in line


def test_missing_rows_and_peers_are_shown() -> None:
    found = made_up.results()
    bare = dataclasses.replace(made_up.row("fused", 1.0), peers={}, missing={"cv2.remap": "cv2 cannot be imported"})
    rows = [bare if row.id == "fused" else row for row in found.rows if row.id != "angular"]
    found = dataclasses.replace(
        found, rows=rows, missing=[{"family": "polar", "name": "pyFAI (bins)", "reason": "pyFAI cannot be imported"}]
    )
    text = tables.ratio_table(found)
    assert "missing: cv2 cannot be imported" in text
    assert "not measured" in text
    page = tables.full_page(found)
    assert "| polar | pyFAI (bins) | pyFAI cannot be imported |" in page
    assert "missing: cv2 cannot be imported" in page
    assert found.unmeasured() == ["angular"]


def test_full_page_sets_entries_against_ours() -> None:
    entries = [
        made_up.entry("polar", "forward", "ours, out=", 224, 0.010, items=100),
        made_up.entry("polar", "forward", "cv2.remap", 224, 0.004, items=10),
        made_up.entry("polar", "forward", "cv2.remap", 512, 0.020, items=10),
    ]
    page = tables.full_page(made_up.results(entries=entries))
    assert "| ours, out= | float32, 2 | 100 µs | – | 1e-07 |" in page
    assert "| cv2.remap | float32, 2 | 400 µs (4.00x) | 2 ms | 1e-07 |" in page


def test_heap_states_warm_and_cold_apart() -> None:
    warm = made_up.entry("heap", "result of 51 MB", "clone", 224, 0.010)
    cold = dataclasses.replace(made_up.entry("heap", "result of 51 MB", "clone", 224, 0.099), heap="cold")
    assert "| clone | 2 | 10 ms | 99 ms |" in tables.full_page(made_up.results(entries=[cold, warm]))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.5, "1.5 s"), (0.0123, "12.3 ms"), (9.8e-5, "98 µs"), (1.2e-9, "1.2 ns"), (0.9999, "1000 ms")],
)
def test_durations(seconds: float, text: str) -> None:
    assert tables.duration(seconds) == text


def test_block_is_replaced_between_its_markers() -> None:
    text = f"before\n{tables.BEGIN}\nold\n{tables.END}\nafter\n"
    block = tables.readme_block(made_up.results(), "acme")
    assert tables.replace_block(text, block) == f"before\n{block}\nafter\n"
    with pytest.raises(ValueError, match="markers"):
        tables.replace_block("no markers", block)


def test_saved_results_come_back(tmp_path: Path) -> None:
    found = made_up.results(entries=made_up.limits())
    results.save(found, tmp_path / "a.json")
    once = results.load(tmp_path / "a.json")
    results.save(once, tmp_path / "b.json")
    assert results.load(tmp_path / "b.json") == once
    assert [row.id for row in once.rows] == [row.id for row in found.rows]
    assert [row.ratio for row in once.rows] == pytest.approx([row.ratio for row in found.rows])
    assert len(once.entries) == len(found.entries)
    assert once.machine == found.machine


@pytest.mark.parametrize(
    ("cpu", "name"),
    [
        ("Intel(R) Xeon(R) Processor", "intel-xeon-2core-avx512"),
        ("AMD EPYC (family 25, model 17)", "amd-epyc-family-25-model-17-2core-avx512"),
        ("Intel(R) Core(TM) i7-8550U CPU @ 1.80GHz", "intel-core-i7-8550u-2core-avx512"),
        ("AMD EPYC 7R13 48-Core Processor", "amd-epyc-7r13-2core-avx512"),
    ],
)
def test_slug(cpu: str, name: str) -> None:
    assert slug({**made_up.MACHINE, "cpu": cpu}) == name


def test_plot_is_a_png(tmp_path: Path) -> None:
    plot.draw(made_up.results(), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_committed_pages_are_what_the_committed_results_render_to() -> None:
    """Every figure of README, results page and roofline page comes from the JSON of a run."""
    name = report.readme_slug()
    committed = results.load(report.RESULTS / f"{name}.json")
    for path, text in report.pages(committed, name).items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is not what {name}.json renders to"
    assert report.PLOT.exists()


def test_every_committed_result_has_its_page() -> None:
    for path in report.RESULTS.glob("*.json"):
        committed = results.load(path)
        assert slug(committed.machine) == path.stem
        assert path.with_suffix(".md").read_text(encoding="utf-8") == tables.full_page(committed)
        assert {kernel.family for kernel in kernels()} >= {"polar", "fused"}


def test_committed_gpu_pages_are_what_the_committed_results_render_to() -> None:
    paths = list(gpu_main.RESULTS.glob("*.json"))
    assert paths
    for path in paths:
        for target, text in gpu_main.pages(gpu_page.load(path), path).items():
            there = target.read_text(encoding="utf-8")
            if target == gpu_main.README and f"gpu/{path.stem}.md" not in there:
                continue  # the README shows one card
            assert there == text, f"{target.name} is not what {path.name} renders to"
