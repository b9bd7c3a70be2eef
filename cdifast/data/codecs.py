"""Decoders of chunks that come from libraries: gzip (deflate) and Zstandard.

All release Python's lock while they work, so that threads decode side by side. `imagecodecs` brings libdeflate,
which is several times as fast as the zlib that Python and HDF5 use; without it, gzip is decoded by Python's own, and
Zstandard by HDF5.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .chunk_table import Codec, Filter, Unsupported

Decode = Callable[[bytes, NDArray[np.uint8]], int]
"""From stored bytes into a buffer; how many bytes were written. Any exception means damaged bytes."""

_HEADER = 12


@cache
def decoder(codec: Codec, filters: tuple[Filter, ...] = ()) -> Decode:
    """The function that decodes a chunk of ``codec``.

    Parameters
    ----------
    codec : str
        Not ``"none"``.
    filters : tuple of Filter
        What follows it; the last one says how large bitshuffle's blocks are.

    Raises
    ------
    Unsupported
        No library for it is installed.
    """
    imagecodecs = _imagecodecs()
    if codec == "deflate":
        return _zlib_decode if imagecodecs is None else _library_decode(imagecodecs.deflate_decode)
    if imagecodecs is None:
        raise Unsupported("Zstandard without imagecodecs (pip install 'cdifast[data]')")
    if codec == "zstd":
        return _library_decode(imagecodecs.zstd_decode)
    return _zstd_blocks(imagecodecs.zstd_decode, filters[-1])


def _imagecodecs() -> Any:
    try:
        import imagecodecs
    except ImportError:
        return None
    return imagecodecs


def _library_decode(function: Callable[..., Any]) -> Decode:
    def decode(stored: bytes, out: NDArray[np.uint8]) -> int:
        return len(function(stored, out=out))

    return decode


def _zlib_decode(stored: bytes, out: NDArray[np.uint8]) -> int:
    # One byte more than there is room for tells a chunk that is too long; damaged bytes cannot ask for more memory.
    stream = zlib.decompressobj()
    plain = stream.decompress(stored, len(out) + 1)
    if not stream.eof or len(plain) > len(out):
        raise ValueError("ends too early or is too long")
    out[: len(plain)] = np.frombuffer(plain, dtype=np.uint8)
    return len(plain)


def _zstd_blocks(function: Callable[..., Any], bitshuffle: Filter) -> Decode:
    """Bitshuffle's blocks, each compressed by itself, as they were before that: still shuffled."""
    group, block = 8 * bitshuffle.element_size, bitshuffle.block_elements * bitshuffle.element_size

    def decode(stored: bytes, out: NDArray[np.uint8]) -> int:
        size = int.from_bytes(stored[:8], "big")
        if size != len(out) or int.from_bytes(stored[8:_HEADER], "big") != block:
            raise ValueError("a header of other sizes")
        whole = size // group * group
        at = _HEADER
        for done in range(0, whole, block):
            part = out[done : min(done + block, whole)]
            length = int.from_bytes(stored[at : at + 4], "big")
            at += 4
            if at + length > len(stored) or len(function(stored[at : at + length], out=part)) != len(part):
                raise ValueError("a block of another size")
            at += length
        rest = np.frombuffer(stored, dtype=np.uint8, offset=at)
        out[whole:] = rest[: size - whole]
        return size

    return decode
