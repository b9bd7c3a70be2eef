"""Centres of patterns whose centre is known, by symmetry and by rings; what each cannot do; three real frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cdifast import simulate
from cdifast.calibrate import Centers, combine_centers, friedel_center, ring_center
from cdifast.calibrate import friedel as friedel_module

METHODS = {"friedel": friedel_center, "rings": ring_center}
SIZE = (96, 110)


def spheres(
    centers: NDArray[np.float64], photons: float, rings: float = 5, size: tuple[int, int] = SIZE
) -> torch.Tensor:
    """Poisson counts of a hard sphere's small-angle pattern |3 (sin u - u cos u) / u^3|^2, u in pi of ``rings``."""
    y, x = np.mgrid[: size[0], : size[1]]
    radius = np.hypot(y - centers[:, 0, None, None], x - centers[:, 1, None, None])
    u = np.maximum(radius * rings * np.pi / (min(size) / 2), 1e-6)
    pattern = (3 * (np.sin(u) - u * np.cos(u)) / u**3) ** 2
    pattern *= photons / pattern.sum(axis=(1, 2), keepdims=True)
    return torch.from_numpy(np.random.default_rng(0).poisson(pattern)).to(torch.int32)


def centers(count: int, reach: float = 5.0, size: tuple[int, int] = SIZE) -> NDArray[np.float64]:
    middle = (np.array(size) - 1) / 2
    return middle + np.random.default_rng(1).uniform(-reach, reach, (count, 2))


def mask() -> torch.Tensor:
    """A hole off the middle, a gap, a dead quadrant and dead pixels."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    good = np.hypot(y - 46, x - 55) > 10
    good[44:47] = False
    good[75:, 80:] = False
    good &= np.random.default_rng(2).random(SIZE) > 0.02
    return torch.from_numpy(good)


def spoiled(images: torch.Tensor, good: torch.Tensor) -> torch.Tensor:
    """Floating, with nonsense where the mask is."""
    nonsense = torch.rand(images.shape, generator=torch.Generator().manual_seed(3)) * 1e5
    return torch.where(good, images.float(), nonsense)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("photons", "accuracy"), [(1e5, 0.15), (1e6, 0.04)])
def test_spheres_behind_hole_gap_and_dead_pixels(method: str, photons: float, accuracy: float) -> None:
    """Root mean square error in pixels, and an uncertainty that is right to a factor of two."""
    truth, good = centers(16), mask()
    found = METHODS[method](spoiled(spheres(truth, photons), good), good)
    rms = np.sqrt(((found.center.numpy() - truth) ** 2).mean())
    assert rms < accuracy
    assert 0.5 < float(found.uncertainty.square().mean().sqrt()) / rms < 2
    assert (found.score > 0.3).all()
    assert (found.share > 0.3).all()


@pytest.mark.parametrize("method", METHODS)
def test_bright_round_patterns_to_two_hundredths_of_a_pixel(method: str) -> None:
    truth = centers(8)
    found = METHODS[method](spheres(truth, 1e7))
    assert np.abs(found.center.numpy() - truth).max() < 0.05
    assert np.sqrt(((found.center.numpy() - truth) ** 2).mean()) < 0.02


@pytest.mark.parametrize("method", METHODS)
def test_uncertainty_follows_the_light(method: str) -> None:
    truth = np.repeat(centers(1), 4, axis=0)
    errors = [float(METHODS[method](spheres(truth, photons)).uncertainty.median()) for photons in (3e4, 3e5, 3e6)]
    assert errors[0] > 1.8 * errors[1] > 1.8 * 1.5 * errors[2]


def test_half_a_detector_has_rings_but_no_symmetry() -> None:
    truth = centers(12)
    good = torch.zeros(SIZE, dtype=torch.bool)
    good[:, 62:] = True  # beyond every centre
    images = spoiled(spheres(truth, 1e6), good)
    found = friedel_center(images, good, search=4)
    assert found.center.isnan().all()
    assert (found.score == 0).all()
    assert found.uncertainty.isnan().all()
    found = ring_center(images, good)
    assert np.sqrt(((found.center.numpy() - truth) ** 2).mean()) < 0.4


def test_displaced_halves_need_no_common_gap_in_the_middle() -> None:
    """Two halves with a wide gap beside the beam: of a dozen shots, at most one is taken for its neighbour ring's."""
    truth, good = centers(12, reach=2), torch.ones(SIZE, dtype=torch.bool)
    good[:, 50:66] = False
    images = spoiled(spheres(truth, 1e6), good)
    for method in METHODS.values():
        error = np.sort(np.abs(method(images, good).center.numpy() - truth).max(axis=1))
        assert error[-2] < 0.08


