"""Every CUDA operator under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer.

An operator has ``csrc/cuda/<operator>_launch.cu``; ``test_emulated_<operator>.py`` beside this file, which runs again
here; and ``<operator>_main.cpp``, which calls every launcher without torch, for ThreadSanitizer.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from emulator_build import ADDRESS, LAUNCHERS, THREAD, address_sanitizer_runtime, operator_library, program, run

HERE = Path(__file__).parent

every_launcher = pytest.mark.parametrize("launcher", LAUNCHERS, ids=lambda path: path.name)


def operator_of(launcher: Path) -> str:
    return launcher.name.removesuffix("_launch.cu")


@every_launcher
def test_no_access_outside_a_tensor_or_shared_array(launcher: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    operator_library(ADDRESS)  # built here, where the compiler is not under AddressSanitizer
    monkeypatch.setenv("CDIFAST_EMULATOR_ENGINE", ADDRESS.name)
    test = HERE / f"test_emulated_{operator_of(launcher)}.py"
    done = run(
        Path(sys.executable),
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", test),
        preload=address_sanitizer_runtime(),
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    assert "passed" in done.stdout


@every_launcher
def test_no_data_race(launcher: Path) -> None:
    done = run(program(operator_of(launcher), THREAD, launcher))
    assert done.returncode == 0, done.stderr[-4000:]
