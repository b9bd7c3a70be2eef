"""A beta-VAE on diffraction images: P2's variational baseline (Table 1), after Burgess et al. 2018 (P2's [71])."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from .order import Stream, stream_generator, stream_seed

CHANNELS = 32
HIDDEN = 256
STRIDES = 4
"""Convolutions of stride 2: images of 64 x 64 become 4 x 4, as Burgess et al. have it."""


@dataclass(frozen=True)
class VaeConfig:
    """Network and training of a `BetaVae`; the defaults are those of Burgess et al. but for P2's 1024 latent numbers.

    The loss is the reconstruction's Bernoulli cross-entropy, summed over the pixels, plus ``gamma |KL - C|`` with the
    capacity C rising linearly from 0 to `capacity` nats over `capacity_steps`; or, where `beta` is given, plus
    ``beta KL``.

    Attributes
    ----------
    latent : int
        Latent numbers d.
    steps : int
        Training steps. Burgess et al. make millions on 700 thousand images; the default is 100 passes over P2's 1261.
    batch_size : int
    learning_rate : float
        Of Adam.
    gamma, capacity : float
        Pressure on the capacity, and where it ends (nats).
    capacity_steps : int, optional
        None: as many as `steps`.
    beta : float, optional
        None: the capacity loss. 1: a plain VAE.
    seed : int
        Of weights, order of images and latent noise.
    """

    latent: int = 1024
    steps: int = 2000
    batch_size: int = 64
    learning_rate: float = 5e-4
    gamma: float = 1000.0
    capacity: float = 25.0
    capacity_steps: int | None = None
    beta: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("latent", "steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: found {getattr(self, name)}, expected at least 1")
        if self.capacity_steps is not None and self.capacity_steps < 1:
            raise ValueError(f"capacity_steps: found {self.capacity_steps}, expected at least 1")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"learning_rate: found {self.learning_rate}, expected a positive number")
        for name in ("gamma", "capacity", "seed"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: found {getattr(self, name)}, expected a number >= 0")
        if self.beta is not None and not self.beta >= 0:
            raise ValueError(f"beta: found {self.beta}, expected a number >= 0")

    def capacity_at(self, step: int) -> float:
        """C at a step, counted from 0."""
        return self.capacity * min(step / (self.capacity_steps or self.steps), 1.0)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-serialisable dictionary."""
        return asdict(self)


class VaeTerms(NamedTuple):
    """The loss and its parts, scalars, means over the batch.

    Attributes
    ----------
    total
        What is minimised.
    reconstruction
        Cross-entropy summed over the pixels (nats).
    divergence
        Kullback-Leibler divergence from the standard normal distribution (nats).
    """

    total: Tensor
    reconstruction: Tensor
    divergence: Tensor


class BetaVae(nn.Module):
    """Convolutional variational autoencoder (Burgess et al., appendix): four 4 x 4 convolutions of stride 2 with 32
    channels, two layers of 256, ReLU throughout, and the same backwards.

    Parameters
    ----------
    size : int
        Side of the images, a multiple of 16.
    latent : int
        Latent numbers d.

    Raises
    ------
    ValueError
        Another size.
    """

    def __init__(self, size: int, latent: int = 1024) -> None:
        super().__init__()
        if size < 1 or size % 2**STRIDES:
            raise ValueError(f"size: found {size}, expected a multiple of {2**STRIDES}")
        self.size, self.latent = size, latent
        last = size // 2**STRIDES
        layers: list[nn.Module] = []
        for index in range(STRIDES):
            layers += [nn.Conv2d(CHANNELS if index else 1, CHANNELS, 4, 2, 1), nn.ReLU()]
        self.encoder = nn.Sequential(
            *layers,
            nn.Flatten(),
            nn.Linear(CHANNELS * last**2, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, 2 * latent),
        )
        layers = [
            nn.Linear(latent, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, CHANNELS * last**2),
            nn.Unflatten(1, (CHANNELS, last, last)),
        ]
        for index in range(STRIDES):
            layers += [nn.ReLU(), nn.ConvTranspose2d(CHANNELS, 1 if index == STRIDES - 1 else CHANNELS, 4, 2, 1)]
        self.decoder = nn.Sequential(*layers)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Means and standard deviations, each (n, d), of images (n, 1, S, S)."""
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        return mean, torch.exp(0.5 * log_variance)

    def forward(self, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of the pixels, means and logarithms of the variances.

        ``noise (n, d)``, standard normal, is what the latent numbers are sampled with.
        """
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        return self.decoder(mean + torch.exp(0.5 * log_variance) * noise), mean, log_variance


