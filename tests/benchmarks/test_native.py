"""The benchmarks' own C++ does what it is timed for."""

from __future__ import annotations

import pytest
import torch

from benchmarks.peers import activation


@pytest.mark.parametrize("threads", [1, 2])
def test_bare_training_moves_every_element(threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        x = torch.arange(4096.0)
        y, grad_x = activation.bare_training(x).run()
        assert torch.equal(y, x)
        assert torch.equal(grad_x, x)
    finally:
        torch.set_num_threads(before)
