"""Cheetah's files: stacked CXI with its own masks and keys, and the older ones with a file for each event.

==============================================  ======================================================
``/entry_1/data_1/data``                        frames (N, H, W); ``@numEvents`` where the stack has
                                                room for more frames than were written
``.../data_1/mask_shared``                      uint16 (H, W)
``.../data_1/mask``                             uint16 (N, H, W): each frame's own
``/entry_1/instrument_1/source_1/energy``       joules (N,); else ``/LCLS/photon_energy_eV``
``/LCLS``                                       machineTime, fiducial, ...: event keys
``/cheetah``                                    the program's settings: how the layout is recognised, or
                                                by ``mask_shared``
``/data/data``                                  older files: a link to one of the images beside it, with
                                                ``assembledpixelmask0`` or ``pixelmask0``; recognised by
                                                ``/LCLS``, ``/processing`` or ``/cheetah``
==============================================  ======================================================

Bits of the masks are those of `cdifast.data.masks.CHEETAH_RULE`. A pixel is good in a frame where both masks say so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from .cxi import CxiSource, only_place
from .errors import FrameError
from .event_keys import read_keys
from .hdf5 import hdf5_faults, import_h5py, named_dataset, open_hdf5
from .masks import CHEETAH_RULE, MaskRule
from .photon_energy import read_energies

OLD_DATA: Final = "/data/data"
_ELECTRON_VOLTS: Final = "/LCLS/photon_energy_eV"
_OLD_MASKS: Final = {"/data/assembleddata0": "/data/assembledpixelmask0", "/data/rawdata0": "/data/pixelmask0"}
_KEYS: Final = {
    **{
        key: f"/LCLS/{key}" for key in ("machineTime", "machineTimeNanoSeconds", "fiducial", "eventNumber", "runNumber")
    },
    # Cheetah at the European XFEL.
    **{f"{key}Id": f"/instrument/{key}ID" for key in ("train", "pulse", "cell")},
}


class CheetahSource(CxiSource):
    """Frames of one file that Cheetah wrote; see the module's docstring for the layout."""

    layout: ClassVar[str] = "cheetah"
    mask_rule: ClassVar[MaskRule] = CHEETAH_RULE
    padded: ClassVar[bool] = True

    @classmethod
    def recognise(cls, path: Path, dataset: str | None, file: Any) -> Self | None:
        """A CXI entry or ``/data/data``, with what only Cheetah writes."""
        if file is None:
            return None
        h5py = import_h5py()
        if "entry_1" in file:
            if not _of_cheetah(file):
                return None
            name = only_place(file, path) if dataset is None else dataset
            why = "the place of frames in a CXI file, with what Cheetah writes beside them"
        elif isinstance(file.get(OLD_DATA), h5py.Dataset) and any(
            group in file for group in ("LCLS", "processing", "cheetah")
        ):
            name = OLD_DATA if dataset is None else dataset
            why = "the place of frames in Cheetah's files before CXI"
        else:
            return None
        if name is None:
            return None
        item = named_dataset(file, path, name)
        shape: tuple[int, ...] = item.shape or ()
        if len(shape) == 3 and "numEvents" in item.attrs:
            events = int(np.ravel(item.attrs["numEvents"])[0])
            if not 0 <= events <= shape[0]:
                raise FrameError(
                    f"found {events} as numEvents; there is room for {shape[0]} frames", path=path, dataset=name
                )
            shape = (events, *shape[1:])
        return cls(path, name, item, why if dataset is None else "the data set asked for", file, shape=shape)

    def mask_places(self, file: Any) -> tuple[str, ...]:
        """CXI's and ``mask_shared`` beside them; of older files the one that belongs to the image."""
        folder = self.dataset.rsplit("/", 1)[0]
        if self.entry == "/data":
            link = file.get(self.dataset, getlink=True)
            target = getattr(link, "path", self.dataset)
            found = _OLD_MASKS.get(target if target.startswith("/") else f"{folder}/{target}")
            return (found, "/data/mask") if found else ("/data/mask",)
        return (*super().mask_places(file), f"{folder}/mask_shared")

    def read_energy(self) -> NDArray[np.float64] | None:
        """The CXI entry's energies in joules, else those in electron volts under ``/LCLS``."""
        found = super().read_energy()
        if found is not None:
            return found
        with hdf5_faults(self.path, _ELECTRON_VOLTS), open_hdf5(self.path) as file:
            if _ELECTRON_VOLTS not in file:
                return None
            stored = named_dataset(file, self.path, _ELECTRON_VOLTS)
            return read_energies(stored, self.shape[0], self.path, _ELECTRON_VOLTS, units="eV", padded=True)

    def read_events(self) -> dict[str, NDArray[Any]]:
        """Cheetah's name of each event, and the facility's keys."""
        keys = super().read_events()
        with hdf5_faults(self.path), open_hdf5(self.path) as file:
            return keys | read_keys(file, self.path, _KEYS, self.shape[0], padded=True)


def _of_cheetah(file: Any) -> bool:
    places = ("cheetah", "entry_1/data_1/mask_shared", "entry_1/instrument_1/detector_1/mask_shared")
    return any(place in file for place in places)
