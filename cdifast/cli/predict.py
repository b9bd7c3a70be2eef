"""``cdifast predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .app import Dataset, Files, Mask, Overwrite, Quiet, app, opened_frames, print_table, refuse_existing, usable_device


@app.command()
def predict(
    files: Files,
    weights: Annotated[
        Path, typer.Option("--weights", "-w", help="weights.safetensors, or the folder that train wrote.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="HDF5 file to write.")],
    csv: Annotated[Path | None, typer.Option(help="Also write a CSV table, a row a frame.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    dataset: Dataset = None,
    mask: Mask = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Label frames with a trained classifier.

    An interrupted run goes on when the same command is given again.

    The file holds probabilities, labels by the thresholds that training chose, and which rules between the classes the
    labels break.

    Example: `cdifast predict run7.cxi --weights model --output run7-labels.h5`
    """
    from cdifast.jobs import read_predictions, write_prediction_table, write_predictions
    from cdifast.jobs.rows import refuse_inputs

    device = usable_device(device)
    if weights.is_dir():
        weights = weights / "weights.safetensors"
    if csv is not None:
        refuse_existing(csv, overwrite)
    with opened_frames(files, dataset, mask) as frames:
        if csv is not None:
            refuse_inputs(csv, [*frames.input_paths, weights])
        path = write_predictions(frames, weights, output, device=device, overwrite=overwrite, progress=not quiet)
    if csv is not None:
        write_prediction_table(path, csv, overwrite=overwrite)
    found = read_predictions(path)
    sums = found.labels.sum(axis=0, dtype=int)
    rows = {name: f"{total} frames" for name, total in zip(found.classes, sums, strict=True) if total}
    if found.rules:
        rows["breaking a rule"] = f"{int(found.rule_broken.any(axis=1).sum())} frames"
        totals = found.rule_broken.sum(axis=0, dtype=int)
        rows |= {f"  {rule}": f"{total} frames" for rule, total in zip(found.rules, totals, strict=True) if total}
    print_table(rows, title=f"{len(found.labels)} frames labelled in {path}")
