"""What is wrong with a file or an array is said clearly: which file, which data set, which frame."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from cdifast.data import CxiWriter, FrameError, check_finite, open_frames, write_cxi
from cdifast.data.cxi import DATA, ENERGY, LABELS, MASK
from cdifast.labels import CLASSES

FRAMES = np.random.default_rng(0).integers(0, 999, size=(10, 16, 12)).astype(np.uint16)
LABEL_ROWS = np.random.default_rng(1).integers(0, 2, size=(10, 11), dtype=np.uint8)


@pytest.fixture
def cxi(tmp_path: Path) -> Path:
    return write_cxi(
        tmp_path / "a.cxi", FRAMES, labels=LABEL_ROWS, mask=np.ones((16, 12), bool), energy=np.full(10, 3e-18)
    )


def hdf5(path: Path, **arrays: object) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name.replace("__", "/")] = array
    return path


def says(*parts: object) -> str:
    """A pattern that wants every part, in this order."""
    return "(?s)" + ".*".join(re.escape(str(part)) for part in parts)


# --- which file ---


def test_missing_file_pattern_directory_and_empty_list(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=says(tmp_path / "no.cxi", "no such file")):
        open_frames(tmp_path / "no.cxi")
    with pytest.raises(FileNotFoundError, match=says(tmp_path / "*.cxi", "matches no file")):
        open_frames(str(tmp_path / "*.cxi"))
    with pytest.raises(FrameError, match=says(tmp_path, "is a directory")):
        open_frames(tmp_path)
    with pytest.raises(FrameError, match="empty list of paths"):
        open_frames([])


@pytest.mark.parametrize("name", ["a.cxi", "a.h5", "a.npy", "a.npz", "a"])
def test_files_that_are_nothing(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"")
    with pytest.raises(FrameError, match=says(path, "empty file (0 bytes)")):
        open_frames(path)
    path.write_bytes(b"plain text, no frames" * 100)
    with pytest.raises(FrameError, match=says(path, "is not HDF5, .npy or .npz", "b'plain te'")):
        open_frames(path)


def test_truncated_files(tmp_path: Path, cxi: Path) -> None:
    np.save(tmp_path / "a.npy", FRAMES)
    np.savez(tmp_path / "a.npz", frames=FRAMES)
    for name, what in [("a.cxi", "HDF5"), ("a.npy", ".npy"), ("a.npz", ".npz")]:
        path = tmp_path / name
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(FrameError, match=says(path, f"not readable as {what}", "truncated")):
            open_frames(path)


def test_file_gone_or_changed_after_opening(tmp_path: Path, cxi: Path) -> None:
    opened = open_frames(cxi)
    write_cxi(cxi, FRAMES[:4], overwrite=True)
    with pytest.raises(FrameError, match=says(cxi, DATA, "changed since it was opened", "(10, 16, 12)", "(4, 16, 12)")):
        opened[0]
    cxi.unlink()
    with pytest.raises(FileNotFoundError, match=says(cxi)):
        opened[0]


def test_npy_that_shrinks_while_it_is_open(tmp_path: Path) -> None:
    """In a process of its own, because a map of the file would kill it with SIGBUS."""
    path = tmp_path / "a.npy"
    frames = np.random.default_rng(2).integers(0, 999, size=(100, 64, 48)).astype(np.uint16)
    np.save(path, frames)
    code = """
import os, sys
from cdifast.data import open_frames
frames = open_frames(sys.argv[1])
frames[:2]
os.truncate(sys.argv[1], 60 * 64 * 48 * 2)
frames[10:12]
frames[50:70]
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=False,
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    # The header takes a little of the room that 60 frames would have had.
    assert re.search(r"FrameError: .*a\.npy, data set 'array', frame 59: .*ends \d+ bytes too early", last), last


def test_npy_replaced_by_another(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, FRAMES)
    opened = open_frames(path)
    np.save(path, FRAMES[:, :8])
    with pytest.raises(FrameError, match=says(path, "changed since it was opened", "(10, 16, 12)", "(10, 8, 12)")):
        opened[0]


# --- which data set ---


