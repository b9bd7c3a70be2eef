"""The helium nanodroplet experiment (P1, section 2): its detector, and droplets to learn its classes from.

Detector, photon energies and droplet sizes follow the experiment. The *mixture* does not: the real labels are
80 % round and 3 % streaks, and a thousand shots of that teach a network little. Here the recipes below come
about equally often, and each keeps a gap to its neighbours' thresholds (:mod:`cdifast.simulate.labelling`),
so that few shots lie on a border that no observer could decide. Silhouettes of
oblate droplets stay below an axis ratio of 1.45 and those of unbent prolate patterns above 1.6, as the two
differ in little else. Labels come from the drawn particle, never from the recipe.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .detector import FlatDetector
from .particles import PARAMETERS
from .preset import Preset

DISTANCE: Final = 0.065
"""m from the interaction region to the detector (P1, section 2)."""

MAX_ANGLE: Final = math.radians(30)
"""Largest scattering angle (P1, section 2)."""

HOLE: Final = 155 / 517
"""Radius of the central hole over that of the detector, in pixels of the published 1035 x 1035 images (P2's
code)."""

PHOTON_ENERGY: Final = (19.0, 35.0)
"""eV (P1, section 2); wavelengths of 65 to 35 nm."""

RADIUS_QUANTILES: Final[tuple[tuple[float, float], ...]] = (
    (0.05, 140.85e-9),
    (0.25, 259.0e-9),
    (0.50, 332.0e-9),
    (0.75, 404.0e-9),
    (0.95, 554.45e-9),
)
"""Quantiles (share, m) of the droplet radii recorded with the labels (CXIDB 94), their unit taken as nm. The
outer 5 % on either side are left out: they run to 0 and 1515, and 0 is no radius."""

PHOTONS: Final = (5e4, 5e6)
"""Scattered photons expected on the sensor, log-uniform. Our choice: from one or two rings above the noise to
all of them."""

BACKGROUND: Final = (1e2, 1e4)
"""Photons expected on the sensor without any scattering, log-uniform, evenly spread. Our choice: weak."""

ABSORPTION_LENGTH: Final = (0.5e-6, 5e-6)
"""m, log-uniform. Our choice: helium turns from clear to opaque within these energies."""

RECIPES: Final[tuple[tuple[str, float], ...]] = (
    ("round", 0.18),
    ("elliptical", 0.18),
    ("prolate", 0.16),
    ("streak", 0.18),
    ("bent", 0.20),
    ("empty", 0.10),
)
"""Share of each recipe in the mixture."""

_HC = 1.239841984e-6  # eV m


def draw(rng: np.random.Generator) -> NDArray[Any]:
    """One shot's parameters.

    - *round*: a sphere, or an oblate droplet tilted so little that its silhouette's axis ratio is below 1.05.
    - *elliptical*: an oblate droplet with a silhouette of 1.15 to 1.4.
    - *prolate*: a prolate spheroid (axis ratio 1.8 to 2.5), seen from the side.
    - *streak*: a pill 2.3 to 3.5 times as long as wide, seen from the side; half of them a little bent by
      themselves.
    - *bent*: such a pill or a prolate spheroid, tilted towards the beam by as much as bends its pattern
      visibly (streak: by 1.5 to 3.5 of its own widths). Pills too small for that are drawn again.
    - *empty*: no droplet.

    Sizes are radii of the sphere of equal volume.
    """
    record = np.zeros((), dtype=PARAMETERS)
    recipe = rng.choice([name for name, _ in RECIPES], p=[share for _, share in RECIPES])
    record["background"] = _log_uniform(rng, *BACKGROUND)
    record["wavelength"] = _HC / rng.uniform(*PHOTON_ENERGY)
    record["absorption_length"] = _log_uniform(rng, *ABSORPTION_LENGTH)
    if recipe == "empty":
        record["kind"] = b"empty"
        for name in ("equatorial_radius", "length", "bend", "tilt", "azimuth", "roll", "absorption_length"):
            record[name] = np.nan
        return record
    record["photons"] = _log_uniform(rng, *PHOTONS)
    record["azimuth"] = rng.uniform(0, 2 * math.pi)
    record["roll"] = rng.uniform(0, 2 * math.pi)
    _DROPLETS[recipe](rng, record)
    return record


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _radius(rng: np.random.Generator) -> float:
    shares, radii = zip(*RADIUS_QUANTILES, strict=True)
    return float(np.interp(rng.uniform(shares[0], shares[-1]), shares, radii))


def _isotropic_tilt(rng: np.random.Generator) -> float:
    return math.acos(rng.uniform(0, 1))


def _spheroid(rng: np.random.Generator, record: NDArray[Any], aspect: float) -> None:
    """Set kind and size of a spheroid with polar over equatorial radius ``aspect``."""
    record["kind"] = b"sphere" if aspect == 1 else b"oblate" if aspect < 1 else b"prolate"
    record["equatorial_radius"] = _radius(rng) * aspect ** (-1 / 3)
    record["length"] = 2 * record["equatorial_radius"] * aspect


def _pill(rng: np.random.Generator, record: NDArray[Any], aspect: float) -> None:
    """Set kind and size of a pill ``aspect`` times as long as wide: volume 2 pi r^3 (aspect - 1/3)."""
    record["kind"] = b"pill"
    record["equatorial_radius"] = _radius(rng) * (2 / (3 * aspect - 1)) ** (1 / 3)
    record["length"] = 2 * record["equatorial_radius"] * aspect


def _round(rng: np.random.Generator, record: NDArray[Any]) -> None:
    if rng.random() < 0.5:
        _spheroid(rng, record, 1.0)
        record["tilt"] = _isotropic_tilt(rng)
    else:
        ratio = rng.uniform(1.05, 1.45)
        _spheroid(rng, record, 1 / ratio)
        record["tilt"] = _oblate_tilt(ratio, rng.uniform(1, 1.05))


def _elliptical(rng: np.random.Generator, record: NDArray[Any]) -> None:
    seen = rng.uniform(1.15, 1.4)
    ratio = rng.uniform(seen, 1.45)
    _spheroid(rng, record, 1 / ratio)
    record["tilt"] = _oblate_tilt(ratio, seen)


def _oblate_tilt(ratio: float, seen: float) -> float:
    """Tilt at which an oblate spheroid's silhouette has the axis ratio ``seen <= ratio``.

    Its minor half axis is hypot(a cos t, c sin t), so 1 / seen^2 = 1 - (1 - 1 / ratio^2) sin^2 t.
    """
    return math.asin(math.sqrt((1 - seen**-2) / (1 - ratio**-2)))


def _pill_bending(record: NDArray[Any]) -> float:
    """Sagitta of a pill's streak at the rim in streak widths, over cos(tilt): see ``labelling``."""
    return float(math.sin(MAX_ANGLE) ** 2 * record["length"] / (2 * record["wavelength"]))


