"""Frames from HDF5 files in the page cache: ours by chunk, beside h5py.

The frames of the rows are simulated ones of single particles at an X-ray laser (preset ``cxidb10``): few photons, which
compress to a quarter. The entries also have ring patterns with hundreds of photons in every pixel, most of which no
compression takes away: there all decoders are slower, and ours ahead by less for gzip.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdifast import simulate
from cdifast.data import open_frames

from .call import Call, EntryTimer, RowTimer
from .inputs import frames
from .peers import reading as peers

SIZE, FRAMES, READ = 512, 128, 64
DIFFERENT = 16
# Small frames, for what finding them costs: h5py takes milliseconds for each of a long list.
SMALL, SMALL_FRAMES, SCATTERED, FEW_SCATTERED = 128, 20_000, 10_000, 1_000
MODULES, MODULE_SHAPE, TRAINS = 16, (512, 128), 64

MODULES_DATA = "/entry_1/instrument_1/detector_1/data"

ENCODINGS = ("none", "gzip", "gzip-shuffle", "lz4", "bitshuffle", "zstd")


def options(encoding: str) -> dict[str, Any]:
    import hdf5plugin

    return {
        "none": {},
        "gzip": {"compression": "gzip", "compression_opts": 4},
        "gzip-shuffle": {"compression": "gzip", "compression_opts": 4, "shuffle": True},
        "lz4": dict(hdf5plugin.LZ4()),
        "bitshuffle": dict(hdf5plugin.Bitshuffle(cname="lz4")),
        "zstd": dict(hdf5plugin.Zstd()),
    }[encoding]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reading")


@functools.cache
def shots_of(kind: str) -> Tensor:
    """The frames, (FRAMES, SIZE, SIZE) uint16: "sparse", as recorded, or "dense"."""
    if kind == "dense":
        return frames(SIZE, "uint16", FRAMES)
    different = simulate.shots(DIFFERENT, SIZE, "cxidb10", seed=1).images.to(torch.uint16)
    return different.repeat(FRAMES // DIFFERENT, 1, 1)


def stack(folder: Path, encoding: str, kind: str = "sparse") -> Path:
    """Frames of one file, one a chunk; written once."""
    import h5py

    path = folder / f"{kind}-{encoding}.h5"
    if not path.exists():
        values = shots_of(kind).numpy()
        with h5py.File(path, "w") as file:
            file.create_dataset("frames", data=values, chunks=(1, SIZE, SIZE), **options(encoding))
    return path


def small_stack(folder: Path) -> Path:
    import h5py

    path = folder / "small.h5"
    if not path.exists():
        values = frames(SMALL, "uint16", 1000).numpy()
        with h5py.File(path, "w") as file:
            dataset = file.create_dataset("frames", (SMALL_FRAMES, SMALL, SMALL), "u2", chunks=(1, SMALL, SMALL))
            for start in range(0, SMALL_FRAMES, len(values)):
                dataset[start : start + len(values)] = values
    return path


def modules(folder: Path) -> Path:
    """A virtual data set of one file a module, as detectors of several modules are recorded."""
    import h5py

    path = folder / "virtual.h5"
    if not path.exists():
        values = frames(SIZE, "uint16", TRAINS).numpy()[:, :, : MODULE_SHAPE[1]]
        layout = h5py.VirtualLayout((TRAINS, MODULES, *MODULE_SHAPE), "u2")
        for module in range(MODULES):
            name = f"module-{module}.h5"
            with h5py.File(folder / name, "w") as file:
                file.create_dataset("data", data=values, chunks=(1, *MODULE_SHAPE))
            layout[:, module] = h5py.VirtualSource(name, "data", values.shape)
        with h5py.File(path, "w") as file:
            file["cxi_version"] = 150
            file.create_virtual_dataset(MODULES_DATA, layout)
            file["entry_1/instrument_1/detector_1/module_identifier"] = np.arange(MODULES)
    return path


def random_rows(count: int, of: int) -> NDArray[np.int64]:
    return np.random.default_rng(0).permutation(of)[:count].astype(np.int64)


def ours(path: Path, rows: NDArray[np.int64] | slice) -> Call:
    opened = open_frames(path)
    count = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
    out = np.empty((count, *opened.shape[1:]), opened.dtype)
    return Call(lambda: opened.read(rows, out=out), count, torch.from_numpy, tolerance=0.0)


@pytest.mark.parametrize("name", ["ours", "h5py d[i]", "h5py read_direct"])
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_reading(name: str, encoding: str, kind: str, folder: Path, entry: EntryTimer) -> None:
    path, rows = stack(folder, encoding, kind), random_rows(READ, FRAMES)
    builders = {
        "ours": lambda: ours(path, rows),
        "h5py d[i]": lambda: peers.loop(path, rows),
        "h5py read_direct": lambda: peers.read_direct(path, rows),
    }
    exact = shots_of(kind)[rows].to(torch.float64)
    entry(f"{kind} frames, {encoding}, random order", name, builders[name], exact, size=SIZE, dtype="uint16")


@pytest.mark.ratio
@pytest.mark.parametrize("encoding", ["gzip", "gzip-shuffle", "bitshuffle"])
def test_row(encoding: str, folder: Path, compare: RowTimer) -> None:
    path, rows = stack(folder, encoding), random_rows(READ, FRAMES)
    compare(
        f"read-{encoding}",
        lambda: ours(path, rows),
        {
            "h5py d[i]": lambda: peers.loop(path, rows),
            "h5py read_direct": lambda: peers.read_direct(path, rows),
        },
        shots_of("sparse")[rows].to(torch.float64),
    )


@pytest.mark.ratio
def test_scattered(folder: Path, compare: RowTimer) -> None:
    path = small_stack(folder)
    rows = np.sort(random_rows(SCATTERED, SMALL_FRAMES))
    exact = frames(SMALL, "uint16", 1000)[rows[:FEW_SCATTERED] % 1000].to(torch.float64)
    # The peer gets a tenth of them: its time an item grows with their number.
    peer = {"h5py d[sorted_indices]": lambda: peers.fancy(path, rows[:FEW_SCATTERED])}
    compare("read-scattered", lambda: ours(path, rows), peer, exact)


@pytest.mark.ratio
def test_virtual(folder: Path, compare: RowTimer) -> None:
    path, rows = modules(folder), slice(8, 40)
    exact = frames(SIZE, "uint16", TRAINS)[rows, :, : MODULE_SHAPE[1]].repeat(1, MODULES, 1).to(torch.float64)
    peer = {"h5py d[a:b]": lambda: peers.piece(path, rows, MODULES_DATA)}
    compare("read-virtual", lambda: ours(path, rows), peer, exact)
