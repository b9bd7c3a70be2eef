"""Frames read chunk by chunk without HDF5: beside h5py, damaged, growing, in other processes."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from cdifast import _C
from cdifast.data import FrameError, Frames, open_frames
from cdifast.data.chunk_reader import ChunkReader
from cdifast.data.chunk_table import ChunkTable, Filter
from cdifast.data.virtual import resolve

imagecodecs = pytest.importorskip("imagecodecs")

ROOT = Path(__file__).resolve().parents[2]

ENCODINGS: dict[str, dict[str, Any]] = {
    "none": {},
    "shuffle": {"shuffle": True},
    "gzip": {"compression": "gzip", "compression_opts": 4},
    "gzip and shuffle": {"compression": "gzip", "shuffle": True},
    "lz4": dict(hdf5plugin.LZ4()),
    "lz4 in small blocks": dict(hdf5plugin.LZ4(nbytes=256)),
    "shuffle and lz4": {"shuffle": True, **hdf5plugin.LZ4()},
    "bitshuffle": dict(hdf5plugin.Bitshuffle(cname="none")),
    "bitshuffle and lz4": dict(hdf5plugin.Bitshuffle(cname="lz4")),
    "bitshuffle and lz4 in small blocks": dict(hdf5plugin.Bitshuffle(nelems=64, cname="lz4")),
    "bitshuffle and zstd": dict(hdf5plugin.Bitshuffle(cname="zstd")),
    "zstd": dict(hdf5plugin.Zstd()),
    "fletcher32": {"fletcher32": True},
    "lz4 and fletcher32": {**hdf5plugin.LZ4(), "fletcher32": True},
}
DTYPES = ("u1", "<u2", ">u2", "<i4", ">f4", "<f8", "<f2", ">i8")


def some_frames(count: int, height: int, width: int, dtype: str, seed: int = 0) -> NDArray[Any]:
    """Photon counts as detectors record them: mostly zero, some large, negative where the type allows it."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.exponential(2, (1, height, width)), (count, height, width)).astype(np.float64)
    counts[rng.random(counts.shape) < 0.01] *= 29
    if np.dtype(dtype).kind != "u":
        counts -= 3
    return np.minimum(counts, 255).astype(dtype)


def write(path: Path, frames: NDArray[Any], **options: Any) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("frames", data=frames, **options)
    return path


def how_read(frames: Frames) -> list[str]:
    return [source.read_by for source in frames._sources]  # type: ignore[attr-defined]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_same_as_h5py(tmp_path: Path, encoding: str, dtype: str) -> None:
    # 21 x 13: no multiple of anything, so that each block, vector and chunk has a rest.
    stored = some_frames(7, 21, 13, dtype)
    order = [6, 0, 3, 3, 5, 1, -1]
    for number, chunks in enumerate([(1, 21, 13), (3, 21, 13), (2, 8, 5)]):
        path = write(tmp_path / f"{number}.h5", stored, chunks=chunks, **ENCODINGS[encoding])
        with open_frames(path) as frames:
            assert np.array_equal(frames[:], stored)
            assert np.array_equal(frames[order], stored[order])
            assert np.array_equal(frames[4], stored[4])
            assert how_read(frames) == ["chunks"]
            assert frames[:].dtype.isnative


def test_contiguous_and_single_frames(tmp_path: Path) -> None:
    stored = some_frames(5, 9, 11, ">u2")
    with open_frames(write(tmp_path / "stack.h5", stored)) as frames:
        assert np.array_equal(frames[[4, 1, 1]], stored[[4, 1, 1]])
        assert how_read(frames) == ["chunks"]
    for chunks in (None, (4, 4)):
        with open_frames(write(tmp_path / f"one-{chunks}.h5", stored[0], chunks=chunks)) as frames:
            assert frames.shape == (1, 9, 11)
            assert np.array_equal(frames[0], stored[0])
            assert how_read(frames) == ["chunks"]


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("encoding", ["bitshuffle and lz4", "gzip"])
def test_every_number_of_threads_reads_the_same(tmp_path: Path, encoding: str, threads: int) -> None:
    stored = some_frames(40, 32, 32, "u2")
    path = write(tmp_path / "frames.h5", stored, chunks=(1, 32, 32), **ENCODINGS[encoding])
    with open_frames(path) as frames:
        frames[0]
        rows = np.random.default_rng(1).permutation(40).astype(np.int64)
        out = np.zeros((40, 32, 32), dtype="u2")
        assert frames._sources[0]._reader.read(rows, out, threads=threads) == []  # type: ignore[attr-defined]
        assert np.array_equal(out, stored[rows])


