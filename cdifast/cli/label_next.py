"""``cdifast label-next``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .app import Dataset, Files, Mask, Overwrite, Quiet, app, opened_frames, print_table, usable_device


@app.command()
def label_next(
    files: Files,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the table and the pictures.")],
    predictions: Annotated[
        Path | None, typer.Option("--predictions", "-p", help="What predict wrote for these frames.")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", "-w", help="Or the network: weights.safetensors, or the folder that train wrote."),
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", help="Shots on the sheet.")] = 50,
    labels: Annotated[
        list[Path] | None, typer.Option(help="Tables filled in before: their shots are left out. May be repeated.")
    ] = None,
    measure: Annotated[
        Literal["margin", "entropy"],
        typer.Option(help="Unsure is: a label close to its threshold, or many labels open."),
    ] = "margin",
    device: Annotated[str, typer.Option(help="cpu or cuda, for the network.")] = "cpu",
    dataset: Dataset = None,
    mask: Mask = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Choose the shots to label next, and write a table to fill in and pictures of the shots.

    First those whose predicted labels break a rule, then those the network is least sure of, no two alike. Fill in
    labels.csv with 0 and 1, then train with --labels. Rows may stay empty; in a row with an entry, empty is 0.

    Example: `cdifast label-next run7.cxi --weights model --count 50 --output sheet`
    """
    from cdifast.jobs import predictions_for_sheet, read_predictions, write_label_sheet
    from cdifast.jobs.label_sheet import refuse_sheet

    device = usable_device(device)
    if (predictions is None) == (weights is None):
        raise ValueError("--predictions and --weights: expected one of them")
    refuse_sheet(output, overwrite)
    with opened_frames(files, dataset, mask) as frames:
        if weights is not None:
            if weights.is_dir():
                weights = weights / "weights.safetensors"
            found = predictions_for_sheet(frames, weights, output, device=device, progress=not quiet)
        else:
            assert predictions is not None
            found = read_predictions(predictions)
            found.check_frames(frames, predictions)
        sheet = write_label_sheet(
            frames,
            found,
            output,
            count=count,
            measure=measure,
            labelled=labels or (),
            overwrite=overwrite,
            progress=not quiet,
        )
    print_table(
        {
            "shots": f"{len(sheet.indices)} of {len(found.labels)}",
            "breaking a rule": str(sheet.breaking_rules),
            "uncertainty": f"{sheet.uncertainty.min():.2f} to {sheet.uncertainty.max():.2f}",
            "pictures": ", ".join(map(str, sheet.pictures)),
            "to fill in": str(sheet.table),
        },
        title="to label next",
    )
