"""Products of floats in two parts each, as tensor cores multiply them."""

from __future__ import annotations

from emulator_build import FIBERS, program, run


def test_two_parts_hold_a_float_and_their_products_are_as_exact() -> None:
    done = run(program("tensor_cores", FIBERS))
    assert done.returncode == 0, done.stdout + done.stderr
