"""HDF5's object headers read from their bytes: what has to be known of an object before HDF5's library opens it.

Only what `cdifast.data.guard` and `cdifast.data.hdf5_text` ask for: the messages of one header, of either version, and
the stored value of an attribute among them. "HDF5 File Format Specification", section IV.A, has every field.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

LAYOUT_MESSAGE: Final = 0x08
ATTRIBUTE_MESSAGE: Final = 0x0C
_CONTINUATION: Final = 0x10

_SHARED: Final = 0x02  # flag of a message whose body lies elsewhere

# A header of more bytes is damaged: an attribute has at most 64 KiB, and many of them are kept elsewhere.
_MAX_BYTES: Final = 1 << 26

_FIRST_READ: Final = 512


class Message(NamedTuple):
    """One message of an object header."""

    kind: int
    body: bytes


@dataclass(frozen=True)
class StoredFile:
    """The bytes of an open HDF5 file, with what addresses in it mean.

    Attributes
    ----------
    descriptor : int
        HDF5's own, for ``pread``.
    base : int
        What address 0 is in the file: the length of a user block.
    address_size, length_size : int
        Bytes of an address and of a length; 8 but in files made to be tiny.
    """

    descriptor: int
    base: int = 0
    address_size: int = 8
    length_size: int = 8

    @classmethod
    def of(cls, file: Any) -> StoredFile | None:
        """Of an `h5py.File`; None where it is not one file on the disk."""
        if file.driver != "sec2":
            return None
        sizes = file.id.get_create_plist().get_sizes()
        return cls(int(file.id.get_vfd_handle()), int(file.userblock_size), *map(int, sizes))

    @property
    def undefined(self) -> int:
        """The address that means none."""
        return (1 << 8 * self.address_size) - 1

    def read(self, address: int, size: int) -> bytes:
        """``size`` bytes.

        Raises
        ------
        OSError
            The file ends before them.
        """
        found = self.read_some(address, size)
        if len(found) < size:
            raise OSError("the file ends inside HDF5's own structures")
        return found

    def read_some(self, address: int, size: int) -> bytes:
        """At most ``size`` bytes, fewer at the end of the file."""
        if address + self.base >= 1 << 63 or size > _MAX_BYTES:
            raise OSError("an address or a length is impossible")
        at = address + self.base
        found = os.pread(self.descriptor, size, at)
        while 0 < len(found) < size and (more := os.pread(self.descriptor, size - len(found), at + len(found))):
            found += more
        return found

    def address(self, raw: bytes, start: int) -> int:
        """The address at a place of a structure."""
        return int.from_bytes(raw[start : start + self.address_size], "little")

    def length(self, raw: bytes, start: int) -> int:
        """The length at a place of a structure."""
        return int.from_bytes(raw[start : start + self.length_size], "little")


def messages(stored: StoredFile, address: int) -> list[Message]:
    """All messages of the object header at an address; those whose body lies elsewhere are left out.

    Raises
    ------
    OSError
        There is no whole object header. HDF5 does not open such an object either.
    """
    start = stored.read_some(address, _FIRST_READ)
    if start.startswith(b"OHDR") and len(start) > 5 and start[4] == 2:
        modern, flags = True, start[5]
        first = 6 + 16 * bool(flags & 0x20) + 4 * bool(flags & 0x10)
        width = 1 << (flags & 3)
        size = int.from_bytes(start[first : first + width], "little")
        first += width
    elif len(start) >= 16 and start[0] == 1:
        modern, flags, first = False, 0, 16
        size = int.from_bytes(start[8:12], "little")
    else:
        raise OSError("there is no object header where one should be")
    chunk = start[first : first + size]
    if len(chunk) < size:
        chunk = stored.read(address + first, size)
    found: list[Message] = []
    chunks, seen, total = [chunk], {address}, size
    while chunks:
        for message in _of_chunk(chunks.pop(), modern, flags):
            if message.kind != _CONTINUATION:
                found.append(message)
                continue
            if len(message.body) < stored.address_size + stored.length_size:
                raise OSError("an object header is cut off")
            place, size = stored.address(message.body, 0), stored.length(message.body, stored.address_size)
            total += size
            if place in seen or total > _MAX_BYTES:
                raise OSError("an object header goes on for ever")
            seen.add(place)
            more = stored.read(place, size)
            if modern and (not more.startswith(b"OCHK") or size < 8):
                raise OSError("an object header has no continuation where one should be")
            chunks.append(more[4:-4] if modern else more)
    return found


def _of_chunk(chunk: bytes, modern: bool, flags: int) -> Iterator[Message]:
    head = (6 if flags & 0x04 else 4) if modern else 8
    at = 0
    while at + head <= len(chunk):
        if modern:
            kind, size, marks = chunk[at], int.from_bytes(chunk[at + 1 : at + 3], "little"), chunk[at + 3]
        else:
            kind, size = (int.from_bytes(chunk[at + i : at + i + 2], "little") for i in (0, 2))
            marks = chunk[at + 4]
        at += head
        if at + size > len(chunk):
            raise OSError("a message of an object header is longer than the header")
        if not marks & _SHARED:
            yield Message(kind, chunk[at : at + size])
        at += size


def attribute_value(stored: StoredFile, address: int, name: bytes, size: int) -> bytes | None:
    """The stored bytes of an attribute's value; None where the header does not hold it ("dense" storage).

    Parameters
    ----------
    stored : StoredFile
    address : int
        Of the object's header.
    name : bytes
    size : int
        Bytes of the value.

    Raises
    ------
    OSError
        Header or attribute are cut off.
    """
    for kind, body in messages(stored, address):
        if kind != ATTRIBUTE_MESSAGE or len(body) < 9:
            continue
        version = body[0]
        lengths = [int.from_bytes(body[i : i + 2], "little") for i in (2, 4, 6)]
        at = 9 if version == 3 else 8
        if body[at : at + lengths[0]].split(b"\0", 1)[0] != name:
            continue
        # Version 1 fills each part up to eight bytes.
        at += sum(-(-length // 8) * 8 for length in lengths) if version == 1 else sum(lengths)
        value = body[at : at + size]
        if len(value) < size:
            raise OSError(f"attribute '{name.decode(errors='replace')}' is cut off")
        return value
    return None
