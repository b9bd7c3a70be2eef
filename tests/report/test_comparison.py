"""Numbers of the comparison against scikit-learn, closed forms and cases that can be counted by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cdifast.labels import CLASSES
from cdifast.report import compare, verdict


def random_labels(count: int, seed: int, share: float = 0.3) -> np.ndarray:
    return (np.random.default_rng(seed).random((count, len(CLASSES))) < share).astype(np.uint8)


def test_values_are_those_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    truth, guess = random_labels(60, 1), random_labels(60, 2)
    result = compare(truth, guess, {"ones": np.ones_like(truth)}, resamples=10)
    for method, predicted in zip(result.methods, (guess, np.ones_like(truth)), strict=True):
        assert method.pooled["accuracy"].value == pytest.approx((truth == predicted).mean())
        assert method.pooled["precision"].value == pytest.approx(
            metrics.precision_score(truth, predicted, average="micro")
        )
        assert method.pooled["recall"].value == pytest.approx(metrics.recall_score(truth, predicted, average="micro"))
        content = method.to_dict()["per_class"]
        assert [entry["precision"] for entry in content] == pytest.approx(
            metrics.precision_score(truth, predicted, average=None).tolist()
        )
        assert [entry["recall"] for entry in content] == pytest.approx(
            metrics.recall_score(truth, predicted, average=None).tolist()
        )
        assert [entry["support"] for entry in content] == truth.sum(axis=0).tolist()
    lead = result.baselines[0].lead["precision"].value
    assert lead == pytest.approx(
        metrics.precision_score(truth, guess, average="micro")
        - metrics.precision_score(truth, 1 | truth, average="micro")
    )


def test_interval_of_a_share_is_that_of_the_binomial_distribution() -> None:
    """One class: accuracy is a share of images, whose bootstrap interval tends to p +- 1.96 sqrt(p (1 - p) / n)."""
    count, right = 400, 300
    truth = np.ones((count, 1), np.uint8)
    guess = (np.arange(count) < right).astype(np.uint8)[:, None]
    estimate = compare(truth, guess, {}, ("only",), resamples=4000).network.pooled["accuracy"]
    share = right / count
    half = 1.96 * np.sqrt(share * (1 - share) / count)
    # A quantile of 4000 resamples errs by about 2 % of the half width, the lattice of 1 / n by half a step.
    assert estimate.low == pytest.approx(share - half, abs=0.06 * half + 0.5 / count)
    assert estimate.high == pytest.approx(share + half, abs=0.06 * half + 0.5 / count)


def test_images_are_resampled_whole() -> None:
    """Eleven labels of an image that are right or wrong together say no more than one: the interval must not shrink."""
    right = np.random.default_rng(3).random(200) < 0.7
    truth = np.ones((200, 11), np.uint8)
    guess = np.repeat(right[:, None], 11, axis=1).astype(np.uint8)
    many = compare(truth, guess, {}, resamples=500).network.pooled["accuracy"]
    one = compare(truth[:, :1], guess[:, :1], {}, ("only",), resamples=500).network.pooled["accuracy"]
    assert many == pytest.approx(one)


def test_differences_are_paired() -> None:
    truth, guess = random_labels(40, 4), random_labels(40, 5)
    result = compare(truth, guess, {"the same": guess}, resamples=200)
    assert all(tuple(estimate) == (0, 0, 0) for estimate in result.baselines[0].lead.values())
    assert result.network.pooled["recall"].low < result.network.pooled["recall"].high


def test_what_does_not_exist_is_none_and_not_zero() -> None:
    truth, guess = random_labels(30, 6), random_labels(30, 7)
    result = compare(truth, guess, {"nothing": np.zeros_like(truth)}, resamples=50)
    nothing = result.baselines[0]
    assert nothing.pooled["precision"] == (None, None, None)
    assert nothing.lead["precision"] == (None, None, None)
    assert nothing.pooled["recall"].value == 0
    content = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert {entry["precision"] for entry in content["methods"]["nothing"]["per_class"]} == {None}


def test_verdict_tells_the_three_cases_apart() -> None:
    truth = random_labels(200, 8)
    wrong = 1 - truth
    almost = truth.copy()
    almost[0] = 1 - almost[0]
    assert "ahead of every baseline in precision and in recall" in verdict(compare(truth, truth, {"wrong": wrong}))
    assert "not ahead of the precision of the right baseline" in verdict(compare(truth, wrong, {"right": truth}))
    assert "within the interval" in verdict(compare(truth, truth, {"almost": almost}))
    assert "not ahead" in verdict(compare(truth, np.zeros_like(truth), {"almost": almost}))


def test_refusals() -> None:
    truth = random_labels(5, 9)
    with pytest.raises(ValueError, match="no images"):
        compare(truth[:0], truth[:0], {})
    with pytest.raises(ValueError, match="resamples: found 0"):
        compare(truth, truth, {}, resamples=0)
    with pytest.raises(ValueError, match="predictions: found shape"):
        compare(truth, truth[:, :3], {})
