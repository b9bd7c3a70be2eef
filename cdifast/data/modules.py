"""European XFEL: virtual CXI as EXtra-data writes it, and copies of it; frames are stacks of modules.

==============================================  ======================================================
``/entry_1/instrument_1/detector_1/data``       (N, modules, h, w); raw data (N, modules, 2, h, w): the
                                                image, and the gain, which is left out. A frame is
                                                (modules h, w): the modules, one below the other
``.../detector_1/mask``                         the same, without gain axis; any bit = bad
``.../detector_1/module_identifier``            how the layout is recognised, or by ``@axes`` or the
                                                ``trainId``
``/entry_1/trainId``, ``/entry_1/pulseId``      event keys, (N,)
``/entry_1/cellId``                             event key, (N, modules); a module that is missing has 0, the
                                                others agree
==============================================  ======================================================

Where a module was not recorded, floating-point frames hold NaN and integers zero. Such pixels are bad in that frame:
known from the NaN, and from what the virtual data set maps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from .cxi import DATA, DETECTOR, CxiSource
from .errors import FrameError, describe
from .event_keys import read_keys
from .hdf5 import hdf5_faults, import_h5py, named_dataset, open_hdf5
from .hdf5_text import text_attribute
from .masks import ANY_BIT_RULE, MaskRule

_PART_BYTES: Final = 1 << 26


class ModulesSource(CxiSource):
    """Frames of one file in EXtra-data's layout; see the module's docstring."""

    layout: ClassVar[str] = "extra-data"
    mask_rule: ClassVar[MaskRule] = ANY_BIT_RULE

    @classmethod
    def recognise(cls, path: Path, dataset: str | None, file: Any) -> Self | None:
        """A CXI data set of four or five axes, of which the second is named or numbered as modules."""
        if file is None:
            return None
        if "cxi_version" not in file:
            if dataset is None and "INSTRUMENT" in file and "INDEX" in file:
                raise FrameError(
                    "is a file of a European XFEL run, which has one module of the detector or none; expected a "
                    "virtual CXI of all modules: EXtra-data makes it (extra-data-make-virtual-cxi)",
                    path=path,
                )
            return None
        h5py = import_h5py()
        names = (DATA, f"{DETECTOR}/data") if dataset is None else (dataset,)
        name = next((name for name in names if isinstance(file.get(name), h5py.Dataset)), None)
        if name is None or len(file[name].shape or ()) not in (4, 5) or not _of_modules(file, name):
            return None
        item = named_dataset(file, path, name)
        count, modules, *gain, height, width = item.shape
        if gain and gain[0] not in (1, 2):
            raise FrameError(
                f"found {describe(item.shape, item.dtype)}; expected a third axis of 1 or 2: the image and its gain",
                path=path,
                dataset=name,
            )
        why = f"{modules} modules of {height} x {width} pixels, one below the other"
        return cls(
            path,
            name,
            item,
            f"{why}, without the gain axis" if gain else why,
            file,
            shape=(count, modules * height, width),
            inner=(slice(None), 0) if gain else (),
        )

    def __init__(self, path: Path, name: str, dataset: Any, why: str, file: Any, **stored: Any) -> None:
        super().__init__(path, name, dataset, why, file, **stored)
        self._virtual = bool(dataset.is_virtual)
        self._present: NDArray[np.bool_] | None = None
        self.gaps = self._virtual or self.dtype.kind == "f"
        self.own_masks = self.own_masks or self.gaps

    def mark_bad(
        self, indices: NDArray[np.int64], good: NDArray[np.bool_], *, own: bool, images: NDArray[Any] | None = None
    ) -> None:
        """What the masks call bad, and modules that are not there."""
        super().mark_bad(indices, good, own=own)
        if self._virtual:
            modules = self._stored_shape[1]
            missing = ~self._modules_there()[indices]
            good.reshape(len(indices), modules, -1)[missing] = False
        if self.dtype.kind != "f" or not len(indices):
            return
        if images is not None:
            good &= ~np.isnan(images)
            return
        step = max(1, _PART_BYTES // (self.shape[1] * self.shape[2] * self.dtype.itemsize))
        buffer = np.empty((min(step, len(indices)), *self.shape[1:]), dtype=self.dtype)
        for start in range(0, len(indices), step):
            part = indices[start : start + step]
            self.read(part, buffer[: len(part)])
            good[start : start + step] &= ~np.isnan(buffer[: len(part)])

    def _modules_there(self) -> NDArray[np.bool_]:
        """Whether the virtual data set maps something, for each frame and module."""
        if self._present is None:
            present = np.zeros(self._stored_shape[:2], dtype=bool)
            for source in self._open().virtual_sources():
                space = source.vspace
                if not space.is_regular_hyperslab():
                    raise FrameError(
                        f"its mapping to '{source.file_name}' is not regular: which modules are there is not known",
                        path=self.path,
                        dataset=self.dataset,
                    )
                axes = []
                for start, stride, number, block in zip(*space.get_regular_hyperslab(), strict=True):
                    first = start + stride * np.arange(min(number, present.size))
                    axes.append((first[:, None] + np.arange(min(block, present.size))).ravel())
                present[np.ix_(axes[0], axes[1])] = True
            self._present = present
        return self._present

    def read_events(self) -> dict[str, NDArray[Any]]:
        """Train, pulse and memory cell."""
        count = self.shape[0]
        with hdf5_faults(self.path), open_hdf5(self.path) as file:
            places = {key: f"{self.entry}/{key}" for key in ("trainId", "pulseId")}
            keys = read_keys(file, self.path, places, count)
            cells = file.get(f"{self.entry}/cellId")
            if isinstance(cells, import_h5py().Dataset):
                if cells.shape not in ((count,), (count, self._stored_shape[1])):
                    raise FrameError(
                        f"found {describe(cells.shape or (), cells.dtype)}; expected a cell for each of the {count} "
                        f"frames and {self._stored_shape[1]} modules",
                        path=self.path,
                        dataset=f"{self.entry}/cellId",
                    )
                values = np.asarray(cells[()])
                keys["cellId"] = values.max(axis=1) if values.ndim == 2 else values
            return keys

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_present": None}


def _of_modules(file: Any, name: str) -> bool:
    """Whether the second axis is called one of modules."""
    axes = text_attribute(file[name], "axes")
    folder, entry = name.rsplit("/", 1)[0], name.strip("/").split("/")[0]
    return "module_identifier" in axes or f"{folder}/module_identifier" in file or f"{entry}/trainId" in file
