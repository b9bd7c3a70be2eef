"""Stacked CXI: frames, mask, labels and photon energy of many shots in one entry.

The layout (cxidb.org, file format 1.5; SI units throughout):

==============================================  ======================================================
``/cxi_version``                                the format's version times 100
``/entry_1/data_1/data``                        frames (N, H, W), often a link to the detector's
``/entry_1/instrument_1/detector_1/data``       the same
``.../data_1/mask`` or ``.../detector_1/mask``  integers (H, W) or (N, H, W), bits as in
                                                `cdifast.data.masks.CXI_BITS`
``/entry_1/instrument_1/source_1/energy``       joules, one for all or (N,)
``/entry_1/experiment_identifier``              (N,) names or numbers of the shots
``/entry_1/labels/data``                        (N, 11) uint8, column names in ``@classes``: ours, the
                                                format has no place for labels of a stack
``/entry_1/events``                             a data set (N,) for each event key: ours, as
                                                ``cdifast convert`` writes them
==============================================  ======================================================
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from .class_labels import check_class_names, check_labels, check_labels_shape
from .errors import FrameError, describe_all
from .event_keys import identifier_key, read_keys
from .frame_masks import FrameMasks
from .hdf5 import Hdf5Source, hdf5_faults, import_h5py, named_dataset, open_hdf5
from .hdf5_text import texts_attribute
from .masks import CXI_RULE, MaskRule, PixelMask, check_mask_shape, good_pixels
from .photon_energy import read_energies

DATA: Final = "/entry_1/data_1/data"
MASK: Final = "/entry_1/data_1/mask"
DETECTOR: Final = "/entry_1/instrument_1/detector_1"
ENERGY: Final = "/entry_1/instrument_1/source_1/energy"
LABELS: Final = "/entry_1/labels/data"
EVENTS: Final = "/entry_1/events"

EVENT_PATHS: Final = "paths"
"""In `EVENTS`: the files that ``file`` counts. The group's ``file`` and ``index`` are where converted frames were."""

_PLACES: Final = (DATA, f"{DETECTOR}/data")
_ORIGIN: Final = {"file": "origin_file", "index": "origin_index"}


