"""Scenes of several scatterers, layers, refraction and small angles against closed forms and direct sums."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdifast.simulate import (
    FlatDetector,
    Icosahedra,
    Pills,
    Spheroids,
    asymmetry,
    expected_pattern,
    far_field,
    rotation,
)
from cdifast.simulate.particles import new_records
from cdifast.simulate.scene import chain_places

WAVELENGTH = 50e-9
K = 2 * math.pi / WAVELENGTH


def at(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def sphere_form(u: Tensor) -> Tensor:
    return torch.where(u > 1e-3, 3 * (u.sin() - u * u.cos()) / u.clamp_min(1e-3) ** 3, 1 - u**2 / 10)


def record(**values: Any) -> NDArray[Any]:
    one = new_records(1)
    base = {"kind": b"sphere", "equatorial_radius": 3e-7, "length": 6e-7, "wavelength": WAVELENGTH, "photons": 1e6}
    for name in ("tilt", "azimuth", "roll", "bend"):
        one[name] = 0
    one["absorption_length"] = np.inf
    for name, value in {**base, **values}.items():
        one[name] = value
    return one


def pixel_vectors(detector: FlatDetector) -> tuple[Tensor, Tensor]:
    """Directions ``(size, size, 3)`` and transfers ``k (s - e_z)`` of the pixels."""
    s_x, s_y = detector.direction_cosines()
    s = torch.stack([s_x, s_y, (1 - s_x**2 - s_y**2).sqrt()], -1)
    return s, K * (s - at(0, 0, 1))


def sphere_at(radius: float, transfer: Tensor) -> Tensor:
    return sphere_form(transfer.norm(dim=-1) * radius)


def test_two_droplets_interfere_as_two_spheres_do() -> None:
    """|sqrt(w1) F1 + sqrt(w2) F2 exp(-i q.d)|^2, each weight set by the share of the photons."""
    detector = FlatDetector(64, hole=0.2)
    lit, d, share = detector.lit(), at(1.0e-6, -0.5e-6, 2.5e-6), 0.3
    one = record(second_radius=2.5e-7, second_share=share, second_x=d[0], second_y=d[1], second_z=d[2])
    found = expected_pattern(one, detector, dtype=torch.float64)
    _, transfer = pixel_vectors(detector)
    first, second = sphere_at(3e-7, transfer), sphere_at(2.5e-7, transfer)
    solid = detector.solid_angle()
    w1 = (1 - share) / (first**2 * solid)[lit].sum()
    w2 = share / (second**2 * solid)[lit].sum()
    # averaged over the pixel by 5 x 5 points of its own: the phase is all that changes fast
    cross = torch.zeros_like(first)
    shifts = (torch.arange(5, dtype=torch.float64) - 2) / 5 * detector.pixel_pitch
    for dy in shifts:
        for dx in shifts:
            x, y = detector.coordinates()[None, :] + dx, detector.coordinates()[:, None] + dy
            reach = (x**2 + y**2 + detector.distance**2).sqrt()
            phase = K * (x * d[0] + y * d[1] + detector.distance * d[2]) / reach - K * d[2]
            cross += phase.cos() / 25
    expected = (w1 * first**2 + w2 * second**2 + 2 * (w1 * w2).sqrt() * first * second * cross) * solid
    expected *= 1e6 / expected[lit].sum()
    error = (found - expected)[lit].abs()
    local = (w1 * first**2 + w2 * second**2) * solid * 1e6
    assert float((error / (local[lit] + local[lit].mean() * 0.02)).mean()) < 0.01
    incoherent = (w1 * first**2 + w2 * second**2) * solid * 1e6
    assert float((found - incoherent)[lit].abs().mean() / error.mean()) > 30  # the fringes are really there


def test_droplets_far_apart_side_by_side_add_their_intensities() -> None:
    detector = FlatDetector(64)
    lit = detector.lit()
    one = record(second_radius=4e-7, second_share=0.5, second_x=120e-6, second_y=90e-6)
    found = expected_pattern(one, detector, dtype=torch.float64)
    parts = [expected_pattern(record(equatorial_radius=r, length=2 * r, photons=5e5), detector) for r in (3e-7, 4e-7)]
    torch.testing.assert_close(found[lit], (parts[0] + parts[1])[lit].double(), rtol=0.03, atol=0.03)


def test_newton_rings_lie_where_two_point_sources_put_them() -> None:
    # Maxima of the interference at angle alpha from d: |d| (1 - cos alpha) = m wavelength, when the droplets are alike
    distance, aside = 10e-6, math.radians(15)
    detector = FlatDetector(240)
    alike = record(second_radius=3e-7, second_share=0.5, second_x=distance * math.sin(aside))
    alike["second_z"] = distance * math.cos(aside)
    fringes = expected_pattern(alike, detector, dtype=torch.float64) / expected_pattern(record(), detector).double()
    s, _ = pixel_vectors(detector)
    alpha = torch.acos((s @ at(math.sin(aside), 0, math.cos(aside))).clamp(-1, 1))
    phase = K * distance * (1 - alpha.cos()) / (2 * math.pi)
    start = K * distance * (1 - math.cos(aside)) / (2 * math.pi)  # of the second source, in turns of its light
    order = (phase - start).remainder(1)
    near = (alpha < 0.25) & detector.lit()
    bright = fringes[near & ((order < 0.1) | (order > 0.9))].mean()
    dark = fringes[near & ((order - 0.5).abs() < 0.1)].mean()
    assert float(bright / dark) > 5


def test_layers_against_the_direct_sum() -> None:
    """Density 1 + m cos(Q.r + phase) in a tilted spheroid, voxel by voxel on the Ewald sphere."""
    tilt, azimuth, period, phase, amplitude = 1.1, 0.5, 120e-9, 0.7, 0.6
    turn = rotation(at(tilt), at(azimuth), at(0.0))
    polar, equatorial = 150e-9, 90e-9
    step = WAVELENGTH / 20
    c = (np.arange(120) - 59.5) * step
    X, Y, Z = np.meshgrid(c, c, c, indexing="ij")
    axis = turn[0, :, 2].numpy()
    along = X * axis[0] + Y * axis[1] + Z * axis[2]
    inside = along**2 / polar**2 + (X**2 + Y**2 + Z**2 - along**2) / equatorial**2 <= 1
    weight = (1 + amplitude * np.cos(2 * np.pi / period * along + phase))[inside]
    points = np.stack([X, Y, Z], -1)[inside]
    s = torch.linspace(-0.45, 0.45, 6, dtype=torch.float64)
    expected = np.empty((6, 6), dtype=complex)
    for i, sy in enumerate(s.tolist()):
        for j, sx in enumerate(s.tolist()):
            q = K * np.array([sx, sy, math.sqrt(1 - sx**2 - sy**2) - 1])
            expected[i, j] = (weight * np.exp(-1j * points @ q)).sum() * step**3 / WAVELENGTH**3
    shape = Spheroids(at(polar), at(equatorial), turn)
    wave = torch.from_numpy(axis)[None] * (2 * math.pi / period)
    fields = [far_field(shape, at(WAVELENGTH), s, carrier=c, dtype=torch.float64)[0] for c in (None, wave, -wave)]
    turned = complex(np.exp(1j * phase))
    found = (fields[0] + amplitude / 2 * (turned * fields[1] + turned.conjugate() * fields[2])).numpy()
    assert np.abs(found - expected).max() < 0.005 * np.abs(expected).max()
    assert np.abs(fields[0].numpy() - expected).max() > 0.1 * np.abs(expected).max()


@pytest.mark.parametrize("delta", [0.05, -0.08])
def test_refraction_and_absorption_against_the_direct_sum(delta: float) -> None:
    length, step = 90e-9, WAVELENGTH / 24
    c = (np.arange(126) - 62.5) * step
    X, Y, Z = np.meshgrid(c, c, c, indexing="ij")
    radius = 130e-9
    inside = radius**2 >= X**2 + Y**2 + Z**2
    met = Z + np.sqrt(np.maximum(radius**2 - X**2 - Y**2, 0))
    weight = np.exp(-met / (2 * length) - 1j * K * delta * met)[inside]
    points = np.stack([X, Y, Z], -1)[inside]
    s = torch.linspace(-0.45, 0.45, 5, dtype=torch.float64)
    expected = np.empty((5, 5), dtype=complex)
    for i, sy in enumerate(s.tolist()):
        for j, sx in enumerate(s.tolist()):
            q = K * np.array([sx, sy, math.sqrt(1 - sx**2 - sy**2) - 1])
            expected[i, j] = (weight * np.exp(-1j * points @ q)).sum() * step**3 / WAVELENGTH**3
    shape = Spheroids(at(radius), at(radius), rotation(at(0.0), at(0.0), at(0.0)))
    options: dict[str, Any] = {"absorption_length": at(length), "refraction": at(delta)}
    found = far_field(shape, at(WAVELENGTH), s, dtype=torch.float64, **options)[0].numpy()
    assert np.abs(found - expected).max() < 0.005 * np.abs(expected).max()


def test_an_opaque_droplet_keeps_its_front() -> None:
    # absorbed within a tenth of a wavelength: 2 l times the transform of the front surface, in closed form on the axis
    l, radius = 5e-9, 300e-9
    shape = Spheroids(at(radius), at(radius), rotation(at(0.0), at(0.0), at(0.0)))
    found = far_field(shape, at(WAVELENGTH), at(0.0, 0.5), absorption_length=at(l), dtype=torch.float64)[0, 0, 0]
    assert float(found.real) == pytest.approx(2 * l * math.pi * radius**2 / WAVELENGTH**3, rel=0.01)


def test_opaque_droplets_do_not_overflow_single_precision() -> None:
    shape = Spheroids(at(4e-7), at(4e-7), rotation(at(0.0), at(0.0), at(0.0)))
    s = torch.linspace(-0.5, 0.5, 24, dtype=torch.float64)
    for length in (6e-9, 1.2e-9):  # the incoming field falls by e^-33 and e^-167 over half the droplet
        fields = [
            far_field(shape, at(WAVELENGTH), s, absorption_length=at(length), dtype=kind)
            for kind in (torch.float32, torch.float64)
        ]
        assert fields[0].dtype == torch.complex64
        scale = float(fields[1].abs().max())
        torch.testing.assert_close(fields[0].to(fields[1].dtype), fields[1], rtol=0, atol=1e-5 * scale)
    with pytest.raises(ValueError, match="absorption_length of 1e-10 m is too short"):
        far_field(shape, at(WAVELENGTH), s, absorption_length=at(1e-10))


def test_tilted_ellipsoid_in_closed_form_and_its_asymmetry() -> None:
    """F = V 3 (sin u - u cos u) / u^3 with u = |A q|; u at opposite rim points differs as ``asymmetry`` says."""
    a, c, tilt = 350e-9, 230e-9, 0.9
    axis = at(math.sin(tilt), 0, math.cos(tilt))
    shape = Spheroids(at(c), at(a), rotation(at(tilt), at(0.0), at(0.0)))
    s = torch.linspace(-0.5, 0.5, 41, dtype=torch.float64)
    s_y, s_x = torch.meshgrid(s, s, indexing="ij")
    seen = s_x**2 + s_y**2 <= 0.25
    q = K * torch.stack([s_x, s_y, (1 - s_x**2 - s_y**2).sqrt() - 1], -1)
    on_axis = q @ axis
    u = (a**2 * (q.square().sum(-1) - on_axis**2) + c**2 * on_axis**2).sqrt()
    volume = 4 / 3 * math.pi * a**2 * c / WAVELENGTH**3
    found = far_field(shape, at(WAVELENGTH), s, dtype=torch.float64)[0] / volume
    error = (found - sphere_form(u)).abs() * (1 + u**2) / 3
    assert float(error[seen].square().mean().sqrt()) < 0.004
    one = record(kind=b"oblate", equatorial_radius=a, length=2 * c, tilt=tilt)
    left, right = float(u[20, 0]), float(u[20, 40])
    claimed = float(asymmetry(one, math.radians(30))[0])
    assert abs(right - left) / ((left + right) / 2) == pytest.approx(claimed, rel=0.08)
    assert claimed > 0.15


def test_patterns_depend_on_sizes_in_wavelengths_alone() -> None:
    s = torch.linspace(-0.5, 0.5, 32, dtype=torch.float64)
    fields = []
    for scale in (1.0, 1.7):
        shape = Pills(at(120e-9 * scale), at(600e-9 * scale), at(0.4), rotation(at(1.0), at(0.3), at(0.2)))
        fields.append(far_field(shape, at(50e-9 * scale), s, absorption_length=at(2e-7 * scale), dtype=torch.float64))
    torch.testing.assert_close(fields[0], fields[1], rtol=1e-9, atol=1e-9 * float(fields[0].abs().max()))


def test_rings_shrink_with_the_photon_energy() -> None:
    """The first minimum of a sphere: q R = 4.4934, at sin(theta / 2) = 4.4934 wavelength / (4 pi R)."""
    for wavelength in (35e-9, 50e-9, 65e-9):
        detector = FlatDetector(256, hole=0.0)
        image = expected_pattern(record(wavelength=wavelength), detector, dtype=torch.float64)
        row = image[127, 128:]
        x = detector.coordinates()[128:]
        first = 2 * math.asin(4.4934 * wavelength / (4 * math.pi * 3e-7))
        near = (torch.atan(x / detector.distance) - first).abs() < 0.4 * first
        minimum = torch.atan(x[near][row[near].argmin()] / detector.distance)
        assert float(minimum) == pytest.approx(first, abs=0.008)


def test_radial_profile_falls_as_porod_says() -> None:
    # a sharp surface: q^-4 on average over rings, here from u = 15 to 90 at angles where q is k theta
    s = torch.linspace(0, 0.08, 161, dtype=torch.float64)
    radius = 10e-6
    shape = Spheroids(at(radius), at(radius), rotation(at(0.0), at(0.0), at(0.0)))
    pattern = far_field(shape, at(WAVELENGTH), s, dtype=torch.float64)[0].abs() ** 2
    u = (K * radius * (s[:, None] ** 2 + s**2).sqrt()).flatten()
    edges = torch.logspace(math.log10(15.0), math.log10(90.0), 8, dtype=torch.float64)
    means = torch.stack(
        [(pattern.flatten() * u**4)[(u >= low) & (u < high)].mean() for low, high in itertools.pairwise(edges)]
    )
    middles = (edges[1:] * edges[:-1]).sqrt().log()
    design = torch.stack([middles, torch.ones_like(middles)], 1)
    slope = float(torch.linalg.lstsq(design, means.log()[:, None]).solution[0])
    assert abs(slope) < 0.1  # of q^4 I: oscillations do not average out wholly within a ring
    # Porod's constant: 2 pi S (per steradian, in these units: 9 V^2 / 2 over u^4)
    volume = 4 / 3 * math.pi * (radius / WAVELENGTH) ** 3
    assert float(means.mean()) == pytest.approx(4.5 * volume**2, rel=0.1)


def direct_field(points: NDArray[np.float64], cell: float, s: Tensor, wavelength: float) -> NDArray[np.complex128]:
    k = 2 * math.pi / wavelength
    out = np.empty((len(s), len(s)), dtype=complex)
    for i, sy in enumerate(s.tolist()):
        for j, sx in enumerate(s.tolist()):
            q = k * np.array([sx, sy, math.sqrt(1 - sx**2 - sy**2) - 1])
            out[i, j] = np.exp(-1j * points @ q).sum() * cell / wavelength**3
    return out


def test_icosahedron_in_x_rays_against_the_direct_sum() -> None:
    spatial = pytest.importorskip("scipy.spatial")
    wavelength, radius = 1.03e-9, 95e-9
    shape = Icosahedra(at(radius), at(1.0), rotation(at(0.7), at(0.4), at(0.3)))
    hull = spatial.Delaunay(shape.corners()[0].numpy())
    step = 190e-9 / 90
    c = (np.arange(92) - 45.5) * step
    points = np.stack(np.meshgrid(c, c, c, indexing="ij"), -1).reshape(-1, 3)
    points = points[hull.find_simplex(points) >= 0]
    s = torch.linspace(-0.03, 0.03, 9, dtype=torch.float64)
    expected = direct_field(points, step**3, s, wavelength)
    found = far_field(shape, at(wavelength), s, dtype=torch.float64)[0].numpy()
    assert np.abs(found - expected).max() < 0.004 * np.abs(expected).max()
    outer = np.hypot(s.numpy()[:, None], s.numpy()) > 0.015
    assert np.abs(found - expected)[outer].max() < 0.06 * np.sqrt(np.mean(np.abs(expected[outer]) ** 2))


def test_an_icosahedron_along_its_axes_has_ten_and_six_fold_patterns() -> None:
    """Small angles add the inversion: five-fold becomes ten-fold, three-fold six-fold."""
    s = torch.linspace(-0.003, 0.003, 40, dtype=torch.float64)  # so small that the Ewald sphere is flat
    wavelength, radius = at(0.103e-9), at(95e-9)
    to_face = math.acos(math.sqrt((5 + 2 * math.sqrt(5)) / 15))  # 37.4 degrees from a corner to a face

    def pattern(tilt: float, turn: float) -> Tensor:
        orientation = rotation(at(tilt), at(turn), at(0.0))  # azimuth turns everything about the beam
        return far_field(Icosahedra(radius, at(1.0), orientation), wavelength, s, dtype=torch.float64)[0].abs() ** 2

    def unlike(tilt: float, degrees: float) -> float:
        one, other = pattern(tilt, 0.0), pattern(tilt, math.radians(degrees))
        weight = (s[:, None] ** 2 + s**2) ** 2 * ((s[:, None] ** 2 + s**2) > 0.0008**2)
        return float((weight * (one - other).abs()).sum() / (weight * (one + other)).sum())

    assert unlike(0.0, 36) < 0.03
    assert unlike(0.0, 18) > 0.1
    assert unlike(to_face, 60) < 0.03
    assert unlike(to_face, 30) > 0.2


def test_a_chain_is_the_sum_of_its_spheres() -> None:
    one = record(kind=b"chain", equatorial_radius=22e-9, length=5 * 44e-9, bend=0.8, tilt=1.2, azimuth=0.4, roll=0.5)
    one["wavelength"] = 1.03e-9
    places = chain_places(one)
    gaps = (places[1:] - places[:-1]).norm(dim=1)
    torch.testing.assert_close(gaps, torch.full((4,), 44e-9, dtype=torch.float64), rtol=0.01, atol=0)
    detector = FlatDetector(64, distance=0.74, max_angle=0.05, hole=0.1, round=False)
    found = expected_pattern(one, detector, dtype=torch.float64)
    s_x, s_y = detector.direction_cosines()
    q = 2 * math.pi / 1.03e-9 * torch.stack([s_x, s_y, (1 - s_x**2 - s_y**2).sqrt() - 1], -1)
    field = sphere_form(q.norm(dim=-1) * 22e-9) * torch.exp(-1j * (q @ places.T)).sum(-1)
    expected = field.abs() ** 2 * detector.solid_angle()
    expected *= 1e6 / expected[detector.lit()].sum()
    lit = detector.lit()
    assert float((found - expected)[lit].abs().max()) < 0.01 * float(expected[lit].max())
    assert float((found - expected)[lit].abs().mean()) < 0.01 * float(expected[lit].mean())


def test_small_angles_are_friedel_symmetric_and_wide_ones_not() -> None:
    lopsided = []
    for wavelength, scale in ((50e-9, 1.0), (1e-9, 1.0)):
        s = torch.linspace(-0.45, 0.45, 41, dtype=torch.float64) * (wavelength / 50e-9)
        shape = Pills(at(1e-7 * scale), at(5e-7 * scale), at(0.0), rotation(at(0.9), at(0.3), at(0.0)))
        pattern = far_field(shape, at(wavelength), s, dtype=torch.float64)[0].abs() ** 2
        outer = (s[:, None] ** 2 + s**2).sqrt() > 0.3 * s.max()
        lopsided.append(float((pattern - pattern.flip(0, 1))[outer].abs().sum() / pattern[outer].sum()))
    assert lopsided[0] > 0.3  # the same q, in the extreme ultraviolet
    assert lopsided[1] < 0.03  # and in X-rays


def test_a_beam_off_the_middle_moves_the_pattern_not_the_hole() -> None:
    detector = FlatDetector(65, hole=0.3)
    straight = expected_pattern(record(), detector, dtype=torch.float64)
    pixels = 1.0 / 32.5  # one pixel in radii of the rim
    moved = expected_pattern(record(centre_x=pixels, centre_y=-pixels), detector, dtype=torch.float64)
    shifted = torch.roll(straight, (-1, 1), (0, 1))
    both = detector.lit() & torch.roll(detector.lit(), (-1, 1), (0, 1))
    ratio = (moved / moved[both].sum())[both] / (shifted / shifted[both].sum())[both]
    assert float((ratio - 1).abs().median()) < 0.005
    with pytest.raises(ValueError, match=r"centre must be within 0\.05"):
        detector.from_beam((0.0, 0.06))
