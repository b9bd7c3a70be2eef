"""The same operators in every instruction set that this machine runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cdifast import _C

SCRIPT = Path(__file__).with_name("run_contract.py")


def run(capability: str, gather: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT)],
        env=os.environ | {"CDIFAST_CPU_CAPABILITY": capability, "CDIFAST_CPU_GATHER": gather},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.parametrize("capability", _C.build_info()["cpu_capabilities"])
def test_every_operator_in_every_instruction_set(capability: str) -> None:
    result = run(capability)
    if "this machine does not have that instruction set" in result.stderr:
        pytest.skip(f"this machine has no {capability}")
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == capability


def test_an_unknown_instruction_set_is_refused_at_import() -> None:
    result = run("sse9")
    assert result.returncode != 0
    assert "CDIFAST_CPU_CAPABILITY=sse9: expected baseline, avx2 or avx512" in result.stderr


@pytest.mark.parametrize("gather", ["0", "1"])
def test_every_operator_with_and_without_gather_instructions(gather: str) -> None:
    result = run("avx512", gather)
    if result.returncode != 0 and "avx512" in result.stderr and "that instruction set" in result.stderr:
        pytest.skip("this machine has no avx512")
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "avx512"


def test_an_unknown_way_to_gather_is_refused_at_import() -> None:
    result = run("", "2")
    assert result.returncode != 0
    assert "CDIFAST_CPU_GATHER=2: expected 0 or 1" in result.stderr