def test_into_another_type_and_a_strided_buffer(tmp_path: Path) -> None:
    stored = some_frames(6, 8, 8, ">u2")
    with open_frames(write(tmp_path / "frames.h5", stored, chunks=(2, 8, 8), compression="gzip")) as frames:
        wide = np.full((6, 8, 16), -1, dtype=np.float32)
        frames.read([5, 0, 2, 3, 1, 4], out=wide[:, :, ::2])
        assert np.array_equal(wide[:, :, ::2], stored[[5, 0, 2, 3, 1, 4]])
        assert (wide[:, :, 1::2] == -1).all()


@pytest.mark.parametrize("why", ["a user block", "a filter", "compact storage"])
def test_what_only_hdf5_can_read_is_read_by_it(tmp_path: Path, why: str) -> None:
    stored = some_frames(3, 6, 5, "u2")
    path = tmp_path / "frames.h5"
    with h5py.File(path, "w", **({"userblock_size": 512} if why == "a user block" else {})) as file:
        if why == "compact storage":
            plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            plist.set_layout(h5py.h5d.COMPACT)
            space = h5py.h5s.create_simple(stored.shape)
            h5py.h5d.create(file.id, b"frames", h5py.h5t.NATIVE_UINT16, space, plist)
            file["frames"][...] = stored
        else:
            file.create_dataset(
                "frames", data=stored, chunks=(1, 6, 5), **({"scaleoffset": 0} if "filter" in why else {})
            )
    with open_frames(path) as frames:
        assert np.array_equal(frames[[2, 0]], stored[[2, 0]])
        assert how_read(frames)[0].startswith("HDF5: ")


def test_chunk_numbers(tmp_path: Path) -> None:
    stored = some_frames(7, 4, 4, "u1")
    one = write(tmp_path / "a.h5", stored, chunks=(3, 4, 4))
    two = write(tmp_path / "b.h5", stored[:2], chunks=(1, 4, 4))
    with open_frames([one, two]) as frames:
        assert frames.chunks.tolist() == [0, 0, 0, 1, 1, 1, 2, 3, 4]


# --- virtual data sets


def modules(folder: Path, shape: tuple[int, int, int, int], counts: list[int], **options: Any) -> tuple[Path, Any]:
    """A virtual data set (N, modules, H, W) of a file a module and run part, as EXtra-data makes them."""
    stored = some_frames(shape[0], shape[1] * shape[2], shape[3], "f4").reshape(shape)
    layout = h5py.VirtualLayout(shape, "f4")
    for module in range(shape[1]):
        start = 0
        for part, count in enumerate(counts):
            name = f"m{module}-{part}.h5"
            with h5py.File(folder / name, "w") as file:
                file.create_dataset("d", data=stored[start : start + count, module], chunks=(2, *shape[2:]), **options)
            layout[start : start + count, module] = h5py.VirtualSource(name, "d", (count, *shape[2:]))
            start += count
    path = folder / "virtual.h5"
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("frames", layout, fillvalue=np.nan)
    return path, stored


def stacked_source(path: Path) -> Any:
    """The frames of a (N, modules, H, W) data set with the modules below each other."""
    with h5py.File(path) as file:
        dataset = file["frames"]

        def table_of(name: str, inner: str) -> ChunkTable:
            with h5py.File(path.parent / name) as source:
                return ChunkTable.of(source[inner])

        found = resolve(dataset, table_of)
        count, number, height, width = dataset.shape
        return ChunkReader(found.tables, found.tiles, (count, number * height, width), dataset.fillvalue)


