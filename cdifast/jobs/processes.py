"""A function over many arguments in several processes, results in order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")

_AHEAD = 2


def ordered_map(
    function: Callable[..., Result], calls: Sequence[tuple[Any, ...]], jobs: int, *, ahead: int = _AHEAD
) -> Iterator[Result]:
    """``function(*call)`` for each call, in order, computed by ``jobs`` processes.

    Processes are spawned, not forked: torch's threads do not survive a fork. Each uses its share of the processor's
    cores. Ctrl-C reaches this process only, which then waits for the calls at hand and ends the others; should it be
    killed, they end by themselves.

    Parameters
    ----------
    function : callable
        Importable by name, its arguments and result picklable.
    calls : sequence of tuple
        Arguments of each call.
    jobs : int
        Processes, 1 or more; at most one for each call is started.
    ahead : int
        Calls given out for each process before the first of their results is taken. It bounds the results that wait in
        memory; where they are small and one call may take as long as many, it should be large, or processes wait too.

    Yields
    ------
    Result
        Of each call; an exception of a call is raised here.
    """
    if not calls:
        return
    jobs = min(jobs, len(calls))
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=_prepare, initargs=(jobs,))
    waiting: deque[Future[Result]] = deque()
    try:
        for call in calls:
            waiting.append(pool.submit(function, *call))
            if len(waiting) >= ahead * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare(jobs: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(max(1, torch.get_num_threads() // jobs))


def _leave_with_parent() -> None:
    """End this process when the one that started it is gone: a pool's processes would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
