"""Simulated shots as a CXI file, of any length."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from cdifast.data import CxiWriter, RowDataset
from cdifast.data.row_file import Compression
from cdifast.labels import CLASSES
from cdifast.simulate import PARAMETERS, PRESETS, Shots, iter_shots, shots
from cdifast.simulate.simulation import VERSION

from .processes import ordered_map
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
    jobs: int = 1,
    compression: Compression | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Simulate shots and write them as a stacked CXI file with labels, energies, mask and geometry.

    Frames are uint16; the mask leaves out the detector's hole, what lies beyond its rim, and its dead place; the
    particles' parameters are a table at ``/entry_1/simulation_1/parameters``. Labels that are not the eleven classes
    (preset ``cxidb10``) are columns at ``/entry_1/simulation_1/labels`` with an attribute ``classes``. An interrupted
    job continues when the same call is repeated, with any ``batch`` and ``jobs``: the frames are the same to the last
    bit.

    Parameters
    ----------
    output : path
    count, size, preset, seed, start
        As :func:`cdifast.simulate.shots`: shot ``k`` of the file is the shot ``start + k`` of the seed.
    batch : int
        Shots between two writes.
    jobs : int
        Processes that simulate, beside this one that writes; 1: this one does all, on torch's threads. Processes are
        spawned, so a script that calls this needs the usual ``if __name__ == "__main__":``.
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
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}")
    experiment = PRESETS[preset]
    detector = experiment.detector(size)
    eleven = experiment.classes == CLASSES
    columns = [RowDataset("parameters", (), PARAMETERS, path="/entry_1/simulation_1/parameters")]
    if not eleven:
        columns.append(
            RowDataset(
                "species",
                (len(experiment.classes),),
                "uint8",
                path="/entry_1/simulation_1/labels",
                attrs={"classes": list(experiment.classes)},
            )
        )
    with CxiWriter(
        output,
        (count, size, size),
        "uint16",
        labels=eleven,
        energy=True,
        mask=experiment.response.good(detector).numpy(),
        detector_distance=detector.distance,
        pixel_size=detector.pixel_pitch,
        compression=compression,
        columns=columns,
        fingerprint={"simulator": VERSION, "preset": preset, "seed": seed, "start": start},
        overwrite=overwrite,
    ) as file:
        with progress_bar("simulated shots", count, show=progress, unit="shots") as report:
            report(file.done)
            for part in _batches(count - file.done, size, preset, seed, start + file.done, batch, jobs):
                labels = part.labels.numpy()
                file.write(
                    file.done,
                    part.images.numpy().astype("uint16"),  # counts saturate at 65535
                    labels=labels if eleven else None,
                    energy=PLANCK_TIMES_LIGHT / part.parameters["wavelength"],
                    parameters=part.parameters,
                    **({} if eleven else {"species": labels}),
                )
                report(file.done)
        return file.finish()


def _batches(count: int, size: int, preset: str, seed: int, start: int, batch: int, jobs: int) -> Iterator[Shots]:
    """The shots in order, from this process or from others."""
    if jobs == 1:
        yield from iter_shots(count, size, preset, seed, start, batch=batch)
        return
    stop = start + count
    calls = [(min(batch, stop - first), size, preset, seed, first) for first in range(start, stop, batch)]
    yield from ordered_map(shots, calls, jobs)