def test_modules_of_a_virtual_data_set(tmp_path: Path) -> None:
    path, stored = modules(tmp_path, (9, 4, 6, 5), [4, 3], compression="gzip")
    stored[7:] = np.nan  # no part of the run covers them
    reader = stacked_source(path)
    rows = np.array([8, 0, 4, 3, 3, 6])
    out = np.zeros((6, 24, 5), dtype="f4")
    assert reader.read(rows, out) == []
    assert np.array_equal(out, stored.reshape(9, 24, 5)[rows], equal_nan=True)
    # The first module's chunks of two: rows 0 and 1 of either part are decoded together.
    assert reader.frame_chunks[:4].tolist() == [reader.frame_chunks[0]] * 2 + [reader.frame_chunks[2]] * 2
    assert reader.frame_chunks[4] != reader.frame_chunks[3]
    reader.close()


def test_virtual_slices_strides_and_whole_sources(tmp_path: Path) -> None:
    stored = some_frames(8, 6, 10, ">i4")
    write(tmp_path / "left.h5", stored[:, :, :4], chunks=(1, 6, 4), **hdf5plugin.Bitshuffle())
    write(tmp_path / "right.h5", np.ascontiguousarray(stored[::-1, :, 4:]), chunks=(3, 2, 6))
    layout = h5py.VirtualLayout((8, 6, 10), ">i4")
    layout[:, :, :4] = h5py.VirtualSource(tmp_path / "left.h5", "frames", (8, 6, 4), dtype=">i4")
    right = h5py.VirtualSource(tmp_path / "right.h5", "frames", (8, 6, 6), dtype=">i4")
    for start in (0, 1):  # even frames and odd ones, from sources that run backwards
        for row in range(start, 8, 2):
            layout[row, :, 4:] = right[7 - row]
    path = tmp_path / "virtual.h5"
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("frames", layout)
    with open_frames(path) as frames:
        assert np.array_equal(frames[[5, 0, 7, 7]], stored[[5, 0, 7, 7]])
        assert how_read(frames) == ["chunks"]


def test_a_virtual_source_that_goes_missing_is_named(tmp_path: Path) -> None:
    stored = some_frames(4, 6, 5, "u2")
    layout = h5py.VirtualLayout((4, 6, 5), "u2")
    for part in range(2):
        write(tmp_path / f"{part}.h5", stored[2 * part : 2 * part + 2], chunks=(1, 6, 5))
        layout[2 * part : 2 * part + 2] = h5py.VirtualSource(f"{part}.h5", "frames", (2, 6, 5))
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("frames", layout)
    with open_frames(tmp_path / "virtual.h5") as frames:
        assert np.array_equal(frames[:], stored)
        frames.close()
        (tmp_path / "1.h5").unlink()
        with pytest.raises(FrameError, match=r"1\.h5"):
            frames[0]


# --- damage


def chunk_places(path: Path) -> list[tuple[int, int]]:
    with h5py.File(path) as file:
        found: list[tuple[int, int]] = []
        file["frames"].id.chunk_iter(lambda info: found.append((info.byte_offset, info.size)))
        return found


@pytest.mark.parametrize("encoding", [name for name in ENCODINGS if name not in ("none", "shuffle", "bitshuffle")])
def test_damaged_chunks_are_named(tmp_path: Path, encoding: str) -> None:
    stored = some_frames(3, 40, 40, "u2")
    path = write(tmp_path / "frames.h5", stored, chunks=(1, 40, 40), **ENCODINGS[encoding])
    whole = path.read_bytes()
    offset, size = chunk_places(path)[1]
    rng = np.random.default_rng(0)
    refused = []
    for trial in range(60):
        damaged = bytearray(whole)
        for _ in range(1 if trial % 2 else 5):
            damaged[offset + int(rng.integers(size))] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with open_frames(path) as frames:
            assert np.array_equal(frames[[0, 2]], stored[[0, 2]])
            try:
                frames[1]
            except FrameError as error:
                refused.append((error.path, error.dataset, error.index))
    assert set(refused) == {(path, "/frames", 1)}
    # A checksum finds every flip; LZ4 has none, and a literal may be another one.
    assert len(refused) == 60 if "gzip" in encoding or "fletcher" in encoding else len(refused) > 10


