"""The emulator finds planted bugs, and nothing in the same kernels without them."""

from __future__ import annotations

import pytest
from emulator_build import ADDRESS, THREAD, Engine, program, run

NUMBERS = list(range(64))
REVERSED = NUMBERS[::-1]
UNTOUCHED = -7

# What each kernel writes at the beginning of its 64 numbers when it is right.
RIGHT = {
    "reverse": REVERSED,
    "reverse_twice": NUMBERS,
    "leave_early": [sum(NUMBERS), UNTOUCHED],
    "two_barriers": NUMBERS,
    "copy": NUMBERS,
    "fill": [1] * 64,
    "neighbour": [*NUMBERS[1:], 0],
    "histogram": [32, 32, UNTOUCHED],
    "unwritten": REVERSED,
    "vector_load": [*NUMBERS[:60], *[UNTOUCHED] * 4],
    "warp_sum": [sum(NUMBERS[:32]), sum(NUMBERS[32:]), UNTOUCHED],
    "warp_exchange": [i ^ 1 for i in NUMBERS],
    "blocks_add": [UNTOUCHED + sum(range(6)), UNTOUCHED],
}
both_engines = pytest.mark.parametrize("engine", [ADDRESS, THREAD], ids=lambda engine: engine.name)


def outputs(kernel: str, which: str, schedule: int = 0, poison: int = 0xFF) -> list[str]:
    done = run(program("planted", ADDRESS), kernel, which, schedule, poison)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def failure(kernel: str, engine: Engine) -> str:
    done = run(program("planted", engine), kernel, "wrong")
    assert done.returncode != 0, done.stdout
    return done.stderr


@both_engines
@pytest.mark.parametrize("kernel", RIGHT)
def test_the_right_kernel_passes(kernel: str, engine: Engine) -> None:
    done = run(program("planted", engine), kernel, "right")
    assert done.returncode == 0, done.stderr
    expected = RIGHT[kernel]
    assert [float(value) for value in done.stdout.split()][: len(expected)] == expected


@pytest.mark.parametrize("kernel", RIGHT)
def test_the_right_kernel_does_not_depend_on_schedule_or_poison(kernel: str) -> None:
    assert outputs(kernel, "right") == outputs(kernel, "right", 1, 0x00) == outputs(kernel, "right", 5, 0x5A)


@pytest.mark.parametrize("kernel", ["reverse", "reverse_twice"])
def test_a_missing_barrier_depends_on_the_schedule(kernel: str) -> None:
    assert outputs(kernel, "wrong", schedule=0) != outputs(kernel, "wrong", schedule=1)


@pytest.mark.parametrize("kernel", ["reverse", "reverse_twice", "warp_exchange", "blocks_add"])
def test_a_missing_barrier_or_atomic_is_a_data_race(kernel: str) -> None:
    report = failure(kernel, THREAD)
    assert "ThreadSanitizer: data race" in report
    assert "planted.cuh" in report


@both_engines
def test_threads_that_leave_before_a_barrier(engine: Engine) -> None:
    assert "divergent barrier: in block (0,0,0), thread (0,0,0) waits at __syncthreads in" in (
        report := failure("leave_early", engine)
    )
    assert "thread (32,0,0) has returned" in report


@both_engines
def test_threads_at_different_barriers(engine: Engine) -> None:
    report = failure("two_barriers", engine)
    assert "divergent barrier" in report
    assert report.count("waits at __syncthreads") == 2


@both_engines
def test_a_shuffle_whose_lanes_have_left(engine: Engine) -> None:
    report = failure("warp_sum", engine)
    assert "waits at __shfl_down_sync with mask 0xffffffff" in report
    assert "thread (16,0,0) has returned" in report


def test_a_read_behind_a_buffer() -> None:
    report = failure("copy", ADDRESS)
    assert "heap-buffer-overflow" in report
    assert "READ of size 4" in report


def test_a_write_behind_a_buffer() -> None:
    report = failure("fill", ADDRESS)
    assert "heap-buffer-overflow" in report
    assert "WRITE of size 4" in report


def test_a_read_behind_a_shared_array() -> None:
    assert "use-after-poison" in failure("neighbour", ADDRESS)


def test_a_misaligned_vector() -> None:
    assert "misaligned address" in failure("vector_load", ADDRESS)


def test_shared_memory_that_nobody_wrote() -> None:
    # Floats are NaN; an integer shows in that the result changes with what the memory held.
    assert outputs("unwritten", "wrong")[:32] == ["nan"] * 32
    assert outputs("histogram", "wrong", poison=0xFF) != outputs("histogram", "wrong", poison=0x00)
