"""CXIDB 10 to 14 (LCLS amo10510): a CXI file for each shot, the two halves of a pnCCD in data sets of their own.

==============================================  ======================================================
``/entry_1/data_3/data``                        upper half (h, W)
``/entry_1/data_4/data``                        lower half (h, W): joined to frames (2 h, W)
``/entry_1/instrument_1/source_1/energy``       joules
==============================================  ======================================================

Other detectors may be there as ``data_1`` and ``data_2``; ``dataset="A+B"`` joins two data sets of another name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from .cxi import DATA
from .errors import FrameError, describe
from .event_keys import identifier_key
from .hdf5 import Hdf5Source, hdf5_faults, import_h5py, named_dataset, open_hdf5
from .photon_energy import read_energies
from .source import FrameSource

HALVES: Final = ("/entry_1/data_3/data", "/entry_1/data_4/data")


class CxiHalvesSource(FrameSource):
    """Frames of one file whose halves lie apart; see the module's docstring for the layout."""

    layout: ClassVar[str] = "cxi-halves"

    def __init__(self, path: Path, halves: tuple[Hdf5Source, Hdf5Source], why: str, file: Any) -> None:
        upper, lower = halves
        if upper.dtype != lower.dtype or upper.shape[::2] != lower.shape[::2] or upper.single != lower.single:
            raise FrameError(
                f"found {describe(lower.shape, lower.dtype)}; expected the rows, columns and type of the other half, "
                f"'{upper.dataset}' {describe(upper.shape, upper.dtype)}, but for its height",
                path=path,
                dataset=lower.dataset,
            )
        count, height, width = upper.shape
        shape = (count, height + lower.shape[1], width)
        super().__init__(path, f"{upper.dataset}+{lower.dataset}", shape, upper.dtype, why)
        self._halves = halves
        self.files = tuple(dict.fromkeys((*upper.files, *lower.files)))
        self._entry = "/" + upper.dataset.strip("/").split("/")[0]
        # Files of one shot come by the thousand: what is here is read while the file is open.
        self._energy: NDArray[np.float64] | None = None
        name = f"{self._entry}/instrument_1/source_1/energy"
        if name in file:
            self._energy = read_energies(named_dataset(file, path, name), count, path, name)

    @classmethod
    def recognise(cls, path: Path, dataset: str | None, file: Any) -> Self | None:
        """Two data sets of one width at CXIDB's places, or as ``dataset`` joins them."""
        if file is None:
            return None
        if dataset is not None:
            names = tuple(dataset.split("+"))
            if len(names) != 2 or dataset in file:
                return None
            items = [named_dataset(file, path, name) for name in names]
            why = "the halves asked for"
        else:
            h5py = import_h5py()
            names, items = HALVES, []
            for name in names:
                item = file.get(name)
                if not isinstance(item, h5py.Dataset) or len(item.shape or ()) not in (2, 3):
                    return None
                items.append(item)
            other = file.get(DATA)
            if isinstance(other, h5py.Dataset) and len(other.shape or ()) > len(items[0].shape):
                return None  # a stack of several detectors
            why = "the two halves of the detector, one below the other"
            if isinstance(other, h5py.Dataset):
                why += f" (not the other one's at {DATA}, which dataset= names)"
        upper, lower = (Hdf5Source(path, name, item, why) for name, item in zip(names, items, strict=True))
        return cls(path, (upper, lower), why, file)

    def read(self, indices: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Each half by its own way."""
        height = self._halves[0].shape[1]
        self._halves[0].read(indices, out[:, :height])
        self._halves[1].read(indices, out[:, height:])

    def read_run(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """As `read`."""
        self.read(np.arange(start, stop), out)

    def close(self) -> None:
        """Close this process's handles; the next read opens them again."""
        for half in self._halves:
            half.close()

    def read_energy(self) -> NDArray[np.float64] | None:
        """Photon energies in joules."""
        return self._energy

    def read_events(self) -> dict[str, NDArray[Any]]:
        """The shot's identifier."""
        with hdf5_faults(self.path), open_hdf5(self.path) as file:
            return identifier_key(file, self.path, self._entry, self.shape[0])