def test_wrong_dataset_path_lists_what_is_there(tmp_path: Path) -> None:
    path = hdf5(tmp_path / "a.h5", run__frames=FRAMES, run__time=np.arange(10))
    with pytest.raises(
        FrameError,
        match=says(
            path,
            "data set 'run/frame'",
            "is not in the file",
            "Did you mean '/run/frames'?",
            "(10, 16, 12) uint16",
        ),
    ):
        open_frames(path, dataset="run/frame")
    with pytest.raises(FrameError, match=says(path, "data set 'run'", "is a group", "/run/frames")):
        open_frames(path, dataset="run")
    with h5py.File(path, "r+") as file:
        file["broken"] = h5py.SoftLink("/nowhere")
    with pytest.raises(FrameError, match=says(path, "data set 'broken'", "link that leads nowhere")):
        open_frames(path, dataset="broken")
    np.savez(tmp_path / "a.npz", frames=FRAMES)
    with pytest.raises(FrameError, match=says("a.npz", "data set 'image'", "holds frames (10, 16, 12) uint16")):
        open_frames(tmp_path / "a.npz", dataset="image")
    np.save(tmp_path / "a.npy", FRAMES)
    with pytest.raises(FrameError, match=says("a.npy", "one unnamed array", "'x'")):
        open_frames(tmp_path / "a.npy", dataset="x")


def test_ambiguous_or_no_dataset(tmp_path: Path) -> None:
    both = {"one": FRAMES, "two": FRAMES.astype("f4")}
    np.savez(tmp_path / "a.npz", **both)
    for path in (hdf5(tmp_path / "a.h5", **both), tmp_path / "a.npz"):
        with pytest.raises(
            FrameError, match=says(path, "dataset=", "one (10, 16, 12) uint16", "two (10, 16, 12) float32")
        ):
            open_frames(path)
    np.savez(tmp_path / "b.npz", x=np.arange(3))
    with pytest.raises(FrameError, match=says("b.npz", "no array can be frames", "x (3,) int64")):
        open_frames(tmp_path / "b.npz")
    with pytest.raises(FrameError, match=says("b.h5", "no numeric data set of two or three dimensions")):
        open_frames(hdf5(tmp_path / "b.h5", x=np.arange(3)))


def test_files_of_many_arrays_are_listed_in_part(tmp_path: Path) -> None:
    """As in CXIDB's entry-per-shot files: a message of hundreds of paths helps nobody."""
    many = {f"entry_{i:03}": FRAMES[:1, :2, :2] for i in range(300)}
    np.savez(tmp_path / "a.npz", **many)
    path = hdf5(tmp_path / "a.h5", **many)
    for problem, call in [
        (FrameError, lambda: open_frames(path)),
        (FrameError, lambda: open_frames(path, dataset="entry_x")),
        (FrameError, lambda: open_frames(tmp_path / "a.npz")),
        (FrameError, lambda: open_frames(tmp_path / "a.npz", dataset="entry_x")),
        (FrameError, lambda: open_frames(path, dataset="entry_000", mask=path)),
        (FrameError, lambda: open_frames(path, dataset="entry_000", mask=f"{tmp_path / 'a.npz'}:entry_x")),
    ]:
        with pytest.raises(problem, match=says("entry_019 (1, 2, 2) uint16 and 280 more")) as caught:
            call()
        assert "entry_020" not in str(caught.value)


