"""Every CUDA operator under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer.

An operator has ``csrc/cuda/<operator>_launch.cu``; ``test_emulated_<operator>.py`` beside this file, which runs again
here; and ``<operator>_main.cpp``, which calls every launcher without torch, for ThreadSanitizer.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from emulator_build import (
    ADDRESS,
    LAUNCHERS,
    THREAD,
    address_sanitizer_runtime,
    in_parallel,
    operator_library,
    program,
    run,
)

HERE = Path(__file__).parent

every_launcher = pytest.mark.parametrize("launcher", LAUNCHERS, ids=lambda path: path.name)


def operator_of(launcher: Path) -> str:
    return launcher.name.removesuffix("_launch.cu")


def _with_address_sanitizer(launcher: Path) -> subprocess.CompletedProcess[str]:
    return run(
        Path(sys.executable),
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", HERE / f"test_emulated_{operator_of(launcher)}.py"),
        *("-m", "not same_accesses"),
        preload=address_sanitizer_runtime(),
        variables={"CDIFAST_EMULATOR_ENGINE": ADDRESS.name},
    )


@pytest.fixture(scope="module")
def address_runs() -> dict[Path, subprocess.CompletedProcess[str]]:
    """All operators at once: most of a run is one thread's."""
    operator_library(ADDRESS)  # built here, where the compiler is not under AddressSanitizer
    return dict(zip(LAUNCHERS, in_parallel(_with_address_sanitizer, LAUNCHERS), strict=True))


@pytest.fixture(scope="module")
def thread_runs() -> dict[Path, subprocess.CompletedProcess[str]]:
    programs = [program(operator_of(launcher), THREAD, launcher) for launcher in LAUNCHERS]
    return dict(zip(LAUNCHERS, in_parallel(run, programs), strict=True))


@every_launcher
def test_no_access_outside_a_tensor_or_shared_array(
    launcher: Path, address_runs: dict[Path, subprocess.CompletedProcess[str]]
) -> None:
    done = address_runs[launcher]
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    assert "passed" in done.stdout


@every_launcher
def test_no_data_race(launcher: Path, thread_runs: dict[Path, subprocess.CompletedProcess[str]]) -> None:
    done = thread_runs[launcher]
    assert done.returncode == 0, done.stderr[-4000:]
