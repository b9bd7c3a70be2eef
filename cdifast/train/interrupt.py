"""Stopping a run between two steps instead of in the middle of one."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any, Self


class TrainingInterrupted(KeyboardInterrupt):
    """Training was stopped by a signal; its state is in `checkpoint`, from which it can be resumed.

    Attributes
    ----------
    checkpoint : pathlib.Path
        The file.
    signal_number : int
        SIGINT or SIGTERM.
    """

    def __init__(self, checkpoint: Path, signal_number: int) -> None:
        name = signal.Signals(signal_number).name
        super().__init__(f"training stopped by {name}; resume it from {checkpoint}")
        self.checkpoint = checkpoint
        self.signal_number = signal_number


class InterruptGuard:
    """Context manager that remembers the first SIGINT or SIGTERM instead of raising at once.

    A second one acts as usual, so an impatient user is not held up. Signals can be caught in the main
    thread only; elsewhere this does nothing.

    Attributes
    ----------
    signal_number : int or None
        The signal that arrived.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *exception: object) -> None:
        self._restore()

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.signal_number = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()
