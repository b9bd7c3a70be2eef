"""Label statistics of the helium preset against the real ones, and the species of cxidb10."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cdifast.labels import CLASSES
from cdifast.simulate import PRESETS, classes_of, labels_for, parameters, shots
from cdifast.simulate.cxidb10 import SHOTS_OF_SPECIES, SPECIES
from cdifast.simulate.helium import RADIUS_QUANTILES, STATISTICS
from cdifast.simulate.helium_population import shown_classes
from cdifast.simulate.optics import absorption_length, wavelength_of

COUNT = 3000


@pytest.fixture(scope="module")
def population() -> NDArray[Any]:
    return parameters(COUNT, "helium", seed=17)


def key(names: Any) -> tuple[str, ...]:
    return tuple(name for name in CLASSES if name in set(names))


def real_counts() -> dict[tuple[str, ...], int]:
    return {key(names): count for count, names in STATISTICS["combinations"]}


def test_the_packages_numbers_are_the_data_sets(shared_data: Path) -> None:
    given = json.loads((shared_data / "helium_label_statistics.json").read_text())
    assert real_counts() == {key(row["classes"]): row["count"] for row in given["combinations"]}
    for share, radius in given["radius_quantiles"].items():
        assert STATISTICS["radius_quantiles"][share] == pytest.approx(radius, abs=0.01)


def test_the_numbers_add_up() -> None:
    counts = real_counts()
    assert len(counts) == 43
    assert sum(counts.values()) == 7264
    assert sum(count for names, count in counts.items() if "Streak" in names) == 242
    assert "CC0" in STATISTICS["source"]
    assert "CXIDB entry 94" in STATISTICS["source"]


def test_label_statistics_are_the_real_ones_within_sampling_error(population: NDArray[Any]) -> None:
    stats = pytest.importorskip("scipy.stats")
    labels = classes_of(population, len(CLASSES))
    drawn: dict[tuple[str, ...], int] = {}
    for row in labels:
        names = tuple(CLASSES[i] for i in np.flatnonzero(row))
        drawn[names] = drawn.get(names, 0) + 1
    real = real_counts()
    assert set(drawn) <= set(real)
    frequent = [names for names, count in real.items() if count * COUNT / 7264 >= 5]
    observed = [drawn.get(names, 0) for names in frequent]
    expected = [real[names] * COUNT / 7264 for names in frequent]
    observed.append(COUNT - sum(observed))  # all rare combinations together
    expected.append(COUNT - sum(expected))
    assert stats.chisquare(observed, expected).pvalue > 1e-3
    # each class alone: 4 standard deviations of a binomial count
    for i, name in enumerate(CLASSES):
        share = sum(count for names, count in real.items() if name in names) / 7264
        assert abs(labels[:, i].sum() - COUNT * share) < 4 * math.sqrt(COUNT * share * (1 - share)), name


def test_a_shifted_distribution_would_be_found() -> None:
    """The chi-squared test above can fail: with the balanced preset it does, by far."""
    stats = pytest.importorskip("scipy.stats")
    labels = classes_of(parameters(500, "helium-balanced", seed=17), len(CLASSES))
    round_alone = int((labels == np.array([1, 1] + 9 * [0])).all(1).sum())
    share = real_counts()["Spherical/Oblate", "Round"] / 7264
    assert stats.chisquare([round_alone, 500 - round_alone], [500 * share, 500 * (1 - share)]).pvalue < 1e-9


def test_every_droplet_shows_its_labels_by_the_rules(population: NDArray[Any]) -> None:
    drawn = classes_of(population, len(CLASSES))
    shown = labels_for(population, math.radians(30))
    for given, found in zip(drawn, shown, strict=True):
        assert {CLASSES[i] for i in np.flatnonzero(found)} == shown_classes(given)


def test_only_what_a_droplet_cannot_be_is_filled_in() -> None:
    for names in real_counts():
        labels = np.array([name in names for name in CLASSES], dtype=np.uint8)
        extra = shown_classes(labels) - set(names)
        if set(names) & {"Prolate", "Empty", "Round", "Elliptical"}:
            assert not extra, names
        else:
            assert extra <= {"Prolate", "Streak", "Elliptical"}, names


def test_all_combinations_can_be_drawn() -> None:
    from cdifast.simulate import helium_population

    rng = np.random.default_rng(2)
    for names in real_counts():
        shown = shown_classes(np.array([name in names for name in CLASSES], dtype=np.uint8))
        if "Empty" in shown:
            continue
        for energy in (19.0, 35.0):
            helium_population._droplet(rng, shown, float(wavelength_of(energy)))


def test_impossible_combinations_end_with_an_error() -> None:
    from cdifast.simulate import helium_population

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(helium_population, "_ROUNDS", 3)
        with pytest.raises(RuntimeError, match="no droplet among 192 shows Round, Streak"):
            helium_population._droplet(np.random.default_rng(0), frozenset({"Round", "Streak"}), 5e-8)


def test_droplets_follow_the_experiment(population: NDArray[Any]) -> None:
    hits = population[population["kind"] != b"empty"]
    energy = 1.239841984e-6 / hits["wavelength"]
    assert energy.min() >= 19
    assert energy.max() <= 35
    np.testing.assert_allclose(hits["absorption_length"], absorption_length(energy), rtol=1e-9)
    spheres = hits[hits["kind"] == b"sphere"]
    shares, radii = zip(*RADIUS_QUANTILES, strict=True)
    # drawn between the outer quantiles: the median and the quartiles of what is between
    inner = np.interp(np.array([0.25, 0.5, 0.75]) * 0.9 + 0.05, shares, radii)
    np.testing.assert_allclose(np.quantile(spheres["equatorial_radius"], [0.25, 0.5, 0.75]), inner, rtol=0.05)
    assert 0.003 < population["centre_x"].std() < 0.005


def test_parameters_are_those_of_the_shots() -> None:
    for preset in PRESETS:
        alone = parameters(3, preset, seed=4, start=5)
        made = shots(3, 16, preset, seed=4, start=5)
        assert alone.tobytes() == made.parameters.tobytes()
        assert np.array_equal(classes_of(alone, len(made.classes)), made.labels.numpy())
        assert made.classes == PRESETS[preset].classes


def test_species_come_as_often_as_in_the_data_sets() -> None:
    stats = pytest.importorskip("scipy.stats")
    drawn = parameters(2000, "cxidb10", seed=5)
    labels = classes_of(drawn, len(SPECIES))
    assert (labels.sum(1) == 1).all()
    expected = 2000 * np.array(SHOTS_OF_SPECIES) / sum(SHOTS_OF_SPECIES)
    assert stats.chisquare(labels.sum(0), expected).pvalue > 1e-3
    kinds = {b"prolate": 0, b"chain": 1, b"pill": 2}
    for kind, column in kinds.items():
        assert (labels[drawn["kind"] == kind, column] == 1).all()
    t4, pbcv = (drawn[labels[:, SPECIES.index(name)] == 1] for name in ("T4", "PBCV-1"))
    np.testing.assert_allclose(t4["length"] / t4["equatorial_radius"] / 2, 120 / 86)
    np.testing.assert_allclose(pbcv["length"].mean(), 190e-9, rtol=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((-1,), "count must not be negative"), ((1, "argon"), "unknown preset 'argon'"), ((1, "helium", -2), "seed")],
)
def test_bad_arguments_are_named(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parameters(*arguments)