def _spheroid_bending(record: NDArray[Any]) -> float:
    """Sagitta of a prolate spheroid's ovals at the rim over their half width, over cos(tilt)."""
    return float(math.sin(MAX_ANGLE) * record["length"] / (4 * record["equatorial_radius"]))


def _own_bend(rng: np.random.Generator, record: NDArray[Any], most: float) -> float:
    """None for half of the pills, else up to a fan of ``most`` streak widths (``labelling.BENT_FAN``)."""
    fan = most if rng.random() < 0.5 else 0.0
    return rng.uniform(0, 2 * fan * float(record["wavelength"] / (math.sin(MAX_ANGLE) * record["length"])))


def _prolate(rng: np.random.Generator, record: NDArray[Any]) -> None:
    _spheroid(rng, record, rng.uniform(1.8, 2.5))
    record["tilt"] = math.acos(rng.uniform(0, 0.22 / _spheroid_bending(record)))


def _streak(rng: np.random.Generator, record: NDArray[Any]) -> None:
    _pill(rng, record, rng.uniform(2.3, 3.5))
    record["bend"] = _own_bend(rng, record, 0.5)
    record["tilt"] = math.acos(rng.uniform(0, min(0.5, 1 / _pill_bending(record))))


def _bent(rng: np.random.Generator, record: NDArray[Any]) -> None:
    steepest = math.cos(math.radians(30))  # further end-on, the crescent closes to rings
    if rng.random() < 0.4:
        _spheroid(rng, record, rng.uniform(1.8, 2.5))
        record["tilt"] = math.acos(rng.uniform(0.36 / _spheroid_bending(record), steepest))
        return
    aspect, least, most = rng.uniform(2.3, 3.5), 1.5, 3.5
    _pill(rng, record, aspect)
    while _pill_bending(record) * steepest < least:
        _pill(rng, record, aspect)
    record["bend"] = _own_bend(rng, record, 1.0)
    bending = _pill_bending(record)
    record["tilt"] = math.acos(rng.uniform(least / bending, min(most / bending, steepest)))


_DROPLETS: Final = {
    "round": _round,
    "elliptical": _elliptical,
    "prolate": _prolate,
    "streak": _streak,
    "bent": _bent,
}


def _detector(size: int) -> FlatDetector:
    return FlatDetector(size, distance=DISTANCE, max_angle=MAX_ANGLE, hole=HOLE)


HELIUM: Final = Preset("helium", _detector, draw)
"""The helium nanodroplet experiment with a learnable mixture of droplets."""
