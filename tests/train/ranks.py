"""Run a function in several gloo processes."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import multiprocessing

from cdifast.train.distributed import process_group


def run_on_ranks(function: Callable[..., Any], world_size: int, folder: Path, *arguments: Any) -> list[Any]:
    """What `function(rank, *arguments)` returns on each rank: tensors, numbers, and lists or dicts of them."""
    multiprocessing.spawn(_worker, (function, world_size, str(folder), arguments), nprocs=world_size)
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=True) for rank in range(world_size)]


def _worker(rank: int, function: Callable[..., Any], world_size: int, folder: str, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world_size), LOCAL_RANK=str(rank))
    try:
        with process_group("cpu", init_method=f"file://{folder}/meeting", timeout=60):
            result = function(rank, *arguments)
        torch.save(result, Path(folder) / f"rank-{rank}.pt")
    except BaseException:
        traceback.print_exc()
        raise
