"""Hand-made particles with hand-derived labels, and the rules between classes over the whole preset."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cdifast.labels import CLASSES, EXCLUSIVE, SUPER_CLASSES
from cdifast.simulate import PARAMETERS, labels_for
from cdifast.simulate.helium_balanced import HELIUM_BALANCED

MAX_ANGLE = math.radians(30)


def record(kind: str, **values: float) -> NDArray[Any]:
    one = np.zeros(1, dtype=PARAMETERS)
    one["exponent"] = 2
    one["kind"] = kind.encode()
    one["wavelength"] = 50e-9
    one["photons"] = 1e6
    for name, value in values.items():
        one[name] = value
    return one


def named(parameters: NDArray[Any]) -> set[str]:
    return {CLASSES[i] for i in np.flatnonzero(labels_for(parameters, MAX_ANGLE)[0])}


def spheroid(kind: str, polar: float, equatorial: float, tilt: float) -> NDArray[Any]:
    return record(kind, length=2 * polar, equatorial_radius=equatorial, tilt=math.radians(tilt))


def pill(tilt: float, length: float = 1200e-9, radius: float = 200e-9, **values: float) -> NDArray[Any]:
    return record("pill", length=length, equatorial_radius=radius, tilt=math.radians(tilt), **values)


def second(distance: float, aside: float, ratio: float, share: float) -> NDArray[Any]:
    """A sphere and another one, in a direction that many degrees from the beam."""
    return record(
        "sphere",
        length=6e-7,
        equatorial_radius=3e-7,
        second_radius=ratio * 3e-7,
        second_share=share,
        second_x=distance * math.sin(math.radians(aside)),
        second_z=distance * math.cos(math.radians(aside)),
    )


ROUND = {"Spherical/Oblate", "Round"}
ELLIPTICAL = {"Spherical/Oblate", "Elliptical"}


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (spheroid("sphere", 3e-7, 3e-7, 40), ROUND),
        # oblate 1.4: silhouette's minor axis sqrt(cos^2 + sin^2 / 1.96); 1 at 0, ratio 1.02 at 15, 1.4 at 90
        # degrees
        (spheroid("oblate", 2.5e-7, 3.5e-7, 0), ROUND),
        (spheroid("oblate", 2.5e-7, 3.5e-7, 15), ROUND),
        (spheroid("oblate", 2.5e-7, 3.5e-7, 90), ELLIPTICAL),
        # asymmetry 2 (12.25 - 6.25) sin cos tan(15) / (6.25 sin^2 + 12.25 cos^2): 0.18 at 60, 0.12 at 75 degrees
        (spheroid("oblate", 2.5e-7, 3.5e-7, 60), {*ELLIPTICAL, "Asymmetric"}),
        (spheroid("oblate", 2.5e-7, 3.5e-7, 75), ELLIPTICAL),
        # prolate 2: from the side plain; at 45 degrees lopsided by 0.5 cos(45) 2 / 2 = 0.35; end-on a disc.
        # asymmetry 2 * 18.75 sin cos tan(15) / (25 sin^2 + 6.25 cos^2): 0.32 at 45, 0.28 at 52, 0.11 at 4 degrees
        (spheroid("prolate", 5e-7, 2.5e-7, 90), {"Prolate"}),
        (spheroid("prolate", 5e-7, 2.5e-7, 45), {"Prolate", "Bent", "Asymmetric"}),
        (spheroid("prolate", 5e-7, 2.5e-7, 52), {"Prolate", "Bent"}),
        (spheroid("prolate", 5e-7, 2.5e-7, 4), ROUND),
        # pill of 1200 nm at 50 nm: sagitta 0.25 * 1200 / 100 cos(tilt) = 3 cos(tilt) widths, 1.25 at 65
        # degrees; leaning 0.25 cot(tilt), 0.22 at 48.7 degrees; straight part 800 sin(tilt) nm of the 300 nm
        # needed; asymmetry 2 * 32 sin cos tan(15) / (36 sin^2 + 4 cos^2): 0.3 at 56 degrees
        (pill(90), {"Prolate", "Streak"}),
        (pill(66), {"Prolate", "Streak"}),
        (pill(64), {"Prolate", "Streak", "Bent"}),
        (pill(57), {"Prolate", "Streak", "Bent"}),
        (pill(50), {"Prolate", "Streak", "Bent", "Asymmetric"}),
        (pill(47), {"Prolate", "Bent", "Asymmetric"}),
        (pill(0), ROUND),
        # a straight part of 200 nm is too short for a streak
        (pill(90, length=600e-9), {"Prolate"}),
        # own bend: fan 0.5 * 1200 / 100 b |sin roll| = 6 b |sin roll| widths
        (pill(90, bend=0.19, roll=math.pi / 2), {"Prolate", "Streak"}),
        (pill(90, bend=0.23, roll=math.pi / 2), {"Prolate", "Bent"}),
        (pill(90, bend=0.23, roll=0.0), {"Prolate", "Streak"}),
        # two droplets 20 um apart: rings where the second one is seen from the first, if that is on the sensor
        (second(20e-6, 20, 1.0, 0.4), {*ROUND, "Newton rings"}),
        (second(20e-6, 35, 1.0, 0.4), ROUND),
        (second(20e-6, 160, 1.0, 0.4), ROUND),
        (second(300e-6, 20, 1.0, 0.4), ROUND),
        (second(20e-6, 20, 1.0, 0.05), ROUND),
        (second(20e-6, 20, 1.3, 0.4), {*ROUND, "Newton rings", "Double rings"}),
        (second(20e-6, 90, 0.75, 0.4), {*ROUND, "Double rings"}),
        (second(20e-6, 90, 0.85, 0.4), ROUND),
        (second(20e-6, 90, 0.75, 0.9), ROUND),
        (pill(90, layers=0.3, layer_period=4e-7), {"Prolate", "Streak", "Layered"}),
        (pill(90, layers=0.2, layer_period=4e-7), {"Prolate", "Streak"}),
        # a flat body's straight part is length (1 - 2 / p): none at p = 2
        (record("superellipsoid", length=12e-7, equatorial_radius=2e-7, tilt=1.57, exponent=8), {"Prolate", "Streak"}),
        (record("superellipsoid", length=12e-7, equatorial_radius=2e-7, tilt=1.57, exponent=2.2), {"Prolate"}),
        (record("harmonics", length=6e-7, equatorial_radius=3e-7, tilt=0.3), ROUND),
        (record("sphere", length=6e-7, equatorial_radius=3e-7, photons=1500.0), {"Empty"}),
        (record("empty", length=np.nan, equatorial_radius=np.nan, tilt=np.nan), {"Empty"}),
    ],
)
def test_hand_derived_labels(parameters: NDArray[Any], expected: set[str]) -> None:
    assert named(parameters) == expected


@pytest.fixture(scope="module")
def population() -> NDArray[Any]:
    rng = np.random.default_rng(11)
    return np.array([HELIUM_BALANCED.draw(rng) for _ in range(4000)])


def test_rules_between_classes_hold(population: NDArray[Any]) -> None:
    labels = labels_for(population, MAX_ANGLE).astype(bool)
    column = {name: labels[:, i] for i, name in enumerate(CLASSES)}
    for one, other in EXCLUSIVE:
        assert not (column[one] & column[other]).any()
    supers = sum(column[name].astype(int) for name in SUPER_CLASSES)
    assert (supers == 1).all()
    assert ((column["Round"] | column["Elliptical"]) == column["Spherical/Oblate"]).all()
    assert not ((column["Streak"] | column["Bent"]) & ~column["Prolate"]).any()
    assert (column["Empty"] == (population["kind"] == b"empty")).all()


def test_the_mixture_can_be_learnt_from(population: NDArray[Any]) -> None:
    labels = labels_for(population, MAX_ANGLE)
    share = dict(zip(CLASSES, labels.mean(0), strict=True))
    for name in ("Spherical/Oblate", "Round", "Elliptical", "Prolate", "Streak", "Bent", "Empty"):
        assert 0.08 < share[name] < 0.6, name
    for name in ("Asymmetric", "Newton rings", "Double rings", "Layered"):
        assert 0.04 < share[name] < 0.4, name


def test_few_shots_lie_on_a_border(population: NDArray[Any]) -> None:
    """Thresholds moved by 4 % change the labels of few: an observer could decide."""
    moved = population.copy()
    moved["tilt"] += 0.02
    assert (labels_for(population, MAX_ANGLE) != labels_for(moved, MAX_ANGLE)).any(1).mean() < 0.12


def test_helium_follows_the_experiment(population: NDArray[Any]) -> None:
    hit = population[population["kind"] != b"empty"]
    assert hit["wavelength"].min() > 35.4e-9
    assert hit["wavelength"].max() < 65.3e-9
    # radius of the equal-volume sphere: median 332 nm, quartiles 259 and 404 (the central 90 %, so slightly
    # inward); pills of the bent recipe are redrawn when too small, so they are left out, with the flat bodies
    pills = (hit["kind"] == b"pill") | (hit["kind"] == b"superellipsoid")
    spheroids = hit[~pills]
    radius = (spheroids["equatorial_radius"] ** 2 * spheroids["length"] / 2) ** (1 / 3)
    np.testing.assert_allclose(np.median(radius), 332e-9, rtol=0.03)
    np.testing.assert_allclose(np.quantile(radius, [0.25, 0.75]), [266e-9, 396e-9], rtol=0.03)
    assert (hit["length"][pills] >= 2 * hit["equatorial_radius"][pills]).all()
    assert ((hit["tilt"] >= 0) & (hit["tilt"] <= np.pi / 2)).all()
