"""Shapes given by an equation: superellipsoids and droplets deformed by spherical harmonics.

Rays meet quadrics in closed form (:mod:`cdifast.simulate.shapes`); here the ends of a chord are searched for:
where a column of samples is first and last inside, then by bisection.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# Of regula falsi with the Illinois rule, which gains digits faster than bisection.
_STEPS = 8
# Samples along a ray near the silhouette. A chord that fits between two is lost: it lies within less than a
# thousandth of the radius from the edge.
_SAMPLES = 24

DEGREES = (2, 3, 4)
"""Degrees l of the spherical harmonics; l = 0 is the size, l = 1 a shift."""


Level = Callable[[Tensor], Tensor]
"""How far heights ``z (M,)`` on ``M`` rays are outside: ``(M,)``, negative inside."""


def _outermost_chord(
    rays: Callable[[int, Tensor, Tensor], Level], x: Tensor, y: Tensor, half_z: Tensor, core: Tensor, reach: Tensor
) -> Tensor:
    """First entry and last exit ``(B, 1, 2, ny, nx)`` of rays along z.

    ``rays(b, X, Y)`` answers for particle ``b`` and its rays through ``X, Y (M,)``. Rays closer to the axis than
    ``core (B,)`` are inside at z = 0; none farther than ``reach (B,)`` meets matter.
    """
    X, Y = torch.broadcast_tensors(x.double()[:, None, :], y.double()[:, :, None])
    chords = torch.zeros(len(X), 1, 2, *X.shape[1:], dtype=torch.float64, device=X.device)
    rho = (X**2 + Y**2).sqrt()
    for b in range(len(X)):
        top = float(half_z[b])
        deep = rho[b] < core[b]
        edge = ~deep & (rho[b] <= reach[b])
        level = rays(b, X[b][deep], Y[b][deep])
        zero = torch.zeros_like(X[b][deep])
        for end, sign in ((0, -1.0), (1, 1.0)):
            chords[b, 0, end][deep] = _surface(level, zero, sign * top)
        level = rays(b, X[b][edge], Y[b][edge])
        first, last, hit = _search(level, X[b][edge], top)
        pitch = 2 * top / (_SAMPLES - 1)
        for end, sign, start in ((0, -1.0, first), (1, 1.0, last)):
            chords[b, 0, end][edge] = torch.where(hit, _surface(level, start, sign * pitch), 0)
    return chords


def _surface(level: Level, within: Tensor, step: float) -> Tensor:
    """Height of the surface between ``within``, which is inside, and ``within + step``."""
    low, high = within, within + step
    f_low, f_high = level(low), level(high)
    before = torch.zeros_like(within, dtype=torch.int8)
    for _ in range(_STEPS):
        at = (low * f_high - high * f_low) / (f_high - f_low)
        value = level(at)
        inside = value <= 0
        # An end that stays for a second time counts half, or it would stay for ever.
        keeps_high, keeps_low = inside & (before == 1), ~inside & (before == -1)
        f_low, f_high = (
            torch.where(inside, value, torch.where(keeps_low, f_low / 2, f_low)),
            torch.where(inside, torch.where(keeps_high, f_high / 2, f_high), value),
        )
        low, high = torch.where(inside, at, low), torch.where(inside, high, at)
        before = torch.where(inside, 1, -1).to(torch.int8)
    at = (low * f_high - high * f_low) / (f_high - f_low)
    return torch.where(at.isfinite(), at, low)


def _search(level: Level, like: Tensor, top: float) -> tuple[Tensor, Tensor, Tensor]:
    """First and last of the samples on each ray that are inside, and whether any is."""
    first, last = torch.full_like(like, torch.inf), torch.full_like(like, -torch.inf)
    for z in torch.linspace(-top, top, _SAMPLES, dtype=torch.float64).tolist():
        here = level(torch.full_like(like, z)) <= 0
        first = torch.where(here, first.clamp_max(z), first)
        last = torch.where(here, last.clamp_min(z), last)
    hit = last >= first
    return torch.where(hit, first, 0), torch.where(hit, last, 0), hit


@dataclass(frozen=True)
class Superellipsoids:
    """Superellipsoids of revolution: ``(rho / equatorial)^p + (|z| / polar)^p <= 1``.

    Exponent 2 is a spheroid; towards infinity it becomes a cylinder with flat ends.

    Attributes
    ----------
    polar_radius, equatorial_radius : Tensor
        ``(B,)`` semi-axes along and across the symmetry axis.
    exponent : Tensor
        ``(B,)`` p, from 1.
    orientation : Tensor
        ``(B, 3, 3)`` from :func:`rotation`; the symmetry axis is its third column.

    Raises
    ------
    ValueError
        If an exponent is below 1: rays could meet such a body twice.
    """

    polar_radius: Tensor
    equatorial_radius: Tensor
    exponent: Tensor
    orientation: Tensor

    def __post_init__(self) -> None:
        if not bool((self.exponent >= 1).all()):
            raise ValueError("exponent of a superellipsoid must be at least 1")

    def half_extents(self) -> Tensor:
        """See :meth:`Shape.half_extents`; exact, by the dual exponent: a support function of Hoelder's kind."""
        p = self.exponent.double()[:, None]
        dual = torch.where(p > 1, p / (p - 1).clamp_min(1e-9), 1e9)
        across = (1 - self.orientation[..., 2].double() ** 2).clamp_min(0).sqrt() * self.equatorial_radius[:, None]
        along = self.orientation[..., 2].double().abs() * self.polar_radius[:, None]
        most = torch.maximum(across, along)
        return most * ((across / most) ** dual + (along / most) ** dual) ** (1 / dual)

    def reach(self) -> Tensor:
        """See :meth:`Shape.reach`."""
        angle = torch.linspace(0, math.pi / 2, 400, dtype=torch.float64, device=self.exponent.device)
        p = self.exponent.double()[:, None]
        across, along = angle.cos() / self.equatorial_radius[:, None], angle.sin() / self.polar_radius[:, None]
        return (across**p + along**p).pow(-1 / p).amax(1) * (1 + 1e-4)

    def columns(self, x: Tensor, y: Tensor) -> Tensor:
        """See :meth:`Shape.columns`; one interval, since the body is convex."""
        a, c, p = (part.double() for part in (self.equatorial_radius, self.polar_radius, self.exponent))
        turn = self.orientation.double()

        def rays(b: int, X: Tensor, Y: Tensor) -> Level:
            axis = turn[b, :, 2]
            on_axis, square = axis[0] * X + axis[1] * Y, X**2 + Y**2

            def level(z: Tensor) -> Tensor:
                along = on_axis + axis[2] * z
                rho = (square + z * z - along * along).clamp_min_(0).sqrt_()
                return (rho / a[b]).pow_(p[b]).add_((along.abs_() / c[b]).pow_(p[b])) - 1

            return level

        # from exponent 1 on, the body holds the double cone, and that the ball that touches it
        core = torch.where(p >= 2, torch.minimum(a, c), a * c / torch.hypot(a, c))
        return _outermost_chord(rays, x, y, self.half_extents()[:, 2], core, self.reach())


