"""Pairs of views: their geometry, that masks leave no trace, and P2's code in NumPy."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy import ndimage, stats
from torch import Tensor, nn

from cdifast.data.augment import DRAWS, P2
from cdifast.data.p2_code import p2_code_detector, p2_code_unwrapped
from cdifast.data.ring_fill import fill_from_rings, pixel_rings
from cdifast.data.view_recipe import TEMPERATURES, VIEW_PRESETS, ViewRecipe
from cdifast.data.views import PairViews, plain_view
from cdifast.ops import polar_resample
from cdifast.train.collapse import partner_retrieval
from cdifast.train.nt_xent import nt_xent

PLAIN = ViewRecipe(augmentation=None)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def everyone(count: int) -> Tensor:
    return torch.arange(count)


def test_modes_and_temperatures_are_p2s() -> None:
    found = {mode: PLAIN.with_mode(mode).temperature for mode in map("-".join, TEMPERATURES)}
    assert found == {
        "detector-detector": 0.2,
        "unwrapped-unwrapped": 0.2,
        "unwrapped-detector": 0.075,
        "detector-unwrapped": 0.1,
    }
    images = torch.rand(3, 1, 12, 12)
    maps = polar_resample(images, 12, 12)
    for first, second in TEMPERATURES:
        recipe = PLAIN.with_mode(f"{first}-{second}")
        assert recipe.mode == f"{first}-{second}"
        for kind, view in zip(
            (first, second), PairViews(recipe, 12).pair(images, everyone(3), generator()), strict=True
        ):
            torch.testing.assert_close(view, images if kind == "detector" else maps)
    with pytest.raises(ValueError, match="mode: found 'polar-polar'"):
        PLAIN.with_mode("polar-polar")


def test_each_shot_has_its_own_centre_and_mask() -> None:
    images = torch.rand(4, 1, 15, 15)
    centers = torch.tensor([[7.0, 7.0], [6.0, 8.0], [7.5, 6.5], [8.0, 7.0]])
    mask = torch.rand(4, 15, 15) > 0.2
    recipe = dataclasses.replace(PLAIN, n_radial=9, n_angular=20, r_min=0.2, r_max=0.7, mask_guard="none")
    views = PairViews(recipe, 15, mask=mask, centers=centers)
    order = torch.tensor([2, 0])
    first, second = views.pair(images[order], order, generator())
    torch.testing.assert_close(first, images[order] * mask[order][:, None])
    for row, shot in enumerate(order):
        expected = polar_resample(
            images[shot, 0], 9, 20, center=centers[shot], mask=mask[shot], r_min=0.2 * 7, r_max=0.7 * 7
        )
        torch.testing.assert_close(second[row, 0], expected)
    torch.testing.assert_close(plain_view(images, recipe, kind="unwrapped", mask=mask, centers=centers)[order], second)


def test_the_views_of_a_pair_are_augmented_each_on_its_own() -> None:
    """All draws of both views are independent: KS distances and correlations of what the six changes drew."""
    count = 2000
    seen: list[np.ndarray] = []
    augmentation = dataclasses.replace(P2, probability=1.0)
    original = type(augmentation).changes

    def spy(self: object, uniforms: np.ndarray, height: int, width: int) -> object:
        seen.append(uniforms)
        return original(self, uniforms, height, width)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(augmentation), "changes", spy)
        images = torch.rand(count, 1, 8, 8)
        views = PairViews(ViewRecipe(augmentation=augmentation), 8)
        views.pair(images, everyone(count), generator(1))
    assert [draws.shape for draws in seen] == [(count, DRAWS)] * 2
    both = np.concatenate(seen, axis=1)
    assert min(stats.kstest(column, "uniform").pvalue for column in both.T) > 1e-4
    correlations = np.corrcoef(both.T)[np.triu_indices(2 * DRAWS, 1)]
    assert np.abs(correlations).max() < 5 / math.sqrt(count)


def test_presets() -> None:
    assert VIEW_PRESETS["p2"].augmentation == P2
    code = VIEW_PRESETS["p2-code"]
    assert code.unwrapping == "p2-code"
    assert code.augmentation == dataclasses.replace(P2, probability=1)
    # All but the flip always, the flip for half of the images.
    changes = code.augmentation.changes(torch.rand(400, DRAWS, dtype=torch.float64).numpy(), 50, 50)
    assert changes.flips[:, 1].mean() == pytest.approx(0.5, abs=0.1)
    assert (changes.gain != 1).all()
    assert (changes.regions[:, 0, 2:] > 0).mean() > 0.99
    for recipe in VIEW_PRESETS.values():
        assert ViewRecipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    with pytest.raises(ValueError, match="views: unknown entries third"):
        ViewRecipe.from_dict({"third": 1})


def test_a_rank_makes_its_part_of_the_same_views() -> None:
    images = torch.rand(10, 1, 12, 12)
    mask = torch.rand(10, 12, 12) > 0.3
    views = PairViews(VIEW_PRESETS["counts"], 12, mask=mask, centers=5.5 + torch.rand(10, 2))
    order = torch.randperm(10)
    whole = views.pair(images[order], order, generator(3))
    for rows in (slice(0, 4), slice(4, 10)):
        part = views.pair(images[order[rows]], order, generator(3), rows=rows)
        for a, b in zip(part, whole, strict=True):
            torch.testing.assert_close(a, b[rows], rtol=0, atol=0)


def test_fill_takes_good_pixels_of_the_same_ring_each_equally_often() -> None:
    count, size = 3000, 9
    rings = pixel_rings(size, size, None)
    # Each pixel knows its ring and its number.
    images = (1000 * rings[0] + torch.arange(size * size).reshape(size, size)).float()[None, None]
    good = torch.rand(1, size, size, generator=generator(2)) > 0.4
    good[0, 4, 4] = False  # the middle, a ring of one pixel: its ring has no good one
    draws = torch.rand(count, size, size, generator=generator(3))
    filled = fill_from_rings(images.expand(count, -1, -1, -1), good, rings, draws)[:, 0]
    assert torch.equal(filled[:, good[0]], images[0].expand(count, -1, -1)[:, good[0]])
    for y, x in (~good[0]).nonzero().tolist():
        pool = good[0] if (y, x) == (4, 4) else good[0] & (rings[0] == rings[0, y, x])
        values, counts = filled[:, y, x].unique(return_counts=True)
        assert torch.equal(values, images[0, 0][pool].sort().values)
        assert stats.chisquare(counts.numpy()).pvalue > 1e-5
    assert fill_from_rings(images, torch.zeros_like(good), rings, draws[:1]).count_nonzero() == 0


def test_what_is_zero_is_the_same_in_all_images() -> None:
    count, size = 40, 16
    images = 1 + torch.rand(count, 1, size, size)
    shared = torch.ones(size, size, dtype=torch.bool)
    shared[5:8] = False
    mask = shared & (torch.rand(count, size, size) > 0.3)
    centers = (size - 1) / 2 + 2 * torch.rand(count, 2)
    recipe = dataclasses.replace(PLAIN, r_max=1.2)
    views = PairViews(recipe, size, mask=mask, centers=centers)
    detector, unwrapped = views.pair(images, everyone(count), generator())
    assert torch.equal(detector[:, 0] != 0, shared.expand(count, -1, -1))
    zero = unwrapped[:, 0] == 0
    assert torch.equal(zero, zero[:1].expand_as(zero))
    assert 0.05 < zero.float().mean() < 0.6
    # Good pixels stay as they are, and bad ones' values are never seen.
    good = mask[:, None]
    assert torch.equal(detector[good], images[good])
    spoilt = torch.where(good, images, 1e6)
    for a, b in zip(views.pair(spoilt, everyone(count), generator()), (detector, unwrapped), strict=True):
        assert torch.equal(a, b)


def blobs(count: int, size: int, seed: int) -> Tensor:
    """Good pixels: two dead rectangles a shot, each anywhere."""
    rng = np.random.default_rng(seed)
    good = np.ones((count, size, size), bool)
    for each in good:
        for _ in range(2):
            top, left = rng.integers(0, size - 4, 2)
            height, width = rng.integers(3, 7, 2)
            each[top : top + height, left : left + width] = False
    return torch.from_numpy(good)


@pytest.fixture
def _one_thread() -> Iterator[None]:
    """Tensors as small as these are not worth the threads' waiting for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def retrieval_on_noise(recipe: ViewRecipe, *, centers: bool, steps: int, held_out: int = 400) -> float:
    """Train on pure noise with a mask (and centre) for each shot; share of partners found among new shots.

    Both views show noise of their own, so that mask and centre are all that they share.
    """
    size, batch = 16, 64
    mask = blobs(512 + held_out, size, seed=1)
    places = (size - 1) / 2 + 3 * (torch.rand(len(mask), 2, generator=generator(2)) - 0.5)
    views = PairViews(recipe, size, mask=mask, centers=places if centers else None)
    draws = generator(3)

    def pair(shots: Tensor) -> tuple[Tensor, Tensor]:
        noise = torch.rand(2, len(shots), 1, size, size, generator=draws)
        return views.pair(noise[0], shots, draws, partners=noise[1])

    torch.manual_seed(4)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 5, stride=2, padding=2), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 16, 32),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(steps):
        first, second = pair(torch.randint(0, 512, (batch,), generator=draws).unique())
        optimizer.zero_grad()
        nt_xent(model(first), model(second), 0.2).backward()
        optimizer.step()
    with torch.no_grad():
        first, second = pair(torch.arange(512, 512 + held_out))
        return partner_retrieval(model(first), model(second))


