"""Whether a contrastive training learns or collapses: what is written into its history."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from .nt_xent import check_pair


class CollapseMonitors(NamedTuple):
    """Properties of the projections of N pairs of views.

    Attributes
    ----------
    alignment
        See `alignment`; 0 is perfect, and also what a collapse looks like.
    uniformity
        See `uniformity`; 0: all projections are one, about -4 and less: spread over the sphere.
    effective_rank
        See `effective_rank`; 1: all projections are multiples of one.
    retrieval
        See `partner_retrieval`; 1 / N by chance.
    """

    alignment: float
    uniformity: float
    effective_rank: float
    retrieval: float


def collapse_monitors(z_a: Tensor, z_b: Tensor) -> CollapseMonitors:
    """All monitors of the projections (N, D) of first and second views; uniformity and rank are of the first."""
    check_pair(z_a, z_b)
    return CollapseMonitors(alignment(z_a, z_b), uniformity(z_a), effective_rank(z_a), partner_retrieval(z_a, z_b))


def alignment(z_a: Tensor, z_b: Tensor) -> float:
    """Mean squared distance of partners on the unit sphere, 0 to 4 (Wang and Isola 2020, arXiv:2005.10242, alpha 2).

    Parameters
    ----------
    z_a, z_b
        (N, D); brought to length one.
    """
    check_pair(z_a, z_b)
    return (_on_sphere(z_a) - _on_sphere(z_b)).square().sum(1).mean().item()


def uniformity(z: Tensor, *, block: int = 1024) -> float:
    """Logarithm of the mean of exp(-2 d^2) over all pairs of different shots (Wang and Isola 2020, t = 2).

    0 where all are in one point; uniform on a sphere of D dimensions, about -4 for large D.

    Parameters
    ----------
    z
        (N, D), N >= 2; brought to length one.
    block
        Rows that are compared at once.
    """
    if len(z) < 2:
        raise ValueError(f"z: found {len(z)} shot, expected at least 2")
    z = _on_sphere(z)
    total = torch.zeros((), dtype=z.dtype, device=z.device)
    for start in range(0, len(z), block):
        rows = z[start : start + block]
        # d^2 = 2 - 2 cos; each with itself adds exactly 1, to be taken away.
        total += torch.exp(-4 * (1 - rows @ z.T).clamp_min(0)).sum()
    return math.log(max((total.item() - len(z)) / (len(z) * (len(z) - 1)), torch.finfo(z.dtype).tiny))


def effective_rank(z: Tensor) -> float:
    """exp of the entropy of the singular values, 1 to min(N, D) (Roy and Vetterli 2007; RankMe, arXiv:2210.02885).

    Not centred, as in RankMe: a collapse to one vector is 1.

    Parameters
    ----------
    z
        (N, D), as it is; 0 where all is zero.
    """
    values = torch.linalg.svdvals(z.detach().double())
    total = values.sum()
    if total == 0:
        return 0.0
    share = values / total
    return torch.exp(torch.special.entr(share).sum()).item()


def partner_retrieval(z_a: Tensor, z_b: Tensor, *, block: int = 1024) -> float:
    """Share of first views whose own partner is nearer (cosine) than every other second view; ties do not count.

    Parameters
    ----------
    z_a, z_b
        (N, D).
    block
        Rows that are compared at once.
    """
    check_pair(z_a, z_b)
    a, b = _on_sphere(z_a), _on_sphere(z_b)
    found = 0
    for start in range(0, len(a), block):
        similar = a[start : start + block] @ b.T
        rows = torch.arange(len(similar), device=a.device)
        partner = similar[rows, rows + start].clone()
        similar[rows, rows + start] = -torch.inf
        found += int((partner > similar.amax(1)).sum())
    return found / len(a)


def _on_sphere(z: Tensor) -> Tensor:
    return functional.normalize(z.detach().double(), dim=1)
