"""HDF5 files whose virtual data sets are checked before HDF5's library opens them.

The library decodes a virtual data set's mappings when it opens it, and crashes or loops over damaged ones
(`cdifast.data.global_heap` says why). So the files that `cdifast.data.hdf5.open_hdf5` gives find each object's header
first, by its links, and check the mappings; what is damaged is an error. It costs a few system calls for each object.

Strings of variable length, which lie in the same heap, are read in `cdifast.data.hdf5_text`, without the library.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any, Final, TypeVar

from .errors import FrameError
from .global_heap import GlobalHeap, check_mappings
from .object_header import LAYOUT_MESSAGE, StoredFile, messages

Key = TypeVar("Key")
Value = TypeVar("Value")

_VIRTUAL: Final = 3
_VIRTUAL_SINCE: Final = 4  # version of the layout message

# HDF5 itself follows 16 soft links.
_MAX_LINKS: Final = 16

_REMEMBERED: Final = 1000
_whole: OrderedDict[bytes, None] = OrderedDict()
"""Digests of mappings found whole: their checksum takes 0.2 s a megabyte, and a file is opened several times."""
_groups: OrderedDict[tuple[int, ...], set[bytes]] = OrderedDict()
"""Groups of files that have been opened, by device, file, size and time of change, that hard links alone lead to."""


class Guard:
    """Checks the objects of one open file before they are opened."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._stored = StoredFile.of(file)
        self._heap = None if self._stored is None else GlobalHeap(self._stored)
        self._groups: set[bytes] = set()
        if self._stored is not None:
            status = os.fstat(self._stored.descriptor)
            key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            self._groups = _remember(_groups, key, self._groups)
        self._done: set[bytes] = set()

    def check(self, name: str | bytes) -> None:
        """Check the object of this name; one that is not there is fine.

        Raises
        ------
        FrameError
            It is a virtual data set whose mappings are damaged, or its header is.
        """
        raw = name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name
        if raw in self._done:
            return
        try:
            self._check(raw, 0)
        except FrameError:
            raise
        except (OSError, IndexError) as error:
            text = raw.decode("utf-8", "replace")
            raise FrameError(
                f"not readable as HDF5: truncated or damaged ({error})", path=self._path(), dataset=text
            ) from error
        self._done.add(raw)

    def _path(self) -> Path:
        return Path(os.fsdecode(self._file.filename))

    def _check(self, name: bytes, followed: int) -> None:
        if self._stored is None or self._heap is None:
            return
        import h5py

        links = self._file.id.links
        rest, done = _parts(name), b""
        address = -1
        while rest:
            place = done + b"/" + rest[0]
            if len(rest) > 1 and place in self._groups:
                rest, done = rest[1:], place
                continue
            try:
                link = links.get_info(place)
            except (KeyError, RuntimeError, OSError, ValueError):
                return  # not there, or under something that is no group: h5py says so
            if link.type == h5py.h5l.TYPE_HARD:
                if len(rest) > 1:
                    self._groups.add(place)
                rest, done, address = rest[1:], place, link.u
                continue
            followed += 1
            if followed > _MAX_LINKS:
                raise OSError(f"more than {_MAX_LINKS} links lead to each other")
            if link.type == h5py.h5l.TYPE_SOFT:
                target = links.get_val(place)
                done = b"" if target.startswith(b"/") else done
                rest = [*_parts(target), *rest[1:]]
            elif link.type == h5py.h5l.TYPE_EXTERNAL:
                other, target = links.get_val(place)
                self._check_elsewhere(other, b"/".join([target, *rest[1:]]), followed)
                return
            else:
                return
        if address >= 0:
            self._check_header(address)

    def _check_elsewhere(self, name: bytes, target: bytes, followed: int) -> None:
        """What an external link leads to; HDF5 looks for its file beside this one, then in the working directory."""
        import h5py

        own = self._path().parent
        path = next((place for place in (own / os.fsdecode(name), Path(os.fsdecode(name))) if place.is_file()), None)
        if path is not None:
            with h5py.File(path, "r") as other:
                Guard(other)._check(target, followed)

    def _check_header(self, address: int) -> None:
        assert self._stored is not None
        assert self._heap is not None
        for kind, body in messages(self._stored, address):
            if kind == LAYOUT_MESSAGE and body[0] >= _VIRTUAL_SINCE and body[1] == _VIRTUAL:
                heap = self._stored.address(body, 2)
                if heap == self._stored.undefined:
                    continue
                at = 2 + self._stored.address_size
                block = self._heap.get(heap, int.from_bytes(body[at : at + 4], "little"))
                digest = hashlib.sha256(block).digest()
                if digest not in _whole:
                    check_mappings(block)
                    _remember(_whole, digest, None)


def _remember(memory: OrderedDict[Key, Value], key: Key, value: Value) -> Value:
    """What is kept for a key, else ``value`` from now on; what was asked for longest ago is forgotten."""
    found = memory.setdefault(key, value)
    memory.move_to_end(key)
    if len(memory) > _REMEMBERED:
        memory.popitem(last=False)
    return found


def _parts(path: bytes) -> list[bytes]:
    return [part for part in path.split(b"/") if part not in (b"", b".")]


@functools.cache
def guarded_file_type() -> type:
    """`h5py.File` whose objects, and those of its groups, are checked before they are opened."""
    import h5py

    class GuardedGroup(h5py.Group):
        """A group of such a file."""

        guard: Guard
        place: str

        def __getitem__(self, name: Any) -> Any:
            return _guarded(name, self.guard, self.place, super().__getitem__)

        def get(self, name: Any, default: Any = None, getclass: bool = False, getlink: bool = False) -> Any:
            return _got(self, name, default, getclass, getlink, super().get)

    class GuardedFile(h5py.File):
        """The file; a name that is found has been checked."""

        def __getitem__(self, name: Any) -> Any:
            return _guarded(name, self.guard, "", super().__getitem__)

        def get(self, name: Any, default: Any = None, getclass: bool = False, getlink: bool = False) -> Any:
            return _got(self, name, default, getclass, getlink, super().get)

        @functools.cached_property
        def guard(self) -> Guard:
            """What checks them; to be asked before h5py's low-level interface opens something."""
            return Guard(self)

    def _got(parent: Any, name: Any, default: Any, getclass: bool, getlink: bool, get: Any) -> Any:
        if getlink:
            return get(name, default, getclass, getlink)
        try:
            found = parent[name]
        except KeyError:
            return default
        return get(name, default, True) if getclass else found

    def _guarded(name: Any, guard: Guard, place: str, get: Any) -> Any:
        if not isinstance(name, str | bytes):
            return get(name)
        text = os.fsdecode(name)
        full = text if text.startswith("/") else f"{place}/{text}"
        guard.check(full)
        found = get(name)
        if type(found) is h5py.Group:
            found = GuardedGroup(found.id)
            found.guard, found.place = guard, full
        return found

    return GuardedFile
