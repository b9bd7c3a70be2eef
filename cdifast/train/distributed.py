"""Several processes that train one network: who am I, and sums over all of them with right gradients.

Each process ("rank") differentiates a loss of its own, and `average_gradients` takes the mean. So a loss must
be such that its mean over the ranks is the loss of the joint batch; then every function here gives the
gradients that one process would have had. Without a process group all of them do nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together.

    Attributes
    ----------
    rank
        Number of this process, from 0.
    world_size
        How many there are.
    local_rank
        Its number among those on this machine: the number of its GPU.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    def __post_init__(self) -> None:
        if self.world_size < 1:
            raise ValueError(f"WORLD_SIZE: found {self.world_size}, expected at least 1")
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"RANK: found {self.rank}, expected 0 to {self.world_size - 1}")

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, the one that writes files and draws the progress bar."""
        return self.rank == 0

    def device(self, device: str | torch.device = "cpu") -> torch.device:
        """The device that this rank works on: of a "cuda" without number, the GPU of its local rank."""
        device = torch.device(device)
        if device.type == "cuda" and device.index is None and self.world_size > 1:
            return torch.device("cuda", self.local_rank)
        return device


def ranks_from_environment() -> Ranks:
    """What ``torchrun`` says in RANK, WORLD_SIZE and LOCAL_RANK; one process where it says nothing.

    Raises
    ------
    ValueError
        WORLD_SIZE without RANK, or numbers that cannot be.
    """
    if "WORLD_SIZE" not in os.environ:
        return Ranks()
    values = {}
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        text = os.environ.get(name, os.environ.get("RANK") if name == "LOCAL_RANK" else None)
        if text is None:
            raise ValueError(f"{name}: not set, though WORLD_SIZE is; start the processes with torchrun")
        try:
            values[name] = int(text)
        except ValueError as error:
            raise ValueError(f"{name}: found {text!r}, expected a whole number") from error
    return Ranks(values["RANK"], values["WORLD_SIZE"], values["LOCAL_RANK"])


def current_ranks() -> Ranks:
    """This process in the process group at hand; rank 0 of 1 where there is none."""
    if not _active():
        return Ranks()
    rank = dist.get_rank()
    return Ranks(rank, dist.get_world_size(), int(os.environ.get("LOCAL_RANK", rank)))


@contextmanager
def process_group(
    device: str | torch.device = "cpu", *, init_method: str = "env://", timeout: float = 1800.0
) -> Iterator[Ranks]:
    """Join the process group that ``torchrun`` started this process for, and leave it at the end.

    One process alone needs no group and makes none; a group that the caller has made is used and kept.

    Parameters
    ----------
    device
        Where tensors live: nccl joins CUDA devices, gloo all others.
    init_method
        Where the ranks meet, as `torch.distributed.init_process_group` takes it.
    timeout
        Seconds after which waiting for another rank is an error.

    Yields
    ------
    Ranks
    """
    if dist.is_available() and dist.is_initialized():
        yield current_ranks()
        return
    ranks = ranks_from_environment()
    if ranks.world_size == 1:
        yield ranks
        return
    if not dist.is_available():
        raise RuntimeError(f"WORLD_SIZE: found {ranks.world_size}, but this torch has no torch.distributed")
    device = ranks.device(device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        init_method=init_method,
        rank=ranks.rank,
        world_size=ranks.world_size,
        timeout=timedelta(seconds=timeout),
    )
    try:
        yield ranks
    finally:
        dist.destroy_process_group()


class _SumOverRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        result = tensor.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(result)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # Every rank's loss depends on this rank's summand.
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        return gradient


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """Sum of a tensor over all ranks, the same on each of them.

    The gradient is that of the sum of all ranks' losses. First order only.

    Parameters
    ----------
    tensor
        Any shape, the same on all ranks.
    """
    return _SumOverRanks.apply(tensor) if _active() else tensor


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, counts: list[int]) -> Tensor:
        # Collectives want equal shapes: shorter parts are filled up, and cut again.
        padded = tensor.new_zeros(max(counts), *tensor.shape[1:])
        padded[: len(tensor)] = tensor
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        ctx.start, ctx.count = sum(counts[: dist.get_rank()]), len(tensor)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        return gradient[ctx.start : ctx.start + ctx.count], None


