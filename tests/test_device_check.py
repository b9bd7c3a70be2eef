"""``cdifast doctor --gpu``, run on the CPU in place of a GPU."""

from __future__ import annotations

import pytest
import torch
from typer.testing import CliRunner

from cdifast import ops
from cdifast.cli import app
from cdifast.device_check import check_operators, copy_bandwidth
from cdifast.doctor import examine_device


def test_every_operator_is_checked_and_right() -> None:
    checks = check_operators(torch.device("cpu"), batch=4, rounds=3)
    assert {check.name for check in checks} == set(ops.__all__)
    assert all(check.good for check in checks), checks
    assert all(check.bandwidth > 0 for check in checks)
    assert copy_bandwidth(torch.device("cpu"), megabytes=4, rounds=3) > 1e8


def test_a_wrong_operator_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = ops.log_activation
    monkeypatch.setattr(ops, "log_activation", lambda x: right(x) * 1.0001)
    wrong = [check.name for check in check_operators(torch.device("cpu"), batch=2, rounds=1) if not check.good]
    assert wrong == ["log_activation"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_command_says_why() -> None:
    result = CliRunner().invoke(app, ["doctor", "--gpu"])
    assert result.exit_code != 0
    assert "there is no CUDA here" in result.output + str(result.exception)


@pytest.mark.gpu
def test_on_the_gpu() -> None:
    assert all(check.good is not False for check in examine_device("cuda"))
