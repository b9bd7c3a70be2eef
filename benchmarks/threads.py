"""One number of threads for everything that has threads of its own."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager

import scipy.fft
import torch
from threadpoolctl import threadpool_limits

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
COUNTS = tuple(count for count in (1, 2) if count <= CORES)


@contextmanager
def limit_threads(count: int) -> Iterator[None]:
    """Within it torch, OpenCV, scipy.fft, NumPy's BLAS and every loaded OpenMP use ``count`` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    _limit_opencv(count)
    try:
        with threadpool_limits(count), scipy.fft.set_workers(count):
            yield
    finally:
        torch.set_num_threads(before)
        _limit_opencv(-1)


def _limit_opencv(count: int) -> None:
    if importlib.util.find_spec("cv2") is not None:
        import cv2

        cv2.setNumThreads(count)
