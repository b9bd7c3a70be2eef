"""The contrastive loss of P2 (NT-Xent), in tiles and across ranks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from .distributed import current_ranks, gather_rows, rows_of_ranks


def nt_xent(z_a: Tensor, z_b: Tensor, temperature: float, *, block: int = 1024, across_ranks: bool = True) -> Tensor:
    r"""Normalised temperature-scaled cross-entropy of pairs of views (P2, Methods; Chen et al. 2020, SimCLR).

    Shot i has the views a_i and b_i; all 2N vectors, of length one, are compared with all others:

    .. math:: \ell_{i,j} = -\log\frac{\exp(z_i \cdot z_j / \tau)}{\sum_{k \ne i} \exp(z_i \cdot z_k / \tau)}

    with j the partner of i; the loss is the mean of all 2N, so that each view of a pair is once the one that looks for
    the other. The 2N x 2N similarities are computed in tiles of `block` x `block`, forwards and, once more,
    backwards, so that no more than a tile is ever in memory. First-order gradients only.

    Across ranks, the negatives are the views of all ranks, gradients included: what a rank's view does to another
    rank's loss comes back to it. A rank then returns its own 2n terms, as its share of a *mean over ranks*: the mean of
    what the ranks return is the loss of the joint batch, and gradients averaged over ranks with equal weights
    (`cdifast.train.distributed.average_gradients`) are its gradients, for parts of unequal size too.

    Parameters
    ----------
    z_a, z_b
        Projections (n, D) of the first and the second views, floating point; need not have length one. Half
        precisions are computed in float32.
    temperature
        :math:`\tau` (P2: 0.2 detector-detector and unwrapped-unwrapped, 0.075 unwrapped-detector, 0.1
        detector-unwrapped).
    block
        Side of a tile: memory of ``block**2`` numbers.
    across_ranks
        Whether views of other ranks are negatives; False: each rank is on its own.

    Returns
    -------
    Tensor
        Scalar, float32 or float64.

    Raises
    ------
    ValueError
        Shapes that differ or are not (n, D), fewer than two shots in all, or a number that is not positive.
    TypeError
        Not floating point.
    """
    check_pair(z_a, z_b)
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature: found {temperature}, expected a positive number")
    if block < 1:
        raise ValueError(f"block: found {block}, expected at least 1")
    with torch.autocast(z_a.device.type, enabled=False):
        dtype = torch.promote_types(z_a.dtype, torch.float32)
        own_a, own_b = (functional.normalize(z.to(dtype), dim=1) for z in (z_a, z_b))
        every_a, every_b, start, world_size = own_a, own_b, 0, 1
        ranks = current_ranks()
        if across_ranks and ranks.world_size > 1:
            start, world_size = sum(rows_of_ranks(z_a)[: ranks.rank]), ranks.world_size
            every_a, every_b = gather_rows(own_a), gather_rows(own_b)
        whole = len(every_a)
        if whole < 2:
            raise ValueError(f"z_a: found {whole} shot in all, expected at least 2: it has no negatives")
        anchors, others = torch.cat([own_a, own_b]), torch.cat([every_a, every_b])
        rows = torch.arange(start, start + len(z_a), device=z_a.device)
        own, partners = torch.cat([rows, rows + whole]), torch.cat([rows + whole, rows])
        # Divided by the ranks' mean number of terms.
        return _sum_of_terms(anchors, others, own, partners, temperature, block) * (world_size / (2 * whole))


def check_pair(z_a: Tensor, z_b: Tensor) -> None:
    """Refuse projections of two views that do not belong together."""
    if z_a.dim() != 2 or z_a.shape != z_b.shape:
        raise ValueError(f"z_a, z_b: found shapes {tuple(z_a.shape)} and {tuple(z_b.shape)}, expected (n, D) twice")
    for name, z in (("z_a", z_a), ("z_b", z_b)):
        if not z.is_floating_point():
            raise TypeError(f"{name}: found dtype {z.dtype}, expected a floating one")
    if z_a.dtype != z_b.dtype:
        raise TypeError(f"z_b: found dtype {z_b.dtype}, z_a has {z_a.dtype}")


class _SumOfTerms(torch.autograd.Function):
    """Sum over anchors i of logsumexp_{k != own(i)} s_ik - s_{i, partner(i)}, s = anchors others^T / temperature."""

    @staticmethod
    def forward(
        ctx: Any, anchors: Tensor, others: Tensor, own: Tensor, partners: Tensor, temperature: float, block: int
    ) -> Tensor:
        normalizers = anchors.new_empty(len(anchors))
        for rows in _tiles(len(anchors), block):
            total = anchors.new_full((rows.stop - rows.start,), -torch.inf)
            for columns in _tiles(len(others), block):
                tile = _similarities(anchors, others, own, temperature, rows, columns)
                total = torch.logaddexp(total, tile.logsumexp(1))
            normalizers[rows] = total
        positives = (anchors * others[partners]).sum(1) / temperature
        ctx.save_for_backward(anchors, others, own, partners, normalizers)
        ctx.temperature, ctx.block = temperature, block
        return (normalizers - positives).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        anchors, others, own, partners, normalizers = ctx.saved_tensors
        with torch.autocast(anchors.device.type, enabled=False):
            # Of s_ik: the softmax over k, minus 1 at the partner.
            of_anchors = -others[partners]
            of_others = torch.zeros_like(others).index_add_(0, partners, -anchors)
            for rows in _tiles(len(anchors), ctx.block):
                for columns in _tiles(len(others), ctx.block):
                    tile = _similarities(anchors, others, own, ctx.temperature, rows, columns)
                    share = tile.sub_(normalizers[rows, None]).exp_()
                    of_anchors[rows].addmm_(share, others[columns])
                    of_others[columns].addmm_(share.T, anchors[rows])
        scale = gradient / ctx.temperature
        return of_anchors * scale, of_others * scale, None, None, None, None


def _sum_of_terms(
    anchors: Tensor, others: Tensor, own: Tensor, partners: Tensor, temperature: float, block: int
) -> Tensor:
    return _SumOfTerms.apply(anchors, others, own, partners, temperature, block)


def _tiles(count: int, block: int) -> Iterator[slice]:
    return (slice(start, min(start + block, count)) for start in range(0, count, block))


def _similarities(
    anchors: Tensor, others: Tensor, own: Tensor, temperature: float, rows: slice, columns: slice
) -> Tensor:
    """A tile of s, with -inf where an anchor meets itself."""
    tile = anchors[rows] @ others[columns].T
    itself = own[rows] - columns.start
    inside = (itself >= 0) & (itself < tile.shape[1])
    # Without boolean indexing, which would make the host wait for a GPU.
    at = itself.clamp(0, tile.shape[1] - 1)[:, None]
    tile.div_(temperature)
    return tile.scatter_(1, at, torch.where(inside[:, None], -torch.inf, tile.gather(1, at)))
