"""Augmentation against its closed form and the binomial distribution."""

from __future__ import annotations

import math

import pytest
import torch

from cdifast.data.augment import Augmentation


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
