"""The record that describes a simulated shot, and the shape that it stands for."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .shapes import Pills, Shape, Spheroids, rotation

KINDS: Final[tuple[bytes, ...]] = (b"empty", b"sphere", b"oblate", b"prolate", b"pill")
"""Values of the field ``kind``; the next two groups of fields are NaN for ``empty``."""

PARAMETERS: Final = np.dtype(
    [
        ("index", np.int64),  # of the shot within its seed
        ("kind", "S7"),  # one of KINDS; bytes, because HDF5 stores no fixed-length unicode
        ("equatorial_radius", np.float64),  # m: across the axis; a pill's tube radius
        ("length", np.float64),  # m: along the axis (a pill's centreline), caps included
        ("bend", np.float64),  # rad between the directions of a pill's two ends
        ("tilt", np.float64),  # rad between the particle's axis and the beam, 0 to pi/2
        ("azimuth", np.float64),  # rad of the axis' shadow from +x (columns) to +y (rows, downwards)
        ("roll", np.float64),  # rad about the axis: 0 bends a pill in the plane of axis and beam
        ("wavelength", np.float64),  # m
        ("absorption_length", np.float64),  # m: the beam's intensity falls to 1/e
        ("photons", np.float64),  # expected scattered photons on the sensor, 0 for empty
        ("background", np.float64),  # expected photons on the sensor that no particle scattered
    ]
)
"""Structured type of :attr:`cdifast.simulate.Shots.parameters`, SI units."""


def shape_of(parameters: NDArray[Any], device: torch.device | str = "cpu") -> Shape:
    """The batch of shapes that some records describe.

    Parameters
    ----------
    parameters : ndarray
        ``(B,)`` of :data:`PARAMETERS`, B >= 1: all pills, or all spheroids (sphere, oblate, prolate).
    device : torch.device or str
        Where the shapes' tensors live.

    Raises
    ------
    ValueError
        If the records are empty, mix pills and spheroids, or name another kind.
    """
    kinds = set(parameters["kind"].tolist())

    def field(name: str) -> Tensor:
        return torch.tensor(parameters[name].tolist(), dtype=torch.float64, device=device)

    if kinds == {b"pill"}:
        return Pills(field("equatorial_radius"), field("length"), field("bend"), _orientation(field))
    if kinds and kinds <= {b"sphere", b"oblate", b"prolate"}:
        return Spheroids(field("length") / 2, field("equatorial_radius"), _orientation(field))
    raise ValueError(
        f"one batch of shapes must be all pills or all spheroids (sphere, oblate, prolate), found {sorted(kinds)}"
    )


def _orientation(field: Any) -> Tensor:
    return rotation(field("tilt"), field("azimuth"), field("roll"))