@pytest.mark.parametrize(
    ("array", "what"),
    [
        (np.zeros((2, 3, 4, 5)), "(2, 3, 4, 5) float64; expected one frame (H, W) or a stack"),
        (np.zeros(5), "(5,) float64; expected one frame"),
        (np.zeros((2, 3, 4), complex), "complex128; expected integers or floating-point"),
        (np.zeros((2, 3, 4), bool), "bool; expected integers or floating-point"),
        (
            np.zeros((2, 3, 4), np.longdouble),
            "expected integers or floating-point numbers of at most 64 bits",
        ),
        (np.zeros((2, 3, 4), "S3"), "|S3; expected integers"),
        (np.zeros((0, 3, 4)), "(0, 3, 4) float64; expected at least one frame"),
        (np.zeros((2, 0, 4)), "(2, 0, 4) float64; expected at least one frame"),
    ],
    ids=["4-d", "1-d", "complex", "bool", "longdouble", "text", "no frames", "no pixels"],
)
def test_arrays_that_are_no_frames(tmp_path: Path, array: np.ndarray, what: str) -> None:
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", frames=array)
    hdf5(tmp_path / "a.h5", frames=array)
    with pytest.raises(FrameError, match=says("a.npy", what)):
        open_frames(tmp_path / "a.npy")
    with pytest.raises(FrameError, match=says("a.npz", "'frames'", what)):
        open_frames(tmp_path / "a.npz", dataset="frames")
    with pytest.raises(FrameError, match=says("a.h5", "frames'", what)):
        open_frames(tmp_path / "a.h5", dataset="frames")


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}, []], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", frames=np.array([{}, []], dtype=object))
    with pytest.raises(FrameError, match=says("a.npy", "Python objects")):
        open_frames(tmp_path / "a.npy")
    with pytest.raises(FrameError, match=says("a.npz", "object")):
        open_frames(tmp_path / "a.npz")


def test_stacking_other_shapes_or_types(tmp_path: Path, cxi: Path) -> None:
    for other in (FRAMES[:, :8], FRAMES.astype("i4")):
        path = tmp_path / "b.npy"
        np.save(path, other)
        found = f"found frames ({', '.join(map(str, other.shape[1:]))}) {other.dtype}; expected (16, 12) uint16"
        with pytest.raises(FrameError, match=says(path, found, cxi)):
            open_frames([cxi, path], mask=np.ones((16, 12), bool))


def test_virtual_source_missing(tmp_path: Path) -> None:
    layout = h5py.VirtualLayout((20, 16, 12), "u2")
    for i in range(2):
        hdf5(tmp_path / f"part{i}.h5", frames=FRAMES)
        layout[10 * i : 10 * i + 10] = h5py.VirtualSource(f"part{i}.h5", "frames", (10, 16, 12))
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_virtual_dataset("v", layout, fillvalue=0)
    opened = open_frames(tmp_path / "v.h5")
    hdf5(tmp_path / "part1.h5", other=FRAMES)
    with pytest.raises(FrameError, match=says(tmp_path / "v.h5", "/v", "part1.h5", "no data set 'frames'")):
        open_frames(tmp_path / "v.h5")
    (tmp_path / "part1.h5").unlink()
    with pytest.raises(FrameError, match=says(tmp_path / "v.h5", "/v", "'part1.h5' is missing")):
        open_frames(tmp_path / "v.h5")
    with pytest.raises(FrameError, match=says("'part1.h5' is missing")):
        opened[15]  # opened before it vanished: still not silently zero


