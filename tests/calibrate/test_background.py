"""Scale of the stray light: least squares, least deviations, and where each is right."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from cdifast.calibrate import Background, Calibration, calibrate
from cdifast.calibrate.background import _least_deviations

SHAPE = (40, 50)


def light() -> torch.Tensor:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return torch.tensor(20 * np.exp(-((y - 10) ** 2 + (x - 30) ** 2) / 400) + 2, dtype=torch.float32)


def test_least_squares_is_unbiased_for_single_photons() -> None:
    """0.02 photons a pixel: the median is 0, least squares is right on average."""
    faint = light() / 300
    scales = torch.linspace(0.5, 2, 200)
    photons = torch.poisson(faint * scales[:, None, None], generator=torch.Generator().manual_seed(0))
    _, _, terms = calibrate(photons, Calibration(background=Background(faint)), return_terms=True)
    # sum v b / sum b^2 of Poisson counts has variance s sum b^3 / (sum b^2)^2.
    deviation = (scales * (faint**3).sum() / (faint**2).sum() ** 2).sqrt()
    pulls = (terms.background_scale - scales) / deviation
    assert abs(float(pulls.mean())) < 0.25
    assert 0.85 < float(pulls.std()) < 1.15
    _, _, terms = calibrate(photons, Calibration(background=Background(faint, "robust")), return_terms=True)
    assert float(terms.background_scale.abs().max()) < 0.1  # as the docstring says


def test_robust_fit_ignores_a_particle_that_least_squares_follows() -> None:
    background = light()
    generator = torch.Generator().manual_seed(1)
    frames = torch.poisson(1.5 * background.expand(8, *SHAPE), generator=generator)
    frames[:, 8:38, 5:25] += 200.0  # 30 % of the pixels
    found = {}
    for scaling in ("least-squares", "robust", "fixed"):
        calibration = Calibration(background=Background(background, scaling))  # type: ignore[arg-type]
        corrected, _, terms = calibrate(frames, calibration, return_terms=True)
        found[scaling] = terms.background_scale
        torch.testing.assert_close(corrected, frames - terms.background_scale[:, None, None] * background)
    assert (found["robust"] - 1.5).abs().max() < 0.04
    assert (found["least-squares"] > 3).all()
    assert (found["fixed"] == 1).all()
    fit = torch.ones(SHAPE, dtype=torch.bool)
    fit[8:38, 5:25] = False
    calibration = Calibration(background=Background(background, fit=fit))
    _, _, terms = calibrate(frames, calibration, return_terms=True)
    assert (terms.background_scale - 1.5).abs().max() < 0.02


def test_weighted_median_is_the_minimum_of_the_sum_of_deviations() -> None:
    generator = np.random.default_rng(2)
    background = generator.uniform(0.1, 3, 41)
    values = generator.normal(2 * background, 0.5, (20, 41))
    usable = generator.random((20, 41)) > 0.3
    found = _least_deviations(*(torch.from_numpy(a) for a in (values, usable, background)))
    for row, mask, scale in zip(values, usable, found.tolist(), strict=True):

        def cost(s: float, row: np.ndarray = row, mask: np.ndarray = mask) -> float:
            return float(np.abs(row - s * background)[mask].sum())

        best = minimize_scalar(cost, bracket=(0, 4))
        assert cost(scale) <= best.fun * (1 + 1e-9)


def test_without_a_fit_pixel_the_frame_is_bad() -> None:
    for scaling in ("least-squares", "robust"):
        for background in (
            Background(torch.zeros(SHAPE), scaling),
            Background(light(), scaling, torch.zeros(SHAPE) > 1),
        ):  # type: ignore[arg-type]
            _, good, terms = calibrate(torch.ones(2, *SHAPE), Calibration(background=background), return_terms=True)
            assert not good.any()
            assert terms.background_scale.isnan().all()


def test_wrong_backgrounds_are_refused() -> None:
    with pytest.raises(TypeError, match="float64"):
        Background(torch.ones(SHAPE, dtype=torch.float64))
    with pytest.raises(ValueError, match="scaling 'best'"):
        Background(light(), "best")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="fit is"):
        Background(light(), fit=torch.ones(3, 3, dtype=torch.bool))