def gather_rows(tensor: Tensor) -> Tensor:
    """Rows of all ranks, in the order of the ranks.

    The gradient is that of the sum of all ranks' losses: a row gathers what every rank makes of it. First order
    only.

    Parameters
    ----------
    tensor
        (n, ...) of any dtype; n may differ between ranks and may be 0, the other dimensions may not.

    Returns
    -------
    Tensor
        (N, ...), N the sum of all n.
    """
    return _GatherRows.apply(tensor, rows_of_ranks(tensor)) if _active() else tensor


def rows_of_ranks(tensor: Tensor) -> list[int]:
    """Number of rows that each rank's tensor has."""
    if not _active():
        return [len(tensor)]
    counts = torch.zeros(dist.get_world_size(), dtype=torch.int64, device=tensor.device)
    counts[dist.get_rank()] = len(tensor)
    dist.all_reduce(counts)
    return counts.tolist()


@torch.no_grad()
def average_gradients(parameters: Iterable[torch.nn.Parameter], weight: float = 1.0) -> None:
    """Replace each gradient by its weighted mean over the ranks, in one exchange for each dtype and device.

    With the mean loss over n images on each rank and n as the weight, the result is the gradient of the mean loss
    over all images, however unequal the parts are. A parameter that has no gradient on some ranks counts as zero
    there; one without a gradient on all of them stays without.

    Parameters
    ----------
    parameters
        The same ones in the same order on all ranks.
    weight
        This rank's weight, >= 0; not 0 on all ranks.

    Raises
    ------
    ValueError
        A negative weight, or weights that are 0 on all ranks.
    """
    if not weight >= 0:
        raise ValueError(f"weight: found {weight}, expected a number >= 0")
    if not _active():
        if weight == 0:
            raise ValueError("weight: found 0 on all ranks")
        return
    groups: dict[tuple[torch.dtype, torch.device], list[torch.nn.Parameter]] = {}
    for parameter in parameters:
        if parameter.requires_grad:
            groups.setdefault((parameter.dtype, parameter.device), []).append(parameter)
    for (dtype, device), group in groups.items():
        present = torch.tensor([weight] + [float(p.grad is not None) for p in group], dtype=dtype, device=device)
        # A rank without images may have a NaN as mean loss: its gradients do not count at all.
        flat = [(torch.zeros_like(p) if p.grad is None or weight == 0 else p.grad * weight).reshape(-1) for p in group]
        total = torch.cat([present, *flat])
        dist.all_reduce(total)
        if total[0] == 0:
            raise ValueError("weight: found 0 on all ranks")
        means = total[len(present) :].div_(total[0]).split([p.numel() for p in group])
        for parameter, there, mean in zip(group, total[1 : len(present)].tolist(), means, strict=True):
            if there:
                mean = mean.view_as(parameter)
                parameter.grad = mean.clone() if parameter.grad is None else parameter.grad.copy_(mean)


def any_rank(flag: bool, device: str | torch.device = "cpu") -> bool:
    """Whether a flag is set on any rank: all ranks learn of it together, and none waits for one that has left."""
    if not _active():
        return flag
    flags = torch.tensor([int(flag)], device=device)
    dist.all_reduce(flags, dist.ReduceOp.MAX)
    return bool(flags.item())


def require_same(text: str, name: str, device: str | torch.device = "cpu") -> None:
    """Refuse ranks that were given different data or configurations.

    Parameters
    ----------
    text
        What must be equal; a fingerprint is enough.
    name
        What it is, for the error.
    device
        Where the exchange takes place (nccl: a CUDA device).

    Raises
    ------
    ValueError
        On all ranks, where any two differ.
    """
    import hashlib

    digest = torch.tensor(list(hashlib.sha256(text.encode()).digest()), dtype=torch.int64, device=device)
    differing = (gather_rows(digest[None]) != gather_rows(digest[None])[0]).any(dim=1).nonzero().flatten().tolist()
    if differing:
        raise ValueError(f"{name}: found another on rank {differing[0]} than on rank 0, expected the same on all ranks")


def _active() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
