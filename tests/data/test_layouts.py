"""Every layout that users have opens to the frames that are in its files, and to what comes with them."""

from __future__ import annotations

import contextlib
import pickle
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import torch
from layouts import (
    EV,
    HDF5_WRITERS,
    WRITERS,
    Written,
    cheetah,
    cxidb_10,
    cxidb_94,
    majority,
    modules,
    random_frames,
    random_labels,
)
from PIL import Image

from cdifast.data import LAYOUTS, FrameError, MissingFileError, open_frames, write_cxi
from cdifast.labels import CLASSES

DATA = "/entry_1/data_1/data"


@pytest.fixture(params=list(WRITERS))
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Written:
    return WRITERS[request.param](tmp_path)


def files_of(written: Written) -> list[Path]:
    """All files that opening it reads frames from."""
    with open_frames(written.paths) as frames:
        return list(frames.input_paths)


def same_bits(found: np.ndarray, expected: np.ndarray) -> bool:
    """Also NaN and their payload; the byte order may differ."""
    native = expected.astype(expected.dtype.newbyteorder("="))
    return found.dtype == native.dtype and found.shape == native.shape and found.tobytes() == native.tobytes()


# --- frames ---


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", ">u2", "int16", ">i4", "uint32", ">i8", "float16", ">f4", "float64"]
)
@pytest.mark.parametrize("name", [*HDF5_WRITERS, "npy", "npz", "TIFF folder", "TIFF stack"])
def test_frames_of_every_type_bit_for_bit(tmp_path: Path, name: str, dtype: str) -> None:
    written = WRITERS[name](tmp_path, dtype=dtype)
    with open_frames(written.paths) as frames:
        assert frames.layout == written.layout
        assert frames.dtype.isnative
        assert frames.shape == written.frames.shape
        assert same_bits(frames[:], written.frames)
        assert same_bits(frames[::-2], written.frames[::-2])


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_png_bit_for_bit(tmp_path: Path, dtype: str) -> None:
    written = WRITERS["PNG folder"](tmp_path, dtype=dtype)
    assert same_bits(open_frames(written.paths)[:], written.frames)


def test_every_layout_has_a_writer_here(tmp_path: Path) -> None:
    made = {}
    for number, writer in enumerate(WRITERS.values()):
        (tmp_path / str(number)).mkdir()
        made[writer(tmp_path / str(number)).layout] = True
    assert set(made) == {layout.layout for layout in LAYOUTS}


def test_frames_are_those_that_h5py_reads(tmp_path: Path) -> None:
    """Not only those that the writers meant: the virtual data set as HDF5 itself resolves it, halves joined."""
    for number, name in enumerate(["stacked CXI", "Cheetah", "Condor", "modules", "raw modules"]):
        folder = tmp_path / str(number)
        folder.mkdir()
        written = WRITERS[name](folder)
        with h5py.File(written.paths) as file, open_frames(written.paths) as frames:
            stored = file[DATA][: len(frames)]
            if stored.ndim == 5:
                stored = stored[:, :, 0]
            assert same_bits(frames[:], stored.reshape(frames.shape))
    written = cxidb_10(tmp_path)
    with open_frames(written.paths) as frames:
        for i, path in enumerate(written.paths):
            with h5py.File(path) as file:
                halves = [file[f"entry_1/instrument_1/detector_{n}/data"][()] for n in (3, 4)]
            assert same_bits(frames[i], np.concatenate(halves))


def test_reading_in_any_order_into_buffers_and_other_types(written: Written) -> None:
    count = len(written.frames)
    with open_frames(written.paths) as frames:
        for key in ([count - 1, 0, 1, 0], [2], np.empty(0, int), slice(1, count, 2), np.arange(count) % 2 == 0, -1):
            np.testing.assert_array_equal(frames[key], written.frames[key])
        wide = np.full((3, *frames.shape[1:], 2), 7.0)
        found = frames.read([2, 0, 1], out=wide[..., 0])
        np.testing.assert_array_equal(found, written.frames[[2, 0, 1]].astype(float))
        assert (wide[..., 1] == 7).all()


