"""Where the chunks of an HDF5 data set lie in its file, and how they are encoded: what reading without HDF5 needs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .source import MAX_FRAME_BYTES

Codec = Literal["none", "deflate", "zstd", "bitshuffle-zstd"]
"""What decodes a chunk before the filters of `ChunkTable.filters`; ``"none"``: those are all there are."""

# Numbers in the HDF Group's registry of filters.
_DEFLATE: Final = 1
_SHUFFLE: Final = 2
_FLETCHER32: Final = 3
_LZ4: Final = 32004
_BITSHUFFLE: Final = 32008
_ZSTD: Final = 32015

# Of bitshuffle's options: what compresses the shuffled bits.
_PLAIN, _WITH_LZ4, _WITH_ZSTD = 0, 2, 3


class Filter(NamedTuple):
    """A filter that `cdifast._C` undoes."""

    code: int
    element_size: int = 1
    block_elements: int = 0
    compressed: bool = False


class Unsupported(Exception):
    """Why a data set has to be read by HDF5 itself, as a clause."""


@dataclass(frozen=True)
class ChunkTable:
    """The stored chunks of one data set.

    Attributes
    ----------
    path : Path
        The file that holds them.
    dataset : str
        The data set in it.
    shape : tuple of int
        ``(N, ..., H, W)``, or ``(1, H, W)`` for a data set of one frame.
    dtype : dtype
        As stored, of either byte order.
    chunk : tuple of int
        Shape of a chunk.
    codec : str
        See `Codec`.
    filters : tuple of Filter
        Undone after the codec, in the order in which they were applied.
    offsets, sizes : ndarray of int64
        Place in the file and stored bytes of every chunk, in the shape of the grid of chunks; a chunk that was never
        written has size 0.
    swmr : bool
        A process is writing the file, for others to read meanwhile: chunks have to be asked of HDF5.
    """

    path: Path
    dataset: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk: tuple[int, ...]
    codec: Codec
    filters: tuple[Filter, ...]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    swmr: bool = False

    @property
    def chunk_bytes(self) -> int:
        """Bytes of a decoded chunk."""
        return int(np.prod(self.chunk, dtype=np.int64)) * self.dtype.itemsize

    @classmethod
    def of(cls, dataset: Any) -> ChunkTable:
        """The table of an open data set.

        Raises
        ------
        Unsupported
            Filters, storage or file driver are none that can be read without HDF5.
        """
        file = dataset.file
        if dataset.is_virtual:
            raise Unsupported("a virtual source of a virtual data set")
        if file.driver != "sec2":
            raise Unsupported(f"file driver '{file.driver}'")
        if file.userblock_size:
            raise Unsupported("a user block before the HDF5 data")
        if dataset.external:
            raise Unsupported("external storage")
        shape = tuple(dataset.shape)
        if len(shape) == 2:
            shape = (1, *shape)
        path, name, dtype = Path(os.fsdecode(file.filename)).absolute(), dataset.name, np.dtype(dataset.dtype.str)
        if dataset.chunks is None:
            offset = dataset.id.get_offset()
            if offset is None:
                raise Unsupported("compact storage")
            frame = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
            grid = (shape[0], *(1 for _ in shape[1:]))
            offsets = (offset + frame * np.arange(shape[0], dtype=np.int64)).reshape(grid)
            return cls(
                path, name, shape, dtype, (1, *shape[1:]), "none", (), offsets, np.full(grid, frame, dtype=np.int64)
            )
        chunk = tuple(dataset.chunks)
        if len(chunk) == 2:
            chunk = (1, *chunk)
        if int(np.prod(chunk, dtype=np.int64)) * dtype.itemsize > MAX_FRAME_BYTES:
            raise Unsupported(f"chunks of more than {MAX_FRAME_BYTES >> 30} GiB")
        codec, filters = _pipeline(dataset.id.get_create_plist(), dtype.itemsize)
        offsets, sizes = _chunks(dataset, shape, chunk)
        return cls(path, name, shape, dtype, chunk, codec, filters, offsets, sizes, bool(file.swmr_mode))


def _chunks(
    dataset: Any, shape: tuple[int, ...], chunk: tuple[int, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Offset and stored size of each chunk of the grid."""
    grid = tuple(-(-length // step) for length, step in zip(shape, chunk, strict=True))
    offsets, sizes = np.zeros(grid, dtype=np.int64), np.zeros(grid, dtype=np.int64)
    found: list[tuple[int, ...]] = []
    skipped = 0

    def visit(info: Any) -> None:
        nonlocal skipped
        skipped |= info.filter_mask
        found.append((*info.chunk_offset, info.byte_offset, info.size))

    dataset.id.chunk_iter(visit)
    if skipped:
        raise Unsupported("chunks that leave out filters")
    if not found:
        return offsets, sizes
    table = np.array(found, dtype=np.int64)
    places = table[:, :-2] // np.array(dataset.chunks)
    if places.shape[1] < len(grid):
        places = np.concatenate([np.zeros((len(places), 1), dtype=np.int64), places], axis=1)
    if (places >= np.array(grid)).any():
        # The data set grew while its chunks were listed.
        inside = (places < np.array(grid)).all(axis=1)
        table, places = table[inside], places[inside]
    index = tuple(places.T)
    offsets[index], sizes[index] = table[:, -2], table[:, -1]
    return offsets, sizes


def _pipeline(plist: Any, itemsize: int) -> tuple[Codec, tuple[Filter, ...]]:
    """The codec and the other filters of a data set.

    Raises
    ------
    Unsupported
        A filter that is not known, or stands where none is expected.
    """
    codec: Codec = "none"
    filters: list[Filter] = []
    for i in range(plist.get_nfilters()):
        code, _, options, name = plist.get_filter(i)
        if codec != "none":
            raise Unsupported(f"filter {code} after the codec '{codec}'")
        if code == _DEFLATE:
            codec = "deflate"
        elif code == _ZSTD:
            codec = "zstd"
        elif code == _SHUFFLE:
            filters.append(Filter(code, element_size=options[0] if options else itemsize))
        elif code in (_FLETCHER32, _LZ4):
            filters.append(Filter(code))
        elif code == _BITSHUFFLE:
            _, _, element_size, block, how = (*options, 0, 0, 0, 0, 0)[:5]
            if how not in (_PLAIN, _WITH_LZ4, _WITH_ZSTD):
                raise Unsupported(f"bitshuffle with compression {how}")
            if how == _WITH_ZSTD:
                codec = "bitshuffle-zstd"
            element_size = element_size or itemsize
            # What the library takes where it is left open: 8 KiB, whole groups of 8 elements, 128 elements at least.
            block = block or max(8192 // element_size // 8 * 8, 128)
            filters.append(Filter(code, element_size, block, how == _WITH_LZ4))
        else:
            raise Unsupported(f"filter {code} ({name.decode(errors='replace') or 'unnamed'})")
    return codec, tuple(filters)
