"""The course of a run for TensorBoard, where that is installed and asked for."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from .history import EpochRecord

FOLDER = "tensorboard"


class EpochWriter:
    """Writes the numbers of each epoch as scalars into a folder; the epoch is the step.

    Parameters
    ----------
    folder
        Folder of the run; events go into its ``tensorboard``.
    completed
        Epochs that were completed before; later ones that an earlier attempt wrote are not shown any more.

    Raises
    ------
    ImportError
        TensorBoard is not installed.
    """

    def __init__(self, folder: Path, completed: int = 0) -> None:
        self._writer: Any = _writer_class()(str(folder / FOLDER), purge_step=completed + 1)

    def write(self, record: EpochRecord) -> None:
        """Write one epoch."""
        for name, value in dataclasses.asdict(record).items():
            if name != "epoch" and value is not None:
                self._writer.add_scalar(name, float(value), record.epoch)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


def require_tensorboard() -> None:
    """Raise the ImportError now, before any work is done."""
    _writer_class()


def _writer_class() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError(
            "tensorboard: not installed (pip install tensorboard); history.csv has the same numbers"
        ) from error
    return SummaryWriter
