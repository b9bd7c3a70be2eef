"""Embeddings in pieces of any kind, read block by block and checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike

# Of a vector whose squares float32 sums safely.
_LARGEST: Final = 1e18


class Shard(Protocol):
    """Rows of embeddings (n, d) with ``len`` and slices: an array, a tensor, an HDF5 data set, a memory map."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice, /) -> ArrayLike: ...


def blocks(shards: Sequence[Shard], block: int, dimension: int) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
    """The rows of all shards in turn: number of the first, rows (n, d), at most `block` of them, and lengths (n,)."""
    first = 0
    for number, shard in enumerate(shards):
        for start in range(0, len(shard), block):
            rows, lengths = as_rows(shard[start : start + block], f"shard {number}", start)
            if rows.shape[1] != dimension:
                raise ValueError(
                    f"shard {number}: found embeddings of length {rows.shape[1]}, the queries' is {dimension}"
                )
            yield first + start, rows, lengths
        first += len(shard)


def as_rows(values: Any, name: str, start: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A slice of embeddings as a tensor (n, d) known to be finite, and lengths; errors name `name` and the row."""
    if isinstance(values, torch.Tensor):
        rows = values.detach()
    else:
        array = np.asarray(values)
        if array.dtype.kind not in "buif":
            raise TypeError(f"{name}: found dtype {array.dtype}, expected real numbers")
        if not array.dtype.isnative or array.dtype.itemsize > 8 or not array.flags.writeable:
            array = array.astype(np.float64 if array.dtype.itemsize > 4 else np.float32)
        rows = torch.from_numpy(np.ascontiguousarray(array))
    if rows.dim() != 2:
        raise ValueError(f"{name}: found shape {tuple(rows.shape)}, expected (n, d)")
    if rows.is_complex():
        raise TypeError(f"{name}: found dtype {rows.dtype}, expected real numbers")
    if not rows.is_floating_point():
        rows = rows.double()
    # Sums of squares in float32 are what the search needs to be finite, and they cost one pass over the rows.
    lengths = torch.linalg.vector_norm(rows.float(), dim=1)
    usable = lengths < _LARGEST
    if not bool(usable.all()):
        row = start + int((~usable).nonzero()[0, 0])
        raise ValueError(
            f"{name}: found NaN, infinity or a length above {_LARGEST:g} in row {row}, expected finite numbers"
        )
    return rows, lengths


def as_shards(shards: Shard | Sequence[Shard]) -> list[Shard]:
    """A list of shards; a single array is one."""
    several: Any = shards
    found: list[Any] = [shards] if hasattr(shards, "shape") else list(several)
    if not found:
        raise ValueError("shards: found none, expected at least one")
    for number, shard in enumerate(found):
        if not hasattr(shard, "shape") or len(shard.shape) != 2:
            shape = tuple(getattr(shard, "shape", ()))
            raise ValueError(f"shard {number}: found shape {shape}, expected (n, d)")
    return found


def own_rows(exclude_self: ArrayLike | None, queries: int, total: int) -> torch.Tensor | None:
    """Row number of each query among `total` rows, (queries,) int64 with -1 for none, checked; None: not given."""
    if exclude_self is None:
        return None
    own = np.asarray(exclude_self)
    if own.shape != (queries,) or own.dtype.kind not in "iu":
        raise ValueError(
            f"exclude_self: found shape {own.shape} of {own.dtype}, expected a row number for each of {queries} queries"
        )
    own = own.astype(np.int64)
    if len(own) and not (own.min() >= -1 and own.max() < total):
        raise ValueError(f"exclude_self: found row numbers {own.min()} to {own.max()}, expected -1 to {total - 1}")
    return torch.from_numpy(own)
