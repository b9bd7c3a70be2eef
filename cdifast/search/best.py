"""The nearest rows so far."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray


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
