"""Frames of an HDF5 data set, read without HDF5: its library lets one thread work at a time.

The places of the chunks are asked of HDF5 once (`ChunkTable`). From then on a batch of frames is read by
`cdifast._C` (``csrc/chunks``): several threads read stored chunks with ``pread``, undo their filters and copy what was
asked for into the batch. gzip and Zstandard are decoded by libraries, called from threads of Python's.
"""

from __future__ import annotations

import errno
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from cdifast import _C

from .chunk_table import ChunkTable, Codec, Filter
from .codecs import decoder
from .virtual import Tile

# Frames of one call into C++, which an interrupt has to wait for.
_BYTES_AT_ONCE: Final = 1 << 28

# No filter makes a chunk larger than twice its size and this: the index is damaged, and memory is not for it.
_OVERHEAD: Final = 1 << 16

_MAX_OPEN: Final = 256

# csrc/chunks/decode.h: Fault.
_UNREADABLE, _CUT_SHORT, _DAMAGED, _CHECKSUM, _WRONG_SIZE = range(1, 6)
_MISSING: Final = 100
_FAULTS: Final = {
    _CUT_SHORT: "the file ends before its data do: it was cut short",
    _DAMAGED: "its compressed bytes are damaged",
    _CHECKSUM: "its checksum is another one",
    _WRONG_SIZE: "it decodes to another number of bytes than the frame has",
    _MISSING: "it was never written (HDF5 would read fill values in its place)",
}


class Failure(NamedTuple):
    """A frame that could not be read.

    Attributes
    ----------
    position : int
        In the list of rows that was asked for.
    problem : str
        As a clause.
    where : str
        File, data set and index of the source where that is another one than the frame's own.
    """

    position: int
    problem: str
    where: str


@dataclass
class _Call:
    """What goes to C++ at once: chunks that are encoded alike."""

    codec: Codec
    filters: tuple[Filter, ...]
    chunk_bytes: int
    swmr: bool
    jobs: NDArray[np.int64]
    copies: NDArray[np.int64]
    blocks: NDArray[np.int64]
    positions: NDArray[np.int64]  # of each copy
    tables: NDArray[np.int64]  # of each job
    places: list[tuple[int, ...]]  # of each job, where chunks have to be asked of HDF5


