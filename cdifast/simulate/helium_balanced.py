"""Preset ``helium-balanced``: droplets of the helium experiment in a mixture that a small network can learn from.

Detector, photon energies and droplet sizes follow the experiment. The *mixture* does not: the real labels are
80 % round and 3 % streaks, and a thousand shots of that teach a network little. Here the recipes below come
about equally often, and each keeps a gap to its neighbours' thresholds (:mod:`cdifast.simulate.labelling`),
so that few shots lie on a border that no observer could decide. Silhouettes of
oblate droplets stay below an axis ratio of 1.45 (unless they are to look one-sided) and those of unbent prolate
patterns above 1.6, as the two differ in little else. Labels come from the drawn particle by the rules, never from the
recipe. The detector is ideal: what limits a network here is the particle. The experiment's own mixture and detector
are those of the preset ``helium``.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cdifast.labels import CLASSES

from .helium import (
    LAYER_PERIOD,
    MAX_ANGLE,
    PHOTON_ENERGY,
    draw_radius,
    helium_detector,
    log_uniform,
    oblate_tilt,
    place_second,
)
from .labelling import asymmetry, labels_for
from .optics import wavelength_of
from .particles import new_records, set_classes
from .preset import Preset
from .response import Response

PHOTONS: Final = (5e4, 5e6)
"""Scattered photons expected on the sensor, log-uniform. Our choice: from one or two rings above the noise to
all of them."""

BACKGROUND: Final = (1e2, 1e4)
"""Photons expected on the sensor without any scattering, log-uniform, evenly spread. Our choice: weak."""

ABSORPTION_LENGTH: Final = (0.5e-6, 5e-6)
"""m, log-uniform. Our choice: droplets that the beam passes through, as below the first absorption band
(:mod:`cdifast.simulate.optics`)."""

RECIPES: Final[tuple[tuple[str, float], ...]] = (
    ("round", 0.13),
    ("elliptical", 0.12),
    ("asymmetric", 0.09),
    ("prolate", 0.10),
    ("streak", 0.11),
    ("bent", 0.13),
    ("layered", 0.07),
    ("newton", 0.08),
    ("double", 0.08),
    ("empty", 0.09),
)
"""Share of each recipe in the mixture."""

CLOSED_GAP: Final = (0.10, 0.16)
PROLATE_GAP: Final = (0.26, 0.34)
"""Asymmetries (:func:`cdifast.simulate.labelling.asymmetry`) that are drawn again, of closed and of elongated
patterns."""


def draw(rng: np.random.Generator) -> NDArray[Any]:
    """One shot's parameters.

    - *round*: a sphere, or an oblate droplet tilted so little that its silhouette's axis ratio is below 1.05.
    - *elliptical*: an oblate droplet with a silhouette of 1.15 to 1.4, seen so that it is hardly one-sided.
    - *asymmetric*: an oblate droplet, axis ratio 1.5 to 2, tilted so far from both views that it is one-sided.
    - *prolate*: a prolate spheroid (axis ratio 1.8 to 2.5), seen from the side.
    - *streak*: a pill 2.3 to 3.5 times as long as wide, seen from the side; half of them a little bent by
      themselves.
    - *bent*: such a pill or a prolate spheroid, tilted towards the beam by as much as bends its pattern
      visibly (streak: by 1.5 to 3.5 of its own widths). Pills too small for that are drawn again.
    - *layered*: a superellipsoid or pill as for a streak, with a density wave along it (`helium.LAYER_PERIOD`).
    - *newton*: round, elliptical or streak, and a second droplet of about the same size behind the first.
    - *double*: round or elliptical, and a second droplet beside the first, of at least 1.45 times or at most 0.69
      times its radius.
    - *empty*: no droplet.

    Sizes are radii of the sphere of equal volume.
    """
    recipe = rng.choice([name for name, _ in RECIPES], p=[share for _, share in RECIPES])
    while True:
        records = new_records(1)
        _fill(rng, records[0], str(recipe))
        if not _undecided(records):
            break
    set_classes(records, labels_for(records, MAX_ANGLE))
    return records[0]


def _undecided(records: NDArray[Any]) -> bool:
    seen = float(asymmetry(records, MAX_ANGLE)[0])
    long = records["kind"][0] in (b"pill", b"prolate", b"superellipsoid")
    low, high = PROLATE_GAP if long else CLOSED_GAP
    return low < seen < high


def _fill(rng: np.random.Generator, record: NDArray[Any], recipe: str) -> None:
    record["background"] = log_uniform(rng, *BACKGROUND)
    record["wavelength"] = wavelength_of(rng.uniform(*PHOTON_ENERGY))
    if recipe == "empty":
        return
    record["absorption_length"] = log_uniform(rng, *ABSORPTION_LENGTH)
    record["bend"] = 0
    record["photons"] = log_uniform(rng, *PHOTONS)
    record["azimuth"] = rng.uniform(0, 2 * math.pi)
    record["roll"] = rng.uniform(0, 2 * math.pi)
    _DROPLETS[recipe](rng, record)


def _spheroid(rng: np.random.Generator, record: NDArray[Any], aspect: float) -> None:
    """Set kind and size of a spheroid with polar over equatorial radius ``aspect``."""
    record["kind"] = b"sphere" if aspect == 1 else b"oblate" if aspect < 1 else b"prolate"
    record["equatorial_radius"] = draw_radius(rng) * aspect ** (-1 / 3)
    record["length"] = 2 * record["equatorial_radius"] * aspect


def _pill(rng: np.random.Generator, record: NDArray[Any], aspect: float) -> None:
    """Set kind and size of a pill ``aspect`` times as long as wide: volume 2 pi r^3 (aspect - 1/3)."""
    record["kind"] = b"pill"
    record["equatorial_radius"] = draw_radius(rng) * (2 / (3 * aspect - 1)) ** (1 / 3)
    record["length"] = 2 * record["equatorial_radius"] * aspect


def _round(rng: np.random.Generator, record: NDArray[Any]) -> None:
    if rng.random() < 0.5:
        _spheroid(rng, record, 1.0)
        record["tilt"] = math.acos(rng.uniform(0, 1))
    else:
        ratio = rng.uniform(1.05, 1.45)
        _spheroid(rng, record, 1 / ratio)
        record["tilt"] = oblate_tilt(ratio, rng.uniform(1, 1.05))


def _elliptical(rng: np.random.Generator, record: NDArray[Any]) -> None:
    seen = rng.uniform(1.15, 1.4)
    ratio = rng.uniform(seen, 1.45)
    _spheroid(rng, record, 1 / ratio)
    record["tilt"] = oblate_tilt(ratio, seen)


def _asymmetric(rng: np.random.Generator, record: NDArray[Any]) -> None:
    ratio = rng.uniform(1.5, 2.0)
    _spheroid(rng, record, 1 / ratio)
    record["tilt"] = oblate_tilt(ratio, rng.uniform(1.15, min(ratio, 1.45)))


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


def _layered(rng: np.random.Generator, record: NDArray[Any]) -> None:
    _streak(rng, record)
    if rng.random() < 0.5:
        record["kind"] = b"superellipsoid"
        record["exponent"] = rng.uniform(4, 8)
        record["bend"] = 0
    record["layers"] = rng.uniform(0.4, 0.9)
    record["layer_period"] = record["wavelength"] * rng.uniform(*LAYER_PERIOD)
    record["layer_phase"] = rng.uniform(0, 2 * math.pi)


def _newton(rng: np.random.Generator, record: NDArray[Any]) -> None:
    (_round, _round, _elliptical, _streak)[rng.integers(4)](rng, record)
    record["second_radius"] = record["equatorial_radius"] * rng.uniform(0.92, 1.08)
    record["second_share"] = rng.uniform(0.3, 0.6)
    place_second(rng, record, behind=True)


def _double(rng: np.random.Generator, record: NDArray[Any]) -> None:
    (_round, _round, _round, _elliptical)[rng.integers(4)](rng, record)
    ratio = rng.uniform(1.45, 2.2)
    record["second_radius"] = record["equatorial_radius"] * (ratio if rng.random() < 0.5 else 1 / ratio)
    record["second_share"] = rng.uniform(0.35, 0.65)
    place_second(rng, record, behind=False)


_DROPLETS: Final = {
    "round": _round,
    "elliptical": _elliptical,
    "asymmetric": _asymmetric,
    "prolate": _prolate,
    "streak": _streak,
    "bent": _bent,
    "layered": _layered,
    "newton": _newton,
    "double": _double,
}

HELIUM_BALANCED: Final = Preset("helium-balanced", CLASSES, helium_detector, Response(), draw)
"""The helium experiment with an ideal detector and a learnable mixture of droplets."""
