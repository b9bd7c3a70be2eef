"""Whether memory that is freed comes back warm, found by counting page faults.

glibc returns a block above 32 MB to the system as soon as it is freed, so that a result of 51 MB meets 12,500 page
faults each time: that, and not the computation, is then most of the time. A program that works batch after batch
keeps its heap, or gives `out=`. So the benchmarks run with a heap that is kept (`make bench` sets
MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_), and bench_heap.py, which also runs without, tells the difference.
"""

from __future__ import annotations

import resource

import torch

_MEGABYTE = 1 << 20


def _faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def _touch(megabytes: int) -> None:
    torch.empty(megabytes * _MEGABYTE, dtype=torch.uint8).fill_(1)


def state() -> str:
    """``"warm"`` if a block of 51 MB comes back with its pages after it is freed, else ``"cold"``."""
    _touch(256)
    before = _faults()
    _touch(51)
    return "warm" if _faults() - before < 1000 else "cold"


def preheat(megabytes: int = 2048) -> None:
    """Touch that much memory and free it: the heap then holds it in one piece, for all that follows."""
    _touch(megabytes)
