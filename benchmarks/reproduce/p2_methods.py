"""The methods of paper 2's table 1, and what one would try today: each a cell of the study."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.reproduce.p2_data import MINMAX, Shots, load
from benchmarks.reproduce.p2_figures import pick_triple
from cdifast.data.view_recipe import TEMPERATURES
from cdifast.data.views import plain_view
from cdifast.evaluate import (
    FittedEmbedding,
    correlation_map_embedding,
    cw_ssim_matrix,
    encoder_embedding,
    evaluate_embedding,
    evaluate_fitted,
    factor_analysis,
    gaussian_embedding,
    kernel_pca,
    pairwise_distances,
    pca,
    physics_nulls,
    sift_distances,
    ssim_matrix,
    umap_embedding,
    uniform_noise,
)
from cdifast.nn import load_classifier
from cdifast.simulate.helium import HOLE
from cdifast.train.contrast import train_contrastive
from cdifast.train.contrast_config import CONTRAST_RECIPES, ContrastConfig
from cdifast.train.vae import VaeConfig, train_vae

MODES: Final = {
    f"{'CLR' if first == second else 'CPLR'} {first}-{second}": f"{first}-{second}" for first, second in TEMPERATURES
}
"""P2's four, by the names of the table."""

VICREG: Final = "VICReg detector-unwrapped"
NO_LOG: Final = "CPLR detector-unwrapped, no log"
CONTRASTIVE: Final = (*MODES, VICREG, NO_LOG)
LOG_PCA: Final = "PCA of log images"
"""What one would try today; `NO_LOG` tells what the log activation in the encoder's stem is worth."""

NEAREST: Final = 4
"""Neighbours that are written down for figure 3."""


@dataclass(frozen=True)
class Scale:
    """Size of the study.

    Attributes
    ----------
    shots
        Helium shots of which P2's selection is taken.
    frame, size
        Pixels along each side of a simulated frame, and of what the methods see.
    nulls
        Shots that are seen again under other conditions.
    epochs, batch_size
        Of the contrastive trainings.
    encoder
        Preset of the contrastive encoder.
    components
        Of PCA, kernel PCA, factor analysis and UMAP.
    vae_latent, vae_steps
        Of the VAE.
    seeds
        Repetitions.
    """

    shots: int
    frame: int
    size: int
    nulls: int
    epochs: int
    batch_size: int
    encoder: str
    components: int
    vae_latent: int
    vae_steps: int
    seeds: int


@dataclass(frozen=True)
class MethodCell:
    """A method and a repetition of it."""

    method: str
    seed: int = 0

    @property
    def name(self) -> str:
        return f"{self.method.replace(' ', '-').replace(',', '')}-s{self.seed}"


@dataclass(frozen=True)
class Setting:
    """What a method is made with."""

    shots: Shots
    scale: Scale
    work: Path
    classifier: Path | None
    seed: int
    device: str

    def images(self, method: str) -> torch.Tensor:
        """All images, as a method wants them."""
        return self.shots.images(self.scale.size, scaling_of(method, self.scale))


