"""Virtual data sets, resolved to the data sets that they are made of."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .chunk_table import ChunkTable, Unsupported

_SELECT_ALL: Final = 3  # h5py.h5s.SEL_ALL; such a space need not have a shape


class Extent(NamedTuple):
    """A range along one axis."""

    start: int
    stop: int


@dataclass
class Tile:
    """A rectangle of every frame, and where each frame's comes from.

    Attributes
    ----------
    y, x : int
        Its corner in the frame.
    source_y, source_x : Extent
        The rectangle in the source's last two dimensions.
    fixed : tuple of int
        Index into the source's dimensions between the first and the last two.
    table : ndarray of int32, (N,), or None
        Which of the reader's tables holds the frame's rectangle; -1: none. None: table 0 holds all.
    row : ndarray of int64, (N,), or None
        Index along the source's first dimension. None: the frame's own.
    """

    y: int
    x: int
    source_y: Extent
    source_x: Extent
    fixed: tuple[int, ...] = ()
    table: NDArray[np.int32] | None = None
    row: NDArray[np.int64] | None = None

    @property
    def pixels(self) -> int:
        """Pixels of the rectangle."""
        return (self.source_y.stop - self.source_y.start) * (self.source_x.stop - self.source_x.start)


@dataclass
class Resolved:
    """A virtual data set as tiles of stored ones."""

    tables: list[ChunkTable] = field(default_factory=list)
    tiles: list[Tile] = field(default_factory=list)


def resolve(dataset: Any, table_of: Callable[[str, str], ChunkTable], inner: tuple[int | slice, ...] = ()) -> Resolved:
    """Resolve a virtual data set ``(N, ..., H, W)``, whose dimensions but the first make one tall frame.

    Parameters
    ----------
    dataset : h5py.Dataset
        The open virtual data set.
    table_of : callable
        From a mapping's file name and data set name to the source's chunks.
    inner : tuple of int or slice
        What is taken of the dimensions between the first and the last two, as far as they are named.

    Returns
    -------
    Resolved
        Every mapping must take whole rows of the first dimension, one to one, and one rectangle.

    Raises
    ------
    Unsupported
        A mapping of another kind, an unlimited one, or a source that cannot be read without HDF5.
    """
    count, *between, height, _ = dataset.shape
    numbers_below = modules(tuple(between), inner)
    resolved = Resolved()
    numbers: dict[tuple[str, str], int] = {}
    tiles: dict[tuple[Any, ...], Tile] = {}
    for mapping in dataset.virtual_sources():
        here = _rectangle(mapping.vspace, dataset.shape)
        name = (mapping.file_name, mapping.dset_name)
        if name not in numbers:
            numbers[name] = len(resolved.tables)
            resolved.tables.append(table_of(*name))
        table = resolved.tables[numbers[name]]
        if table.dtype != np.dtype(dataset.dtype.str):
            raise Unsupported("a source of another type")
        there = _rectangle(mapping.src_space, table.shape)
        if len(here.rows) != len(there.rows) or (here.height, here.width) != (there.height, there.width):
            raise Unsupported("a mapping between different shapes")
        ours, theirs = list(itertools.product(*here.between)), list(itertools.product(*there.between))
        if len(ours) != len(theirs):
            raise Unsupported("a mapping between different shapes")
        for module, index in zip(ours, theirs, strict=True):
            if module not in numbers_below:
                continue
            below = numbers_below[module] * height
            key = (below + here.y, here.x, there.y, there.x, there.height, there.width, index)
            tile = tiles.setdefault(
                key,
                Tile(
                    below + here.y,
                    here.x,
                    Extent(there.y, there.y + there.height),
                    Extent(there.x, there.x + there.width),
                    index,
                    np.full(count, -1, dtype=np.int32),
                    np.zeros(count, dtype=np.int64),
                ),
            )
            assert tile.table is not None
            assert tile.row is not None
            tile.table[here.rows] = numbers[name]
            tile.row[here.rows] = there.rows
    resolved.tiles = list(tiles.values())
    return resolved


class _Rectangle(NamedTuple):
    rows: NDArray[np.int64]
    between: tuple[range, ...]
    y: int
    x: int
    height: int
    width: int


def _rectangle(space: Any, shape: tuple[int, ...]) -> _Rectangle:
    """A selection as rows of the first dimension, ranges of those between, and a rectangle.

    Raises
    ------
    Unsupported
        It is not of this kind.
    """
    if space.get_select_type() == _SELECT_ALL:
        starts, ends = (0,) * len(shape), tuple(length - 1 for length in shape)
        rows = np.arange(shape[0], dtype=np.int64)
    elif space.is_regular_hyperslab():
        start, stride, blocks, block = space.get_regular_hyperslab()
        if max(blocks) >= 1 << 63:
            raise Unsupported("an unlimited mapping")
        if any(n > 1 and step != size for n, step, size in zip(blocks[1:], stride[1:], block[1:], strict=True)):
            raise Unsupported("a mapping with gaps")
        starts = tuple(start)
        ends = tuple(s + n * b - 1 for s, n, b in zip(start, blocks, block, strict=True))
        rows = (start[0] + np.arange(blocks[0])[:, None] * stride[0] + np.arange(block[0])).ravel().astype(np.int64)
    else:
        raise Unsupported("a mapping that is not a regular selection")
    if len(starts) == 2:
        starts, ends, rows = (0, *starts), (0, *ends), np.zeros(1, dtype=np.int64)
    if len(starts) != len(shape):
        raise Unsupported("a source of another rank")
    between = tuple(range(first, last + 1) for first, last in zip(starts[1:-2], ends[1:-2], strict=True))
    (y, x), (last_y, last_x) = starts[-2:], ends[-2:]
    return _Rectangle(rows, between, y, x, last_y - y + 1, last_x - x + 1)


def whole_frames(shape: tuple[int, ...], inner: tuple[int | slice, ...] = ()) -> list[Tile]:
    """Tiles of a data set ``(N, ..., H, W)`` that is not virtual.

    Parameters
    ----------
    shape : tuple of int
    inner : tuple of int or slice
        As in `resolve`.
    """
    *between, height, width = shape[1:]
    return [
        Tile(number * height, 0, Extent(0, height), Extent(0, width), index)
        for index, number in modules(tuple(between), inner).items()
    ]


def modules(between: tuple[int, ...], inner: tuple[int | slice, ...]) -> dict[tuple[int, ...], int]:
    """Which indices of the dimensions between are taken, and which place below each other they have in a frame.

    Raises
    ------
    Unsupported
        Something is taken of a frame's own two dimensions.
    """
    if len(inner) > len(between):
        raise Unsupported("a part of each frame")
    whole = (slice(None),) * (len(between) - len(inner))
    axes = [
        range(*taken.indices(length)) if isinstance(taken, slice) else (taken,)
        for taken, length in zip((*inner, *whole), between, strict=True)
    ]
    return {index: number for number, index in enumerate(itertools.product(*axes))}