class CxiSource(Hdf5Source):
    """Frames of one stacked CXI file; see the module's docstring for the layout.

    Layouts that differ from it in some place are its subclasses.
    """

    layout: ClassVar[str] = "cxi"

    mask_rule: ClassVar[MaskRule] = CXI_RULE
    """How integer masks of this layout are read."""

    padded: ClassVar[bool] = False
    """Whether data sets may be longer than there are frames."""

    def __init__(self, path: Path, name: str, dataset: Any, why: str, file: Any, **stored: Any) -> None:
        super().__init__(path, name, dataset, why, **stored)
        self.entry = "/" + name.strip("/").split("/")[0]
        self._masks: FrameMasks | None = None
        self._flat_masks: tuple[str, ...] = ()
        self._shared: NDArray[np.bool_] | None = None
        self._find_masks(file)

    @classmethod
    def recognise(cls, path: Path, dataset: str | None, file: Any) -> Self | None:
        """HDF5 with frames at one of CXI's two places; ``dataset`` may name another place in an entry."""
        if file is None or (dataset is not None and not dataset.lstrip("/").startswith("entry_")):
            return None
        if dataset is not None:
            if "cxi_version" not in file and "/" + dataset.lstrip("/") not in _PLACES:
                return None
            why = "the data set asked for, in a CXI entry"
            return cls(path, dataset, named_dataset(file, path, dataset), why, file)
        name = only_place(file, path)
        return None if name is None else cls(path, name, file[name], "the place of frames in a CXI file", file)

    def mask_places(self, file: Any) -> tuple[str, ...]:
        """Where masks may be: a stack of them, one for all, or both."""
        places = (self.dataset.rsplit("/", 1)[0] + "/mask",)
        usual = "/" + self.dataset.lstrip("/") in _PLACES
        return tuple(dict.fromkeys((*places, MASK, f"{DETECTOR}/mask"))) if usual else places

    def _find_masks(self, file: Any) -> None:
        h5py = import_h5py()
        there = [name for name in self.mask_places(file) if isinstance(file.get(name), h5py.Dataset)]
        stacks = [name for name in there if self._is_stack(file[name])]
        self._flat_masks = tuple(name for name in there if name not in stacks)
        if stacks:
            source = Hdf5Source(self.path, stacks[0], file[stacks[0]], "the masks", shape=self.shape)
            self._masks = FrameMasks(source, self.mask_rule)
            self.files = tuple(dict.fromkeys((*self.files, *source.files)))
            self.own_masks = True
            self.why += f", {self._masks.why}"

    def _is_stack(self, item: Any) -> bool:
        """Whether a data set holds a mask for each frame, in bits."""
        rows = () if item.shape is None else item.shape[:1]
        fits = rows == self.shape[:1] or (self.padded and rows > self.shape[:1])
        return (
            fits
            and rows != (1,)
            and len(item.shape) >= 3
            and item.shape[1:] == self._stored_shape[1:]
            and item.dtype.kind in "ui"
        )

    def read_mask(self) -> PixelMask | None:
        """Good pixels from the one mask of all frames, beside the frames or at the detector."""
        if self._masks is not None or not self._flat_masks:
            return None
        return self._read_flat_mask()

    def _read_flat_mask(self) -> PixelMask:
        name = self._flat_masks[0]
        with hdf5_faults(self.path, name), open_hdf5(self.path) as file:
            stored = named_dataset(file, self.path, name)
            place = f"{self.path}, data set '{name}'"
            check_mask_shape(stored.shape or (), stored.dtype, self.shape[1:], place=place)
            found = good_pixels(stored[()], self.shape[1:], place=place, bits=self.mask_rule)
            return found._replace(why=f"mask from {name} ({found.why})")

    def mark_bad(
        self, indices: NDArray[np.int64], good: NDArray[np.bool_], *, own: bool, images: NDArray[Any] | None = None
    ) -> None:
        """What the frames' own masks call bad, and the one that they share."""
        if own and self._masks is not None:
            self._masks.mark(indices, good)
            if self._flat_masks:
                if self._shared is None:
                    self._shared = self._read_flat_mask().good
                good &= self._shared

    def close(self) -> None:
        """Close this process's handles; the next read opens them again."""
        super().close()
        if self._masks is not None:
            self._masks.close()

    def read_labels(self) -> NDArray[np.uint8] | None:
        """``/entry_1/labels/data``, checked against the number of frames and the class names."""
        name = f"{self.entry}/labels/data"
        with hdf5_faults(self.path, name), open_hdf5(self.path) as file:
            if name not in file:
                return None
            stored = named_dataset(file, self.path, name)
            place = f"{self.path}, data set '{name}'"
            if (names := texts_attribute(stored, "classes")) is not None:
                check_class_names(names, place=place)
            check_labels_shape(stored.shape or (), stored.dtype, self.shape[0], place=place)
            return check_labels(stored[()], self.shape[0], place=place)

    def read_energy(self) -> NDArray[np.float64] | None:
        """Photon energies in joules; one value for the file counts for every frame."""
        name = f"{self.entry}/instrument_1/source_1/energy"
        with hdf5_faults(self.path, name), open_hdf5(self.path) as file:
            if name not in file:
                return None
            stored = named_dataset(file, self.path, name)
            return read_energies(stored, self.shape[0], self.path, name, padded=self.padded)

    def read_events(self) -> dict[str, NDArray[Any]]:
        """The entry's identifiers, and the keys that ``cdifast convert`` has kept."""
        with hdf5_faults(self.path), open_hdf5(self.path) as file:
            keys = identifier_key(file, self.path, self.entry, self.shape[0], padded=self.padded)
            events = file.get(f"{self.entry}/events")
            if isinstance(events, import_h5py().Group):
                places = {
                    _ORIGIN.get(key, key): f"{self.entry}/events/{key}" for key in sorted(events) if key != EVENT_PATHS
                }
                keys |= read_keys(file, self.path, places, self.shape[0])
            return keys


def only_place(file: Any, path: Path) -> str | None:
    """The data set of frames at one of CXI's two places in the file's only entry; None when there is none.

    Raises
    ------
    FrameError
        Other entries or other detectors hold frames too: lists them.
    """
    h5py = import_h5py()
    for name in _PLACES:
        item = file.get(name)
        if not isinstance(item, h5py.Dataset):
            continue
        choices = {name: item}
        for entry in _numbered(file, "entry"):
            for group in _numbered(file.get(entry), "data"):
                other = file.get(f"/{entry}/{group}/data")
                if isinstance(other, h5py.Dataset) and len(other.shape or ()) >= 2 and other != item:
                    choices[f"/{entry}/{group}/data"] = other
            if entry != "entry_1" and f"/{entry}/data_1/data" not in choices:
                other = file.get(f"/{entry}/instrument_1/detector_1/data")
                if isinstance(other, h5py.Dataset):
                    choices[f"/{entry}/instrument_1/detector_1/data"] = other
        if len(choices) > 1:
            listing = describe_all({name: (item.shape or (), item.dtype) for name, item in choices.items()})
            raise FrameError(f"several data sets can be the frames: name one with dataset=: {listing}", path=path)
        return name
    return None


def _numbered(group: Any, name: str) -> list[str]:
    """The members called ``name_1``, ``name_2``, ..., in the order of their numbers."""
    if not isinstance(group, import_h5py().Group):
        return []
    found = [key for key in group if re.fullmatch(rf"{name}_[0-9]{{1,9}}", key)]
    return sorted(found, key=lambda key: int(key.rsplit("_", 1)[1]))
