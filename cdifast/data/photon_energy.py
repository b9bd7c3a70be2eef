"""Photon energies as files give them, in joules."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .errors import FrameError
from .hdf5_text import text_attribute

ELECTRON_VOLT: Final = 1.602176634e-19
"""J (exact in the SI)."""

PLANCK_TIMES_LIGHT: Final = 6.62607015e-34 * 299792458.0
"""Planck constant times speed of light, J m (exact in the SI)."""

_UNITS: Final = {"J": 1.0, "joule": 1.0, "joules": 1.0, "eV": ELECTRON_VOLT, "keV": 1000 * ELECTRON_VOLT}


def read_energies(
    stored: Any, count: int, path: Path, name: str, *, units: str = "J", padded: bool = False
) -> NDArray[np.float64]:
    """Photon energies from a data set with one value, or one a frame.

    Parameters
    ----------
    stored : h5py.Dataset
        Its attribute ``units``, where there is one, says what it holds.
    count : int
        Number of frames.
    path, name
        What messages call the data set.
    units : str
        Where the data set does not say: J, eV or keV.
    padded : bool
        A longer data set is fine: its first ``count`` values count.

    Returns
    -------
    ndarray of float64, (count,)
        Joules.

    Raises
    ------
    FrameError
        Another shape or type, or unknown units.
    """
    values = read_numbers(stored, count, path, name, what="photon energy", padded=padded)
    units = text_attribute(stored, "units", units)
    if units not in _UNITS:
        raise FrameError(f"found units '{units}'; expected one of {', '.join(_UNITS)}", path=path, dataset=name)
    return values * _UNITS[units]


def read_numbers(
    stored: Any, count: int, path: Path, name: str, *, what: str, padded: bool = False
) -> NDArray[np.float64]:
    """One number for all frames, or one each, as float64 (count,).

    Raises
    ------
    FrameError
        Another shape, or no numbers.
    """
    shape = stored.shape
    fits = shape in ((), (1,), (count,)) or (padded and shape is not None and len(shape) == 1 and shape[0] > count)
    if not fits or stored.dtype.kind not in "uif":
        raise FrameError(
            f"found {shape} {stored.dtype}; expected one {what} or {count} of them", path=path, dataset=name
        )
    values = np.asarray(stored[()], dtype=np.float64).reshape(-1)
    return np.broadcast_to(values, (count,)).copy() if len(values) == 1 else values[:count]
