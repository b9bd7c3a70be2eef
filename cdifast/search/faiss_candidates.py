"""Candidates from faiss' flat index, where it is installed."""

from __future__ import annotations

import importlib
from typing import Any, Final

import torch

from .distances import Metric, pair_distances, prepared
from .exact import Best

# Candidates beside the k that are asked for: room for what faiss' rounding puts out of order.
_SPARE: Final = 16


class FaissSearch:
    """One block of queries against the rows as they come; the same use as the search of `cdifast.search.exact`."""

    def __init__(self, queries: torch.Tensor, k: int, metric: Metric) -> None:
        self._faiss = import_faiss()
        if queries.device.type != "cpu":
            raise ValueError(f"device: found {queries.device}, expected cpu for the backend 'faiss'")
        self.metric = metric
        self.k = k
        self.best = Best(len(queries), k, queries.device)
        self._exact = prepared(queries, metric)
        self._queries = self._exact.values.float().contiguous().numpy()

    def add(self, rows: torch.Tensor, first: int, excluded: torch.Tensor | None) -> None:
        """Take in the rows (n, d), numbered from `first` on."""
        kind = self._faiss.IndexFlatL2 if self.metric == "euclidean" else self._faiss.IndexFlatIP
        index = kind(rows.shape[1])
        index.add(prepared(rows, self.metric).values.float().contiguous().numpy())
        _, found = index.search(self._queries, min(self.k + _SPARE, len(rows)))
        row = torch.from_numpy(found)
        query = torch.arange(len(row))[:, None].expand_as(row)
        usable = row >= 0
        if excluded is not None:
            usable &= row + first != excluded[:, None]
        query, row = query[usable], row[usable]
        distance = pair_distances(self._exact, rows, query, row, self.metric)
        self.best.merge(query, row + first, distance)


def import_faiss() -> Any:
    """The faiss module.

    Raises
    ------
    ImportError
        It is missing; says how to get it.
    """
    try:
        return importlib.import_module("faiss")
    except ImportError as error:
        raise ImportError("backend 'faiss' needs faiss: pip install faiss-cpu, or choose backend 'torch'") from error
