"""Scores of the physics nulls: toys whose score is known."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import Tensor

from cdifast.evaluate import encoder_embedding, null_images, null_score, physics_nulls, uniform_noise
from cdifast.evaluate.distances import pairwise_distances


def radial_means(images: Tensor) -> Tensor:
    """An embedding that no rotation by quarter turns and no inversion changes."""
    y, x = torch.meshgrid(torch.arange(images.shape[2]), torch.arange(images.shape[3]), indexing="ij")
    middle = (images.shape[2] - 1) / 2
    ring = ((x - middle) ** 2 + (y - middle) ** 2).sqrt().round().long().flatten()
    count = int(ring.max()) + 1
    sums = torch.zeros(len(images), count).index_add_(1, ring, images.flatten(1))
    return sums / torch.bincount(ring, minlength=count)


def test_a_rotation_invariant_embedding_scores_1_and_noise_scores_chance() -> None:
    images = torch.rand(200, 1, 17, 17, generator=torch.Generator().manual_seed(0))
    changed = {"turned": images.rot90(1, (2, 3)), "inverted": images.flip(2, 3)}
    toy = encoder_embedding("radial means", radial_means, images)
    for score in physics_nulls(toy.distances, changed).values():
        assert (score.recall_at_1, score.mean_reciprocal_rank) == (1.0, 1.0)
        assert score.relative_distance < 1e-5
    pixels = encoder_embedding("pixels", lambda batch: batch.flatten(1), images)
    assert physics_nulls(pixels.distances, changed)["turned"].recall_at_1 < 0.1
    noise = physics_nulls(uniform_noise(images, 16).distances, changed)["turned"]
    assert noise.recall_at_1 == pytest.approx(1 / 200, abs=0.015)
    assert noise.mean_reciprocal_rank == pytest.approx(noise.chance_rank, abs=0.025)
    assert noise.relative_distance == pytest.approx(1, abs=0.1)


def test_ranks_by_hand() -> None:
    distances = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 3.0], [5.0, 5.0, 5.0]])
    found = null_score(distances)
    # Ranks 1, 3, and any of 1, 2, 3 alike.
    assert found.recall_at_1 == pytest.approx((1 + 0 + 1 / 3) / 3)
    assert found.mean_reciprocal_rank == pytest.approx((1 + 1 / 3 + (1 + 1 / 2 + 1 / 3) / 3) / 3)
    assert found.relative_distance == pytest.approx(np.median([1 / 2.5, 4 / 2.5, 1]))


def test_a_few_shots_are_sought_among_all_originals() -> None:
    rng = np.random.default_rng(0)
    distances = rng.random((30, 30))
    found = null_score(distances[:4])
    ranks = [1 + int((row < row[i]).sum()) for i, row in enumerate(distances[:4])]
    assert found.mean_reciprocal_rank == pytest.approx(np.mean([1 / rank for rank in ranks]))
    assert (found.shots, found.originals) == (4, 30)
    assert found.chance_rank == null_score(distances).chance_rank


def test_a_collapsed_embedding_is_no_better_than_chance() -> None:
    found = null_score(np.zeros((50, 50)))
    assert found.recall_at_1 == pytest.approx(1 / 50)
    assert found.mean_reciprocal_rank == pytest.approx(found.chance_rank)
    assert found.chance_rank == pytest.approx(sum(1 / n for n in range(1, 51)) / 50)
    assert found.to_dict()["relative_distance"] is None
    json.dumps(found.to_dict(), allow_nan=False)


def test_null_errors_name_the_null() -> None:
    with pytest.raises(ValueError, match=r"null 'turned': distances: found shape \(3, 2\)"):
        physics_nulls(lambda images: np.zeros((3, 2)), {"turned": torch.zeros(2, 1, 4, 4)})
    with pytest.raises(ValueError, match="NaN in row 1"):
        null_score([[0, 1], [np.nan, 0]])


def blob(y: float, x: float, size: int = 41, width: float = 2.0) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return torch.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * width**2))


def centre_of_mass(images: Tensor) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(41.0), torch.arange(41.0), indexing="ij")
    total = images.sum((1, 2, 3))
    return torch.stack([(images[:, 0] * axis).sum((1, 2)) / total for axis in (rows, columns)], 1)


def test_recorded_images_move_as_they_should() -> None:
    images = blob(26, 23)[None, None].repeat(8, 1, 1, 1)
    about = torch.tensor([20.0, 20.0])
    offset = torch.tensor([6.0, 3.0])
    for center in (None, about):
        found = null_images(images, center=center, counts=False, seed=1)
        assert set(found) == {"rotation", "centre", "friedel", "energy"}
        torch.testing.assert_close(centre_of_mass(found["friedel"]), (about - offset).expand(8, 2))
        expected = (about + offset / 1.1).expand(8, 2)
        torch.testing.assert_close(centre_of_mass(found["energy"]), expected, atol=0.03, rtol=0)
        turned = centre_of_mass(found["rotation"]) - about
        torch.testing.assert_close(turned.norm(dim=1), offset.norm().expand(8), atol=0.05, rtol=0)
        assert turned.std(0).min() > 1  # by many angles
        moved = centre_of_mass(found["centre"]) - about - offset
        torch.testing.assert_close(moved.norm(dim=1), torch.full((8,), 0.03 * 20.5), atol=0.01, rtol=0)
    again = null_images(images, counts=False, seed=1)
    assert torch.equal(again["rotation"], found["rotation"])


def test_the_turn_is_the_polar_operators() -> None:
    """Counter-clockwise by some angle: the unwrapped map moves along its angle, whatever the way of resampling."""
    from cdifast.evaluate.null_images import _sampled, _turn
    from cdifast.ops import polar_resample

    image = blob(26, 23, width=4.0)[None, None]
    about = torch.full((1, 2), 20.0, dtype=torch.float64)
    turned = _sampled(image, _turn(torch.tensor([torch.pi / 4], dtype=torch.float64)), about, about)
    before, after = (polar_resample(part, 15, 64) for part in (image, turned))
    torch.testing.assert_close(after, before.roll(8, -1), atol=0.03, rtol=0)


def test_thinned_counts_are_binomial() -> None:
    counts = torch.full((2, 1, 100, 100), 50.0)
    thinned = null_images(counts, seed=1)["photons"]
    assert torch.equal(thinned, thinned.round())
    assert float(thinned.mean()) == pytest.approx(5, abs=0.06)  # 4 standard errors
    assert float(thinned.var()) == pytest.approx(50 * 0.1 * 0.9, rel=0.06)
    with pytest.raises(ValueError, match="not numbers of photons"):
        null_images(counts + 0.5)
    with pytest.raises(ValueError, match=r"center: found shape \(3, 2\)"):
        null_images(counts, center=torch.zeros(3, 2))


def test_chance_of_noise_is_what_random_ranks_give() -> None:
    rng = np.random.default_rng(0)
    scores = [null_score(pairwise_distances(rng.random((40, 9)), rng.random((40, 9)))) for _ in range(200)]
    assert np.mean([score.mean_reciprocal_rank for score in scores]) == pytest.approx(scores[0].chance_rank, rel=0.05)
