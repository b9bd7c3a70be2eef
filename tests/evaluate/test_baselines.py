"""The trivial baselines."""

from __future__ import annotations

import numpy as np
import pytest

from cdifast.evaluate import AllNegative, Baseline, Majority


def test_majority_is_the_commonest_combination_not_the_commonest_labels() -> None:
    # Each label alone is set in most rows, but no row combines all three.
    labels = np.array([[1, 1, 0]] * 3 + [[1, 0, 1]] * 2 + [[0, 1, 1]] * 2, np.uint8)
    predicted = Majority().fit(labels, labels).predict(range(4))
    np.testing.assert_array_equal(predicted, [[1, 1, 0]] * 4)
    assert predicted.dtype == np.uint8


def test_a_tie_is_broken_the_same_way_in_any_order() -> None:
    labels = np.array([[1, 0], [0, 1], [1, 0], [0, 1], [1, 1]])
    for seed in range(5):
        shuffled = np.random.default_rng(seed).permutation(labels)
        np.testing.assert_array_equal(Majority().fit(shuffled, shuffled).predict([0]), [[0, 1]])


def test_all_negative() -> None:
    labels = np.ones((5, 3))
    np.testing.assert_array_equal(AllNegative().fit(labels, labels).predict([0, 0]), np.zeros((2, 3)))


@pytest.mark.parametrize("baseline", [AllNegative(), Majority()])
def test_bad_use(baseline: Baseline) -> None:
    with pytest.raises(RuntimeError, match=f"{baseline.name}: predict was called before fit"):
        baseline.predict([0])
    with pytest.raises(ValueError, match=r"found shape \(0, 3\)"):
        baseline.fit([], np.zeros((0, 3)))
    with pytest.raises(ValueError, match=r"found 2 rows for 3 inputs"):
        baseline.fit([1, 2, 3], np.zeros((2, 3)))
