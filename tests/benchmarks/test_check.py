"""The gate on ratios passes where nothing fell, and fails, by name, where something did."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import made_up
import pytest

from benchmarks import check, report, results
from benchmarks.machine import slug
from benchmarks.results import Results


def replaced(found: Results, id: str, ratio: float) -> Results:
    rows = [made_up.row(id, ratio) if row.id == id else row for row in found.rows]
    return dataclasses.replace(found, rows=rows)


def test_equal_ratios_pass() -> None:
    verdicts = check.compare(made_up.results(), made_up.results(), check.TOLERANCE)
    assert len(verdicts) == len(made_up.MEASURED)
    assert not any(verdict.failed for verdict in verdicts)
    assert "FELL" not in check.render(verdicts)


def test_times_are_not_compared() -> None:
    slower = made_up.results()
    for row in slower.rows:
        assert row.ours is not None
        ours = dataclasses.replace(row.ours, median=10 * row.ours.median)
        peers = {name: dataclasses.replace(peer, median=10 * peer.median) for name, peer in row.peers.items()}
        slower = dataclasses.replace(
            slower,
            rows=[
                dataclasses.replace(row, ours=ours, peers=peers) if other.id == row.id else other
                for other in slower.rows
            ],
        )
    assert not any(verdict.failed for verdict in check.compare(made_up.results(), slower, check.TOLERANCE))


@pytest.mark.parametrize(("ratio", "failed"), [(20.0, False), (14.1, False), (13.9, True), (40.0, False)])
def test_a_ratio_that_fell_by_more_than_the_tolerance_fails(ratio: float, failed: bool) -> None:
    now = replaced(made_up.results(20.0), "polar-224", ratio)
    verdicts = check.compare(made_up.results(20.0), now, 0.30)
    assert [verdict.id for verdict in verdicts if verdict.failed] == ["polar-224"] * failed
    line = next(line for line in check.render(verdicts).splitlines() if line.startswith("polar-224"))
    assert ("FELL" in line) == failed


def test_the_fastest_peer_counts() -> None:
    """A second peer that becomes faster than ours was beaten by lowers the ratio."""
    row = made_up.row("polar-224", 20.0)
    row.peers["slow"] = made_up.timing(0.05)
    now = made_up.results(20.0)
    now.rows[:] = [row if other.id == "polar-224" else other for other in now.rows]
    verdict = next(v for v in check.compare(made_up.results(20.0), now, 0.30) if v.id == "polar-224")
    assert verdict.found == pytest.approx(5.0)
    assert verdict.failed


def test_a_row_that_is_gone_fails_and_a_new_one_does_not() -> None:
    everything = made_up.results()
    without = dataclasses.replace(everything, rows=[row for row in everything.rows if row.id != "fused"])
    gone = check.compare(everything, without, check.TOLERANCE)
    assert [verdict.id for verdict in gone if verdict.failed] == ["fused"]
    assert "MISSING" in check.render(gone)
    assert not any(verdict.failed for verdict in check.compare(without, everything, check.TOLERANCE))


def test_a_missing_peer_says_why() -> None:
    now = made_up.results()
    row = dataclasses.replace(made_up.row("polar-224", 1.0), peers={}, missing={"cv2": "cv2 cannot be imported"})
    now.rows[:] = [row if other.id == "polar-224" else other for other in now.rows]
    verdicts = check.compare(made_up.results(), now, check.TOLERANCE)
    assert [verdict.id for verdict in verdicts if verdict.failed] == ["polar-224"]
    assert "cv2 cannot be imported" in check.render(verdicts)


def benchmark_json(ratio: float) -> dict[str, Any]:
    """What pytest-benchmark writes, as far as it is read."""
    timing = {"first_quartile": 1.0, "third_quartile": 1.0, "rounds": 5, "items": 1, "error": 0.0}
    return {
        "load": 3.4,
        "benchmarks": [
            {
                "stats": {"median": 1.0, "q1": 1.0, "q3": 1.0, "rounds": 5},
                "extra_info": {
                    "row": row.id,
                    "threads": 2,
                    "items": 1,
                    "error": 0.0,
                    "peers": {"peer": {"median": ratio, **timing}},
                    "missing": {},
                    "spread": [ratio, ratio],
                },
            }
            for row in made_up.MEASURED
        ],
    }


@pytest.mark.parametrize("known", [True, False])
def test_the_command_fails_on_this_machine_and_on_another(
    known: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = slug(made_up.MACHINE) if known else "another-machine"
    monkeypatch.setattr(check.machine, "machine", lambda: made_up.MACHINE)
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setattr(report, "readme_slug", lambda: name)
    results.save(made_up.results(20.0), tmp_path / f"{name}.json")
    run = tmp_path / "run.json"
    tolerance = check.TOLERANCE if known else check.OTHER_MACHINE_TOLERANCE

    run.write_text(json.dumps(benchmark_json(20.0 * (1 - tolerance) + 0.1)))
    assert check.main([str(run)]) == 0
    assert ("no committed results of this machine" in capsys.readouterr().out) != known

    run.write_text(json.dumps(benchmark_json(20.0 * (1 - tolerance) - 0.1)))
    assert check.main([str(run)]) == 1
    message = capsys.readouterr().err
    assert "polar-224" in message
    assert "the machine was busy (load average 3.4)" in message
