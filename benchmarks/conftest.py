"""What every benchmark uses: a number of threads, an entry of the full tables, a ratio row.

Two ways of timing, both run by pytest-benchmark. An *entry* is timed by itself, in one block of rounds: the full
tables, where each line is a pytest-benchmark entry. A *ratio row* is what a claim rests on, and machines drift by more
than the ratios may: there ours and its peers take turns, round by round. pytest-benchmark calls a `setup` before each
round; in it the peers run one round each, timed here, and their medians go into the row's `extra_info`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from cdifast.report import describe_machine

from . import heap, rows, threads, timing
from .call import Builder, Call, EntryTimer, MissingPeer, RowTimer, relative_error

ENTRY_SECONDS = 0.4
ROW_SECONDS = 8.0
ANY_HEAP = "bench_heap.py"

_MISSING = pytest.StashKey[list[dict[str, str]]]()
_LOAD = pytest.StashKey[float]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_MISSING] = []
    config.stash[_LOAD] = os.getloadavg()[0]


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Replace what pytest-benchmark found, which names the host."""
    machine_info.clear()
    machine_info.update(describe_machine())


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: Any, output_json: dict[str, Any]) -> None:
    output_json["missing"] = config.stash[_MISSING]
    output_json["load"] = config.stash[_LOAD]


@pytest.fixture(scope="session")
def heap_state() -> str:
    """``"warm"`` or ``"cold"``, as found; a warm one is heated through."""
    state = heap.state()
    if state == "warm":
        heap.preheat()
    return state


@pytest.fixture(autouse=True)
def _needs_warm_heap(heap_state: str, request: pytest.FixtureRequest) -> None:
    if heap_state == "cold" and request.path.name != ANY_HEAP:
        pytest.exit(
            "the heap is cold: each large result would be timed with its page faults. Run `make bench`, or set\n"
            "  MALLOC_MMAP_THRESHOLD_=8589934592 MALLOC_TRIM_THRESHOLD_=17179869184",
            returncode=3,
        )


@pytest.fixture(params=threads.COUNTS, ids=lambda count: f"{count}-threads")
def thread_count(request: pytest.FixtureRequest) -> Iterator[int]:
    """The number of threads of everything, in turn 1 and 2."""
    with threads.limit_threads(request.param):
        yield request.param


@pytest.fixture
def entry(
    benchmark: BenchmarkFixture, request: pytest.FixtureRequest, heap_state: str, thread_count: int
) -> EntryTimer:
    """Times one line of the full tables and states its error."""

    def run(work: str, name: str, build: Builder, exact: Tensor | None, *, size: int, dtype: str = "float32") -> None:
        family = request.path.stem.removeprefix("bench_")
        try:
            call = build()
        except MissingPeer as missing:
            request.config.stash[_MISSING].append({"family": family, "name": name, "reason": str(missing)})
            pytest.skip(str(missing))
        error = relative_error(call, exact)  # the first call, that plans and compiles
        seconds = timing.seconds_of(call.run)
        with threads.limit_threads(thread_count):  # also what the first call loaded
            benchmark.group = f"{family}: {work}, {size}, {dtype}, {thread_count} threads"
            rounds = timing.rounds_for(seconds, ENTRY_SECONDS)
            benchmark.pedantic(call.run, rounds=rounds, iterations=1)
        benchmark.extra_info.update(
            family=family,
            work=work,
            name=name,
            size=size,
            dtype=dtype,
            threads=thread_count,
            heap=heap_state,
            items=call.items,
            error=error,
        )

    return run


@pytest.fixture
def compare(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> RowTimer:
    """Times a ratio row with all cores (two at most): ours and its peers in turn."""

    def run(row: str, ours: Builder, peers: Mapping[str, Builder], exact: Tensor) -> None:
        count = threads.COUNTS[-1]
        missing: dict[str, str] = {}
        calls: dict[str, Call] = {}
        with threads.limit_threads(count):
            calls["ours"] = ours()
            for name, build in peers.items():
                try:
                    calls[name] = build()
                except MissingPeer as reason:
                    missing[name] = str(reason)
            errors = {name: relative_error(call, exact) for name, call in calls.items()}
        with threads.limit_threads(count):
            turns = timing.Turns({name: call.run for name, call in calls.items()})
            benchmark.group = f"ratio: {rows.BY_ID[row].work}"
            rounds = timing.rounds_for(turns.round_seconds(), ROW_SECONDS, least=7, most=300)
            benchmark.pedantic(calls["ours"].run, setup=turns.others, rounds=rounds, iterations=1)
        assert benchmark.stats is not None
        measured = {
            name: {
                **timing.summary(seconds),
                "rounds": rounds,
                "items": calls[name].items,
                "error": errors[name],
            }
            for name, seconds in turns.seconds.items()
        }
        benchmark.extra_info.update(
            row=row,
            threads=count,
            items=calls["ours"].items,
            error=errors["ours"],
            peers=measured,
            missing=missing,
            spread=_spread(benchmark.stats.stats.data, turns.seconds, calls),
        )

    return run


def _spread(
    ours: list[float], peers: Mapping[str, list[float]], calls: Mapping[str, Call]
) -> tuple[float, float] | None:
    """Quartiles of the ratio to the fastest peer, round by round."""
    if not peers:
        return None
    fastest = min(peers, key=lambda name: timing.summary(peers[name])["median"] / calls[name].items)
    scale = calls["ours"].items / calls[fastest].items
    found = timing.summary([scale * peer / own for peer, own in zip(peers[fastest], ours, strict=True)])
    return found["first_quartile"], found["third_quartile"]
