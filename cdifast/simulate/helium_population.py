"""Preset ``helium``: the helium experiment as its labels tell it.

A shot's combination of labels is drawn first, from the real joint distribution (43 combinations, CXIDB 94); then a
droplet, or two, that shows it by the rules of :func:`cdifast.simulate.labels_for`: candidates from broad distributions
of shape, size and orientation are drawn until one does. So the labels have the real frequencies, and what the droplets
are is as plausible as the rules, no more.

Eleven of the 7264 real label rows name no super-class, and one names Spherical/Oblate but neither Round nor Elliptical:
a droplet cannot be neither. Such a shot gets a droplet that also shows what was left out (Prolate, with a streak where
only Layered was given; Elliptical), and keeps the labels that the researcher gave.

Radii follow the recorded quantiles (of the sphere of equal volume; layered droplets are taken from 450 to 900 nm,
among the largest, or they would hold few layers). Photon energies are uniform over the experiment's range, absorption
follows from the energy (:mod:`cdifast.simulate.optics`). The detector is :data:`RESPONSE`, the same one in all shots.
"""

from __future__ import annotations

import functools
import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cdifast.labels import CLASSES

from .curved import DEGREES
from .helium import (
    LAYER_PERIOD,
    MAX_ANGLE,
    PHOTON_ENERGY,
    STATISTICS,
    draw_radius,
    helium_detector,
    log_uniform,
    oblate_tilt,
    place_second,
)
from .labelling import DOUBLE_RATIO, WEAK_PHOTONS, labels_for
from .optics import absorption_length, wavelength_of
from .particles import new_records, set_classes
from .preset import Preset
from .response import Response

PHOTONS: Final = (3e5, 5e7)
"""Scattered photons expected on the sensor, log-uniform. Our choice: 6 to 1000 a pixel of 256 x 256."""

BACKGROUND: Final = (1e3, 5e4)
"""Photons expected on the sensor without any scattering, log-uniform. Our choice."""

CENTRE_SPREAD: Final = 0.004
"""Standard deviation of the beam's place on the sensor, each way, in radii of the rim: two pixels of the published
images. Our choice."""

RESPONSE: Final = Response(
    counts_per_photon=20,
    gain_spread=0.4,
    pixel_spread=0.03,
    shading=0.3,
    linear_photons=4,
    exponent=0.4,
    dead=0.07,
    stray=0.5,
    halo=0.4,
    readout_noise=4,
)
"""A micro-channel plate with a phosphor screen. That it has a pulse-height spread, a gain that falls at high flux and a
halo is known of such detectors; the values are our choice after seven published examples of the data set. Their left
side is brighter and the place right of the hole darker. Their rings fall off as q^-0.3 to q^-1.8, not q^-4, and their
dark rings keep half of the bright ones' signal: both are what a gain with the power 0.4 and a halo of 0.4 make of the
theory."""

_CANDIDATES: Final = 64
_ROUNDS: Final = 500


def draw(rng: np.random.Generator) -> NDArray[Any]:
    """One shot's parameters, see the module."""
    combinations, shares = _combinations()
    labels = combinations[rng.choice(len(combinations), p=shares)]
    shown = shown_classes(labels)
    record = new_records(1)
    energy = rng.uniform(*PHOTON_ENERGY)
    if "Empty" in shown:
        _fill_empty(rng, record)
    else:
        record = _droplet(rng, shown, float(wavelength_of(energy)))
        record["photons"] = log_uniform(rng, *PHOTONS)
        if "Newton rings" in shown or "Double rings" in shown:
            _add_second(rng, record, shown)
    record["wavelength"] = wavelength_of(energy)
    if record["kind"][0] != b"empty":
        record["absorption_length"] = absorption_length(energy)
    record["background"] = log_uniform(rng, *BACKGROUND)
    for name in ("centre_y", "centre_x"):
        record[name] = np.clip(rng.normal(0, CENTRE_SPREAD), -5 * CENTRE_SPREAD, 5 * CENTRE_SPREAD)
    set_classes(record, labels[None])
    return record[0]


