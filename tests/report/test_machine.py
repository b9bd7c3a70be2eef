"""What a report says of the machine."""

from __future__ import annotations

import pytest

from cdifast.report.machine import model_in


def cpuinfo(name: str, family: int, model: int) -> str:
    """As Linux writes it for two processors on x86."""
    one = f"vendor_id\t: some\ncpu family\t: {family}\nmodel\t\t: {model}\nmodel name\t: {name}\nstepping\t: 1\n"
    return "\n".join(f"processor\t: {number}\n{one}" for number in range(2))


@pytest.mark.parametrize(
    ("name", "family", "model", "described"),
    [
        ("AMD EPYC", 25, 17, "AMD EPYC (family 25, model 17)"),
        ("AMD EPYC", 26, 2, "AMD EPYC (family 26, model 2)"),
        ("AMD EPYC 7R13 48-Core Processor", 25, 1, "AMD EPYC 7R13 48-Core Processor"),
        ("Intel(R) Xeon(R) Processor", 6, 143, "Intel(R) Xeon(R) Processor (family 6, model 143)"),
    ],
)
def test_generations_of_one_name_are_told_apart(name: str, family: int, model: int, described: str) -> None:
    assert model_in(cpuinfo(name, family, model)) == described


def test_a_list_without_models() -> None:
    assert model_in("processor\t: 0\nBogoMIPS\t: 243.75\n") is None
    assert model_in("") is None
    assert model_in("model name\t: Some Arm\n") == "Some Arm"
