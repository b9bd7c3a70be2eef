"""Where a trained network looks, for a whole run: Grad-CAM++ heat maps into a result file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cdifast.data import Frames, RowDataset, nxdata

from .explainer import Explainer
from .rows import refuse_inputs, run_over_frames


def write_explanations(
    frames: Frames,
    weights: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    classes: Sequence[str] | None = None,
    count: int = 3,
    stage: int | None = None,
    negative_slope: float = 0.2,
    batch: int = 16,
    device: str | torch.device = "cpu",
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Write Grad-CAM++ heat maps of every frame to an HDF5 file, in stack order, keyed by event.

    The file's ``/entry_1/explanations`` holds ``heat`` (N, M, S, S) float16, the maps at the size of the network's
    input, at most 1 in magnitude; ``class`` (N, M) int16, the class that each speaks of; and ``probability`` (N, C)
    float32. Class names are an attribute. A map covers the square of a frame's longer side, with the frame in its
    middle. An interrupted job continues when the same call is repeated.

    Parameters
    ----------
    frames : Frames
        Prepared as the weights' card says; its mask is used. Some of a stack: `cdifast.data.selection.SelectedFrames`.
    weights : path
    output : path
    classes, count, stage, negative_slope, device
        As `Explainer`.
    batch : int
        Frames at a time.
    overwrite, progress
        As :func:`cdifast.jobs.rows.run_over_frames`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    FrameError
        Frames that cannot be read or hold NaN outside the mask, or an ``output`` that is another job's, the weights
        or a file of the frames.
    FileExistsError
        If ``output`` exists and ``overwrite`` is False.
    FileNotFoundError, ValueError
        As `Explainer`.
    """
    refuse_inputs(output, [weights])
    explainer = Explainer(
        weights, frames, classes=classes, count=count, stage=stage, negative_slope=negative_slope, device=device
    )
    digest = hashlib.sha256(Path(weights).read_bytes()).hexdigest()

    def compute(images: NDArray[Any], good: NDArray[np.bool_] | None) -> dict[str, NDArray[Any]]:
        found = explainer(images, good)
        return {
            "heat": found.heat.numpy().astype(np.float16),
            "class": found.classes.astype(np.int16),
            "probability": found.probability,
        }

    group = "/entry_1/explanations"
    names = list(explainer.class_names)
    return run_over_frames(
        frames,
        output,
        [
            RowDataset("heat", (explainer.explained, *explainer.input.size), "float16", path=f"{group}/heat"),
            RowDataset("class", (explainer.explained,), "int16", path=f"{group}/class"),
            RowDataset("probability", (len(names),), "float32", path=f"{group}/probability"),
        ],
        compute,
        description="explanations",
        fingerprint={
            "weights sha256": digest,
            "classes": "most probable" if classes is None else ", ".join(classes),
            "stage": "last" if stage is None else stage,
            "negative slope": negative_slope,
        },
        attrs={
            "/entry_1": {"NX_class": "NXentry", "default": "explanations"},
            group: nxdata(
                "heat",
                method="Grad-CAM++",
                classes=names,
                negative_slope=negative_slope,
                stage=0 if stage is None else stage,  # 0: the last
                weights=os.fspath(weights),
                weights_sha256=digest,
            ),
        },
        constants={},
        batch=batch,
        overwrite=overwrite,
        progress=progress,
    )
