"""Superellipsoids, surface waves and polyhedra against closed forms and independent libraries."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cdifast.simulate import Harmonics, Icosahedra, Spheroids, Superellipsoids, rotation
from cdifast.simulate.curved import DEGREES, real_harmonics
from cdifast.simulate.polyhedra import icosahedron_corners


def at(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


TURN = rotation(at(0.8), at(2.1), at(0.7))


def grid(half: Tensor, count: int) -> Tensor:
    return ((torch.arange(count, dtype=torch.float64) + 0.5) / count * 2 - 1) * half


def thickness(shape: Any, count: int) -> tuple[Tensor, Tensor, Tensor]:
    half = shape.half_extents()[0]
    x, y = grid(half[0], count), grid(half[1], count)
    pieces = shape.columns(x[None], y[None])[0]
    return (pieces[:, 1] - pieces[:, 0]).sum(0), x, y


def volume(shape: Any, count: int = 150) -> float:
    depth, x, y = thickness(shape, count)
    return float(depth.sum() * (x[1] - x[0]) * (y[1] - y[0]))


def waves() -> Tensor:
    coefficients = torch.zeros(1, 21, dtype=torch.float64)
    coefficients[0, [0, 3, 8, 15]] = at(0.04, 0.08, 0.03, -0.02)
    return coefficients


@pytest.mark.parametrize("exponent", [1.0, 2.0, 3.5, 8.0])
def test_superellipsoid_volume(exponent: float) -> None:
    # 2 pi a^2 c times the integral of (1 - z^p)^(2/p): a Beta function
    shape = Superellipsoids(at(1.5), at(0.8), at(exponent), TURN)
    g = math.gamma
    beta = g(1 + 1 / exponent) * g(1 + 2 / exponent) / g(1 + 3 / exponent)
    assert volume(shape) == pytest.approx(2 * math.pi * 0.8**2 * 1.5 * beta, rel=3e-3)


def test_a_superellipsoid_of_exponent_two_is_a_spheroid() -> None:
    curved, quadric = Superellipsoids(at(1.5), at(0.8), at(2.0), TURN), Spheroids(at(1.5), at(0.8), TURN)
    torch.testing.assert_close(curved.half_extents(), quadric.half_extents())
    x, y = (grid(h, 90)[None] for h in quadric.half_extents()[0, :2])
    found, expected = curved.columns(x, y), quadric.columns(x, y)
    deep = (expected[:, :, 1] - expected[:, :, 0] > 0.3)[:, :, None].expand_as(expected)
    torch.testing.assert_close(found[deep], expected[deep], rtol=0, atol=2e-5)
    lengths, exact = ((part[0, 0, 1] - part[0, 0, 0]) for part in (found, expected))
    pitch = 2 * float(quadric.half_extents()[0, 2]) / 23  # a shorter chord may be lost between two samples
    assert float((lengths - exact).abs().max()) < pitch
    assert float((lengths - exact).abs().sum() / exact.sum()) < 1e-3


@pytest.mark.parametrize("exponent", [2.5, 6.0])
@pytest.mark.parametrize("polar", [1.5, 0.4])
def test_superellipsoid_columns_hold_the_inside_points(exponent: float, polar: float) -> None:
    shape = Superellipsoids(at(polar), at(0.8), at(exponent), TURN)
    half = shape.half_extents()[0]
    x, y, z = (grid(h, 64) for h in half)
    own = torch.stack(torch.meshgrid(x, y, z, indexing="ij"), -1) @ TURN[0]
    truth = (own[..., :2].norm(dim=-1) / 0.8) ** exponent + (own[..., 2].abs() / polar) ** exponent <= 1
    pieces = shape.columns(x[None], y[None])[0, 0].mT[..., None]  # (end, nx, ny, 1)
    found = (z > pieces[0]) & (z < pieces[1])
    assert float((found != truth).sum() / truth.sum()) < 1e-3
    for axis, extent in enumerate(half):  # the box is tight
        other = tuple(i for i in range(3) if i != axis)
        touched = (x, y, z)[axis][truth.any(other[1]).any(other[0])].abs().max()
        assert 0 <= float(extent - touched) < 0.06 * float(extent)


def test_harmonics_are_scipys() -> None:
    special = pytest.importorskip("scipy.special")
    rng = np.random.default_rng(3)
    u = rng.standard_normal((50, 3))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    theta, phi = np.arccos(u[:, 2]), np.arctan2(u[:, 1], u[:, 0])
    expected = []
    for l in DEGREES:
        for m in range(-l, l + 1):
            y = special.sph_harm_y(l, abs(m), theta, phi) * (-1) ** m  # without Condon and Shortley's phase
            expected.append(y.real if m == 0 else math.sqrt(2) * (y.imag if m < 0 else y.real))
    found = torch.stack(real_harmonics(torch.from_numpy(u))).numpy()
    np.testing.assert_allclose(found, np.array(expected), atol=1e-12)
    scaled = torch.stack(real_harmonics(torch.from_numpy(1.7 * u))).numpy()
    powers = np.repeat([1.7**l for l in DEGREES], [2 * l + 1 for l in DEGREES])[:, None]
    np.testing.assert_allclose(scaled, found * powers, atol=1e-12)


def test_volume_of_a_droplet_with_waves() -> None:
    # 1/3 of the integral of (1 + g)^3: orthonormal harmonics give 4 pi / 3 + sum a^2 to second order
    quadrature = np.polynomial.legendre.leggauss(40)
    phi = torch.linspace(0, 2 * math.pi, 81, dtype=torch.float64)[:-1]
    cosine, weight = (torch.from_numpy(part) for part in quadrature)
    sine = (1 - cosine**2).sqrt()
    u = torch.stack([sine[:, None] * phi.cos(), sine[:, None] * phi.sin(), cosine[:, None].expand(-1, 80)], -1)
    radius = 1 + sum(a * y for a, y in zip(waves()[0], real_harmonics(u), strict=True))
    exact = float((radius**3 / 3 * weight[:, None]).sum() * 2 * math.pi / 80)
    assert exact == pytest.approx(4 * math.pi / 3 + float(waves().square().sum()), rel=2e-4)
    assert volume(Harmonics(at(1.0), waves(), TURN)) == pytest.approx(exact, rel=2e-3)


def test_waves_turn_with_the_droplet_and_scale_with_it() -> None:
    shape = Harmonics(at(2.0), waves(), TURN)
    x, y, z = (grid(h, 50) for h in shape.half_extents()[0])
    own = torch.stack(torch.meshgrid(x, y, z, indexing="ij"), -1) @ TURN[0]
    distance = own.norm(dim=-1)
    wave = sum(a * value for a, value in zip(waves()[0], real_harmonics(own / distance[..., None]), strict=True))
    truth = distance <= 2 * (1 + wave)
    pieces = shape.columns(x[None], y[None])[0, 0].mT[..., None]
    assert float((((z > pieces[0]) & (z < pieces[1])) != truth).sum() / truth.sum()) < 1e-3
    assert float(distance[truth].max()) <= float(shape.reach())


@pytest.mark.parametrize("stretch", [1.0, 1.4])
def test_icosahedron(stretch: float) -> None:
    shape = Icosahedra(at(1.3), at(stretch), TURN)
    edge = 1.3 / math.sin(2 * math.pi / 5)
    assert volume(shape) == pytest.approx(stretch * 5 / 12 * (3 + math.sqrt(5)) * edge**3, rel=1e-3)
    spatial = pytest.importorskip("scipy.spatial")
    hull = spatial.Delaunay(shape.corners()[0].numpy())
    x, y, z = (grid(h, 40) for h in shape.half_extents()[0])
    points = torch.stack(torch.meshgrid(x, y, z, indexing="ij"), -1)
    truth = torch.from_numpy(hull.find_simplex(points.numpy()) >= 0)
    pieces = shape.columns(x[None], y[None])[0, 0].mT[..., None]
    assert bool((((z > pieces[0]) & (z < pieces[1])) == truth).all())


def test_corners_of_the_icosahedron_have_equal_distances() -> None:
    corners = icosahedron_corners()
    torch.testing.assert_close(corners.norm(dim=1), torch.ones(12, dtype=torch.float64))
    nearest = torch.cdist(corners, corners).sort(dim=1).values[:, 1:6]
    torch.testing.assert_close(nearest, torch.full_like(nearest, 1 / math.sin(2 * math.pi / 5)))


def test_impossible_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="exponent of a superellipsoid must be at least 1"):
        Superellipsoids(at(1.0), at(1.0), at(0.9), TURN)
    with pytest.raises(ValueError, match="harmonics are too large"):
        Harmonics(at(1.0), waves() * 4, TURN)
    with pytest.raises(ValueError, match=r"coefficients must be \(B, 21\), not \(1, 5\)"):
        Harmonics(at(1.0), torch.zeros(1, 5), TURN)
    with pytest.raises(ValueError, match="stretch of an icosahedron must be positive"):
        Icosahedra(at(1.0), at(0.0), TURN)
