"""Predictions of a trained network for a whole run: probabilities, labels and broken rules, into a result file."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cdifast.data import Frames, RowDataset, nxdata
from cdifast.evaluate import labels_from_probabilities, predict_probabilities, rule_violations
from cdifast.nn import load_classifier

from .network_input import NetworkInput
from .prediction_files import GROUP, rule_names
from .rows import refuse_inputs, run_over_frames


def write_predictions(
    frames: Frames,
    weights: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    batch: int = 64,
    device: str | torch.device = "cpu",
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Write a network's prediction for every frame to an HDF5 file, in stack order, keyed by event.

    The file's ``/entry_1/predictions`` holds ``probability`` (N, C) float32, ``label`` (N, C) uint8 (probability at
    or above the class's threshold on the weights' card), ``broken_rules`` (N,) uint8, the number of exclusion rules
    that the labels break, and ``rule_broken`` (N, R) uint8, which of them (left out where no rule speaks of these
    classes); names of classes and rules and the thresholds are attributes. An interrupted job continues when the same
    call is repeated. `read_predictions` reads the file, `write_prediction_table` makes a CSV table of it.

    Parameters
    ----------
    frames : Frames
        Prepared as the weights' card says; its mask is used.
    weights : path
        As :func:`cdifast.train.train_classifier` writes them.
    output : path
    batch : int
        Frames at a time.
    device : str or torch.device
        Where the network runs.
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
        If the weights are missing, damaged, or do not say how to prepare frames.
    """
    refuse_inputs(output, [weights])
    model, card = load_classifier(weights, device=device)
    network_input = NetworkInput(card, weights, frames, device)
    digest = hashlib.sha256(Path(weights).read_bytes()).hexdigest()

    rules = rule_names(card.classes)

    def compute(images: NDArray[Any], good: NDArray[np.bool_] | None) -> dict[str, NDArray[Any]]:
        probabilities = predict_probabilities(model, network_input(images, good))
        labels = labels_from_probabilities(probabilities, card.thresholds)
        broken = rule_violations(labels, card.classes).matrix
        rows = {"probability": probabilities.numpy(), "label": labels, "broken_rules": broken.sum(axis=1, dtype="u1")}
        return {**rows, "rule_broken": broken} if rules else rows

    group, classes = GROUP, list(card.classes)
    columns = [
        RowDataset("probability", (len(classes),), "float32", path=f"{group}/probability"),
        RowDataset("label", (len(classes),), "uint8", path=f"{group}/label"),
        RowDataset("broken_rules", (), "uint8", path=f"{group}/broken_rules"),
    ]
    if rules:
        columns.append(RowDataset("rule_broken", (len(rules),), "uint8", path=f"{group}/rule_broken"))
    return run_over_frames(
        frames,
        output,
        columns,
        compute,
        description="predictions",
        fingerprint={"weights sha256": digest},
        attrs={
            "/entry_1": {"NX_class": "NXentry", "default": "predictions"},
            group: nxdata(
                "probability",
                classes=classes,
                thresholds=list(card.thresholds),
                **({"rules": rules} if rules else {}),
                weights=os.fspath(weights),
                weights_sha256=digest,
            ),
        },
        constants={},
        batch=batch,
        overwrite=overwrite,
        progress=progress,
    )
