"""``cdifast darks``, and what it shares with ``cdifast calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .app import Dataset, Files, Mask, Overwrite, Quiet, app, opened_frames, print_table, refuse_existing, say

Gain = Annotated[
    str | None, typer.Option(help="Raw units a photon: a number, or a file with one for each pixel (.npy, HDF5).")
]
Saturation = Annotated[float | None, typer.Option(help="Raw value from which on a pixel is full.")]
CommonModeAlong = Annotated[
    Literal["none", "frame", "tile", "row", "column"], typer.Option(help="Pixels that share an offset in each frame.")
]
Tile = Annotated[tuple[int, int] | None, typer.Option(help="Height and width of a detector tile in pixels.")]
CalibrationFile = Annotated[Path | None, typer.Option("--calibration", "-c", help="File that `cdifast darks` wrote.")]


def measure_darks(
    files: list[str],
    dataset: str | None,
    mask: str | None,
    outputs: list[Path],
    gain: str | None,
    saturation: float | None,
    common_mode: Any,
    tile: tuple[int, int] | None,
    quiet: bool,
) -> Any:
    """Calibration of dark frames, printed; ``outputs`` are files that will be written."""
    from cdifast.data import open_frames
    from cdifast.jobs import dark_file_calibration
    from cdifast.jobs.rows import refuse_inputs

    factor: Any = None
    if gain is not None:
        try:
            factor = float(gain)
        except ValueError:
            with open_frames(gain) as image:
                factor = image[0]
    with opened_frames(files, dataset, mask) as frames:
        for path in outputs:
            refuse_inputs(path, frames.input_paths)
        calibration, result = dark_file_calibration(
            frames,
            gain=factor,
            saturation=saturation,
            along=None if common_mode == "none" else common_mode,
            tile=tile,
            progress=not quiet,
        )
        good = calibration.good
        rows = {
            "level": f"{float(result.dark[good].median()):.5g} raw units (median)" if good.any() else "no good pixel",
            "noise": f"{float(result.noise[good].median()):.4g} raw units (median)" if good.any() else "no good pixel",
            **{name: f"{count} pixels" for name, count in result.counts().items() if count},
            "good": f"{int(good.sum())} of {good.numel()} pixels",
        }
        print_table(rows, title=f"{len(frames)} dark frames")
    return calibration


@app.command()
def darks(
    files: Files,
    output: Annotated[Path, typer.Option("--output", "-o", help="Calibration file to write (HDF5).")],
    gain: Gain = None,
    saturation: Saturation = None,
    common_mode: CommonModeAlong = "none",
    tile: Tile = None,
    dataset: Dataset = None,
    mask: Mask = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Make a calibration from frames without beam: dark level, noise, hot, dead and noisy pixels.

    Example: `cdifast darks dark-run.cxi --output calibration.h5 --gain 26.5 --common-mode row --tile 512 512`
    """
    from cdifast.calibrate import save_calibration

    refuse_existing(output, overwrite)
    calibration = measure_darks(files, dataset, mask, [output], gain, saturation, common_mode, tile, quiet)
    say(f"calibration: {save_calibration(output, calibration, overwrite=overwrite)}")
