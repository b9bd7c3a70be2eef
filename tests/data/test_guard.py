"""Virtual data sets and texts of variable length: whole ones as h5py reads them, damaged ones an error."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from layouts import modules, random_frames, random_labels

from cdifast.calibrate import Calibration
from cdifast.calibrate.calibration_file import save_calibration
from cdifast.data import FrameError, RowDataset, RowFile, open_frames, write_cxi
from cdifast.data.global_heap import GlobalHeap, checksum
from cdifast.data.guard import Guard
from cdifast.data.hdf5 import PROVENANCE, list_datasets, open_hdf5
from cdifast.data.hdf5_text import dataset_texts, set_attributes, text_attribute, texts_attribute
from cdifast.data.object_header import StoredFile

WORDS = ["", "a", "Röntgen", "x" * 5000, "the fifth"]


def damage(path: Path, change: Callable[[bytearray], None]) -> None:
    raw = bytearray(path.read_bytes())
    change(raw)
    path.write_bytes(raw)


def test_checksum_is_that_of_its_author() -> None:
    """Values of driver5() in Bob Jenkins' lookup3.c."""
    assert checksum(b"") == 0xDEADBEEF
    assert checksum(b"Four score and seven years ago") == 0x17770551


@pytest.mark.parametrize("length", [*range(1, 27), 200])
def test_checksum_is_the_one_hdf5_writes(tmp_path: Path, length: int) -> None:
    """Object headers of version 2 end with theirs; names of links make every length of the last block."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file.create_group("a").attrs["n" * length] = 1
        address = h5py.h5o.get_info(file["a"].id).addr
    raw = path.read_bytes()[address:]
    assert raw[:6] == b"OHDR\2" + bytes([raw[5]])
    flags = raw[5]
    first = 6 + 16 * bool(flags & 0x20) + 4 * bool(flags & 0x10)
    end = first + (1 << (flags & 3)) + int.from_bytes(raw[first : first + (1 << (flags & 3))], "little")
    assert checksum(raw[:end]) == int.from_bytes(raw[end : end + 4], "little")


@pytest.mark.parametrize("libver", ["earliest", "v110", "latest"])
@pytest.mark.parametrize("user_block", [0, 512])
def test_texts_are_those_that_h5py_reads(tmp_path: Path, libver: str, user_block: int) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver=libver, userblock_size=user_block) as file:
        group = file.create_group("g")
        for number, word in enumerate(WORDS):
            group.attrs[f"one {number}"] = word
        group.attrs["several"] = WORDS
        group.attrs["fixed"] = np.array([word.encode() for word in WORDS])
        text = h5py.string_dtype()
        file.create_dataset("contiguous", data=WORDS, dtype=text)
        file.create_dataset("scalar", data=WORDS[2], dtype=text)
        file.create_dataset("chunks", data=WORDS, dtype=text, chunks=(2,), maxshape=(None,))
        file.create_dataset("gzip", data=WORDS, dtype=text, chunks=(2,), compression="gzip", shuffle=True)
        file.create_dataset("lzf", data=WORDS, dtype=text, chunks=(2,), compression="lzf")
        file.create_dataset("fixed", data=np.array([word.encode() for word in WORDS]))
        file.create_dataset("unwritten", (3,), dtype=text)
    expected = [word.encode() for word in WORDS]
    with open_hdf5(path) as file:
        group = file["g"]
        assert [text_attribute(group, f"one {i}") for i in range(len(WORDS))] == WORDS
        assert texts_attribute(group, "several") == texts_attribute(group, "fixed") == WORDS
        assert texts_attribute(group, "none") is None
        assert text_attribute(group, "none", "J") == "J"
        for name in ("contiguous", "chunks", "gzip", "lzf", "fixed"):
            assert dataset_texts(file[name]) == expected, name
            assert dataset_texts(file[name], 3) == expected[:3], name
        assert dataset_texts(file["scalar"]) == [expected[2]]
        assert dataset_texts(file["unwritten"]) == [b""] * 3


@pytest.mark.parametrize("storage", ["attribute", "contiguous", "gzip"])
def test_damaged_heap_of_a_text(tmp_path: Path, storage: str) -> None:
    """Every byte of the heap's and its objects' heads, and of nothing else."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("d", data=["one", "two"], dtype=h5py.string_dtype(), **options(storage))
        file["d"].attrs["units"] = "furlong"
    whole = path.read_bytes()
    heap = whole.index(b"GCOL")

    def read() -> list[str] | list[bytes]:
        with open_hdf5(path) as file:
            return [text_attribute(file["d"], "units")] if storage == "attribute" else dataset_texts(file["d"])

    right = read()
    caught = 0
    for position, value in itertools.product(range(heap, heap + 112), [0x00, 0xFF]):
        if whole[position] == value:
            continue
        damage(path, lambda raw, at=position, to=value: raw.__setitem__(at, to))
        try:
            found = read()
            assert [len(text) for text in found] == [len(text) for text in right]
        except OSError:
            caught += 1
        path.write_bytes(whole)
    assert caught > 25


