"""Frames that come out of a file are those that an independent reader finds there."""

from __future__ import annotations

import pickle
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest
import torch

from cdifast.data import FRAME_TYPES, Frames, open_frames, write_cxi
from cdifast.data.cxi import DATA, DETECTOR, MASK
from cdifast.labels import CLASSES

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
EV = 1.602176634e-19


def stack(dtype: str = "uint16", count: int = 12, height: int = 9, width: int = 7, seed: int = 0) -> np.ndarray:
    """Random frames that use the whole range of the type."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(scale=100, size=(count, height, width)).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, size=(count, height, width), dtype=dtype, endpoint=True)


def some_labels(count: int = 12) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 2, size=(count, len(CLASSES)), dtype=np.uint8)


def plain(path: Path, frames: np.ndarray, **options: object) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("run/frames", data=frames, **options)
    return path


# --- every layout, bit for bit ---


@pytest.mark.parametrize("dtype", FRAME_TYPES)
@pytest.mark.parametrize("compression", [None, "gzip", "bitshuffle-lz4"])
def test_cxi_round_trip(tmp_path: Path, dtype: str, compression: str | None) -> None:
    frames = stack(dtype)
    path = write_cxi(tmp_path / "a.cxi", frames, compression=compression)
    with h5py.File(path) as file:
        stored = file[DATA]
        np.testing.assert_array_equal(stored[()], frames)
        assert stored.dtype == np.dtype(dtype)
        assert stored.chunks == (None if compression is None else (12, 9, 7))
    with open_frames(path) as opened:
        assert opened.layout == "cxi"
        assert (opened.shape, opened.dtype, len(opened)) == (frames.shape, frames.dtype, 12)
        np.testing.assert_array_equal(opened[:], frames)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (1, 9, 7), "compression": "gzip"},
        {"chunks": (5, 9, 7), "compression": "gzip", "shuffle": True},
        {"chunks": (1, 4, 7), "compression": "lzf"},
        {"chunks": (1, 9, 7), **hdf5plugin.Bitshuffle(cname="lz4")},
        {"chunks": (2, 9, 7), **hdf5plugin.Zstd()},
        {"chunks": (1, 9, 7), **hdf5plugin.LZ4()},
    ],
    ids=["raw", "gzip", "gzip-shuffle-5", "lzf-part", "bitshuffle", "zstd-2", "lz4"],
)
def test_plain_hdf5_filters(tmp_path: Path, options: dict) -> None:
    frames = stack()
    opened = open_frames(plain(tmp_path / "a.h5", frames, **options))
    assert opened.layout == "hdf5"
    assert "only three-dimensional data set" in opened.why
    np.testing.assert_array_equal(opened[[7, 3, 3, 11]], frames[[7, 3, 3, 11]])


@pytest.mark.parametrize("dtype", [">u2", ">i4", ">f4", ">f8", "<f8"])
@pytest.mark.parametrize("suffix", ["h5", "npy", "npz"])
def test_byte_order_comes_out_native(tmp_path: Path, dtype: str, suffix: str) -> None:
    frames = stack("int16").astype(dtype)
    path = tmp_path / f"a.{suffix}"
    if suffix == "h5":
        plain(path, frames)
    elif suffix == "npy":
        np.save(path, frames)
    else:
        np.savez(path, frames=frames)
    opened = open_frames(path)
    assert opened.dtype.isnative
    assert opened[:].dtype.isnative
    np.testing.assert_array_equal(opened[::-1], frames[::-1])


@pytest.mark.parametrize("dtype", ["int8", "uint32", "int64", "float16"])
def test_further_types_can_be_read(tmp_path: Path, dtype: str) -> None:
    frames = stack(dtype)
    np.save(tmp_path / "a.npy", frames)
    for path in (plain(tmp_path / "a.h5", frames), tmp_path / "a.npy"):
        opened = open_frames(path)
        assert opened.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(opened[:], frames)


def test_hdf5_enumeration_is_its_integers(tmp_path: Path) -> None:
    frames = stack("uint8")
    plain(tmp_path / "a.h5", frames, dtype=h5py.enum_dtype({"dark": 0}, basetype="u1"))
    opened = open_frames(tmp_path / "a.h5")
    assert opened.dtype == np.uint8
    assert opened.dtype.metadata is None
    np.testing.assert_array_equal(opened[:], frames)


def test_fortran_order_npy(tmp_path: Path) -> None:
    frames = stack()
    np.save(tmp_path / "a.npy", np.asfortranarray(frames))
    np.testing.assert_array_equal(open_frames(tmp_path / "a.npy")[2:5], frames[2:5])


@pytest.mark.parametrize("suffix", ["h5", "npy", "npz", "cxi"])
def test_one_image_is_a_stack_of_one(tmp_path: Path, suffix: str) -> None:
    image = stack()[0]
    path = tmp_path / f"a.{suffix}"
    if suffix in ("h5", "cxi"):
        with h5py.File(path, "w") as file:
            file[DATA if suffix == "cxi" else "image"] = image
    elif suffix == "npy":
        np.save(path, image)
    else:
        np.savez(path, image=image)
    opened = open_frames(path)
    assert opened.shape == (1, 9, 7)
    np.testing.assert_array_equal(opened[0], image)
    np.testing.assert_array_equal(opened[[0, 0]], np.stack([image, image]))


def test_dataset_names_the_array(tmp_path: Path) -> None:
    a, b = stack(seed=1), stack("float32", seed=2)
    np.savez(tmp_path / "a.npz", one=a, two=b)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["g/one"], file["g/two"] = a, b
    np.testing.assert_array_equal(open_frames(tmp_path / "a.npz", dataset="two")[:], b)
    np.testing.assert_array_equal(open_frames(tmp_path / "a.h5", dataset="g/two")[:], b)


def test_cxi_data_at_the_detector_only(tmp_path: Path) -> None:
    frames = stack()
    with h5py.File(tmp_path / "a.cxi", "w") as file:
        file[f"{DETECTOR}/data"] = frames
        file[f"{DETECTOR}/mask"] = np.zeros((9, 7), np.uint16)
    opened = open_frames(tmp_path / "a.cxi")
    assert (opened.layout, opened.mask.all()) == ("cxi", True)
    np.testing.assert_array_equal(opened[4], frames[4])


def test_cxi_dataset_argument_keeps_mask_and_labels(tmp_path: Path) -> None:
    path = write_cxi(tmp_path / "a.cxi", stack(), labels=some_labels(), mask=np.eye(9, 7, dtype=bool))
    opened = open_frames(path, dataset=f"{DETECTOR}/data")
    assert opened.layout == "cxi"
    np.testing.assert_array_equal(opened.mask, np.eye(9, 7, dtype=bool))
    np.testing.assert_array_equal(opened.labels, some_labels())


def test_virtual_stack_over_two_files(tmp_path: Path) -> None:
    parts = [stack(seed=1), stack(seed=2)]
    layout = h5py.VirtualLayout((24, 9, 7), "u2")
    for i, part in enumerate(parts):
        plain(tmp_path / f"part{i}.h5", part)
        layout[12 * i : 12 * i + 12] = h5py.VirtualSource(f"part{i}.h5", "run/frames", (12, 9, 7))
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_virtual_dataset("v", layout)
    np.testing.assert_array_equal(open_frames(tmp_path / "v.h5")[:], np.concatenate(parts))


# --- indexing ---


@pytest.fixture(params=["cxi", "h5-chunked", "npy", "npz", "files"])
def any_frames(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Frames, np.ndarray]:
    frames = stack(count=23)
    match request.param:
        case "cxi":
            paths = write_cxi(tmp_path / "a.cxi", frames)
        case "h5-chunked":
            paths = plain(tmp_path / "a.h5", frames, chunks=(4, 9, 7), compression="gzip")
        case "npy":
            paths = tmp_path / "a.npy"
            np.save(paths, frames)
        case "npz":
            paths = tmp_path / "a.npz"
            np.savez(paths, frames=frames)
        case _:
            for i, (low, high) in enumerate([(0, 5), (5, 6), (6, 23)]):
                write_cxi(tmp_path / f"part{i}.cxi", frames[low:high])
            paths = str(tmp_path / "part*.cxi")
    return open_frames(paths), frames


@pytest.mark.parametrize(
    "key",
    [
        0,
        -1,
        np.int64(5),
        slice(None),
        slice(3, 9),
        slice(20, 2, -3),
        slice(5, 5),
        [],
        [4],
        [5, 4, 6, 0, 22],
        [3, 3, 3],
        [-1, 0, -1, 7, 6, 7],
        np.array([1, 2, 3, 9, 10, 2], dtype=np.uint8),
        np.arange(23) % 3 == 0,
    ],
    ids=str,
)
def test_indexing_is_numpys(any_frames: tuple[Frames, np.ndarray], key: object) -> None:
    opened, frames = any_frames
    expected = frames[np.asarray(key, dtype=int) if isinstance(key, list) else key]
    found = opened[key]
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)


def test_random_index_lists(any_frames: tuple[Frames, np.ndarray]) -> None:
    opened, frames = any_frames
    rng = np.random.default_rng(3)
    for _ in range(50):
        key = rng.integers(-23, 23, size=rng.integers(1, 40))
        np.testing.assert_array_equal(opened[key], frames[key])


def test_iteration_and_torch_index(any_frames: tuple[Frames, np.ndarray]) -> None:
    opened, frames = any_frames
    np.testing.assert_array_equal(np.stack(list(opened)), frames)
    np.testing.assert_array_equal(opened[torch.tensor([2, 0])], frames[[2, 0]])
    np.testing.assert_array_equal(opened[torch.tensor(2)], frames[2])


@pytest.mark.parametrize("key", [23, -24, [0, 23], np.int64(-30)])
def test_out_of_range(any_frames: tuple[Frames, np.ndarray], key: object) -> None:
    opened, _ = any_frames
    with pytest.raises(IndexError, match=r"frame (23|-24|-30) is out of range; there are 23 frames, indices -23 to 22"):
        opened[key]
    with pytest.raises(IndexError, match=str(opened.paths[0])):
        opened[key]


@pytest.mark.parametrize("key", [1.5, [0.0], "a", [[1, 2]], [True, False]])
def test_other_indices_are_refused(any_frames: tuple[Frames, np.ndarray], key: object) -> None:
    with pytest.raises(IndexError, match="expected an integer, a slice"):
        any_frames[0][key]


def test_read_into_buffer(any_frames: tuple[Frames, np.ndarray]) -> None:
    opened, frames = any_frames
    key = [22, 1, 1, 5, 6]
    same = np.empty((5, 9, 7), np.uint16)
    assert opened.read(key, out=same) is same
    np.testing.assert_array_equal(same, frames[key])
    wider = np.empty((5, 9, 7), np.float32)
    np.testing.assert_array_equal(opened.read(key, out=wider), frames[key].astype(np.float32))
    strided = np.full((5, 9, 14), -1.0)
    opened.read(key, out=strided[:, :, ::2])
    np.testing.assert_array_equal(strided[:, :, ::2], frames[key])
    assert (strided[:, :, 1::2] == -1).all()


def test_read_into_a_wrong_buffer(any_frames: tuple[Frames, np.ndarray]) -> None:
    opened, _ = any_frames
    with pytest.raises(ValueError, match=r"found \(4, 9, 7\) uint16; expected a writable array \(5, 9, 7\)"):
        opened.read(range(5), out=np.empty((4, 9, 7), np.uint16))
    floats = np.empty((2, 9, 7), np.float32)
    floats.flags.writeable = False
    with pytest.raises(ValueError, match="writable"):
        opened.read([0, 1], out=floats)


def test_float_frames_do_not_go_into_integers(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", stack("float32"))
    with pytest.raises(ValueError, match="float32"):
        open_frames(tmp_path / "a.npy").read([0], out=np.empty((1, 9, 7), np.int32))


def test_many_small_files_stay_within_open_files(tmp_path: Path) -> None:
    frames = stack(count=150)
    for i, frame in enumerate(frames):
        np.save(tmp_path / f"{i:03d}.npy", frame)
    with open_frames(str(tmp_path / "*.npy")) as opened:
        order = np.random.default_rng(0).permutation(150)
        np.testing.assert_array_equal(opened[order], frames[order])
        assert sum(source._array is not None for source in opened._sources) <= 64


# --- what comes with the frames ---


def test_cxi_mask_bits(tmp_path: Path) -> None:
    bits = np.zeros((9, 7), np.uint32)
    bad = [0x1, 0x2, 0x4, 0x8, 0x10, 0x40, 0x80, 0x200, 0x400, 0x1001, 0xFFFFFFFF]
    fine = [0, 0x20, 0x100, 0x800, 0x1000, 0x1800]
    bits.flat[: len(bad)] = bad
    bits.flat[len(bad) : len(bad) + len(fine)] = fine
    path = write_cxi(tmp_path / "a.cxi", stack(), mask=bits)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file[MASK][()], bits)
        assert file[MASK].dtype == np.uint32
    expected = np.arange(63).reshape(9, 7) >= len(bad)
    opened = open_frames(path)
    assert opened.mask.dtype == bool
    np.testing.assert_array_equal(opened.mask, expected)
    assert "11 of 63 pixels bad" in opened.why
    for dtype in (np.uint16, np.int16, np.int32):
        narrow = np.where(bits == 0xFFFFFFFF, 1, bits).astype(dtype)
        np.testing.assert_array_equal(open_frames(path, mask=narrow).mask, expected)


@pytest.mark.parametrize(
    ("name", "stored", "rule"),
    [
        ("bad_pixels", lambda good: ~good, "nonzero = bad"),
        ("bad_pixels", lambda good: (~good).astype(np.int64), "nonzero = bad"),
        ("good", lambda good: good, "nonzero = good"),
        ("good", lambda good: good.astype(np.uint8), "nonzero = good"),
        ("mask", lambda good: good, "True = good"),
        ("mask", lambda good: np.where(good, 0x1000, 0x84), "CXI bits"),
    ],
)
def test_mask_polarity(tmp_path: Path, name: str, stored, rule: str) -> None:
    good = np.random.default_rng(4).random((9, 7)) > 0.2
    frames, mask = stack(), stored(good)
    np.savez(tmp_path / "a.npz", frames=frames, **{name: mask})
    np.savez(tmp_path / "m.npz", **{name: mask})
    np.save(tmp_path / "f.npy", frames)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file[f"calibration/{name}"] = mask
    for opened in (
        open_frames(tmp_path / "a.npz"),
        open_frames(tmp_path / "f.npy", mask=tmp_path / "m.npz"),
        open_frames(tmp_path / "f.npy", mask=f"{tmp_path / 'm.npz'}:{name}"),
        open_frames(tmp_path / "f.npy", mask=tmp_path / "m.h5"),
        open_frames(tmp_path / "f.npy", mask=f"{tmp_path / 'm.h5'}:/calibration/{name}"),
    ):
        np.testing.assert_array_equal(opened.mask, good)
        assert rule in opened.why


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_mask_of_ones_that_leaves_few_pixels_comes_with_a_warning(tmp_path: Path, dtype: type) -> None:
    """It is read by the rule all the same; booleans, names that say what they mean and sparse masks raise no doubt."""
    good = np.random.default_rng(4).random((9, 7)) > 0.2
    assert 31 < good.sum() < 63
    frames, ones_good = stack(), good.astype(dtype)
    np.save(tmp_path / "f.npy", frames)
    np.save(tmp_path / "m.npy", ones_good)
    np.savez(tmp_path / "a.npz", frames=frames, mask=ones_good)
    path = write_cxi(tmp_path / "a.cxi", frames, mask=ones_good)
    doubt = "most pixels are bad: if 1 means good here, pass booleans or an array called 'good'"
    for opened, place in (
        (open_frames(tmp_path / "f.npy", mask=ones_good), "the mask argument"),
        (open_frames(tmp_path / "f.npy", mask=tmp_path / "m.npy"), "m.npy"),
        (open_frames(tmp_path / "a.npz"), "a.npz, array 'mask'"),
        (open_frames(path), "a.cxi, data set '/entry_1/"),
    ):
        np.testing.assert_array_equal(opened.mask, ~good)
        assert doubt in opened.why
        assert len(opened.warnings) == 1
        assert doubt in opened.warnings[0]
        assert place in opened.warnings[0]
    np.savez(tmp_path / "b.npz", good=(~good).astype(dtype))
    for mask in (~good, (~good).astype(dtype), ones_good * 4, tmp_path / "b.npz", None):
        opened = open_frames(tmp_path / "f.npy", mask=mask)
        assert opened.warnings == ()
        assert "most pixels" not in opened.why


def test_input_paths_are_all_files_that_are_read(tmp_path: Path) -> None:
    """Those behind external links and virtual data sets too: no job may write to any of them."""
    np.save(tmp_path / "m.npy", np.ones((9, 7), bool))
    np.savez(tmp_path / "l.npz", labels=some_labels())
    with h5py.File(tmp_path / "source.h5", "w") as file:
        file["frames"] = stack()
    with h5py.File(tmp_path / "linked.h5", "w") as file:
        file["frames"] = h5py.ExternalLink("source.h5", "/frames")
    layout = h5py.VirtualLayout(stack().shape, stack().dtype)
    layout[:] = h5py.VirtualSource("source.h5", "frames", stack().shape)
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("frames", layout)
    for name in ("linked.h5", "virtual.h5"):
        opened = open_frames(
            tmp_path / name, dataset="frames", mask=tmp_path / "m.npy", labels=f"{tmp_path / 'l.npz'}:labels"
        )
        assert opened.paths == (tmp_path / name,)
        assert opened.input_paths == tuple(tmp_path / file for file in (name, "source.h5", "m.npy", "l.npz"))


def test_given_mask_replaces_the_files_own(tmp_path: Path) -> None:
    path = write_cxi(tmp_path / "a.cxi", stack(), mask=np.ones((9, 7), bool))
    given = np.zeros((9, 7), bool)
    np.testing.assert_array_equal(open_frames(path, mask=given).mask, given)
    np.save(tmp_path / "m.npy", given)
    np.testing.assert_array_equal(open_frames(path, mask=tmp_path / "m.npy").mask, given)


def test_labels_and_energy(tmp_path: Path) -> None:
    labels, energy = some_labels(), np.linspace(19, 35, 12) * EV
    path = write_cxi(tmp_path / "a.cxi", stack(), labels=labels, energy=energy)
    opened = open_frames(path)
    assert opened.labels.dtype == np.uint8
    assert opened.class_names == CLASSES
    np.testing.assert_array_equal(opened.labels, labels)
    np.testing.assert_array_equal(opened.energy, energy)

    np.save(tmp_path / "l.npy", labels.astype(bool))
    np.savez(tmp_path / "l.npz", labels=labels.astype(float), other=np.zeros(3))
    bare = write_cxi(tmp_path / "b.cxi", stack(), energy=3e-18)
    for given in (labels, tmp_path / "l.npy", tmp_path / "l.npz", path, f"{path}:entry_1/labels/data"):
        np.testing.assert_array_equal(open_frames(bare, labels=given).labels, labels)
    assert open_frames(bare).labels is None
    np.testing.assert_array_equal(open_frames(bare).energy, np.full(12, 3e-18))
    assert open_frames(write_cxi(tmp_path / "c.cxi", stack())).energy is None


@pytest.mark.parametrize("kind", ["S", "vlen bytes", "vlen text", "object"])
def test_class_names_in_every_kind_of_hdf5_string(tmp_path: Path, kind: str) -> None:
    labels = some_labels()
    path = write_cxi(tmp_path / "a.cxi", stack(), labels=labels)
    names: object = {
        "S": np.array(CLASSES, dtype="S"),
        "vlen bytes": np.array([name.encode() for name in CLASSES], dtype=h5py.string_dtype("ascii")),
        "vlen text": np.array(CLASSES, dtype=h5py.string_dtype("utf-8")),
        "object": list(CLASSES),
    }[kind]
    with h5py.File(path, "r+") as file:
        file["/entry_1/labels/data"].attrs["classes"] = names
    np.testing.assert_array_equal(open_frames(path).labels, labels)


def test_energy_units_are_heeded(tmp_path: Path) -> None:
    path = write_cxi(tmp_path / "a.cxi", stack(), energy=1.0)
    with h5py.File(path, "r+") as file:
        file["/entry_1/instrument_1/source_1/energy"][()] = 21.5
        file["/entry_1/instrument_1/source_1/energy"].attrs["units"] = "eV"
    np.testing.assert_allclose(open_frames(path).energy, 21.5 * EV, rtol=1e-15)


def test_stack_of_files_joins_all_that_comes_with_them(tmp_path: Path) -> None:
    frames, labels, mask = stack(), some_labels(), np.eye(9, 7, dtype=bool)
    a = write_cxi(tmp_path / "a.cxi", frames[:5], labels=labels[:5], mask=mask, energy=1e-18)
    b = write_cxi(tmp_path / "b.cxi", frames[5:], labels=labels[5:], mask=mask)
    opened = open_frames([b, a])
    order = [*range(5, 12), *range(5)]
    np.testing.assert_array_equal(opened[:], frames[order])
    np.testing.assert_array_equal(opened.labels, labels[order])
    np.testing.assert_array_equal(opened.mask, mask)
    np.testing.assert_array_equal(opened.energy, [np.nan] * 7 + [1e-18] * 5)
    np.testing.assert_array_equal(opened.events["file"], [0] * 7 + [1] * 5)
    np.testing.assert_array_equal(opened.events["index"], [*range(7), *range(5)])
    assert opened.locate(8) == (a, DATA, 1)
    assert opened.paths == (b, a)
    without = write_cxi(tmp_path / "c.cxi", frames[:2], mask=mask)
    mixed = open_frames([a, without])
    assert mixed.labels is None
    assert "only 1 of 2 files have them" in mixed.why


def test_fingerprint_tells_what_changed(tmp_path: Path) -> None:
    path = write_cxi(tmp_path / "a.cxi", stack())
    before = open_frames(path).fingerprint()
    assert open_frames(path).fingerprint() == before
    masked = open_frames(path, mask=np.eye(9, 7, dtype=bool)).fingerprint()
    assert {key for key in before if before[key] != masked[key]} == {"mask"}
    write_cxi(path, stack(count=40), overwrite=True)
    after = open_frames(path).fingerprint()
    changed = {key for key in before if before[key] != after[key]}
    assert {"bytes", "changed_ns", "shape", "files_digest"} <= changed


# --- other processes ---


def _first_pixels(opened: Frames, queue) -> None:
    queue.put(opened[[3, 1]].tobytes())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_in_another_process(any_frames: tuple[Frames, np.ndarray], method: str) -> None:
    opened, frames = any_frames
    opened[0]  # the parent's handle is open
    context = torch.multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=_first_pixels, args=(opened, queue))
    process.start()
    assert queue.get(timeout=60) == frames[[3, 1]].tobytes()
    process.join(10)
    np.testing.assert_array_equal(opened[2], frames[2])


def test_as_dataset_of_a_dataloader(tmp_path: Path) -> None:
    frames = stack("float32")
    opened = open_frames(write_cxi(tmp_path / "a.cxi", frames, compression="gzip"))
    opened[5]
    loader = torch.utils.data.DataLoader(opened, batch_size=5, num_workers=2, multiprocessing_context="fork")
    np.testing.assert_array_equal(torch.cat(list(loader)).numpy(), frames)


def test_pickle_and_reopen(any_frames: tuple[Frames, np.ndarray]) -> None:
    opened, frames = any_frames
    opened[0]
    copy = pickle.loads(pickle.dumps(opened))
    opened.close()
    np.testing.assert_array_equal(copy[:], frames)
    np.testing.assert_array_equal(opened[4], frames[4])  # a closed one opens again
    assert len(pickle.dumps(copy)) < 20_000  # no pixels travel


# --- real frames ---


@pytest.mark.skipif(not (SHARED / "lcls_frames.npz").exists(), reason="the shared data is not here")
def test_real_lcls_frames() -> None:
    opened = open_frames(SHARED / "lcls_frames.npz")
    with np.load(SHARED / "lcls_frames.npz") as there:
        np.testing.assert_array_equal(opened[:], there["frames"])
        np.testing.assert_array_equal(opened.mask, ~there["bad_pixels"])
    assert "nonzero = bad" in opened.why
