"""Labels as a CSV table that a person fills in, in any spreadsheet: `read_label_table`, `write_label_table`."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdifast._atomic import write_text_whole
from cdifast.labels import CLASSES

from .errors import FrameError
from .frames import Frames
from .label_cells import (
    HINT,
    NOTES,
    Columns,
    class_columns,
    class_names,
    column_reader,
    fault,
    locator,
    names_reader,
    plain_key,
    read_rows,
)


@dataclass(frozen=True)
class LabelTable:
    """Labels of some frames of a stack.

    Attributes
    ----------
    indices
        Frames that have labels, places in the stack, (n,) int64, ascending.
    labels
        (n, C) uint8 of 0 and 1.
    classes
        Names of the C columns.
    unlabelled
        Rows of the table that are not filled in.
    """

    indices: NDArray[np.int64]
    labels: NDArray[np.uint8]
    classes: tuple[str, ...]
    unlabelled: int = 0


def read_label_table(path: str | os.PathLike[str], frames: Frames, classes: Sequence[str] | None = None) -> LabelTable:
    """Read labels from a CSV table: one row a frame, the first row names the columns.

    *Which frame* a row is about: ``frame``, its place in the stack from 0; or ``file`` and ``index``, its place in
    that file (a name, or a path's last parts); or event keys that `Frames.events` has, such as ``trainId`` and
    ``pulseId``. Where a table has file or keys, all of them count together and ``frame`` is for people: files and
    keys still hold when the stack is put together in another way.

    *What it shows*: a column a class, with 0 or 1 (TRUE, FALSE); in a row with an entry, what is empty is 0. Or one
    column ``labels`` with the names of its classes, separated by ``;``, ``none`` where no class fits. A row without
    an entry is not labelled yet, and left out.

    Columns ``note`` and ``hint: ...`` are not read. Commas, semicolons or tabs separate columns, as the first row
    has them; text is UTF-8.

    Parameters
    ----------
    path
        The table.
    frames
        The stack that it is about.
    classes
        Class names in the order wanted; columns for all of them must be there, and no others. None: the columns'
        own, in the order of `cdifast.labels.CLASSES` where all are among those. With a column ``labels``: ``CLASSES``
        if all names are among them, else the names found, sorted; some among them and others not is an error,
        since it is most often a slip of the pen.

    Returns
    -------
    LabelTable

    Raises
    ------
    FileNotFoundError
        No such file.
    FrameError
        A column, value or frame that is not understood, a frame twice, or no labelled row; file and line are named.
    """
    path = Path(path)
    header, rows = read_rows(path)
    columns = Columns.of(header, path, frames)
    locate = locator(columns, path, frames)
    if columns.names is None:
        names = class_columns(columns, classes, path)
        read = column_reader(columns, names, path)
    else:
        names = class_names(columns, rows, classes, path)
        read = names_reader(columns, names, path)
    found: dict[int, tuple[int, NDArray[np.uint8]]] = {}
    unlabelled = 0
    for line, row in rows:
        labels = read(line, row)
        if labels is None:
            unlabelled += 1
            continue
        index = locate(line, row)
        if index in found:
            raise fault(path, line, f"frame {index} has labels on line {found[index][0]} already")
        found[index] = line, labels
    if not found:
        raise FrameError(f"none of its {len(rows)} rows is labelled", path=path)
    indices = sorted(found)
    return LabelTable(np.array(indices, np.int64), np.stack([found[index][1] for index in indices]), names, unlabelled)


def write_label_table(
    path: str | os.PathLike[str],
    frames: Frames,
    indices: ArrayLike,
    labels: ArrayLike | None = None,
    classes: Sequence[str] = CLASSES,
    *,
    hints: Mapping[str, Sequence[object]] | None = None,
    keys: Sequence[str] = (),
    overwrite: bool = False,
) -> Path:
    """Write a table for `read_label_table`: columns ``frame``, ``file``, ``index``, the classes, and hints.

    Parameters
    ----------
    path
        CSV file; appears whole or not at all.
    frames
        The stack.
    indices
        Frames, a row each, in this order.
    labels
        (n, C) of 0 and 1; None: left empty, to be filled in.
    classes
        Names of the C columns.
    hints
        Further columns by name, a value a row; their names get ``hint:`` in front.
    keys
        Event keys to add, such as ``("trainId", "pulseId")``. None by default: spreadsheets round long numbers.
    overwrite
        Replace an existing table, which may hold a person's work.

    Returns
    -------
    Path

    Raises
    ------
    FileExistsError
        The table is there already.
    ValueError
        Labels or hints of another length, a class name that reading would take for another column.
    IndexError
        A frame out of range.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path}: exists already; remove it, choose another name, or pass overwrite=True")
    rows = np.arange(len(frames))[np.asarray(indices, dtype=np.int64)]
    values = None if labels is None else np.asarray(labels)
    if values is not None and values.shape != (len(rows), len(classes)):
        raise ValueError(f"labels: found shape {values.shape}, expected ({len(rows)}, {len(classes)})")
    events = frames.events
    reserved = {"frame", "labels", *(events.dtype.names or ())}
    for name in classes:
        if (
            name in reserved
            or name.lower() in NOTES
            or name.lower().startswith(HINT)
            or name != name.strip()
            or not name
        ):
            raise ValueError(f"classes: found {name!r}, which a table keeps for another column")
    columns = {f"{HINT} {name}": list(column) for name, column in (hints or {}).items()}
    for name, column in columns.items():
        if len(column) != len(rows):
            raise ValueError(f"{name}: found {len(column)} values for {len(rows)} frames")
    for key in keys:
        if key not in (events.dtype.names or ()):
            raise ValueError(f"keys: found {key!r}, the frames have {', '.join(events.dtype.names or ())}")
    short = len({file.name for file in frames.paths}) == len(frames.paths)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["frame", "file", "index", *keys, *classes, *columns])
    for number, row in enumerate(rows.tolist()):
        file = frames.paths[int(events["file"][row])]
        writer.writerow(
            [
                row,
                file.name if short else str(file),
                events["index"][row],
                *(plain_key(events[key][row]) for key in keys),
                *([""] * len(classes) if values is None else (int(value) for value in values[number])),
                *(column[number] for column in columns.values()),
            ]
        )
    write_text_whole(path, text.getvalue())
    return path
