"""Exact nearest neighbours among more embeddings than memory holds.

A matrix product in float32 finds the rows that can be among the nearest, its rounding error taken into account; only
those are measured in float64. So the result is that of a float64 search of everything, for the price of a float32 one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from .distances import Metric, Prepared, check_metric, pair_distances, prepared

Backend = Literal["torch", "faiss"]

# Candidates a query in one block above which the block's own nearest are found first, to lower the bar.
_MANY: Final = 8

# Unit roundoff of a float32 matrix product, by `torch.get_float32_matmul_precision`: float32, TF32, bfloat16.
_ROUNDOFF: Final = {"highest": 2.0**-24, "high": 2.0**-11, "medium": 2.0**-8}


# Lengths whose squares float32 may not hold, and what underflowing products can add up to.
_TINY: Final = 1e-12
_LARGEST: Final = 1e18
_UNDERFLOW: Final = 1e-36


class Shard(Protocol):
    """Rows of embeddings (n, d) with ``len`` and slices: an array, a tensor, an HDF5 data set, a memory map."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice, /) -> ArrayLike: ...


@dataclass(frozen=True)
class Neighbours:
    """The nearest rows of each query, nearest first.

    Attributes
    ----------
    indices
        (Q, k) int64: numbers of the rows, counted through all shards.
    distances
        (Q, k) float64.
    """

    indices: NDArray[np.int64]
    distances: NDArray[np.float64]


def nearest(
    queries: Shard | ArrayLike,
    shards: Shard | Sequence[Shard],
    k: int,
    metric: Metric = "cosine",
    *,
    exclude_self: ArrayLike | None = None,
    block: int = 8192,
    query_block: int = 1024,
    device: str | torch.device = "cpu",
    backend: Backend = "torch",
    progress: Callable[[int], None] | None = None,
) -> Neighbours:
    """Find the k nearest rows of each query exactly, reading the shards block by block.

    The result is that of measuring every pair in float64 (`cdifast.search.distances.row_distances`) and sorting by
    distance, then by row number; so equal vectors come in the order in which they are stored, and the result does not
    depend on blocks, threads or device but for the last bits of a distance.

    How: a float32 product gives each block's scores with an error of at most about ``d * 2^-24`` of the vectors'
    lengths (any order of summation; Higham 2002, section 3.1). The rows whose score is within that error of the k-th
    best distance so far are measured in float64 and merged.

    Memory, beside the result: ``4 * query_block * block`` bytes of scores and a quarter of it for their comparison,
    ``8 * block * d`` for the rows, ``12 * query_block * d`` for the queries, about 100 MB for the candidates. Rows are
    read once for each `query_block` queries.

    Parameters
    ----------
    queries
        (Q, d), real numbers; an array or anything with ``len`` and slices.
    shards
        One (n, d) or several, in the order in which their rows are counted.
    k
        Neighbours a query.
    metric
        ``"cosine"``, ``"correlation"`` or ``"euclidean"``.
    exclude_self
        (Q,) row number of each query among the shards, which is then no neighbour of its own; -1: none.
    block, query_block
        Rows and queries at once.
    device
        Where the products are made.
    backend
        ``"faiss"``: candidates from faiss' flat index instead (``pip install faiss-cpu``), measured in float64 as
        above; the same up to near ties, for which faiss' own rounding decides who is a candidate.
    progress
        Called with the number of rows done so far, of ``len(rows) * number of query blocks``.

    Returns
    -------
    Neighbours

    Raises
    ------
    ValueError
        Unknown metric or backend, numbers out of range, shapes that do not fit, fewer rows than k, or vectors that are
        not finite (or longer than 1e18); shard and row are named.
    TypeError
        Not real numbers.
    ImportError
        faiss is asked for and missing.
    """
    check_metric(metric)
    if backend not in ("torch", "faiss"):
        raise ValueError(f"backend: found {backend!r}, expected 'torch' or 'faiss'")
    if block < 1 or query_block < 1:
        raise ValueError(f"block, query_block: found {block}, {query_block}, expected at least 1")
    pieces = _shards(shards)
    total = sum(map(len, pieces))
    source: Any = queries if hasattr(queries, "__getitem__") and hasattr(queries, "shape") else np.asarray(queries)
    if len(source.shape) != 2:
        raise ValueError(f"queries: found shape {tuple(source.shape)}, expected (Q, d)")
    count, dimension = (int(size) for size in source.shape)
    own = _own_rows(exclude_self, count, total)
    available = total - int(own is not None and bool((own >= 0).any()))
    if not 1 <= k <= available:
        besides = " besides the query itself" if available < total else ""
        raise ValueError(f"k: found {k}, expected 1 to {available}, as many as there are rows{besides}")
    indices = np.empty((count, k), np.int64)
    distances = np.empty((count, k), np.float64)
    done = 0
    for start in range(0, count, query_block):
        part = slice(start, min(start + query_block, count))
        wanted = as_rows(source[part], "queries", start).to(device)
        search: Any
        if backend == "faiss":
            from .faiss_candidates import FaissSearch

            search = FaissSearch(wanted, k, metric)
        else:
            search = _Search(wanted, k, metric)
        excluded = None if own is None else own[part].to(device)
        for first, rows in blocks(pieces, block, dimension):
            search.add(rows.to(device), first, excluded)
            done += len(rows)
            if progress is not None:
                progress(done)
        indices[part], distances[part] = search.best.result()
    return Neighbours(indices, distances)


