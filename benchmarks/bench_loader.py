"""The loader: one epoch of 512 x 512 frames from a file in the page cache to 224 x 224 float32, in random order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cdifast.data import FrameLoader, FramePipeline, InputPreparation, open_frames, write_cxi
from cdifast.data.resize import filter_matrix

from .call import Call, EntryTimer, RowTimer
from .inputs import frames
from .peers import loader as peers

SIDE, SIZE, COUNT, BATCH = 512, 224, 768, 64
DATASET = "/entry_1/data_1/data"
BOX = FramePipeline(InputPreparation(SIZE, "none"))
TRIANGLE = FramePipeline(InputPreparation(SIZE, "none", filter="triangle"))
P1, P2 = FramePipeline.p1(SIZE), FramePipeline.p2(SIZE)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run of 400 MB in one file, one frame a chunk."""
    path = tmp_path_factory.mktemp("loader") / "run.cxi"
    write_cxi(path, frames(SIDE, "uint16", COUNT).numpy(), compression="bitshuffle-lz4")
    yield path
    path.unlink()


def ours(path: Path, pipeline: FramePipeline, backend: str = "torch", tolerance: float | None = 1e-3) -> Call:
    loader = FrameLoader(open_frames(path), batch_size=BATCH, pipeline=pipeline, backend=backend)  # type: ignore[arg-type]

    def epoch() -> Tensor:
        loader.set_epoch(0)
        return peers.first_batch(batch.images for batch in loader)

    return Call(epoch, COUNT, tolerance=tolerance)


def order() -> list[list[int]]:
    """The batches of our loader's first epoch, for all."""
    plan = FrameLoader(torch.empty(COUNT, 1, 1), batch_size=BATCH).order.plan(0)
    return [plan.batch(step).tolist() for step in range(len(plan.batches) - 1)]


def exact() -> Tensor:
    """The first frames of the first batch, in float64."""
    rows = filter_matrix(SIDE, SIZE, SIDE, "box").double()
    return rows @ frames(SIDE, "uint16", COUNT)[order()[0][:2]].double() @ rows.T


def dali(path: Path) -> Call:
    from .call import peer_module

    peer_module("nvidia.dali", "nvidia-dali-cuda130")
    return ours(path, TRIANGLE, "dali", None)


PEERS: dict[str, Callable[[Path], Call]] = {
    "DataLoader, cv2 INTER_AREA": lambda path: peers.data_loader(path, DATASET, peers.area_cv2(SIZE), order()),
    "DataLoader, interpolate(antialias)": lambda path: peers.data_loader(
        path, DATASET, peers.antialiased(SIZE), order(), peers.ANOTHER_FILTER
    ),
    "DataLoader, matrix products": lambda path: peers.data_loader(
        path, DATASET, peers.products(filter_matrix(SIDE, SIZE, SIDE, "box")), order()
    ),
}
ENTRIES: dict[str, Callable[[Path], Call]] = {
    "ours": lambda path: ours(path, BOX),
    "ours, triangle": lambda path: ours(path, TRIANGLE, tolerance=None),
    "ours, DALI, triangle": dali,
    "ours, P1's augmentation": lambda path: ours(path, P1, tolerance=None),
    "ours, P2's augmentation": lambda path: ours(path, P2, tolerance=None),
    **PEERS,
}


@pytest.mark.parametrize("name", ENTRIES)
def test_epoch(name: str, run: Path, entry: EntryTimer, thread_count: int) -> None:
    if thread_count < 2:
        pytest.skip("all have two workers or threads")
    entry("one epoch", name, lambda: ENTRIES[name](run), exact(), size=SIDE, dtype="uint16")


@pytest.mark.ratio
def test_row_loader(run: Path, compare: RowTimer) -> None:
    compare("loader", lambda: ours(run, BOX), {name: partial(build, run) for name, build in PEERS.items()}, exact())
