"""``cdifast calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .app import Dataset, Files, Mask, Overwrite, Quiet, app, opened_frames, refuse_existing, say, usable_device
from .darks import CalibrationFile, CommonModeAlong, Gain, Saturation, Tile, measure_darks


@app.command()
def calibrate(
    files: Files,
    output: Annotated[Path, typer.Option("--output", "-o", help="CXI file to write.")],
    calibration: CalibrationFile = None,
    dark: Annotated[
        list[str] | None, typer.Option(help="Frames without beam, in place of --calibration; may be repeated.")
    ] = None,
    gain: Gain = None,
    saturation: Saturation = None,
    common_mode: CommonModeAlong = "none",
    tile: Tile = None,
    background: Annotated[
        Path | None,
        typer.Option(help="Output of `cdifast hits` for these files: stray light from its non-hits is taken off."),
    ] = None,
    background_fit: Annotated[
        str | None, typer.Option(help="Mask file: True where no particle lights; there its strength is fitted.")
    ] = None,
    background_scaling: Annotated[
        Literal["least-squares", "robust", "fixed"] | None,
        typer.Option(help="How its strength in a frame is found; default: least-squares with a fit mask, else fixed."),
    ] = None,
    save_calibration: Annotated[
        Path | None, typer.Option(help="Also keep the calibration that was used, with the stray light.")
    ] = None,
    compression: Annotated[
        Literal["none", "gzip", "bitshuffle-lz4"], typer.Option(help="Compression of the frames.")
    ] = "none",
    frame_masks: Annotated[
        bool, typer.Option("--frame-masks", help="Also write which pixels are saturated or bad in each frame.")
    ] = False,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    dataset: Dataset = None,
    mask: Mask = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Correct frames: dark level, common mode, gain, bad pixels, stray light; written as CXI for every other command.

    Options that `darks` has too are for --dark only. An interrupted run goes on when the same command is given again.

    Example: `cdifast calibrate run7.cxi --calibration calibration.h5 --output run7-photons.cxi`
    """
    import dataclasses

    import torch

    from cdifast.calibrate import load_calibration
    from cdifast.calibrate import save_calibration as save
    from cdifast.data.beside import given_mask
    from cdifast.jobs import measure_background, read_misses, write_calibrated
    from cdifast.jobs.rows import refuse_inputs

    device = usable_device(device)
    if (calibration is None) == (not dark):
        raise ValueError("--calibration and --dark: expected one of them")
    given = {"--gain": gain, "--saturation": saturation, "--tile": tile}
    given["--common-mode"] = None if common_mode == "none" else common_mode
    unused = [name for name, value in given.items() if value is not None]
    if background is None and (background_fit or background_scaling):
        raise ValueError("--background-fit, --background-scaling: expected only with --background")
    if calibration is not None and unused:
        raise ValueError(
            f"{', '.join(unused)}: the calibration file has these; give them with --dark or `cdifast darks`"
        )
    with opened_frames(files, dataset, mask) as frames:
        inputs = [*frames.input_paths, *(path for path in (calibration, background) if path is not None)]
        for path in (output, save_calibration):
            if path is not None:
                refuse_inputs(path, inputs)
                refuse_existing(path, overwrite)
        if dark:
            written = [path for path in (output, save_calibration) if path is not None]
            found = measure_darks(dark, dataset, None, written, gain, saturation, common_mode, tile, quiet)
        else:
            assert calibration is not None
            found = load_calibration(calibration)
        if background is not None:
            misses = read_misses(background, frames)
            fit = None
            if background_fit is not None:
                fit = torch.from_numpy(given_mask(background_fit, frames.shape[1:]).good)
            scaling = background_scaling or ("fixed" if fit is None else "least-squares")
            light = measure_background(frames, found, misses, scaling=scaling, fit=fit, progress=not quiet)
            found = dataclasses.replace(found, background=light)
        path = write_calibrated(
            frames,
            found,
            output,
            compression=None if compression == "none" else compression,
            frame_masks=frame_masks,
            device=device,
            overwrite=overwrite,
            progress=not quiet,
        )
        say(f"{len(frames)} frames in {path}")
        if save_calibration is not None:
            say(f"calibration: {save(save_calibration, found, overwrite=overwrite)}")
