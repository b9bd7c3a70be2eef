"""Prepared images with their valid pixels, and where a point of a frame lies in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cdifast.data import InputPreparation, open_frames, prepare_frames, write_cxi
from cdifast.data.prepare import Preparer
from cdifast.data.prepared import prepare_with_masks, prepared_center, prepared_centers
from tests.data.layouts import modules


def test_images_and_valid_pixels_under_one_mask(tmp_path: Path) -> None:
    images = np.random.default_rng(0).poisson(5.0, (7, 33, 20)).astype(np.float32)
    good = np.ones((33, 20), bool)
    good[10:20, 5:15] = False
    images[:, ~good] = np.nan
    how = InputPreparation(size=12)
    with open_frames(write_cxi(tmp_path / "run.cxi", images, mask=good)) as frames:
        done: list[int] = []
        found, valid = prepare_with_masks(frames, how, chunk=3, progress=done.append)
        assert torch.equal(found, prepare_frames(frames, frames.mask, how))
    assert done == [3, 6, 7]
    assert valid is not None
    assert torch.equal(valid, Preparer((33, 20), good, how).valid[0])
    assert (found[:, 0, ~valid] == 0).all()
    np.save(tmp_path / "whole.npy", np.ones((2, 9, 9)))
    with open_frames(tmp_path / "whole.npy") as frames:
        assert prepare_with_masks(frames, how)[1] is None


def test_frames_with_masks_of_their_own(tmp_path: Path) -> None:
    how = InputPreparation(size=12)
    with open_frames(modules(tmp_path, size=(6, 24)).paths) as frames:
        assert frames.masks_differ
        found, valid = prepare_with_masks(frames, how, chunk=2)
        masks = frames.read_mask(slice(None))
        assert torch.equal(found, prepare_frames(frames, None, how))
        some, their_valid = prepare_with_masks(frames, how, np.array([2, 0]), chunk=1)
    assert valid is not None
    assert their_valid is not None
    assert torch.equal(some, found[[2, 0]])
    assert torch.equal(their_valid, valid[[2, 0]])
    for mask, each in zip(masks, valid, strict=True):
        assert torch.equal(each, Preparer(mask.shape, mask, how).valid[0])


@pytest.mark.parametrize(("shape", "size"), [((40, 40), 10), ((40, 28), 10), ((31, 40), 20), ((20, 20), 40)])
def test_center_is_where_a_spot_goes(shape: tuple[int, int], size: int) -> None:
    """The centre of mass of a round spot before and after preparation."""
    y, x = np.indices(shape)
    place = (0.45 * shape[0], 0.55 * shape[1])
    spot = np.exp(-((y - place[0]) ** 2 + (x - place[1]) ** 2) / 2 / max(1.2, 0.75 * max(shape) / size) ** 2)
    preparer = Preparer(shape, None, InputPreparation(size=size, scaling="none"))
    image = preparer(torch.from_numpy(spot[None]).float())[0, 0]
    rows, columns = torch.arange(size), torch.arange(size)
    found = ((image.sum(1) * rows).sum() / image.sum()).item(), ((image.sum(0) * columns).sum() / image.sum()).item()
    assert found == pytest.approx(prepared_center(place, shape, size), abs=0.02)


def test_centers_of_frames_and_what_stands_in_for_those_without() -> None:
    centers = np.array([[12.0, 20.5], [np.nan, np.nan], [30.0, 7.0]])
    found = prepared_centers(centers, (40, 28), 10)
    for place, row in zip([(12.0, 20.5), (19.5, 13.5), (30.0, 7.0)], found.tolist(), strict=True):
        assert row == pytest.approx(prepared_center(place, (40, 28), 10))
    assert prepared_centers(centers, (40, 28), 10, (1.0, 2.0))[1].tolist() == pytest.approx(
        prepared_center((1.0, 2.0), (40, 28), 10)
    )
