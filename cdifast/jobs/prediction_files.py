"""Files of predictions: reading them, and a CSV table of one."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cdifast._atomic import whole_file
from cdifast.data import FrameError, Frames
from cdifast.data.hdf5 import import_h5py
from cdifast.evaluate import rule_violations

from .rows import refuse_inputs

GROUP: Final = "/entry_1/predictions"
"""Where the predictions are in their file."""

_CSV_ROWS: Final = 4096


@dataclass(frozen=True)
class Predictions:
    """What `write_predictions` wrote.

    Attributes
    ----------
    probabilities
        (N, C) float32.
    labels
        (N, C) uint8.
    rules
        Sentences that state the R rules.
    rule_broken
        (N, R) uint8: 1 where the labels break a rule.
    classes, thresholds
        Of the C columns.
    paths
        Files that the frames came from.
    file, index
        File (its place in ``paths``) of each frame, and which frame in it, (N,).
    """

    probabilities: NDArray[np.float32]
    labels: NDArray[np.uint8]
    rules: tuple[str, ...]
    rule_broken: NDArray[np.uint8]
    classes: tuple[str, ...]
    thresholds: tuple[float, ...]
    paths: tuple[Path, ...]
    file: NDArray[np.int64]
    index: NDArray[np.int64]

    def check_frames(self, frames: Frames, source: str | os.PathLike[str]) -> None:
        """Refuse predictions of other frames: another number, file names or order; folders may differ.

        Raises
        ------
        FrameError
            Names the first difference.
        """
        if len(self.labels) != len(frames):
            raise FrameError(f"holds predictions for {len(self.labels)} frames; there are {len(frames)}", path=source)
        events = frames.events
        for row in np.flatnonzero((events["file"] != self.file) | (events["index"] != self.index))[:1].tolist():
            raise FrameError(f"row {row} is about frame {self.index[row]} of file {self.file[row]}", path=source)
        for ours, theirs in zip(self.paths, frames.paths, strict=False):
            if ours.name != theirs.name:
                raise FrameError(f"holds predictions for {ours.name}, expected {theirs.name}", path=source)


def read_predictions(path: str | os.PathLike[str]) -> Predictions:
    """Read a file that `write_predictions` wrote.

    Raises
    ------
    FileNotFoundError
        No such file.
    FrameError
        A file without predictions.
    """
    with _opened(path) as file:
        group, events = file[GROUP], file["/entry_1/events"]
        classes = tuple(map(str, group.attrs["classes"]))
        labels = group["label"][()]
        return Predictions(
            group["probability"][()],
            labels,
            rule_names(classes),
            rule_violations(labels, classes).matrix,
            classes,
            tuple(map(float, group.attrs["thresholds"])),
            tuple(Path(os.fsdecode(name)) for name in events["paths"][()]),
            events["file"][()].astype(np.int64),
            events["index"][()],
        )


def write_prediction_table(
    predictions: str | os.PathLike[str], output: str | os.PathLike[str], *, overwrite: bool = False
) -> Path:
    """Write a CSV table of a file of predictions: a row a frame, for spreadsheets and scripts.

    Columns: ``frame`` (place in the stack), ``file``, ``index`` and what else identifies the frame, ``predicted``
    (names of the labels, separated by ``;``), ``broken rules``, and ``probability: CLASS`` for each class.

    Parameters
    ----------
    predictions
        As `write_predictions` wrote it.
    output
        CSV file; appears whole or not at all.
    overwrite
        Replace an existing file.

    Returns
    -------
    Path

    Raises
    ------
    FileNotFoundError, FrameError
        As `read_predictions`.
    FileExistsError
        If ``output`` exists and ``overwrite`` is False.
    """
    refuse_inputs(output, [predictions])
    output = Path(output)
    if output.exists() and not overwrite:
        raise FileExistsError(f"{output}: exists already; remove it, choose another name, or pass overwrite=True")
    with _opened(predictions) as file, whole_file(output) as temporary:
        group, events = file[GROUP], file["/entry_1/events"]
        classes = tuple(map(str, group.attrs["classes"]))
        rules = rule_names(classes)
        paths = [os.fsdecode(name) for name in events["paths"][()]]
        keys = sorted(set(events) - {"file", "index", "paths"})
        with open(temporary, "w", encoding="utf-8", newline="") as text:
            writer = csv.writer(text, lineterminator="\n")
            named = [f"probability: {name}" for name in classes]
            writer.writerow(["frame", "file", "index", *keys, "predicted", "broken rules", *named])
            for start in range(0, len(group["label"]), _CSV_ROWS):
                rows = slice(start, start + _CSV_ROWS)
                labels, files = group["label"][rows], events["file"][rows]
                broken = rule_violations(labels, classes).matrix
                others = [events[key][rows].tolist() for key in ("index", *keys)]
                for row, values in enumerate(group["probability"][rows].tolist()):
                    writer.writerow(
                        [
                            start + row,
                            paths[files[row]],
                            *(_text(column[row]) for column in others),
                            _joined(classes, labels[row]),
                            _joined(rules, broken[row]),
                            *(f"{value:.6g}" for value in values),
                        ]
                    )
    return output


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Any]:
    if not Path(path).is_file():
        raise FileNotFoundError(f"{os.fspath(path)}: no such file (given as predictions)")
    try:
        file = import_h5py().File(path)
    except OSError as error:
        raise FrameError(f"is no HDF5 file with predictions ({error})", path=path) from error
    with file:
        if f"{GROUP}/probability" not in file:
            raise FrameError("holds no predictions; `cdifast predict` writes such files", path=path, dataset=GROUP)
        yield file


def rule_names(classes: Sequence[str]) -> tuple[str, ...]:
    """The rules that speak of these classes, in the order of the columns of ``rule_broken``."""
    return tuple(rule_violations(np.zeros((0, len(classes))), classes).by_rule)


def _joined(names: Sequence[str], chosen: NDArray[np.uint8]) -> str:
    return "; ".join(name for name, value in zip(names, chosen, strict=True) if value)


def _text(value: object) -> object:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
