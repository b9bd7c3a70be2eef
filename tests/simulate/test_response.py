"""What the detector makes of photons, P1's noise, and helium's refractive index."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cdifast.simulate import FlatDetector, NoiseBounds, Response, add_uniform_noise, helium_index, photon_counts
from cdifast.simulate.helium_population import RESPONSE
from cdifast.simulate.optics import PLASMA_ENERGY_SQUARED, absorption_length, photoionisation

DETECTOR = FlatDetector(128, hole=0.25)
LIT = DETECTOR.lit()


def generator(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def recorded(mean: float, response: Response, seed: int = 5) -> Tensor:
    return response.record(torch.where(LIT, mean, 0.0), DETECTOR, generator(seed))[LIT].double()


def test_the_ideal_response_counts_photons() -> None:
    expected = torch.where(LIT, 7.0, 0.0)
    image = Response().record(expected, DETECTOR, generator())
    assert torch.equal(image, photon_counts(expected, generator()))
    assert Response().ideal
    assert not RESPONSE.ideal


@pytest.mark.parametrize("mean", [0.5, 3.0, 60.0])
def test_pulse_heights_spread_as_gamma_numbers(mean: float) -> None:
    # sum of Poisson(m) pulses of mean g and relative variance v: mean m g, variance m g^2 (1 + v)
    gain, spread = 50.0, 0.4
    signal = recorded(mean, Response(counts_per_photon=gain, gain_spread=spread))
    assert float(signal.mean()) / (gain * mean) == pytest.approx(1, abs=5 * math.sqrt(1.4 / mean / signal.numel()))
    # rounding adds 1/12
    assert float(signal.var()) == pytest.approx(mean * gain**2 * (1 + spread), rel=0.06)


def test_the_gain_falls_at_many_photons() -> None:
    response = Response(linear_photons=20, exponent=0.5, counts_per_photon=10)
    knee = 20 * (256 / 128) ** 2  # stated for 256 pixels; four times the area
    for mean in (0.01 * knee, 10 * knee, 1000 * knee):
        claimed = knee * (math.sqrt(1 + mean / (0.5 * knee)) - 1) * 10
        assert float(recorded(mean, response).mean()) == pytest.approx(claimed, rel=0.03)
    bright, brighter = (float(recorded(mean * knee, response).mean()) for mean in (400.0, 1600.0))
    assert math.log(brighter / bright) / math.log(4) == pytest.approx(0.5, abs=0.03)


def test_the_halo_spreads_a_spot_as_a_gaussian() -> None:
    whole = FlatDetector(128, hole=0.0, round=False)
    spot = torch.zeros(128, 128)
    spot[64, 60] = 1e4
    image = Response(halo=0.5, halo_width=0.1, counts_per_photon=6).record(spot, whole, generator()).double()
    total = float(image.sum())
    assert total == pytest.approx(6e4, rel=0.05)
    assert float(image[64, 60]) / total == pytest.approx(0.5 + 0.5 / (2 * math.pi * 6.4**2), rel=0.01)
    along = image[64].clone()
    along[60] = 0
    ratio = float(along[54] / along[48])  # 6 and 12 pixels off, sigma 6.4
    assert ratio == pytest.approx(math.exp((12**2 - 6**2) / (2 * 6.4**2)), rel=0.05)
    ring = Response(halo=0.5).record(torch.where(LIT, 50.0, 0.0), DETECTOR, generator())
    assert int(ring[~LIT].max()) == 0


def test_saturation_and_dark_corners() -> None:
    image = Response(counts_per_photon=1e4, readout_noise=5).record(torch.where(LIT, 50.0, 0.0), DETECTOR, generator())
    assert int(image[LIT].min()) == 65535
    assert int(image[~LIT].max()) == 0
    assert image.dtype == torch.int32


def test_readout_noise_is_cut_at_zero() -> None:
    dark = recorded(0.0, Response(readout_noise=4))
    # the positive half of a normal variable
    assert float(dark.mean()) == pytest.approx(4 / math.sqrt(2 * math.pi), rel=0.05)


def test_the_detectors_state_belongs_to_the_experiment_not_to_the_shot() -> None:
    flat = [RESPONSE.record(torch.where(LIT, 1e4, 0.0), DETECTOR, generator(seed)).double() for seed in range(30)]
    first, second = sum(flat[:15]) / 15, sum(flat[15:]) / 15
    inside = RESPONSE.good(DETECTOR)
    left = (DETECTOR.coordinates() < 0).expand(128, 128)
    assert float(first[inside & left].mean()) > 1.05 * float(first[inside & ~left].mean())
    # pixel by pixel the two halves agree: what differs from the smooth shading stays the same
    shading = (1 - RESPONSE.shading * DETECTOR.coordinates() / float(DETECTOR.coordinates()[-1])).expand(128, 128)
    fine = [(part / shading**RESPONSE.exponent)[inside] for part in (first, second)]
    assert float(torch.corrcoef(torch.stack(fine))[0, 1]) > 0.8
    other = Response(pixel_spread=0.03, experiment=1)
    assert not torch.equal(other.gain_map(DETECTOR), Response(pixel_spread=0.03).gain_map(DETECTOR))


def test_the_dead_place_is_beside_the_hole_and_not_good() -> None:
    response = Response(dead=0.1)
    good = response.good(DETECTOR)
    lost = LIT & ~good
    y, x = lost.nonzero().double().mean(0) - 63.5
    assert float(x) == pytest.approx(64 * (0.25 + 0.04), abs=3)
    assert abs(float(y)) < 0.6
    image = response.record(torch.where(LIT, 100.0, 0.0), DETECTOR, generator()).double()
    assert float(image[lost].mean()) < 0.4 * float(image[good].mean())
    assert torch.equal(Response().good(DETECTOR), LIT)


def test_background_is_stray_light_and_even() -> None:
    background = Response(stray=0.7).background(DETECTOR)
    assert float(background.sum()) == pytest.approx(1)
    assert float(background[~LIT].abs().max()) == 0
    radius = (DETECTOR.coordinates()[None] ** 2 + DETECTOR.coordinates()[:, None] ** 2).sqrt()
    radius /= DETECTOR.distance * math.tan(DETECTOR.max_angle)
    inner, outer = background[LIT & (radius < 0.35)].mean(), background[LIT & (radius > 0.9)].mean()
    assert float(inner / outer) > 2
    even = Response().background(DETECTOR)[LIT]
    torch.testing.assert_close(even, even.mean().expand_as(even))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"counts_per_photon": 0.0}, "counts_per_photon must be positive"),
        ({"gain_spread": -0.1}, "gain_spread must not be negative"),
        ({"stray": 1.5}, r"stray must lie in \[0, 1\]"),
        ({"exponent": 0.0}, r"exponent must lie in \(0, 1\]"),
    ],
)
def test_impossible_responses_are_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Response(**change)  # type: ignore[arg-type]


def test_noise_bounds_are_medians_of_each_images_numbers() -> None:
    images = torch.tensor([[[0, 4], [0, 4]], [[1, 1], [1, 1]], [[0, 0], [0, 8]], [[3, 3], [5, 5]]], dtype=torch.int32)
    bounds = NoiseBounds.measure(images)
    assert bounds == NoiseBounds(mean=2.0, std=1.5, max=4.5)  # means 2 1 2 4, stds 2 0 3.46 1, maxima 4 1 8 5
    assert [bounds.upper(level) for level in ("none", "mean", "mean+std", "max")] == [0, 2, 3.5, 4.5]


@pytest.mark.parametrize("level", ["mean", "mean+std", "max"])
def test_noise_is_uniform_up_to_its_bound(level: Any) -> None:
    images = torch.poisson(torch.full((40, 32, 32), 6.0), generator=generator())
    noise = add_uniform_noise(images, level, seed=3) - images
    upper = NoiseBounds.measure(images).upper(level)
    assert 0 <= float(noise.min()) < 0.01 * upper
    assert 0.99 * upper < float(noise.max()) <= upper * (1 + 1e-5)
    assert float(noise.mean()) == pytest.approx(upper / 2, rel=0.01)
    assert float(noise.std()) == pytest.approx(upper / math.sqrt(12), rel=0.01)
    assert torch.equal(add_uniform_noise(images, level, seed=3), images + noise)
    assert not torch.equal(add_uniform_noise(images, level, seed=4), images + noise)


def test_noise_of_another_set_and_within_a_mask() -> None:
    images, mask = torch.zeros(3, 8, 8), torch.zeros(8, 8, dtype=torch.bool)
    mask[2:5] = True
    noisy = add_uniform_noise(images, "max", NoiseBounds(1.0, 1.0, 9.0), mask=mask)
    assert float(noisy[:, ~mask].abs().max()) == 0
    assert float(noisy[:, mask].min()) > 0
    assert torch.equal(add_uniform_noise(images, "none"), images)
    with pytest.raises(ValueError, match="unknown noise level 'min'"):
        add_uniform_noise(images, "min")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"images must be \(N, H, W\) with N >= 1"):
        NoiseBounds.measure(images[0])


def test_helium_absorbs_as_its_cross_section_says() -> None:
    # 7.4 Mb at threshold (Samson and Stolte 2002: 7.40), none below
    assert float(photoionisation(24.6)) == pytest.approx(7.4e-22, rel=0.01)
    assert float(photoionisation(24.5)) == 0
    # Lambert-Beer far from the bands: 1 / (density cross-section), the wings of the bands aside
    assert float(absorption_length(60.0)) == pytest.approx(1 / (2.18e28 * float(photoionisation(60.0))), rel=0.1)


def test_oscillator_strengths_add_up_to_two_electrons() -> None:
    energy = np.geomspace(24.59, 5000, 20000)
    continuum = np.trapezoid(photoionisation(energy) * 1e22 / 109.76, energy)
    assert continuum + 0.276 + 0.153 == pytest.approx(2, rel=0.03)
    # far above all resonances an electron gas: n = 1 - f E_p^2 / (2 E^2), f = 2 less the tail beyond 200 eV
    delta = 1 - helium_index(2000.0).real
    assert float(delta) == pytest.approx(PLASMA_ENERGY_SQUARED * 2 / (2 * 2000.0**2), rel=0.12)


def test_helium_refracts_less_than_vacuum_above_its_band_and_more_below() -> None:
    n = helium_index(np.array([19.0, 22.5]))
    assert n[0].real > 1.05
    assert n[1].real < 1
    assert (n.imag > 0).all()
