"""The linear protocol against scikit-learn's own cross-validation, and against P2's random baseline."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cdifast.evaluate import P2_CLASSES, linear_evaluation, p2_selection
from cdifast.labels import CLASSES
from cdifast.simulate.helium import STATISTICS

pytest.importorskip("sklearn")


def made_up(count: int = 60, classes: int = 3, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    labels = (rng.random((count, classes)) < 0.4).astype(np.uint8)
    # The columns differ by orders of magnitude: without standardising, the last would decide alone.
    return (labels @ rng.normal(size=(classes, 8)) + rng.normal(size=(count, 8))) * 10.0 ** np.arange(8), labels


def test_equals_scikit_learns_own_cross_validation() -> None:
    from sklearn.linear_model import SGDClassifier
    from sklearn.model_selection import StratifiedKFold, cross_validate
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    embeddings, labels = made_up()
    found = linear_evaluation(embeddings, labels, seeds=(3, 4))
    for run, seed in enumerate((3, 4)):
        perceptron = SGDClassifier(
            loss="perceptron", eta0=1, learning_rate="invscaling", penalty="l2", alpha=1e-4, random_state=seed
        )
        for index in range(3):
            scores = cross_validate(
                make_pipeline(StandardScaler(), perceptron),
                embeddings,
                labels[:, index],
                cv=StratifiedKFold(5, shuffle=True, random_state=seed),
                scoring=("precision", "recall"),
            )
            assert found.precisions[run, index] == pytest.approx(scores["test_precision"].mean(), abs=1e-12)
            assert found.recalls[run, index] == pytest.approx(scores["test_recall"].mean(), abs=1e-12)
    assert found.precision == pytest.approx(found.precisions.mean())
    assert found.recall_spread == pytest.approx(np.std(found.recalls.mean(axis=1), ddof=1))


def test_a_separable_embedding_scores_1_and_a_seed_fixes_the_rest() -> None:
    _, labels = made_up()
    perfect = linear_evaluation(labels.astype(np.float32), labels)
    assert (perfect.precision, perfect.recall) == (1.0, 1.0)
    noise = torch.randn(60, 8)
    first, again = linear_evaluation(noise, labels, (0, 1)), linear_evaluation(noise, labels, (0, 1))
    np.testing.assert_array_equal(first.precisions, again.precisions)
    assert not np.array_equal(first.recalls[0], first.recalls[1])


def test_one_embedding_for_each_seed() -> None:
    embeddings, labels = made_up()
    other = np.random.default_rng(5).normal(size=embeddings.shape)
    both = linear_evaluation(np.stack([embeddings, other]), labels, (0, 7))
    np.testing.assert_array_equal(both.recalls[0], linear_evaluation(embeddings, labels, (0,)).recalls[0])
    np.testing.assert_array_equal(both.recalls[1], linear_evaluation(other, labels, (7,)).recalls[0])
    with pytest.raises(ValueError, match="found 2 runs for 5 seeds"):
        linear_evaluation(np.stack([embeddings, other]), labels)


def test_a_class_too_rare_for_five_folds_is_reported_and_left_out() -> None:
    embeddings, labels = made_up()
    rare = np.zeros((60, 2), np.uint8)
    rare[:4, 0] = 1  # four have it
    rare[:56, 1] = 1  # four lack it
    found = linear_evaluation(embeddings, np.concatenate([labels, rare], axis=1), (0,))
    assert found.measured.tolist() == [True, True, True, False, False]
    assert found.precision == linear_evaluation(embeddings, labels, (0,)).precision
    content = found.to_dict()
    entry = content["per_class"]["class 3"]
    assert entry == {
        "support": 4,
        "measured": False,
        "precision": None,
        "precision_spread": None,
        "recall": None,
        "recall_spread": None,
    }
    json.dumps(content, allow_nan=False)
    nothing = linear_evaluation(embeddings, np.zeros((60, 1)), (0,))
    assert np.isnan(nothing.precision)
    assert nothing.to_dict()["recall"] is None


def test_p2s_selection_from_the_real_label_statistics() -> None:
    rows = [[name in names for name in CLASSES] for count, names in STATISTICS["combinations"] for _ in range(count)]
    indices, labels = p2_selection(rows)
    assert len(indices) == 1261  # SCIENCE's count; P2 prints 1264 and 1260
    assert labels.shape == (1261, 7)
    assert not np.asarray(rows)[indices][:, [1, 10]].any()
    assert labels.sum(axis=0).tolist() == [796, 242, 390, 366, 96, 45, 44]
    # P2's random baseline: 0.23 and 0.27.
    order = np.random.default_rng(0).permutation(1261)
    noise = np.random.default_rng(1).random((1261, 128))
    found = linear_evaluation(noise, labels[order], (0, 1))
    assert found.classes == P2_CLASSES
    assert found.precision == pytest.approx(0.23, abs=0.02)
    assert found.recall == pytest.approx(0.27, abs=0.05)


def test_errors() -> None:
    embeddings, labels = made_up()
    with pytest.raises(ValueError, match=r"seeds: found \(\)"):
        linear_evaluation(embeddings, labels, ())
    with pytest.raises(ValueError, match=r"labels: found shape \(59, 3\), expected \(60, C\)"):
        linear_evaluation(embeddings, labels[1:])
    with pytest.raises(ValueError, match=r"labels: found 2 at \[1, 0\]"):
        linear_evaluation(embeddings, np.where(np.arange(60)[:, None] == 1, 2, labels))
    embeddings[7, 2] = np.nan
    with pytest.raises(ValueError, match="embeddings: row 7 holds NaN"):
        linear_evaluation(embeddings, labels)
    with pytest.raises(ValueError, match="Round, Empty missing"):
        p2_selection(np.zeros((2, 7)), P2_CLASSES)
