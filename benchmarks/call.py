"""A call to time: what every peer's and every operator's builder returns."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Call:
    """What is timed, and how its result is read.

    Attributes
    ----------
    run
        Timed. Everything that can be prepared once (plans, coordinates, output buffers) is prepared before.
    items
        Images, maps or elements that one run handles; the slow peers get few.
    read
        From the result of ``run`` to a tensor in our layout, items first. Not timed: a peer does not pay for
        another order of axes.
    tolerance
        Largest relative error with which this still counts as the same work; a benchmark fails beyond it. None for
        what does not compute the same (a copy): it has no error.
    """

    run: Callable[[], Any]
    items: int
    read: Callable[[Any], Tensor] = torch.as_tensor
    tolerance: float | None = 1e-3


Builder = Callable[[], Call]


class EntryTimer(Protocol):
    """The fixture ``entry``: time one line of the full tables."""

    def __call__(
        self, work: str, name: str, build: Builder, exact: Tensor | None, *, size: int, dtype: str = "float32"
    ) -> None: ...


class RowTimer(Protocol):
    """The fixture ``compare``: time ours and its peers in turn."""

    def __call__(self, row: str, ours: Builder, peers: Mapping[str, Builder], exact: Tensor) -> None: ...


class MissingPeer(Exception):
    """A peer that cannot run here; the message says why."""


def peer_module(name: str, package: str) -> ModuleType:
    """Import a peer's module, or raise :class:`MissingPeer` with the package that has it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingPeer(f"{package} cannot be imported: {error}") from error


def cotangent(like: Tensor) -> Tensor:
    """A fixed gradient of the shape of ``like``; the first items are the same whatever the batch."""
    return (torch.arange(like.numel()).remainder(97) / 97 - 0.3).to(like.dtype).reshape(like.shape)


def backward(forward: Callable[[Tensor], Tensor], x: Tensor) -> Call:
    """The backward pass alone: the graph is built once and kept."""
    x = x.detach().requires_grad_()
    y = forward(x)
    grad = cotangent(y)
    return Call(lambda: torch.autograd.grad(y, x, grad, retain_graph=True)[0], len(x))


def forward_backward(forward: Callable[[Tensor], Tensor], x: Tensor) -> Call:
    """Forward and backward pass, as in a training step."""
    x = x.detach().requires_grad_()
    grad = cotangent(x.detach())

    def run() -> Tensor:
        return torch.autograd.grad(forward(x), x, grad)[0]

    return Call(run, x.numel())


exact_result = functools.lru_cache(maxsize=8)
"""Decorates what computes a float64 result: entries that differ in dtype, threads or peer share it."""


def relative_error(call: Call, exact: Tensor | None) -> float | None:
    """Error of the first items against float64, in the Euclidean norm; None where nothing is computed.

    Where ``exact`` is NaN nothing is compared: a border that peers treat in another way. Fails where the error shows
    that the call does something else.
    """
    result = call.run()
    if exact is None or call.tolerance is None:
        return None
    found = call.read(result).detach().flatten()[: exact.numel()]
    found = found.to(torch.promote_types(found.dtype, exact.dtype))
    expected = exact.flatten()[: found.numel()]
    compared = ~expected.real.isnan()
    found, expected = found[compared], expected[compared]
    error = float((found - expected).norm() / expected.norm())
    assert error <= call.tolerance, (
        f"not the same work: relative error {error:.2g}, at most {call.tolerance:g} expected"
    )
    return error