def test_what_comes_with_the_frames(written: Written) -> None:
    with open_frames(written.paths) as frames:
        count = len(frames)
        for name in ("mask", "labels", "energy"):
            found, expected = getattr(frames, name), getattr(written, name)
            assert (found is None) == (expected is None), name
            if name == "energy" and found is not None:
                assert found.dtype == np.float64
                np.testing.assert_allclose(found, expected, rtol=1e-14)
            elif found is not None:
                np.testing.assert_array_equal(found, expected)
        masks = written.masks
        assert frames.masks_differ == (masks is not None or written.layout == "extra-data")
        if masks is None:
            masks = np.broadcast_to(True if written.mask is None else written.mask, frames.shape)
        order = [count - 1, 0, 1, 0]
        np.testing.assert_array_equal(frames.read_mask(slice(None)), masks)
        np.testing.assert_array_equal(frames.read_mask(order), masks[order])
        np.testing.assert_array_equal(frames.read_mask(order, images=frames[order]), masks[order])
        assert frames.read_mask([]).shape == (0, *frames.shape[1:])
        events = frames.events
        assert set(events.dtype.names) == {"file", "index", *written.events}
        for key, values in written.events.items():
            np.testing.assert_array_equal(events[key], values)
        for i in range(count):
            path, _, index = frames.locate(i)
            assert (frames.paths[events["file"][i]], events["index"][i]) == (path, index)
        assert written.layout in frames.why


def _first(frames, queue) -> None:
    queue.put((frames[[1, 0]].tobytes(), frames.read_mask([1]).tobytes(), frames.events.tobytes()))


def test_in_other_processes(written: Written) -> None:
    with open_frames(written.paths) as frames:
        here = (frames[[1, 0]].tobytes(), frames.read_mask([1]).tobytes(), frames.events.tobytes())
        copy = pickle.loads(pickle.dumps(frames))
        assert copy[[1, 0]].tobytes() == here[0]
        context = torch.multiprocessing.get_context("fork")
        queue = context.Queue()
        process = context.Process(target=_first, args=(frames, queue))
        process.start()
        assert queue.get(timeout=60) == here
        process.join(10)
        assert frames[[1, 0]].tobytes() == here[0]


# --- which files, and which layout ---