def vae_loss(
    logits: Tensor, images: Tensor, mean: Tensor, log_variance: Tensor, config: VaeConfig, step: int = 0
) -> VaeTerms:
    """The loss of `VaeConfig` at a step.

    Parameters
    ----------
    logits, images : Tensor, shape (n, 1, S, S)
        Reconstruction and images in [0, 1].
    mean, log_variance : Tensor, shape (n, d)
    config, step
        Which loss, and where its capacity stands.
    """
    count = len(images)
    reconstruction = functional.binary_cross_entropy_with_logits(logits, images, reduction="sum") / count
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum() / count
    if config.beta is not None:
        total = reconstruction + config.beta * divergence
    else:
        total = reconstruction + config.gamma * (divergence - config.capacity_at(step)).abs()
    return VaeTerms(total, reconstruction, divergence)


def train_vae(
    images: Tensor,
    config: VaeConfig | None = None,
    *,
    device: str | torch.device = "cpu",
    progress: Callable[[int, int, float], None] | None = None,
) -> BetaVae:
    """Train a `BetaVae`; the result is a function of images and configuration (on one kind of device).

    Parameters
    ----------
    images : Tensor, shape (N, 1, S, S)
        In [0, 1] (P2: min-max scaled); S a multiple of 16.
    config : VaeConfig, optional
    device : str or torch.device
    progress : callable, optional
        Called after each step with (steps done, steps in all, loss).

    Returns
    -------
    BetaVae
        In evaluation mode.

    Raises
    ------
    ValueError
        Images of another shape, or with values outside [0, 1].
    FloatingPointError
        If the loss is no number; the step is named.
    """
    config = config or VaeConfig()
    if images.dim() != 4 or images.shape[1] != 1 or images.shape[2] != images.shape[3] or len(images) == 0:
        raise ValueError(f"images: found shape {tuple(images.shape)}, expected (N, 1, S, S)")
    if not bool(((images >= 0) & (images <= 1)).all()):
        raise ValueError("images: found values outside [0, 1] or NaN")
    # The caller's global generator keeps its state.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(config.seed, Stream.WEIGHTS))
        model = BetaVae(images.shape[-1], config.latent).to(device)
    optimizer = torch.optim.Adam(model.parameters(), config.learning_rate)
    order = torch.randperm(len(images), generator=stream_generator(config.seed, Stream.ORDER))
    done, epoch = 0, 0
    for step in range(config.steps):
        if done >= len(images):
            done, epoch = 0, epoch + 1
            order = torch.randperm(len(images), generator=stream_generator(config.seed, Stream.ORDER, epoch))
        batch = images[order[done : done + config.batch_size]].float().to(device)
        done += config.batch_size
        noise_source = stream_generator(config.seed, Stream.AUGMENTATION, 0, step)
        noise = torch.randn(len(batch), config.latent, generator=noise_source).to(device)
        logits, mean, log_variance = model(batch, noise)
        loss = vae_loss(logits, batch, mean, log_variance, config, step).total
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        value = loss.item()
        if not math.isfinite(value):
            raise FloatingPointError(f"step {step}: the loss is {value}")
        if progress is not None:
            progress(step + 1, config.steps, value)
    return model.eval()
