"""A study in cells: each a pure function of its description, kept as one JSON file, so that a study can be stopped at
any moment and goes on where it was, with any number of processes.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from cdifast._atomic import write_text_whole
from cdifast.jobs.processes import ordered_map
from cdifast.report.machine import describe_machine, describe_versions


class Cell(Protocol):
    """What describes a cell: a frozen dataclass of plain values with a name that no other cell of the study has."""

    @property
    def name(self) -> str: ...


def path_of(folder: Path, cell: Cell) -> Path:
    """Where a cell's result is kept."""
    return folder / "cells" / f"{cell.name}.json"


def read_cell(folder: Path, cell: Cell, scale: Any) -> dict[str, Any] | None:
    """A cell's result; None if it has not been computed, or was from another description or scale.

    Returns
    -------
    dict or None
        What the cell's function returned.
    """
    path = path_of(folder, cell)
    if not path.is_file():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    described: bool = (content["cell"], content["scale"]) == (_description(cell), _scale(scale))
    return content["result"] if described else None


def run_cells(
    function: Callable[..., dict[str, Any]],
    cells: Sequence[Cell],
    folder: Path,
    scale: Any,
    arguments: tuple[Any, ...] = (),
    *,
    jobs: int = 1,
    say: Callable[[str], None] = print,
) -> None:
    """Compute the cells that are not there yet.

    Parameters
    ----------
    function
        ``function(cell, scale, *arguments) -> dict`` of JSON-serialisable values; importable by name.
    cells
        In the order in which to compute them.
    folder
        The study's; results go to its ``cells``.
    scale
        Size of the study, a dataclass; cells of another size are computed anew. Its ``seeds`` are not part of a cell.
    arguments
        Picklable, and without influence on the result.
    jobs
        Processes; each uses its share of the cores.
    say
        Told of each finished cell.
    """
    names = [cell.name for cell in cells]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"cells: found {', '.join(sorted(twice))} twice, expected each name once")
    missing = [cell for cell in cells if read_cell(folder, cell, scale) is None]
    say(f"{len(cells) - len(missing)} of {len(cells)} cells are there, {len(missing)} to compute")
    calls = [(function, cell, folder, scale, arguments) for cell in missing]
    # A cell may take as long as ten others: none waits for it.
    done = (
        ordered_map(_compute, calls, jobs, ahead=max(len(calls), 1))
        if jobs > 1
        else (_compute(*call) for call in calls)
    )
    for number, (cell, seconds) in enumerate(zip(missing, done, strict=True), 1):
        say(f"{number} of {len(missing)}: {cell.name}, {seconds:.0f} s")


def machines_in_words(folder: Path) -> str:
    """The machines on which the cells of a study were computed, for a page."""
    found = [json.loads(path.read_text(encoding="utf-8"))["machine"] for path in sorted(folder.glob("cells/*.json"))]
    names = (entry["gpu"] or f"{entry['cpu']}, {entry['cores']} cores" for entry in found)
    return "; ".join(dict.fromkeys(names))


def _compute(
    function: Callable[..., dict[str, Any]], cell: Cell, folder: Path, scale: Any, arguments: tuple[Any, ...]
) -> float:
    """Compute one cell and write it down; returns the seconds that took."""
    begun = time.monotonic()
    result = function(cell, scale, *arguments)
    seconds = time.monotonic() - begun
    path = path_of(folder, cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "cell": _description(cell),
        "scale": _scale(scale),
        "result": result,
        "seconds": round(seconds, 1),
        "machine": describe_machine(),
        "versions": describe_versions(),
    }
    write_text_whole(path, json.dumps(content, allow_nan=False) + "\n")
    return seconds


def _scale(scale: Any) -> dict[str, Any]:
    return {name: value for name, value in _description(scale).items() if name != "seeds"}


def _description(cell: Cell) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(cell)))  # type: ignore[call-overload]
    return described