def test_a_file_cut_short_while_it_is_read(tmp_path: Path) -> None:
    stored = some_frames(20, 16, 16, "u2")
    path = write(tmp_path / "frames.h5", stored, chunks=(1, 16, 16))
    offset = chunk_places(path)[12][0]
    with open_frames(path) as frames:
        assert np.array_equal(frames[0], stored[0])
        os.truncate(path, offset + 10)
        assert np.array_equal(frames[3], stored[3])
        with pytest.raises(FrameError, match=r"frame 12: cannot be read: .*cut short"):
            frames[[3, 12]]


def test_a_chunk_that_was_never_written_is_no_frame_of_zeros(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "frames.h5", "w") as file:
        dataset = file.create_dataset("frames", (4, 8, 8), "u2", chunks=(1, 8, 8), compression="gzip")
        dataset[0] = dataset[1] = dataset[3] = 7
    with open_frames(tmp_path / "frames.h5") as frames:
        assert (frames[[0, 1, 3]] == 7).all()
        with pytest.raises(FrameError, match=r"frame 2: .*never written"):
            frames[:]


def test_without_imagecodecs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cdifast.data import codecs

    monkeypatch.setattr(codecs, "_imagecodecs", lambda: None)
    codecs.decoder.cache_clear()
    try:
        stored = some_frames(4, 16, 16, "u2")
        for name, by in (("gzip", "chunks"), ("gzip and shuffle", "chunks"), ("zstd", "HDF5: ")):
            path = write(tmp_path / f"{name}.h5", stored, chunks=(1, 16, 16), **ENCODINGS[name])
            with open_frames(path) as frames:
                assert np.array_equal(frames[[2, 0]], stored[[2, 0]])
                assert how_read(frames)[0].startswith(by)
        path = tmp_path / "gzip.h5"
        offset, _ = chunk_places(path)[0]
        damaged = bytearray(path.read_bytes())
        damaged[offset + 30] ^= 0x10
        path.write_bytes(damaged)
        with open_frames(path) as frames, pytest.raises(FrameError, match="frame 0"):
            frames[0]
    finally:
        codecs.decoder.cache_clear()


# --- the decoders by themselves


def placed(stored: bytes, filters: tuple[Filter, ...], size: int) -> tuple[int, NDArray[np.uint8]]:
    """Decode one chunk of `size` bytes between two guards that must stay as they are."""
    out = np.full(size + 128, 0xA5, dtype=np.uint8)
    job = np.array([[0, 0, len(stored), 0, 1, 0]], dtype=np.int64)
    copies = np.array([[0, 64]], dtype=np.int64)
    blocks = np.array([[1, size, size, size]], dtype=np.int64)
    fault = _C.place_chunk(stored, job, copies, blocks, out, filters, size)
    assert (out[:64] == 0xA5).all()
    assert (out[64 + size :] == 0xA5).all()
    return fault, out[64 : 64 + size]


def lz4_chunk(plain: bytes, block: int) -> bytes:
    """As the HDF5 filter writes it, with the reference encoder."""
    out = len(plain).to_bytes(8, "big") + block.to_bytes(4, "big")
    for start in range(0, len(plain), block):
        part = plain[start : start + block]
        packed = imagecodecs.lz4_encode(part, header=False)
        packed = part if len(packed) >= len(part) else packed
        out += len(packed).to_bytes(4, "big") + packed
    return out


