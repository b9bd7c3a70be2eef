"""Correction of uint16 frames into buffers, against chains of NumPy and of torch that do the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from cdifast.calibrate import Calibration, CommonMode, calibrate, pixel_groups

from .call import Call, EntryTimer, exact_result
from .inputs import FEW, FUSED_BATCH, frames

SIZES = (128, 512)
TILE = 64
SATURATION = 1000.0


def calibration(size: int, common_mode: bool) -> Calibration:
    """Dark level, gain, mask, saturation, and the median of each tile if asked for."""
    generator = torch.Generator().manual_seed(0)
    dark, gain, dice = torch.rand(3, size, size, generator=generator)
    mode = CommonMode(pixel_groups((size, size), "tile", (TILE, TILE)), "median") if common_mode else None
    return Calibration(90 + 20 * dark, 5 + gain, dice > 0.01, saturation=SATURATION, common_mode=mode)


def raw(size: int) -> Tensor:
    return frames(size, "uint16", FUSED_BATCH[size])


def ours(size: int, common_mode: bool) -> Call:
    images, chosen = raw(size), calibration(size, common_mode)
    out, good = torch.empty(images.shape), torch.empty(images.shape, dtype=torch.bool)
    return Call(lambda: calibrate(images, chosen, out=out, good_out=good)[0], len(images))


def numpy_chain(size: int, common_mode: bool) -> Call:
    """All frames at once, step by step, into buffers."""
    images, chosen = raw(size).numpy(), calibration(size, common_mode)
    dark, gain, good = (t.numpy() for t in (chosen.offset, chosen.gain, chosen.good) if t is not None)
    out, usable = np.empty(images.shape, np.float32), np.empty(images.shape, bool)
    tiles = (len(images), size // TILE, TILE, size // TILE, TILE)

    def run() -> np.ndarray:
        np.less(images, SATURATION, out=usable)
        np.logical_and(usable, good, out=usable)
        np.subtract(images, dark, out=out)
        if common_mode:
            hidden = np.where(usable, out, np.nan).reshape(tiles)
            blocks = hidden.transpose(0, 1, 3, 2, 4).reshape(len(images), -1, TILE * TILE)
            offset = np.nanmedian(blocks, axis=-1).reshape(len(images), size // TILE, 1, size // TILE, 1)
            np.subtract(out.reshape(tiles), offset, out=out.reshape(tiles))
        np.divide(out, gain, out=out)
        out[~usable] = 0
        return out

    return Call(run, len(images))


def numpy_frame_by_frame(size: int, common_mode: bool) -> Call:
    """One frame at a time, so that it stays in the caches: what a careful script does."""
    whole = raw(size)
    images, chosen = whole.numpy(), calibration(size, common_mode)
    dark, gain, good = (t.numpy() for t in (chosen.offset, chosen.gain, chosen.good) if t is not None)
    out = np.empty(images.shape, np.float32)

    def run() -> np.ndarray:
        for frame, values in zip(images, out, strict=True):
            usable = (frame < SATURATION) & good
            np.subtract(frame, dark, out=values)
            if common_mode:
                for top in range(0, size, TILE):
                    for left in range(0, size, TILE):
                        tile = np.s_[top : top + TILE, left : left + TILE]
                        values[tile] -= np.median(values[tile][usable[tile]])
            np.divide(values, gain, out=values)
            values[~usable] = 0
        return out

    return Call(run, len(images))


@exact_result
def exact(size: int, common_mode: bool) -> Tensor:
    images, chosen = raw(size)[:FEW].double(), calibration(size, common_mode)
    assert chosen.dark is not None
    assert chosen.gain is not None
    usable = chosen.good & (images < SATURATION)
    values = images - chosen.dark.double()
    if common_mode:
        for frame, good in zip(values, usable, strict=True):
            for top in range(0, size, TILE):
                for left in range(0, size, TILE):
                    tile = np.s_[top : top + TILE, left : left + TILE]
                    frame[tile] -= float(np.median(frame[tile][good[tile]].numpy()))
    return torch.where(usable, values / chosen.gain.double(), 0)


ENTRIES: dict[str, Callable[[int, bool], Call]] = {
    "ours, out=": ours,
    "NumPy, all frames": numpy_chain,
    "NumPy, frame by frame": numpy_frame_by_frame,
}


@pytest.mark.parametrize("name", ENTRIES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("common_mode", [False, True], ids=["plain", "tiles"])
def test_correction(name: str, size: int, common_mode: bool, entry: EntryTimer) -> None:
    work = "dark, gain, mask, saturation" + (", median of tiles" if common_mode else "")
    build = ENTRIES[name]
    entry(work, name, lambda: build(size, common_mode), exact(size, common_mode), size=size, dtype="uint16")