@pytest.mark.usefixtures("_one_thread")
@pytest.mark.parametrize(
    ("mode", "centers"), [("detector-detector", False), ("unwrapped-unwrapped", True), ("unwrapped-detector", True)]
)
def test_masks_are_no_shortcut(mode: str, centers: bool) -> None:
    recipe = PLAIN.with_mode(mode)
    guarded = retrieval_on_noise(recipe, centers=centers, steps=120)
    # Chance, 1 / 400: more than 5 of 400 would have a probability below 1e-3.
    assert stats.binom.sf(5, 400, 1 / 400) < 1e-3
    assert guarded <= 5 / 400
    leaking = retrieval_on_noise(dataclasses.replace(recipe, mask_guard="none"), centers=centers, steps=120)
    assert leaking > 20 / 400


def numpy_p2_code(image: np.ndarray) -> np.ndarray:
    """SCIENCE's description, written apart from ours; before the resize."""
    y, x = np.mgrid[:1035, :1035] - 517.0
    window = ndimage.gaussian_filter((np.hypot(y, x) > 155).astype(float), 1.5, truncate=4)
    rho, phi = np.linspace(0, 1, 1035), np.linspace(0, 2 * np.pi, 1035)
    columns = 517 * (1 + rho[None, :] * np.cos(phi[:, None]))
    rows = 517 * (1 - rho[None, :] * np.sin(phi[:, None]))
    sampled = (image * window)[np.rint(rows).astype(int), np.rint(columns).astype(int)]
    return sampled[167:-167, 310:-24]


