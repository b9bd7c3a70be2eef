"""Exact nearest neighbours among more embeddings than memory holds.

A matrix product in float32 finds the rows that can be among the nearest, its rounding error taken into account; only
those are measured in float64. So the result is that of a float64 search of everything, for the price of a float32 one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from .best import Best
from .distances import Metric, Prepared, check_metric, pair_distances, prepared
from .shards import Shard, as_rows, as_shards, blocks, own_rows

Backend = Literal["torch", "faiss"]

# Candidates a query in one block above which the block's own nearest are found first, to raise the bar for its others.
_MANY: Final = 8

# Unit roundoff of a float32 matrix product, by `torch.get_float32_matmul_precision`: float32, TF32, bfloat16.
_ROUNDOFF: Final = {"highest": 2.0**-24, "high": 2.0**-11, "medium": 2.0**-8}


# Scores whose largest is compared first: most runs hold no candidate.
_RUN: Final = 32

# Lengths whose squares float32 may not hold, and what underflowing products can add up to.
_TINY: Final = 1e-12
_UNDERFLOW: Final = 1e-36


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

    Memory, beside the result: ``4 * query_block * block`` bytes of scores, as much again where most rows are nearly as
    near as the k-th; ``8 * block * d`` for the rows (twenty for correlation), ``12 * query_block * d`` for the queries;
    a few MB a step of 2^18 numbers and 32 bytes a candidate. Rows are read once for each `query_block` queries.

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
    pieces = as_shards(shards)
    total = sum(map(len, pieces))
    source: Any = queries if hasattr(queries, "__getitem__") and hasattr(queries, "shape") else np.asarray(queries)
    if len(source.shape) != 2:
        raise ValueError(f"queries: found shape {tuple(source.shape)}, expected (Q, d)")
    count, dimension = (int(size) for size in source.shape)
    own = own_rows(exclude_self, count, total)
    available = total - int(own is not None and bool((own >= 0).any()))
    if not 1 <= k <= available:
        besides = " besides the query itself" if available < total else ""
        raise ValueError(f"k: found {k}, expected 1 to {available}, as many as there are rows{besides}")
    indices = np.empty((count, k), np.int64)
    distances = np.empty((count, k), np.float64)
    done = 0
    for start in range(0, count, query_block):
        part = slice(start, min(start + query_block, count))
        wanted = as_rows(source[part], "queries", start)[0].to(device)
        search: Any
        if backend == "faiss":
            from .faiss_candidates import FaissSearch

            search = FaissSearch(wanted, k, metric)
        else:
            search = _Search(wanted, k, metric)
        excluded = None if own is None else own[part].to(device)
        for first, rows, lengths in blocks(pieces, block, dimension):
            search.add(rows.to(device), first, excluded, lengths.to(device))
            done += len(rows)
            if progress is not None:
                progress(done)
        indices[part], distances[part] = search.best.result()
    return Neighbours(indices, distances)


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

    def add(self, rows: torch.Tensor, first: int, excluded: torch.Tensor | None, lengths: torch.Tensor) -> None:
        """Take in the rows (n, d), numbered from `first` on, with their lengths (n,) float32."""
        scores = self._scores(rows, lengths)
        if excluded is not None:
            here = (excluded >= first) & (excluded < first + len(rows))
            query = here.nonzero()[:, 0]
            scores[query, excluded[query] - first] = -torch.inf
        few = not bool(self.best.worst.isinf().any())
        if few:
            query, row = _above(scores, self._bar())
            few = len(query) <= _MANY * self.k * len(scores)
        if not few:
            # The block's nearest by score raise the bar for its others.
            top, row = scores.topk(min(self.k, len(rows)), dim=1)
            query = torch.arange(len(scores), device=rows.device)[:, None].expand_as(row)
            usable = top > -torch.inf
            self._measure(rows, first, query[usable], row[usable])
            scores.scatter_(1, row, -torch.inf)
            query, row = _above(scores, self._bar())
        self._measure(rows, first, query, row)

    def _scores(self, rows: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        """(Q, n) float32, the larger the nearer: the cosine, or ``2 a.b - |b|^2`` behind the shift."""
        if self.metric == "euclidean":
            # float64 rows lose their common offset before they are rounded.
            shift = self._shift.to(rows.dtype if rows.dtype == torch.float64 else torch.float32)
            values = (rows - shift).float()
            squares = torch.linalg.vector_norm(values, dim=1).square()
            return torch.addmm(squares, self._queries, values.T, beta=-1, alpha=2)
        if self.metric == "correlation":
            # In float64: the bound is relative to what the mean leaves.
            return self._queries @ prepared(rows, self.metric).values.float().T
        values = rows.float()
        tiny = length < _TINY
        if bool(tiny.any()):
            # Squares that float32 cannot hold: these rows are brought to length one in float64.
            values = values.clone()
            values[tiny] = prepared(rows[tiny], self.metric).values.float()
            length = length.masked_fill(tiny, 1)
        return (self._queries @ values.T).div_(length)

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


def _above(scores: torch.Tensor, bar: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Query and row of the scores (Q, n) that reach the bar (Q,): few, so runs of scores are looked at first."""
    rows = scores.shape[1]
    runs = scores.unflatten(1, (-1, _RUN if rows % _RUN == 0 else 1))
    query, run = (runs.amax(dim=2) >= bar[:, None]).nonzero(as_tuple=True)
    place, within = (runs[query, run] >= bar[query, None]).nonzero(as_tuple=True)
    return query[place], run[place] * runs.shape[2] + within
