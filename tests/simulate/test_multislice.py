"""The far field against closed forms and against direct float64 sums on the Ewald sphere."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdifast.simulate import Pills, Spheroids, far_field, rotation

WAVELENGTH = 50e-9
K = 2 * math.pi / WAVELENGTH


def at(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def field_of(shape: Any, s: Tensor, **options: Any) -> Tensor:
    return far_field(shape, at(WAVELENGTH), s, **{"dtype": torch.float64, **options})[0]


def sphere(radius: float) -> Spheroids:
    return Spheroids(at(radius), at(radius), rotation(at(0.0), at(0.0), at(0.0)))


def sphere_form(u: Tensor) -> Tensor:
    """3 (sin u - u cos u) / u^3 (Rayleigh, Debye, Gans)."""
    return 3 * (u.sin() - u * u.cos()) / u**3


@pytest.mark.parametrize("radius", [140e-9, 332e-9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sphere_at_wide_angle(radius: float, dtype: torch.dtype) -> None:
    # The Born sphere depends on |q| = 2 k sin(theta/2) alone: right only if the Ewald curvature is.
    s = torch.linspace(-0.5, 0.5, 62, dtype=torch.float64)
    found = field_of(sphere(radius), s, dtype=dtype)
    sine = (s[:, None] ** 2 + s**2).sqrt()
    seen = sine <= 0.5
    u = (2 * K * (sine.clamp_max(1).asin() / 2).sin() * radius)[seen]
    volume = 4 / 3 * math.pi * (radius / WAVELENGTH) ** 3
    envelope = 3 / (1 + u**2)
    error = (found[seen] / volume - sphere_form(u)).abs() / envelope
    assert float(error.max()) < 0.012  # sampling of the smallest sphere's edge by columns
    assert float(error.square().mean().sqrt()) < 0.004
    # the projection q = k sin(theta) without curvature is plainly another function
    flat = (sphere_form(K * sine[seen] * radius) - sphere_form(u)).abs() / envelope
    assert float(flat.max()) > 0.1


def test_sphere_at_small_angle() -> None:
    # u = q R up to 5.3, past the first minimum, within theta <= 0.042: SAXS, where |F|^2 is the textbook form
    # of q = k sin(theta)
    s = torch.linspace(0.001, 0.03, 30, dtype=torch.float64)
    radius = 1e-6
    found = field_of(sphere(radius), s)
    u = K * (s[:, None] ** 2 + s**2).sqrt() * radius
    volume = 4 / 3 * math.pi * (radius / WAVELENGTH) ** 3
    torch.testing.assert_close(found.abs() ** 2 / volume**2, sphere_form(u) ** 2, rtol=0, atol=3e-4)


def directions(count: int) -> Tensor:
    return torch.linspace(-0.45, 0.45, count, dtype=torch.float64)


def direct_sum(
    inside: NDArray[np.bool_],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    z: NDArray[np.float64],
    s: Tensor,
    absorption_length: float = math.inf,
) -> NDArray[np.complex128]:
    """Sum over voxels ``inside[x, y, z]`` of exp(-i (k_out - k_in).r) times the beam's loss, cubic
    wavelengths."""
    step = z[1] - z[0]
    above = (np.cumsum(inside, 2) - 0.5 * inside) * step  # matter met on the way to the voxel's centre
    weight = np.exp(-above / (2 * absorption_length))[inside]
    points = np.stack(np.meshgrid(x, y, z, indexing="ij"), -1)[inside]
    out = np.empty((len(s), len(s)), dtype=np.complex128)
    for row, sy in enumerate(s.tolist()):
        for column, sx in enumerate(s.tolist()):
            outgoing = K * np.array([sx, sy, math.sqrt(1 - sx**2 - sy**2)])
            transfer = outgoing - np.array([0, 0, K])
            out[row, column] = np.sum(weight * np.exp(-1j * (points @ transfer)))
    return out * (x[1] - x[0]) * (y[1] - y[0]) * step / WAVELENGTH**3


def cells(half: float, step: float) -> NDArray[np.float64]:
    count = math.ceil(half / step)
    return (np.arange(2 * count) - count + 0.5) * step


ANGLES = (0.9, 0.5, 1.1)  # tilt, azimuth, roll


def turn() -> NDArray[np.float64]:
    """Rz(azimuth) Ry(tilt) Rz(roll), written out independently."""
    tilt, azimuth, roll = ANGLES

    def about_z(a: float) -> NDArray[np.float64]:
        return np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1.0]])

    about_y = np.array([[math.cos(tilt), 0, math.sin(tilt)], [0, 1, 0], [-math.sin(tilt), 0, math.cos(tilt)]])
    return about_z(azimuth) @ about_y @ about_z(roll)


@pytest.mark.parametrize("absorption_length", [math.inf, 120e-9])
def test_tilted_spheroid_against_the_direct_sum(absorption_length: float) -> None:
    polar, equatorial = 150e-9, 80e-9
    x = cells(150e-9, WAVELENGTH / 22)
    X, Y, Z = np.meshgrid(x, x, x, indexing="ij")
    axis = turn()[:, 2]
    along = X * axis[0] + Y * axis[1] + Z * axis[2]
    inside = along**2 / polar**2 + (X**2 + Y**2 + Z**2 - along**2) / equatorial**2 <= 1
    s = directions(11)
    expected = direct_sum(inside, x, x, x, s, absorption_length)
    shape = Spheroids(at(polar), at(equatorial), rotation(*(at(a) for a in ANGLES)))
    found = field_of(shape, s, absorption_length=at(absorption_length)).numpy()
    assert np.abs(found - expected).max() < 0.004 * np.abs(expected).max()
    outer = np.hypot(s.numpy()[:, None], s.numpy()) > 0.3
    assert np.abs(found - expected)[outer].max() < 0.03 * np.sqrt(np.mean(np.abs(expected[outer]) ** 2))


@pytest.mark.parametrize("absorption_length", [math.inf, 120e-9])
def test_bent_pill_against_the_direct_sum(absorption_length: float) -> None:
    radius, length, bend = 60e-9, 360e-9, 0.8
    x = cells(190e-9, WAVELENGTH / 22)
    own = np.stack(np.meshgrid(x, x, x, indexing="ij"), -1) @ turn()
    curvature_radius = (length - 2 * radius) / bend
    angle = np.arctan2(own[..., 2], curvature_radius - own[..., 0]).clip(-bend / 2, bend / 2)
    nearest = curvature_radius * np.stack([1 - np.cos(angle), 0 * angle, np.sin(angle)], -1)
    inside = ((own - nearest) ** 2).sum(-1) <= radius**2
    s = directions(11)
    # where the origin lies along the arc is a convention, and the modulus does not know it
    expected = np.abs(direct_sum(inside, x, x, x, s, absorption_length))
    shape = Pills(at(radius), at(length), at(bend), rotation(*(at(a) for a in ANGLES)))
    found = field_of(shape, s, absorption_length=at(absorption_length)).abs().numpy()
    assert np.abs(found - expected).max() < 0.01 * expected.max()
    outer = np.hypot(s.numpy()[:, None], s.numpy()) > 0.3
    assert np.abs(found - expected)[outer].max() < 0.05 * np.sqrt(np.mean(expected[outer] ** 2))


def test_absorption_of_a_thick_slab_leaves_the_entrance_side() -> None:
    # Forward amplitude of a sphere: integral over the disc of 2 l (1 - exp(-chord / 2l)), in closed form with
    # m = R / l: 2 pi int_0^R 2l (1 - exp(-2h/2l)) h dh, h the half chord.
    radius, l = 300e-9, 80e-9
    found = field_of(sphere(radius), at(0.0), absorption_length=at(l))[0, 0]
    h = torch.linspace(0, radius, 20001, dtype=torch.float64)
    expected = float(torch.trapezoid(4 * math.pi * l * (1 - torch.exp(-h / l)) * h, h)) / WAVELENGTH**3
    assert float(found.real) == pytest.approx(expected, rel=0.01)


def lopsidedness(tilt: float, s: Tensor) -> float:
    shape = Pills(at(100e-9), at(500e-9), at(0.0), rotation(at(tilt), at(0.3), at(0.0)))
    pattern = field_of(shape, s).abs() ** 2
    return float((pattern - pattern.flip(0, 1)).abs().sum() / pattern.sum())


def test_friedel_symmetry_holds_at_small_angles_and_breaks_at_wide_ones() -> None:
    assert lopsidedness(0.9, torch.linspace(-0.005, 0.005, 21, dtype=torch.float64)) < 1e-3
    wide = torch.linspace(-0.45, 0.45, 41, dtype=torch.float64)
    wide = wide[wide.abs() > 0.15]
    assert lopsidedness(0.9, wide) > 0.3
    assert lopsidedness(math.pi / 2, wide) < 1e-7  # seen from the side, both halves are alike


def test_turning_the_particle_about_the_beam_turns_the_pattern() -> None:
    s = directions(40)
    patterns = [
        field_of(Pills(at(100e-9), at(500e-9), at(0.5), rotation(at(0.9), at(a), at(0.4))), s).abs() ** 2
        for a in (0.3, 0.3 + math.pi / 2)
    ]
    scale = float(patterns[0].max())
    # azimuth runs from +x to +y, rows downwards: clockwise on the screen
    torch.testing.assert_close(patterns[1], torch.rot90(patterns[0], -1), rtol=1e-9, atol=1e-12 * scale)


def test_the_streak_of_a_tilted_pill_follows_the_ewald_curve() -> None:
    # q.a = 0 on the sphere: with a = (sin t, 0, cos t), s_x sin t = (1 - s_z) cos t
    tilt = 1.0
    shape = Pills(at(150e-9), at(1200e-9), at(0.0), rotation(at(tilt), at(0.0), at(0.0)))
    s = torch.linspace(-0.5, 0.5, 201, dtype=torch.float64)
    pattern = field_of(shape, s).abs() ** 2
    row = 10  # s_y = -0.45
    brightest = float(s[pattern[row].argmax()])
    solution = 0.0
    for _ in range(50):
        solution = (1 - math.sqrt(1 - 0.45**2 - solution**2)) / math.tan(tilt)
    assert brightest == pytest.approx(solution, abs=0.006)
    assert solution > 0.06


def test_a_batch_is_its_members() -> None:
    turns = rotation(at(0.3, 1.2), at(0.0, 2.0), at(0.5, 0.1))
    polar, equatorial, wavelengths = at(200e-9, 120e-9), at(90e-9, 160e-9), at(40e-9, 60e-9)
    s = directions(24)
    together = far_field(Spheroids(polar, equatorial, turns), wavelengths, s, dtype=torch.float64)
    for i in range(2):
        one = slice(i, i + 1)
        alone = far_field(Spheroids(polar[one], equatorial[one], turns[one]), wavelengths[one], s, dtype=torch.float64)
        # grids of different size sample the edge at other places
        torch.testing.assert_close(together[i], alone[0], rtol=0, atol=2e-3 * float(alone.abs().max()))


def test_half_precision_is_refused() -> None:
    with pytest.raises(TypeError, match=r"dtype must be torch\.float32 or torch\.float64, not torch\.float16"):
        field_of(sphere(1e-7), directions(8), dtype=torch.float16)