@dataclass(frozen=True)
class Harmonics:
    """Droplets deformed by surface waves: ``r(u) = radius (1 + sum a_lm Y_lm(u))``.

    ``Y_lm`` are the real orthonormal spherical harmonics of degree 2 to 4 in the particle's own axes, ordered by
    degree, then m = -l ... l (m < 0: sine).

    Attributes
    ----------
    radius : Tensor
        ``(B,)``.
    coefficients : Tensor
        ``(B, 21)``: 5 of degree 2, 7 of degree 3, 9 of degree 4.
    orientation : Tensor
        ``(B, 3, 3)`` from :func:`rotation`.

    Raises
    ------
    ValueError
        If the coefficients have another shape, or are so large that the droplet may have dents that a ray
        crosses: ``sqrt(sum (l^2 a_lm)^2)`` above 1.
    """

    radius: Tensor
    coefficients: Tensor
    orientation: Tensor

    def __post_init__(self) -> None:
        count = sum(2 * l + 1 for l in DEGREES)
        if self.coefficients.ndim != 2 or self.coefficients.shape[1] != count:
            raise ValueError(f"coefficients must be (B, {count}), not {tuple(self.coefficients.shape)}")
        squares = torch.tensor([l**2 for l in DEGREES for _ in range(2 * l + 1)], device=self.coefficients.device)
        if bool(((self.coefficients * squares).square().sum(1).sqrt() > 1).any()):
            raise ValueError("a droplet's harmonics are too large: l^2 a_lm must stay below 1 in all")

    def _farthest(self) -> Tensor:
        """No direction's radius is larger: Cauchy-Schwarz, with sum over m of Y_lm^2 = (2 l + 1) / 4 pi."""
        bound = torch.ones_like(self.radius, dtype=torch.float64)
        for l, part in zip(DEGREES, self.coefficients.double().split([2 * l + 1 for l in DEGREES], 1), strict=True):
            bound = bound + part.square().sum(1).sqrt() * math.sqrt((2 * l + 1) / (4 * math.pi))
        return self.radius.double() * bound

    def half_extents(self) -> Tensor:
        """See :meth:`Shape.half_extents`; a bound, a few per cent wide."""
        return self._farthest()[:, None].expand(-1, 3)

    def reach(self) -> Tensor:
        """See :meth:`Shape.reach`; the same bound."""
        return self._farthest()

    def columns(self, x: Tensor, y: Tensor) -> Tensor:
        """See :meth:`Shape.columns`; one interval: the surface is too smooth for dents."""
        radius, turn, coefficients = self.radius.double(), self.orientation.double(), self.coefficients.double()
        nodes = torch.linspace(-1, 1, DEGREES[-1] + 1, dtype=torch.float64, device=radius.device)
        powers = nodes[:, None] ** torch.arange(len(nodes), device=radius.device)
        to_powers = torch.linalg.inv(powers)  # from values at the nodes to coefficients of z^0 ... z^4

        def rays(b: int, X: Tensor, Y: Tensor) -> Level:
            # Along a ray, r^l Y_lm is a polynomial in z of degree l: known from five of its values.
            X, Y = X / radius[b], Y / radius[b]
            points = torch.stack(torch.broadcast_tensors(X, Y, nodes[:, None]), -1)
            values = real_harmonics(points @ turn[b])  # (5, M) each, homogeneous polynomials
            polynomials, j = [], 0
            for l in DEGREES:
                terms = [coefficients[b, j + m] * values[j + m] for m in range(2 * l + 1)]
                polynomials.append((to_powers @ torch.stack(terms).sum(0))[: l + 1])
                j += 2 * l + 1
            square = X**2 + Y**2

            def level(z: Tensor) -> Tensor:
                z = z / radius[b]
                distance = (square + z * z).sqrt_()
                inverse = 1 / distance.clamp_min(1e-300)
                wave = torch.ones_like(z)
                scale = inverse
                for polynomial in polynomials:
                    scale = scale * inverse
                    value = polynomial[-1].clone()
                    for power in reversed(polynomial[:-1]):
                        value.mul_(z).add_(power)
                    wave += value.mul_(scale)
                return distance - wave

            return level

        farthest = self._farthest()
        return _outermost_chord(rays, x, y, farthest, 2 * radius - farthest, farthest)