class Best:
    """The k nearest rows of each query so far, sorted by distance, then row number."""

    def __init__(self, queries: int, k: int, device: torch.device) -> None:
        self.distances = torch.full((queries, k), torch.inf, dtype=torch.float64, device=device)
        self.indices = torch.full((queries, k), torch.iinfo(torch.int64).max, device=device)

    @property
    def worst(self) -> torch.Tensor:
        """(Q,) float64 distance of the k-th, infinite where there are fewer."""
        return self.distances[:, -1]

    def merge(self, query: torch.Tensor, index: torch.Tensor, distance: torch.Tensor) -> None:
        """Take in pairs that are not in yet: (pairs,) query number, row number and distance."""
        if len(query) == 0:
            return
        touched, slot = torch.unique(query, return_inverse=True)
        k = self.distances.shape[1]
        slots = torch.arange(len(touched), device=query.device)
        slot = torch.cat([slots.repeat_interleave(k), slot])
        distance = torch.cat([self.distances[touched].reshape(-1), distance])
        index = torch.cat([self.indices[touched].reshape(-1), index])
        # Three stable sorts, the last key first: by query, then distance, then row number.
        order = torch.argsort(index, stable=True)
        order = order[torch.argsort(distance[order], stable=True)]
        order = order[torch.argsort(slot[order], stable=True)]
        starts = torch.searchsorted(slot[order].contiguous(), slots)
        kept = order[starts[:, None] + torch.arange(k, device=query.device)]
        self.distances[touched] = distance[kept]
        self.indices[touched] = index[kept]

    def result(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Row numbers and distances, (Q, k) each."""
        return self.indices.cpu().numpy(), self.distances.cpu().numpy()


class _Search:
    """One block of queries against the rows as they come."""

    def __init__(self, queries: torch.Tensor, k: int, metric: Metric) -> None:
        self.metric = metric
        self.k = k
        self.best = Best(len(queries), k, queries.device)
        self.exact: Prepared = prepared(queries, metric)
        dimension = queries.shape[1]
        roundoff = _ROUNDOFF[torch.get_float32_matmul_precision()]
        # Of the product and of the length, and the rounding of both factors: gamma_n of Higham, n taken generously.
        self._error = 1.01 * (1.5 * dimension + 16) * roundoff
        if metric == "euclidean":
            # A common offset, as ReLU features have, would drown small distances in rounding.
            self._shift = self.exact.values.mean(dim=0).float()
            self._queries = (self.exact.values - self._shift.double()).float()
            self._lengths = torch.linalg.vector_norm(self.exact.values - self._shift.double(), dim=1)
        else:
            self._queries = self.exact.values.float()

    def add(self, rows: torch.Tensor, first: int, excluded: torch.Tensor | None) -> None:
        """Take in the rows (n, d), numbered from `first` on."""
        scores = self._scores(rows)
        if excluded is not None:
            here = (excluded >= first) & (excluded < first + len(rows))
            query = here.nonzero()[:, 0]
            scores[query, excluded[query] - first] = -torch.inf
        candidates = scores >= self._bar()[:, None]
        if bool(self.best.worst.isinf().any()) or int(candidates.sum()) > _MANY * self.k * len(scores):
            # The block's nearest by score lower the bar for its others.
            top, row = scores.topk(min(self.k, len(rows)), dim=1)
            query = torch.arange(len(scores), device=rows.device)[:, None].expand_as(row)
            usable = top > -torch.inf
            self._measure(rows, first, query[usable], row[usable])
            scores.scatter_(1, row, -torch.inf)
            candidates = scores >= self._bar()[:, None]
        query, row = candidates.nonzero(as_tuple=True)
        self._measure(rows, first, query, row)

    def _scores(self, rows: torch.Tensor) -> torch.Tensor:
        """(Q, n) float32, the larger the nearer: the cosine, or ``2 a.b - |b|^2`` behind the shift."""
        if self.metric == "euclidean":
            # float64 rows lose their common offset before they are rounded.
            shift = self._shift.to(rows.dtype if rows.dtype == torch.float64 else torch.float32)
            values = (rows - shift).float()
            squares = torch.linalg.vector_norm(values, dim=1).square()
            return torch.addmm(squares, self._queries, values.T, beta=-1, alpha=2)
        if self.metric == "correlation":
            # In float64: the bound is relative to what the mean leaves.
            values = (rows.double() - rows.double().mean(dim=1, keepdim=True)).float()
        else:
            values = rows.float()
        length = torch.linalg.vector_norm(values, dim=1)
        tiny = length < _TINY
        if bool(tiny.any()):
            # Squares that float32 cannot hold: these rows are brought to length one in float64.
            values = values.clone()
            values[tiny] = prepared(rows[tiny], self.metric).values.float()
            length = length.masked_fill(tiny, 1)
        scores = self._queries @ values.T
        return scores.div_(length)

    def _bar(self) -> torch.Tensor:
        """(Q,) float32: the least score that a row nearer than the k-th so far can have, rounding allowed for."""
        worst = self.best.worst
        if self.metric == "euclidean":
            # A row that near is no longer than this, which bounds the error of its score.
            longest = self._lengths + worst
            bar = (
                self._lengths.square() - worst.square() - self._error * (longest + self._lengths).square() - _UNDERFLOW
            )
        else:
            bar = 1 - worst - self._error
        # Where there is no k-th yet, every row counts, but for those marked with minus infinity. The float32 bar is
        # rounded downwards.
        least = torch.finfo(torch.float32).min
        bar = bar.nan_to_num(nan=least, neginf=least).clamp_min(least).float()
        return torch.nextafter(bar, bar.new_tensor(least))

    def _measure(self, rows: torch.Tensor, first: int, query: torch.Tensor, row: torch.Tensor) -> None:
        self.best.merge(query, row + first, pair_distances(self.exact, rows, query, row, self.metric))


def blocks(shards: Sequence[Shard], block: int, dimension: int) -> Iterator[tuple[int, torch.Tensor]]:
    """The rows of all shards in turn: number of the first, and rows (n, d) as a tensor, at most `block` of them."""
    first = 0
    for number, shard in enumerate(shards):
        for start in range(0, len(shard), block):
            rows = as_rows(shard[start : start + block], f"shard {number}", start)
            if rows.shape[1] != dimension:
                raise ValueError(
                    f"shard {number}: found embeddings of length {rows.shape[1]}, the queries' is {dimension}"
                )
            yield first + start, rows
        first += len(shard)


def as_rows(values: Any, name: str, start: int) -> torch.Tensor:
    """A slice of embeddings as a tensor (n, d) that is known to be finite; errors name `name` and the row."""
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
    usable = torch.linalg.vector_norm(rows.float(), dim=1) < _LARGEST
    if not bool(usable.all()):
        row = start + int((~usable).nonzero()[0, 0])
        raise ValueError(
            f"{name}: found NaN, infinity or a length above {_LARGEST:g} in row {row}, expected finite numbers"
        )
    return rows


def _shards(shards: Shard | Sequence[Shard]) -> list[Shard]:
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


def _own_rows(exclude_self: ArrayLike | None, queries: int, total: int) -> torch.Tensor | None:
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
