"""Stacked CXI: frames, mask, labels and photon energy of many shots in one entry.

The layout (cxidb.org, file format 1.5; SI units throughout):

==============================================  ======================================================
``/cxi_version``                                the format's version times 100
``/entry_1/data_1/data``                        frames (N, H, W), often a link to the detector's
``/entry_1/instrument_1/detector_1/data``       the same
``.../data_1/mask`` or ``.../detector_1/mask``  uint32 (H, W), bits as in `cdifast.data.masks.CXI_BITS`
``/entry_1/instrument_1/source_1/energy``       joules, one for all or (N,)
``/entry_1/labels/data``                        (N, 11) uint8, column names in ``@classes``: ours, the
                                                format has no place for labels of a stack
==============================================  ======================================================
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from .class_labels import check_class_names, check_labels, check_labels_shape
from .errors import FrameError
from .hdf5 import Hdf5Source, hdf5_faults, import_h5py, is_hdf5, named_dataset, open_hdf5
from .masks import PixelMask, check_mask_shape, good_pixels

DATA: Final = "/entry_1/data_1/data"
MASK: Final = "/entry_1/data_1/mask"
DETECTOR: Final = "/entry_1/instrument_1/detector_1"
ENERGY: Final = "/entry_1/instrument_1/source_1/energy"
LABELS: Final = "/entry_1/labels/data"

_JOULES: Final = {"J": 1.0, "joule": 1.0, "joules": 1.0, "eV": 1.602176634e-19, "keV": 1.602176634e-16}


class CxiSource(Hdf5Source):
    """Frames of one stacked CXI file; see the module's docstring for the layout."""

    layout: ClassVar[str] = "cxi"

    @classmethod
    def recognise(cls, path: Path, dataset: str | None) -> Self | None:
        """HDF5 with frames at one of CXI's two places; ``dataset`` may name another place in an entry."""
        if not is_hdf5(path) or (dataset is not None and not dataset.lstrip("/").startswith("entry_")):
            return None
        h5py = import_h5py()
        with hdf5_faults(path, dataset), open_hdf5(path) as file:
            if dataset is not None:
                if "cxi_version" not in file:
                    return None
                return cls(path, named_dataset(file, path, dataset), "the data set asked for, in a CXI entry")
            for name in (DATA, f"{DETECTOR}/data"):
                item = file.get(name)
                # One two-dimensional frame beside a second entry is CXIDB's entry-per-shot layout, not a stack.
                if isinstance(item, h5py.Dataset) and not (len(item.shape or ()) == 2 and "entry_2" in file):
                    return cls(path, item, "the place of frames in a CXI file")
        return None

    def read_mask(self) -> PixelMask | None:
        """Good pixels from the ``mask`` beside the frames or at the detector."""
        beside = self.dataset.rsplit("/", 1)[0] + "/mask"
        with hdf5_faults(self.path), open_hdf5(self.path) as file:
            for name in dict.fromkeys((beside, MASK, f"{DETECTOR}/mask")):
                if name in file:
                    stored = named_dataset(file, self.path, name)
                    place = f"{self.path}, data set '{name}'"
                    check_mask_shape(stored.shape or (), stored.dtype, self.shape[1:], place=place)
                    found = good_pixels(stored[()], self.shape[1:], place=place)
                    return found._replace(why=f"mask from {name} ({found.why})")
        return None

    def read_labels(self) -> NDArray[np.uint8] | None:
        """``/entry_1/labels/data``, checked against the number of frames and the class names."""
        with hdf5_faults(self.path, LABELS), open_hdf5(self.path) as file:
            if LABELS not in file:
                return None
            stored = named_dataset(file, self.path, LABELS)
            place = f"{self.path}, data set '{LABELS}'"
            if "classes" in stored.attrs:
                names = np.atleast_1d(stored.attrs["classes"])
                check_class_names([_text(name) for name in names.tolist()], place=place)
            check_labels_shape(stored.shape or (), stored.dtype, self.shape[0], place=place)
            return check_labels(stored[()], self.shape[0], place=place)

    def read_energy(self) -> NDArray[np.float64] | None:
        """Photon energies in joules; one value for the file counts for every frame."""
        with hdf5_faults(self.path, ENERGY), open_hdf5(self.path) as file:
            if ENERGY not in file:
                return None
            stored = named_dataset(file, self.path, ENERGY)
            count = self.shape[0]
            if stored.shape not in ((), (1,), (count,)) or stored.dtype.kind not in "uif":
                raise FrameError(
                    f"found {stored.shape} {stored.dtype}; expected one photon energy or {count} of them",
                    path=self.path,
                    dataset=ENERGY,
                )
            units = _text(stored.attrs.get("units", "J"))
            if units not in _JOULES:
                raise FrameError(
                    f"found units '{units}'; expected one of {', '.join(_JOULES)}",
                    path=self.path,
                    dataset=ENERGY,
                )
            values = np.asarray(stored[()], dtype=np.float64) * _JOULES[units]
            return np.broadcast_to(values.reshape(-1) if values.ndim else values, (count,))


def _text(value: Any) -> str:
    """An HDF5 string of either kind, fixed-length (bytes) or variable-length, as text."""
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)
