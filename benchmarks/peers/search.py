"""Nearest neighbours by cosine of unit vectors that are all in memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks.call import Call, peer_module


def mm_topk(queries: Tensor, rows: Tensor, k: int) -> Call:
    """One matrix product and `topk`, on vectors brought to length one beforehand."""
    wanted, stored = _unit(queries), _unit(rows).T
    scores = torch.empty(len(queries), len(rows))

    def run() -> Tensor:
        torch.mm(wanted, stored, out=scores)
        return scores.topk(k, dim=1).values

    return Call(run, len(queries), lambda found: 1 - found)


def faiss_flat(queries: Tensor, rows: Tensor, k: int) -> Call:
    """faiss' exact index for inner products, filled beforehand."""
    faiss: Any = peer_module("faiss", "faiss-cpu")
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(_unit(rows).numpy())
    wanted = _unit(queries).numpy()
    return Call(lambda: index.search(wanted, k)[0], len(queries), lambda found: 1 - torch.from_numpy(found))


def _unit(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors, dim=1).contiguous()
