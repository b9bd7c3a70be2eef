"""What every benchmark uses: a warm heap, and entries that state their error beside their time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor


@pytest.fixture
def timed(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> Callable[..., None]:
    """``timed(call, exact, items)``: time ``call()``; record its relative error and the items it handles a second.

    ``exact`` is the float64 result, or None for what computes nothing (a copy). The heap is warm: the result of a
    round is freed before the next one allocates its own.
    """

    def run(call: Callable[[], Tensor], exact: Tensor | None, items: int) -> None:
        result = call()
        if exact is not None:
            error = (result.detach().double() - exact).norm() / exact.norm()
            benchmark.extra_info["relative_error"] = float(error)
        benchmark.extra_info["threads"] = torch.get_num_threads()
        del result
        benchmark.pedantic(call, rounds=15, iterations=1, warmup_rounds=3)
        benchmark.extra_info["items_per_second"] = items / benchmark.stats.stats.median

    return run
