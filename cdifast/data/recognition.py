"""Which layout a file has: the particular before the general, each by marks that only it has."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from .arrays import NpySource, NpzSource
from .cheetah import CheetahSource
from .condor import CondorSource
from .cxi import CxiSource
from .cxi_entries import CxiEntriesSource
from .cxi_halves import CxiHalvesSource
from .errors import FrameError
from .hdf5 import Hdf5Source, hdf5_faults, is_hdf5, open_hdf5
from .modules import ModulesSource
from .png import PngSource
from .source import FrameSource
from .tiff import TiffSource

LAYOUTS: Final[tuple[type[FrameSource], ...]] = (
    CxiHalvesSource,  # first: its files come by the thousand
    ModulesSource,
    CxiEntriesSource,
    CheetahSource,
    CondorSource,
    CxiSource,
    Hdf5Source,
    NpySource,
    NpzSource,
    TiffSource,
    PngSource,
)
"""Every layout, asked in this order."""


def recognise(path: Path, dataset: str | None) -> FrameSource:
    """The frames of a file, by the first layout that knows it.

    Parameters
    ----------
    path : Path
    dataset : str, optional
        Data set or array that holds the frames.

    Raises
    ------
    FrameError
        No layout knows it, it is damaged, or it leaves a choice: the choices are listed.
    FileNotFoundError
        It is not there.
    ImportError
        The package that reads it is missing; the extra that brings it is named.
    """
    if path.stat().st_size == 0:
        raise FrameError("is an empty file (0 bytes)", path=path)
    with _hdf5_file(path, dataset) as file:
        for layout in LAYOUTS:
            source = layout.recognise(path, dataset, file)
            if source is not None:
                return source
    with path.open("rb") as raw:
        start = raw.read(8)
    raise FrameError(
        f"is not HDF5, .npy or .npz, TIFF or PNG (it begins with {start!r}): another format, truncated or damaged; "
        f"known layouts: {', '.join(layout.layout for layout in LAYOUTS)}",
        path=path,
    )


@contextlib.contextmanager
def _hdf5_file(path: Path, dataset: str | None) -> Iterator[Any]:
    """The file, open, where it is HDF5; None where it is not."""
    if not is_hdf5(path):
        yield None
        return
    with hdf5_faults(path, dataset), open_hdf5(path) as file:
        yield file
