"""Chosen frames behave as a stack of their own."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from cdifast.data import FrameError, Frames, InputPreparation, open_frames, prepare_frames, write_cxi
from cdifast.data.selection import SelectedFrames
from cdifast.jobs import MapSettings, write_maps
from tests.data.layouts import modules

SMALL = MapSettings(n_radial=6, n_angular=24, order=2)


@pytest.fixture
def stack(tmp_path: Path) -> Frames:
    """Two files of six and four frames, the value of a frame its place in the stack."""
    values = np.arange(10, dtype=np.float32)[:, None, None] * np.ones((1, 20, 20), np.float32)
    labels = np.eye(11, dtype=np.uint8)[:10]
    first = write_cxi(tmp_path / "a.cxi", values[:6], labels=labels[:6])
    second = write_cxi(tmp_path / "b.cxi", values[6:], labels=labels[6:])
    return open_frames([first, second])


@pytest.mark.parametrize("indices", [[7, 1, 5], slice(2, 9, 3), np.arange(10) % 4 == 1, [-1]])
def test_frames_events_and_labels_are_those_chosen(stack: Frames, indices: object) -> None:
    rows = np.arange(10)[indices]
    chosen = SelectedFrames(stack, indices)  # type: ignore[arg-type]
    assert len(chosen) == len(rows) == chosen.shape[0]
    assert np.array_equal(chosen[:][:, 0, 0], rows)
    assert chosen[-1][0, 0] == rows[-1]
    assert np.array_equal(chosen.read([0, 0])[:, 0, 0], rows[[0, 0]])
    assert np.array_equal(chosen.events, stack.events[rows])
    assert np.array_equal(chosen.labels, stack.labels[rows])
    assert np.array_equal(chosen.chunks, stack.chunks[rows])
    assert chosen.locate(0) == stack.locate(rows[0])
    with pytest.raises(IndexError, match=f"there are {len(rows)} frames"):
        chosen[len(rows)]
    again = SelectedFrames(chosen, [0])
    assert again[0][0, 0] == rows[0]
    assert np.array_equal(again.events, stack.events[rows[:1]])


def test_own_masks_follow(tmp_path: Path) -> None:
    with open_frames(modules(tmp_path, size=(6, 24)).paths) as frames:
        assert frames.masks_differ
        rows = [len(frames) - 1, 0]
        assert np.array_equal(SelectedFrames(frames, rows).read_mask(slice(None)), frames.read_mask(rows))


def test_nothing_and_the_same_frame_twice_are_refused(stack: Frames) -> None:
    with pytest.raises(ValueError, match="indices: found none, expected at least one of the 10 frames"):
        SelectedFrames(stack, [])
    with pytest.raises(ValueError, match="indices: found frame 3 more than once"):
        SelectedFrames(stack, [1, 3, -7])
    with pytest.raises(IndexError, match="frame 10 is out of range"):
        SelectedFrames(stack, [10])


def test_a_job_takes_them_and_tells_them_from_others(stack: Frames, tmp_path: Path) -> None:
    path = write_maps(SelectedFrames(stack, [8, 2]), tmp_path / "maps.h5", SMALL)
    with h5py.File(path) as file:
        assert file["/entry_1/events/file"][:].tolist() == [1, 0]
        assert file["/entry_1/events/index"][:].tolist() == [2, 2]
        assert b"2 of 10 frames chosen" in file["/entry_1/events"].attrs["why"]
    (tmp_path / "maps.h5").rename(tmp_path / "maps.h5.partial")
    with pytest.raises(FrameError, match="frames: '2 chosen"):
        write_maps(SelectedFrames(stack, [8, 3]), tmp_path / "maps.h5", SMALL)


def test_they_are_prepared_as_the_whole_stack_is_and_named_by_their_place(tmp_path: Path) -> None:
    images = np.random.default_rng(0).poisson(4.0, (9, 20, 24)).astype(np.float32)
    images[6, 3, 5] = np.nan
    preparation = InputPreparation(size=8)
    with open_frames(write_cxi(tmp_path / "a.cxi", images)) as frames:
        found = prepare_frames(SelectedFrames(frames, [7, 0, 3]), frames.mask, preparation, chunk=2)
        assert torch.equal(found, prepare_frames(images[[7, 0, 3]], None, preparation))
        with pytest.raises(FrameError, match=r"a\.cxi.*frame 6"):
            prepare_frames(SelectedFrames(frames, [1, 6]), frames.mask, preparation)