def test_folders_patterns_and_lists_are_one_stack(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    written = cxidb_10(tmp_path / "run")
    (tmp_path / "run" / "README.txt").write_text("about the run")
    (tmp_path / "run" / ".hidden.cxi").write_text("of an editor")
    (tmp_path / "run" / "logs").mkdir()
    for paths in (tmp_path / "run", str(tmp_path / "run" / "*.cxi"), written.paths, [tmp_path / "run"]):
        with open_frames(paths) as frames:
            np.testing.assert_array_equal(frames[:], written.frames)
            assert ("1 other files of the folder left out" in frames.why) == ("run" in str(paths)[-7:])
    assert "not the other one's at /entry_1/data_1/data" in frames.why
    backwards = open_frames(written.paths[::-1])
    np.testing.assert_array_equal(backwards[:], written.frames[::-1])
    np.testing.assert_array_equal(backwards.events["identifier"], written.events["identifier"][::-1])


def test_folders_that_leave_a_choice(tmp_path: Path) -> None:
    with pytest.raises(FrameError, match=r"is a directory without files of frames .*\.cxi.*\.png"):
        open_frames(tmp_path)
    write_cxi(tmp_path / "a.cxi", random_frames())
    np.save(tmp_path / "a.npy", random_frames())
    with pytest.raises(FrameError, match=r"several formats.*/\*\.cxi' \(1 HDF5 files\), .*/\*\.npy' \(1 \.npy files\)"):
        open_frames(tmp_path)
    (tmp_path / "a.npy").unlink()
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["frames"] = random_frames()
    with pytest.raises(FrameError, match=r"b\.h5: is hdf5, but a\.cxi is cxi; expected one layout"):
        open_frames(tmp_path)
    assert len(open_frames([tmp_path / "a.cxi", tmp_path / "b.h5"])) == 14
    (tmp_path / "c.h5").symlink_to(tmp_path / "elsewhere.h5")
    with pytest.raises(FileNotFoundError, match=r"c\.h5: is a link to no file"):
        open_frames(tmp_path)
    (tmp_path / "c.h5").unlink()
    (tmp_path / "folder.cxi").mkdir()
    with pytest.raises(FrameError, match=r"folder\.cxi: is a directory; the pattern"):
        open_frames(str(tmp_path / "*.cxi"))


def test_several_detectors_or_entries_are_not_guessed(tmp_path: Path) -> None:
    frames = random_frames()
    with h5py.File(tmp_path / "two.cxi", "w") as file:
        for n in (1, 2):
            file[f"entry_1/data_{n}/data"] = frames[:, : 4 * n]
    with pytest.raises(
        FrameError, match=r"dataset=: /entry_1/data_1/data \(7, 4, 10\).*/entry_1/data_2/data \(7, 8, 10\)"
    ):
        open_frames(tmp_path / "two.cxi")
    np.testing.assert_array_equal(open_frames(tmp_path / "two.cxi", dataset="/entry_1/data_2/data")[:], frames[:, :8])
    with h5py.File(tmp_path / "entries.cxi", "w") as file:
        for n in (1, 2):
            file[f"entry_{n}/instrument_1/detector_1/data"] = frames
            file[f"entry_{n}/data_1"] = h5py.SoftLink(f"/entry_{n}/instrument_1/detector_1")
    with pytest.raises(FrameError, match=r"dataset=: /entry_1/data_1/data.*/entry_2/data_1/data"):
        open_frames(tmp_path / "entries.cxi")
    with h5py.File(tmp_path / "linked.cxi", "w") as file:  # one detector by two names is no choice
        file["entry_1/instrument_1/detector_1/data"] = frames
        for n in (1, 2):
            file[f"entry_1/data_{n}"] = h5py.SoftLink("/entry_1/instrument_1/detector_1")
    np.testing.assert_array_equal(open_frames(tmp_path / "linked.cxi")[:], frames)


def test_mask_and_energy_come_from_the_entry_of_the_dataset(tmp_path: Path) -> None:
    frames = random_frames()
    with h5py.File(tmp_path / "a.cxi", "w") as file:
        file["cxi_version"] = 150
        for n in (1, 2):
            file[f"entry_{n}/data_1/data"] = frames + np.uint16(n)
            file[f"entry_{n}/data_1/mask"] = np.full((12, 10), n - 1, np.uint32)
            file[f"entry_{n}/instrument_1/source_1/energy"] = n * 1e-18
    opened = open_frames(tmp_path / "a.cxi", dataset="entry_2/data_1/data")
    np.testing.assert_array_equal(opened[:], frames + np.uint16(2))
    assert not opened.mask.any()
    assert opened.energy[0] == 2e-18


def test_the_usual_place_by_name_is_cxi_without_a_version_too(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.cxi", "w") as file:
        file[DATA] = random_frames()
        file["entry_1/data_1/mask"] = np.eye(12, 10, dtype="u4")
    for dataset in (None, DATA, DATA.lstrip("/")):
        opened = open_frames(tmp_path / "a.cxi", dataset=dataset)
        assert opened.layout == "cxi"
        np.testing.assert_array_equal(opened.mask, ~np.eye(12, 10, dtype=bool))


def test_external_links_to_data_sets_of_other_names(tmp_path: Path) -> None:
    frames = random_frames()
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["entry/data/images"] = frames
    with h5py.File(tmp_path / "master.cxi", "w") as file:
        file["cxi_version"] = 150
        file[DATA] = h5py.ExternalLink("data.h5", "/entry/data/images")
        file["other"] = h5py.ExternalLink("data.h5", "/entry/data/images")
    for dataset in (None, DATA, "other"):
        opened = open_frames(tmp_path / "master.cxi", dataset=dataset)
        np.testing.assert_array_equal(opened[2:4], frames[2:4])
        assert opened.input_paths == (tmp_path / "master.cxi", tmp_path / "data.h5")


# --- CXIDB 94 ---


def test_entries_come_by_number_with_gaps(tmp_path: Path) -> None:
    numbers = (3, 9, 10, 101, 7264)
    written = cxidb_94(tmp_path, numbers=numbers)
    with open_frames(written.paths) as frames:
        assert frames.events["entry"].tolist() == list(numbers)
        np.testing.assert_array_equal(frames[:], written.frames)
        assert frames.locate(3) == (written.paths, "/entry_101/instrument_1/detector_1/data", 3)
        assert len(pickle.dumps(frames)) < 10_000
    one = cxidb_94(tmp_path, numbers=(1,))
    assert open_frames(one.paths).layout == "cxi-entries"


def test_what_is_wrong_in_one_entry_is_named(tmp_path: Path) -> None:
    path = cxidb_94(tmp_path).paths
    place = "instrument_1/detector_1/data"

    def refused(change, message: str) -> None:
        copy = tmp_path / "changed.cxi"
        shutil.copy(path, copy)
        with h5py.File(copy, "r+") as file:
            change(file)
        with pytest.raises(FrameError, match=message):
            open_frames(copy)

    def replace(name: str, value: object):
        def change(file: h5py.File) -> None:
            del file[name]
            if value is not None:
                file[name] = value

        return change

    here = r"changed\.cxi, data set '/entry_10/"
    refused(
        replace(f"entry_10/{place}", np.zeros((12, 9), "u2")), here + r".*frame 4: found \(12, 9\).*\(12, 10\) uint16"
    )
    refused(replace(f"entry_10/{place}", np.zeros((12, 10), "u4")), here + r".*frame 4: found \(12, 10\) uint32")
    refused(replace(f"entry_10/{place}", None), here + r".*frame 4: is not there")
    refused(
        replace("entry_10/note_1/data", np.zeros(10, "u1")), here + r"note_1/data', frame 4: found \(10,\).*labels="
    )
    refused(replace("entry_10/note_1/data", None), here + r"note_1/data', frame 4: is not there.*labels=")
    refused(replace("entry_10/note_1/data", np.full(11, 2)), rf"found 2.* at frame 4, class '{CLASSES[0]}'")
    refused(replace("entry_10/instrument_1/source_1/energy", np.ones(2)), here + r".*energy', frame 4: found \(2,\)")
    with h5py.File(path, "r+") as file:
        del file["entry_10/note_1/data"]
        del file[f"entry_5/{place}"]
        file["entry_5"].create_dataset(place, (12, 10), "u2")
    with pytest.raises(FrameError, match=r"'/entry_5/.*frame 3: was created but never written"):
        open_frames(path, labels=random_labels(7))


def test_entries_with_masks_other_detectors_and_names(tmp_path: Path) -> None:
    written = cxidb_94(tmp_path)
    generator = np.random.default_rng(8)
    masks = generator.random(written.frames.shape) > 0.3
    with h5py.File(written.paths, "r+") as file:
        for i, number in enumerate(written.events["entry"]):
            entry = file[f"entry_{number}"]
            entry["instrument_1/detector_1/mask"] = np.where(masks[i], 0x1000, 4).astype("u4")
            del entry["experimental_identifier"]
            entry["experiment_identifier"] = f"bunch-{'x' * i}"
    frames = open_frames(written.paths)
    np.testing.assert_array_equal(frames.read_mask([5, 0]), masks[[5, 0]])
    np.testing.assert_array_equal(frames.mask, majority(masks))
    frames.close()
    assert frames.events["bunchId"].tolist() == [b"bunch-" + b"x" * i for i in range(7)]
    with h5py.File(written.paths, "r+") as file:
        for i, number in enumerate(written.events["entry"]):
            file[f"entry_{number}/instrument_1/detector_2/data"] = written.frames[i, :3]
    with pytest.raises(FrameError, match=r"several detectors.*entry_\*/instrument_1/detector_2/data \(3, 10\)"):
        open_frames(written.paths)
    second = open_frames(written.paths, dataset="entry_*/instrument_1/detector_2/data")
    np.testing.assert_array_equal(second[:], written.frames[:, :3])


# --- CXIDB 10 ---


def test_halves_of_other_names_and_halves_that_do_not_fit(tmp_path: Path) -> None:
    written = cxidb_10(tmp_path)
    first = open_frames(written.paths[0], dataset="entry_1/data_4/data+entry_1/data_3/data")
    np.testing.assert_array_equal(first[0], np.roll(written.frames[0], 6, axis=0))
    one = open_frames(written.paths, dataset="/entry_1/data_3/data")
    np.testing.assert_array_equal(one[:], written.frames[:, :6])
    assert one.layout == "cxi"
    first.close(), one.close()
    with h5py.File(written.paths[2], "r+") as file:
        del file["entry_1/instrument_1/detector_4/data"]
        file["entry_1/instrument_1/detector_4/data"] = np.zeros((6, 9), "i2")
    with pytest.raises(FrameError, match=r"amo10510_0002\.cxi, data set '/entry_1/data_4/data': found \(1, 6, 9\)"):
        open_frames(written.paths)
    with h5py.File(written.paths[2], "r+") as file:
        for n in (3, 4):
            del file[f"entry_1/instrument_1/detector_{n}/data"]
            file[f"entry_1/instrument_1/detector_{n}/data"] = np.zeros((5, 10), "i2")
    with pytest.raises(FrameError, match=r"0002\.cxi.*found frames \(10, 10\) int16; expected \(12, 10\) int16"):
        open_frames(written.paths)


# --- Cheetah ---


def test_room_of_a_cheetah_stack_that_was_never_used_is_no_frame(tmp_path: Path) -> None:
    written = cheetah(tmp_path)
    with h5py.File(written.paths) as file:
        assert file[DATA].shape[0] == 8
    frames = open_frames(written.paths)
    assert len(frames) == 6
    with pytest.raises(IndexError):
        frames[6]
    frames.close()
    for events, message in [(0, r"\(0, 12, 10\)"), (9, "found 9 as numEvents; there is room for 8")]:
        with h5py.File(written.paths, "r+") as file:
            file[DATA].attrs["numEvents"] = events
        with pytest.raises(FrameError, match=message):
            open_frames(written.paths)


# --- European XFEL ---


def test_missing_modules_are_bad_where_they_are_missing(tmp_path: Path) -> None:
    missing = [(0, 1), (3, 0), (3, 1), (3, 2), (3, 3), (5, 3)]
    for number, kind in enumerate(["float32", "raw"]):
        folder = tmp_path / str(number)
        folder.mkdir()
        written = (
            modules(folder, "uint16", gain_axis=True, missing=missing)
            if kind == "raw"
            else modules(folder, missing=missing)
        )
        given = np.random.default_rng(1).random(written.frames.shape[1:]) > 0.5
        frames, masked = open_frames(written.paths), open_frames(written.paths, mask=given)
        there = np.ones((6, 4), bool)
        there[tuple(np.transpose(missing))] = False
        rows = np.repeat(there, 5, axis=1)[:, :, None]
        assert (frames.read_mask(slice(None)) <= rows).all()
        np.testing.assert_array_equal(frames.read_mask(slice(None)), written.masks)
        np.testing.assert_array_equal(masked.mask, given)
        np.testing.assert_array_equal(masked.read_mask([3, 1]), (given & rows)[[3, 1]])
        assert frames.events["cellId"].tolist() == [0, 4, 0, 0, 0, 4]  # of frame 3 no module knows


def test_nan_of_a_copied_file_is_bad_though_its_mask_says_nothing(tmp_path: Path) -> None:
    written = modules(tmp_path)
    path = tmp_path / "copy.cxi"
    with h5py.File(written.paths) as source, h5py.File(path, "w") as file:
        file["cxi_version"], file["entry_1/trainId"] = 150, source["entry_1/trainId"][()]
        file["entry_1/instrument_1/detector_1/data"] = source[DATA][()]
    frames = open_frames(path)
    assert frames.layout == "extra-data"
    np.testing.assert_array_equal(frames.read_mask(slice(None)), ~np.isnan(written.frames))
    frames.close()
    with h5py.File(path, "r+") as file:
        file["entry_1/instrument_1/detector_1/mask"] = np.zeros((6, 4, 5, 4), "u4")
    np.testing.assert_array_equal(open_frames(path).read_mask([1]), ~np.isnan(written.frames[[1]]))
    with pytest.raises(ValueError, match="images: found"):
        open_frames(path).read_mask([1, 2], images=written.frames[:1])


def test_modules_that_cannot_be_frames(tmp_path: Path) -> None:
    def written(shape: tuple[int, ...], **extra: object) -> Path:
        with h5py.File(tmp_path / "a.cxi", "w") as file:
            file["cxi_version"] = 150
            file[DATA] = np.zeros(shape, "u2")
            for name, value in extra.items():
                file[f"entry_1/{name}"] = value
        return tmp_path / "a.cxi"

    with pytest.raises(FrameError, match=r"\(2, 3, 4, 5\) uint16; expected one frame \(H, W\) or a stack"):
        open_frames(written((2, 3, 4, 5)))  # nothing says that the second axis is one of modules
    with pytest.raises(FrameError, match="a third axis of 1 or 2: the image and its gain"):
        open_frames(written((2, 3, 3, 4, 5), trainId=np.arange(2)))
    with pytest.raises(FrameError, match=r"\(0, 12, 5\).*at least one frame"):
        open_frames(written((0, 3, 4, 5), trainId=np.arange(0)))
    with pytest.raises(FrameError, match=r"trainId': found \(3,\) int64; expected a value for each of the 2 frames"):
        _ = open_frames(written((2, 3, 4, 5), trainId=np.arange(3))).events
    with pytest.raises(FrameError, match=r"cellId': found \(2, 4\).*2 frames and 3 modules"):
        _ = open_frames(written((2, 3, 4, 5), trainId=np.arange(2), cellId=np.zeros((2, 4), int))).events
    np.testing.assert_array_equal(open_frames(written((2, 3, 1, 4, 5), trainId=np.arange(2))).shape, (2, 12, 5))


def test_run_files_of_single_modules_are_told_from_a_virtual_cxi(tmp_path: Path) -> None:
    modules(tmp_path)
    path = tmp_path / "CORR-R0001-AGIPD01-S00000.h5"
    with h5py.File(path, "r+") as file:
        file["INDEX/trainId"] = np.arange(3)
    with pytest.raises(FrameError, match="extra-data-make-virtual-cxi"):
        open_frames(path)
    image = "INSTRUMENT/SPB_DET_AGIPD1M-1/DET/1CH0:xtdf/image/data"
    assert open_frames(path, dataset=image).shape == (6, 5, 4)


def test_missing_source_of_a_virtual_cxi_is_named(tmp_path: Path) -> None:
    written = modules(tmp_path)
    frames = open_frames(written.paths)
    (tmp_path / "CORR-R0001-AGIPD02-S00000.h5").unlink()
    with pytest.raises(FrameError, match=r"virtual\.cxi.*source file '.*AGIPD02-S00000\.h5' is missing"):
        open_frames(written.paths)
    with pytest.raises(FrameError, match=r"virtual\.cxi, data set '/entry_1/data_1/data', frame 3.*AGIPD02"):
        frames[[4, 3]]
    with pytest.raises(FrameError, match=r"virtual\.cxi, .*AGIPD02"):
        frames.read_mask(3)


# --- images ---


def test_tiff_of_every_kind(tmp_path: Path) -> None:
    frames = random_frames("float32")
    options = {
        "lzw": {"compression": "lzw", "photometric": "minisblack"},
        "zlib-predictor": {"compression": "zlib", "predictor": True, "photometric": "minisblack"},
        "tiles": {"tile": (16, 16), "photometric": "minisblack"},
        "big": {"bigtiff": True, "byteorder": ">", "photometric": "minisblack"},
        "imagej": {"imagej": True},
        "block": {"metadata": None, "contiguous": True, "photometric": "minisblack"},
    }
    for name, option in options.items():
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, frames, **option)
        with open_frames(path) as opened:
            assert opened.layout == "tiff"
            assert same_bits(opened[:], frames), name
            assert same_bits(opened[[5, 1]], frames[[5, 1]]), name


def test_imagej_stack_without_directory_of_its_pages(tmp_path: Path) -> None:
    """As ImageJ itself writes stacks above 4 GiB: one page, the other frames behind it."""
    frames = random_frames(">u2")
    tifffile.imwrite(tmp_path / "a.tif", frames.astype("u2"), imagej=True)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        if len(tiff.pages) != 1:  # cut the chain of directories behind the first
            end = tiff.pages[0].offset + 2 + 12 * len(tiff.pages[0].tags)
            raw = bytearray((tmp_path / "a.tif").read_bytes())
            raw[end : end + 4] = b"\0\0\0\0"
            (tmp_path / "a.tif").write_bytes(raw)
    opened = open_frames(tmp_path / "a.tif")
    assert same_bits(opened[:], frames)
    assert same_bits(opened[[6, 2]], frames[[6, 2]])


def test_images_that_are_no_frames(tmp_path: Path) -> None:
    colours = random_frames("uint8", 3, 12, 10).transpose(1, 2, 0)
    tifffile.imwrite(tmp_path / "rgb.tif", np.ascontiguousarray(colours), photometric="rgb")
    with pytest.raises(
        FrameError, match=r"rgb\.tif: found \(12, 10, 3\) uint8 with YXS as axes: colours; expected gray"
    ):
        open_frames(tmp_path / "rgb.tif")
    with tifffile.TiffWriter(tmp_path / "two.tif") as tiff:
        tiff.write(random_frames()[0], photometric="minisblack")
        tiff.write(random_frames()[0, :5], photometric="minisblack")
    with pytest.raises(
        FrameError, match=r"two\.tif: found series 0 \(12, 10\).*series 1 \(5, 10\).*one shape and type"
    ):
        open_frames(tmp_path / "two.tif")
    Image.fromarray(np.ascontiguousarray(colours)).save(tmp_path / "rgb.png")
    Image.fromarray(colours[..., 0] > 9).save(tmp_path / "bits.png")
    Image.fromarray(np.ascontiguousarray(colours[..., 0])).convert("P").save(tmp_path / "palette.png")
    for name, found in [("rgb", "RGB of 8 bits"), ("bits", "gray of 1 bits"), ("palette", "a palette of 8 bits")]:
        with pytest.raises(FrameError, match=rf"{name}\.png: found {found}; expected gray of 8 or 16 bits"):
            open_frames(tmp_path / f"{name}.png")
    for name in ("two.tif", "rgb.png"):
        with pytest.raises(FrameError, match="expected no dataset, found 'x'"):
            open_frames(tmp_path / name, dataset="x")


def test_missing_image_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiff, png = WRITERS["TIFF folder"](tmp_path).paths, open_frames(WRITERS["PNG folder"](tmp_path).paths)
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(ImportError, match=r"tifffile: pip install 'cdifast\[images\]'"):
        open_frames(tiff)
    with pytest.raises(ImportError, match=r"Pillow: pip install 'cdifast\[images\]'"):
        png[0]


# --- several files ---


def test_keys_of_several_files_are_those_that_all_have(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    a, b = cheetah(tmp_path), cheetah(tmp_path / "a")
    with h5py.File(b.paths, "r+") as file:
        del file["LCLS/fiducial"]
        del file["LCLS/machineTime"]
        file["LCLS/machineTime"] = np.arange(8, dtype="u8") + (1 << 40)
        del file["entry_1/experiment_identifier"]
        file["entry_1/experiment_identifier"] = np.array(["longer than the others " * 8] * 8, dtype="S200")
    frames = open_frames([a.paths, b.paths])
    assert set(frames.events.dtype.names) == {"file", "index", "identifier", "machineTime"}
    assert frames.events["machineTime"].dtype == np.int64
    assert frames.events["machineTime"].tolist() == [*a.events["machineTime"], *((1 << 40) + i for i in range(6))]
    assert frames.events["identifier"][0] == a.events["identifier"][0]
    assert frames.events["identifier"][6] == b"longer than the others " * 8
    assert frames.events["file"].tolist() == [0] * 6 + [1] * 6


def test_shots_of_one_file_each_may_have_masks_of_their_own(tmp_path: Path) -> None:
    frames = random_frames()
    masks = np.random.default_rng(2).random(frames.shape) > 0.4
    paths = [write_cxi(tmp_path / f"{i}.cxi", frames[i : i + 1], mask=masks[i]) for i in range(7)]
    opened = open_frames(paths)
    assert opened.masks_differ
    np.testing.assert_array_equal(opened.read_mask([6, 2]), masks[[6, 2]])
    np.testing.assert_array_equal(opened.mask, majority(masks))


def test_masks_of_few_of_many_frames_are_looked_at(tmp_path: Path) -> None:
    count = 100
    masks = np.ones((count, 4, 3), bool)
    masks[::2, 0, 0] = False  # bad in half of all
    masks[:60, 1, 1] = False
    masks[0, 2, 2] = False
    with h5py.File(tmp_path / "a.cxi", "w") as file:
        file[DATA] = np.zeros((count, 4, 3), "u2")
        file["/entry_1/data_1/mask"] = np.where(masks, 0, 4).astype("u2")
    frames = open_frames(tmp_path / "a.cxi")
    assert "16 frames, whose own masks differ" in frames.why
    assert not frames.mask[1, 1]
    assert frames.mask[2, 2]
    np.testing.assert_array_equal(frames.read_mask(slice(None)), masks)


# --- faults ---


def test_files_removed_in_mid_run(written: Written) -> None:
    frames = open_frames(written.paths)
    place = frames.locate(1)
    for path in files_of(written):
        path.unlink()
    with pytest.raises(FrameError, match=r"no such file|is missing") as caught:
        frames[[1, 2]]
    assert isinstance(caught.value, MissingFileError) or "virtual" in str(caught.value)
    assert (caught.value.path, caught.value.index) == (place[0], place[2])
    assert caught.value.dataset in place[1]
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.index) == (str(caught.value), caught.value.index)


def test_truncated_files(written: Written) -> None:
    """Cut anywhere: an error of ours that names a file, when it is opened or when it is read."""
    for path in files_of(written)[-1:]:
        whole = path.read_bytes()
        for share in (0.03, 0.4, 0.75, 0.97):
            path.write_bytes(whole[: int(share * len(whole))])
            with contextlib.suppress(FrameError):
                found = open_frames(written.paths)[:]
                assert same_bits(found, written.frames), f"cut at {share}: other frames without an error"
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(FrameError, match=re.escape(str(path.parent))):
            open_frames(written.paths)[:]


def test_damaged_images_name_the_frame(tmp_path: Path) -> None:
    for name in ("TIFF stack", "PNG folder"):
        written = WRITERS[name](tmp_path)
        path = open_frames(written.paths).paths[-1]
        raw = bytearray(path.read_bytes())
        middle = len(raw) // 2
        raw[middle : middle + 40] = b"\xff" * 40
        path.write_bytes(raw)
        with pytest.raises(FrameError, match=rf"{re.escape(str(path))}.*frame \d+|not readable") as caught:
            open_frames(written.paths)[:]
        assert caught.value.path == path


@pytest.mark.parametrize("name", ["stacked CXI", "Condor", "HDF5", "modules", "npy"])
def test_no_frames(tmp_path: Path, name: str) -> None:
    written = WRITERS[name](tmp_path)
    if name == "npy":
        np.save(written.paths, written.frames[:0])
    else:
        place = "run/frames" if name == "HDF5" else DATA
        with h5py.File(written.paths, "r+") as file:
            shape, dtype = file[place].shape, file[place].dtype
            del file[place]
            file[place] = np.zeros((0, *shape[1:]), dtype)
    with pytest.raises(FrameError, match=r"\(0, .*at least one frame"):
        open_frames(written.paths)


@pytest.mark.parametrize("name", ["CXIDB 10", "Cheetah before CXI", "TIFF folder", "PNG folder"])
def test_mixed_shapes_in_one_stack(tmp_path: Path, name: str) -> None:
    written = WRITERS[name](tmp_path)
    path = open_frames(written.paths).paths[2]
    if path.suffix == ".png":
        Image.fromarray(np.zeros((12, 9), np.uint16)).save(path)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, np.zeros((12, 9), np.uint16))
    else:
        with h5py.File(path, "r+") as file:
            for place in ("entry_1/data_3/data", "entry_1/data_4/data", "data/assembleddata0"):
                if place in file:
                    height = file[place].shape[0]
                    del file[place]
                    file[place] = np.zeros((height, 9), "i2")
    with pytest.raises(FrameError, match=rf"{path.name}.*found frames \(12, 9\).*expected \(12, 10\)"):
        open_frames(written.paths)


def test_more_frames_than_the_files_can_hold_are_refused(tmp_path: Path) -> None:
    """A damaged header: what goes with so many frames would fill the memory."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("frames", (1 << 33, 4, 4), "u2", chunks=(1, 4, 4))
        data[0] = 1
    with pytest.raises(FrameError, match=r"found 8589934592 frames in \d+ bytes of files: the header is damaged"):
        open_frames(tmp_path / "a.h5")


def test_energies_in_other_units_and_lengths(tmp_path: Path) -> None:
    written = cheetah(tmp_path)
    with h5py.File(written.paths, "r+") as file:
        del file["entry_1/instrument_1/source_1/energy"]
        file["LCLS/photon_energy_eV"] = np.full(8, 500.0)
    np.testing.assert_allclose(open_frames(written.paths).energy, np.full(6, 500 * EV))
    with h5py.File(written.paths, "r+") as file:
        del file["LCLS/photon_energy_eV"]
        file["LCLS/photon_energy_eV"] = np.full(5, 500.0)
    with pytest.raises(FrameError, match=r"photon_energy_eV': found \(5,\) float64; expected one photon energy or 6"):
        open_frames(written.paths)
