"""Homogeneous particle shapes, as the stretches of matter that parallel rays meet.

Coordinates of the whole sub-package: ``z`` along the beam (downstream), ``x`` along detector columns and
``y`` along detector rows (downwards), a right-handed triad; the particle sits at the origin. All lengths of
one call share one unit. Geometry is float64 throughout: a column's end points cost little and errors in them
do not average out.

A shape answers one question: which intervals of ``z`` lie inside it, above each point ``(x, y)``. That is
exact for quadrics, so the slices of :mod:`cdifast.simulate.multislice` have no stair-cased surfaces along the
beam.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

CENTRELINE_SEGMENTS = 8
"""Straight capsules that stand for a bent pill. Their corners lie on the arc; between them the centreline
cuts inside it by at most length * bend / (8 * 8^2): 1.4 nm for a straight part of 0.9 um bent by 0.8 rad, a
35th of a 50 nm wavelength."""


class Shape(Protocol):
    """A batch of ``B`` particles that parallel rays along ``z`` can be traced through."""

    def half_extents(self) -> Tensor:
        """Half sides ``(B, 3)`` of a box round the origin, along (x, y, z), that holds each particle."""

    def reach(self) -> Tensor:
        """Distance ``(B,)`` from the origin to the farthest matter."""

    def columns(self, x: Tensor, y: Tensor) -> Tensor:
        """Intervals of ``z`` inside each particle, over the grid ``x (B, nx)`` by ``y (B, ny)``.

        Returns
        -------
        Tensor
            ``(B, I, 2, ny, nx)`` float64: ``I`` disjoint intervals in rising order, each (lower, upper);
            an absent one has lower = upper = 0.
        """


def rotation(tilt: Tensor, azimuth: Tensor, roll: Tensor) -> Tensor:
    """Rotation matrices from the particle's own axes to the laboratory's.

    ``Rz(azimuth) Ry(tilt) Rz(roll)``: the particle's long (or symmetry) axis, its own ``z``, ends up at the
    angle ``tilt`` to the beam, its shadow on the detector at ``azimuth`` from ``+x`` towards ``+y``; ``roll``
    turns the particle about that axis, which only matters for a bent pill.

    Parameters
    ----------
    tilt, azimuth, roll : Tensor
        ``(B,)`` angles in radians.

    Returns
    -------
    Tensor
        ``(B, 3, 3)`` float64, acting on column vectors (x, y, z).
    """
    tilt, azimuth, roll = (angle.to(torch.float64) for angle in (tilt, azimuth, roll))
    return _about_z(azimuth) @ _about_y(tilt) @ _about_z(roll)


def _about_z(angle: Tensor) -> Tensor:
    c, s, o, l = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([c, -s, o, s, c, o, o, o, l], -1).unflatten(-1, (3, 3))


def _about_y(angle: Tensor) -> Tensor:
    c, s, o, l = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([c, o, s, o, l, o, -s, o, c], -1).unflatten(-1, (3, 3))


@dataclass(frozen=True)
class Spheroids:
    """Ellipsoids of revolution: spheres (both radii equal), oblate (polar < equatorial), prolate (polar >
    equatorial).

    Attributes
    ----------
    polar_radius, equatorial_radius : Tensor
        ``(B,)`` semi-axes along and across the symmetry axis.
    orientation : Tensor
        ``(B, 3, 3)`` from :func:`rotation`; the symmetry axis is its third column.
    """

    polar_radius: Tensor
    equatorial_radius: Tensor
    orientation: Tensor

    def half_extents(self) -> Tensor:
        """See :meth:`Shape.half_extents`; exact: h_i^2 = a^2 (1 - n_i^2) + c^2 n_i^2."""
        along = self.orientation[..., 2].double() ** 2
        a2, c2 = self.equatorial_radius[:, None].double() ** 2, self.polar_radius[:, None].double() ** 2
        return (a2 * (1 - along) + c2 * along).sqrt()

    def reach(self) -> Tensor:
        """See :meth:`Shape.reach`."""
        return torch.maximum(self.polar_radius, self.equatorial_radius).double()

    def columns(self, x: Tensor, y: Tensor) -> Tensor:
        """See :meth:`Shape.columns`; one interval, the roots of r^T A r = 1 in z."""
        n = self.orientation[..., 2].double()
        a2 = self.equatorial_radius[:, None, None].double() ** -2
        c2 = self.polar_radius[:, None, None].double() ** -2
        quadric = a2 * (torch.eye(3, dtype=n.dtype, device=n.device) - n[:, :, None] * n[:, None, :])
        quadric = quadric + c2 * n[:, :, None] * n[:, None, :]
        X, Y = x.double()[:, None, :], y.double()[:, :, None]
        A = quadric[..., None, None]  # (B, 3, 3, 1, 1), broadcasts against (ny, nx)
        half_b = A[:, 0, 2] * X + A[:, 1, 2] * Y
        c = A[:, 0, 0] * X**2 + 2 * A[:, 0, 1] * X * Y + A[:, 1, 1] * Y**2 - 1
        half_chord = (half_b**2 - A[:, 2, 2] * c).clamp_min(0).sqrt() / A[:, 2, 2]
        middle = torch.where(half_chord > 0, -half_b / A[:, 2, 2], 0)
        return torch.stack([middle - half_chord, middle + half_chord], 1)[:, None]


@dataclass(frozen=True)
class Pills:
    """Pills (capsules): all points within ``radius`` of a centreline, straight or bent to a circular arc.

    Attributes
    ----------
    radius : Tensor
        ``(B,)`` radius of the tube and of its two round caps.
    length : Tensor
        ``(B,)`` whole length along the centreline, caps included: ``length >= 2 radius``.
    bend : Tensor
        ``(B,)`` angle in radians, below pi, between the two ends' directions; 0 is a straight pill. The
        arc bulges towards minus the particle's own ``x``.
    orientation : Tensor
        ``(B, 3, 3)`` from :func:`rotation`; its third column is the direction at the centreline's middle.

    Raises
    ------
    ValueError
        If a pill is shorter than its caps or bent outside 0 <= bend < pi.
    """

    radius: Tensor
    length: Tensor
    bend: Tensor
    orientation: Tensor

    def __post_init__(self) -> None:
        if bool((self.length < 2 * self.radius).any()):
            raise ValueError("length of a pill must be at least twice its radius (the two round caps)")
        if not bool(((self.bend >= 0) & (self.bend < torch.pi)).all()):
            raise ValueError("bend of a pill must lie in [0, pi) radians")

    def centreline(self) -> Tensor:
        """Corners ``(B, segments + 1, 3)`` of the centreline, in the laboratory; their mean is the origin."""
        segments = CENTRELINE_SEGMENTS if bool((self.bend != 0).any()) else 1
        return self.points_along(torch.linspace(-0.5, 0.5, segments + 1, dtype=torch.float64, device=self.bend.device))

    def points_along(self, t: Tensor) -> Tensor:
        """Points ``(B, n, 3)`` at the shares ``t (n,)`` of the centreline, -1/2 to 1/2; their mean is the origin."""
        bend = self.bend.double()[:, None]
        straight = (self.length - 2 * self.radius).double()[:, None]
        # sinc keeps the straight limit: sin(s b)/b = s sinc(s b), (1 - cos(s b))/b = (s^2 b / 2) sinc(s b /
        # 2)^2
        along = straight * t * torch.sinc(t * bend / torch.pi)
        across = straight * (t**2 * bend / 2) * torch.sinc(t * bend / (2 * torch.pi)) ** 2
        own = torch.stack([across, torch.zeros_like(across), along], -1)
        own = own - own.mean(1, keepdim=True)
        return own @ self.orientation.double().mT

    def half_extents(self) -> Tensor:
        """See :meth:`Shape.half_extents`."""
        return self.centreline().abs().amax(1) + self.radius.double()[:, None]

    def reach(self) -> Tensor:
        """See :meth:`Shape.reach`."""
        return self.centreline().square().sum(-1).amax(1).sqrt() + self.radius.double()

    def columns(self, x: Tensor, y: Tensor) -> Tensor:
        """See :meth:`Shape.columns`; one interval for straight pills, two where an arc may cross a ray
        twice."""
        corners = self.centreline()[..., None, None]  # (B, corners, 3, 1, 1)
        radius = self.radius.double()[:, None, None]
        X, Y = x.double()[:, None, :], y.double()[:, :, None]
        chords = [_capsule_chord(corners[:, i], corners[:, i + 1], radius, X, Y) for i in range(corners.shape[1] - 1)]
        lower, upper = (torch.stack(ends, 1) for ends in zip(*chords, strict=True))
        if lower.shape[1] == 1:
            hit = upper > lower
            return torch.where(hit[:, :, None], torch.stack([lower, upper], 2), 0)
        return _merge(lower, upper)


def _capsule_chord(start: Tensor, end: Tensor, radius: Tensor, X: Tensor, Y: Tensor) -> tuple[Tensor, Tensor]:
    """Chord along z of the capsule between ``start`` and ``end (B, 3, 1, 1)``: lower, upper ``(B, ny, nx)``.

    A capsule is convex, so its chord spans the chords of its three parts, two balls and the cylinder
    between. A ray that misses gets (+inf, -inf).
    """
    inf = torch.inf
    lows, highs = [], []
    for ball in (start, end):
        square = radius**2 - (X - ball[:, 0]) ** 2 - (Y - ball[:, 1]) ** 2
        half = torch.where(square > 0, square.clamp_min(0).sqrt(), -inf)
        lows.append(ball[:, 2] - half)
        highs.append(ball[:, 2] + half)

    axis = end - start
    length = axis.square().sum(1, keepdim=True).sqrt()
    d = axis / length.clamp_min(torch.finfo(torch.float64).tiny)
    # Ray points relative to start: (u, v, w + z); along the axis a0 + dz z, off it the quadratic A z^2 + 2 B
    # z + C.
    u, v, w = X - start[:, 0], Y - start[:, 1], -start[:, 2]
    # A tilt below 1e-9 rad would divide by nothing; the clamp moves the surface by far less than a
    # wavelength.
    dz = torch.where(d[:, 2].abs() < 1e-9, 1e-9, d[:, 2])
    a0 = u * d[:, 0] + v * d[:, 1] + w * dz
    A = (d[:, 0] ** 2 + d[:, 1] ** 2).clamp_min(1e-18)
    B = w - a0 * dz
    C = u**2 + v**2 + w**2 - a0**2 - radius**2
    discriminant = B**2 - A * C
    half = discriminant.clamp_min(0).sqrt()
    faces = -a0 / dz, (length[:, 0] - a0) / dz
    low = torch.maximum((-B - half) / A, torch.minimum(*faces))
    high = torch.minimum((-B + half) / A, torch.maximum(*faces))
    hit = (discriminant > 0) & (high > low)
    lows.append(torch.where(hit, low, inf))
    highs.append(torch.where(hit, high, -inf))
    return torch.stack(lows).amin(0), torch.stack(highs).amax(0)


def _merge(lower: Tensor, upper: Tensor) -> Tensor:
    """Union of overlapping chords ``(B, segments, ny, nx)`` as at most two intervals ``(B, 2, 2, ny, nx)``.

    A ray meets a tube round an arc of less than half a turn in at most two pieces.
    """
    lower, order = lower.sort(dim=1)
    # Highest end so far. Tensor.cummax also finds the indices, at several times the cost of this loop.
    ends = upper.gather(1, order).unbind(1)
    reach = torch.stack(list(itertools.accumulate(ends, torch.maximum)), 1)
    gap = torch.zeros_like(lower, dtype=torch.bool)
    gap[:, 1:] = (lower[:, 1:] > reach[:, :-1]) & lower[:, 1:].isfinite()
    second = gap.cumsum(1) > 0
    inf = torch.inf
    pieces = torch.stack(
        [
            torch.stack([lower[:, 0], torch.where(second, -inf, reach).amax(1)], 1),
            torch.stack([torch.where(second, lower, inf).amin(1), torch.where(second, reach, -inf).amax(1)], 1),
        ],
        1,
    )
    hit = pieces[:, :, 1] > pieces[:, :, 0]
    return torch.where(hit[:, :, None], pieces, 0)
