"""Further exposures of a recorded shot, with fewer photons."""

from __future__ import annotations

import torch
from torch import Tensor


def exposures(images: Tensor, photons: Tensor, seeds: Tensor, good: Tensor | None = None) -> Tensor:
    """Images as they might have been recorded with fewer photons.

    Each pixel's value is taken for what it is expected to hold, and as many photons are drawn as a shot of so many
    would leave there (Poisson); the result is scaled back, so that the mean stays but for the noise. The noise that an
    image has already remains in it.

    Parameters
    ----------
    images : Tensor, shape (N, 1, H, W)
        Floating; values below 0 count as 0 in images that are exposed anew.
    photons : Tensor, shape (N,)
        Mean number of photons a good pixel; infinite: the image as it is.
    seeds : Tensor, shape (N,)
        int64 on the CPU. Each image has its own random numbers, whatever the others.
    good : Tensor, shape (1 or N, 1, H, W), optional
        Pixels that count for the mean, bool; None: all.

    Returns
    -------
    Tensor, shape (N, 1, H, W)
    """
    result = images.clone()
    for index in torch.isfinite(photons).nonzero()[:, 0].tolist():
        expected = images[index].clamp_min(0)
        counted = expected if good is None else expected[good[index if len(good) > 1 else 0]]
        mean = counted.mean()
        if not mean > 0:
            continue
        gain = mean / photons[index]
        generator = torch.Generator(images.device).manual_seed(int(seeds[index]))
        result[index] = torch.poisson(expected / gain, generator) * gain
    return result
