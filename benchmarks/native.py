"""C++ that only benchmarks need, compiled for this machine and run on torch's threads."""

from __future__ import annotations

import atexit
import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import torch

Result = TypeVar("Result")

LINE = 16  # floats of a cache line, which the loops of streams.cpp go by


@functools.cache
def library(name: str) -> ctypes.CDLL:
    """``benchmarks/<name>.cpp`` as a library, with every instruction that this machine has."""
    folder = tempfile.mkdtemp(prefix="cdifast-benchmarks-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    target = Path(folder) / f"{name}.so"
    command = [os.environ.get("CXX", "c++"), "-O3", "-march=native", "-std=c++20", "-shared", "-fPIC"]
    subprocess.run([*command, str(Path(__file__).with_name(f"{name}.cpp")), "-o", str(target)], check=True)
    return ctypes.CDLL(str(target))


def on_all_threads(work: Callable[[int], Result]) -> Callable[[], list[Result]]:
    """A call of ``work(i)`` for every thread i that torch has now, at once: foreign calls release Python's lock."""
    threads = torch.get_num_threads()
    if threads == 1:
        return lambda: [work(0)]
    pool = ThreadPoolExecutor(threads)
    return lambda: list(pool.map(work, range(threads)))
