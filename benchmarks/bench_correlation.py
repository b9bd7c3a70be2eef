"""Merged correlation map of 112 x 224: ours, the reference, and a batched product with one DFT bin."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from cdifast import ops, reference

BATCH = 64


@pytest.fixture(scope="module")
def unwrapped() -> torch.Tensor:
    return torch.rand(BATCH, 112, 224, generator=torch.Generator().manual_seed(0))


def products(unwrapped: torch.Tensor) -> torch.Tensor:
    """What one would write by hand: bmm for the zero lag, two matrix products for the order-8 bin."""
    n_angular = unwrapped.shape[-1]
    phase = 2 * math.pi * 8 / n_angular * torch.arange(n_angular)
    harmonic = unwrapped @ torch.stack([phase.cos(), phase.sin()], dim=1) / n_angular
    zero_lag = torch.bmm(unwrapped, unwrapped.mT) / n_angular
    return zero_lag.tril() + torch.bmm(harmonic, harmonic.mT).triu(1)


@pytest.mark.benchmark(group="correlation map of 112x224, 64 float32 maps")
@pytest.mark.parametrize("name", ["ours", "reference", "bmm"])
def test_forward(name: str, unwrapped: torch.Tensor, timed: Callable[..., None]) -> None:
    calls = {
        "ours": lambda: ops.correlation_map(unwrapped),
        "reference": lambda: reference.correlation_map(unwrapped)[0],
        "bmm": lambda: products(unwrapped),
    }
    timed(calls[name], reference.correlation_map(unwrapped.double())[0], BATCH)