def test_declared_but_never_written(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("frames", (10, 16, 12), "u2")
    with pytest.raises(FrameError, match=says("a.h5", "/frames", "created but never written")):
        open_frames(tmp_path / "a.h5")


def test_unknown_filter(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((1, 16, 12))
        properties.set_filter(299, h5py.h5z.FLAG_OPTIONAL)
        space, kind = h5py.h5s.create_simple((10, 16, 12)), h5py.h5t.NATIVE_UINT16
        data = h5py.h5d.create(file.id, b"frames", kind, space, properties)
        data.write_direct_chunk((0, 0, 0), FRAMES[0].tobytes())
    with pytest.raises(FrameError, match=says(path, "/frames", "filter 299", "pip install")):
        open_frames(path)


# --- which frame ---


def damage_chunk(path: Path, dataset: str, index: int) -> None:
    """Overwrite the middle of one chunk's compressed bytes."""
    with h5py.File(path) as file:
        chunk = next(c for i in range(1000) if (c := file[dataset].id.get_chunk_info(i)).chunk_offset[0] == index)
    with path.open("r+b") as raw:
        raw.seek(chunk.byte_offset + chunk.size // 2)
        raw.write(b"\xff" * 16)


def test_corrupted_chunk_names_file_dataset_and_frame(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("run/frames", data=FRAMES, chunks=(1, 16, 12), compression="gzip")
    damage_chunk(path, "run/frames", 6)
    opened = open_frames(path)
    np.testing.assert_array_equal(opened[:6], FRAMES[:6])
    for key in (6, slice(None), [2, 7, 6, 5], [6, 6]):
        with pytest.raises(FrameError, match=says(path, "data set '/run/frames'", "frame 6", "damaged")) as caught:
            opened[key]
        assert caught.value.index == 6


def test_corrupted_chunk_in_the_second_file_of_a_stack(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.h5" for i in range(2)]
    for path in paths:
        with h5py.File(path, "w") as file:
            file.create_dataset("frames", data=FRAMES, chunks=(1, 16, 12), compression="gzip")
    damage_chunk(paths[1], "frames", 3)
    with pytest.raises(FrameError, match=says(paths[1], "frame 3", "damaged")):
        open_frames(paths)[8:16]


def test_corrupted_npz_member(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    for frames in (FRAMES, np.tile(FRAMES, (9, 1, 1))):  # found when opening, and only when decoding
        np.savez(path, frames=frames)
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2] ^= 0xFF
        path.write_bytes(raw)
        with pytest.raises(FrameError, match=says(path, "data set 'frames'", "CRC")):
            open_frames(path)[0]


def test_error_crosses_to_the_parent_of_a_worker(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("frames", data=FRAMES, chunks=(1, 16, 12), compression="gzip")
    damage_chunk(path, "frames", 6)
    loader = torch.utils.data.DataLoader(open_frames(path), batch_size=4, num_workers=1)
    with pytest.raises(FrameError, match=says(path, "frame 6")):
        list(loader)


# --- masks, labels, energy ---


def test_masks_that_do_not_fit(tmp_path: Path, cxi: Path) -> None:
    cases = [
        (np.ones((12, 16), bool), "found a mask (12, 16) bool; the frames are (16, 12)"),
        (np.ones((10, 16, 12), bool), "a mask for each frame"),
        (np.ones((16, 12)), "float64; expected booleans"),
        (-np.ones((16, 12), int), "negative values"),
    ]
    np.save(tmp_path / "f.npy", FRAMES)
    for mask, what in cases:
        with pytest.raises(FrameError, match=says("the mask argument", what)):
            open_frames(cxi, mask=mask)
        np.save(tmp_path / "m.npy", mask)
        with pytest.raises(FrameError, match=says(tmp_path / "m.npy", what)):
            open_frames(cxi, mask=tmp_path / "m.npy")
        with h5py.File(cxi, "r+") as file:
            del file[MASK]
            file[MASK] = mask
        with pytest.raises(FrameError, match=says(cxi, MASK, what)):
            open_frames(cxi)
    open_frames(cxi, mask=np.ones((16, 12), bool))  # a given one takes the place of the file's bad one
    with pytest.raises(FileNotFoundError, match=says(tmp_path / "no.npy", "mask")):
        open_frames(cxi, mask=tmp_path / "no.npy")
    np.savez(tmp_path / "m.npz", a=np.ones((16, 12)), b=np.ones((16, 12)))
    with pytest.raises(FrameError, match=says("m.npz", "which array is the mask?", "a (16, 12)", "b (16, 12)")):
        open_frames(cxi, mask=tmp_path / "m.npz")


def test_stack_of_files_with_different_masks(tmp_path: Path, cxi: Path) -> None:
    other = write_cxi(tmp_path / "b.cxi", FRAMES)
    with pytest.raises(FrameError, match=says(other, "mask differs from that of", cxi, "mask=")):
        open_frames([cxi, other])


def test_labels_that_do_not_fit(tmp_path: Path, cxi: Path) -> None:
    wrong = LABEL_ROWS.copy()
    wrong[4, 9] = 2
    cases = [
        (LABEL_ROWS[:7], "found labels for 7 frames; there are 10 frames"),
        (LABEL_ROWS[:, :7], "found labels (10, 7) uint8; expected (N, 11)"),
        (LABEL_ROWS[0], "found labels (11,) uint8; expected (N, 11)"),
        (wrong, f"found 2 at frame 4, class '{CLASSES[9]}'; expected 0 or 1"),
        (np.full((10, 11), np.nan), "found nan at frame 0"),
    ]
    for labels, what in cases:
        with pytest.raises(FrameError, match=says("the labels argument", what)):
            open_frames(cxi, labels=labels)
        with h5py.File(cxi, "r+") as file:
            del file[LABELS]
            file[LABELS] = labels
        with pytest.raises(FrameError, match=says(cxi, LABELS, what)):
            open_frames(cxi)
    with h5py.File(cxi, "r+") as file:
        del file[LABELS]
        file[LABELS] = LABEL_ROWS
        file[LABELS].attrs["classes"] = list(CLASSES[::-1])
    with pytest.raises(FrameError, match=says(cxi, LABELS, "column 0 is 'Empty'; expected 'Spherical/Oblate'")):
        open_frames(cxi)


def test_energy_that_does_not_fit(cxi: Path) -> None:
    with h5py.File(cxi, "r+") as file:
        file[ENERGY].attrs["units"] = "furlong"
    with pytest.raises(FrameError, match=says(cxi, ENERGY, "furlong")):
        open_frames(cxi)
    with h5py.File(cxi, "r+") as file:
        del file[ENERGY]
        file[ENERGY] = np.ones(3)
    with pytest.raises(FrameError, match=says(cxi, ENERGY, "(3,)", "one photon energy or 10")):
        open_frames(cxi)


# --- finite pixels ---


def test_nan_is_refused_outside_the_mask_only(tmp_path: Path) -> None:
    frames = FRAMES.astype(np.float32)
    frames[7, 2, 3] = np.nan
    frames[7, 5, 5] = -np.inf
    frames[9, 2, 3] = np.inf
    path = write_cxi(tmp_path / "a.cxi", frames)
    opened = open_frames([path, path])
    check_finite(opened[0:7])
    check_finite(opened[9:10], np.isfinite(frames[9]))
    check_finite(FRAMES)
    with pytest.raises(
        FrameError, match=says(path, DATA, "frame 7", "2 pixels", "(2, 3)", "2 of the batch's 5 frames")
    ):
        check_finite(opened[15:20], first_index=15, source=opened)
    mask = np.ones((16, 12), bool)
    mask[2, 3] = False
    with pytest.raises(FrameError, match=says("frame 7", "1 pixels", "outside the mask", "(5, 5)")) as caught:
        check_finite(torch.from_numpy(opened[[9, 7]]), mask, np.array([9, 7]), opened)
    assert (caught.value.path, caught.value.index) == (path, 7)
    with pytest.raises(FrameError, match=says("the batch", "frame 17", "NaN or infinite")):
        check_finite(frames, first_index=10, source="the batch")
    mask[5, 5] = False
    check_finite(frames, mask)


# --- writing ---


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"images": FRAMES[0]}, "found images (16, 12) uint16; expected (N, H, W)"),
        ({"images": FRAMES[:0]}, "(0, 16, 12) uint16; expected a stack"),
        ({"images": FRAMES.astype(complex)}, "complex128; expected a stack"),
        ({"images": FRAMES > 4}, "bool; expected a stack"),
        ({"labels": LABEL_ROWS[:4]}, "labels for 4 frames; there are 10"),
        ({"labels": LABEL_ROWS * 3}, "expected 0 or 1"),
        ({"mask": np.ones((16, 11), bool)}, "found a mask (16, 11) bool; the frames are (16, 12)"),
        ({"energy": np.ones(4)}, "found energies (4,); expected one or 10"),
        ({"energy": [1e-18] * 4 + [np.nan] + [1e-18] * 5}, "energy: found nan at index 4"),
        ({"energy": -1.0}, "energy: found -1.0; expected a finite number of joules above 0"),
        ({"detector_distance": 0}, "detector_distance: found 0.0"),
        ({"pixel_size": (1e-6, np.inf)}, "pixel_size: found inf at index 1"),
    ],
)
def test_refused_writes_leave_nothing(tmp_path: Path, arguments: dict, what: str) -> None:
    with pytest.raises(FrameError, match=says(tmp_path / "a.cxi", what)):
        write_cxi(tmp_path / "a.cxi", **{"images": FRAMES, **arguments})
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written(tmp_path: Path, cxi: Path) -> None:
    before = cxi.read_bytes()
    with pytest.raises(FileExistsError, match=says(cxi, "overwrite=True")):
        write_cxi(cxi, FRAMES)
    assert cxi.read_bytes() == before
    with pytest.raises(FileNotFoundError, match=says(tmp_path / "no" / "a.cxi", "directory does not exist")):
        write_cxi(tmp_path / "no" / "a.cxi", FRAMES)
    with pytest.raises(FrameError, match=says(tmp_path, "is a directory")):
        write_cxi(tmp_path, FRAMES, overwrite=True)
    assert list(tmp_path.iterdir()) == [cxi]


def test_failure_in_mid_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: CxiWriter, *args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CxiWriter, "write", full)
    with pytest.raises(OSError, match="No space left"):
        write_cxi(tmp_path / "a.cxi", FRAMES)
    assert list(tmp_path.iterdir()) == []


def test_writer_wants_what_was_declared(tmp_path: Path) -> None:
    with CxiWriter(tmp_path / "a.cxi", FRAMES.shape, "uint16", labels=True) as writer:
        with pytest.raises(FrameError, match=says("a.cxi", "frame 0", "labels missing: this file has labels")):
            writer.write(0, FRAMES)
        with pytest.raises(FrameError, match="energy given: this file has no energy"):
            writer.write(0, FRAMES, labels=LABEL_ROWS, energy=np.ones(10))
        with pytest.raises(ValueError, match=says("images", "float64", "expected (10, 16, 12) uint16")):
            writer.write(0, FRAMES.astype(float), labels=LABEL_ROWS)
        writer.discard()
    assert list(tmp_path.iterdir()) == []


# --- without the optional packages ---


def test_importing_needs_numpy_alone() -> None:
    code = "import sys, cdifast.data; print(sorted({'h5py', 'hdf5plugin', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    search = os.pathsep.join(filter(None, sys.path))
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": search},
        capture_output=True,
        text=True,
    )
    assert run.stdout.strip() == "[]", run.stderr


