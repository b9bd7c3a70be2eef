"""Every CUDA launcher under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer.

An operator has ``csrc/cuda/<operator>_launch.cu`` and ``tests/emulator/<operator>_main.cpp``, which calls every
launcher in buffers of exactly their size and prints one hash of all that was written.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from emulator_build import ADDRESS, LAUNCHERS, THREAD, program, run

every_launcher = pytest.mark.parametrize("launcher", LAUNCHERS, ids=lambda path: path.name)


def operator_of(launcher: Path) -> str:
    return launcher.name.removesuffix("_launch.cu")


@every_launcher
def test_no_bad_access_and_one_result_for_every_schedule_and_poison(launcher: Path) -> None:
    path = program(operator_of(launcher), ADDRESS, launcher)
    results = set()
    for schedule, poison in ((0, 0xFF), (1, 0x00), (2, 0x5A), (3, 0x7F)):
        done = run(path, schedule, poison)
        assert done.returncode == 0, done.stderr[-4000:]
        results.add(done.stdout)
    assert len(results) == 1


@every_launcher
def test_no_data_race(launcher: Path) -> None:
    done = run(program(operator_of(launcher), THREAD, launcher))
    assert done.returncode == 0, done.stderr[-4000:]
    # The same bits as fibers give, whose order is fixed: no race that ThreadSanitizer cannot see, either.
    assert done.stdout == run(program(operator_of(launcher), ADDRESS, launcher)).stdout
