"""What a detector is expected to see of a shot: one particle, or two droplets at once, or a chain of spheres.

Two droplets in the focus a vector ``d`` apart add their fields; the second one's is turned by the phase
``-k (s - e_z) . d``. Their interference is stationary where ``s`` points along ``d``: there, rings of angular radius
``sqrt(2 m wavelength / |d|)`` round that direction are wide enough to be seen (Newton rings); farther out they get
finer than a pixel. So each pixel averages the interference over its area: a factor ``sinc(g_x) sinc(g_y)`` with ``g``
the change of phase across the pixel in turns. Two droplets side by side leave no fringe anywhere, and the same formula
adds their intensities alone (double rings).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .detector import FlatDetector
from .multislice import far_field
from .particles import shape_of
from .shapes import Pills, Spheroids, rotation


def expected_pattern(
    record: NDArray[Any],
    detector: FlatDetector,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Photons that one shot's particles are expected to scatter into each pixel.

    Parameters
    ----------
    record : ndarray
        ``(1,)`` of :data:`cdifast.simulate.PARAMETERS`, with a particle.
    detector : FlatDetector
        Its geometry.
    device : torch.device or str
        Where to compute.
    dtype : torch.dtype
        float32 or float64.

    Returns
    -------
    Tensor
        ``(size, size)`` of ``dtype``; the lit pixels add up to the record's ``photons``. Right on lit pixels only:
        beyond a round sensor's rim the field is extrapolated.
    """
    device = torch.device(device)
    values = record[0]
    centre = (float(values["centre_y"]), float(values["centre_x"]))
    lit = detector.lit().to(device)
    solid_angle = detector.solid_angle(centre).to(device, dtype)
    field = _first_field(record, detector, centre, device, dtype)
    pattern = field.abs().square() * solid_angle
    scale = 1 / pattern[lit].sum()
    if values["second_radius"] > 0:
        share = float(values["second_share"])
        other = _second_field(record, detector, centre, device, dtype)
        second = other.abs().square() * solid_angle
        other_scale = 1 / second[lit].sum()
        phase, visibility = _interference(record, detector, centre)
        turned = other * torch.polar(visibility, phase).to(device, other.dtype)
        cross = (field.conj() * turned).real * solid_angle
        weight, other_weight = (1 - share) * scale, share * other_scale
        pattern = weight * pattern + other_weight * second + 2 * (weight * other_weight).sqrt() * cross
        scale = 1 / pattern[lit].sum()
    return pattern * (scale * float(values["photons"]))


def _first_field(
    record: NDArray[Any], detector: FlatDetector, centre: tuple[float, float], device: torch.device, dtype: torch.dtype
) -> Tensor:
    shape = shape_of(record, device)
    wavelength, absorption_length = (
        torch.tensor(record[name].tolist(), dtype=torch.float64, device=device)
        for name in ("wavelength", "absorption_length")
    )
    places = chain_places(record) if record["kind"][0] == b"chain" else None
    reach = float(shape.reach()) + (0.0 if places is None else float(places.norm(dim=1).max()))
    grid = detector.direction_grid(reach / float(wavelength)).to(device)

    def transform(carrier: Tensor | None) -> Tensor:
        return far_field(shape, wavelength, grid, absorption_length=absorption_length, carrier=carrier, dtype=dtype)[0]

    field = transform(None)
    if record["layers"][0] > 0:
        angles = (torch.tensor(record[name].tolist(), dtype=torch.float64) for name in ("tilt", "azimuth", "roll"))
        turn = rotation(*angles)
        wave = turn[..., 2].to(device) * (2 * math.pi / float(record["layer_period"][0]))
        phase = complex(np.exp(1j * record["layer_phase"][0]))
        half = float(record["layers"][0]) / 2
        field = field + half * (phase * transform(wave) + phase.conjugate() * transform(-wave))
    if places is not None:
        field = field * _structure_factor(places.to(device) / float(wavelength), grid).to(field.dtype)
    return detector.resample(field, centre)


def _second_field(
    record: NDArray[Any], detector: FlatDetector, centre: tuple[float, float], device: torch.device, dtype: torch.dtype
) -> Tensor:
    """Field of the second droplet about its own middle."""

    def tensor(name: str) -> Tensor:
        return torch.tensor(record[name].tolist(), dtype=torch.float64, device=device)

    radius, wavelength, zero = tensor("second_radius"), tensor("wavelength"), tensor("layers") * 0
    sphere = Spheroids(radius, radius, rotation(zero, zero, zero))
    grid = detector.direction_grid(float(radius / wavelength)).to(device)
    field = far_field(sphere, wavelength, grid, absorption_length=tensor("absorption_length"), dtype=dtype)
    return detector.resample(field[0], centre)


def _interference(record: NDArray[Any], detector: FlatDetector, centre: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Phase ``-k (s - e_z) . d`` of the second droplet's field at each pixel, and what a pixel's area leaves of it."""
    d_x, d_y, d_z = (float(record[f"second_{axis}"][0]) for axis in "xyz")
    k = 2 * math.pi / float(record["wavelength"][0])
    x, y = detector.from_beam(centre)
    distance = (x**2 + y**2 + detector.distance**2).sqrt()
    s_x, s_y, s_z = x / distance, y / distance, detector.distance / distance
    along = s_x * d_x + s_y * d_y + s_z * d_z
    # grad of s.d on the sensor's plane: (d - s (s.d)) / distance
    turns = [k / (2 * math.pi) * detector.pixel_pitch * (d - s * along) / distance for d, s in ((d_x, s_x), (d_y, s_y))]
    # The phase would lose its digits in single precision: thousands of radians.
    return torch.remainder(-k * (along - d_z), 2 * math.pi), torch.sinc(turns[0]) * torch.sinc(turns[1])


def chain_places(record: NDArray[Any]) -> Tensor:
    """``(units, 3)`` float64 centres in m of the spheres of a chain, which touch; their mean is the origin."""
    radius, length, bend = (
        torch.tensor(record[name].tolist(), dtype=torch.float64) for name in ("equatorial_radius", "length", "bend")
    )
    turn = rotation(*(torch.tensor(record[name].tolist(), dtype=torch.float64) for name in ("tilt", "azimuth", "roll")))
    units = max(1, round(float(length / (2 * radius))))
    arc = Pills(radius, length, bend, turn)
    return arc.points_along(torch.linspace(-0.5, 0.5, units, dtype=torch.float64))[0]


def _structure_factor(places: Tensor, grid: Tensor) -> Tensor:
    """``sum over j of exp(-i q . r_j)`` on the grid ``(n, n)``; places in wavelengths."""
    x, y, z = (2 * math.pi * places[:, axis] for axis in range(3))
    along_x = torch.exp(-1j * x[:, None] * grid)
    along_y = torch.exp(-1j * y[:, None] * grid)
    transverse = (grid[:, None] ** 2 + grid**2).clamp_max(1)
    depth = transverse / (1 + (1 - transverse).sqrt())
    return torch.einsum("jy,jx,jyx->yx", along_y, along_x, torch.exp(1j * z[:, None, None] * depth))
