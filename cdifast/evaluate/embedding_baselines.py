"""The embeddings that P2 compares with (Table 1), and one of ours that needs no training.

Each takes images ``(N, 1, S, S)`` as a network would see them (P2: min-max scaled, no logarithm) and returns a
`FittedEmbedding`. P2 gives every method 1024 dimensions; N images allow N - 1 at most.

A warning for small sets: with nearly N - 1 principal components, the linear protocol, which standardises them, sees N
points at right angles to each other and scores below chance. Ask for N / 4 at most there, and say so; P2 has 1024 of
1261.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdifast import ops
from cdifast.nn import scale_triangles

from .distances import Metric, pairwise_distances
from .fitted import FittedEmbedding
from .local_windows import check_images

COMPONENTS = 1024
"""Dimensions of every embedding in P2."""

EXACT_IMAGES = 4096
"""Images up to which PCA and kernel PCA are solved exactly."""


def pca(
    images: Tensor, components: int = COMPONENTS, *, metric: Metric = "correlation", seed: int = 0
) -> FittedEmbedding:
    """Principal components of the pixels (scikit-learn's ``PCA``). P2's measures: Euclidean and correlation.

    Parameters
    ----------
    images : Tensor, shape (N, 1, S, S)
    components : int
        At most the number of pixels and N - 1 are taken.
    metric : str
    seed : int
        Of the randomised solver, which is taken for more than 4096 images: its last components are approximate.
    """
    from sklearn.decomposition import PCA

    pixels, size = _pixels(images), _most(images, components)
    solver = "full" if len(pixels) <= EXACT_IMAGES else "randomized"
    model = PCA(size, svd_solver=solver, random_state=seed).fit(pixels)
    return _fitted("PCA", model.transform, pixels, metric, {"components": size, "seed": seed})


def kernel_pca(
    images: Tensor,
    components: int = COMPONENTS,
    *,
    kernel: Literal["linear", "rbf"] = "linear",
    gamma: float | None = None,
    metric: Metric = "euclidean",
    seed: int = 0,
) -> FittedEmbedding:
    """Kernel PCA (scikit-learn's ``KernelPCA``). P2's measures: Euclidean and correlation.

    With the linear kernel (P2's code) it is PCA again, up to signs and what is left of vanishing components.

    Parameters
    ----------
    images, components, metric, seed
        As `pca`.
    kernel : {"linear", "rbf"}
    gamma : float, optional
        Of the rbf kernel exp(-gamma |x - y|^2); None: one over the median squared distance of the images, because
        scikit-learn's default (one over the number of pixels) makes images of one detector all but equal.
    """
    from sklearn.decomposition import KernelPCA

    if kernel not in ("linear", "rbf"):
        raise ValueError(f"kernel: found {kernel!r}, expected 'linear' or 'rbf'")
    pixels, size = _pixels(images), _most(images, components)
    if kernel == "rbf" and gamma is None:
        gamma = 1 / max(_median_square_distance(pixels), np.finfo(float).tiny)
    solver = "dense" if len(pixels) <= EXACT_IMAGES else "randomized"
    model = KernelPCA(size, kernel=kernel, gamma=gamma, eigen_solver=solver, random_state=seed).fit(pixels)
    settings = {"components": size, "kernel": kernel, "gamma": gamma, "seed": seed}
    return _fitted(f"Kernel PCA ({kernel})", model.transform, pixels, metric, settings)


def factor_analysis(
    images: Tensor,
    components: int = COMPONENTS,
    *,
    metric: Metric = "euclidean",
    max_iterations: int = 1000,
    seed: int = 0,
) -> FittedEmbedding:
    """Factor analysis of the pixels (scikit-learn's ``FactorAnalysis``). P2's measure: Euclidean.

    Parameters
    ----------
    images, components, metric, seed
        As `pca`.
    max_iterations : int
        Of the expectation-maximisation.
    """
    from sklearn.decomposition import FactorAnalysis

    pixels, size = _pixels(images), _most(images, components)
    model = FactorAnalysis(size, max_iter=max_iterations, random_state=seed).fit(pixels)
    settings = {"components": size, "max_iterations": max_iterations, "iterations": int(model.n_iter_), "seed": seed}
    return _fitted("Factor analysis", model.transform, pixels, metric, settings)


def umap_embedding(
    images: Tensor, components: int = COMPONENTS, *, metric: Metric = "euclidean", seed: int = 0
) -> FittedEmbedding:
    """UMAP with its default parameters and a fixed random state, as P2; needs the package ``umap-learn``.

    Parameters
    ----------
    images, components, metric, seed
        As `pca`. The spectral start needs components below N - 1; otherwise, it is random.

    Raises
    ------
    ModuleNotFoundError
        Without ``umap-learn``.
    """
    import importlib
    import warnings

    with _torch_threads_kept():
        umap = importlib.import_module("umap")  # has no types, and few have it
    pixels, size = _pixels(images), _most(images, components)
    start = "spectral" if size + 1 < len(pixels) - 1 else "random"
    with _torch_threads_kept(), warnings.catch_warnings():
        # That a fixed random state means one thread is what we ask for.
        warnings.filterwarnings("ignore", message="n_jobs value", category=UserWarning)
        model = umap.UMAP(n_components=size, random_state=seed, init=start).fit(pixels)

    def transform(others: NDArray[Any]) -> NDArray[Any]:
        with _torch_threads_kept():
            return model.transform(others)

    settings = {"components": size, "init": start, "seed": seed}
    return _fitted("UMAP", transform, pixels, metric, settings, embeddings=model.embedding_)


@contextmanager
def _torch_threads_kept() -> Iterator[None]:
    """Numba sets the number of OpenMP's threads for whoever comes next: a process with one thread would have all."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def uniform_noise(
    images: Tensor, components: int = COMPONENTS, *, metric: Metric = "euclidean", seed: int = 0
) -> FittedEmbedding:
    """P2's random baseline: numbers in [0, 1) that have nothing to do with the images. Each call draws new ones."""
    generator = np.random.default_rng(seed)

    def draw(pixels: NDArray[Any]) -> NDArray[Any]:
        return generator.random((len(pixels), components))

    return _fitted("Uniform noise", draw, _pixels(images), metric, {"components": components, "seed": seed})


def correlation_map_embedding(
    images: Tensor,
    *,
    n_radial: int = 32,
    n_angular: int = 128,
    order: int = 8,
    r_min: float = 0.0,
    r_max: float | None = None,
    center: Any = None,
    mask: Tensor | None = None,
    metric: Metric = "cosine",
) -> FittedEmbedding:
    """P1's correlation map of each image, as an embedding: no training, and no rotation changes it.

    The merged map (`cdifast.ops.polar_correlation_map`: lower triangle and diagonal zero-lag, upper triangle order n),
    each triangle on a log scale (`cdifast.nn.scale_triangles`), flattened: 32 radii make P2's 1024 numbers.

    Parameters
    ----------
    images : Tensor, shape (N, 1, S, S)
    n_radial, n_angular, order, r_min, r_max, mask
        As the operator. ``r_max`` None: the largest circle within the image.
    center : optional
        As the operator: one for all images. Images with centres of their own are unwrapped beforehand.
    metric : str
    """

    def maps(pixels: Tensor) -> NDArray[Any]:
        found = ops.polar_correlation_map(
            pixels, n_radial, n_angular, center=center, r_min=r_min, r_max=r_max, mask=mask, order=order
        )
        return scale_triangles(found, "log").flatten(1).cpu().numpy()

    settings = {"n_radial": n_radial, "n_angular": n_angular, "order": order, "r_min": r_min, "r_max": r_max}
    stack = check_images(images, "images")
    return FittedEmbedding(
        "Correlation map", maps(stack), lambda other: maps(check_images(other, "images")), metric, settings=settings
    )


def _fitted(
    name: str,
    transform: Callable[[NDArray[Any]], NDArray[Any]],
    pixels: NDArray[Any],
    metric: Metric,
    settings: dict[str, Any],
    embeddings: NDArray[Any] | None = None,
) -> FittedEmbedding:
    def embed(images: Tensor) -> NDArray[Any]:
        other = _pixels(images)
        if other.shape[1] != pixels.shape[1]:
            raise ValueError(f"images: found {other.shape[1]} pixels, {name} was fitted to {pixels.shape[1]}")
        return np.asarray(transform(other))

    first = transform(pixels) if embeddings is None else embeddings
    return FittedEmbedding(name, np.asarray(first), embed, metric, settings=settings)


def _pixels(images: Tensor) -> NDArray[Any]:
    """Images as rows of pixels (N, S * S) float64: the small eigenvalues need the digits."""
    return check_images(images, "images").flatten(1).to(torch.float64).cpu().numpy()


def _most(images: Tensor, components: int) -> int:
    """Components that so many images and pixels allow."""
    count, pixels = len(images), images.shape[-1] * images.shape[-2]
    if components < 1 or count < 3:
        raise ValueError(f"components: found {components} for {count} images, expected at least 1 and 3 images")
    return min(components, count - 1, pixels)


def _median_square_distance(pixels: NDArray[Any]) -> float:
    some = pixels[:: max(1, len(pixels) // 1000)]
    distances = pairwise_distances(some, metric="euclidean")
    return float(np.median(distances[np.triu_indices(len(some), 1)] ** 2))
