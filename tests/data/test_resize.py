"""Filters of the resize against torch's, in float64 and by counting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from cdifast.data.prepare import InputPreparation, prepare_batch
from cdifast.data.resize import Resizer, filter_matrix


@pytest.mark.parametrize("kind", ["box", "triangle"])
@pytest.mark.parametrize(("height", "width", "size"), [(512, 512, 224), (40, 33, 7), (31, 64, 64), (10, 10, 35)])
def test_blocks_equal_the_whole_matrices(kind: str, height: int, width: int, size: int) -> None:
    frames = torch.randint(0, 4000, (5, height, width)).to(torch.uint16)
    side = max(height, width)
    rows, columns = (filter_matrix(length, size, side, kind).double() for length in (height, width))  # type: ignore[arg-type]
    expected = rows @ frames.double() @ columns.T
    resizer = Resizer(height, width, size, kind)  # type: ignore[arg-type]
    for _ in range(2):  # its buffers hold what was there before
        torch.testing.assert_close(resizer(frames).double(), expected, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(resizer(frames[:2]), resizer(frames)[:2], rtol=1e-6, atol=0)


@pytest.mark.parametrize(("side", "size"), [(512, 224), (64, 28), (100, 99), (20, 64)])
def test_triangle_is_torchs_antialiased_interpolation(side: int, size: int) -> None:
    """Inside; at the border torch leaves out the taps beyond, DALI and ours repeat the border pixel."""
    frames = torch.rand(3, side, side)
    found = Resizer(side, side, size, "triangle")(frames)
    frames = frames.double()  # torch computes the places of its taps in the frames' type
    expected = functional.interpolate(frames[:, None], size=(size, size), mode="bilinear", antialias=True)[:, 0].float()
    inner = slice(2, -2)
    torch.testing.assert_close(found[:, inner, inner], expected[:, inner, inner], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        Resizer(side, side, size, "triangle")(torch.ones(1, side, side)), torch.ones(1, size, size)
    )
    repeated = functional.pad(frames[:, None], (side,) * 4, mode="replicate")
    whole = functional.interpolate(repeated, size=(3 * size, 3 * size), mode="bilinear", antialias=True)
    torch.testing.assert_close(found, whole[:, 0, size : 2 * size, size : 2 * size].float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["box", "triangle"])
@pytest.mark.parametrize("shape", [(40, 40), (40, 31), (30, 41)])
def test_a_flat_frame_stays_flat_under_any_mask(kind: str, shape: tuple[int, int]) -> None:
    mask = np.random.default_rng(0).random(shape) > 0.4
    frames = np.full((2, *shape), 7.0, np.float32)
    frames[:, ~mask] = np.nan
    images = prepare_batch(frames, mask, InputPreparation(13, "none", filter=kind))  # type: ignore[arg-type]
    assert 0 < (images == 7).float().mean() <= 1
    torch.testing.assert_close(images[images != 0], torch.full_like(images[images != 0], 7.0))


def test_minmax_scales_the_valid_pixels() -> None:
    frames = np.random.default_rng(0).normal(5, 2, (3, 24, 24))
    mask = np.ones((24, 24), bool)
    mask[:6, :6] = False
    frames[:, :6, :6] = 1e9
    images = prepare_batch(frames, mask, InputPreparation(8, "minmax"))[:, 0]
    plain = prepare_batch(frames, mask, InputPreparation(8, "none"))[:, 0]
    valid = torch.ones(8, 8, dtype=torch.bool)
    valid[:2, :2] = False
    for image, values in zip(images, plain, strict=True):
        expected = (values[valid] - values[valid].min()) / (values[valid].max() - values[valid].min())
        torch.testing.assert_close(image[valid], expected)
        assert image[valid].min() == 0
        assert image[valid].max() == pytest.approx(1)
        assert torch.count_nonzero(image[~valid]) == 0
    assert torch.count_nonzero(prepare_batch(np.full((1, 8, 8), 3), None, InputPreparation(8, "minmax"))) == 0


def test_nan_in_any_good_pixel_is_found() -> None:
    """Whatever the place: the check is made on the small image."""
    for kind in ("box", "triangle"):
        for y, x in [(0, 0), (0, 40), (46, 13), (63, 63), (31, 32)]:
            for value in (np.nan, np.inf, -np.inf):
                for scaling in ("none", "mean", "minmax"):
                    frames = np.ones((3, 64, 64), np.float32)
                    frames[1, y, x] = value
                    preparation = InputPreparation(9, scaling, filter=kind)  # type: ignore[arg-type]
                    with pytest.raises(ValueError, match=rf"frame 1: 1 pixels.*\({y}, {x}\)"):
                        prepare_batch(frames, None, preparation)
    # Large finite values are not taken for infinite ones.
    assert torch.isfinite(prepare_batch(np.full((1, 8, 8), 1e37, np.float32), None, InputPreparation(4, "none"))).all()


def test_the_filter_is_part_of_the_description() -> None:
    with pytest.raises(ValueError, match="filter: found 'cubic'"):
        InputPreparation(filter="cubic")  # type: ignore[arg-type]
    # A card written before there was a choice.
    old = {"size": 8, "scaling": "mean", "level": 10.0, "min_weight": 0.5}
    assert InputPreparation.from_dict(old).filter == "box"
