"""``cdifast simulate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .app import Overwrite, Quiet, app, say


@app.command()
def simulate(
    output: Annotated[Path, typer.Argument(help="CXI file to write.", metavar="OUTPUT.cxi")],
    count: Annotated[int, typer.Option(help="Number of shots.")] = 1000,
    size: Annotated[int, typer.Option(help="Pixels along each side.")] = 256,
    preset: Annotated[
        str, typer.Option(help="Experiment to simulate: helium (real label statistics), helium-balanced, cxidb10.")
    ] = "helium",
    seed: Annotated[int, typer.Option(help="Random sequence; shot k depends on (seed, k) only.")] = 0,
    start: Annotated[
        int, typer.Option(help="Index of the first shot in that sequence, for making a set in parts.")
    ] = 0,
    jobs: Annotated[int, typer.Option(help="Processes that simulate; the shots are the same for every number.")] = 1,
    compression: Annotated[
        Literal["none", "gzip", "bitshuffle-lz4"], typer.Option(help="Compression of the frames.")
    ] = "none",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Simulate labelled diffraction images of helium nanodroplets, or of viruses and nanoparticles.

    An interrupted run goes on when the same command is given again.

    Example: `cdifast simulate shots.cxi --count 2000 --size 256 --seed 1 --jobs 4`
    """
    from cdifast.jobs import write_shots

    path = write_shots(
        output,
        count,
        size=size,
        preset=preset,
        seed=seed,
        start=start,
        jobs=jobs,
        compression=None if compression == "none" else compression,
        overwrite=overwrite,
        progress=not quiet,
    )
    say(f"{count} shots in {path}")
