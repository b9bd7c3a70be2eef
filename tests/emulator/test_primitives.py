"""What kernels call of CUDA: indices, shuffles, ballots, atomics."""

from __future__ import annotations

from emulator_build import FIBERS, program, run


def test_every_primitive_does_what_cuda_says() -> None:
    done = run(program("primitives", FIBERS))
    assert done.returncode == 0, done.stdout + done.stderr
