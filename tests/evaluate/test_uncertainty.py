"""What to label next: closed forms of uncertainty, plain geometry of the choice, and the loop on a toy problem."""

from __future__ import annotations

import numpy as np
import pytest

from cdifast.evaluate import label_uncertainty, most_uncertain, ranking_curves, spread_out


def test_entropy_in_bits() -> None:
    found = label_uncertainty([[0.5, 0.5], [0, 1], [0.25, 1], [0.11, 0.5]])
    # H(1/4) = 2 - 3/4 log2(3); the binary entropy of 0.11 is 0.49992 bits.
    assert found == pytest.approx([1, 0, (2 - 0.75 * np.log2(3)) / 2, (0.4999158 + 1) / 2], abs=1e-6)


def test_margin_is_the_way_to_the_nearest_threshold() -> None:
    found = label_uncertainty([[0.0, 1.0], [0.25, 1.0], [0.5, 0.9], [0.0, 0.85], [0.3, 0.0]], (0.5, 0.8), "margin")
    assert found == pytest.approx([0, 0.5, 1, 0.75, 0.6])
    edge = label_uncertainty([[0.0], [1.0], [0.4]], 0.0, "margin"), label_uncertainty([[1.0], [0.4]], 1.0, "margin")
    assert edge[0] == pytest.approx([1, 0, 0.6])
    assert edge[1] == pytest.approx([1, 0.4])


def test_order_of_candidates() -> None:
    values = [0.2, 0.9, 0.5, 0.9, 0.1, 0.7]
    assert most_uncertain(values, 4).tolist() == [1, 3, 5, 2]
    first = [False, False, True, False, True, False]
    assert most_uncertain(values, 4, first=first).tolist() == [2, 4, 1, 3]
    assert most_uncertain(values, 9, first=first, exclude=[1, 4]).tolist() == [2, 3, 5, 0]
    assert most_uncertain(values, 3, exclude=range(6)).tolist() == []


def test_the_farthest_next() -> None:
    points = np.array([0.0, 1.0, 10.0, 9.9, 4.0])[:, None]
    assert spread_out(points, 3).tolist() == [0, 2, 4]
    assert spread_out(points, 2, taken=[[10.0], [1.0]]).tolist() == [4, 0]
    assert spread_out(points, 3, first=np.array([0, 1, 0, 0, 0], bool)).tolist() == [1, 2, 4]
    # 9.9 is a near-duplicate of 10, and last although it is farther from all else than 1 is from 0.
    assert spread_out(points, 9).tolist() == [0, 2, 4, 1, 3]
    # Of two near-duplicates that are to come first, one does.
    assert spread_out(points, 3, first=np.array([0, 0, 1, 1, 0], bool)).tolist() == [2, 0, 4]
    # Weights: 10 is heavy and first, then 0 beside it (10 x 0.5 against 6 x 0.8 of the point at 4).
    assert spread_out(points, 3, weight=[0.5, 0.1, 1, 1, 0.8]).tolist() == [2, 0, 4]
    same = np.ones((4, 2))
    assert spread_out(same, 3).tolist() == [0, 1, 2]
    assert spread_out(np.empty((0, 2)), 3).tolist() == []


def test_no_choice_of_centres_is_twice_as_good() -> None:
    """Gonzalez' bound, against the best of many random choices."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(60, 3))

    def radius(chosen: np.ndarray) -> float:
        return float(np.linalg.norm(points[:, None] - points[chosen], axis=2).min(axis=1).max())

    found = spread_out(points, 8)
    assert len(set(found.tolist())) == 8
    best = min(radius(rng.choice(60, 8, replace=False)) for _ in range(3000))
    assert radius(found) < 2 * best
    assert radius(found) < np.median([radius(rng.choice(60, 8, replace=False)) for _ in range(300)])


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match=r"probabilities: found shape \(3,\)"):
        label_uncertainty([0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match=r"outside \[0, 1\], or NaN"):
        label_uncertainty([[np.nan]])
    with pytest.raises(ValueError, match="measure: found 'x'"):
        label_uncertainty([[0.5]], measure="x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="thresholds: found 2, expected 1 or 3"):
        label_uncertainty([[0.1, 0.2, 0.3]], (0.5, 0.5), "margin")
    with pytest.raises(ValueError, match=r"features: found shape \(3,\)"):
        spread_out([1, 2, 3], 1)


def toy(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Six overlapping clouds in eight dimensions, the rarest with 3 % of the points; the commonest has no label."""
    kinds = rng.choice(6, count, p=[0.5, 0.25, 0.1, 0.07, 0.05, 0.03])
    centres = np.random.default_rng(42).normal(size=(6, 8)) * 1.6
    return centres[kinds] + rng.normal(size=(count, 8)), np.stack([kinds == k for k in range(1, 6)], axis=1)


def test_labels_chosen_so_beat_random_ones() -> None:
    """20 random labels, then rounds of 20 more, a linear model: mean average precision on new points over six seeds.

    Seen over ten seeds when this was written: 0.844 against 0.797 for random labels, better for eight of them. Pooled
    F1 at 0.5 gained little (0.77 against 0.76 in a longer trial): what is gained is the rare classes.
    """
    linear = pytest.importorskip("sklearn.linear_model")

    def probabilities(points: np.ndarray, labels: np.ndarray, others: np.ndarray) -> np.ndarray:
        columns = [
            linear.LogisticRegression(solver="newton-cholesky").fit(points, column).predict_proba(others)[:, 1]
            if column.any()
            else np.zeros(len(others))
            for column in labels.T
        ]
        return np.stack(columns, axis=1)

    def quality(seed: int, *, choose: bool) -> float:
        rng = np.random.default_rng(seed)
        points, labels = toy(800, rng)
        unseen, truth = toy(1000, rng)
        have = rng.choice(800, 20, replace=False).tolist()
        for _ in range(3):
            if choose:
                open_ = label_uncertainty(probabilities(points[have], labels[have], points), 0.5, "margin")
                pool = most_uncertain(open_, 5 * 20, exclude=have)
                have += pool[spread_out(points[pool], 20, taken=points[have], weight=open_[pool])].tolist()
            else:
                have += rng.choice(np.setdiff1d(np.arange(800), have), 20, replace=False).tolist()
        assert len(set(have)) == 80
        found = probabilities(points[have], labels[have], unseen)
        return ranking_curves(truth, found, tuple("abcde")).mean_average_precision

    chosen, random = (np.array([quality(seed, choose=choose) for seed in range(6)]) for choose in (True, False))
    assert (chosen - random).mean() > 0.01
