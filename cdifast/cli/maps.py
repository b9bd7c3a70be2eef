"""``cdifast maps``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .app import Dataset, Files, Mask, Overwrite, Quiet, app, opened_frames, save_figure, say


@app.command()
def maps(
    files: Files,
    output: Annotated[Path, typer.Option("--output", "-o", help="HDF5 file to write.")],
    n_radial: Annotated[int, typer.Option(help="Radii of the unwrapped map; the map is n_radial x n_radial.")] = 112,
    n_angular: Annotated[int, typer.Option(help="Angles of the unwrapped map.")] = 224,
    order: Annotated[int, typer.Option(help="Order of the upper triangle.")] = 8,
    part: Annotated[Literal["real", "abs"], typer.Option(help="What the upper triangle holds of it.")] = "real",
    normalize: Annotated[Literal["none", "mean", "pearson"], typer.Option(help="Normalisation of the rings.")] = "none",
    center: Annotated[
        tuple[float, float] | None, typer.Option(help="Beam centre in pixels, Y then X; default: the middle.")
    ] = None,
    r_min: Annotated[float, typer.Option(help="First radius in pixels.")] = 0.0,
    r_max: Annotated[
        float | None, typer.Option(help="Last radius in pixels; default: the largest circle inside.")
    ] = None,
    min_weight: Annotated[float, typer.Option(help="Least share of valid angles of a cell.")] = 0.05,
    dataset: Dataset = None,
    mask: Mask = None,
    figure: Annotated[Path | None, typer.Option(help="Also draw some frames with their maps, to this PNG.")] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Compute the angular correlation map of every frame.

    Lower triangle and diagonal: zero-lag correlation; upper triangle: the given order. An interrupted run goes on
    when the same command is given again.

    Example: `cdifast maps run7.cxi --output run7-maps.h5 --center 512.3 509.8 --figure run7-maps.png`
    """
    from cdifast.jobs import MapSettings, write_maps

    settings = MapSettings(
        n_radial=n_radial,
        n_angular=n_angular,
        order=order,
        part=part,
        normalize=normalize,
        center=center,
        r_min=r_min,
        r_max=r_max,
        min_weight=min_weight,
    )
    with opened_frames(files, dataset, mask) as frames:
        path = write_maps(frames, output, settings, overwrite=overwrite, progress=not quiet)
        say(f"{len(frames)} maps in {path}")
        if figure is not None:
            from cdifast.report.figures import draw_maps

            save_figure(draw_maps(frames, settings), figure, frames)
