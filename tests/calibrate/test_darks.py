"""Dark statistics against NumPy without the hits, and each rule for bad pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cdifast.calibrate import BadPixelRules, PixelStatistics, dark_calibration, pixel_groups
from cdifast.calibrate import statistics as statistics_module
from cdifast.data.masks import CXI_BITS

SHAPE = (30, 41)


def darks(count: int = 300, seed: int = 0) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
    """Dark frames, and where a cosmic ray hit."""
    generator = np.random.default_rng(seed)
    level, noise = generator.uniform(90, 110, SHAPE), generator.uniform(2.5, 3.5, SHAPE)
    frames = generator.normal(level, noise, (count, *SHAPE))
    hits = generator.random(frames.shape) < 5e-4
    frames[hits] += generator.uniform(60, 5000, int(hits.sum()))
    return np.rint(frames).astype(np.uint16), hits


def stream(frames: NDArray[Any], batch: int, **options: Any) -> Any:
    statistics = PixelStatistics(frames.shape[1:], **options)
    buffer = np.empty((batch, *frames.shape[1:]), frames.dtype)
    for start in range(0, len(frames), batch):
        part = frames[start : start + batch]
        buffer[: len(part)] = part
        statistics.add(buffer[: len(part)])
        buffer[...] = 0  # the caller's buffer is his
    return statistics.result()


@pytest.mark.parametrize("batch", [1, 7, 300])
def test_mean_and_deviation_are_those_of_the_values_that_no_cosmic_ray_hit(batch: int) -> None:
    frames, hits = darks()
    found = stream(frames, batch)
    quiet = np.where(hits, np.nan, frames)
    np.testing.assert_allclose(found.mean, np.nanmean(quiet, axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.deviation, np.nanstd(quiet, axis=0, ddof=1), rtol=1e-10)
    assert np.array_equal(found.rejected, hits.sum(axis=0))
    assert np.array_equal(found.counted, (~hits).sum(axis=0))


def test_without_limits_it_is_plain_numpy_far_from_zero() -> None:
    frames = np.random.default_rng(1).normal(1e7, 1e-2, (50, *SHAPE))
    found = stream(frames, 13, clip=np.inf)
    np.testing.assert_allclose(found.mean, frames.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(found.deviation, frames.std(axis=0, ddof=1), rtol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 7, 8, 31, 32, 33])
def test_any_number_of_frames(count: int) -> None:
    frames = np.random.default_rng(2).normal(100, 3, (count, *SHAPE)).astype(np.float32)
    found = stream(frames, 5)
    np.testing.assert_allclose(found.mean, frames.astype(np.float64).mean(axis=0), rtol=1e-7)
    if count == 1:
        assert found.deviation.isnan().all()
    else:
        np.testing.assert_allclose(found.deviation, frames.astype(np.float64).std(axis=0, ddof=1), rtol=1e-5)
    assert int(found.rejected.sum()) == 0  # six sigma of 40,000 values


def test_results_in_between_do_not_change_what_comes() -> None:
    frames, _ = darks(60)
    statistics = PixelStatistics(SHAPE)
    for start in range(0, 60, 10):
        statistics.add(frames[start : start + 10])
        statistics.result()
    for a, b in zip(statistics.result(), stream(frames, 60), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-13, atol=0)


def test_bad_values_and_masked_ones_do_not_count() -> None:
    generator = np.random.default_rng(3)
    frames = generator.normal(5, 1, (40, *SHAPE)).astype(np.float32)
    good = generator.random(frames.shape) > 0.2
    good[:, 2, 3] = False
    good[:33, 4, 5] = False  # never good in the frames that limits come from
    frames[generator.random(frames.shape) < 0.05] = np.nan
    frames[7, 8, 9] = np.inf
    statistics = PixelStatistics(SHAPE, clip=50)
    for part in (slice(0, 15), slice(15, 40)):
        statistics.add(torch.from_numpy(frames[part]), torch.from_numpy(good[part]))
    found = statistics.result()
    usable = good & np.isfinite(frames)
    assert np.array_equal(found.counted, usable.sum(axis=0))
    assert found.mean[2, 3].isnan()
    expected = np.where(usable, frames.astype(np.float64), np.nan)[:, usable.any(axis=0)]
    np.testing.assert_allclose(found.mean.numpy()[usable.any(axis=0)], np.nanmean(expected, axis=0), rtol=1e-6)
    assert int(found.rejected.sum()) == 0


def test_limits_of_photons_reject_no_photon_where_few_are_expected() -> None:
    """0.01 to 30 photons a pixel: none of a million is beyond six sigma of its Poisson variable, a burst is."""
    generator = np.random.default_rng(4)
    expected = np.geomspace(0.01, 30, SHAPE[0] * SHAPE[1]).reshape(SHAPE)
    photons = generator.poisson(expected, (1000, *SHAPE)).astype(np.float32)
    found = stream(photons, 100, photons=True)
    assert int(found.rejected.sum()) == 0
    np.testing.assert_allclose(found.mean, photons.astype(np.float64).mean(axis=0), rtol=1e-6, atol=1e-9)
    photons[500] += 100
    assert int(stream(photons, 100, photons=True).rejected.sum()) == photons[0].size


def test_pixels_of_one_value_keep_their_neighbours_in_value() -> None:
    """Noise of 0.3 units, rounded: most values are one number, and the limits leave the others in."""
    frames = np.rint(np.random.default_rng(5).normal(100, 0.3, (200, *SHAPE))).astype(np.uint16)
    assert np.median(np.abs(frames - np.median(frames, axis=0))) == 0
    frames[50, 3, 4] = 200
    found = stream(frames, 50)
    assert int(found.rejected.sum()) == 1
    assert 0.2 < float(found.deviation.mean()) < 0.4


def test_memory_is_that_of_the_first_frames_and_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics_module, "_PIXELS", 100)  # less than a frame: one at a time
    frames, _ = darks(50)
    again = stream(frames, 50)
    monkeypatch.undo()
    for a, b in zip(again, stream(frames, 50), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-13, atol=0)


def moments(**changes: Any) -> Any:
    """A detector of two halves, 100 and 500 units, noise 3, with some pixels changed: {(y, x): (level, noise)}."""
    frames, _ = darks(40)
    base = stream(frames, 40)
    generator = torch.Generator().manual_seed(0)
    level = 100 + 2 * torch.randn(SHAPE, dtype=torch.float64, generator=generator)
    level[:, 20:] += 400
    noise = 3 + 0.3 * torch.randn(SHAPE, dtype=torch.float64, generator=generator)
    return base._replace(mean=level, deviation=noise, rejected=torch.zeros(SHAPE, dtype=torch.int64), **changes)


def test_each_rule_finds_its_pixel_and_no_other() -> None:
    found = moments()
    found.mean[1, 2] += 200  # within the other half's level: hot among its own tile only
    found.deviation[3, 4] = 9
    found.deviation[5, 6] = 0.1
    found.deviation[7, 8] = torch.nan
    found.rejected[9, 10] = 100
    tiles = pixel_groups(SHAPE, "tile", (30, 20))
    result = dark_calibration(found, groups=tiles)
    expected = torch.zeros(SHAPE, dtype=torch.int32)
    for place, name in (((1, 2), "hot"), ((3, 4), "noisy"), ((5, 6), "dead"), ((7, 8), "missing"), ((9, 10), "noisy")):
        expected[place] = CXI_BITS[name]
    assert torch.equal(result.mask, expected)
    assert result.counts() == {"hot": 1, "noisy": 2, "dead": 1, "missing": 1}
    assert dark_calibration(found).counts()["hot"] == 0  # compared with both halves


def test_rules_are_at_the_levels_that_they_state() -> None:
    found = moments()
    deviation = found.deviation.numpy()
    noise = np.median(deviation)
    spread = 1.4826022 * np.median(np.abs(deviation - noise))
    limit = max(noise + 6 * spread, 1.5 * noise)
    deviation[1, 1], deviation[1, 2] = 0.99 * limit, 1.01 * limit
    deviation[2, 1], deviation[2, 2] = 0.202 * noise, 0.198 * noise
    result = dark_calibration(found)
    bad = {tuple(place): int(result.mask[tuple(place)]) for place in torch.nonzero(result.mask).tolist()}
    assert bad == {(1, 2): CXI_BITS["noisy"], (2, 2): CXI_BITS["dead"]}
    strict = dark_calibration(found, rules=BadPixelRules(dead=0.3))
    assert strict.counts()["dead"] == 2


def test_a_counting_detector_whose_dark_is_mostly_zero() -> None:
    """Single counts are no fault; a pixel that counts in half the frames is hot."""
    frames = np.zeros((1000, *SHAPE), np.uint16)
    generator = np.random.default_rng(6)
    frames[generator.random(frames.shape) < 1e-3] = 1
    frames[::2, 4, 4] = 1
    result = dark_calibration(stream(frames, 100))
    assert torch.nonzero(result.mask).tolist() == [[4, 4]]
    assert int(result.mask[4, 4]) & CXI_BITS["hot"]


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="clip 0"):
        PixelStatistics(SHAPE, clip=0)
    with pytest.raises(ValueError, match="burn_in 3"):
        PixelStatistics(SHAPE, burn_in=3)
    statistics = PixelStatistics(SHAPE)
    with pytest.raises(ValueError, match="no frames"):
        statistics.result()
    with pytest.raises(ValueError, match=r"frames are \(2, 3, 4\)"):
        statistics.add(torch.ones(2, 3, 4))
    with pytest.raises(TypeError, match="good has dtype"):
        statistics.add(torch.ones(2, *SHAPE), torch.ones(SHAPE))
    statistics.add(np.ones((1, *SHAPE)))
    with pytest.raises(ValueError, match="at least 2 dark frames"):
        dark_calibration(statistics.result())
    with pytest.raises(ValueError, match="groups is"):
        dark_calibration(moments(), groups=pixel_groups((3, 3)))
