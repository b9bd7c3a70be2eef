"""Thresholds: against all of them tried one by one, and where the data do not say."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from cdifast.evaluate import choose_thresholds, labels_from_probabilities


def scores(labels: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    hit, surplus = int((predicted & labels).sum()), int((predicted & ~labels).sum())
    positives, negatives = int(labels.sum()), int((~labels).sum())
    return {
        "f1": 2 * hit / (2 * hit + surplus + positives - hit),
        "accuracy": (hit + negatives - surplus) / len(labels),
        "youden": hit / positives - surplus / negatives,
    }


@pytest.mark.parametrize("criterion", ["f1", "accuracy", "youden"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_threshold_is_better(criterion: str, dtype: type) -> None:
    rng = np.random.default_rng(0)
    labels = rng.random((80, 6)) < (0.5, 0.1, 0.9, 0.3, 0.3, 0.2)
    probabilities = np.clip(0.3 * labels + rng.normal(0.3, 0.2, labels.shape), 0, 1)
    probabilities[:, 4] = probabilities[:, 4].round(1)  # many equal ones
    probabilities = probabilities.astype(dtype)
    chosen = choose_thresholds(labels, probabilities, criterion)
    predicted = labels_from_probabilities(torch.from_numpy(probabilities), chosen) != 0
    for k in range(6):
        tried = [scores(labels[:, k], probabilities[:, k] >= limit)[criterion] for limit in np.linspace(0, 1.01, 3000)]
        tried += [scores(labels[:, k], probabilities[:, k] >= limit)[criterion] for limit in probabilities[:, k]]
        assert scores(labels[:, k], predicted[:, k])[criterion] >= max(tried) - 1e-12
    assert len({*chosen}) > 1
    assert json.loads(json.dumps(chosen)) == list(chosen)


def test_a_half_stays_unless_another_is_better_and_ties_go_to_the_nearest() -> None:
    labels = np.array([0] * 5 + [1] * 5)[:, None]
    apart = np.array([0.1] * 5 + [0.7] * 5)[:, None]
    assert choose_thresholds(labels, apart) == (0.5,)
    low = np.array([0.1] * 5 + [0.25] * 5)[:, None]
    assert choose_thresholds(labels, low) == (0.175,)
    order = np.random.default_rng(0).permutation(10)
    assert choose_thresholds(labels[order], low[order]) == (0.175,)
    alike = np.array([0] * 5 + [1] * 5), np.array([0.1, 0.1, 0.1, 0.3, 0.3, 0.3, 0.3, 0.9, 0.9, 0.9])
    # Accuracy 0.8 at 0.2 (two false alarms) and 0.8 at 0.6 (two missed), and so at 0.5.
    assert choose_thresholds(alike[0][:, None], alike[1][:, None], "accuracy") == (0.5,)


@pytest.mark.parametrize("positives", [0, 2, 4, 16, 20])
def test_few_of_a_kind_leave_a_half(positives: int) -> None:
    labels = np.zeros((20, 1), int)
    labels[:positives] = 1
    probabilities = np.where(labels == 1, 0.2, 0.1)
    assert choose_thresholds(labels, probabilities) == (0.5,)
    if positives in (2, 4):
        assert choose_thresholds(labels, probabilities, min_count=2) == (pytest.approx(0.15),)


def test_no_images_and_no_spread() -> None:
    assert choose_thresholds(np.zeros((0, 2)), np.zeros((0, 2))) == (0.5, 0.5)
    labels = np.array([[0], [1]] * 6)
    # All alike: naming every image beats naming none.
    assert choose_thresholds(labels, np.full((12, 1), 0.25)) == (0.25,)


def test_neighbouring_floats_are_told_apart() -> None:
    low = np.float32(0.2)
    high = np.nextafter(low, np.float32(1))
    labels = np.array([0] * 5 + [1] * 5)[:, None]
    probabilities = np.array([low] * 5 + [high] * 5)[:, None]
    chosen = choose_thresholds(labels, probabilities)
    np.testing.assert_array_equal(labels_from_probabilities(torch.from_numpy(probabilities), chosen), labels)


def test_what_is_refused() -> None:
    good = np.zeros((3, 2))
    with pytest.raises(ValueError, match=r"probabilities: found shape \(3, 1\), the labels have \(3, 2\)"):
        choose_thresholds(good, good[:, :1])
    with pytest.raises(ValueError, match=r"probabilities: found nan at \[0, 1\]"):
        choose_thresholds(good, np.where([[0, 1]], np.nan, good))
    with pytest.raises(ValueError, match=r"labels: found 0.5 at \[0, 0\], expected only 0 and 1"):
        choose_thresholds(good + 0.5, good)
    with pytest.raises(ValueError, match=r"criterion: found 'f2', expected one of f1, accuracy, youden"):
        choose_thresholds(good, good, "f2")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="min_count: found 0"):
        choose_thresholds(good, good, min_count=0)
