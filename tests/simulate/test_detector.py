"""The flat detector: geometry, interpolation against direct evaluation, counting."""

from __future__ import annotations

import math

import pytest
import torch

from cdifast.simulate import SATURATION, FlatDetector, Pills, far_field, photon_counts, rotation


def test_pixel_directions() -> None:
    detector = FlatDetector(64)
    s_x, s_y = detector.direction_cosines()
    x = detector.coordinates()
    for row, column in ((3, 40), (31, 63), (50, 0)):
        theta = math.atan(math.hypot(x[row], x[column]) / 0.065)
        phi = math.atan2(x[row], x[column])
        assert float(s_x[row, column]) == pytest.approx(math.sin(theta) * math.cos(phi))
        assert float(s_y[row, column]) == pytest.approx(math.sin(theta) * math.sin(phi))
    # the outer edge of the last pixel lies at the maximum angle
    assert math.atan((float(x[-1]) + detector.pixel_pitch / 2) / 0.065) == pytest.approx(math.radians(30))


def test_solid_angles_add_up_to_the_square_pyramid() -> None:
    # a square plate of half width a at distance L covers 4 arcsin(a^2 / (a^2 + L^2)) sr
    detector = FlatDetector(512)
    total = float(detector.solid_angle().sum()) * (detector.pixel_pitch / detector.distance) ** 2
    t = math.tan(detector.max_angle) ** 2
    assert total == pytest.approx(4 * math.asin(t / (t + 1)), rel=1e-5)


def test_solid_angle_is_the_cubed_cosine() -> None:
    detector = FlatDetector(33)
    s_x, s_y = detector.direction_cosines()
    theta = torch.asin((s_x**2 + s_y**2).sqrt())
    torch.testing.assert_close(detector.solid_angle(), theta.cos() ** 3)


def test_hole_and_rim() -> None:
    detector = FlatDetector(101, hole=0.4)
    lit = detector.lit()
    row = lit[50]  # through the centre: pixels 0..100, radius 50.5 pixels
    assert row.nonzero().flatten().tolist() == [*range(30), *range(71, 101)]
    assert not lit[0, 0]
    assert float(lit.float().mean()) == pytest.approx(math.pi / 4 * (1 - 0.4**2), rel=0.02)


@pytest.mark.parametrize("length", [400e-9, 1500e-9])
def test_resampled_field_against_direct_evaluation(length: float) -> None:
    """The transform itself, asked at exactly the pixels' directions, one pixel at a time."""
    wavelength = torch.tensor([50e-9], dtype=torch.float64)
    angles = (torch.tensor([a], dtype=torch.float64) for a in (1.0, 0.4, 0.0))
    radius, bend = torch.tensor([150e-9]).double(), torch.tensor([0.0]).double()
    shape = Pills(radius, torch.tensor([length]).double(), bend, rotation(*angles))
    detector = FlatDetector(64)
    grid = detector.direction_grid(float(shape.reach() / wavelength))
    found = detector.resample(far_field(shape, wavelength, grid, dtype=torch.float64))[0]
    s_x, s_y = detector.direction_cosines()
    lit = detector.lit()
    errors, sizes = [], []
    for row, column in lit.nonzero()[::211].tolist():
        # with the grid's far end, which decides how finely the particle is sampled
        asked = torch.stack([s_x[row, column], s_y[row, column], grid[-1]])
        exact = far_field(shape, wavelength, asked, dtype=torch.float64)
        errors.append(float((found[row, column] - exact[0, 1, 0]).abs()))
        sizes.append(float(exact[0, 1, 0].abs()))
    assert len(errors) > 12
    local = math.sqrt(sum(v**2 for v in sizes) / len(sizes))
    assert max(errors) < 1e-3 * local


def test_float32_resampling_keeps_its_type() -> None:
    detector = FlatDetector(16)
    grid = detector.direction_grid(3.0)
    field = torch.ones(2, len(grid), len(grid), dtype=torch.complex64)
    found = detector.resample(field)
    assert found.dtype == torch.complex64
    torch.testing.assert_close(found, torch.ones(2, 16, 16, dtype=torch.complex64), rtol=0, atol=1e-5)


def test_poisson_mean_and_variance() -> None:
    generator = torch.Generator().manual_seed(5)
    for mean in (0.3, 7.0, 400.0):
        counts = photon_counts(torch.full((200, 200), mean), generator).double()
        error = math.sqrt(mean / counts.numel())
        assert abs(float(counts.mean()) - mean) < 4 * error
        # variance of the sample variance of a Poisson variable: (mean + 2 mean^2) / n
        assert abs(float(counts.var()) - mean) < 4 * math.sqrt((mean + 2 * mean**2) / counts.numel())


def test_counts_saturate() -> None:
    generator = torch.Generator().manual_seed(5)
    counts = photon_counts(torch.tensor([0.0, 1e5, 1e12]), generator)
    assert counts.dtype == torch.int32
    assert counts.tolist() == [0, SATURATION, SATURATION]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 15}, "size must be at least 16 pixels, not 15"),
        ({"size": 64, "distance": 0.0}, "distance must be positive"),
        ({"size": 64, "max_angle": 1.0}, "max_angle must lie in"),
        ({"size": 64, "hole": 1.0}, "hole must be a fraction"),
    ],
)
def test_impossible_detectors_are_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FlatDetector(**change)  # type: ignore[arg-type]


def test_field_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"field must be \(\.\.\., n, n\)"):
        FlatDetector(16).resample(torch.ones(3, 20, 21, dtype=torch.complex64))
