"""A thread that works ahead of its consumer, and ends with it."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

T = TypeVar("T")
R = TypeVar("R")

POLL_SECONDS: Final = 0.2  # how often a waiting thread looks whether it is still wanted


class Cancelled(Exception):
    """Raised in the thread when its consumer has gone."""


class Background(Generic[T]):
    """Runs an iterator in a thread; iterating over this gives its items in order.

    What the iterator raises is raised at the consumer, after the items before it. `close` (or leaving the ``with``
    block) ends the thread after the item at hand and waits for it. A thread that waits also ends when the program
    does, without anybody closing it.

    Parameters
    ----------
    work : callable
        Called in the thread with this object; returns the iterator. It should wait through `wait` alone.
    depth : int
        Items that may lie ready before the thread waits.
    """

    def __init__(self, work: Callable[[Background[T]], Iterator[T]], depth: int) -> None:
        self._ready: queue.Queue[tuple[bool, T | BaseException | None]] = queue.Queue(max(1, depth))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(work,), name="cdifast-reader")
        self._thread.start()

    def _run(self, work: Callable[[Background[T]], Iterator[T]]) -> None:
        try:
            for item in work(self):
                self._put(True, item)
            self._put(False, None)
        except Cancelled:
            pass
        except BaseException as error:
            with contextlib.suppress(Cancelled):
                self._put(False, error)

    def _put(self, more: bool, item: T | BaseException | None) -> None:
        self.wait(lambda: self._ready.put((more, item), timeout=POLL_SECONDS), queue.Full)

    def wait(self, attempt: Callable[[], R], not_yet: type[Exception]) -> R:
        """In the thread: try until ``attempt`` no longer raises ``not_yet``, and return what it returns.

        Raises
        ------
        Cancelled
            The consumer has closed, or the main thread has ended.
        """
        while True:
            # The interpreter waits for this thread before it ends, so it must notice by itself.
            if self._stop.is_set() or not threading.main_thread().is_alive():
                raise Cancelled
            try:
                return attempt()
            except not_yet:
                continue

    def __iter__(self) -> Iterator[T]:
        while True:
            try:
                more, item = self._ready.get(timeout=POLL_SECONDS)
            except queue.Empty:
                if self._thread.is_alive() or not self._ready.empty():
                    continue
                raise RuntimeError("the reading thread has ended before its work: was this process forked?") from None
            if isinstance(item, BaseException):
                raise item
            if not more:
                return
            yield item  # type: ignore[misc]

    def close(self) -> None:
        """End the thread and wait for it; may be repeated."""
        self._stop.set()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
