"""Rounds, turns and errors of the benchmarks."""

from __future__ import annotations

import math
import time

import pytest
import torch

from benchmarks import heap, timing
from benchmarks.call import Call, cotangent, relative_error


@pytest.mark.parametrize(("seconds", "rounds"), [(10.0, 5), (0.04, 7), (1e-6, 60), (0.0, 60)])
def test_rounds_fill_the_budget_within_bounds(seconds: float, rounds: int) -> None:
    assert timing.rounds_for(seconds, 0.3) == rounds


def test_calls_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(timing, "WARM_SECONDS", 0.0)
    calls: list[str] = []
    turns = timing.Turns({name: lambda name=name: calls.append(name) for name in ("ours", "one", "two")})
    calls.clear()
    for _ in range(2):
        turns.others()  # pytest-benchmark's setup
        turns.runs["ours"]()  # and its round
    # Short calls run once before they are timed.
    assert calls == ["one", "one", "two", "two", "ours", "ours"] * 2
    assert {name: len(found) for name, found in turns.seconds.items()} == {"one": 2, "two": 2}


def test_short_calls_run_for_a_while_before_they_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(timing, "WARM_SECONDS", 0.02)
    starts: list[float] = []

    def call() -> None:
        starts.append(time.perf_counter())
        time.sleep(0.004)

    turns = timing.Turns({"ours": call, "one": lambda: time.sleep(0.05)})
    starts.clear()
    turns.others()
    call()
    assert starts[-1] - starts[0] >= 0.02
    assert len(turns.seconds["one"]) == 1
    assert turns.round_seconds() == pytest.approx(0.02 + 0.004 + 0.05, abs=0.02)


def test_summary() -> None:
    assert timing.summary([3.0, 1.0, 2.0]) == {"median": 2.0, "first_quartile": 1.5, "third_quartile": 2.5}
    assert timing.summary([4.0]) == {"median": 4.0, "first_quartile": 4.0, "third_quartile": 4.0}


def test_error_is_relative_to_the_first_items() -> None:
    exact = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    call = Call(lambda: torch.tensor([[3.0, 4.005], [9.0, 9.0]]), 2, tolerance=1e-2)
    assert relative_error(call, exact) == pytest.approx(1e-3, rel=1e-3)
    assert relative_error(call, None) is None


def test_error_leaves_out_what_is_not_compared() -> None:
    exact = torch.tensor([1.0, math.nan], dtype=torch.float64)
    assert relative_error(Call(lambda: torch.tensor([1.0, 7.0]), 1), exact) == 0


@pytest.mark.parametrize("found", [[1.0, 1.1], [1.0, math.nan]])
def test_another_result_is_not_the_same_work(found: list[float]) -> None:
    with pytest.raises(AssertionError, match="not the same work"):
        relative_error(Call(lambda: torch.tensor(found), 1), torch.ones(2, dtype=torch.float64))


def test_cotangent_does_not_depend_on_the_batch() -> None:
    assert torch.equal(cotangent(torch.empty(2, 5)), cotangent(torch.empty(4, 5))[:2])


def test_heap_is_named() -> None:
    assert heap.state() in ("warm", "cold")
