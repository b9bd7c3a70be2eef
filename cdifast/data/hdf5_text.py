"""Text in HDF5: written with a fixed length, read of either kind.

HDF5 keeps strings of variable length in its global heap, over damage to which its library crashes (`global_heap`). Our
files hold none, and those of others are read here from their bytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .global_heap import GlobalHeap, reference_size
from .object_header import StoredFile, attribute_value

# An attribute has room for 64 KiB with its name and type.
_LONGEST_ATTRIBUTE: Final = 60_000

_DEFLATE, _SHUFFLE = 1, 2


def text_of(value: Any) -> str:
    """An HDF5 string as h5py gives it, fixed-length (bytes) or variable-length, as text."""
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)


def fixed_text(value: Any) -> NDArray[np.bytes_] | None:
    """A text, or several in a sequence or array, as UTF-8 bytes of one length; None for anything else."""
    if isinstance(value, bytes):
        return np.array(value, dtype=f"S{max(1, len(value))}")
    array = np.asarray(value)
    if array.dtype.kind in "OT" and array.size and all(isinstance(item, str) for item in array.flat):
        array = array.astype(str)
    if array.dtype.kind != "U":
        return None
    encoded = [item.encode("utf-8", errors="surrogateescape") for item in array.ravel().tolist()]
    return np.array(encoded, dtype=f"S{max(1, *map(len, encoded), 1)}").reshape(array.shape)


def set_attributes(item: Any, values: Mapping[str, Any]) -> None:
    """Set attributes of a group or data set, texts with a fixed length.

    Parameters
    ----------
    item : h5py.Group or h5py.Dataset
    values : mapping of str to value
        A text that is too long for an attribute becomes a data set of that name in the group.

    Raises
    ------
    ValueError
        Such a text for a data set, which has no place for another one.
    """
    for name, value in values.items():
        text = fixed_text(value)
        if text is None:
            item.attrs[name] = value
        elif text.nbytes <= _LONGEST_ATTRIBUTE:
            item.attrs.create(name, text.astype(_utf8(text)))
        elif hasattr(item, "create_dataset"):
            item.create_dataset(name, data=text.astype(_utf8(text)))
        else:
            raise ValueError(
                f"{item.file.filename}, data set '{item.name}', attribute '{name}': found {text.nbytes} bytes of text; "
                f"expected at most {_LONGEST_ATTRIBUTE}"
            )


def _utf8(text: NDArray[np.bytes_]) -> Any:
    import h5py

    return h5py.string_dtype("utf-8", text.dtype.itemsize)


def texts_attribute(item: Any, name: str) -> list[str] | None:
    """The texts of an attribute, or of the data set that `set_attributes` writes for a long one; None without it.

    Raises
    ------
    OSError
        Damaged.
    """
    import h5py

    if name not in item.attrs:
        long = item.get(name) if isinstance(item, h5py.Group) else None
        if not isinstance(long, h5py.Dataset):
            return None
        return [text_of(text) for text in dataset_texts(long)]
    attribute = h5py.h5a.open(item.id, name.encode("utf-8", "surrogateescape"))
    kind = attribute.get_type()
    if isinstance(kind, h5py.h5t.TypeStringID) and kind.is_variable_str():
        file = StoredFile.of(item.file)
        if file is not None:
            width = reference_size(file)
            count = int(np.prod(attribute.shape or (), dtype=np.int64))
            header = int(h5py.h5o.get_info(item.id).addr)
            stored = attribute_value(file, header, name.encode("utf-8", "surrogateescape"), count * width)
            if stored is not None:
                heap = GlobalHeap(file)
                return [text_of(heap.text(stored[i : i + width])) for i in range(0, len(stored), width)]
    return [text_of(text) for text in np.ravel(item.attrs[name]).tolist()]


def text_attribute(item: Any, name: str, default: str = "") -> str:
    """The one text of an attribute; ``default`` where there is none.

    Raises
    ------
    OSError
        Damaged.
    """
    found = texts_attribute(item, name)
    return found[0] if found else default


def dataset_texts(dataset: Any, count: int | None = None) -> list[bytes]:
    """The first ``count`` strings of a data set, in UTF-8; default all.

    Parameters
    ----------
    dataset : h5py.Dataset
        Of strings of either kind; of one dimension where ``count`` is given.
    count : int, optional

    Raises
    ------
    OSError
        Damaged.
    """
    import h5py

    kind = dataset.id.get_type()
    if isinstance(kind, h5py.h5t.TypeStringID) and kind.is_variable_str():
        file = StoredFile.of(dataset.file)
        if file is not None:
            number = int(dataset.size) if count is None else min(count, int(dataset.size))
            stored = _stored_references(dataset, file, number, reference_size(file))
            if stored is not None:
                heap, width = GlobalHeap(file), reference_size(file)
                return [heap.text(stored[i : i + width]) for i in range(0, len(stored), width)]
    values = np.ravel(dataset[()] if count is None or not dataset.shape else dataset[:count])
    return [text if isinstance(text, bytes) else str(text).encode() for text in values.tolist()]


def _stored_references(dataset: Any, file: StoredFile, count: int, width: int) -> bytes | None:
    """The references to the heap that are a data set's values; None where only HDF5 can read them."""
    if dataset.is_virtual or dataset.external:
        return None
    if dataset.chunks is None:
        if not dataset.id.get_storage_size():
            return bytes(count * width)
        if (offset := dataset.id.get_offset()) is None:
            return None
        return file.read(offset - file.base, count * width)
    if len(dataset.chunks) != 1:
        return None
    plist = dataset.id.get_create_plist()
    filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
    if filters not in ([], [_DEFLATE], [_SHUFFLE, _DEFLATE]):
        return None
    size = int(dataset.chunks[0]) * width
    found: list[Any] = []
    dataset.id.chunk_iter(found.append)
    values = bytearray(count * width)
    for chunk in found:
        start = int(chunk.chunk_offset[0]) * width
        if start >= len(values):
            continue
        if chunk.filter_mask:
            return None
        raw = file.read(chunk.byte_offset - file.base, chunk.size)
        if _DEFLATE in filters:
            try:
                raw = zlib.decompressobj().decompress(raw, size)
            except zlib.error as error:
                raise OSError(f"its compressed bytes are damaged ({error})") from error
        if len(raw) != size:
            raise OSError("a chunk decodes to another number of bytes than it should have")
        if _SHUFFLE in filters:
            raw = np.frombuffer(raw, np.uint8).reshape(width, -1).T.tobytes()
        part = raw[: len(values) - start]
        values[start : start + len(part)] = part
    return bytes(values)
