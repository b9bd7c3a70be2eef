"""Condor's simulated shots: CXI with a mask for each frame, and what was simulated at the file's root.

==================================  ==================================================
``/entry_1/data_1/data``            frames (N, H, W)
``/entry_1/data_1/mask``            uint16 (N, H, W), CXI bits: saturation differs from shot to shot
``/source/wavelength``              metres, one for all or (N,)
``/particles``, ``/detector``       parameters of the simulation: how the layout is recognised
==================================  ==================================================
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from .cxi import DATA, CxiSource
from .errors import FrameError
from .hdf5 import hdf5_faults, import_h5py, named_dataset, open_hdf5
from .photon_energy import PLANCK_TIMES_LIGHT, read_numbers

_WAVELENGTH = "/source/wavelength"


class CondorSource(CxiSource):
    """Frames of one file that Condor wrote; see the module's docstring for the layout."""

    layout: ClassVar[str] = "condor"

    @classmethod
    def recognise(cls, path: Path, dataset: str | None, file: Any) -> Self | None:
        """Groups ``source`` and ``particles`` at the root beside a CXI entry."""
        if file is None or not all(name in file for name in ("source", "particles", "entry_1")):
            return None
        name = DATA if dataset is None else dataset
        if dataset is None and not isinstance(file.get(DATA), import_h5py().Dataset):
            return None
        why = "the place of frames in a CXI file, beside Condor's source and particles"
        return cls(
            path, name, named_dataset(file, path, name), why if dataset is None else "the data set asked for", file
        )

    def read_energy(self) -> NDArray[np.float64] | None:
        """Photon energies h c / wavelength in joules."""
        with hdf5_faults(self.path, _WAVELENGTH), open_hdf5(self.path) as file:
            if _WAVELENGTH not in file:
                return super().read_energy()
            stored = named_dataset(file, self.path, _WAVELENGTH)
            wavelength = read_numbers(stored, self.shape[0], self.path, _WAVELENGTH, what="wavelength")
        if (wrong := np.flatnonzero(~(wavelength > 0))).size:
            raise FrameError(
                f"found {wavelength[wrong[0]]}; expected wavelengths in metres above 0",
                path=self.path,
                dataset=_WAVELENGTH,
                index=int(wrong[0]),
            )
        return PLANCK_TIMES_LIGHT / wavelength