@pytest.mark.parametrize("method", METHODS)
def test_guesses_and_windows(method: str) -> None:
    truth = centers(6, reach=20)
    images = spheres(truth, 1e6)
    near = torch.from_numpy(truth) + torch.tensor([1.5, -2.0])
    found = METHODS[method](images, guess=near, search=4)
    assert np.abs(found.center.numpy() - truth).max() < 0.1
    far = METHODS[method](images, guess=torch.from_numpy(truth) + 15, search=4)
    assert far.center.isnan().any(dim=1).all()
    wide = METHODS[method](images, search=30)
    assert np.abs(wide.center.numpy() - truth).max() < 0.1


@pytest.mark.parametrize("method", METHODS)
def test_patterns_without_a_centre_have_none(method: str) -> None:
    generator = torch.Generator().manual_seed(4)
    noise = torch.poisson(torch.full((12, *SIZE), 3.0), generator=generator)
    hot = torch.zeros(4, *SIZE)
    hot[:, 40, 50] = 1e6  # one hot pixel is symmetric about itself
    hot += torch.poisson(torch.full((4, *SIZE), 3.0), generator=generator)
    found = METHODS[method](torch.cat([noise, hot]))
    assert found.center.isnan().all()
    for images, good in (
        (torch.full((2, *SIZE), 7.0), None),
        (torch.full((2, *SIZE), torch.nan), None),
        (torch.zeros(2, *SIZE), None),
        (noise[:2], torch.zeros(SIZE, dtype=torch.bool)),
        (noise[:2], torch.zeros(2, *SIZE, dtype=torch.bool)),
    ):
        found = METHODS[method](images, good)
        assert found.center.isnan().all()
        assert (found.score == 0).all()
        assert (found.share == 0).all()
    huge = torch.full((4, *SIZE), torch.finfo(torch.float32).max)
    huge[1:] = 1e30 * torch.rand(3, *SIZE, generator=generator)
    huge[2] *= -1
    for images in (huge, huge.double() * 1e200, 0.1 + torch.zeros(1, *SIZE)):
        for compression in ("sqrt", "none"):
            found = METHODS[method](images, compression=compression)
            assert found.center.isnan().all()
            assert (found.score == 0).all()
    one_pixel = torch.zeros(SIZE, dtype=torch.bool)
    one_pixel[48, 55] = True
    assert METHODS[method](noise[:1], one_pixel).center.isnan().all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [(64, 64), (65, 65), (64, 81), (81, 64), (33, 50)])
def test_even_and_odd_sizes(method: str, size: tuple[int, int]) -> None:
    truth = centers(3, reach=3, size=size)
    found = METHODS[method](spheres(truth, 1e6, rings=4, size=size))
    assert np.abs(found.center.numpy() - truth).max() < 0.1


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 2), (3, 3), (5, 90)])
def test_images_too_small_for_a_centre_have_none(shape: tuple[int, int]) -> None:
    images = torch.rand(3, *shape)
    assert friedel_center(images).center.shape == (3, 2)
    if 1 in shape:
        with pytest.raises(ValueError, match=r"found radii 0\.0 to 0\.0"):
            ring_center(images)
    else:
        assert ring_center(images).center.shape == (3, 2)
    assert friedel_center(torch.ones(2, *shape)).center.isnan().all()


@pytest.mark.parametrize("method", METHODS)
def test_units_and_pedestals_that_are_taken_off_do_not_matter(method: str) -> None:
    truth = centers(3)
    images = spheres(truth, 1e6).float()
    expected = METHODS[method](images, compression="none").center
    for scale in (1e-30, 1e25):
        torch.testing.assert_close(
            METHODS[method](images * scale, compression="none").center, expected, rtol=0, atol=2e-3
        )


