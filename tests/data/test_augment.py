"""Augmentation against its closed form, scipy's resampling and the distributions it is drawn from."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from scipy import ndimage, stats
from torch.nn import functional

from cdifast.data.augment import DRAWS, P1, P2, Augmentation, Changes
from cdifast.data.augment_torch import apply_changes
from cdifast.data.draws import frame_uniforms


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_flips_are_independent_and_fair() -> None:
    image = torch.arange(6.0).reshape(1, 1, 2, 3)
    count = 4000
    flipped = Augmentation(brightness=0, contrast=0)(image.expand(count, -1, -1, -1), generator())
    variants = [image, image.flip(-1), image.flip(-2), image.flip(-1, -2)]
    frequencies = [(flipped == variant).all(dim=(1, 2, 3)).double().mean().item() for variant in variants]
    # Four standard deviations of the binomial distribution with p = 1/4.
    assert sum(frequencies) == 1
    assert frequencies == pytest.approx([0.25] * 4, abs=4 * math.sqrt(0.25 * 0.75 / count))


def test_brightness_and_contrast_act_on_the_logarithm() -> None:
    torch.manual_seed(0)
    images = torch.exp(3 * torch.randn(200, 1, 5, 5, dtype=torch.float64))
    augmentation = Augmentation(0, 0, brightness=0.3, contrast=0.1)
    changed = augmentation(images, generator())
    pivot = images.mean(dim=(1, 2, 3)).log()
    # log y = log m + b + exp(c) (log x - log m): solve for b and c from two pixels, check all others.
    before = images.log().flatten(1) - pivot[:, None]
    after = changed.log().flatten(1) - pivot[:, None]
    slope = (after[:, 1] - after[:, 0]) / (before[:, 1] - before[:, 0])
    shift = after[:, 0] - slope * before[:, 0]
    torch.testing.assert_close(after, slope[:, None] * before + shift[:, None])
    for values, limit in ((shift, 0.3), (slope.log(), 0.1)):
        assert values.abs().max() <= limit + 1e-9
        assert values.abs().max() > 0.95 * limit
        assert values.mean().abs() < 4 * limit / math.sqrt(3 * len(values))


def test_zeros_signs_and_scale() -> None:
    torch.manual_seed(0)
    images = torch.randn(8, 1, 6, 6)
    images[:, :, 2:4] = 0
    images[3] = 0
    augmentation = Augmentation(0, 0)
    changed = augmentation(images, generator(1))
    assert torch.equal(changed.sign(), images.sign())
    # Brighter by a factor before is brighter by that factor after.
    torch.testing.assert_close(augmentation(7 * images, generator(1)), 7 * changed)


def test_same_generator_same_result() -> None:
    images = torch.rand(16, 1, 8, 8)
    first, second, other = (Augmentation()(images, generator(seed)) for seed in (5, 5, 6))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert first.dtype == torch.float32


def test_nothing_to_do_changes_nothing() -> None:
    images = torch.randn(4, 2, 3, 3)
    assert torch.equal(Augmentation(0, 0, 0, 0)(images, generator()), images)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match=r"horizontal_flip: found 1.5"):
        Augmentation(horizontal_flip=1.5)
    with pytest.raises(ValueError, match=r"contrast: found -0.1"):
        Augmentation(contrast=-0.1)
    with pytest.raises(ValueError, match=r"found shape \(2, 3, 3\)"):
        Augmentation()(torch.rand(2, 3, 3), generator())
    with pytest.raises(TypeError, match=r"found dtype torch.int32"):
        Augmentation()(torch.ones(2, 1, 3, 3, dtype=torch.int32), generator())


def changes_of(augmentation: Augmentation, size: tuple[int, int], **draws: float) -> Changes:
    """Changes of one image from chosen numbers: ``u5=1.0`` sets the sixth; the others are 0.5."""
    uniforms = np.full((1, DRAWS), 0.5)
    for name, value in draws.items():
        uniforms[0, int(name[1:])] = value
    return augmentation.changes(uniforms, *size)


STILL = {"horizontal_flip": 0.0, "vertical_flip": 0.0, "brightness": 0.0, "contrast": 0.0}


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_rotation_is_counter_clockwise_about_the_centre(flip: float) -> None:
    augmentation = Augmentation(**{**STILL, "horizontal_flip": flip}, rotation=90)
    images = torch.rand(1, 2, 9, 9, dtype=torch.float64)
    turned, valid = apply_changes(images, augmentation, changes_of(augmentation, (9, 9), u5=1.0))
    expected = images.flip(-1) if flip else images
    torch.testing.assert_close(turned, torch.rot90(expected, dims=(-2, -1)))
    assert valid is not None
    assert valid.all()


def test_resampling_equals_scipy_in_one_step() -> None:
    """All four changes of geometry at once, on an image that is not square, against scipy in float64."""
    augmentation = Augmentation(1.0, 0.5, 0.0, 0.0, rotation=40, crop_area=0.3, translation=0.2)
    images = torch.rand(40, 1, 24, 31, dtype=torch.float64)
    good = torch.rand(1, 1, 24, 31) > 0.2
    images = images * good
    changes = augmentation.changes(frame_uniforms(np.arange(40), DRAWS, seed=1), 24, 31)
    found, valid = apply_changes(images, augmentation, changes, good)
    assert valid is not None
    for number in range(40):
        matrix = changes.matrix[number, ::-1][:, [1, 0, 2]]  # (y, x), as scipy has it

        def resampled(image: np.ndarray, matrix: np.ndarray = matrix) -> np.ndarray:
            # One more row of zeros on each side: beyond the edge scipy would otherwise not interpolate with 0.
            padded = np.pad(image, 1)
            offset = matrix[:, 2] + 1
            return ndimage.affine_transform(padded, matrix[:, :2], offset, (24, 31), order=1, mode="constant")

        weight = resampled(good[0, 0].numpy().astype(float))
        expected = np.where(weight >= 0.5, resampled(images[number, 0].numpy()) / np.maximum(weight, 0.5), 0)
        inside = np.ones((24, 31), bool)
        for top, left, height, width in changes.regions[number]:
            inside[top : top + height, left : left + width] = False
        sure = np.abs(weight - 0.5) > 1e-6
        np.testing.assert_allclose(found[number, 0].numpy()[sure], (expected * inside)[sure], atol=1e-9)
        np.testing.assert_array_equal(valid[number, 0].numpy()[sure], ((weight >= 0.5) & inside)[sure])


def test_one_resampling_equals_the_steps_where_these_are_exact() -> None:
    """Quarter turns, a crop by half, whole shifts: each by indexing."""
    augmentation = Augmentation(1.0, 0.0, 0.0, 0.0, rotation=90, crop_area=0.25, translation=0.25)
    size = 16
    images = torch.rand(1, 1, size, size, dtype=torch.float64)
    # Turned by -90 degrees, the crop's upper left corner at (8, 0), moved 4 down and 2 to the left.
    draws = {"u5": 0.0, "u7": 0.0, "u8": 1.0, "u9": 0.0, "u17": 1.0, "u18": 0.25}
    found, valid = apply_changes(images, augmentation, changes_of(augmentation, (size, size), **draws))
    turned = torch.rot90(images.flip(-1), k=-1, dims=(-2, -1))
    # Magnified twice; the neighbours beyond the crop's border are still the image's.
    magnified = functional.interpolate(turned, scale_factor=2, mode="bilinear")[..., 16:32, 0:16]
    expected = torch.zeros_like(images)
    expected[..., 4:, :-2] = magnified[..., :-4, 2:]
    # Interpolate repeats its border pixels; there ours is a mean of the pixels that exist, which is the same.
    torch.testing.assert_close(found, expected)
    assert valid is not None
    torch.testing.assert_close(valid, expected > 0)


def test_bad_pixels_and_borders_leave_no_trace_in_the_interpolation() -> None:
    images = torch.full((64, 1, 32, 32), 3.0)
    good = torch.rand(1, 1, 32, 32) > 0.25
    images = images * good
    augmentation = Augmentation(0.5, 0.5, 0.0, 0.0, rotation=180, crop_area=0.2, translation=0.3)
    changes = augmentation.changes(frame_uniforms(np.arange(64), DRAWS, seed=0), 32, 32)
    found, valid = apply_changes(images, augmentation, changes, good)
    assert valid is not None
    assert 0.2 < valid.float().mean() < 0.9
    torch.testing.assert_close(found[valid], torch.full_like(found[valid], 3.0))
    assert torch.count_nonzero(found[~valid]) == 0


def test_linear_jitter_is_p2s() -> None:
    augmentation = Augmentation(0, 0, brightness=0.2, contrast=0.5, jitter="linear")
    images = torch.tensor([[0.0, 0.3], [0.9, 1.0]]).reshape(1, 1, 2, 2)
    found, valid = apply_changes(images, augmentation, changes_of(augmentation, (2, 2), u2=1.0, u3=0.75))
    torch.testing.assert_close(found, (images * (1 + 0.25 + 0.2)).clamp(0, 1))
    assert valid is None
    negative = apply_changes(-images, augmentation, changes_of(augmentation, (2, 2)))[0]
    assert torch.count_nonzero(negative) == 0


def test_distributions_of_p2() -> None:
    """Each change of half the images, its size uniform as P2 has it."""
    count, size = 4000, 200
    uniforms = frame_uniforms(np.arange(count), DRAWS, seed=3)
    changes = P2.changes(uniforms, size, size)
    share = 4 * 0.5 / math.sqrt(count)
    zoom = np.sqrt(np.abs(np.linalg.det(changes.matrix[:, :, :2])))
    cropped = zoom < 1 - 1e-9
    assert cropped.mean() == pytest.approx(0.5, abs=share)
    assert stats.kstest(zoom[cropped] ** 2, "uniform", (0.2, 0.8)).pvalue > 1e-3
    # Without the flip: the first row of the matrix, mirrored.
    mirror = np.where(changes.flips[:, 1], -1, 1)
    angle = np.degrees(np.arctan2(changes.matrix[:, 1, 0], changes.matrix[:, 0, 0] * mirror))
    turned = angle != 0
    assert turned.mean() == pytest.approx(0.5, abs=share)
    assert stats.kstest(angle[turned], "uniform", (-90, 180)).pvalue > 1e-3
    assert changes.flips.mean(axis=0) == pytest.approx([0, 0.5], abs=share)
    bright = changes.gain != 1
    assert bright.mean() == pytest.approx(0.5, abs=share)
    assert changes.gain[bright].var() == pytest.approx((0.5**2 + 0.2**2) / 3, rel=0.1)
    assert np.abs(changes.gain[bright] - 1).max() <= 0.7
    np.testing.assert_array_equal(changes.high == 1, bright)
    shifted = changes.regions[:, 1:].any(axis=(1, 2))
    assert shifted.mean() == pytest.approx(0.5, abs=share)
    down, right = changes.regions[shifted, 1, 2], changes.regions[shifted, 2, 3]
    for shift in (down, right):
        assert shift.max() == 25
        assert shift.mean() == pytest.approx(12.5, rel=0.05)
    still = ~shifted
    areas = changes.regions[still, 0, 2] * changes.regions[still, 0, 3] / size**2
    erased = areas > 0
    assert erased.mean() == pytest.approx(0.5, abs=share)
    assert areas[erased].min() == pytest.approx(0.05, abs=0.003)
    assert areas[erased].max() == pytest.approx(0.3, abs=0.003)
    top, left, height, width = changes.regions[still, 0][erased].T
    assert (top + height).max() == (left + width).max() == size
    ratio = np.log(height / width)
    # But where a side was cut to the image.
    whole = width < size
    assert ratio[whole].min() == pytest.approx(math.log(0.25), abs=0.1)
    assert ratio[whole].max() == pytest.approx(math.log(2.5), abs=0.1)
    assert stats.pearsonr(top / (size - height + 1), left / (size - width + 1)).statistic == pytest.approx(0, abs=0.15)


def test_the_erased_rectangle_moves_with_the_image() -> None:
    augmentation = Augmentation(**STILL, erase_area=(0.25, 0.25), erase_aspect=(1, 1), translation=0.5)
    images = torch.arange(1.0, 65).reshape(1, 1, 8, 8)
    here = changes_of(augmentation, (8, 8), u14=0.5, u15=0.0)  # rows 2 to 5, columns 0 to 3
    moved = changes_of(augmentation, (8, 8), u14=0.5, u15=0.0, u17=0.25, u18=0.75)  # 2 up, 2 to the right
    first = apply_changes(images, augmentation, here)[0]
    assert torch.count_nonzero(first == 0) == 16
    assert torch.count_nonzero(first[..., 2:6, 0:4]) == 0
    expected = torch.zeros_like(images)
    expected[..., :6, 2:] = first[..., 2:, :6]
    torch.testing.assert_close(apply_changes(images, augmentation, moved)[0], expected)


def test_one_generator_gives_all_changes_and_the_first_four_alone() -> None:
    """Switching rotation on does not change who is flipped, how bright; a run with P1's keeps its random numbers."""
    images = torch.rand(50, 1, 16, 16)
    first, again = (P2(images, generator(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert first.shape == images.shape
    assert not torch.equal(first, P2(images, generator(4)))
    more = Augmentation(0.5, 0.5, 0.3, 0.1, translation=1e-9)  # resamples by nothing
    torch.testing.assert_close(more(images, generator(5)), P1(images, generator(5)), rtol=1e-4, atol=1e-5)


def test_description_round_trip() -> None:
    for augmentation in (P1, P2, Augmentation(0, 1, 0, 0, rotation=10)):
        assert Augmentation.from_dict(json.loads(json.dumps(augmentation.to_dict()))) == augmentation
    # What a checkpoint of a run with P1's says, written before there was more than that.
    assert P1.to_dict() == {"horizontal_flip": 0.5, "vertical_flip": 0.5, "brightness": 0.3, "contrast": 0.1}
    with pytest.raises(ValueError, match="unknown entries blur"):
        Augmentation.from_dict({"blur": 1})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rotation": -1}, "rotation: found -1"),
        ({"rotation": math.nan}, "rotation: found nan"),
        ({"crop_area": 0}, "crop_area: found 0"),
        ({"erase_area": (0.3, 0.1)}, "erase_area: found"),
        ({"erase_area": (0.3, 1.1)}, "at most 1"),
        ({"erase_aspect": (0, 1)}, "erase_aspect: found"),
        ({"translation": 1.5}, "translation: found 1.5"),
        ({"probability": 2}, "probability: found 2"),
        ({"jitter": "gamma"}, "jitter: found 'gamma'"),
    ],
)
def test_more_bad_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation(**arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="found 4 numbers an image, expected 19"):
        P2.changes(np.full((1, 4), 0.5), 8, 8)
