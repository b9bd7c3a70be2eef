"""Log activation, forward: ours, the reference, eager torch, and a copy, which no kernel can beat."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from cdifast import ops, reference

ELEMENTS = 3_200_000


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    return torch.randn(ELEMENTS, generator=torch.Generator().manual_seed(0))


@pytest.mark.benchmark(group="log activation forward, 3.2 M float32")
@pytest.mark.parametrize("name", ["ours", "reference", "eager", "copy"])
def test_forward(name: str, x: torch.Tensor, timed: Callable[..., None]) -> None:
    target = torch.empty_like(x)
    calls = {
        "ours": lambda: ops.log_activation(x),
        "reference": lambda: reference.log_activation(x),
        "eager": lambda: 0.2 * torch.sign(x) * torch.log1p(2.718281828459045 * x.abs()),
        "copy": lambda: target.copy_(x),
    }
    timed(calls[name], None if name == "copy" else reference.log_activation(x.double()), ELEMENTS)
