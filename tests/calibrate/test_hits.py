"""Lit pixels, the misses' distribution, thresholds at a stated rate of false hits, and the Poisson deviance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from cdifast.calibrate import (
    Calibration,
    NullDistribution,
    PoissonScore,
    lit_level,
    lit_pixels,
    null_distribution,
    typical_level,
)
from cdifast.calibrate import hits as hits_module
from cdifast.calibrate.hits import _poisson_quantile
from cdifast.calibrate.poisson import _table

SHAPE = (31, 44)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "float64"])
def test_lit_pixels_are_counted_as_numpy_does(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hits_module, "_PIXELS", 3 * SHAPE[0] * SHAPE[1])  # three frames at a time
    generator = np.random.default_rng(0)
    images = generator.integers(0, 9, (8, *SHAPE)).astype(dtype)
    level = generator.uniform(2, 7, SHAPE)
    good, each = generator.random(SHAPE) > 0.2, generator.random((8, *SHAPE)) > 0.2
    tensor = torch.from_numpy(images)
    for threshold, mask in ((4.5, None), (level, good), (4, each)):
        expected = (images > threshold) & (True if mask is None else mask)
        limit = torch.from_numpy(threshold) if isinstance(threshold, np.ndarray) else threshold
        found = lit_pixels(tensor, limit, None if mask is None else torch.from_numpy(mask))
        assert found.tolist() == expected.sum(axis=(1, 2)).tolist()
    if images.dtype.kind == "f":
        tensor[0] = torch.nan
        tensor[1] = torch.inf
        assert lit_pixels(tensor, 4.5)[:2].tolist() == [0, 0]


def test_levels_from_noise_and_gain() -> None:
    noise = np.full(SHAPE, 3.0, np.float32)
    noise[1, 1] = 30
    mask = np.ones(SHAPE, bool)
    mask[2, 2] = False
    level = lit_level(Calibration(noise=noise, mask=mask))
    assert (float(level[0, 0]), float(level[1, 1]), float(level[2, 2])) == (15.0, 150.0, np.inf)
    level = lit_level(Calibration(noise=noise, gain=100.0), sigmas=4)
    assert (float(level[0, 0]), float(level[1, 1])) == (0.5, pytest.approx(1.2))  # at least half a photon
    with pytest.raises(ValueError, match="no noise"):
        lit_level(Calibration(shape=SHAPE))


def test_level_of_frames_without_darks() -> None:
    generator = torch.Generator().manual_seed(1)
    noise = 100 + 3 * torch.randn(20, *SHAPE, generator=generator)
    noise[3:7] *= 40  # hits
    np.testing.assert_allclose(typical_level(noise), 115, atol=0.7)
    photons = torch.poisson(torch.full((5, *SHAPE), 0.1), generator=generator).to(torch.uint16)
    assert typical_level(photons) == 0.5
    with pytest.raises(ValueError, match="good pixel"):
        typical_level(noise, torch.zeros(SHAPE, dtype=torch.bool))


def scores(rate: float, fluctuation: float, hits: float, count: int, seed: int) -> tuple[Any, Any]:
    """Lit pixels of a run with a share of hits, and of a million misses."""
    generator = np.random.default_rng(seed)

    def misses(number: int) -> Any:
        factor = generator.gamma(1 / fluctuation**2, fluctuation**2, number) if fluctuation else 1.0
        return generator.poisson(rate * factor, number)

    found = int(count * hits)
    bright = generator.poisson((rate + 10) * (1.5 + generator.gamma(1, 5, found)))
    run = np.concatenate([misses(count - found), bright])
    return torch.from_numpy(generator.permutation(run)), misses(1_000_000)


@pytest.mark.parametrize("hits", [0.0, 0.05, 0.6])
@pytest.mark.parametrize(("rate", "fluctuation"), [(50, 0.0), (1000, 0.0), (1000, 0.1)])
def test_rate_of_false_hits_is_the_one_asked_for(rate: float, fluctuation: float, hits: float) -> None:
    """To a factor of two from 20,000 frames, hits and all."""
    run, misses = scores(rate, fluctuation, hits, 20_000, seed=2)
    null = null_distribution(run)
    for asked in (1e-2, 1e-3):
        found = (misses > null.threshold(asked)).mean()
        assert asked / 2 < found < 2 * asked
    assert null.spread == pytest.approx(np.sqrt(1 + rate * fluctuation**2), rel=0.12)


@pytest.mark.parametrize("rate", [0.0, 0.0005, 0.1, 3.0])
def test_few_lit_pixels_never_give_more_false_hits_than_asked(rate: float) -> None:
    for seed in range(3):
        run, misses = scores(rate, 0.0, 0.2, 2000, seed)
        null = null_distribution(run)
        assert (misses > null.threshold(1e-3)).mean() < 1.5e-3
        assert null.threshold(1e-3) < 3 * rate + 10  # and hits are still found
        assert np.isfinite(null.significance(run).numpy()).all()


def test_significance_is_in_standard_deviations_of_the_misses() -> None:
    run, misses = scores(400, 0.0, 0.1, 5000, seed=3)
    null = null_distribution(run)
    significance = null.significance(torch.from_numpy(misses)).numpy()
    assert abs(significance.mean()) < 0.15
    assert abs(significance.std() - 1) < 0.06
    assert null.false_positive_rate(null.threshold(1e-3)) == pytest.approx(1e-3, rel=1e-6)
    assert null.threshold(1e-4) > null.threshold(1e-2)
    assert null.significance(torch.tensor([torch.nan])).isnan().all()


def test_scores_that_are_gaussian_are_left_as_they_are() -> None:
    values = np.random.default_rng(4).normal(-3, 2, 10_000)
    values[:2000] += np.random.default_rng(5).exponential(40, 2000)
    null = null_distribution(torch.from_numpy(values), counts=False)
    assert null.center == pytest.approx(-3, abs=0.2)
    assert null.spread == pytest.approx(2, rel=0.1)
    assert null.threshold(1e-3) == pytest.approx(null.center + 3.0902 * null.spread, rel=1e-4)


def test_too_few_or_impossible_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="found 3 scores; expected at least 16"):
        null_distribution(torch.tensor([1.0, 2.0, 3.0, torch.nan]))
    with pytest.raises(ValueError, match="found the count -1"):
        null_distribution(torch.arange(-1, 30))
    with pytest.raises(ValueError, match="tell no spread"):
        null_distribution(torch.zeros(100), counts=False)
    with pytest.raises(ValueError, match=r"false_positive_rate 0\.7"):
        NullDistribution(0.0, 1.0, False, 0.0).threshold(0.7)
    null = null_distribution(torch.zeros(100))  # a detector on which nothing ever lights up
    assert null.threshold(1e-3) >= 0.5
    assert null.threshold(1e-3) < 3


@pytest.mark.parametrize("rate", [1e-6, 0.01, 0.7, 5.0, 19.0, 300.0])
def test_poisson_quantile_is_scipys(rate: float) -> None:
    for tail in (0.1, 1e-3, 1e-9):
        assert _poisson_quantile(rate, tail) == stats.poisson.isf(tail, rate)


def test_moments_of_the_deviance_are_those_of_scipys_poisson() -> None:
    expected = 1e-8 * (50.0 / 1e-8) ** np.linspace(0, 1, 1024)
    table = _table().numpy()
    for index in (0, 400, 800, 900, 1000, 1023):
        b = expected[index]
        n = np.arange(400)
        p = stats.poisson.pmf(n, b)
        d = 2 * (np.where(n > 0, n * np.log(np.maximum(n, 1) / b), 0) - n + b)
        np.testing.assert_allclose(table[0, index], (p * d).sum(), rtol=1e-9)
        np.testing.assert_allclose(table[1, index], (p * d**2).sum() - (p * d).sum() ** 2, rtol=1e-8)
    # Beyond, the series of many photons goes on without a step.
    np.testing.assert_allclose(table[:, -1], [1 + 1 / 300, 2 + 2 / 150], rtol=5e-4)


@pytest.mark.parametrize("brightness", [0.02, 1.0, 40.0, 200.0])
def test_score_of_background_alone_has_mean_0_and_variance_1(brightness: float) -> None:
    generator = torch.Generator().manual_seed(6)
    background = brightness * (0.2 + torch.rand(SHAPE, dtype=torch.float64, generator=generator))
    scale = 0.5 + torch.rand(3000, dtype=torch.float64, generator=generator)
    score = PoissonScore(background, least=1e-6)
    same = score(torch.poisson(background.expand(3000, *SHAPE), generator=generator))
    other = score(torch.poisson(background * scale[:, None, None], generator=generator), scale=scale)
    for found in (same, other):
        assert abs(float(found.mean())) < 4 / np.sqrt(3000)
        assert abs(float(found.std()) - 1) < 0.06


def test_a_photon_where_none_is_expected_weighs_more() -> None:
    background = torch.full(SHAPE, 0.5)
    background[:, :20] = 0.001
    frame = torch.poisson(background, generator=torch.Generator().manual_seed(7))
    rare, common = frame.clone(), frame.clone()
    rare[:5, :10] += 1
    common[:5, 30:40] += 1
    score = PoissonScore(background)
    plain, far, near = score(torch.stack([frame, rare, common])).tolist()
    assert far > near + 20 > plain + 20
    assert lit_pixels(rare[None], 0.5) > lit_pixels(frame[None], 0.5)


def test_masked_pixels_and_nan_do_not_score() -> None:
    background = torch.full(SHAPE, 0.3)
    background[0, 0] = torch.nan
    images = torch.poisson(torch.full((4, *SHAPE), 0.3), generator=torch.Generator().manual_seed(8))
    good = torch.rand(4, *SHAPE, generator=torch.Generator().manual_seed(9)) > 0.3
    score = PoissonScore(background)
    assert len(score.pixels) == SHAPE[0] * SHAPE[1] - 1
    expected = score(images, good)
    spoiled = torch.where(good, images, 1e6)
    spoiled[~good & (torch.rand(4, *SHAPE) > 0.5)] = torch.nan
    torch.testing.assert_close(score(spoiled, good), expected)
    assert score(images, torch.zeros_like(good)).isnan().all()
    torch.testing.assert_close(score(images - 0.4, good), expected)  # read-out noise is rounded away
    with pytest.raises(ValueError, match="no pixel counts"):
        PoissonScore(background, torch.zeros(SHAPE, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"images is \(1, 2, 3\)"):
        score(torch.ones(1, 2, 3))


@pytest.mark.gpu
def test_cuda_scores_what_the_cpu_scores() -> None:
    background = torch.rand(SHAPE) + 0.1
    images = torch.poisson(background.expand(50, *SHAPE))
    assert torch.equal(lit_pixels(images.cuda(), 0.5).cpu(), lit_pixels(images, 0.5))
    torch.testing.assert_close(PoissonScore(background.cuda())(images.cuda()).cpu(), PoissonScore(background)(images))
    assert typical_level(images.cuda()) == typical_level(images)
