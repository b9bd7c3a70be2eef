"""The helium nanodroplet experiment (P1, section 2): what its presets have in common."""

from __future__ import annotations

import json
import math
from importlib import resources
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .detector import FlatDetector

DISTANCE: Final = 0.065
"""m from the interaction region to the detector (P1, section 2)."""

MAX_ANGLE: Final = math.radians(30)
"""Largest scattering angle (P1, section 2)."""

HOLE: Final = 155 / 517
"""Radius of the central hole over that of the detector, in pixels of the published 1035 x 1035 images (P2's
code)."""

PHOTON_ENERGY: Final = (19.0, 35.0)
"""eV (P1, section 2); wavelengths of 65 to 35 nm."""

STATISTICS: Final[dict[str, Any]] = json.loads(
    resources.files(__package__).joinpath("helium_labels.json").read_text(encoding="utf-8")
)
"""Labels of the real data set: how often each combination of classes occurs, quantiles of the radii, and the source
(CXIDB entry 94, CC0). The file carries numbers only, no images."""

RADIUS_QUANTILES: Final[tuple[tuple[float, float], ...]] = tuple(
    (float(share), radius * 1e-9) for share, radius in STATISTICS["radius_quantiles"].items() if 0 < float(share) < 1
)
"""Quantiles (share, m) of the droplet radii recorded with the labels, their unit taken as nm. The
outer 5 % on either side are left out: they run to 0 and 1515, and 0 is no radius."""


LAYER_PERIOD: Final = (6.0, 12.0)
"""Periods of layers in wavelengths, our choice: a density wave scatters like the whole droplet, displaced by
``wavelength / period`` in direction cosines. That keeps its forward peak inside the hole (0.17), and on the sensor the
side streaks run along the main one, as in the published example."""


def helium_detector(size: int) -> FlatDetector:
    """The round plate with its hole, ``size`` pixels wide."""
    return FlatDetector(size, distance=DISTANCE, max_angle=MAX_ANGLE, hole=HOLE)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number whose logarithm is uniform."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def draw_radius(rng: np.random.Generator, shape: int | tuple[int, ...] = ()) -> Any:
    """Radii in m of spheres of the droplets' volume: quantiles interpolated linearly."""
    shares, radii = zip(*RADIUS_QUANTILES, strict=True)
    return np.interp(rng.uniform(shares[0], shares[-1], shape), shares, radii)


def oblate_tilt(ratio: Any, seen: Any) -> Any:
    """Tilt at which an oblate spheroid's silhouette has the axis ratio ``seen <= ratio``.

    Its minor half axis is hypot(a cos t, c sin t), so 1 / seen^2 = 1 - (1 - 1 / ratio^2) sin^2 t.
    """
    return np.arcsin(np.sqrt((1 - seen**-2.0) / (1 - ratio**-2.0)))


def place_second(rng: np.random.Generator, record: NDArray[Any], *, behind: bool) -> None:
    """Put the second droplet of one record somewhere in the focus.

    Parameters
    ----------
    behind : bool
        Behind the first one (10 to 60 um), so that the interference is stationary on the sensor, between hole and
        rim; else beside it (20 to 200 um, farther than 60 degrees from the beam), where it is too fine to be seen.
    """
    if behind:
        distance = log_uniform(rng, 10e-6, 60e-6)
        rim = math.tan(MAX_ANGLE)
        # even over the sensor's area from a little inside the hole
        aside = math.atan(rim * math.sqrt(rng.uniform((0.8 * HOLE) ** 2, 0.9**2)))
    else:
        distance = log_uniform(rng, 20e-6, 200e-6)
        aside = rng.uniform(math.radians(60), math.radians(120))
    turn = rng.uniform(0, 2 * math.pi)
    record["second_x"] = distance * math.sin(aside) * math.cos(turn)
    record["second_y"] = distance * math.sin(aside) * math.sin(turn)
    record["second_z"] = distance * math.cos(aside)
