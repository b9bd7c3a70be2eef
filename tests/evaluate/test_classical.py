"""Classical baselines on made-up shots whose classes are their ring spacing and their symmetry."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cdifast.evaluate import (
    PatternFeatures,
    ProfileRegression,
    ScoringBaseline,
    SpectralClusters,
    SupportVectorMachine,
    classification_metrics,
    ranking_curves,
)

pytest.importorskip("sklearn")
NAMES = ("wide rings", "two-fold", "streak")


def shots(count: int, seed: int, size: int = 40) -> tuple[torch.Tensor, np.ndarray]:
    """Rings of two spacings, some squeezed with two-fold symmetry, at any roll angle; a few with a streak."""
    rng = np.random.default_rng(seed)
    labels = rng.random((count, 3)) < (0.5, 0.5, 0.25)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    radius, angle = np.hypot(y, x), np.arctan2(-y, x)
    images = np.empty((count, size, size), np.float32)
    for image, (wide, two_fold, streak) in zip(images, labels, strict=True):
        turn, phase = rng.uniform(0, 2 * np.pi, 2)
        rings = 1 + np.cos(2 * np.pi * radius / (9 if wide else 5) + 0.3 * phase)
        rings *= 1 + (0.8 * np.cos(2 * (angle - turn)) if two_fold else 0)
        rings += 4 * np.exp(-((x * np.sin(turn) + y * np.cos(turn)) ** 2) / 2) if streak else 0
        image[:] = rng.poisson(20 * rings) * (10 / 20)
        image[radius < 4] = 0
    return torch.from_numpy(images)[:, None], labels.astype(np.uint8)


def baselines() -> list[ScoringBaseline]:
    return [
        SupportVectorMachine(),
        SupportVectorMachine(balanced=True, cs=(1.0,)),
        ProfileRegression(),
        SpectralClusters(clusters=12),
    ]


@pytest.mark.parametrize("baseline", baselines(), ids=lambda b: b.name)
def test_each_beats_chance_and_repeats_itself(baseline: ScoringBaseline) -> None:
    inputs, labels = shots(160, 0)
    unseen, truth = shots(120, 1)
    predicted = baseline.fit(inputs, labels).predict(unseen)
    scores = baseline.scores(unseen)
    assert (predicted.dtype, predicted.shape, scores.shape) == (np.uint8, (120, 3), (120, 3))
    found = classification_metrics(truth, predicted, NAMES)
    areas = [curve.roc_auc for curve in ranking_curves(truth, scores, NAMES).per_class]
    assert areas[0] > 0.95
    assert found.per_class[0].accuracy > 0.85
    if baseline.name == "logistic regression":
        # The profile has no angles: whether rings are two-fold is not in it.
        assert areas[1] < 0.7
    else:
        assert areas[1] > 0.9
    if baseline.name == "support-vector machine":
        assert found.accuracy > 0.9
        assert ((scores >= 0) == predicted).all()
    else:
        assert ((scores >= 0) & (scores <= 1)).all()
        assert ((scores >= 0.5) == predicted).all()
    np.testing.assert_array_equal(baseline.fit(inputs, labels).scores(unseen), scores)


@pytest.mark.parametrize("baseline", baselines(), ids=lambda b: b.name)
def test_classes_that_training_lacks_or_has_everywhere(baseline: ScoringBaseline) -> None:
    inputs, labels = shots(30, 2)
    labels[:, 0], labels[:, 1] = 0, 1
    labels[:, 2] = 0
    labels[7, 2] = 1  # a single image
    predicted = baseline.fit(inputs, labels).predict(inputs)
    assert (predicted[:, 0] == 0).all()
    assert (predicted[:, 1] == 1).all()
    assert np.isfinite(baseline.scores(inputs)).all()
    assert baseline.predict(inputs[:0]).shape == (0, 3)
    one = baseline.fit(inputs[:1], labels[:1]).predict(inputs)
    np.testing.assert_array_equal(one, np.tile(labels[0], (30, 1)))


@pytest.mark.parametrize("baseline", baselines()[1:], ids=lambda b: b.name)
def test_bad_use(baseline: ScoringBaseline) -> None:
    inputs, labels = shots(4, 3)
    with pytest.raises(RuntimeError, match=f"{baseline.name}: predict was called before fit"):
        baseline.predict(inputs)
    with pytest.raises(ValueError, match="labels: found 3 rows for 4 inputs"):
        baseline.fit(inputs, labels[:3])
    with pytest.raises(ValueError, match=r"labels: found shape \(4,\)"):
        baseline.fit(inputs, labels[:, 0])
    with pytest.raises(ValueError, match=r"inputs: found shape \(4, 40, 40\)"):
        baseline.fit(inputs[:, 0], labels)


def test_features_are_those_of_a_known_pattern() -> None:
    """Rings of e^r - 1 times a cosine of order 3: the profile and the amplitudes have closed forms."""
    size, features = 65, PatternFeatures(16, 128, (2, 3))
    y, x = np.mgrid[:size, :size] - 32.0
    radius, angle = np.hypot(y, x), np.arctan2(-y, x)
    # The log activation of this is 2 + cos(3 phi).
    values = np.expm1(2 + np.cos(3 * angle)) / np.e
    image = torch.from_numpy(np.where(radius > 6, values, 777.0))[None, None]
    found = features(image, torch.from_numpy(radius > 6))[0]
    profile, second, third = found.reshape(3, 16)
    # Mean over the circle of (e^(2 + cos t) - 1) / e: I_0(1) e^2 / e - 1 / e.
    mean = 1.2660658777520084 * np.e - 1 / np.e
    outer = slice(5, None)  # radii of 10 pixels and more: bilinear samples hold the pattern there
    np.testing.assert_allclose(profile[outer], np.log1p(np.e * mean), rtol=5e-3)
    np.testing.assert_allclose(third[outer], 0.5, rtol=3e-2)
    np.testing.assert_allclose(second[outer], 0, atol=5e-3)
    np.testing.assert_array_equal(found.reshape(3, 16)[:, :3], 0)  # behind the hole


def test_features_do_not_turn_with_the_pattern() -> None:
    inputs, _ = shots(6, 4)
    features = PatternFeatures()
    np.testing.assert_allclose(features(inputs), features(inputs.rot90(1, (2, 3))), rtol=2e-3, atol=2e-3)
    assert features(inputs).shape == (6, features.count)
    assert PatternFeatures(orders=())(inputs).shape == (6, 24)


def test_cost_is_chosen_by_cross_validation() -> None:
    inputs, labels = shots(90, 5)
    with pytest.raises(ValueError, match=r"cs: found \(\), expected at least one"):
        SupportVectorMachine(cs=())
    with pytest.raises(ValueError, match="clusters: found 1, expected at least 2"):
        SpectralClusters(clusters=1)
    hopeless = SupportVectorMachine(cs=(1e-6,)).fit(inputs, labels)
    chosen = SupportVectorMachine(cs=(1e-6, 10.0)).fit(inputs, labels)
    unseen, truth = shots(60, 6)
    assert (chosen.predict(unseen) == truth).mean() > (hopeless.predict(unseen) == truth).mean() + 0.1
