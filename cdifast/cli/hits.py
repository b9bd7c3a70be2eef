"""``cdifast hits``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .app import Dataset, Files, Mask, Overwrite, Quiet, app, opened_frames, print_table, usable_device
from .darks import CalibrationFile


@app.command()
def hits(
    files: Files,
    output: Annotated[Path, typer.Option("--output", "-o", help="HDF5 file to write.")],
    calibration: CalibrationFile = None,
    score: Annotated[
        Literal["lit", "poisson"],
        typer.Option(help="What decides: lit pixels, or the deviance from the calibration's stray light."),
    ] = "lit",
    level: Annotated[
        float | None, typer.Option(help="Value above which a pixel is lit; default: 5 sigma of the noise.")
    ] = None,
    false_positive_rate: Annotated[
        float, typer.Option(help="Probability that a frame without a particle counts as a hit.")
    ] = 1e-3,
    center: Annotated[
        tuple[float, float] | None, typer.Option(help="Beam centre in pixels, Y then X; default: the middle.")
    ] = None,
    r_min: Annotated[float, typer.Option(help="Pixels closer to the centre do not count.")] = 0.0,
    r_max: Annotated[float | None, typer.Option(help="Pixels farther from the centre do not count.")] = None,
    centers: Annotated[
        Literal["none", "friedel", "rings"], typer.Option(help="Also find the centre of each hit, by this method.")
    ] = "none",
    search: Annotated[
        float | None, typer.Option(help="How far from the centre it may be, in pixels; default: an eighth of a side.")
    ] = None,
    sample: Annotated[int, typer.Option(help="Frames that the threshold comes from, evenly spread.")] = 2048,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    dataset: Dataset = None,
    mask: Mask = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Find the frames that hit a particle: lit pixels, significance, verdict, and centres.

    An interrupted run goes on when the same command is given again.

    Example: `cdifast hits run7.cxi --calibration calibration.h5 --output run7-hits.h5 --centers friedel`
    """
    from cdifast.calibrate import load_calibration
    from cdifast.jobs import HitSettings, summarize_hits, write_hits
    from cdifast.jobs.rows import refuse_inputs

    device = usable_device(device)
    settings = HitSettings(
        score=score,
        level=level,
        false_positive_rate=false_positive_rate,
        sample=sample,
        center=center,
        r_min=r_min,
        r_max=r_max,
        centers=None if centers == "none" else centers,
        search=search,
    )
    found = None
    if calibration is not None:
        refuse_inputs(output, [calibration])
        found = load_calibration(calibration)
    with opened_frames(files, dataset, mask) as frames:
        path = write_hits(
            frames, output, settings, calibration=found, device=device, overwrite=overwrite, progress=not quiet
        )
    print_table(summarize_hits(path), title=f"hits in {path}")
