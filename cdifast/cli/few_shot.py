"""``cdifast few-shot``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .app import Dataset, Files, Mask, Overwrite, app, opened_frames, print_table, say


@app.command("few-shot")
def few_shot(
    files: Files,
    embeddings: Annotated[
        list[Path], typer.Option("--embeddings", "-e", help="File that embed wrote for these frames.")
    ],
    labels: Annotated[Path, typer.Option(help="CSV table with labels of some frames.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="HDF5 file to write.")],
    strength: Annotated[
        float, typer.Option(help="Inverse penalty of the logistic regression: higher trusts the labels more.")
    ] = 1.0,
    dataset: Dataset = None,
    mask: Mask = None,
    overwrite: Overwrite = False,
) -> None:
    """Label all frames from a handful of labels and their embeddings, in seconds.

    Example: `cdifast few-shot run7.cxi --embeddings run7-embeddings.h5 --labels few.csv --output run7-labels.h5`
    """
    from cdifast.data.hdf5 import open_hdf5
    from cdifast.data.label_table import read_label_table
    from cdifast.jobs import write_few_shot
    from cdifast.jobs.neighbours import check_same_frames
    from cdifast.jobs.rows import refuse_inputs
    from cdifast.search import Index

    refuse_inputs(output, [labels])
    with opened_frames(files, dataset, mask) as frames:
        refuse_inputs(output, frames.input_paths)
        with Index(embeddings) as index:
            check_same_frames(index, frames)
        table = read_label_table(labels, frames)
        count = len(frames)
    path, unlearnt = write_few_shot(
        embeddings, table.indices, table.labels, table.classes, output, strength=strength, overwrite=overwrite
    )
    if unlearnt:
        say(f"warning: not learnt, since all labelled frames have them or none: {', '.join(unlearnt)}")
    with open_hdf5(path) as file:
        group = file["/entry_1/predictions"]
        sums = group["label"][:].sum(axis=0)
        broken = int((group["broken_rules"][:] > 0).sum())
    rows = {name: f"{total} frames" for name, total in zip(table.classes, sums, strict=True) if total}
    rows["breaking a rule"] = f"{broken} frames"
    rows["learnt from"] = f"{len(table.indices)} frames of {labels.name}"
    print_table(rows, title=f"{count} frames labelled in {path}")