class ChunkReader:
    """Reads frames that are made of stored chunks.

    Parameters
    ----------
    tables : sequence of ChunkTable
    tiles : sequence of Tile
        Rectangles that make a frame; they may leave gaps, which get ``fill``.
    shape : tuple of int
        ``(N, H, W)``.
    fill : number
        For what no tile covers.
    """

    def __init__(
        self, tables: Sequence[ChunkTable], tiles: Sequence[Tile], shape: tuple[int, int, int], fill: Any = 0
    ) -> None:
        self._tables = list(tables)
        self._tiles = list(tiles)
        self.shape = shape
        self.dtype = self._tables[0].dtype
        self._fill = fill
        self._descriptors: dict[int, int] = {}
        self._lock = threading.Lock()
        # Where HDF5 has to be asked (SWMR): gives the open data set of a table.
        self.open_dataset: Callable[[ChunkTable], Any] | None = None
        decodings = {(table.codec, table.filters) for table in self._tables}
        for codec, filters in decodings:
            if codec != "none":
                decoder(codec, filters)  # says now where no library can

    @property
    def frame_chunks(self) -> NDArray[np.int64]:
        """(N,) number of the stored chunk that each frame's first rectangle lies in."""
        tile = self._tiles[0]
        rows = np.arange(self.shape[0], dtype=np.int64)
        if tile.table is None or tile.row is None:
            return rows // self._tables[0].chunk[0]
        depth = np.array([table.chunk[0] for table in self._tables], dtype=np.int64)[tile.table]
        keys = np.stack([tile.table.astype(np.int64), tile.row // depth], axis=1)
        return np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)

    def read(self, rows: NDArray[np.int64], out: NDArray[Any], *, threads: int | None = None) -> list[Failure]:
        """Read frames in any order, duplicates allowed.

        Parameters
        ----------
        rows : ndarray of int64, (n,)
            Indices from 0 to N - 1.
        out : ndarray, (n, H, W)
            Contiguous, of the stored type in native byte order. What failed holds undefined values.
        threads : int, optional
            Default: as many as torch computes with, which is one in a DataLoader's worker.

        Returns
        -------
        list of Failure
            One for each frame that could not be read.
        """
        threads = threads or torch.get_num_threads()
        if len(self._descriptors) > _MAX_OPEN:
            self.close()
        failures: list[Failure] = []
        step = max(1, _BYTES_AT_ONCE // max(1, out[:1].nbytes))
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            failures += (
                failure._replace(position=failure.position + start)
                for failure in self._read(rows[part], out[part], threads)
            )
        return failures

    def _read(self, rows: NDArray[np.int64], out: NDArray[Any], threads: int) -> list[Failure]:
        self._fill_gaps(rows, out)
        failed: dict[int, Failure] = {}
        output = out.reshape(-1).view(np.uint8)
        for call in self._calls(rows, failed):
            if call.codec == "none" and not call.swmr:
                args = (call.jobs, call.copies, call.blocks, output, call.filters, call.chunk_bytes)
                faults = _C.read_chunks(*args, threads)
            else:
                faults = self._decode_by_library(call, output, threads)
            for job, fault, number in faults:
                self._note(failed, call, job, fault, number, rows)
        if not self.dtype.isnative:
            out.byteswap(inplace=True)
        return [failed[position] for position in sorted(failed)]

    def _fill_gaps(self, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        covered = np.zeros(len(rows), dtype=np.int64)
        for tile in self._tiles:
            covered += tile.pixels if tile.table is None else tile.pixels * (tile.table[rows] >= 0)
        gaps = np.flatnonzero(covered < self.shape[1] * self.shape[2])
        if len(gaps):
            fill = np.asarray(self._fill, dtype=out.dtype)
            out[gaps] = fill if self.dtype.isnative else fill.byteswap()

    def _note(
        self, failed: dict[int, Failure], call: _Call, job: int, fault: int, number: int, rows: NDArray[np.int64]
    ) -> None:
        """Remember what failed, for every frame that a job was for."""
        table = self._tables[int(call.tables[job])]
        problem = os.strerror(number) if fault == _UNREADABLE else _FAULTS[fault]
        first, count = call.jobs[job, 3:5]
        for position in call.positions[first : first + count].tolist():
            failed.setdefault(position, Failure(position, problem, self._where(table)))

    def _where(self, table: ChunkTable) -> str:
        """A source's file and data set; empty where there is one only."""
        return "" if len(self._tables) == 1 else f"{table.path}, data set '{table.dataset}'"

    def _calls(self, rows: NDArray[np.int64], failed: dict[int, Failure]) -> Iterator[_Call]:
        """Jobs for all tiles of the frames, those of like chunks together."""
        parts: dict[tuple[Any, ...], list[_Part]] = {}
        for tile in self._tiles:
            if tile.table is None or tile.row is None:
                chosen: list[tuple[int, NDArray[np.int64], NDArray[np.int64]]] = [(0, np.arange(len(rows)), rows)]
            else:
                numbers = tile.table[rows]
                places = {number: np.flatnonzero(numbers == number) for number in np.unique(numbers).tolist()}
                chosen = [(n, at, tile.row[rows[at]]) for n, at in places.items() if n >= 0]
            for number, positions, source_rows in chosen:
                table = self._tables[number]
                key = (table.codec, table.filters, table.chunk_bytes, table.swmr)
                parts.setdefault(key, []).extend(self._parts(number, tile, positions, source_rows, failed))
        for (codec, filters, chunk_bytes, swmr), group in parts.items():
            if group:
                yield _joined(codec, filters, chunk_bytes, swmr, group)

    def _parts(
        self,
        number: int,
        tile: Tile,
        positions: NDArray[np.int64],
        rows: NDArray[np.int64],
        failed: dict[int, Failure],
    ) -> Iterator[_Part]:
        """Jobs and copies of one tile's frames that lie in one table, for each chunk that the tile crosses."""
        table = self._tables[number]
        size = table.dtype.itemsize
        _, height, width = self.shape
        depth, *between, chunk_height, chunk_width = table.chunk
        group = rows // depth
        if (np.diff(group) < 0).any():
            order = np.argsort(group, kind="stable")
            group, rows, positions = group[order], rows[order], positions[order]
        first = np.flatnonzero(np.diff(group, prepend=-1))
        counts = np.diff(first, append=len(group))
        chunk_rows = group[first]
        at = tuple(index // step for index, step in zip(tile.fixed, between, strict=True))
        plane = rows % depth
        for index, step in zip(tile.fixed, between, strict=True):
            plane = plane * step + index % step
        (y0, y1), (x0, x1) = tile.source_y, tile.source_x
        for gy, gx in itertools.product(
            range(y0 // chunk_height, -(-y1 // chunk_height)), range(x0 // chunk_width, -(-x1 // chunk_width))
        ):
            top, left = max(y0, gy * chunk_height), max(x0, gx * chunk_width)
            bottom, right = min(y1, (gy + 1) * chunk_height), min(x1, (gx + 1) * chunk_width)
            in_chunk = (top - gy * chunk_height) * chunk_width + left - gx * chunk_width
            in_frame = (tile.y + top - y0) * width + tile.x + left - x0
            offsets, sizes = table.offsets[chunk_rows, *at, gy, gx], table.sizes[chunk_rows, *at, gy, gx]
            corner = (*(i * s for i, s in zip(at, between, strict=True)), gy * chunk_height, gx * chunk_width)
            there = sizes > 0
            for job in np.flatnonzero(~there).tolist():
                for position in positions[first[job] : first[job] + counts[job]].tolist():
                    failed.setdefault(position, Failure(position, _FAULTS[_MISSING], self._where(table)))
            yield _Part(
                number,
                self._descriptor(number),
                offsets[there],
                sizes[there],
                first[there],
                counts[there],
                np.stack(
                    [
                        (plane * (chunk_height * chunk_width) + in_chunk) * size,
                        (positions * (height * width) + in_frame) * size,
                    ],
                    axis=1,
                ),
                (bottom - top, (right - left) * size, chunk_width * size, width * size),
                positions,
                [(row * depth, *corner) for row in chunk_rows[there].tolist()] if table.swmr else [],
            )

    def _decode_by_library(self, call: _Call, output: NDArray[np.uint8], threads: int) -> list[tuple[int, int, int]]:
        """As `_C.read_chunks`, with chunks that a library decodes, or that HDF5 has to be asked for."""
        decode = None if call.codec == "none" else decoder(call.codec, call.filters)
        jobs = call.jobs.tolist()
        whole_blocks = [
            not call.filters and (rows * row == call.chunk_bytes) and (rows == 1 or row == stride == frame)
            for rows, row, stride, frame in call.blocks.tolist()
        ]
        numbers = itertools.count()
        faults: list[tuple[int, int, int]] = []

        def work() -> None:
            chunk = np.empty(call.chunk_bytes, dtype=np.uint8)
            while (job := next(numbers)) < len(jobs):
                descriptor, offset, size, first, count, block = jobs[job]
                if size > 2 * call.chunk_bytes + _OVERHEAD:
                    faults.append((job, _DAMAGED, 0))
                    continue
                try:
                    stored = self._ask_hdf5(call, job) if call.swmr else _read_at(descriptor, size, offset)
                except OSError as error:
                    faults.append((job, _UNREADABLE, error.errno or errno.EIO))
                    continue
                if len(stored) < size and not call.swmr:
                    faults.append((job, _CUT_SHORT, 0))
                    continue
                if decode is None:
                    plain: Any = stored
                else:
                    target = int(call.copies[first, 1])
                    direct = count == 1 and whole_blocks[block]
                    plain = output[target : target + call.chunk_bytes] if direct else chunk
                    try:
                        if decode(stored, plain) != call.chunk_bytes:
                            faults.append((job, _WRONG_SIZE, 0))
                            continue
                    except Exception:  # each library has its own
                        faults.append((job, _DAMAGED, 0))
                        continue
                    if direct:
                        continue
                fault = _C.place_chunk(
                    plain, call.jobs[job : job + 1], call.copies, call.blocks, output, call.filters, call.chunk_bytes
                )
                if fault:
                    faults.append((job, fault, 0))

        others = [threading.Thread(target=work, daemon=True) for _ in range(min(threads, len(jobs)) - 1)]
        for thread in others:
            thread.start()
        work()
        for thread in others:
            thread.join()
        return faults

    def _ask_hdf5(self, call: _Call, job: int) -> bytes:
        assert self.open_dataset is not None
        with self._lock:
            dataset = self.open_dataset(self._tables[int(call.tables[job])])
            _, stored = dataset.id.read_direct_chunk(call.places[job][-len(dataset.shape) :])
        return bytes(stored)

    def _descriptor(self, number: int) -> int:
        """An open descriptor of a table's file; processes after a fork share it, as reads name their places."""
        path = self._tables[number].path
        for other, descriptor in self._descriptors.items():
            if other == number or self._tables[other].path == path:
                return descriptor
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._descriptors[number] = descriptor
        return descriptor

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that are read."""
        return tuple(dict.fromkeys(table.path for table in self._tables))

    def close(self) -> None:
        """Close the files; the next read opens them again."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors = {}


class _Part(NamedTuple):
    """Jobs of one table with one block."""

    number: int
    descriptor: int
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    first: NDArray[np.int64]
    counts: NDArray[np.int64]
    copies: NDArray[np.int64]
    block: tuple[int, int, int, int]
    positions: NDArray[np.int64]
    places: list[tuple[int, ...]]


def _joined(codec: Codec, filters: tuple[Filter, ...], chunk_bytes: int, swmr: bool, parts: list[_Part]) -> _Call:
    jobs = []
    before = 0
    for block, part in enumerate(parts):
        job = np.empty((len(part.offsets), 6), dtype=np.int64)
        job[:, 0] = part.descriptor
        job[:, 1], job[:, 2] = part.offsets, part.sizes
        job[:, 3], job[:, 4] = part.first + before, part.counts
        job[:, 5] = block
        jobs.append(job)
        before += len(part.copies)
    return _Call(
        codec,
        filters,
        chunk_bytes,
        swmr,
        np.concatenate(jobs),
        np.concatenate([part.copies for part in parts]),
        np.array([part.block for part in parts], dtype=np.int64),
        np.concatenate([part.positions for part in parts]),
        np.repeat([part.number for part in parts], [len(part.offsets) for part in parts]),
        [place for part in parts for place in part.places],
    )


def _read_at(descriptor: int, size: int, offset: int) -> bytes:
    stored = os.pread(descriptor, size, offset)
    while 0 < len(stored) < size:
        more = os.pread(descriptor, size - len(stored), offset + len(stored))
        if not more:
            break
        stored += more
    return stored
