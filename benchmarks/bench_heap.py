"""A result of 12.8 million float32 in a new tensor and in an existing one, on a warm heap and from cold pages.

`make bench` runs this file twice, in processes of their own; each entry says what the heap was found to be.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch

from cdifast import ops

from .call import Call, EntryTimer
from .inputs import frames

BATCH = 512  # 512 x 112 x 224 = 12.8 million samples


@functools.lru_cache(maxsize=1)
def values() -> torch.Tensor:
    return torch.randn(BATCH * 112 * 224, generator=torch.Generator().manual_seed(0))


def copy() -> Call:
    x, target = values(), torch.empty_like(values())
    return Call(lambda: target.copy_(x), x.numel(), tolerance=None)


def clone() -> Call:
    x = values()
    return Call(x.clone, x.numel(), tolerance=None)


def activation() -> Call:
    x = values()
    return Call(lambda: ops.log_activation(x), x.numel(), tolerance=None)


def activation_out() -> Call:
    x, out = values(), torch.empty_like(values())
    return Call(lambda: ops.log_activation(x, out=out), x.numel(), tolerance=None)


def polar() -> Call:
    images = frames(224, "float32", BATCH)
    return Call(lambda: ops.polar_resample(images, 112, 224), BATCH * 112 * 224, tolerance=None)


def polar_out() -> Call:
    images, out = frames(224, "float32", BATCH), torch.empty(BATCH, 112, 224)
    return Call(lambda: ops.polar_resample(images, 112, 224, out=out), BATCH * 112 * 224, tolerance=None)


CALLS: dict[str, Callable[..., Call]] = {
    "copy into an existing tensor": copy,
    "clone": clone,
    "log_activation, out=": activation_out,
    "log_activation, new tensor": activation,
    "polar_resample, out=": polar_out,
    "polar_resample, new tensor": polar,
}


@pytest.mark.parametrize("name", CALLS)
def test_heap(name: str, entry: EntryTimer) -> None:
    entry("result of 51 MB", name, CALLS[name], None, size=224)