def test_missing_extras_are_named(tmp_path: Path, cxi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "a.npy", FRAMES)
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    with pytest.raises(ImportError, match=says("hdf5plugin", "pip install 'cdifast[data]'")):
        write_cxi(tmp_path / "b.cxi", FRAMES, compression="bitshuffle-lz4")
    np.testing.assert_array_equal(open_frames(cxi)[0], FRAMES[0])
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=says("h5py", "pip install 'cdifast[data]'")):
        open_frames(cxi)
    with pytest.raises(ImportError, match=says("h5py", "pip install 'cdifast[data]'")):
        write_cxi(tmp_path / "b.cxi", FRAMES)
    np.testing.assert_array_equal(open_frames(tmp_path / "a.npy")[0], FRAMES[0])
    assert not (tmp_path / "b.cxi.partial").exists()


# --- chance damage ---


@pytest.mark.filterwarnings("ignore:invalid escape sequence")  # Python's, over a mutated header
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_mutated_numpy_files(tmp_path: Path, suffix: str) -> None:
    source = tmp_path / f"a.{suffix}"
    if suffix == "npy":
        np.save(source, FRAMES[:2, :4, :4])
    else:
        np.savez_compressed(source, frames=FRAMES[:2, :4, :4], good=np.ones((4, 4), bool))
    whole = source.read_bytes()
    rng = np.random.default_rng(6)
    path = tmp_path / f"mutated.{suffix}"
    for trial in range(300):
        raw = bytearray(whole)
        if trial % 3 == 0:
            raw = raw[: rng.integers(1, len(raw))]
        else:
            for position in rng.integers(0, min(len(raw), 400), size=rng.integers(1, 6)):
                raw[position] = rng.integers(256)
        path.write_bytes(raw)
        try:
            opened = open_frames(path)
            if np.prod(opened.shape, dtype=float) < 1e6:
                assert opened[:].shape == opened.shape
        except FrameError:
            pass
