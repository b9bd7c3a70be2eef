"""The baselines of P2's Table 1: what each one is by definition, and that others images are embedded the same way."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cdifast.evaluate import (
    FittedEmbedding,
    correlation_map_embedding,
    encoder_embedding,
    factor_analysis,
    gaussian_embedding,
    kernel_pca,
    pairwise_distances,
    pca,
    umap_embedding,
    uniform_noise,
)

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Three kinds of blobs and noise."""
    generator = torch.Generator().manual_seed(0)
    kinds = torch.rand(3, 1, 12, 12, generator=generator)
    return (kinds.repeat(10, 1, 1, 1) + 0.1 * torch.rand(30, 1, 12, 12, generator=generator)) / 1.1


@pytest.mark.parametrize("make", [pca, kernel_pca, factor_analysis, correlation_map_embedding])
def test_the_fitted_images_are_embedded_as_they_were(images: Tensor, make: Callable[..., FittedEmbedding]) -> None:
    fitted = make(images)
    assert len(fitted.embeddings) == 30
    np.testing.assert_allclose(fitted.embed(images), fitted.embeddings, atol=1e-8)
    distances = fitted.distances(images[4:6])
    assert distances.shape == (2, 30)
    assert distances.argmin(axis=1).tolist() == [4, 5]
    np.testing.assert_array_equal(make(images).embeddings, fitted.embeddings)


def test_pca_keeps_all_distances_and_is_linear_kernel_pca(images: Tensor) -> None:
    """With all components, both are rotations about the mean: distances are those of the pixels."""
    expected = pairwise_distances(images.flatten(1), metric="euclidean")
    for fitted in (pca(images), kernel_pca(images)):
        assert fitted.embeddings.shape == (30, 29)  # of 1024 that were asked for
        np.testing.assert_allclose(pairwise_distances(fitted.embeddings, metric="euclidean"), expected, atol=1e-7)
    few = pca(images, 2)
    centred = images.flatten(1).double().numpy() - images.flatten(1).double().numpy().mean(axis=0)
    _, values, _ = np.linalg.svd(centred)
    np.testing.assert_allclose(np.linalg.norm(few.embeddings, axis=0), values[:2])
    # Some of many components are as exact as all of them.
    large = torch.rand(80, 1, 24, 24, generator=torch.Generator().manual_seed(1))
    some, kernel = pca(large, 20), kernel_pca(large, 20)
    np.testing.assert_allclose(np.abs(some.embeddings), np.abs(kernel.embeddings), atol=1e-8)


def test_rbf_kernel_pca_distances(images: Tensor) -> None:
    """In the kernel's space |x - y|^2 = 2 - 2 exp(-gamma |x - y|^2)."""
    fitted = kernel_pca(images, kernel="rbf")
    pixels = pairwise_distances(images.flatten(1), metric="euclidean")
    gamma = fitted.settings["gamma"]
    assert gamma == pytest.approx(1 / np.median(pixels[np.triu_indices(30, 1)] ** 2))
    expected = np.sqrt(2 - 2 * np.exp(-gamma * pixels**2))
    np.testing.assert_allclose(pairwise_distances(fitted.embeddings, metric="euclidean"), expected, atol=1e-6)
    with pytest.raises(ValueError, match="kernel: found 'cubic'"):
        kernel_pca(images, kernel="cubic")  # type: ignore[arg-type]


def test_factor_analysis_finds_the_kinds(images: Tensor) -> None:
    distances = pairwise_distances(factor_analysis(images, 2).embeddings, metric="euclidean")
    same = np.arange(30)[:, None] % 3 == np.arange(30) % 3
    assert distances[same].max() < distances[~same].min()


def test_umap_finds_the_kinds(images: Tensor) -> None:
    pytest.importorskip("umap")
    first = umap_embedding(images, 2, seed=1)  # some seconds, in which numba compiles
    distances = pairwise_distances(first.embeddings, metric="euclidean")
    np.fill_diagonal(distances, np.inf)
    assert (distances.argmin(axis=1) % 3 == np.arange(30) % 3).all()


