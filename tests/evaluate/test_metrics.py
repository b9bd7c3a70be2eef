"""Metrics and rules against scikit-learn, plain loops and P1's own examples."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from cdifast.evaluate import classification_metrics, rule_violations
from cdifast.labels import CLASSES

STATISTICS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "helium_label_statistics.json"


def helium_labels() -> np.ndarray:
    """The 7264 label rows of the helium data set, in the order of their combinations."""
    if not STATISTICS.exists():
        pytest.skip("the label statistics are not at hand")
    rows = []
    for combination in json.loads(STATISTICS.read_text())["combinations"]:
        row = [name in combination["classes"] for name in CLASSES]
        rows += [row] * combination["count"]
    return np.array(rows, np.uint8)


@pytest.mark.parametrize("seed", range(5))
def test_equal_to_scikit_learn(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    labels = (rng.random((60, 11)) < rng.random(11)).astype(np.uint8)
    predictions = (rng.random((60, 11)) < rng.random(11)).astype(np.uint8)
    ours = classification_metrics(labels, predictions)
    assert ours.accuracy == pytest.approx(metrics.accuracy_score(labels.ravel(), predictions.ravel()))
    assert ours.precision == pytest.approx(metrics.precision_score(labels, predictions, average="micro"))
    assert ours.recall == pytest.approx(metrics.recall_score(labels, predictions, average="micro"))
    precision, recall, _, support = metrics.precision_recall_fscore_support(
        labels, predictions, average=None, zero_division=np.nan
    )
    for index, entry in enumerate(ours.per_class):
        assert entry.name == CLASSES[index]
        assert entry.support == support[index]
        assert entry.predicted == predictions[:, index].sum()
        assert entry.recall == pytest.approx(recall[index], nan_ok=True)
        if entry.predicted:
            assert entry.precision == pytest.approx(precision[index])
        expected = metrics.accuracy_score(labels[:, index], predictions[:, index])
        assert entry.accuracy == pytest.approx(expected)


def test_zero_over_zero() -> None:
    labels = np.array([[1, 0], [1, 0]])
    found = classification_metrics(labels, np.zeros((2, 2)), ("a", "b"))
    assert (found.precision, found.recall) == (0, 0)
    assert (found.per_class[0].precision, found.per_class[0].recall) == (0, 0)
    assert math.isnan(found.per_class[1].precision)
    assert math.isnan(found.per_class[1].recall)
    assert found.per_class[1].accuracy == 1
    wrong = classification_metrics(labels, np.ones((2, 2)), ("a", "b")).per_class[1]
    assert wrong.precision == 0
    assert math.isnan(wrong.recall)
    empty = classification_metrics(np.zeros((0, 2)), np.zeros((0, 2)), ("a", "b"))
    assert math.isnan(empty.accuracy)
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert json.loads(text)["per_class"][1]["recall"] is None


def test_the_papers_examples() -> None:
    """P1, section 3.2: everything Spherical/Oblate has precision 0.907, nothing at all has 0."""
    labels = helium_labels()
    predictions = np.zeros_like(labels)
    assert classification_metrics(labels, predictions).precision == 0
    # 64 339 of 79 904 labels are negative (P1, section 5.2); the paper counts 222 Empty, the labels 211.
    assert classification_metrics(labels, predictions).accuracy == pytest.approx(64339 / 79904, abs=2e-4)
    predictions[:, CLASSES.index("Spherical/Oblate")] = 1
    assert classification_metrics(labels, predictions).precision == pytest.approx(0.907, abs=5e-4)


def test_rules_of_the_real_labels() -> None:
    found = rule_violations(helium_labels())
    assert found.images == 7264
    # Only the third rule has exceptions: 7264 - 6589 - 453 - 211 images are in no super-class. They are why
    # P1's table 1 prints 222 Empty images where the labels hold 211.
    assert [len(rows) for rows in found.by_rule.values()] == [0, 0, 222 - 211]
    assert found.per_image == pytest.approx(11 / 7264)


def test_rules_against_a_plain_loop() -> None:
    labels = np.random.default_rng(0).integers(0, 2, (200, 11))
    oblate, round_, elliptical, prolate, empty = (
        CLASSES.index(name) for name in ("Spherical/Oblate", "Round", "Elliptical", "Prolate", "Empty")
    )
    super_class, shape, nothing = [], [], []
    for index, row in enumerate(labels):
        if row[oblate] and row[prolate]:
            super_class.append(index)
        if row[round_] and row[elliptical]:
            shape.append(index)
        if not (row[oblate] or row[prolate] or row[empty]):
            nothing.append(index)
    found = rule_violations(labels)
    assert [list(rows) for rows in found.by_rule.values()] == [super_class, shape, nothing]
    np.testing.assert_array_equal(found.matrix.sum(axis=1), found.counts)
    assert [list(np.flatnonzero(column)) for column in found.matrix.T] == [super_class, shape, nothing]
    assert list(found.indices) == sorted({*super_class, *shape, *nothing})
    assert found.per_image == pytest.approx((len(super_class) + len(shape) + len(nothing)) / 200)
    text = str(rule_violations(labels[:12]))
    assert f"{len(rule_violations(labels[:12]).indices)} of 12 images break a rule" in text


def test_rules_need_their_classes() -> None:
    assert rule_violations(np.ones((3, 2)), ("virus", "background")).by_rule == {}
    found = rule_violations(np.ones((3, 2)), ("Round", "Elliptical"))
    assert list(found.by_rule) == ["Round excludes Elliptical"]


def test_bad_input() -> None:
    good = np.zeros((3, 11))
    bad = good.copy()
    bad[1, 2] = 0.25
    with pytest.raises(ValueError, match=r"predictions: found 0.25 at \[1, 2\]"):
        classification_metrics(good, bad)
    with pytest.raises(ValueError, match=r"labels: found shape \(3, 10\), expected \(N, 11\)"):
        classification_metrics(good[:, :10], good)
    with pytest.raises(ValueError, match=r"predictions: found shape \(2, 11\), the labels have \(3, 11\)"):
        classification_metrics(good, good[:2])
    with pytest.raises(ValueError, match=r"labels: found shape \(11,\)"):
        rule_violations(good[0])