def options(storage: str) -> dict[str, Any]:
    return {"chunks": (1,), "compression": "gzip"} if storage == "gzip" else {}


def test_a_length_that_the_heap_does_not_have(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["d"] = "four"
        offset = file["d"].id.get_offset()
    damage(path, lambda raw: raw.__setitem__(offset, 200))
    with open_hdf5(path) as file, pytest.raises(OSError, match="a string of 200 bytes has 4"):
        dataset_texts(file["d"])


def test_every_bit_of_the_mappings(tmp_path: Path) -> None:
    written = modules(tmp_path)
    whole = written.paths.read_bytes()
    with open_hdf5(written.paths) as file:
        names = [name for name in list_datasets(file) if file[name].is_virtual]
        stored = StoredFile.of(file)
        assert stored is not None
        heap = GlobalHeap(stored)
        collection = whole.index(b"GCOL")
        block = heap.get(collection, 1)
    assert len(names) == 3
    start = whole.index(block)
    generator = np.random.default_rng(0)
    for position in [start, start + len(block) - 1, *generator.integers(start, start + len(block), 60)]:
        bit = 1 << int(generator.integers(8))
        damage(written.paths, lambda raw, at=position, bit=bit: raw.__setitem__(at, raw[at] ^ bit))
        damaged = pytest.raises(FrameError, match=r"virtual\.cxi.*mappings of the virtual data set")
        with open_hdf5(written.paths) as file, damaged:
            list_datasets(file)
        written.paths.write_bytes(whole)
    open_frames(written.paths).close()


def test_damage_is_seen_through_links_and_groups(tmp_path: Path) -> None:
    written = modules(tmp_path)
    with h5py.File(written.paths, "r+") as file:
        file["soft"] = h5py.SoftLink("entry_1/./data_1")
        file["loop"] = h5py.SoftLink("/loop")
    whole = written.paths.read_bytes()
    with h5py.File(tmp_path / "outer.h5", "w") as file:
        file["file"] = h5py.ExternalLink(written.paths.name, "/")
        file["data"] = h5py.ExternalLink(written.paths.name, "/soft/data")
        file["nothing"] = h5py.ExternalLink("nothing.h5", "/soft/data")
    start = whole.index(b"GCOL") + 40

    def flip(raw: bytearray) -> None:
        for at in range(start, len(raw)):  # every block of mappings
            if raw[at : at + 5] == b"CORR-":
                raw[at] ^= 1

    damage(written.paths, flip)
    for path, name in [
        (written.paths, "/entry_1/data_1/data"),
        (written.paths, "soft/data"),
        (tmp_path / "outer.h5", "data"),
        (tmp_path / "outer.h5", "file/soft/data"),
    ]:
        with open_hdf5(path) as file:
            with pytest.raises(FrameError, match="mappings"):
                file[name]
            with pytest.raises(FrameError, match="mappings"):
                file.get(name)
    with open_hdf5(written.paths) as file:
        with pytest.raises(FrameError, match="mappings"):
            file["entry_1"]["instrument_1"]["detector_1/data"]
        with pytest.raises(FrameError, match="mappings"):
            list_datasets(file)
        with pytest.raises(FrameError, match="lead to each other"):
            Guard(file).check("/loop")
        assert file.get("nothing") is None
        assert file.get("entry_1/trainId/below") is None
    with open_hdf5(tmp_path / "outer.h5") as file:
        assert file.get("nothing") is None


def test_listing_is_that_of_h5py(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["b/c"], file["b/a"], file["z"] = np.zeros((2, 3)), 1, h5py.Empty("f4")
        file["a"] = file["b/c"]
        file["soft"] = h5py.SoftLink("/b/c")
        file["b/up"] = file["/"]
        file["kind"] = np.dtype("i4")
        expected: dict[str, Any] = {}
        file.visititems(
            lambda name, item: (
                expected.update({"/" + name: (item.shape, item.dtype)})
                if isinstance(item, h5py.Dataset) and item.shape is not None
                else None
            )
        )
    with open_hdf5(path) as file:
        assert list_datasets(file) == expected


def test_a_virtual_source_that_leads_to_itself(tmp_path: Path) -> None:
    """HDF5 would follow it until the stack is full."""
    layout = h5py.VirtualLayout((2, 4, 4), "u2")
    layout[:] = h5py.VirtualSource("b.h5", "data", (2, 4, 4))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    layout = h5py.VirtualLayout((2, 4, 4), "u2")
    layout[:] = h5py.VirtualSource("a.h5", "data", (2, 4, 4))
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    with pytest.raises(FrameError, match="leads back to itself"):
        open_frames(tmp_path / "a.h5")


def heap_free(path: Path) -> bool:
    return b"GCOL" not in path.read_bytes()


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_our_files_hold_no_text_of_variable_length(tmp_path: Path, compression: Any) -> None:
    write_cxi(
        tmp_path / "a.cxi",
        random_frames(),
        labels=random_labels(7),
        energy=3e-18,
        mask=np.ones((12, 10), bool),
        compression=compression,
    )
    save_calibration(tmp_path / "c.h5", Calibration(shape=(12, 10)))
    assert heap_free(tmp_path / "a.cxi")
    assert heap_free(tmp_path / "c.h5")


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_fingerprint_longer_than_an_attribute(tmp_path: Path, compression: Any) -> None:
    path = tmp_path / "a.h5"
    columns = [RowDataset("n", (), "i8", compression=compression)]
    fingerprint = {"files": [f"file {number}" for number in range(20_000)]}

    def begin(**changes: Any) -> RowFile:
        return RowFile.open_or_resume(path, 4, columns, fingerprint={**fingerprint, **changes})

    with begin() as file:
        file.write(0, n=[1, 2])
    with pytest.raises(FrameError, match="begun by another job"):
        begin(files=[])
    with begin() as file:
        assert file.done == 2
        file.write(2, n=[3, 4])
        file.finish()
    with open_hdf5(path) as file:
        assert file["n"][()].tolist() == [1, 2, 3, 4]
        assert "file 19999" in text_attribute(file[PROVENANCE], "fingerprint")
        assert text_attribute(file[PROVENANCE], "command")
    assert heap_free(path)


def test_attributes_keep_their_texts_and_numbers(tmp_path: Path) -> None:
    values = {"text": "µm", "none": "", "list": ["a", "ü"], "tuple": ("x",), "n": 3, "shape": (2, 3), "f": [0.5, 1.5]}
    with h5py.File(tmp_path / "a.h5", "w") as file:
        set_attributes(file, values)
        file["d"] = 1
        with pytest.raises(ValueError, match="data set '/d', attribute 'long': found 70000 bytes"):
            set_attributes(file["d"], {"long": "x" * 70_000})
    with h5py.File(tmp_path / "a.h5") as file:
        for name in ("text", "none", "list", "tuple"):
            expected = values[name]
            assert texts_attribute(file, name) == ([expected] if isinstance(expected, str) else list(expected))
        assert file.attrs["n"] == 3
        assert file.attrs["shape"].tolist() == [2, 3]
        assert file.attrs["f"].tolist() == [0.5, 1.5]
        kind = file.attrs.get_id("text").get_type()
        assert not kind.is_variable_str()
        assert kind.get_cset() == h5py.h5t.CSET_UTF8
