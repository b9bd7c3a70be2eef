"""What the machine can do at most: memory bandwidth at sizes from the private caches to memory, and multiply-adds."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from .call import Call, EntryTimer
from .native import library, on_all_threads

# Bytes that one call touches, both tensors of a copy together.
WORKING_SETS = tuple(megabytes << 20 for megabytes in (1, 8, 32, 128, 512))
MATRIX = 2048


def copy(size: int) -> Call:
    """Bytes read plus bytes written. What a plain store reads before it writes is not counted."""
    source = torch.ones(size // 8)
    target = torch.empty_like(source)
    return Call(lambda: target.copy_(source), size, tolerance=None)


def memcpy(size: int) -> Call:
    """The C library's, which writes large blocks past the caches."""
    source = torch.ones(size // 8)
    target = torch.empty_like(source)
    move = ctypes.CDLL(None).memcpy
    move.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
    return in_parts(size, 2, lambda at, count: move(target.data_ptr() + at, source.data_ptr() + at, count))


def read(size: int) -> Call:
    """A sum: nothing is written."""
    source = torch.ones(size // 4)
    return Call(source.sum, size, tolerance=None)


def fill(size: int) -> Call:
    """Nothing is read, but what a plain store reads before it writes."""
    target = torch.empty(size // 4)
    return Call(lambda: target.fill_(1.0), size, tolerance=None)


def memset(size: int) -> Call:
    """The C library's; not of zeros, which an EPYC writes in half the time of other numbers."""
    target = torch.empty(size // 4)
    put = ctypes.CDLL(None).memset
    put.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
    return in_parts(size, 1, lambda at, count: put(target.data_ptr() + at, 1, count))


def in_parts(size: int, tensors: int, work: Callable[[int, int], object]) -> Call:
    """``work(start, bytes)`` for as many parts as torch has threads, at once."""
    part = size // tensors // torch.get_num_threads()
    return Call(on_all_threads(lambda i: work(i * part, part)), size, tolerance=None)


BANDWIDTHS = {"copy": copy, "copy, memcpy": memcpy, "read": read, "fill": fill, "fill, memset": memset}


@pytest.mark.parametrize("name", BANDWIDTHS)
@pytest.mark.parametrize("size", WORKING_SETS)
def test_bandwidth(name: str, size: int, entry: EntryTimer) -> None:
    entry("bytes", name, lambda: BANDWIDTHS[name](size), None, size=size)


def in_registers(operations: int) -> Call:
    """As many multiply-adds without a load or a store, shared out among torch's threads."""
    run = library("multiply_adds").multiply_adds
    run.argtypes = (ctypes.c_int64, ctypes.c_void_p)
    threads = torch.get_num_threads()
    sums = [torch.arange(12.0) for _ in range(threads)]

    def share(i: int) -> Tensor:
        run(operations // threads, sums[i].data_ptr())
        return sums[i]

    return Call(on_all_threads(share), operations, tolerance=None)


def test_multiply_adds(entry: EntryTimer) -> None:
    """Two operations a multiply-add."""
    left, right = torch.rand(MATRIX, MATRIX), torch.rand(MATRIX, MATRIX)
    out = torch.empty(MATRIX, MATRIX)
    product = Call(lambda: torch.mm(left, right, out=out), 2 * MATRIX**3, tolerance=None)
    entry("operations", "torch.mm", lambda: product, None, size=MATRIX)


def test_multiply_adds_in_registers(entry: EntryTimer) -> None:
    """As many as that product has: what no product reaches, which loads its factors."""
    entry("operations", "registers", lambda: in_registers(2 * MATRIX**3), None, size=MATRIX)
