"""Further exposures: Poisson in mean and variance, and each image's own whatever the others."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from cdifast.data.exposure import exposures
from cdifast.data.view_recipe import VIEW_PRESETS, ViewRecipe
from cdifast.data.views import PairViews


def test_mean_and_variance_are_poissons() -> None:
    """A flat image of level 10 exposed with n photons a pixel: mean 10, variance 10^2 / n."""
    count, photons = 64, torch.tensor([0.25, 4.0]).repeat(32)
    found = exposures(torch.full((count, 1, 40, 40), 10.0), photons, torch.arange(count))
    for n in (0.25, 4.0):
        some = found[photons == n]
        pixels = some.numel()
        spread = 10 / math.sqrt(n)
        assert some.mean().item() == pytest.approx(10, abs=4 * spread / math.sqrt(pixels))
        # The variance of a sample variance of Poisson counts: (2 + 1/n) of the variance squared, over the pixels.
        assert some.var().item() == pytest.approx(spread**2, rel=4 * math.sqrt((2 + 1 / n) / pixels))
        assert torch.allclose(some / (10 / n), (some / (10 / n)).round(), atol=1e-4)  # whole photons


def test_bright_pixels_get_their_share_and_bad_ones_do_not_count() -> None:
    image = torch.zeros(1, 1, 2, 2)
    image[0, 0] = torch.tensor([[3.0, 1.0], [0.0, -2.0]])
    good = torch.tensor([[True, True], [False, False]])[None, None]
    found = exposures(image.expand(4000, -1, -1, -1), torch.full((4000,), 8.0), torch.arange(4000), good)
    mean = found.mean(0)[0]
    assert mean[0, 0].item() == pytest.approx(3, abs=0.06)  # standard error of 12 photons: 3 / sqrt(12 * 4000)
    assert mean[0, 1].item() == pytest.approx(1, abs=0.04)
    assert mean[1].tolist() == [0, 0]
    gain = 2 / 8
    assert torch.equal((found / gain).round() * gain, found)


def test_each_image_has_its_own_numbers() -> None:
    images, seeds = torch.rand(5, 1, 8, 8), torch.arange(5) + 7
    photons = torch.tensor([2.0, math.inf, 3.0, 0.5, math.inf])
    found = exposures(images, photons, seeds)
    assert torch.equal(found[[1, 4]], images[[1, 4]])
    assert torch.equal(exposures(images[2:4], photons[2:4], seeds[2:4]), found[2:4])
    assert torch.equal(exposures(torch.zeros(1, 1, 4, 4), torch.ones(1), seeds[:1]), torch.zeros(1, 1, 4, 4))


def test_views_are_exposed_half_of_the_time_each_on_its_own() -> None:
    """Of many shots, each view is exposed anew with probability 1/2; ranks make the views of one process."""
    recipe = dataclasses.replace(
        VIEW_PRESETS["counts"].with_mode("detector-detector"), augmentation=None, photons=(0.5, 5)
    )
    views, count = PairViews(recipe, 12), 400
    images, shots = torch.rand(count, 1, 12, 12) + 0.5, torch.arange(count)
    pair = views.pair(images, shots, torch.Generator().manual_seed(1))
    changed = torch.stack([(view != images).flatten(1).any(1) for view in pair])
    assert changed.float().mean().item() == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(2 * count))
    both = changed.all(0)
    assert both.float().mean().item() == pytest.approx(0.25, abs=4 * math.sqrt(0.1875 / count))
    assert not torch.equal(pair[0][both], pair[1][both])
    part = views.pair(images[100:130], shots, torch.Generator().manual_seed(1), rows=slice(100, 130))
    for view, whole in zip(part, pair, strict=True):
        assert torch.equal(view, whole[100:130])


def test_recipes_with_and_without() -> None:
    recipe = dataclasses.replace(VIEW_PRESETS["counts"], photons=(0.1, 10))
    assert ViewRecipe.from_dict(recipe.to_dict()) == recipe
    without = recipe.to_dict() | {"photons": None}
    assert ViewRecipe.from_dict(without) == VIEW_PRESETS["counts"]
    with pytest.raises(ValueError, match="photons: found"):
        dataclasses.replace(recipe, photons=(0, 1))
