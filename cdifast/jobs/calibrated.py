"""Calibrated frames of a whole run, as a stacked CXI file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from cdifast.calibrate import Calibration, calibrate
from cdifast.data import FrameError, Frames, RowDataset, nxdata
from cdifast.data.cxi import DATA, DETECTOR, ENERGY, LABELS, MASK
from cdifast.data.masks import CXI_BITS
from cdifast.data.row_file import Compression

from .rows import as_image_tensor, run_over_frames, without_own_bad

_CXI_VERSION = 150
_RESULT = "/entry_1/result_1"


def write_calibrated(
    frames: Frames,
    calibration: Calibration,
    output: str | os.PathLike[str],
    *,
    compression: Compression | None = None,
    frame_masks: bool = False,
    device: str | torch.device = "cpu",
    batch: int | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Write the corrected frames as a stacked CXI file, in stack order, keyed by event, with labels and energies.

    Frames are float32, photons if the calibration has a gain. The file's mask is the calibration's and the frames'
    together. What is bad in single frames only keeps its value, for a saturated pixel a lower bound:
    ``/entry_1/result_1`` counts those pixels (``bad``) and the saturated ones among them (``saturated``) for each
    frame, with the scale of the background (``background_scale``); ``frame_masks`` writes out which they are. An
    interrupted job continues when the same call is repeated.

    Parameters
    ----------
    frames : Frames
        Raw frames.
    calibration : Calibration
    output : path
    compression : {"gzip", "bitshuffle-lz4"}, optional
        Of the frames and their masks.
    frame_masks : bool
        Write the mask as (N, H, W) uint16, each frame's own (`Frames.read_mask`): beside the calibration's bits, 0x2
        saturated and 0x80 bad otherwise.
    device : str or torch.device
        Where to compute.
    batch, overwrite, progress
        As :func:`cdifast.jobs.rows.run_over_frames`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    FrameError
        Frames that cannot be read or hold NaN outside the mask, or are not of the calibration's shape; or an
        ``output`` that is another job's or a file of the frames.
    FileExistsError
        If ``output`` exists and ``overwrite`` is False.
    """
    calibration = masked(calibration, frames).to(device)
    shape = frames.shape[1:]
    good = calibration.good.cpu().numpy()
    stored = calibration.mask
    bits = np.zeros(shape, np.uint32) if stored is None else stored.cpu().numpy().astype(np.uint32)
    mask = np.where(good | (bits != 0), bits, CXI_BITS["bad"]).astype(np.uint32)
    columns = [
        RowDataset("images", shape, "float32", path=DATA, compression=compression, attrs={"interpretation": "image"}),
        RowDataset("saturated", (), "int32", path=f"{_RESULT}/saturated"),
        RowDataset("bad", (), "int32", path=f"{_RESULT}/bad"),
        RowDataset("background_scale", (), "float32", path=f"{_RESULT}/background_scale"),
    ]
    if frame_masks:
        columns.append(RowDataset("mask", shape, "uint16", path=MASK, compression=compression))

    def compute(images: NDArray[Any], own: NDArray[np.bool_] | None) -> dict[str, ArrayLike]:
        raw = as_image_tensor(without_own_bad(images, own)).to(device)
        corrected, usable, terms = calibrate(raw, calibration, fill=None, return_terms=True)
        rows: dict[str, ArrayLike] = {
            "images": corrected.cpu().numpy(),
            "saturated": terms.saturated.cpu().numpy(),
            "bad": (~usable & calibration.good).sum(dim=(1, 2)).cpu().numpy(),
            "background_scale": terms.background_scale.cpu().numpy(),
        }
        if frame_masks:
            bits = torch.where(usable, 0, CXI_BITS["bad"])
            if calibration.saturation is not None:
                full = (raw.float() >= calibration.saturation) & calibration.good
                bits.masked_fill_(full, CXI_BITS["saturated"])
            rows["mask"] = np.where(mask != 0, mask, bits.cpu().numpy()).astype(np.uint16)
        return rows

    constants: dict[str, ArrayLike] = {"/cxi_version": _CXI_VERSION}
    if not frame_masks:
        constants[MASK] = mask
    attrs: dict[str, dict[str, Any]] = {
        "/entry_1": {"NX_class": "NXentry", "default": "data_1"},
        "/entry_1/data_1": nxdata("data", units="photon" if calibration.gain is not None else "detector units"),
        "/entry_1/instrument_1": {"NX_class": "NXinstrument"},
        DETECTOR: {"NX_class": "NXdetector"},
        _RESULT: {"NX_class": "NXcollection"},
    }
    if frames.labels is not None:
        constants[LABELS] = frames.labels
        attrs["/entry_1/labels"] = nxdata("data")
        attrs[LABELS] = {"classes": list(frames.class_names)}
    if frames.energy is not None and bool(np.isfinite(frames.energy).all()):
        constants[ENERGY] = frames.energy
        attrs["/entry_1/instrument_1/source_1"] = {"NX_class": "NXsource"}
        attrs[ENERGY] = {"units": "J"}
    return run_over_frames(
        frames,
        output,
        columns,
        compute,
        description="calibrated frames",
        fingerprint={**calibration.fingerprint(), "frame masks": frame_masks},
        attrs=attrs,
        constants=constants,
        batch=batch,
        overwrite=overwrite,
        progress=progress,
    )


def masked(calibration: Calibration, frames: Frames) -> Calibration:
    """The calibration with the frames' own mask in it.

    Raises
    ------
    FrameError
        Frames of another shape.
    """
    import dataclasses

    if calibration.shape != frames.shape[1:]:
        raise FrameError(
            f"found frames of {frames.shape[1]} x {frames.shape[2]} pixels; the calibration is for "
            f"{' x '.join(map(str, calibration.shape or ()))}",
            path=frames.paths[0],
        )
    if frames.mask is None or bool(frames.mask.all()):
        return calibration
    bad = torch.from_numpy(~frames.mask).to(calibration.device, torch.int32) * CXI_BITS["bad"]
    return dataclasses.replace(calibration, mask=bad if calibration.mask is None else calibration.mask | bad)