def real_harmonics(u: Tensor) -> list[Tensor]:
    """The 21 real orthonormal spherical harmonics of degree 2 to 4, times ``|u|^l``, of vectors ``u (..., 3)``.

    Homogeneous polynomials, no Condon-Shortley phase; m < 0 goes with sin(|m| phi).
    """
    x, y, z = u.unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    rr = xx + yy + zz
    xy, yz, xz, difference = x * y, y * z, x * z, xx - yy
    r = math.sqrt
    pi = math.pi
    return [
        r(15 / pi) / 2 * xy,
        r(15 / pi) / 2 * yz,
        r(5 / pi) / 4 * (3 * zz - rr),
        r(15 / pi) / 2 * xz,
        r(15 / pi) / 4 * difference,
        r(35 / (2 * pi)) / 4 * y * (3 * xx - yy),
        r(105 / pi) / 2 * xy * z,
        r(21 / (2 * pi)) / 4 * y * (5 * zz - rr),
        r(7 / pi) / 4 * z * (5 * zz - 3 * rr),
        r(21 / (2 * pi)) / 4 * x * (5 * zz - rr),
        r(105 / pi) / 4 * difference * z,
        r(35 / (2 * pi)) / 4 * x * (xx - 3 * yy),
        3 * r(35 / pi) / 4 * xy * difference,
        3 * r(35 / (2 * pi)) / 4 * yz * (3 * xx - yy),
        3 * r(5 / pi) / 4 * xy * (7 * zz - rr),
        3 * r(5 / (2 * pi)) / 4 * yz * (7 * zz - 3 * rr),
        3 / (16 * r(pi)) * (35 * zz * zz - 30 * zz * rr + 3 * rr * rr),
        3 * r(5 / (2 * pi)) / 4 * xz * (7 * zz - 3 * rr),
        3 * r(5 / pi) / 8 * difference * (7 * zz - rr),
        3 * r(35 / (2 * pi)) / 4 * xz * (xx - 3 * yy),
        3 * r(35 / pi) / 16 * (xx * (xx - 3 * yy) - yy * (3 * xx - yy)),
    ]
