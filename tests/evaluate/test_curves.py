"""Ranking curves and reliability: closed forms, hand counts, and scikit-learn's own functions."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from cdifast.evaluate import classification_metrics, ranking_curves, reliability

pytest.importorskip("sklearn")
NAMES = ("a", "b", "c")


def test_ranking_of_a_case_counted_by_hand() -> None:
    # Scores rank the images 1 0 1 1 0: precision 1, 1/2, 2/3, 3/4, 3/5 at recall 1/3, 1/3, 2/3, 1, 1.
    labels = np.array([1, 0, 1, 1, 0])[:, None]
    scores = np.array([5.0, 4.0, 3.0, 2.0, -1.0])[:, None]
    curve = ranking_curves(labels, scores, ("a",)).per_class[0]
    assert curve.average_precision == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    # Of six pairs of a true and a false image, the first true one wins two, the second and third one each.
    assert curve.roc_auc == pytest.approx(4 / 6)
    np.testing.assert_allclose(curve.precision, [3 / 5, 3 / 4, 2 / 3, 1 / 2, 1, 1])
    np.testing.assert_allclose(curve.recall, [1, 1, 2 / 3, 1 / 3, 1 / 3, 0])
    assert (curve.support, curve.images) == (3, 5)


def test_every_point_is_the_metric_at_its_threshold() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random((60, 3)) < 0.4
    scores = (rng.random((60, 3)) + labels).round(1)
    curves = ranking_curves(labels, scores, NAMES)
    for k, curve in enumerate((*curves.per_class, curves.pooled)):
        for precision, recall, threshold in zip(curve.precision, curve.recall, curve.thresholds, strict=False):
            found = classification_metrics(labels, scores >= threshold, NAMES)
            expected = found.per_class[k] if k < 3 else found
            assert (precision, recall) == pytest.approx((expected.precision, expected.recall))
    assert curves.mean_average_precision == pytest.approx(np.mean([c.average_precision for c in curves.per_class]))


def test_scores_without_information_have_the_share_as_average_precision() -> None:
    rng = np.random.default_rng(1)
    labels = rng.random((20000, 2)) < (0.1, 0.5)
    curves = ranking_curves(labels, rng.random((20000, 2)), ("a", "b"))
    assert [c.average_precision for c in curves.per_class] == pytest.approx([0.1, 0.5], abs=0.02)
    assert [c.roc_auc for c in curves.per_class] == pytest.approx([0.5, 0.5], abs=0.02)


def test_missing_classes_are_not_measurable() -> None:
    labels = np.array([[0, 1, 1], [0, 1, 0]])
    curves = ranking_curves(labels, np.array([[0.1, 0.2, 0.9], [0.3, 0.4, 0.5]]), NAMES)
    none, all_, both = curves.per_class
    assert math.isnan(none.average_precision)
    assert math.isnan(none.roc_auc)
    assert (none.precision.size, none.support) == (0, 0)
    assert all_.average_precision == 1
    assert math.isnan(all_.roc_auc)
    assert (both.average_precision, both.roc_auc) == (1, 1)
    assert curves.mean_average_precision == 1
    text = json.dumps(curves.to_dict(), allow_nan=False)
    assert json.loads(text)["per_class"][0]["average_precision"] is None
    assert math.isnan(ranking_curves(labels[:, :1], labels[:, :1], ("a",)).mean_average_precision)


def test_reliability_of_a_known_overconfidence() -> None:
    """Forecasts uniform in [0, 1] that come true with their square: the error is the integral of p - p^2, 1/6."""
    forecasts = (np.arange(20000) + 0.5) / 20000
    # Labels that hold each bin's frequency exactly: 1 wherever the running sum of p^2 passes a whole number.
    labels = np.diff(np.floor(np.cumsum(forecasts**2)), prepend=0)
    found = reliability(labels[:, None], forecasts[:, None], ("a",)).per_class[0]
    assert found.expected_error == pytest.approx(1 / 6, abs=1e-3)
    np.testing.assert_array_equal(found.counts, [2000] * 10)
    edges = np.linspace(0, 1, 11)
    np.testing.assert_allclose(found.predicted, (edges[1:] + edges[:-1]) / 2, atol=1e-9)
    np.testing.assert_allclose(found.observed, np.diff(edges**3) / 3 * 10, atol=1e-3)
    # E[(p - y)^2] = integral of p^2 (1 - p)^2 + (1 - p^2) p^2 = 1/30 + 2/15.
    assert found.brier == pytest.approx(1 / 6, abs=1e-3)


def test_forecasts_that_come_true_have_only_the_error_of_chance() -> None:
    rng = np.random.default_rng(2)
    forecasts = rng.random((40000, 1))
    labels = rng.random((40000, 1)) < forecasts
    for binning in ("uniform", "quantile"):
        # In a bin of n labels, |p - share| has mean sqrt(2 v / (pi n)), v = p (1 - p); over [0, 1], E sqrt(v) = pi/8.
        expected = math.sqrt(2 / (math.pi * 4000)) * math.pi / 8
        found = reliability(labels, forecasts, ("a",), binning=binning).pooled
        assert found.expected_error < 3 * expected
        assert found.expected_error > expected / 4


@pytest.mark.parametrize("binning", ["uniform", "quantile"])
def test_equal_to_scikit_learn(binning: str) -> None:
    from sklearn.calibration import calibration_curve
    from sklearn.metrics import brier_score_loss

    rng = np.random.default_rng(3)
    forecasts = rng.beta(0.3, 2, (500, 3))
    labels = rng.random((500, 3)) < forecasts
    found = reliability(labels, forecasts, NAMES, bins=7, binning=binning)
    for k, curve in enumerate(found.per_class):
        observed, predicted = calibration_curve(labels[:, k], forecasts[:, k], n_bins=7, strategy=binning)
        np.testing.assert_allclose(curve.observed, observed)
        np.testing.assert_allclose(curve.predicted, predicted)
        assert curve.brier == pytest.approx(brier_score_loss(labels[:, k], forecasts[:, k]))
        assert curve.counts.sum() == 500
    assert found.pooled.counts.sum() == 1500


def test_reliability_at_the_edges() -> None:
    found = reliability(np.array([[0], [1], [1]]), np.array([[0.0], [1.0], [1.0]]), ("a",)).pooled
    assert (found.expected_error, found.brier) == (0, 0)
    assert found.counts.tolist() == [1, 2]
    empty = reliability(np.zeros((0, 1)), np.zeros((0, 1)), ("a",))
    assert math.isnan(empty.pooled.expected_error)
    assert json.loads(json.dumps(empty.to_dict(), allow_nan=False))["pooled"]["brier"] is None
    equal = reliability(np.array([[0], [1]] * 5), np.full((10, 1), 0.5), ("a",), binning="quantile").pooled
    assert (equal.counts.tolist(), equal.expected_error) == ([10], 0)


def test_what_is_refused() -> None:
    good = np.zeros((3, 3))
    with pytest.raises(ValueError, match=r"probabilities: found 1.5 at \[0, 0\], expected a number from 0 to 1"):
        reliability(good, good + 1.5, NAMES)
    with pytest.raises(ValueError, match=r"scores: found inf at \[0, 0\], expected a finite number"):
        ranking_curves(good, good + np.inf, NAMES)
    with pytest.raises(ValueError, match=r"scores: found shape \(2, 3\), the labels have \(3, 3\)"):
        ranking_curves(good, good[:2], NAMES)
    with pytest.raises(ValueError, match="bins: found 0"):
        reliability(good, good, NAMES, bins=0)
    with pytest.raises(ValueError, match="binning: found 'x'"):
        reliability(good, good, NAMES, binning="x")  # type: ignore[arg-type]
