"""Ray intervals against volumes in closed form and against point-by-point membership."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from cdifast.simulate import Pills, Spheroids, rotation


def at(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def grid(half: Tensor, count: int) -> Tensor:
    """Cell centres over [-half, half]."""
    return ((torch.arange(count, dtype=torch.float64) + 0.5) / count * 2 - 1) * half


def volume(shape: Spheroids | Pills, count: int = 400) -> float:
    half = shape.half_extents()[0]
    x, y = grid(half[0], count), grid(half[1], count)
    intervals = shape.columns(x[None], y[None])
    thickness = (intervals[:, :, 1] - intervals[:, :, 0]).sum()
    return float(thickness * (2 * half[0] / count) * (2 * half[1] / count))


TURN = rotation(at(0.8), at(2.1), at(0.7))


def test_spheroid_volume() -> None:
    shape = Spheroids(at(1.7), at(0.9), TURN)
    assert volume(shape) == pytest.approx(4 / 3 * math.pi * 0.9**2 * 1.7, rel=2e-4)


@pytest.mark.parametrize("bend", [0.0, 0.6])
@pytest.mark.parametrize("tilt", [0.0, 0.8, math.pi / 2])
def test_pill_volume(bend: float, tilt: float) -> None:
    # Pappus: a tube round an arc has the volume of the straight tube; a polyline of 8 is shorter by
    # (bend/8)^2/24
    shape = Pills(at(0.5), at(3.0), at(bend), rotation(at(tilt), at(0.4), at(1.0)))
    assert volume(shape) == pytest.approx(math.pi * 0.25 * 2 + 4 / 3 * math.pi * 0.125, rel=1e-3)


def inside_spheroid(points: Tensor, polar: float, equatorial: float, axis: Tensor) -> Tensor:
    along = points @ axis
    return along**2 / polar**2 + ((points**2).sum(-1) - along**2) / equatorial**2 <= 1


def inside_bent_pill(points: Tensor, radius: float, length: float, bend: float, turn: Tensor) -> Tensor:
    """Distance to the true arc, in the arc's own polar coordinates."""
    straight = length - 2 * radius
    curvature_radius = straight / bend
    own = points @ turn  # transpose of the rotation undoes it
    # the shape's origin is the mean of nine points on the arc
    s = torch.linspace(-0.5, 0.5, 9, dtype=torch.float64) * bend
    own = own + curvature_radius * torch.stack([(1 - s.cos()).mean(), 0 * s[0], 0 * s[0]])
    angle = torch.atan2(own[..., 2], curvature_radius - own[..., 0]).clamp(-bend / 2, bend / 2)
    nearest = curvature_radius * torch.stack([1 - angle.cos(), 0 * angle, angle.sin()], -1)
    return (own - nearest).square().sum(-1) <= radius**2


@pytest.mark.parametrize("kind", ["spheroid", "bent pill", "hooked pill"])
def test_intervals_hold_the_inside_points(kind: str) -> None:
    bend = {"bent pill": 0.8, "hooked pill": 2.5}.get(kind, 0.0)
    shape = Spheroids(at(1.6), at(0.7), TURN) if kind == "spheroid" else Pills(at(0.4), at(3.0), at(bend), TURN)
    half = shape.half_extents()[0]
    x, y, z = (grid(h, 60) for h in half)
    points = torch.stack(torch.meshgrid(x, y, z, indexing="ij"), -1)
    if kind == "spheroid":
        truth = inside_spheroid(points, 1.6, 0.7, TURN[0, :, 2])
    else:
        truth = inside_bent_pill(points, 0.4, 3.0, bend, TURN[0])
    intervals = shape.columns(x[None], y[None])[0].permute(0, 1, 3, 2)[..., None]  # (I, end, nx, ny, 1)
    found = ((z > intervals[:, 0]) & (z < intervals[:, 1])).any(0)
    assert truth.sum() > 10000
    wrong = float((found != truth).sum() / truth.sum())
    # eight chords cut inside the arc by up to 0.9 % (bent) or 2.7 % (hooked) of the tube's radius
    assert wrong <= {"spheroid": 0.0, "bent pill": 0.01, "hooked pill": 0.03}[kind]


def test_a_ray_through_both_arms_of_a_hook_meets_two_pieces() -> None:
    # a hook nearly half a turn round, long axis along the beam: its two ends lie on one ray
    shape = Pills(at(0.2), at(4.0), at(2.8), rotation(at(0.0), at(0.0), at(0.0)))
    ends = shape.centreline()[0, [0, -1]]
    pieces = shape.columns(ends[None, :1, 0], ends[None, :1, 1])[0, :, :, 0, 0]
    assert (pieces[:, 1] - pieces[:, 0] > 0.3).all()
    assert pieces[0, 1] < 0 < pieces[1, 0]
    assert pieces[0].mean() == pytest.approx(-float(pieces[1].mean()))


def test_half_extents_and_reach_are_tight() -> None:
    for shape in (Spheroids(at(1.6), at(0.7), TURN), Pills(at(0.4), at(3.0), at(0.8), TURN)):
        half, reach = shape.half_extents()[0], float(shape.reach())
        x, y = grid(half[0], 301), grid(half[1], 301)
        pieces = shape.columns(x[None], y[None])[0]
        hit = pieces[:, 1] > pieces[:, 0]
        matter_x = x[hit.any(0).any(0)].abs().max()
        matter_y = y[hit.any(0).any(1)].abs().max()
        assert float(half[0] - matter_x) < 0.02
        assert float(half[1] - matter_y) < 0.02
        assert float(half[2]) == pytest.approx(float(pieces.abs().max()), rel=0.01)
        distance = (x**2 + y[:, None] ** 2 + pieces**2).where(hit[:, None], at(0.0)).amax().sqrt()
        assert float(distance) == pytest.approx(reach, rel=0.01)


def test_particles_of_a_batch_do_not_meet() -> None:
    turns = rotation(at(0.3, 1.2), at(0.0, 2.0), at(0.5, 0.1))
    both = Pills(at(0.5, 0.3), at(2.0, 3.0), at(0.0, 0.7), turns)
    x = grid(at(2.0), 40).reshape(1, -1)
    together = both.columns(x.expand(2, -1), x.expand(2, -1))
    for i in range(2):
        alone = Pills(both.radius[i : i + 1], both.length[i : i + 1], both.bend[i : i + 1], turns[i : i + 1])
        columns = alone.columns(x, x)
        thickness = (columns[:, :, 1] - columns[:, :, 0]).sum(1)
        torch.testing.assert_close((together[i, :, 1] - together[i, :, 0]).sum(0), thickness[0])


def test_impossible_pills_are_refused() -> None:
    with pytest.raises(ValueError, match="twice its radius"):
        Pills(at(0.5), at(0.9), at(0.0), TURN)
    with pytest.raises(ValueError, match="bend of a pill"):
        Pills(at(0.5), at(2.0), at(3.2), TURN)