@pytest.mark.parametrize("method", METHODS)
def test_masks_for_each_frame_and_nan_count_as_one_mask(method: str) -> None:
    truth = centers(3)
    images = spheres(truth, 1e6).float()
    good = torch.stack([mask(), torch.ones(SIZE, dtype=torch.bool), mask().flip(0)])
    together = METHODS[method](images, good)
    bad = METHODS[method](torch.where(good, images, torch.nan))
    for k in range(3):
        alone = METHODS[method](images[k], good[k])
        torch.testing.assert_close(together.center[k], alone.center[0], rtol=0, atol=1e-3)
        torch.testing.assert_close(together.center[k], bad.center[k], rtol=0, atol=1e-3)


def test_correlation_is_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Fourier sums against a loop over pixels in float64, for every place of a small masked image."""
    generator = np.random.default_rng(5)
    images = generator.normal(3, 1, (1, 9, 11))
    good = generator.random((9, 11)) > 0.2
    seen: dict[str, Any] = {}

    def spy(correlation: torch.Tensor, pairs: torch.Tensor, first: torch.Tensor, least: float) -> Any:
        seen.update(correlation=correlation, pairs=pairs, first=first)
        return original(correlation, pairs, first, least)

    original = friedel_module._peak
    monkeypatch.setattr(friedel_module, "_peak", spy)
    friedel_center(torch.from_numpy(images), torch.from_numpy(good), search=3, compression="none", min_share=0.05)
    compared = 0
    for i, row in enumerate(seen["correlation"][0]):
        for j, found in enumerate(row.tolist()):
            sy, sx = (int(v) for v in seen["first"][0] + torch.tensor([i, j]))
            a, b = [], []
            for y in range(9):
                for x in range(11):
                    v, u = sy - y, sx - x
                    if (v, u) != (y, x) and 0 <= v < 9 and 0 <= u < 11 and good[y, x] and good[v, u]:
                        a.append(images[0, y, x])
                        b.append(images[0, v, u])
            assert int(seen["pairs"][0, i, j]) == len(a)
            if len(a) >= 6:
                np.testing.assert_allclose(found, np.corrcoef(a, b)[0, 1], atol=2e-4)
                compared += 1
    assert compared > 100


def droplets(ratio: float, tilt: float, count: int = 8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Wide-angle patterns of spheroids of 300 nm at 45 nm, seen from all sides; good pixels; the centre.

    The beam is in the middle of the detector; of a window that is off by whole pixels it is elsewhere.
    """
    detector = simulate.FlatDetector(112)
    angles = torch.linspace(0.3, 0.3 + 2 * np.pi, count + 1, dtype=torch.float64)[:-1]
    polar = torch.full((count,), 300e-9 * ratio ** (2 / 3), dtype=torch.float64)
    turn = simulate.rotation(torch.full_like(angles, tilt), angles, torch.zeros_like(angles))
    shape = simulate.Spheroids(polar, polar / ratio, turn)
    wavelength = torch.full((count,), 45e-9, dtype=torch.float64)
    grid = detector.direction_grid(float((shape.reach() / wavelength).max()))
    field = simulate.far_field(shape, wavelength, grid, absorption_length=wavelength * 40)
    lit = detector.lit()
    pattern = torch.where(lit, detector.resample(field).abs().square() * detector.solid_angle(), 0)
    pattern *= 1e6 / pattern.sum(dim=(1, 2), keepdim=True)
    images = torch.poisson(pattern.float(), generator=torch.Generator().manual_seed(0))
    return images[:, 6:102, 2:112], lit[6:102, 2:112], torch.tensor([55.5 - 6, 55.5 - 2])


def test_simulated_wide_angle_droplets() -> None:
    """Spheres to a fiftieth of a pixel; tilted particles are off, one by one; the median of a run is right again."""
    for method in METHODS.values():
        images, good, truth = droplets(1.0, 0.0)
        found = method(images, good)
        assert float((found.center - truth).abs().max()) < 0.02
        assert (found.score > 0.85).all()
    for ratio in (0.7, 2.0):
        images, good, truth = droplets(ratio, 0.9)
        found = friedel_center(images, good)
        error = (found.center - truth).abs().amax(dim=1)
        assert 0.3 < float(error.median()) < 3
        assert float(error.median()) > 4 * float(found.uncertainty.median())  # which knows of noise alone
        middle, uncertainty = combine_centers(found)
        assert float((middle - truth).abs().max()) < 0.3
        assert float(uncertainty.min()) > 0.05