def test_umap_gets_its_defaults_but_for_size_seed_and_a_start_that_exists(
    images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, object]] = []

    class Recorder:
        def __init__(self, **arguments: object) -> None:
            calls.append(arguments)

        def fit(self, pixels: np.ndarray) -> Recorder:
            torch.set_num_threads(threads + 1)  # as numba does
            self.embedding_ = pixels[:, :2]
            return self

        def transform(self, pixels: np.ndarray) -> np.ndarray:
            torch.set_num_threads(threads + 1)
            return pixels[:, :2]

    threads = torch.get_num_threads()
    module = types.ModuleType("umap")
    module.UMAP = Recorder  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "umap", module)
    umap_embedding(images, 1024, seed=3)
    umap_embedding(images, 5).embed(images[:2])
    assert torch.get_num_threads() == threads
    assert calls == [
        {"n_components": 29, "random_state": 3, "init": "random"},
        {"n_components": 5, "random_state": 0, "init": "spectral"},
    ]


def test_noise_is_uniform_and_new_each_time(images: Tensor) -> None:
    fitted = uniform_noise(images, 500, seed=3)
    assert fitted.embeddings.min() >= 0
    assert fitted.embeddings.max() < 1
    assert fitted.embeddings.mean() == pytest.approx(0.5, abs=0.01)
    assert not np.array_equal(fitted.embed(images), fitted.embeddings)
    np.testing.assert_array_equal(uniform_noise(images, 500, seed=3).embeddings, fitted.embeddings)


def test_the_correlation_map_does_not_see_a_turn() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(4, 1, 33, 33, generator=generator)
    fitted = correlation_map_embedding(images, n_radial=12, n_angular=64, r_min=2)
    assert fitted.embeddings.shape == (4, 144)
    # A quarter turn about the middle moves pixels onto pixels: the map is the same but for rounding.
    np.testing.assert_allclose(fitted.embed(images.rot90(1, (2, 3))), fitted.embeddings, atol=2e-4)
    assert np.abs(fitted.embeddings - fitted.embed(images.flip(0))).max() > 0.1


def test_any_encoder_is_run_in_evaluation_mode_without_gradients(images: Tensor) -> None:
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(144, 5))
    network.train()
    fitted = encoder_embedding("network", network, images, batch_size=7)
    assert network.training
    assert network[0].num_batches_tracked == 0
    np.testing.assert_allclose(fitted.embeddings, network.eval()(images).detach(), rtol=1e-5, atol=1e-6)
    pixels = encoder_embedding("pixels", lambda batch: batch.flatten(1), images)
    np.testing.assert_array_equal(pixels.embeddings, images.flatten(1))
    with pytest.raises(ValueError, match=r"embeddings: found shape \(30, 1, 12, 12\)"):
        encoder_embedding("images", lambda batch: batch, images)


def test_gaussians_are_compared_by_wasserstein_and_separated_by_their_means(images: Tensor) -> None:
    fitted = gaussian_embedding("g", lambda batch: (batch.flatten(1), batch.flatten(1) + 1), images, batch_size=4)
    assert fitted.embeddings.shape == (30, 288)
    np.testing.assert_allclose(fitted.features, images.flatten(1))
    expected = np.sqrt(2) * pairwise_distances(images.flatten(1), metric="euclidean")
    np.testing.assert_allclose(fitted.distances(images), expected, atol=1e-6)


def test_errors(images: Tensor) -> None:
    with pytest.raises(ValueError, match="components: found 0 for 30 images"):
        pca(images, 0)
    with pytest.raises(ValueError, match="found 121 pixels, PCA was fitted to 144"):
        pca(images).embed(images[:, :, 1:, 1:])
    with pytest.raises(ValueError, match=r"images: found shape \(30, 2, 12, 12\)"):
        pca(images.repeat(1, 2, 1, 1))
