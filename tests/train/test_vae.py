"""The beta-VAE: its loss against torch's own distributions, its training, its seeds."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Normal, kl_divergence

from cdifast.train.vae import BetaVae, VaeConfig, train_vae, vae_loss


@pytest.fixture(scope="module")
def images() -> Tensor:
    kinds = (torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    return kinds.repeat(16, 1, 1, 1)


def test_the_loss_equals_torchs_distributions() -> None:
    logits, mean, log_variance = torch.randn(3, 1, 4, 4), torch.randn(3, 5), torch.randn(3, 5)
    pixels = torch.rand(3, 1, 4, 4).round()
    reconstruction = -Bernoulli(logits=logits).log_prob(pixels).sum() / 3
    divergence = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).sum() / 3
    plain = vae_loss(logits, pixels, mean, log_variance, VaeConfig(beta=4))
    torch.testing.assert_close(plain.total, reconstruction + 4 * divergence)
    config = VaeConfig(gamma=10, capacity=25, capacity_steps=100)
    capacity = vae_loss(logits, pixels, mean, log_variance, config, step=40)
    torch.testing.assert_close(capacity.total, reconstruction + 10 * (divergence - 10).abs())
    assert config.capacity_at(1000) == 25


def test_training_tells_two_kinds_apart_and_a_seed_fixes_it(images: Tensor) -> None:
    state = torch.random.get_rng_state()
    config = VaeConfig(latent=4, steps=60, batch_size=16, beta=0.01, learning_rate=3e-3, seed=2)
    losses: list[float] = []
    model = train_vae(images, config, progress=lambda step, steps, loss: losses.append(loss))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert len(losses) == 60
    assert losses[-1] < 0.6 * losses[0]
    with torch.no_grad():
        mean, sigma = model.encode(images)
    assert mean.shape == sigma.shape == (32, 4)
    assert (sigma > 0).all()
    # Far apart in units of their width: the two kinds are two Gaussians.
    assert ((mean[0] - mean[1]).norm() / sigma[:2].mean()) > 2
    again = train_vae(images, config)
    for name, value in again.state_dict().items():
        assert torch.equal(value, model.state_dict()[name])


def test_shapes_and_errors(images: Tensor) -> None:
    model = BetaVae(32, 3)
    logits, mean, _ = model(torch.rand(2, 1, 32, 32), torch.zeros(2, 3))
    assert logits.shape == (2, 1, 32, 32)
    assert mean.shape == (2, 3)
    # Four convolutions of 4 x 4 with 32 channels, two layers of 256, and back (Burgess et al.), at 64 x 64 and d = 10.
    encoder = (16 * 32 + 32) + 3 * (16 * 32 * 32 + 32) + (512 * 256 + 256) + (256 * 256 + 256) + (256 * 20 + 20)
    assert sum(p.numel() for p in BetaVae(64, 10).encoder.parameters()) == encoder
    with pytest.raises(ValueError, match="size: found 40, expected a multiple of 16"):
        BetaVae(40)
    with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
        train_vae(images * 2)
    with pytest.raises(ValueError, match="outside"):
        train_vae(images * math.nan)
    with pytest.raises(ValueError, match=r"images: found shape \(32, 16, 16\)"):
        train_vae(images[:, 0])
    with pytest.raises(ValueError, match="latent: found 0"):
        VaeConfig(latent=0)
