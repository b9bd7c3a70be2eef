"""Bootstrap intervals against the binomial distribution, McNemar's variance and SciPy's own bootstrap."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cdifast.evaluate import bootstrap, bootstrap_sums, classification_metrics, paired_bootstrap


def share(values: np.ndarray) -> np.ndarray:
    return values.mean(axis=0)


def test_the_resampled_share_is_binomial() -> None:
    stats = pytest.importorskip("scipy.stats")
    hits = (np.arange(200) < 37).astype(float)
    for level in (0.5, 0.95):
        found = bootstrap(share, hits, level=level, resamples=4000)
        expected = stats.binom(200, 37 / 200).ppf([(1 - level) / 2, (1 + level) / 2]) / 200
        assert found.value == 37 / 200
        # A quantile of 4000 resamples may fall one step of the lattice beside the distribution's own.
        assert (found.low, found.high) == pytest.approx(tuple(expected), abs=1 / 200 + 1e-12)


def test_intervals_cover_as_often_as_they_say() -> None:
    """Of 1000 experiments with a known share, 95 % of the intervals hold it (binomial: 93.6 to 96.4 %, two sigma).

    The percentile interval of a share of 200 images is a little too narrow, and its ends lie on a lattice: its exact
    coverage is computed from the binomial distribution, and is what the intervals must reach.
    """
    stats = pytest.importorskip("scipy.stats")
    images, truth, experiments = 200, 0.3, 1000
    rng = np.random.default_rng(0)
    hits = (rng.random((images, experiments)) < truth).astype(float)
    found = bootstrap_sums(lambda sums: sums / images, hits, resamples=2000)
    covered = np.mean((found.low <= truth) & (truth <= found.high))
    outcomes = np.arange(images + 1)
    low, high = (stats.binom(images, outcomes / images).ppf(q) / images for q in (0.025, 0.975))
    exact = stats.binom(images, truth).pmf(outcomes)[(low <= truth) & (truth <= high)].sum()
    assert 0.92 < exact < 0.96
    # All experiments share their resamples, so that they are not quite independent: three sigma and a step.
    assert covered == pytest.approx(exact, abs=3 * math.sqrt(0.05 * 0.95 / experiments) + 0.01)


def test_both_ways_draw_the_same_resamples() -> None:
    rng = np.random.default_rng(1)
    labels, predicted = rng.integers(0, 2, (2, 50, 3))

    def precision(truth: np.ndarray, guess: np.ndarray) -> list[float]:
        found = classification_metrics(truth, guess, ("a", "b", "c"))
        return [found.precision, *(entry.precision for entry in found.per_class)]

    slow = bootstrap(precision, labels, predicted, resamples=200, seed=5)
    hit, surplus = labels & predicted, ~labels & 1 & predicted
    rows = np.concatenate([hit.sum(1, keepdims=True), hit, surplus.sum(1, keepdims=True), surplus], axis=1)
    fast = bootstrap_sums(lambda sums: sums[..., :4] / (sums[..., :4] + sums[..., 4:]), rows, resamples=200, seed=5)
    for one, other in zip(slow, fast, strict=True):
        np.testing.assert_allclose(one, other)
    other_seed = bootstrap_sums(lambda sums: sums[..., 0], rows, resamples=200, seed=6)
    assert other_seed != bootstrap_sums(lambda sums: sums[..., 0], rows, resamples=200, seed=5)


def test_equal_to_scipy_up_to_chance() -> None:
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(2).exponential(size=150)
    ours = bootstrap(np.median, values, resamples=3000)
    theirs = stats.bootstrap((values,), np.median, n_resamples=3000, method="percentile", rng=0).confidence_interval
    width = theirs.high - theirs.low
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.08 * width)


def test_chunks_do_not_change_the_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(3).integers(0, 9, (70, 2))
    whole = bootstrap_sums(lambda sums: sums[..., 0] / sums[..., 1], rows, resamples=50)
    monkeypatch.setattr("cdifast.evaluate.intervals._CHUNK", 300)
    assert bootstrap_sums(lambda sums: sums[..., 0] / sums[..., 1], rows, resamples=50) == whole


def test_a_paired_difference_has_mcnemars_variance() -> None:
    """Two methods that mostly err on the same images: the variance of the difference comes from where they differ."""
    images = 600
    right = np.random.default_rng(4).random(images) < 0.7
    first, second = right.copy(), right.copy()
    wrong = np.flatnonzero(~right)
    first[wrong[:40]] = True  # 40 images that only the first gets right, 15 that only the second does
    second[wrong[40:55]] = True
    truth = np.ones(images, bool)

    def accuracy(labels: np.ndarray, guess: np.ndarray) -> float:
        return float((labels == guess).mean())

    found = paired_bootstrap(accuracy, truth, first, second, resamples=4000)
    deviation = math.sqrt(40 + 15 - (40 - 15) ** 2 / images) / images
    assert found.value == pytest.approx(25 / images)
    assert found.low == pytest.approx(25 / images - 1.96 * deviation, abs=0.08 * 1.96 * deviation)
    assert found.high == pytest.approx(25 / images + 1.96 * deviation, abs=0.08 * 1.96 * deviation)
    assert found.low > 0
    # Separate intervals overlap: only the pairing tells the methods apart.
    assert bootstrap(accuracy, truth, first).low < bootstrap(accuracy, truth, second).high
    same = paired_bootstrap(accuracy, truth, first, first, resamples=20)
    assert same == (0, 0, 0)


def test_what_is_not_measurable() -> None:
    labels = np.zeros((30, 2), int)
    labels[0, 0] = 1  # in about a third of the resamples, the one positive is missing

    def recall(truth: np.ndarray, guess: np.ndarray) -> list[float]:
        return [entry.recall for entry in classification_metrics(truth, guess, ("a", "b")).per_class]

    found = bootstrap(recall, labels, labels, resamples=50)
    np.testing.assert_array_equal(found, [[1, np.nan], [1, np.nan], [1, np.nan]])


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="found lengths 2, 3"):
        bootstrap(share, np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match="found no images"):
        bootstrap(share, np.ones(0))
    with pytest.raises(ValueError, match="expected at least one"):
        bootstrap(share)
    with pytest.raises(ValueError, match="resamples: found 0"):
        bootstrap(share, np.ones(3), resamples=0)
    with pytest.raises(ValueError, match="level: found 95"):
        bootstrap(share, np.ones(3), level=95)
    with pytest.raises(ValueError, match=r"rows: found shape \(3,\)"):
        bootstrap_sums(share, np.ones(3))
