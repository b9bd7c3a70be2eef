"""Angular harmonics of some orders, forward and backward."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from cdifast import ops, reference

from .call import Call, EntryTimer, backward, exact_result
from .inputs import FEW, ORDERS, SIZES, unwrapped
from .peers import harmonics as peers


def ours(maps: Tensor) -> Call:
    out = torch.empty(len(maps), len(ORDERS), maps.shape[-2], dtype=torch.complex64)
    return Call(lambda: ops.angular_harmonics(maps, ORDERS, out=out), len(maps))


def ours_backward(maps: Tensor) -> Call:
    return backward(lambda x: torch.view_as_real(ops.angular_harmonics(x, ORDERS)), maps)


def reference_backward(maps: Tensor) -> Call:
    return backward(lambda x: torch.view_as_real(reference.angular_harmonics(x, ORDERS)), maps)


@exact_result
def exact(size: int) -> Tensor:
    return reference.angular_harmonics(unwrapped(size)[:FEW].double(), ORDERS)


@exact_result
def exact_gradient(size: int) -> Tensor:
    return reference_backward(unwrapped(size)[:FEW].double()).run()


FORWARD: dict[str, Callable[..., Call]] = {
    "ours, out=": ours,
    "rfft, orders picked": lambda maps: peers.rfft_pick(maps, ORDERS),
    "matrix product": lambda maps: peers.matrix_product(maps, ORDERS),
    "reference": lambda maps: Call(lambda: reference.angular_harmonics(maps, ORDERS), len(maps)),
}
BACKWARD: dict[str, Callable[..., Call]] = {
    "ours": ours_backward,
    "rfft, orders picked": lambda maps: peers.rfft_backward(maps, ORDERS),
    "matrix product": lambda maps: peers.matrix_backward(maps, ORDERS),
    "reference": reference_backward,
}


@pytest.mark.parametrize("name", FORWARD)
@pytest.mark.parametrize("size", SIZES)
def test_forward(name: str, size: int, entry: EntryTimer) -> None:
    entry(f"{len(ORDERS)} orders, forward", name, lambda: FORWARD[name](unwrapped(size)), exact(size), size=size)


@pytest.mark.parametrize("name", BACKWARD)
@pytest.mark.parametrize("size", SIZES)
def test_backward(name: str, size: int, entry: EntryTimer) -> None:
    build = BACKWARD[name]
    entry(f"{len(ORDERS)} orders, backward", name, lambda: build(unwrapped(size)), exact_gradient(size), size=size)
