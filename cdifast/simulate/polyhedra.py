"""Convex polyhedra: icosahedral virus capsids, also stretched along a five-fold axis."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

# A face whose normal is perpendicular to the ray to less than this would divide by nothing.
_EDGE_ON = 1e-12


@dataclass(frozen=True)
class Icosahedra:
    """Regular icosahedra, stretched along one of their five-fold axes.

    Attributes
    ----------
    radius : Tensor
        ``(B,)`` from the centre to a corner, before stretching.
    stretch : Tensor
        ``(B,)`` factor along the five-fold axis: 1 is regular, more is the head of a T4 phage.
    orientation : Tensor
        ``(B, 3, 3)`` from :func:`rotation`; its third column is the five-fold axis.

    Raises
    ------
    ValueError
        If a stretch is not positive.
    """

    radius: Tensor
    stretch: Tensor
    orientation: Tensor

    def __post_init__(self) -> None:
        if not bool((self.stretch > 0).all()):
            raise ValueError("stretch of an icosahedron must be positive")

    def corners(self) -> Tensor:
        """``(B, 12, 3)`` float64 corners, in the laboratory."""
        own = icosahedron_corners().to(self.orientation.device) * self.radius.double()[:, None, None]
        factor = torch.ones(len(self.stretch), 1, 3, dtype=torch.float64, device=own.device)
        factor[:, 0, 2] = self.stretch.double()
        return (own * factor) @ self.orientation.double().mT

    def half_extents(self) -> Tensor:
        """See :meth:`Shape.half_extents`; exact."""
        return self.corners().abs().amax(1)

    def reach(self) -> Tensor:
        """See :meth:`Shape.reach`; exact."""
        return self.corners().square().sum(-1).amax(1).sqrt()

    def columns(self, x: Tensor, y: Tensor) -> Tensor:
        """See :meth:`Shape.columns`; one interval between the 20 planes ``n . r = d``."""
        normals, distances = icosahedron_faces()
        device = self.orientation.device
        own = normals.to(device).repeat(len(self.stretch), 1, 1)
        own[..., 2] /= self.stretch.double()[:, None]  # a stretched body's normals shrink along the axis
        turned = own @ self.orientation.double().mT  # (B, 20, 3)
        distance = distances.to(device) * self.radius.double()[:, None]
        X, Y = torch.broadcast_tensors(x.double()[:, None, :], y.double()[:, :, None])
        lower = torch.full_like(X, -torch.inf)
        upper = torch.full_like(X, torch.inf)
        for j in range(turned.shape[1]):
            n_x, n_y, n_z = (part[:, None, None] for part in turned[:, j].unbind(-1))
            room = distance[:, j, None, None] - n_x * X - n_y * Y
            z = room / torch.where(n_z.abs() < _EDGE_ON, _EDGE_ON, n_z)
            upper = torch.where(n_z > _EDGE_ON, torch.minimum(upper, z), upper)
            lower = torch.where(n_z < -_EDGE_ON, torch.maximum(lower, z), lower)
            upper = torch.where((n_z.abs() <= _EDGE_ON) & (room < 0), -torch.inf, upper)
        hit = upper > lower
        return torch.where(hit[:, None], torch.stack([lower, upper], 1), 0)[:, None]


def icosahedron_corners() -> Tensor:
    """``(12, 3)`` float64 corners of the icosahedron of circumradius 1 with a five-fold axis along z."""
    height = 1 / math.sqrt(5)
    ring = 2 / math.sqrt(5)
    upper = [(ring * math.cos(a), ring * math.sin(a), height) for a in (2 * math.pi * k / 5 for k in range(5))]
    lower = [(-x, -y, -z) for x, y, z in upper]
    return torch.tensor([(0, 0, 1), *upper, (0, 0, -1), *lower], dtype=torch.float64)


def icosahedron_faces() -> tuple[Tensor, Tensor]:
    """Outward unit normals ``(20, 3)`` and distances ``(20,)`` of its faces from the centre."""
    corners = icosahedron_corners()
    edge = 1 / math.sin(2 * math.pi / 5)
    near = (torch.cdist(corners, corners) - edge).abs() < 1e-9
    faces = [
        (i, j, k)
        for i in range(12)
        for j in range(i + 1, 12)
        for k in range(j + 1, 12)
        if near[i, j] and near[j, k] and near[i, k]
    ]
    middles = torch.stack([corners[list(face)].mean(0) for face in faces])
    distances = middles.norm(dim=1)
    return middles / distances[:, None], distances