def test_unwrapping_of_p2s_code_equals_numpy() -> None:
    rng = np.random.default_rng(0)
    image = ndimage.gaussian_filter(rng.random((1035, 1035)), 4)
    cut = numpy_p2_code(image)
    assert cut.shape == (701, 701)
    shown = torch.nn.functional.interpolate(
        torch.from_numpy(cut)[None, None], (256, 256), mode="bilinear", antialias=True
    )[0, 0].numpy()
    expected = (shown - shown.min()) / (shown.max() - shown.min())
    found = p2_code_unwrapped(torch.from_numpy(image)[None, None])[0, 0].numpy()
    assert found.min() == 0
    assert found.max() == 1
    # Transposed; where a sample lies between two pixels, rounding decides which it takes.
    difference = np.abs(found.T - expected)
    assert (difference > 1e-6).mean() < 0.01  # the rows at phi = pi
    assert difference.max() < 0.02
    detector = p2_code_detector(torch.from_numpy(image)[None, None])
    assert detector.shape == (1, 1, 256, 256)
    assert detector[0, 0, 128, 128] == 0


def test_p2_code_at_another_size_and_its_hole() -> None:
    """A pattern that is the radius: rows of one value that rise evenly, but at the blurred edge of the hole."""
    y, x = np.mgrid[:207, :207] - 103.0
    unwrapped = p2_code_unwrapped(torch.from_numpy(np.hypot(y, x))[None, None], 64)[0, 0].numpy()
    rows = unwrapped[3:]
    assert rows.std(axis=1).max() < 0.01
    radii = (310 + (np.arange(3, 64) + 0.5) / 64 * (1035 - 310 - 24)) / 1034
    slope, _ = np.polyfit(radii, rows.mean(axis=1), 1)
    fitted = slope * (radii - radii[-1]) + rows[-1].mean()
    assert np.abs(rows.mean(axis=1) - fitted).max() < 0.01
    assert slope > 0
    views = PairViews(dataclasses.replace(PLAIN, unwrapping="p2-code"), 64)
    images = torch.rand(2, 1, 64, 64)
    first, second = views.pair(images, everyone(2), generator())
    assert torch.equal(first, p2_code_detector(images, 64))
    assert torch.equal(second, p2_code_unwrapped(images, 64))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ViewRecipe(first="polar"), ValueError, "first: found 'polar'"),
        (lambda: ViewRecipe(r_max=0), ValueError, "r_min, r_max: found 0.0, 0"),
        (lambda: ViewRecipe(n_radial=1), ValueError, "n_radial: found 1"),
        (lambda: ViewRecipe(mask_guard="union"), ValueError, "mask_guard: found 'union'"),
        (lambda: ViewRecipe(unwrapping="log"), ValueError, "unwrapping: found 'log'"),
        (lambda: PairViews(PLAIN, 8, mask=torch.ones(8, 8)), TypeError, "mask: found dtype torch.float32"),
        (lambda: PairViews(PLAIN, 8, mask=torch.ones(9, 8) > 0), ValueError, r"mask: found shape \(9, 8\)"),
        (lambda: PairViews(PLAIN, 8, centers=torch.ones(4)), ValueError, r"centers: found shape \(4,\)"),
        (
            lambda: PairViews(PLAIN, 8, mask=torch.rand(3, 8, 8) > 0.5, centers=torch.ones(2, 2)),
            ValueError,
            r"found \[2, 3\] shots",
        ),
        (
            lambda: PairViews(dataclasses.replace(PLAIN, unwrapping="p2-code"), 8, centers=torch.ones(2, 2)),
            ValueError,
            "takes the middle",
        ),
        (
            lambda: PairViews(PLAIN, 8).pair(torch.rand(2, 1, 8, 9), everyone(2), generator()),
            ValueError,
            r"images: found shape \(2, 1, 8, 9\), expected \(2, 1, 8, 8\)",
        ),
        (lambda: p2_code_detector(torch.rand(2, 32, 32)), ValueError, r"expected \(N, 1, S, S\)"),
        (lambda: p2_code_detector(torch.rand(1, 1, 8, 8)), ValueError, "found 8 pixels a side"),
    ],
)
def test_wrong_arguments_are_named(call: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()  # type: ignore[operator]
