"""Overlap and the neighbours' vote against double loops, closed forms and scikit-learn."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cdifast.evaluate import neighbour_vote, overlap, p2_selection, pairwise_distances
from cdifast.evaluate.distances import Metric
from cdifast.labels import CLASSES
from cdifast.simulate.helium import STATISTICS


def made_up(count: int = 40, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 6)), (rng.random((count, 4)) < 0.4).astype(np.uint8)


def by_loops(distances: NDArray[np.float64], labels: NDArray[np.uint8], k: int) -> tuple[float, list[float]]:
    """The definition, image by image and neighbour by neighbour."""
    scores = []
    for i in range(len(labels)):
        order = sorted((j for j in range(len(labels)) if j != i), key=lambda j: distances[i, j])
        shared = []
        for j in order[:k]:
            a, b = labels[i].tolist(), labels[j].tolist()
            most = max(sum(a), sum(b))
            shared.append(sum(x * y for x, y in zip(a, b, strict=True)) / most if most else 0.0)
        scores.append(sum(shared) / k)
    per_class = [float(np.mean([s for s, row in zip(scores, labels, strict=True) if row[c]])) for c in range(4)]
    return float(np.mean(per_class)), per_class


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "correlation", "wasserstein"])
@pytest.mark.parametrize("k", [1, 5, 39])
def test_equals_a_double_loop(metric: Metric, k: int) -> None:
    embeddings, labels = made_up()
    if metric == "wasserstein":
        embeddings = np.abs(embeddings)
    macro, per_class = by_loops(pairwise_distances(embeddings, metric=metric), labels, k)
    for block in (None, 7):  # memory does not change the result
        found = overlap(embeddings, labels, k, metric, block=block)
        assert found.macro == pytest.approx(macro, abs=1e-12)
        np.testing.assert_allclose(found.per_class, per_class, atol=1e-12)
    again = overlap(pairwise_distances(embeddings, metric=metric), labels, k, "precomputed")
    assert again.macro == pytest.approx(macro, abs=1e-12)


def test_tied_neighbours_count_as_the_mean_over_all_their_orders() -> None:
    labels = np.eye(4, dtype=np.uint8)[[0, 0, 1, 0, 2]]
    distances = np.full((5, 5), 2.0)
    distances[0] = [0, 1, 2, 2, 2]  # image 0: one certain neighbour, two of the three tied ones
    expected = np.mean(
        [(1 + sum(int(labels[j, 0]) for j in pair)) / 3 for pair in itertools.combinations((2, 3, 4), 2)]
    )
    found = overlap(distances, labels, 3, "precomputed")
    assert found.per_image[0] == pytest.approx(expected)
    order = np.array([4, 2, 0, 3, 1])
    shuffled = overlap(distances[np.ix_(order, order)], labels[order], 3, "precomputed")
    assert shuffled.macro == pytest.approx(found.macro)


def test_equal_labels_score_1_and_images_without_labels_do_not_count() -> None:
    labels = np.repeat(np.eye(2, dtype=np.uint8), 4, axis=0)
    positions = np.repeat([[0.0], [9.0]], 4, axis=0) + np.random.default_rng(0).random((8, 1))
    assert overlap(positions, labels, 3, "euclidean").macro == 1.0
    labels[0] = 0
    found = overlap(positions, labels, 3, "euclidean")
    assert np.isnan(found.per_image[0])
    assert found.support == (3, 4)
    # Image 0 is among the three neighbours of 1, 2 and 3, and shares nothing with them.
    assert found.per_class == pytest.approx((2 / 3, 1.0))
    json.dumps(found.to_dict(), allow_nan=False)
    empty = overlap(positions, np.zeros((8, 2)), 3, "euclidean")
    assert empty.to_dict()["macro"] is None


def test_chance_with_the_real_labels_is_p2s_random_baseline() -> None:
    """All images equally far: the mean over random neighbours, in closed form. P2's Table 1 has 0.28."""
    rows = [[name in names for name in CLASSES] for count, names in STATISTICS["combinations"] for _ in range(count)]
    _, labels = p2_selection(rows)
    found = overlap(np.ones((1261, 1261)), labels, 13, "precomputed")
    assert found.macro == pytest.approx(0.28, abs=0.005)
    assert found.images_mean > 0.35  # so P2's average is not this one


def test_vote_equals_scikit_learns_neighbours() -> None:
    sklearn = pytest.importorskip("sklearn.neighbors")
    from sklearn.metrics import precision_score, recall_score

    embeddings, labels = made_up(60)
    found = neighbour_vote(embeddings, labels, 5, "euclidean", block=11)
    expected = []
    for i in range(60):
        others = np.delete(np.arange(60), i)
        model = sklearn.KNeighborsClassifier(5).fit(embeddings[others], labels[others])
        expected.append(model.predict(embeddings[i : i + 1])[0])
    np.testing.assert_array_equal(found.predictions, expected)
    precisions = precision_score(labels, expected, average=None, zero_division=0)
    recalls = recall_score(labels, expected, average=None)
    np.testing.assert_allclose([entry[0] for entry in found.per_class], precisions)
    np.testing.assert_allclose([entry[1] for entry in found.per_class], recalls)
    assert (found.precision, found.recall) == pytest.approx((precisions.mean(), recalls.mean()))
    json.dumps(found.to_dict(), allow_nan=False)


def test_errors() -> None:
    embeddings, labels = made_up()
    for k in (0, 40):
        with pytest.raises(ValueError, match=f"k: found {k}, expected 1 to 39"):
            overlap(embeddings, labels, k)
    with pytest.raises(ValueError, match="metric: found 'l3'"):
        overlap(embeddings, labels, metric="l3")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"expected \(N, N\)"):
        overlap(embeddings, labels, metric="precomputed")
    with pytest.raises(ValueError, match="3 names for 4 columns"):
        overlap(embeddings, labels, classes=("a", "b", "c"))
    with pytest.raises(ValueError, match="row 3 holds NaN"):
        overlap(torch.from_numpy(embeddings).index_fill(0, torch.tensor(3), torch.nan), labels)
