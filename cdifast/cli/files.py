"""``cdifast info`` and ``cdifast convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .app import Dataset, Files, Labels, Mask, Overwrite, Quiet, app, opened_frames, print_table, save_figure, say


@app.command()
def info(
    files: Files,
    dataset: Dataset = None,
    mask: Mask = None,
    labels: Labels = None,
    figure: Annotated[Path | None, typer.Option(help="Also draw some frames, to this PNG.")] = None,
) -> None:
    """Say what is in files: layout, frames, mask, labels, energy, event keys, values.

    Example: `cdifast info "run7/*.cxi" --figure run7.png`
    """
    from cdifast.data.summary import summarize

    with opened_frames(files, dataset, mask, labels) as frames:
        print_table(summarize(frames))
        if figure is not None:
            from cdifast.report.figures import draw_frames

            save_figure(draw_frames(frames), figure, frames)


@app.command()
def convert(
    files: Files,
    output: Annotated[Path, typer.Option("--output", "-o", help="CXI file to write.", metavar="OUTPUT.cxi")],
    compression: Annotated[
        Literal["bitshuffle-lz4", "gzip", "none"], typer.Option(help="Compression of the frames.")
    ] = "bitshuffle-lz4",
    dataset: Dataset = None,
    mask: Mask = None,
    labels: Labels = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Rewrite frames of any layout as one stacked CXI file that reads fast, a chunk for each frame.

    Values, element type, mask, labels, energies and event keys are kept. An interrupted run goes on when the same
    command is given again.

    Example: `cdifast convert "amo10510/*.cxi" --output nanorice.cxi`
    """
    from cdifast.jobs import convert_frames

    with opened_frames(files, dataset, mask, labels) as frames:
        path = convert_frames(
            frames,
            output,
            compression=None if compression == "none" else compression,
            overwrite=overwrite,
            progress=not quiet,
        )
        say(f"{len(frames)} frames in {path}")
