"""The cells of a label table: which columns it has, which frame a row is about, what its labels are."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cdifast.labels import CLASSES

from .errors import FrameError
from .frames import Frames

HINT: Final = "hint:"
"""Columns whose names begin so are for the person who labels; reading leaves them out."""
NOTES: Final = ("note", "notes")
"""Columns of these names are left out too."""
NONE: Final = "none"
"""In a column ``labels``: looked at, and of no class."""

_VALUES: Final = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "0,0": 0, "1,0": 1, "false": 0, "true": 1}


@dataclass(frozen=True)
class Columns:
    """Where a table has what: columns by name, and that of ``labels``."""

    keys: dict[str, int]
    classes: dict[str, int]
    names: int | None

    @classmethod
    def of(cls, header: list[str], path: Path, frames: Frames) -> Columns:
        known = {"frame", *(frames.events.dtype.names or ())}
        keys: dict[str, int] = {}
        others: dict[str, int] = {}
        for column, name in enumerate(header):
            if name.lower().startswith(HINT) or name.lower() in NOTES or not name:
                continue
            place = keys if name in known else others
            if name in place:
                raise fault(path, 1, f"two columns are called {name!r}")
            place[name] = column
        if ("file" in keys) != ("index" in keys):
            raise fault(path, 1, "found one of the columns 'file' and 'index', expected both or neither")
        if not keys:
            raise fault(
                path,
                1,
                f"no column says which frame a row is about; found {', '.join(map(repr, header)) or 'nothing'}, "
                f"expected 'frame', 'file' and 'index', or event keys ({', '.join(sorted(known))})",
            )
        names = others.pop("labels", None)
        if names is not None and others:
            raise fault(
                path, 1, f"found a column 'labels' and also {', '.join(map(repr, others))}; expected names or columns"
            )
        if names is None and not others:
            raise fault(path, 1, "found no column of labels, expected one a class, or one 'labels'")
        if len(keys) > 1:
            keys.pop("frame", None)
        return cls(keys, others, names)


def read_rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The names of the columns, and the rows that are not blank, each with its line."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file (given as labels)")
    try:
        text = path.read_bytes().decode("utf-8-sig")  # spreadsheets write the mark of byte order
    except UnicodeDecodeError as error:
        raise FrameError(f"is not UTF-8 text ({error}); save it as CSV in UTF-8", path=path) from error
    first = text.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise fault(path, reader.line_num, f"is not readable as CSV ({error})") from error
    rows = [(line, row) for line, row in rows if any(row)]
    if not rows:
        raise FrameError("is empty; expected a CSV table with the columns' names in the first row", path=path)
    header = rows[0][1]
    for line, row in rows[1:]:
        if len(row) > len(header) and any(row[len(header) :]):
            raise fault(path, line, f"found {len(row)} cells, the first row names {len(header)} columns")
    return header, [(line, row + [""] * (len(header) - len(row))) for line, row in rows[1:]]


def locator(columns: Columns, path: Path, frames: Frames) -> Callable[[int, list[str]], int]:
    """From a row to the frame's place in the stack."""
    if list(columns.keys) == ["frame"]:
        column = columns.keys["frame"]

        def by_place(line: int, row: list[str]) -> int:
            index = _integer(row[column], path, line, "frame")
            if not 0 <= index < len(frames):
                raise fault(path, line, f"frame: found {index}, expected 0 to {len(frames) - 1}")
            return index

        return by_place
    events = frames.events
    named = list(columns.keys)
    places: dict[tuple[object, ...], list[int]] = {}
    for place, key in enumerate(zip(*([plain_key(v) for v in events[name].tolist()] for name in named), strict=True)):
        places.setdefault(key, []).append(place)

    # Runs of one file a shot have thousands of files.
    files: dict[str, list[int]] = {}
    for number, file in enumerate(frames.paths):
        files.setdefault(file.name, []).append(number)

    def by_keys(line: int, row: list[str]) -> int:
        texts = {name: row[columns.keys[name]] for name in named}
        key = tuple(
            _file_number(text, path, line, frames, files)
            if name == "file"
            else _key(name, text, events.dtype[name], path, line)
            for name, text in texts.items()
        )
        found = places.get(key, [])
        if len(found) != 1:
            what = ", ".join(f"{name} {text}" for name, text in texts.items())
            many = f"{len(found)} frames have" if found else "no frame has"
            raise fault(path, line, f"{many} {what}; expected one of the {len(frames)} frames of the stack")
        return found[0]

    return by_keys


