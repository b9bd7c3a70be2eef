"""CXIDB 94 (helium nanodroplets): one CXI file with an entry for each shot.

==================================================  ==================================================
``/entry_N/instrument_1/detector_1/data``           one frame (H, W); N counts from 1, numbers may be
                                                    missing
``/entry_N/instrument_1/source_1/energy``           joules
``/entry_N/note_1/data``                            11 labels, in the order of `cdifast.labels.CLASSES`
``/entry_N/experimental_identifier``                bunch id
==================================================  ==================================================

Frames come in the order of N; the event keys are ``entry`` (N) and ``bunchId``. ``dataset="entry_*/..."`` names
another place in each entry.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from cdifast.labels import CLASSES

from .class_labels import check_labels
from .errors import FrameError, describe, describe_all
from .event_keys import IDENTIFIERS
from .hdf5 import check_filters, hdf5_faults, import_h5py, open_hdf5
from .hdf5_text import dataset_texts
from .masks import CXI_RULE
from .source import FrameSource

_DATA: Final = "instrument_1/detector_1/data"
_ENERGY: Final = "instrument_1/source_1/energy"
_LABELS: Final = "note_1/data"


class CxiEntriesSource(FrameSource):
    """Frames of one file with an entry for each shot; see the module's docstring for the layout.

    h5py's low-level interface is used: for thousands of entries its objects would cost seconds.
    """

    layout: ClassVar[str] = "cxi-entries"

    def __init__(self, path: Path, place: str, numbers: NDArray[np.int64], file: Any, why: str) -> None:
        self._place = place
        self._numbers = numbers
        h5py = import_h5py()
        first = file[f"entry_{numbers[0]}/{place}"]
        super().__init__(path, f"/entry_*/{place}", (len(numbers), *first.shape), first.dtype, why)
        self._type = first.dtype.newbyteorder("=")
        check_filters(first, path)
        stored = first.id.get_type()
        for index, number in enumerate(numbers.tolist()):
            name = f"entry_{number}/{place}"
            try:
                file.guard.check(name)
                item = h5py.h5d.open(file.id, name.encode())
            except (KeyError, OSError, ValueError, RuntimeError) as error:
                raise self._wrong(index, f"is not there, or no data set ({error})") from error
            if item.shape != first.shape or item.get_type() != stored:
                found = describe(item.shape, item.dtype)
                raise self._wrong(
                    index, f"found {found}; expected {describe(first.shape, first.dtype)} as in entry_{numbers[0]}"
                )
            if item.get_storage_size() == 0 and item.get_create_plist().get_layout() != h5py.h5d.VIRTUAL:
                raise self._wrong(index, "was created but never written")
        self._mask = place.rsplit("/", 1)[0] + "/mask"
        self.own_masks = f"entry_{numbers[0]}/{self._mask}" in file
        self._file: Any = None
        self._process = 0

    @classmethod
    def recognise(cls, path: Path, dataset: str | None, file: Any) -> Self | None:
        """Several entries with a two-dimensional frame each, or one with labels."""
        if file is None or (dataset is not None and not dataset.lstrip("/").startswith("entry_*/")):
            return None
        h5py = import_h5py()
        numbers = np.array(sorted(int(m[1]) for key in file if (m := re.fullmatch(r"entry_([0-9]{1,9})", key))))
        if dataset is not None:
            if not len(numbers):
                raise FrameError("has no group entry_1, entry_2, ...", path=path, dataset=dataset)
            return cls(path, dataset.lstrip("/").split("/", 1)[1], numbers, file, "as asked for, from every entry")
        if not len(numbers):
            return None
        entry = f"entry_{numbers[0]}"
        first = file.get(f"{entry}/{_DATA}")
        if not isinstance(first, h5py.Dataset) or len(first.shape or ()) != 2:
            return None
        if len(numbers) == 1 and f"{entry}/{_LABELS}" not in file:
            return None
        detectors = file[f"{entry}/instrument_1"]
        choices = {
            f"entry_*/instrument_1/{name}/data": (item.shape, item.dtype)
            for name in detectors
            if re.fullmatch(r"detector_[0-9]+", name)
            and isinstance(item := detectors.get(f"{name}/data"), h5py.Dataset)
            and len(item.shape or ()) == 2
        }
        if len(choices) > 1:
            raise FrameError(
                f"several detectors can be the frames: name one with dataset=: {describe_all(choices)}", path=path
            )
        return cls(path, _DATA, numbers, file, f"an entry for each of {len(numbers)} shots")

    def dataset_at(self, index: int) -> str:
        """The entry's data set."""
        return f"/entry_{self._numbers[index]}/{self._place}"

    def read_run(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Read the entries one after the other through h5py, which converts the byte order."""
        file = self._open()
        h5py = import_h5py()
        for index in range(start, stop):
            target = out[index - start]
            whole = target.dtype == self.dtype and target.flags.c_contiguous
            frame = target if whole else np.empty(self.shape[1:], self.dtype)
            try:
                file.guard.check(self.dataset_at(index))
                item = h5py.h5d.open(file.id, self.dataset_at(index).encode())
                if item.shape != self.shape[1:]:
                    raise self._wrong(index, f"changed since it was opened: {item.shape} now, {self.shape[1:]} then")
                item.read(h5py.h5s.ALL, h5py.h5s.ALL, frame)
            except FrameError:
                raise
            except (KeyError, RuntimeError, ValueError) as error:
                raise OSError(str(error)) from error
            if not whole:
                target[...] = frame

    def mark_bad(
        self, indices: NDArray[np.int64], good: NDArray[np.bool_], *, own: bool, images: NDArray[Any] | None = None
    ) -> None:
        """The masks beside the frames, where the entries have them."""
        if not (own and self.own_masks):
            return
        file = self._open()
        for row, index in enumerate(indices.tolist()):
            name = f"/entry_{self._numbers[index]}/{self._mask}"
            with hdf5_faults(self.path, name):
                bits = file[name]
                if bits.shape != self.shape[1:] or bits.dtype.kind not in "ui":
                    raise FrameError(
                        f"found a mask {describe(bits.shape, bits.dtype)}; expected integers {self.shape[1:]}",
                        path=self.path,
                        dataset=name,
                        index=index,
                    )
                good[row] &= CXI_RULE.good(bits[()], place=f"{self.path}, data set '{name}'")

    def read_labels(self) -> NDArray[np.uint8] | None:
        """``note_1/data`` of every entry."""
        with hdf5_faults(self.path), open_hdf5(self.path) as file:
            rows = self._column(file, _LABELS, (len(CLASSES),), "labels=")
            if rows is None:
                return None
            return check_labels(rows, len(rows), place=f"{self.path}, data set '/entry_*/{_LABELS}'")

    def read_energy(self) -> NDArray[np.float64] | None:
        """Photon energies in joules."""
        with hdf5_faults(self.path), open_hdf5(self.path) as file:
            return self._column(file, _ENERGY, (), "")

    def read_events(self) -> dict[str, NDArray[Any]]:
        """Entry number and bunch id."""
        keys: dict[str, NDArray[Any]] = {"entry": self._numbers}
        with hdf5_faults(self.path), open_hdf5(self.path) as file:
            for name in (*IDENTIFIERS[::-1],):
                item = file.get(f"entry_{self._numbers[0]}/{name}")
                if item is None:
                    continue
                if item.dtype.kind in "ui":
                    keys["bunchId"] = self._column(file, name, (), "", dtype=np.int64)
                else:
                    texts = [dataset_texts(file[f"entry_{n}/{name}"])[:1] or [b""] for n in self._numbers.tolist()]
                    keys["bunchId"] = np.array([text for (text,) in texts], dtype="S")
                break
        return keys

    def _column(self, file: Any, place: str, shape: tuple[int, ...], remedy: str, dtype: Any = np.float64) -> Any:
        """A small data set of every entry, as rows; None where the first entry has none."""
        h5py = import_h5py()
        if f"entry_{self._numbers[0]}/{place}" not in file:
            return None
        rows = np.empty((len(self._numbers), *shape), dtype=dtype)
        size = max(1, rows[0].size)
        flat = rows.reshape(len(rows), size)
        for index, number in enumerate(self._numbers.tolist()):
            name = f"/entry_{number}/{place}"
            try:
                file.guard.check(name)
                item = h5py.h5d.open(file.id, name.encode())
                found = (item.shape or (), item.dtype)
                if int(np.prod(found[0], dtype=np.float64)) == size and found[1].kind in "uifb":
                    values = np.empty(size, found[1])
                    item.read(h5py.h5s.ALL, h5py.h5s.ALL, values)
                    flat[index] = values
                    continue
                problem = f"found {describe(*found)}; expected {size} number{'s' if size > 1 else ''}"
            except (KeyError, OSError, RuntimeError) as error:
                problem = f"is not there or cannot be read ({error})"
            advice = f"; give them with {remedy}" if remedy else ""
            raise FrameError(problem + advice, path=self.path, dataset=name, index=index)
        return rows

    def _wrong(self, index: int, problem: str) -> FrameError:
        return FrameError(problem, path=self.path, dataset=self.dataset_at(index), index=index)

    def _open(self) -> Any:
        if self._process != os.getpid():
            self._file = None
            self._process = os.getpid()
        if self._file is None:
            with hdf5_faults(self.path):
                self._file = open_hdf5(self.path)
        return self._file

    def close(self) -> None:
        """Close this process's handle; the next read opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_process": 0}
