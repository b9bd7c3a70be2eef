"""Independent pieces of work on all threads, each piece on one: its bits do not depend on how many there are."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch


def one_thread_each(work: Callable[[int], None], count: int, *, parallel: bool = True) -> None:
    """Call ``work(k)`` for every ``k`` below ``count``, on as many threads as torch may use.

    Within a piece, torch computes on one thread: how a matrix product is split up, and so its last digits, depends on
    the number of threads.

    Parameters
    ----------
    work : callable
        Called once for each ``k``; in order where there is one thread.
    count : int
        Number of pieces.
    parallel : bool
        False: one after the other on the calling thread, torch's threads as they are.
    """
    if not parallel:
        for k in range(count):
            work(k)
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        if min(threads, count) <= 1:
            for k in range(count):
                work(k)
            return
        pool = ThreadPoolExecutor(min(threads, count), initializer=torch.set_num_threads, initargs=(1,))
        try:
            for piece in [pool.submit(work, k) for k in range(count)]:
                piece.result()
        finally:
            pool.shutdown(cancel_futures=True)
    finally:
        torch.set_num_threads(threads)
