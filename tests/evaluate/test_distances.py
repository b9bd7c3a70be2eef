"""Distances against SciPy's, and the Wasserstein distance against the transport that it stands for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cdifast.evaluate import join_gaussians, pairwise_distances
from cdifast.evaluate.distances import Metric


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "correlation"])
def test_equals_scipy(metric: Metric) -> None:
    spatial = pytest.importorskip("scipy.spatial.distance")
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(7, 5)) + 100, rng.normal(size=(9, 5)) + 100  # far from the origin: digits cancel
    np.testing.assert_allclose(pairwise_distances(a, b, metric), spatial.cdist(a, b, metric), rtol=1e-8, atol=1e-12)
    own = pairwise_distances(torch.from_numpy(a), metric=metric)
    assert (own.diagonal() == 0).all()
    np.testing.assert_allclose(own, spatial.cdist(a, a, metric), rtol=1e-8, atol=1e-12)


def test_vectors_without_direction() -> None:
    rows = np.array([[0.0, 0.0], [1.0, 2.0], [3.3, 3.3], [1e-200, 2e-200]])
    cosine = pairwise_distances(rows, metric="cosine")
    assert cosine[0, 1] == 1
    assert cosine[1, 3] == pytest.approx(0, abs=1e-15)
    assert pairwise_distances(rows, metric="correlation")[2].tolist() == [1, 1, 0, 1]


def test_wasserstein_is_the_transport_between_gaussians() -> None:
    """In one dimension W2 is the L2 distance of the quantile functions: integrated, without the closed form."""
    from scipy.special import ndtri

    mean, sigma = np.array([[0.3], [-1.2]]), np.array([[0.5], [2.0]])
    share = (np.arange(1_000_000) + 0.5) / 1_000_000
    quantiles = mean + sigma * ndtri(share)
    expected = np.sqrt(((quantiles[0] - quantiles[1]) ** 2).mean())
    found = pairwise_distances(join_gaussians(mean, sigma), metric="wasserstein")
    assert found[0, 1] == pytest.approx(expected, rel=1e-4)


def test_wasserstein_adds_up_over_dimensions() -> None:
    """The general formula with matrix roots (tr(A + B - 2 (A^1/2 B A^1/2)^1/2)) for diagonal covariances."""
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(0)
    mean, sigma = rng.normal(size=(2, 4)), rng.random((2, 4)) + 0.1
    first, second = (np.diag(row**2) for row in sigma)
    root = sqrtm(first)
    spread = np.trace(first + second - 2 * sqrtm(root @ second @ root)).real
    found = pairwise_distances(join_gaussians(torch.from_numpy(mean), sigma), metric="wasserstein")
    assert found[0, 1] == pytest.approx(np.sqrt(((mean[0] - mean[1]) ** 2).sum() + spread), rel=1e-9)


def test_errors() -> None:
    with pytest.raises(ValueError, match="row 1 has a negative standard deviation"):
        join_gaussians(np.zeros((2, 1)), [[1.0], [-1.0]])
    with pytest.raises(ValueError, match="sigma: found shape"):
        join_gaussians(np.zeros((2, 1)), np.ones((2, 2)))
    with pytest.raises(ValueError, match="found 3 numbers, expected d means"):
        pairwise_distances(np.ones((2, 3)), metric="wasserstein")
    with pytest.raises(ValueError, match="b: found 2 numbers an embedding, a has 3"):
        pairwise_distances(np.ones((2, 3)), np.ones((2, 2)))
    with pytest.raises(ValueError, match="one that can be computed"):
        pairwise_distances(np.ones((2, 2)), metric="precomputed")
