"""``cdifast predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .app import Dataset, Files, Mask, Overwrite, Quiet, app, opened_frames, print_table, usable_device


@app.command()
def predict(
    files: Files,
    weights: Annotated[
        Path, typer.Option("--weights", "-w", help="weights.safetensors, or the folder that train wrote.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="HDF5 file to write.")],
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    dataset: Dataset = None,
    mask: Mask = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Label frames with a trained classifier.

    An interrupted run goes on when the same command is given again.

    Example: `cdifast predict run7.cxi --weights model --output run7-labels.h5`
    """
    from cdifast.data.hdf5 import open_hdf5
    from cdifast.data.hdf5_text import texts_attribute
    from cdifast.jobs import write_predictions

    device = usable_device(device)
    if weights.is_dir():
        weights = weights / "weights.safetensors"
    with opened_frames(files, dataset, mask) as frames:
        path = write_predictions(frames, weights, output, device=device, overwrite=overwrite, progress=not quiet)
        count = len(frames)
    with open_hdf5(path) as file:
        group = file["/entry_1/predictions"]
        sums = group["label"][:].sum(axis=0)
        broken = int((group["broken_rules"][:] > 0).sum())
        classes = texts_attribute(group, "classes") or []
    rows = {name: f"{total} frames" for name, total in zip(classes, sums, strict=True) if total}
    rows["breaking a rule"] = f"{broken} frames"
    print_table(rows, title=f"{count} frames labelled in {path}")