def test_three_real_lcls_frames_agree(shared_data: Path) -> None:
    """Three shots of one geometry with a hole, a gap and negative values: two methods, a fifth of a pixel apart."""
    content = np.load(shared_data / "lcls_frames.npz")
    frames, good = torch.from_numpy(content["frames"]), torch.from_numpy(content["bad_pixels"] == 0)
    friedel, rings = friedel_center(frames, good), ring_center(frames, good)
    assert (friedel.score > 0.8).all()
    assert (rings.score > 0.85).all()
    assert float((friedel.center - rings.center).abs().max()) < 0.2
    # The first two shots have one centre; the third's is another, for both methods.
    assert float((friedel.center[0] - friedel.center[1]).abs().max()) < 0.2
    assert 0.5 < float(friedel.center[2, 1] - friedel.center[0, 1]) < 1.0
    assert float((friedel.center.mean(dim=0) - torch.tensor([128.5, 128.8])).abs().max()) < 0.3


def test_a_runs_centre_is_the_median_of_its_shots() -> None:
    center = torch.tensor([[10.0, 20.0], [10.2, 20.2], [9.8, 19.8], [90.0, 3.0], [torch.nan, torch.nan]]).double()
    score = torch.tensor([0.9, 0.9, 0.8, 0.2, 0.0]).double()
    found = Centers(center, score, center, score)
    middle, error = combine_centers(found, least_score=0.5)
    assert middle.tolist() == [10.0, 20.0]
    np.testing.assert_allclose(error, np.full(2, 1.2533141 * 1.4826022 * 0.2 / np.sqrt(3)), rtol=1e-5)
    middle, error = combine_centers(found, least_score=0.95)
    assert middle.isnan().all()
    assert error.isnan().all()


@pytest.mark.parametrize("method", METHODS)
def test_wrong_arguments_are_named(method: str) -> None:
    find, images = METHODS[method], torch.ones(2, *SIZE)
    for arguments, options, error, message in (
        ((images.numpy(),), {}, TypeError, "ndarray"),
        ((images.bool(),), {}, TypeError, "torch.bool"),
        ((images[None, None],), {}, ValueError, r"expected \(n, H, W\)"),
        ((images, torch.ones(SIZE)), {}, TypeError, "expected a tensor of bool"),
        ((images, torch.ones(3, *SIZE, dtype=torch.bool)), {}, ValueError, r"good is \(3, 96, 110\)"),
        ((images,), {"guess": (1.0, float("nan"))}, ValueError, "finite"),
        ((images,), {"guess": torch.zeros(3, 2)}, ValueError, r"guess is \(3, 2\)"),
        ((images,), {"search": 0.5}, ValueError, "at least 1 pixel"),
        ((images,), {"compression": "root"}, ValueError, "compression 'root'"),
    ):
        with pytest.raises(error, match=message):
            find(*arguments, **options)  # type: ignore[operator, arg-type]
    assert find(images[:0]).center.shape == (0, 2)
    with pytest.raises(ValueError, match="r_min < r_max"):
        ring_center(images, r_min=50, r_max=40)
    with pytest.raises(ValueError, match="min_share"):
        friedel_center(images, min_share=0)


@pytest.mark.gpu
@pytest.mark.parametrize("method", METHODS)
def test_cuda_finds_what_the_cpu_finds(method: str) -> None:
    truth, good = centers(8), mask()
    images = spoiled(spheres(truth, 1e6), good)
    expected = METHODS[method](images, good)
    found = METHODS[method](images.cuda(), good.cuda())
    torch.testing.assert_close(found.center.cpu(), expected.center, rtol=0, atol=5e-3)
    torch.testing.assert_close(found.uncertainty.cpu(), expected.uncertainty, rtol=0.05, atol=1e-3)