def contrast_config(method: str, scale: Scale, seed: int) -> ContrastConfig:
    """The configuration of a contrastive training."""
    recipe = CONTRAST_RECIPES["small" if scale.encoder == "small" else "p2"]
    mode = MODES.get(method, "detector-unwrapped")
    config = dataclasses.replace(
        recipe.scaled(scale.epochs),
        encoder=scale.encoder,
        views=recipe.views.with_mode(mode),
        batch_size=scale.batch_size,
        seed=seed,
        monitor_every=max(scale.epochs // 10, 1),
    )
    if method == VICREG:
        config = dataclasses.replace(config, loss="vicreg")
    if method == NO_LOG:
        config = dataclasses.replace(config, encoder_arguments={"first_activation": "relu"})
    return config


def scaling_of(method: str, scale: Scale) -> str:
    """How the images of a method are scaled."""
    if method in CONTRASTIVE:
        changes = contrast_config(method, scale, 0).views.augmentation
        return "mean" if changes and changes.jitter == "power" else MINMAX
    return "mean" if method in ("correlation maps", "supervised", LOG_PCA) else MINMAX


def _contrastive(method: str, setting: Setting) -> FittedEmbedding:
    config = contrast_config(method, setting.scale, setting.seed)
    images = setting.images(method)
    folder = setting.work / "runs" / MethodCell(method, setting.seed).name
    trained = train_contrastive(
        images, config, folder, resume=(folder / "checkpoint.safetensors").is_file(), device=setting.device
    )

    def embed(batch: torch.Tensor) -> torch.Tensor:
        return trained.model.embed(plain_view(batch, config.views))

    fitted = encoder_embedding(method, embed, images, device=setting.device)
    last = trained.history[-1]
    return dataclasses.replace(fitted, settings={"config": config.to_dict(), "last": dataclasses.asdict(last)})


def _vae(method: str, setting: Setting) -> FittedEmbedding:
    images = setting.images(method)
    config = VaeConfig(latent=setting.scale.vae_latent, steps=setting.scale.vae_steps, seed=setting.seed)
    model = train_vae(images, config)
    return dataclasses.replace(gaussian_embedding(method, model.encode, images), settings=config.to_dict())


def _supervised(method: str, setting: Setting) -> FittedEmbedding:
    if setting.classifier is None:
        raise ValueError(f"{method}: needs a classifier trained on other shots (--classifier)")
    model, _ = load_classifier(setting.classifier)
    features: Any = model.features
    return encoder_embedding(method, features, setting.images(method))


def _simple(function: Callable[..., FittedEmbedding], **options: Any) -> Callable[[str, Setting], FittedEmbedding]:
    def fit(method: str, setting: Setting) -> FittedEmbedding:
        fitted = function(setting.images(method), setting.scale.components, seed=setting.seed, **options)
        return dataclasses.replace(fitted, name=method)

    return fit


def _log_pca(method: str, setting: Setting) -> FittedEmbedding:
    fitted = pca(torch.log1p(setting.images(method)), setting.scale.components, seed=setting.seed)
    return dataclasses.replace(fitted, name=method, embed=lambda images: fitted.embed(torch.log1p(images)))


def _correlation_map(method: str, setting: Setting) -> FittedEmbedding:
    radius = (setting.scale.size - 1) / 2
    fitted = correlation_map_embedding(setting.images(method), r_min=HOLE * radius)
    return dataclasses.replace(fitted, name=method)


EMBEDDINGS: Final[dict[str, Callable[[str, Setting], FittedEmbedding]]] = {
    **dict.fromkeys(CONTRASTIVE, _contrastive),
    "factor analysis": _simple(factor_analysis),
    "PCA": _simple(pca),
    LOG_PCA: _log_pca,
    "kernel PCA": _simple(kernel_pca),
    "UMAP": _simple(umap_embedding),
    "VAE": _vae,
    "uniform noise": _simple(uniform_noise),
    "correlation maps": _correlation_map,
    "supervised": _supervised,
}
"""Methods that embed images."""

DIRECT: Final[dict[str, Callable[..., Any]]] = {
    "SSIM": lambda a, b=None: 1 - ssim_matrix(a, b),
    "CW-SSIM": lambda a, b=None: 1 - cw_ssim_matrix(a, b),
    "SIFT": sift_distances,
}
"""Distances of images themselves."""

DIRECT_NULLS: Final = 5
"""Of them, one in so many changed shots is sought, for each needs a look at every original: CW-SSIM takes a
millisecond a pair."""

METRICS: Final[dict[str, tuple[Any, ...]]] = {
    "PCA": ("euclidean", "correlation"),
    "kernel PCA": ("euclidean", "correlation"),
}
"""Distances of a method where there are several, as in table 1."""

SEEDLESS: Final = frozenset(
    {*DIRECT, "correlation maps", "supervised", "PCA", LOG_PCA, "kernel PCA", "factor analysis"}
)
"""Methods whose embedding is the same for every seed; the linear evaluation's seeds still differ."""


def method_cell(
    cell: MethodCell, scale: Scale, paths: Sequence[Path], work: Path, classifier: Path | None, device: str
) -> dict[str, Any]:
    """Fit one method and score it: linear evaluation, overlap, vote, nulls; and each shot's nearest."""
    shots = load(paths)
    setting = Setting(shots, scale, work, classifier, cell.seed, device)
    if cell.method in DIRECT:
        return _direct(cell.method, setting)
    fitted = EMBEDDINGS[cell.method](cell.method, setting)
    changed = shots.changed_images(scale.size, scaling_of(cell.method, scale))
    nulls = physics_nulls(fitted.distances, changed)
    seeds = range(scale.seeds) if cell.method in SEEDLESS else (cell.seed,)
    row = evaluate_fitted(
        fitted, shots.labels, metrics=METRICS.get(cell.method), seeds=tuple(seeds), nulls=nulls or None
    )
    return row | neighbourhood(pairwise_distances(fitted.embeddings, None, fitted.metric), shots)


def _direct(method: str, setting: Setting) -> dict[str, Any]:
    images = setting.images(method)
    measure = DIRECT[method]
    distances = np.asarray(measure(images))

    def changed_to_originals(changed: torch.Tensor) -> NDArray[np.float64]:
        return np.asarray(measure(changed, images))

    few = max(setting.scale.nulls // DIRECT_NULLS, 1)
    changed = {null: some[:few] for null, some in setting.shots.changed_images(setting.scale.size).items()}
    nulls = physics_nulls(changed_to_originals, changed)
    row = evaluate_embedding(method, None, setting.shots.labels, distances={"own": distances}, nulls=nulls or None)
    return row | neighbourhood(distances, setting.shots)


def neighbourhood(distances: NDArray[np.float64], shots: Shots) -> dict[str, Any]:
    """What figures 1 and 3 show of distances (N, N).

    Returns
    -------
    dict
        ``nearest``, the indices of the four nearest others of each shot; ``triple``, of the shots a, b, c of figure 1
        the distances of a and b, of a and c, and the median of all.
    """
    others = np.array(distances, np.float64)
    np.fill_diagonal(others, np.inf)
    a, b, c = pick_triple(shots.labels)
    between = distances[~np.eye(len(distances), dtype=bool)]
    return {
        "nearest": np.argsort(others, axis=1, kind="stable")[:, :NEAREST].tolist(),
        "triple": [float(distances[a, b]), float(distances[a, c]), float(np.median(between))],
    }


def cells(scale: Scale, methods: Sequence[str]) -> list[MethodCell]:
    """All repetitions, seed by seed."""
    return [
        MethodCell(method, seed)
        for seed in range(scale.seeds)
        for method in methods
        if seed == 0 or method not in SEEDLESS
    ]


def order(methods: Mapping[str, Any]) -> list[str]:
    """Methods, the quick ones first."""
    return sorted(methods, key=lambda method: method in CONTRASTIVE)
