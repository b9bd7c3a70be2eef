"""Showing how a training run goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from .history import ContrastRecord, EpochRecord


class StepReport(NamedTuple):
    """What a progress callback is told after each step.

    Attributes
    ----------
    epoch, epochs
        The epoch (from 1) and how many there are.
    step, steps
        The step in the epoch (from 1) and how many there are.
    loss
        Loss of the step.
    last : EpochRecord, ContrastRecord or None
        Record of the last completed epoch.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    last: EpochRecord | ContrastRecord | None


ProgressCallback = Callable[[StepReport], None]


@contextmanager
def reporter(progress: bool | ProgressCallback) -> Iterator[ProgressCallback]:
    """The callback itself, one that draws a rich progress bar on standard error, or one that is silent."""
    if callable(progress):
        yield progress
    elif progress:
        with _bar() as callback:
            yield callback
    else:
        yield lambda report: None


@contextmanager
def _bar() -> Iterator[ProgressCallback]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("loss {task.fields[loss]}{task.fields[validation]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("train", total=None, epoch="", loss="", validation="")

        def update(report: StepReport) -> None:
            validation = ""
            if isinstance(report.last, ContrastRecord):
                if report.last.retrieval is not None:
                    validation = f", partners found {report.last.retrieval:.3f}"
            elif report.last is not None and report.last.accuracy is not None:
                validation = f", validation accuracy {report.last.accuracy:.3f}"
            bar.update(
                task,
                total=report.epochs * report.steps,
                completed=(report.epoch - 1) * report.steps + report.step,
                epoch=f"{report.epoch}/{report.epochs}",
                loss=f"{report.loss:.4f}",
                validation=validation,
            )

        yield update