def _key(name: str, text: str, dtype: np.dtype[Any], path: Path, line: int) -> object:
    """A cell as the value that the frames' events hold."""
    if dtype.kind in "ui":
        return _integer(text, path, line, name)
    if dtype.kind == "f":
        try:
            return float(text)
        except ValueError:
            raise fault(path, line, f"{name}: found {text!r}, expected a number") from None
    return text


def _file_number(text: str, path: Path, line: int, frames: Frames, files: dict[str, list[int]]) -> int:
    """Which file of the stack a name or a path's last parts mean."""
    parts = Path(text).parts
    same_name = files.get(parts[-1], []) if parts else []
    found = [number for number in same_name if frames.paths[number].parts[-len(parts) :] == parts]
    if len(found) != 1:
        many = f"{len(found)} files of the stack end in it" if found else "no file of the stack is called so"
        some = ", ".join(file.name for file in frames.paths[:3]) + (", ..." if len(frames.paths) > 3 else "")
        raise fault(path, line, f"file: found {text!r}, {many} ({some})")
    return found[0]


def class_columns(columns: Columns, classes: Sequence[str] | None, path: Path) -> tuple[str, ...]:
    found = columns.classes
    if classes is None:
        return tuple(name for name in CLASSES if name in found) if found.keys() <= set(CLASSES) else tuple(found)
    missing = [name for name in classes if name not in found]
    surplus = [name for name in found if name not in classes]
    if missing or surplus:
        problems = [f"no column for {', '.join(map(repr, missing))}"] if missing else []
        problems += [f"{', '.join(map(repr, surplus))}, which is no class"] if surplus else []
        raise fault(path, 1, f"found {' and '.join(problems)}; expected a column for each of {', '.join(classes)}")
    return tuple(classes)


def column_reader(
    columns: Columns, names: tuple[str, ...], path: Path
) -> Callable[[int, list[str]], NDArray[np.uint8] | None]:
    def read(line: int, row: list[str]) -> NDArray[np.uint8] | None:
        cells = [row[columns.classes[name]] for name in names]
        if not any(cells):
            return None
        labels = np.zeros(len(names), np.uint8)
        for number, (name, cell) in enumerate(zip(names, cells, strict=True)):
            if cell:
                if cell.lower() not in _VALUES:
                    raise fault(path, line, f"{name}: found {cell!r}, expected 0, 1 or nothing")
                labels[number] = _VALUES[cell.lower()]
        return labels

    return read


def class_names(
    columns: Columns, rows: list[tuple[int, list[str]]], classes: Sequence[str] | None, path: Path
) -> tuple[str, ...]:
    if classes is not None:
        return tuple(classes)
    assert columns.names is not None
    lines = {name: line for line, row in reversed(rows) for name in _split(row[columns.names]) if name != NONE}
    strange = sorted(lines.keys() - set(CLASSES))
    if strange and len(strange) < len(lines):
        raise fault(
            path,
            lines[strange[0]],
            f"labels: found {strange[0]!r}, expected names among {', '.join(CLASSES)}, as on other lines",
        )
    return tuple(strange) if strange else CLASSES


def names_reader(
    columns: Columns, names: tuple[str, ...], path: Path
) -> Callable[[int, list[str]], NDArray[np.uint8] | None]:
    column = columns.names
    assert column is not None

    def read(line: int, row: list[str]) -> NDArray[np.uint8] | None:
        given = list(_split(row[column]))
        if not given:
            return None
        labels = np.zeros(len(names), np.uint8)
        for name in given:
            if name in names:
                labels[names.index(name)] = 1
            elif given != [NONE]:
                raise fault(path, line, f"labels: found {name!r}, expected names among {', '.join(names)}, or {NONE}")
        return labels

    return read


def _split(cell: str) -> Iterator[str]:
    return (name.strip() for name in cell.split(";") if name.strip())


def _integer(text: str, path: Path, line: int, name: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise fault(path, line, f"{name}: found {text!r}, expected a whole number") from None


def plain_key(value: object) -> object:
    """A key as text or number."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def fault(path: Path, line: int, problem: str) -> FrameError:
    return FrameError(f"line {line}: {problem}", path=path)
