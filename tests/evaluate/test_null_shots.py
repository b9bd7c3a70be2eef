"""Nulls of simulated shots: the simulator's own symmetries, without noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cdifast.evaluate import null_shots
from cdifast.evaluate.null_shots import FEWER, NULLS, Null, changed_records
from cdifast.simulate import PRESETS, expected_pattern, parameters, render

DETECTOR = PRESETS["helium"].detector(48)


@pytest.fixture(scope="module")
def records() -> np.ndarray:
    """Two droplets with fringes, a bent pill and a tilted spheroid: nothing round, the beam in the middle."""
    some = parameters(300, seed=4)
    pairs = np.flatnonzero((some["second_radius"] > 0) & (some["kind"] != b"empty"))[:2]
    pills, oblates = (np.flatnonzero(some["kind"] == kind)[:1] for kind in (b"pill", b"oblate"))
    chosen = some[np.concatenate([pairs, pills, oblates])]
    chosen["centre_y"] = chosen["centre_x"] = 0
    return chosen


@pytest.fixture(scope="module")
def before(records: np.ndarray) -> torch.Tensor:
    return patterns(records)


def patterns(records: np.ndarray) -> torch.Tensor:
    lit = DETECTOR.lit()
    return torch.stack(
        [expected_pattern(records[k : k + 1], DETECTOR, dtype=torch.float64).where(lit, 0) for k in range(len(records))]
    )


def test_the_friedel_mate_is_the_inverted_pattern(records: np.ndarray, before: torch.Tensor) -> None:
    changed = changed_records(records, "friedel", np.random.default_rng(0), helium=True)
    after = patterns(changed)
    scale = before.amax((1, 2), keepdim=True)
    torch.testing.assert_close(after / scale, before.flip(1, 2) / scale, atol=2e-3, rtol=0)
    assert ((after - before).abs() / scale).amax((1, 2)).min() > 0.02  # wide angles: Friedel's law does not hold


def test_a_quarter_turn_turns_the_pattern(records: np.ndarray, before: torch.Tensor) -> None:
    class QuarterTurns:
        def uniform(self, low: float, high: float, count: int) -> np.ndarray:
            return np.full(count, np.pi / 2)

    changed = changed_records(records, "rotation", QuarterTurns(), helium=True)  # type: ignore[arg-type]
    after = patterns(changed)
    scale = before.amax((1, 2), keepdim=True)
    # From +x (columns) towards +y (rows): clockwise as displayed.
    torch.testing.assert_close(after / scale, before.rot90(-1, (1, 2)) / scale, atol=2e-3, rtol=0)


def test_what_each_null_changes(records: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    fields: dict[Null, set[str]] = {
        "repeat": set(),
        "rotation": {"azimuth", "second_x", "second_y"},
        "centre": {"centre_y", "centre_x"},
        "photons": {"photons", "background"},
        "friedel": {"azimuth", "second_x", "second_y"},
        "energy": {"wavelength", "absorption_length"},
    }
    assert set(fields) == set(NULLS)
    for null, expected in fields.items():
        changed = changed_records(records, null, rng, helium=True)
        names = [name for name in records.dtype.names if name != "surface"]
        found = {n for n in names if not np.array_equal(changed[n], records[n], equal_nan=records[n].dtype.kind == "f")}
        assert found == expected
    changed = changed_records(records, "photons", rng, helium=True)
    np.testing.assert_allclose(changed["photons"], FEWER * records["photons"])
    changed = changed_records(records, "centre", rng, helium=True)
    np.testing.assert_allclose(np.hypot(changed["centre_y"], changed["centre_x"]), 0.03)


def test_energies_stay_in_the_experiments_range() -> None:
    some = parameters(200, seed=1)
    changed = changed_records(some, "energy", np.random.default_rng(0), helium=True)
    energy = 1.239841984e-6 / changed["wavelength"]
    assert energy.min() >= 19
    assert energy.max() <= 35
    ratio = changed["wavelength"] / some["wavelength"]
    assert np.isclose(np.minimum(ratio, 1 / ratio), 1 / 1.1).all()
    lit = some["kind"] != b"empty"
    assert (changed["absorption_length"][lit] != some["absorption_length"][lit]).all()
    other = parameters(20, "cxidb10", seed=1)
    soft = changed_records(other, "energy", np.random.default_rng(0), helium=False)
    np.testing.assert_array_equal(soft["absorption_length"], other["absorption_length"])
    np.testing.assert_allclose(soft["wavelength"], other["wavelength"] / 1.1)


def test_images_are_reproducible_and_a_repeat_differs_in_photons_alone(records: np.ndarray) -> None:
    found = null_shots(records[:2], 32, seed=4, nulls=("repeat", "centre"))
    alone = null_shots(records[:2], 32, seed=4, nulls=("centre",))
    assert torch.equal(found["centre"], alone["centre"])
    original = render(records[:2], 32, seed=4)
    repeat = found["repeat"]
    assert repeat.shape == (2, 32, 32)
    assert not torch.equal(repeat, original)
    assert torch.corrcoef(torch.stack([repeat, original]).flatten(1).float())[0, 1] > 0.9
    with pytest.raises(ValueError, match="nulls: found 'tilt'"):
        null_shots(records, nulls=("tilt",))  # type: ignore[arg-type]
