"""Multi-slice Fourier transform (MSFT): far field of a particle at wide angles.

The field scattered into direction ``s`` (unit vector) by a weakly refracting particle is

    F(s) = integral a(r) exp(-i k (s - e_z) . r) dV / wavelength^3,

where ``a`` is 1 inside the particle, times the loss of the incoming beam on its way (Beer-Lambert:
``exp(-t / (2 l))`` for the field after ``t`` of matter with intensity absorption length ``l``). The momentum
transfer lies on the Ewald sphere, so its z component depends on the other two:

    q_x = k s_x,  q_y = k s_y,  k_z - k = -(k - sqrt(k^2 - q_x^2 - q_y^2)).

Cutting the particle into slices along the beam turns the integral into 2-D Fourier transforms of slices times
``exp(+i (k - sqrt(...)) z)``. (Written ``exp(-i q_z z)`` in the literature, where depth is counted towards
the source.) Born approximation: the scattered wave is neither absorbed nor refracted nor scattered again. The
incoming one may be: with the refractive index ``n = 1 - delta + i beta``, ``a`` is ``exp(i k (n - 1) t)`` after
``t`` of matter, as in other multi-slice codes (PyScatman: Colombo et al., J. Appl. Cryst. 55 (2022) 1232).

Numerical choices, and the errors that they leave (relative to the local envelope of the pattern):

- The real-space grid is independent of the q grid and sized by the largest transfer ``q`` that is asked for, so
  that small and large particles, wide and small angles are sampled alike. The nearest aliases of ``q`` come from
  ``23 q``, where a sphere's amplitude is 0.2 % of that at ``q``; several may add up: spheres of 2.8 to 10
  wavelengths' radius come out within 0.1 to 0.4 % rms of the closed form. A particle gets 160 columns across at
  the least, for the sake of the smallest angles.
- Along z, matter is exact: a column's interval is shared out to the four neighbouring slices by cubic B-splines
  (analytic integral), and the spline's transform, ``sinc^4``, is divided out. Slices lie so far apart that the
  largest depth phase changes by 1.1 rad from one to the next: the alias, ``(1.1 / (2 pi - 1.1))^4``, is below
  0.2 %. Absorption and refraction only move the point at which the spline's transform is taken to a complex one,
  so they are exact too, however opaque a slice is.
- The Fourier transforms are matrix products (separable, any q grid), two for all slices together. FFTs would
  tie the q step to the box and need padding: the q grid is small because it only has to resolve the particle.
- A slice of real matter is Friedel-symmetric: on a symmetric grid half of each product is enough.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .shapes import Shape

# Columns to the wavelength that belongs to the largest transfer, and fewest across a particle.
COLUMNS_PER_PERIOD = 24.0
LEAST_COLUMNS = 160
# Largest change of the depth phase from one slice to the next (rad), and fewest slices through a particle.
SLICE_PHASE = 1.1
LEAST_SLICES = 8

# Columns x slices held at once; more rows than this go through in several rounds. Small enough that the
# work stays in the processor's cache: fresh pages cost more than the arithmetic.
_CELLS_AT_ONCE = 1 << 18

# Loss of the incoming field over half the slices, as an exponent, up to which single precision holds its growth and
# decay; beyond, the transform is done in double precision.
_LARGEST_EXPONENT = 40.0
_MOST_EXPONENT = 350.0


def far_field(
    shape: Shape,
    wavelength: Tensor,
    directions: Tensor,
    *,
    absorption_length: Tensor | None = None,
    refraction: Tensor | None = None,
    carrier: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Complex far field of a batch of particles on a grid that is uniform in projected q.

    Parameters
    ----------
    shape : Shape
        ``B`` particles; lengths in m.
    wavelength : Tensor
        ``(B,)`` wavelengths in m.
    directions : Tensor
        ``(n,)`` direction cosines ``s = q / k`` of the grid, the same along x and y. Where
        ``s_x^2 + s_y^2 > 1`` (no such direction exists) the grazing direction's depth phase is used.
    absorption_length : Tensor, optional
        ``(B,)`` lengths in m after which the beam's intensity has fallen to 1/e; ``inf`` or None for none.
    refraction : Tensor, optional
        ``(B,)`` refractive index decrements delta: ``n = 1 - delta + i beta``. None: 0, no phase shift.
    carrier : Tensor, optional
        ``(B, 3)`` wave vectors in rad/m: the density is multiplied by ``exp(i carrier . r)``. Two of them and the
        plain field make a density with layers: ``1 + m cos(Q.r)``.
    dtype : torch.dtype
        float32 or float64: precision of the transform.

    Returns
    -------
    Tensor
        ``(B, n, n)`` complex, indexed (y, x), in units of wavelength^3: the value in the forward direction is
        the volume in cubic wavelengths when nothing is absorbed or refracted.

    Raises
    ------
    TypeError
        If ``dtype`` is neither float32 nor float64.
    ValueError
        If an absorption length is below a 1400th of the particle's depth: it has no number then.
    """
    if dtype not in (torch.float32, torch.float64):
        raise TypeError(f"dtype must be torch.float32 or torch.float64, not {dtype}")
    asked = dtype.to_complex()
    unit = wavelength.double()
    device = unit.device
    half = shape.half_extents() / unit[:, None]
    s = directions.double().to(device)
    # From here on lengths are in wavelengths, so that k = 2 pi for every particle.
    shift = torch.zeros(len(unit), 3, dtype=torch.float64, device=device)
    if carrier is not None:
        shift = carrier.double().to(device) * unit[:, None] / (2 * math.pi)
    largest = float(s.abs().max())
    across = COLUMNS_PER_PERIOD * (largest + float(shift[:, :2].abs().max()))
    across = max(across, LEAST_COLUMNS / (2 * float(half[:, :2].max())))
    steepest = 2 * math.pi * (_depth(min(1.0, largest**2)) + float(shift[:, 2].abs().max()))
    step = min(SLICE_PHASE / max(steepest, 1e-9), 2 * float(half[:, 2].max()) / LEAST_SLICES)
    nx, ny = (_count(half[:, i], across) for i in (0, 1))
    slices = _count(half[:, 2], 1 / step) + 3  # splines overhang the ends
    x, y = _centred(nx, device) / across, _centred(ny, device) / across
    bottom = -(slices - 1) / 2 * step
    intervals = shape.columns(x * unit[:, None], y * unit[:, None]) / unit[:, None, None, None, None]

    loss = torch.zeros_like(unit)  # of the incoming field, per wavelength
    if absorption_length is not None:
        loss = unit / (2 * absorption_length.double())
        exponent = float(loss.max()) * -bottom
        if exponent > _MOST_EXPONENT:
            shortest = float(absorption_length.min())
            raise ValueError(f"absorption_length of {shortest:g} m is too short for a particle of this depth")
        if exponent > _LARGEST_EXPONENT:
            dtype = torch.float64
    slip = torch.zeros_like(unit) if refraction is None else 2 * math.pi * refraction.double()
    incoming = _incoming(intervals, loss, slip)
    intervals = ((intervals - bottom) / step).to(dtype)

    # A slice's transform at -q is the conjugate of that at q, so half of a symmetric grid is enough.
    halved = carrier is None and torch.equal(s, -s.flip(0))
    s_x = s[len(s) // 2 :] if halved else s
    turns = (-2 * math.pi * x[:, None] * (s_x - shift[:, :1])[:, None]).to(dtype)  # (B, nx, n_x)
    to_qx = torch.cat([turns.cos(), turns.sin()], -1)
    to_qy = _phasor((-2 * math.pi * (s - shift[:, 1:2])[..., None] * y).to(dtype))  # (B, n, ny)
    transverse = (s[:, None] ** 2 + s**2).clamp_max(1)
    depth = 2 * math.pi * (transverse / (1 + (1 - transverse).sqrt()) + shift[:, 2, None, None])  # (B, n, n)
    # The incoming field's loss and lag from slice to slice turn into a complex depth frequency.
    depth = (depth - slip[:, None, None]).to(dtype)
    loss = loss[:, None, None].to(dtype)
    turn = _phasor(step * depth) * torch.exp(-step * loss)

    batch, n, n_x = len(unit), len(s), len(s_x)
    spectra: list[Tensor] = []  # of the matter's real and imaginary part: (B, n, slices n_x)
    for rows in torch.arange(ny).split(max(1, _CELLS_AT_ONCE // (nx * slices))):
        part = slice(int(rows[0]), int(rows[-1]) + 1)
        weights = [weight[:, :, part].to(dtype) for weight in incoming]
        for i, matter in enumerate(_slice_content(intervals[:, :, :, part], slices, weights)):
            columns = matter.reshape(batch, -1, nx) @ to_qx
            columns = torch.complex(columns[..., :n_x], columns[..., n_x:]).reshape(batch, len(rows), -1)
            if i < len(spectra):
                spectra[i].baddbmm_(to_qy[:, :, part], columns)
            else:
                spectra.append(to_qy[:, :, part] @ columns)
    spectra = [spectrum.unflatten(2, (slices, n_x)) for spectrum in spectra]
    field = _accumulate(spectra[0] if len(spectra) == 1 else spectra[0] + 1j * spectra[1], turn[..., n - n_x :])
    if halved:
        mates = (spectra[0] if len(spectra) == 1 else spectra[0] - 1j * spectra[1])[..., n % 2 :]
        mirrored = _accumulate(mates, turn[..., n_x:].conj().resolve_conj())
        field = torch.cat([mirrored.conj().flip(1, 2), field], 2)
    spline = _sinc(torch.complex(depth, loss.expand_as(depth)) * (step / 2)).square().square()
    field = field * _phasor(bottom * depth) * (torch.exp(-bottom * loss) * step / across**2) / spline
    return field.to(asked)


def _phasor(angle: Tensor) -> Tensor:
    """exp(i angle); several times as fast as the exponential of complex numbers."""
    return torch.complex(angle.cos(), angle.sin())


def _accumulate(spectra: Tensor, turn: Tensor) -> Tensor:
    """Sum of ``spectra[:, :, j] turn^j`` by Horner's rule: slices are equally spaced."""
    steps = list(spectra.unbind(2))
    total = steps.pop().clone()
    for spectrum in reversed(steps):
        total.mul_(turn).add_(spectrum)
    return total


def _depth(transverse: float) -> float:
    """1 - sqrt(1 - s^2) without cancellation near the axis."""
    return transverse / (1 + math.sqrt(1 - transverse))


def _sinc(u: Tensor) -> Tensor:
    """sin(u) / u of complex numbers; below 0.01 by its series, to 1e-12."""
    small = u.abs() < 1e-2
    square = u * u
    return torch.where(small, 1 - square / 6 + square * square / 120, u.sin() / torch.where(small, 1, u))


def _count(half_extent: Tensor, per_unit: float) -> int:
    """Points of a centred grid, ``per_unit`` to a unit, that covers the largest of the half extents."""
    return math.ceil(2 * float(half_extent.max()) * per_unit) + 1


def _centred(count: int, device: torch.device) -> Tensor:
    return torch.arange(count, dtype=torch.float64, device=device) - (count - 1) / 2


def _incoming(intervals: Tensor, loss: Tensor, slip: Tensor) -> list[Tensor]:
    """Incoming wave at the entry of each stretch ``(B, I, ny, nx)``, divided by what it would be at that height had it
    met matter from z = 0 on: real part and, where anything lags, imaginary part. Lengths in wavelengths.

    Within the stretch, the wave is then ``exp(-(loss + i slip) z)`` times this.
    """
    lower, upper = intervals.unbind(2)
    lengths = upper - lower
    ahead = lower - (lengths.cumsum(1) - lengths)  # entry, less the matter before it
    size = torch.exp(loss[:, None, None, None] * ahead)
    if not bool((slip != 0).any()):
        return [size]
    phase = slip[:, None, None, None] * ahead
    return [size * phase.cos(), size * phase.sin()]


def _slice_content(intervals: Tensor, slices: int, weights: list[Tensor]) -> list[Tensor]:
    """Matter shared out to slices: for each weight ``(B, I, ny, nx)`` a ``(B, ny, slices, nx)``, in units of a slice.

    ``intervals`` is ``(B, I, 2, ny, nx)`` in slices from the first one on. A stretch of matter gives slice ``j`` the
    integral over it of the slice's B-spline. With ``S(u)`` that spline's integral up to ``u``, an end at ``t`` stands
    for ``S(t - j)``: 1 in the slices before, 0 in those after, and only the nearest four need more than a comparison.
    """
    planes = torch.arange(slices, dtype=intervals.dtype, device=intervals.device)[:, None]
    parts: list[Tensor] = []
    for stretch, weight in zip(intervals.unbind(1), zip(*(w.unbind(1) for w in weights), strict=True), strict=True):
        lower, upper = (end[:, :, None] for end in stretch.unbind(1))  # (B, ny, 1, nx)
        content = (upper - planes).gt_(0).sub_((lower - planes).gt_(0))
        for end, sign in ((upper, 1), (lower, -1)):
            content.scatter_add_(2, *_spline_edge(end, sign))
        for i, factor in enumerate(weight):
            # the last product may be done in place
            share = content.mul_(factor[:, :, None]) if i == len(weight) - 1 else content * factor[:, :, None]
            if i < len(parts):
                parts[i] += share
            else:
                parts.append(share)
    return parts


def _spline_edge(end: Tensor, sign: int) -> tuple[Tensor, Tensor]:
    """The four slices nearest to the ends ``(B, ny, 1, nx)`` of matter, and how ``S`` differs there from a step.

    Slices beyond the first and last do not occur: the grid overhangs the matter by more than that.
    """
    below = end.ceil() - 1  # the last slice that a step would fill
    t = end - below  # in (0, 1]
    r = 1 - t
    t4, r4 = t.square().square_(), r.square().square_()
    # cubic B-spline's integral on its four pieces: from the left t^4/24, ..., mirrored from the right
    outer, inner = (1 / 24) * r4, (1 / 24) * (1 + r).square().square_() - (1 / 6) * r4
    before = (1 / 24) * t4
    after = (1 / 24) * (1 + t).square().square_() - (1 / 6) * t4
    values = torch.cat([-outer, -inner, after, before], 2).mul_(sign)
    index = below.long() + torch.arange(-1, 3, device=end.device)[:, None]
    return index, values
