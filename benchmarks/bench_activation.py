"""Log activation, forward and backward, with bias; beside a copy, NumPy's arcsinh, compiled and eager torch."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from cdifast import ops, reference

from .call import Call, EntryTimer, RowTimer, exact_result, forward_backward
from .inputs import ACTIVATIONS
from .peers import activation as peers

CHECKED = 60_000  # elements


@functools.lru_cache(maxsize=2)
def activation(size: int) -> Tensor:
    return 3 * torch.randn(ACTIVATIONS[size], generator=torch.Generator().manual_seed(0))


@functools.lru_cache(maxsize=1)
def bias() -> Tensor:
    return torch.randn(64, generator=torch.Generator().manual_seed(1))


def ours(x: Tensor, bias: Tensor | None = None) -> Call:
    out = torch.empty_like(x)
    return Call(lambda: ops.log_activation(x, bias=bias, out=out), x.numel())


def ours_new(x: Tensor) -> Call:
    return Call(lambda: ops.log_activation(x), x.numel())


def ours_training(x: Tensor, bias: Tensor | None = None) -> Call:
    return forward_backward(lambda x: ops.log_activation(x, bias=bias), x)


def part(x: Tensor) -> Tensor:
    """A sixteenth: what the reference gets, a second or more a call otherwise."""
    return x.flatten()[: x.numel() // 16]


def by_reference(x: Tensor) -> Call:
    x = part(x)
    return Call(lambda: reference.log_activation(x), x.numel())


def reference_training(x: Tensor) -> Call:
    return forward_backward(reference.log_activation, part(x))


@exact_result
def exact(size: int, with_bias: bool = False) -> Tensor:
    x = activation(size).double()
    x = x + bias().double()[:, None, None] if with_bias else x
    return reference.log_activation(x.flatten()[:CHECKED])


@exact_result
def exact_gradient(size: int, with_bias: bool = False) -> Tensor:
    x = activation(size)[:1].double()
    x = x + bias().double()[:, None, None] if with_bias else x
    return forward_backward(reference.log_activation, x).run().flatten()[:CHECKED]


FORWARD: dict[str, Callable[..., Call]] = {
    "ours, out=": ours,
    "ours, new tensor": ours_new,
    "copy": peers.copy,
    "np.arcsinh": peers.arcsinh,
    "torch.compile": peers.compiled,
    "eager": peers.eager,
    "reference": by_reference,
}
TRAINING: dict[str, Callable[..., Call]] = {
    "ours": ours_training,
    "the same bytes without arithmetic": peers.bare_training,
    "torch.compile": peers.compiled_training,
    "eager": peers.eager_training,
    "reference": reference_training,
}
WITH_BIAS: dict[str, Callable[..., Call]] = {
    "ours, out=": lambda x: ours(x, bias()),
    "eager": lambda x: Call(lambda: peers.sign_log1p(x + bias()[:, None, None]), x.numel()),
}
TRAINING_WITH_BIAS: dict[str, Callable[..., Call]] = {
    "ours": lambda x: ours_training(x, bias()),
    "eager": lambda x: forward_backward(lambda x: peers.sign_log1p(x + bias()[:, None, None]), x),
}


def compiled_elsewhere(name: str, size: int) -> bool:
    """Each shape costs torch.compile some ten seconds, and an elementwise kernel's speed does not depend on it."""
    return name == "torch.compile" and size != 224


@pytest.mark.parametrize(
    ("size", "name"), [(size, name) for size in ACTIVATIONS for name in FORWARD if not compiled_elsewhere(name, size)]
)
def test_forward(name: str, size: int, entry: EntryTimer) -> None:
    entry("forward", name, lambda: FORWARD[name](activation(size)), exact(size), size=size)


@pytest.mark.parametrize(
    ("size", "name"), [(size, name) for size in ACTIVATIONS for name in TRAINING if not compiled_elsewhere(name, size)]
)
def test_forward_backward(name: str, size: int, entry: EntryTimer) -> None:
    entry("forward + backward", name, lambda: TRAINING[name](activation(size)), exact_gradient(size), size=size)


@pytest.mark.parametrize("name", WITH_BIAS)
def test_bias(name: str, entry: EntryTimer) -> None:
    entry("forward with bias", name, lambda: WITH_BIAS[name](activation(224)), exact(224, True), size=224)


@pytest.mark.parametrize("name", TRAINING_WITH_BIAS)
def test_bias_backward(name: str, entry: EntryTimer) -> None:
    build = TRAINING_WITH_BIAS[name]
    entry("forward + backward with bias", name, lambda: build(activation(224)), exact_gradient(224, True), size=224)


@pytest.mark.ratio
def test_row_forward(compare: RowTimer) -> None:
    x = activation(224)
    compare("activation", lambda: ours(x), {"copy": lambda: peers.copy(x)}, exact(224))


@pytest.mark.ratio
def test_row_compiled(compare: RowTimer) -> None:
    x = activation(224)
    compiled = {"torch.compile": lambda: peers.compiled_training(x)}
    compare("activation-compile", lambda: ours_training(x), compiled, exact_gradient(224))


@pytest.mark.ratio
def test_row_eager(compare: RowTimer) -> None:
    x = activation(224)
    eager = {"eager": lambda: peers.eager_training(x)}
    compare("activation-eager", lambda: ours_training(x), eager, exact_gradient(224))
