"""Preset ``cxidb10``: single bioparticles and nanoparticles in soft X-rays, after CXIDB 10 to 14 (LCLS, amo10510).

Five species, drawn as often as the data sets hold shots of them. A shot shows exactly one, so its labels are not the
helium experiment's eleven classes: ``labels`` is one-hot ``(N, 5)`` in the order of :data:`SPECIES`, which is what
``Shots.classes`` and :func:`cdifast.train.train_classifier` (its argument ``classes``) take. This is the
species classification of P1's table 3. ``parameters["kind"]`` is the shape that stands for the species:

- *nanorice*: prolate iron oxide grains, as prolate spheroids 150 to 350 nm long, three to five times as long as wide;
- *magnetosomes*: chains of 4 to 14 magnetite crystals of 35 to 55 nm, straight or bent, as touching spheres;
- *TMV*: tobacco mosaic virus, a rod of 300 nm by 18 nm, as a pill;
- *T4*: the phage's head, an icosahedron 86 nm wide stretched to 120 nm along a five-fold axis (no tail);
- *PBCV-1*: a regular icosahedron 190 nm across its corners.

Sizes are textbook values, each spread by some per cent as particles from an aerosol are. Detector: two pnCCD halves of
512 x 1024 pixels of 75 um with a gap and a hole. Photon energy 1.2 keV; the distance of 0.74 m and the hole are what we
recall of Kassemeyer et al., Opt. Express 20 (2012) 4149, not read from the files. Absorption is left out: at 1.2 keV
carbon and iron oxide lose 1/e in a micrometre or more. The small angle (3 degrees at the rim) makes every pattern
Friedel-symmetric, and the rod so weak that it is told mostly by its straight streak.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .detector import FlatDetector
from .helium import log_uniform
from .optics import wavelength_of
from .particles import new_records, set_classes
from .preset import Preset
from .response import Response

SPECIES: Final[tuple[str, ...]] = ("nanorice", "magnetosomes", "TMV", "T4", "PBCV-1")
"""Column order of the labels."""

SHOTS_OF_SPECIES: Final = (9302, 2981, 532, 18925, 880)
"""Shots of each in CXIDB 10 to 14."""

PHOTON_ENERGY: Final = 1200.0
"""eV."""

DISTANCE: Final = 0.74
"""m from the interaction region to the detector."""

HALF_SIDE: Final = 512 * 75e-6
"""m: half the side of the sensor."""

PHOTONS: Final = (3e3, 1e6)
"""Scattered photons expected on the sensor, log-uniform. Our choice."""

BACKGROUND: Final = (1e2, 5e3)
"""Photons expected on the sensor without any scattering, log-uniform. Our choice."""

RESPONSE: Final = Response(counts_per_photon=10, pixel_spread=0.02, stray=0.8, readout_noise=2, linear_photons=1e4)
"""A pnCCD: linear, a photon well above the read-out noise. The values are our choice."""


def detector(size: int) -> FlatDetector:
    """Two halves with a gap and a hole, ``size`` pixels wide in all."""
    angle = math.atan(HALF_SIDE / DISTANCE)
    return FlatDetector(size, distance=DISTANCE, max_angle=angle, hole=0.06, round=False, gap=0.04)


def draw(rng: np.random.Generator) -> NDArray[Any]:
    """One shot's parameters, see the module."""
    shares = np.array(SHOTS_OF_SPECIES) / sum(SHOTS_OF_SPECIES)
    species = int(rng.choice(len(SPECIES), p=shares))
    records = new_records(1)
    record = records[0]
    record["bend"] = 0
    record["tilt"] = math.acos(rng.uniform(0, 1))
    record["azimuth"] = rng.uniform(0, 2 * math.pi)
    record["roll"] = rng.uniform(0, 2 * math.pi)
    record["absorption_length"] = math.inf
    record["wavelength"] = wavelength_of(PHOTON_ENERGY)
    record["photons"] = log_uniform(rng, *PHOTONS)
    record["background"] = log_uniform(rng, *BACKGROUND)
    for name in ("centre_y", "centre_x"):
        record[name] = np.clip(rng.normal(0, 0.003), -0.015, 0.015)
    name = SPECIES[species]
    spread = 1 + 0.03 * float(np.clip(rng.standard_normal(), -3, 3))
    if name == "nanorice":
        _set(record, b"prolate", rng.uniform(150e-9, 350e-9), rng.uniform(3, 5))
    elif name == "magnetosomes":
        units = int(rng.integers(4, 15))
        _set(record, b"chain", units * rng.uniform(35e-9, 55e-9), units)
        record["bend"] = abs(rng.normal(0, 0.6)) % 2.5
    elif name == "TMV":
        _set(record, b"pill", 300e-9 * spread, 300 / 18)
    elif name == "T4":
        _set(record, b"icosahedron", 120e-9 * spread, 120 / 86)
    else:
        _set(record, b"icosahedron", 190e-9 * spread, 1.0)
    labels = np.zeros((1, len(SPECIES)), dtype=np.uint8)
    labels[0, species] = 1
    set_classes(records, labels)
    return record


def _set(record: NDArray[Any], kind: bytes, length: float, aspect: float) -> None:
    """Kind, length, and width ``length / aspect``."""
    record["kind"] = kind
    record["length"] = length
    record["equatorial_radius"] = length / (2 * aspect)


CXIDB10: Final = Preset("cxidb10", SPECIES, detector, RESPONSE, draw)
"""Five species of nanoparticles and viruses in soft X-rays."""
