"""HDF5's global heap, read and checked without HDF5.

Mappings of virtual data sets and strings of variable length lie in it. HDF5's library trusts what it finds there: over
a damaged heap, version 2.0 loops for ever or writes behind its arrays (``H5S__hyper_deserialize``,
``H5HG_read``), which no caller can prevent. What these functions return has been checked in full.
"""

from __future__ import annotations

import struct
from typing import Final

from .object_header import StoredFile

_SIGNATURE: Final = b"GCOL"
_MASK: Final = 0xFFFFFFFF


def reference_size(stored: StoredFile) -> int:
    """Bytes of a stored reference to the heap: length, address of the collection, index in it."""
    return 8 + stored.address_size


class GlobalHeap:
    """Objects of a file's global heap; each collection is read once."""

    def __init__(self, stored: StoredFile) -> None:
        self._stored = stored
        self._collections: dict[int, dict[int, bytes]] = {}

    def get(self, address: int, index: int) -> bytes:
        """One object.

        Parameters
        ----------
        address : int
            Of its collection.
        index : int
            Its number there.

        Raises
        ------
        OSError
            The collection is damaged, or has no such object.
        """
        if address not in self._collections:
            self._collections[address] = _collection(self._stored, address)
        found = self._collections[address].get(index)
        if found is None:
            raise OSError(f"the global heap has no object {index} at address {address}")
        return found

    def text(self, reference: bytes) -> bytes:
        """The string of variable length that a stored reference leads to."""
        length = int.from_bytes(reference[:4], "little")
        address = self._stored.address(reference, 4)
        if not length or address in (0, self._stored.undefined):
            return b""
        found = self.get(address, int.from_bytes(reference[-4:], "little"))
        if len(found) < length:
            raise OSError(f"a string of {length} bytes has {len(found)} in the global heap")
        return found[:length]


def _collection(stored: StoredFile, address: int) -> dict[int, bytes]:
    """All objects of a collection, by index."""
    head = 8 + stored.length_size  # of the collection, and of each object
    start = stored.read_some(address, head)
    if len(start) < head or not start.startswith(_SIGNATURE) or start[4] != 1:
        raise OSError(f"the global heap has no collection at address {address}")
    size = stored.length(start, 8)
    if size < 2 * head:
        raise OSError(f"a collection of the global heap has the impossible size {size}")
    raw = stored.read(address, size)
    objects: dict[int, bytes] = {}
    at = head
    while at + head <= size:
        index, length = int.from_bytes(raw[at : at + 2], "little"), stored.length(raw, at + 8)
        # Index 0 is the free space, whose length counts its own head.
        step = length if index == 0 else head + -(-length // 8) * 8
        if step < head or at + step > size or index in objects:
            raise OSError(f"a collection of the global heap is damaged at object {index}")
        if index:
            objects[index] = raw[at + head : at + head + length]
        at += step
    return objects


def check_mappings(block: bytes) -> None:
    """Check the serialised mappings of a virtual data set against the checksum behind them.

    HDF5 reads the mappings first and looks at the checksum then.

    Raises
    ------
    OSError
        They are not what was written.
    """
    if len(block) < 5 or checksum(block[:-4]) != int.from_bytes(block[-4:], "little"):
        raise OSError("the mappings of the virtual data set do not have their checksum")


def checksum(data: bytes) -> int:
    """HDF5's checksum of metadata: Bob Jenkins' lookup3 (``hashlittle``) with initial value 0."""
    a = b = c = (0xDEADBEEF + len(data)) & _MASK
    if not data:
        return c
    whole = (len(data) - 1) // 12 * 12
    for x, y, z in struct.iter_unpack("<3I", data[:whole]):
        a, b, c = a + x & _MASK, b + y & _MASK, c + z & _MASK
        a = (a - c & _MASK) ^ (c << 4 & _MASK | c >> 28)
        c = c + b & _MASK
        b = (b - a & _MASK) ^ (a << 6 & _MASK | a >> 26)
        a = a + c & _MASK
        c = (c - b & _MASK) ^ (b << 8 & _MASK | b >> 24)
        b = b + a & _MASK
        a = (a - c & _MASK) ^ (c << 16 & _MASK | c >> 16)
        c = c + b & _MASK
        b = (b - a & _MASK) ^ (a << 19 & _MASK | a >> 13)
        a = a + c & _MASK
        c = (c - b & _MASK) ^ (b << 4 & _MASK | b >> 28)
        b = b + a & _MASK
    x, y, z = struct.unpack("<3I", data[whole:].ljust(12, b"\0"))
    a, b, c = a + x & _MASK, b + y & _MASK, c + z & _MASK
    c = (c ^ b) - (b << 14 & _MASK | b >> 18) & _MASK
    a = (a ^ c) - (c << 11 & _MASK | c >> 21) & _MASK
    b = (b ^ a) - (a << 25 & _MASK | a >> 7) & _MASK
    c = (c ^ b) - (b << 16 & _MASK | b >> 16) & _MASK
    a = (a ^ c) - (c << 4 & _MASK | c >> 28) & _MASK
    b = (b ^ a) - (a << 14 & _MASK | a >> 18) & _MASK
    return (c ^ b) - (b << 24 & _MASK | b >> 8) & _MASK