@functools.cache
def _combinations() -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The real combinations ``(43, 11)`` and their shares."""
    rows = STATISTICS["combinations"]
    labels = np.array([[name in names for name in CLASSES] for _, names in rows], dtype=np.uint8)
    counts = np.array([count for count, _ in rows], dtype=np.float64)
    return labels, counts / counts.sum()


def shown_classes(labels: NDArray[np.uint8]) -> frozenset[str]:
    """What a droplet with the labels ``(11,)`` shows: they, and what the researcher left out."""
    names = {CLASSES[i] for i in np.flatnonzero(labels)}
    if not names & {"Spherical/Oblate", "Prolate", "Empty"}:
        names |= {"Prolate", "Streak"}
    if "Spherical/Oblate" in names and not names & {"Round", "Elliptical"}:
        names.add("Elliptical")
    return frozenset(names)


def _fill_empty(rng: np.random.Generator, record: NDArray[Any]) -> None:
    """Nothing, or a hit too weak to be seen."""
    if rng.random() < 0.5:
        return
    radius = draw_radius(rng)
    for name, value in (("kind", b"sphere"), ("equatorial_radius", radius), ("length", 2 * radius)):
        record[name] = value
    for name in ("bend", "tilt", "azimuth", "roll"):
        record[name] = 0
    record["photons"] = rng.uniform(0, WEAK_PHOTONS)


def _droplet(rng: np.random.Generator, shown: frozenset[str], wavelength: float) -> NDArray[Any]:
    """``(1,)`` record of a droplet that shows what a single one can show of ``shown``."""
    single = shown - {"Newton rings", "Double rings"}
    wanted = np.array([name in single for name in CLASSES], dtype=np.uint8)
    for _ in range(_ROUNDS):
        candidates = new_records(_CANDIDATES)
        candidates["wavelength"] = wavelength
        candidates["photons"] = PHOTONS[1]
        candidates["bend"] = 0
        candidates["tilt"] = np.arccos(rng.uniform(0, 1, _CANDIDATES))
        candidates["azimuth"] = rng.uniform(0, 2 * math.pi, _CANDIDATES)
        candidates["roll"] = rng.uniform(0, 2 * math.pi, _CANDIDATES)
        if "Round" in shown:
            _round(rng, candidates, one_sided="Asymmetric" in shown)
        elif "Elliptical" in shown:
            _set_spheroids(rng, candidates, 1 / rng.uniform(1.1, 2.0, _CANDIDATES))
        else:
            _prolate(rng, candidates, layered="Layered" in shown, streak="Streak" in shown)
        if "Layered" in shown:
            candidates["layers"] = rng.uniform(0.25, 0.6, _CANDIDATES)
            candidates["layer_period"] = wavelength * rng.uniform(*LAYER_PERIOD, _CANDIDATES)
            candidates["layer_phase"] = rng.uniform(0, 2 * math.pi, _CANDIDATES)
        fits = (labels_for(candidates, MAX_ANGLE) == wanted).all(1)
        if fits.any():
            chosen = int(np.flatnonzero(fits)[0])
            return candidates[chosen : chosen + 1].copy()
    raise RuntimeError(f"no droplet among {_ROUNDS * _CANDIDATES} shows {', '.join(sorted(shown))}")


def _set_spheroids(rng: np.random.Generator, records: NDArray[Any], aspect: NDArray[np.float64]) -> None:
    """Kind and size of spheroids with polar over equatorial radius ``aspect``."""
    records["kind"] = np.where(aspect < 1, b"oblate", np.where(aspect > 1, b"prolate", b"sphere"))
    records["equatorial_radius"] = draw_radius(rng, len(records)) * aspect ** (-1 / 3)
    records["length"] = 2 * records["equatorial_radius"] * aspect


def _round(rng: np.random.Generator, records: NDArray[Any], *, one_sided: bool) -> None:
    """Spheres, spheres with surface waves of a per cent, oblate droplets seen along their axis."""
    count = len(records)
    if one_sided:
        ratio = rng.uniform(1.8, 2.4, count)
        _set_spheroids(rng, records, 1 / ratio)
        records["tilt"] = oblate_tilt(ratio, rng.uniform(1.02, 1.09, count))
        return
    which = rng.random(count)
    _set_spheroids(rng, records, np.where(which < 0.8, 1.0, 1 / rng.uniform(1.05, 1.6, count)))
    waves = which < 0.15
    records["kind"][waves] = b"harmonics"
    # The same height of all degrees is steeper for higher ones: the wave number tames them, as surface tension does.
    damping = np.concatenate([np.full(2 * l + 1, 4 / l**2) for l in DEGREES])
    records["surface"][waves] = 0.012 * damping * rng.standard_normal((int(waves.sum()), len(damping)))


def _prolate(rng: np.random.Generator, records: NDArray[Any], *, layered: bool, streak: bool) -> None:
    """Pills, straight and bent, prolate spheroids, superellipsoids; a spheroid makes no streak."""
    count = len(records)
    which = rng.random(count) * (0.65 if streak else 1.0)
    pills, flat = which < 0.45, (which >= 0.45) & (which < 0.65)
    aspect = np.where(pills | flat, rng.uniform(1.3, 3.5, count), rng.uniform(1.2, 2.8, count))
    _set_spheroids(rng, records, aspect)
    if layered:
        records["equatorial_radius"] = rng.uniform(450e-9, 900e-9, count) * aspect ** (-1 / 3)
    # of equal volume: a pill's is 2 pi r^3 (aspect - 1/3), a flat body is taken as a pill
    records["equatorial_radius"] *= np.where(pills | flat, (2 * aspect / (3 * aspect - 1)) ** (1 / 3), 1)
    records["length"] = 2 * records["equatorial_radius"] * aspect
    records["kind"] = np.where(pills, b"pill", np.where(flat, b"superellipsoid", b"prolate"))
    records["exponent"] = np.where(flat, rng.uniform(4, 10, count), 2)
    # The streak of a bent pill fans out by up to two of its own widths.
    fan = np.where(pills & (rng.random(count) < 0.5), rng.uniform(0, 2, count), 0)
    bend = 2 * fan * records["wavelength"] / (math.sin(MAX_ANGLE) * records["length"])
    records["bend"] = np.minimum(bend, 1.0)


def _add_second(rng: np.random.Generator, record: NDArray[Any], shown: frozenset[str]) -> None:
    """A second droplet: behind the first for Newton rings, of another size for double rings."""
    if "Double rings" in shown:
        ratio = rng.uniform(DOUBLE_RATIO + 0.05, 2.2)
        ratio = ratio if rng.random() < 0.5 else 1 / ratio
        record["second_share"] = rng.uniform(0.25, 0.7)
    else:
        ratio = rng.uniform(0.85, 1.15)
        record["second_share"] = rng.uniform(0.2, 0.6)
    record["second_radius"] = record["equatorial_radius"] * ratio
    place_second(rng, record[0], behind="Newton rings" in shown)


HELIUM: Final = Preset("helium", CLASSES, helium_detector, RESPONSE, draw)
"""The helium nanodroplet experiment: real label statistics, detector with its faults."""