def test_lz4_of_anything() -> None:
    rng = np.random.default_rng(3)
    lz4 = (Filter(32004),)
    for trial in range(300):
        size = int(rng.integers(1, 3000))
        match trial % 4:
            case 0:  # runs of every short period
                plain = np.resize(rng.integers(0, 256, rng.integers(1, 40)), size)
            case 1:  # few symbols: short matches
                plain = rng.integers(0, 3, size)
            case 2:
                plain = rng.poisson(0.3, size)
            case _:  # long literals, then a long match
                plain = np.concatenate([rng.integers(0, 256, size // 2), np.zeros(size - size // 2)])
        stored = plain.astype(np.uint8).tobytes()
        fault, out = placed(lz4_chunk(stored, int(rng.integers(1, 4000))), lz4, size)
        assert fault == 0
        assert out.tobytes() == stored


@pytest.mark.parametrize("filters", [(Filter(32004),), (Filter(32008, 2, 0, True),), (Filter(2, 2), Filter(32004))])
def test_damaged_blocks_stay_inside_their_memory(filters: tuple[Filter, ...]) -> None:
    rng = np.random.default_rng(4)
    plain = rng.poisson(0.5, 2048).astype(np.uint8).tobytes()
    whole = lz4_chunk(plain, 512)
    for _ in range(3000):
        damaged = bytearray(whole[: int(rng.integers(12, len(whole) + 1))])
        for _ in range(int(rng.integers(1, 9))):
            damaged[int(rng.integers(len(damaged)))] = int(rng.integers(256))
        placed(bytes(damaged), filters, len(plain))


def test_copies_outside_the_output_are_refused() -> None:
    out = np.zeros(64, dtype=np.uint8)
    block = np.array([[2, 8, 8, 32]], dtype=np.int64)
    for job, copy in (
        ([0, 0, 16, 0, 1, 0], [0, 32]),
        ([0, 0, 16, 0, 1, 0], [8, 0]),
        ([0, 0, 16, 0, 1, 0], [-8, 0]),
        ([0, 0, 16, 0, 2, 0], [0, 0]),
        ([0, 0, 16, 0, 1, 1], [0, 0]),
        ([0, 0, -1, 0, 1, 0], [0, 0]),
    ):
        with pytest.raises(IndexError):
            _C.place_chunk(bytes(16), np.array([job]), np.array([copy]), block, out, (), 16)
    with pytest.raises(ValueError, match="filters"):
        _C.place_chunk(bytes(16), np.array([[0, 0, 16, 0, 1, 0]]), np.array([[0, 0]]), block, out, (Filter(1),), 16)


@pytest.mark.parametrize("capability", _C.build_info()["cpu_capabilities"])
def test_unshuffling_in_every_instruction_set(capability: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _UNSHUFFLE],
        env={**os.environ, "CDIFAST_CPU_CAPABILITY": capability, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    if "does not have that instruction set" in done.stderr:
        pytest.skip(f"this machine does not run {capability}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == capability


# Definitions, not algorithms: numpy's axes for bytes, unpacked bits for bits.
_UNSHUFFLE = """
import numpy as np
from cdifast import _C
rng = np.random.default_rng(0)

def decoded(stored, filters):
    size = len(stored)
    out = np.empty(size, np.uint8)
    job, copy = np.array([[0, 0, size, 0, 1, 0]]), np.array([[0, 0]])
    assert _C.place_chunk(stored, job, copy, np.array([[1, size, size, size]]), out, filters, size) == 0
    return out

for element in (1, 2, 3, 4, 8, 12):
    for elements in (1, 7, 8, 9, 64, 127, 128, 136, 1000, 4099):
        plain = rng.integers(0, 256, (elements, element), dtype=np.uint8)
        assert np.array_equal(decoded(plain.T.tobytes(), [(2, element, 0, False)]), plain.ravel())
        block = 128 if element == 2 else max(8192 // element // 8 * 8, 128)
        whole = elements // 8 * 8
        parts = []
        for start in range(0, whole, block):
            part = plain[start:min(start + block, whole)]
            rows = np.unpackbits(part, axis=1, bitorder="little").T  # (bits of an element, elements)
            parts.append(np.packbits(rows, axis=1, bitorder="little").ravel())
        stored = np.concatenate([*parts, plain[whole:].ravel()]).astype(np.uint8).tobytes()
        assert np.array_equal(decoded(stored, [(32008, element, block, False)]), plain.ravel())
print(_C.cpu_capability())
"""


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The decoders, compiled with sanitizers."""
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        pytest.skip("no C++ compiler")
    target = tmp_path_factory.mktemp("fuzzer") / "decode_fuzz"
    sources = [
        "csrc/chunks/decode.cpp",
        "csrc/chunks/lz4.cpp",
        "csrc/cpu/capability.cpp",
        "csrc/cpu/unshuffle_simd.cpp",
    ]
    flags = ["-std=c++20", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    flags += ["-fopenmp-simd", "-DCDIFAST_ISA=baseline"]
    command = [compiler, *flags, "tests/data/decode_fuzz_main.cpp", *sources, "-o", str(target)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0 and "cannot find" in done.stderr:
        pytest.skip("no sanitizer library")
    assert done.returncode == 0, done.stderr
    return target


@pytest.mark.parametrize(
    "encoding", ["lz4", "bitshuffle and lz4", "shuffle and lz4", "lz4 and fletcher32", "bitshuffle"]
)
def test_damaged_chunks_under_sanitizers(tmp_path: Path, fuzzer: Path, encoding: str) -> None:
    path = write(tmp_path / "frames.h5", some_frames(1, 48, 49, "u2"), chunks=(1, 48, 49), **ENCODINGS[encoding])
    offset, size = chunk_places(path)[0]
    (tmp_path / "chunk").write_bytes(path.read_bytes()[offset : offset + size])
    with h5py.File(path) as file:
        table = ChunkTable.of(file["frames"])
    filters = [str(int(value)) for row in table.filters for value in row]
    command = [str(fuzzer), str(tmp_path / "chunk"), str(table.chunk_bytes), "4000", *filters]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-4000:]
    assert int(done.stdout) > 1000


# --- processes


def _worker_checksum(frames: Frames, row: int) -> int:
    return zlib.crc32(frames[row].tobytes())


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("encoding", ["gzip", "bitshuffle and lz4"])
def test_other_processes(tmp_path: Path, method: str, encoding: str) -> None:
    stored = some_frames(12, 16, 16, "u2")
    path = write(tmp_path / "frames.h5", stored, chunks=(2, 16, 16), **ENCODINGS[encoding])
    with open_frames(path) as frames:
        frames[:]  # the parent's threads and descriptors are there before the others come
        loader = DataLoader(
            frames, batch_size=4, num_workers=2, multiprocessing_context=multiprocessing.get_context(method)
        )
        read = np.concatenate([batch.numpy() for batch in loader])
        assert np.array_equal(read, stored)
        assert np.array_equal(frames[:], stored)


def test_a_file_that_is_being_written(tmp_path: Path) -> None:
    stored = some_frames(6, 12, 10, "u2")
    path = tmp_path / "growing.h5"
    with h5py.File(path, "w", libver="latest") as file:
        dataset = file.create_dataset(
            "frames", (0, 12, 10), "u2", chunks=(1, 12, 10), maxshape=(None, 12, 10), **hdf5plugin.Bitshuffle()
        )
        dataset.resize(3, axis=0)
        dataset[:] = stored[:3]
        file.swmr_mode = True
        # In a process of its own: HDF5 shares what it has in memory between handles of one process.
        read = _READ.format(path=str(path))
        assert _run(read) == (3, zlib.crc32(stored[:3].tobytes()))
        dataset.resize(6, axis=0)
        dataset[3:] = stored[3:]
        dataset.flush()
        assert _run(read) == (6, zlib.crc32(stored.tobytes()))


_READ = """
import zlib
from cdifast.data import open_frames
with open_frames({path!r}) as frames:
    values = frames[:]
    assert frames._sources[0]._swmr and frames._sources[0].read_by == "chunks"
    print(len(frames), zlib.crc32(values.tobytes()))
"""


def _run(code: str) -> tuple[int, int]:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    count, checksum = done.stdout.split()
    return int(count), int(checksum)
