"""The one exception of frame input and output, worded alike everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike, fspath
from typing import Self


class FrameError(ValueError):
    """Frames, masks or labels that cannot be used as asked; says where, what was found and what to do.

    A missing file raises `FileNotFoundError` (`MissingFileError`, which is both, where frames were to be read from
    it) and an index out of range `IndexError`; everything else that is wrong with a file or an array raises this.

    Parameters
    ----------
    problem : str
        What was found and what was expected, as one sentence.
    path : path-like, optional
        The file; leads the message.
    dataset : str, optional
        The data set (HDF5 path, or the array's name in an ``.npz``).
    index : int, optional
        The frame's index within that data set.
    """

    def __init__(
        self,
        problem: str,
        *,
        path: str | PathLike[str] | None = None,
        dataset: str | None = None,
        index: int | None = None,
    ) -> None:
        place = [] if path is None else [fspath(path)]
        if dataset is not None:
            place.append(f"data set '{dataset}'")
        if index is not None:
            place.append(f"frame {index}")
        # A plain message as the only argument, so that the exception crosses process borders (DataLoader).
        super().__init__(f"{', '.join(place)}: {problem}" if place else problem)
        self.problem = problem
        self.path = path
        self.dataset = dataset
        self.index = index

    def located(self, path: str | PathLike[str], dataset: str, index: int) -> Self:
        """The same error with the places that it lacks."""
        return type(self)(
            self.problem,
            path=path if self.path is None else self.path,
            dataset=dataset if self.dataset is None else self.dataset,
            index=index if self.index is None else self.index,
        )


class MissingFileError(FrameError, FileNotFoundError):
    """A file of frames that was there when the stack was opened and is not there now."""


def describe(shape: tuple[int, ...], dtype: object) -> str:
    """``"(10, 64, 64) uint16"``: a shape and type as every message prints them."""
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''}) {dtype}"


def describe_all(arrays: Mapping[str, tuple[tuple[int, ...], object]], limit: int = 20) -> str:
    """Names, shapes and types of a file's arrays for a message: the first ``limit`` and how many more there are."""
    listing = ", ".join(f"{name} {describe(*value)}" for name, value in list(arrays.items())[:limit])
    return f"{listing} and {len(arrays) - limit} more" if len(arrays) > limit else listing
