"""Simulated shots as a CXI file, of any length."""

from __future__ import annotations

import os
from pathlib import Path

from cdifast.data import CxiWriter, RowDataset
from cdifast.data.row_file import Compression
from cdifast.simulate import PRESETS, iter_shots
from cdifast.simulate.particles import PARAMETERS

from .progress import progress_bar

# Planck constant times speed of light, J m (exact in the SI).
PLANCK_TIMES_LIGHT = 6.62607015e-34 * 299792458.0


def write_shots(
    output: str | os.PathLike[str],
    count: int,
    *,
    size: int = 256,
    preset: str = "helium",
    seed: int = 0,
    start: int = 0,
    batch: int = 16,
    compression: Compression | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Simulate shots and write them as a stacked CXI file with labels, energies, mask and geometry.

    Frames are uint16 photon counts; the mask leaves out the detector's hole and what lies beyond its rim; the
    particles' parameters are a table at ``/entry_1/simulation_1/parameters``. An interrupted job continues when the
    same call is repeated.

    Parameters
    ----------
    output : path
    count, size, preset, seed, start
        As :func:`cdifast.simulate.shots`: shot ``k`` of the file is the shot ``start + k`` of the seed.
    batch : int
        Shots between two writes.
    compression : {"gzip", "bitshuffle-lz4"}, optional
    overwrite : bool
        Replace an existing file.
    progress : bool
        Show a bar.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        A number out of range or an unknown preset; and FrameError where ``output`` is another job's.
    FileExistsError
        If ``output`` exists and ``overwrite`` is False.
    """
    iter_shots(0, size, preset, seed, start)  # every check of the arguments, before a file appears
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    detector = PRESETS[preset].detector(size)
    with CxiWriter(
        output,
        (count, size, size),
        "uint16",
        labels=True,
        energy=True,
        mask=detector.lit().numpy(),
        detector_distance=detector.distance,
        pixel_size=detector.pixel_pitch,
        compression=compression,
        columns=[RowDataset("parameters", (), PARAMETERS, path="/entry_1/simulation_1/parameters")],
        fingerprint={"preset": preset, "seed": seed, "start": start},
        overwrite=overwrite,
    ) as file:
        with progress_bar("simulated shots", count, show=progress, unit="shots") as report:
            report(file.done)
            remaining = count - file.done
            for shots in iter_shots(remaining, size, preset, seed, start + file.done, batch=batch):
                file.write(
                    file.done,
                    shots.images.numpy().astype("uint16"),  # counts saturate at 65535
                    labels=shots.labels.numpy(),
                    energy=PLANCK_TIMES_LIGHT / shots.parameters["wavelength"],
                    parameters=shots.parameters,
                )
                report(file.done)
        return file.finish()
