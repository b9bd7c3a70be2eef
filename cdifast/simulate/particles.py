"""The record that describes a simulated shot, and the shape that it stands for."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .curved import DEGREES, Harmonics, Superellipsoids
from .polyhedra import Icosahedra
from .shapes import Pills, Shape, Spheroids, rotation

KINDS: Final[tuple[bytes, ...]] = (
    b"empty",
    b"sphere",
    b"oblate",
    b"prolate",
    b"pill",
    b"superellipsoid",
    b"harmonics",
    b"icosahedron",
    b"chain",
)
"""Values of the field ``kind``; a particle's own fields are NaN for ``empty``."""

SPHEROIDS: Final = (b"sphere", b"oblate", b"prolate")

PARAMETERS: Final = np.dtype(
    [
        ("index", np.int64),  # of the shot within its seed
        ("kind", "S14"),  # one of KINDS; bytes, because HDF5 stores no fixed-length unicode
        ("equatorial_radius", np.float64),  # m: across the axis; a pill's tube, a sphere of a chain
        ("length", np.float64),  # m: along the axis (a pill's or chain's centreline), caps included
        ("bend", np.float64),  # rad between the directions of the two ends of a pill or chain
        ("tilt", np.float64),  # rad between the particle's axis and the beam, 0 to pi/2
        ("azimuth", np.float64),  # rad of the axis' shadow from +x (columns) to +y (rows, downwards)
        ("roll", np.float64),  # rad about the axis: 0 bends a pill in the plane of axis and beam
        ("absorption_length", np.float64),  # m: the beam's intensity falls to 1/e
        ("exponent", np.float64),  # of a superellipsoid, else 2
        ("surface", np.float64, (sum(2 * l + 1 for l in DEGREES),)),  # of Harmonics, else 0
        ("layers", np.float64),  # relative amplitude of a density wave along the axis, 0 to 1
        ("layer_period", np.float64),  # m
        ("layer_phase", np.float64),  # rad at the particle's middle
        ("second_radius", np.float64),  # m: a second, round droplet; 0 without
        ("second_share", np.float64),  # of the photons that it scatters
        ("second_x", np.float64),  # m from the first one: columns, rows, along the beam
        ("second_y", np.float64),
        ("second_z", np.float64),
        ("wavelength", np.float64),  # m
        ("photons", np.float64),  # expected scattered photons on the sensor, 0 for empty
        ("background", np.float64),  # expected photons on the sensor that no particle scattered
        ("centre_y", np.float64),  # beam on the sensor from its middle, in radii of the rim
        ("centre_x", np.float64),
        ("classes", np.uint16),  # the shot's labels: bit i is class i of its preset
    ]
)
"""Structured type of :attr:`cdifast.simulate.Shots.parameters`, SI units."""

PARTICLE_FIELDS: Final = ("equatorial_radius", "length", "bend", "tilt", "azimuth", "roll", "absorption_length")
"""Fields that are NaN where there is no particle."""


def new_records(count: int) -> NDArray[Any]:
    """``(count,)`` records of nothing: no particle, no photons; all particles' extras off."""
    records = np.zeros(count, dtype=PARAMETERS)
    records["kind"] = b"empty"
    records["exponent"] = 2
    for name in PARTICLE_FIELDS:
        records[name] = np.nan
    return records


def set_classes(records: NDArray[Any], labels: NDArray[np.uint8]) -> None:
    """Store labels ``(N, C)``, C up to 16, in the records' ``classes``."""
    weights = 1 << np.arange(labels.shape[1], dtype=np.uint32)
    records["classes"] = (labels.astype(np.uint32) * weights).sum(1).astype(np.uint16)


def classes_of(records: NDArray[Any], count: int) -> NDArray[np.uint8]:
    """Labels ``(N, count)`` uint8 from the records' ``classes``."""
    bits = records["classes"][:, None].astype(np.uint32) >> np.arange(count, dtype=np.uint32)
    return (bits & 1).astype(np.uint8)


def shape_of(parameters: NDArray[Any], device: torch.device | str = "cpu") -> Shape:
    """The batch of shapes that some records describe; of a chain, one of its spheres.

    Parameters
    ----------
    parameters : ndarray
        ``(B,)`` of :data:`PARAMETERS`, B >= 1, of one kind; sphere, oblate and prolate count as one.
    device : torch.device or str
        Where the shapes' tensors live.

    Raises
    ------
    ValueError
        If the records are empty, mix kinds, or name a kind without a shape.
    """
    kinds = set(parameters["kind"].tolist())

    def field(name: str) -> Tensor:
        return torch.tensor(parameters[name].tolist(), dtype=torch.float64, device=device)

    def orientation() -> Tensor:
        return rotation(field("tilt"), field("azimuth"), field("roll"))

    radius = field("equatorial_radius")
    if kinds == {b"pill"}:
        return Pills(radius, field("length"), field("bend"), orientation())
    if kinds and kinds <= set(SPHEROIDS):
        return Spheroids(field("length") / 2, radius, orientation())
    if kinds == {b"superellipsoid"}:
        return Superellipsoids(field("length") / 2, radius, field("exponent"), orientation())
    if kinds == {b"harmonics"}:
        return Harmonics(radius, field("surface"), orientation())
    if kinds == {b"icosahedron"}:
        return Icosahedra(radius, field("length") / (2 * radius), orientation())
    if kinds == {b"chain"}:
        return Spheroids(radius, radius, orientation())
    raise ValueError(
        "one batch of shapes must be of one kind, for example all pills or all spheroids (sphere, oblate, prolate), "
        f"found {sorted(kinds)}"
    )
