"""Physics nulls of recorded images: changes that can be made without the particle (see `cdifast.evaluate.nulls`)."""

from __future__ import annotations

import math
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from .local_windows import check_images

SHIFT: Final = 0.03
"""Shift of the null "centre" in half sides of the image."""

FEWER: Final = 0.1
"""Share of the photons kept by the null "photons"."""

ENERGY_FACTOR: Final = 1.1
"""Photon energy of the null "energy" over the original's."""


def null_images(images: Any, *, center: Any = None, seed: int = 0, counts: bool = True) -> dict[str, Tensor]:
    """Recorded images under each null. Everything moves: the pattern with the detector's hole and its faults.

    - ``"rotation"``: by a random angle about the centre, bilinear, 0 from outside.
    - ``"centre"``: shifted by 0.03 half sides in a random direction, bilinear.
    - ``"photons"``: each photon kept with probability 0.1 (binomial thinning: of a Poisson count, a Poisson count);
      only with ``counts``, as values must be numbers of photons.
    - ``"friedel"``: inverted through the centre. About the middle of the image this is exact, else bilinear.
    - ``"energy"``: shrunk about the centre by 1.1, as at small angles (q = 2 pi r / (lambda L)) photons of 1.1 times
      the energy would record it. Curvature and absorption are left out: `cdifast.evaluate.null_shots` has them.

    Parameters
    ----------
    images : Tensor or array_like, shape (N, 1, H, W)
        Before scaling and logarithm.
    center : Tensor or array_like, optional
        ``(N, 2)`` or ``(2,)``: (y, x) in pixels; None: the middle.
    seed : int
    counts : bool
        Whether values are numbers of photons.

    Returns
    -------
    dict
        From the null's name to images (N, 1, H, W), floating.

    Raises
    ------
    ValueError
        Shapes that do not fit, NaN or infinity; with ``counts``, values that are not counts.
    """
    stack = check_images(images, "images")[:, None]
    generator = torch.Generator().manual_seed(seed)
    number, _, height, width = stack.shape
    middle = torch.tensor([(height - 1) / 2, (width - 1) / 2], dtype=torch.float64)
    about = middle if center is None else torch.as_tensor(center, dtype=torch.float64)
    if about.shape not in ((2,), (number, 2)):
        raise ValueError(f"center: found shape {tuple(about.shape)}, expected (2,) or ({number}, 2)")
    about = about.expand(number, 2)
    if counts and not bool(((stack >= 0) & (stack == stack.round())).all()):
        raise ValueError("images: found values that are not numbers of photons; pass counts=False")
    angle = 2 * math.pi * torch.rand(number, generator=generator, dtype=torch.float64)
    direction = 2 * math.pi * torch.rand(number, generator=generator, dtype=torch.float64)
    shift = SHIFT * min(height, width) / 2 * torch.stack([direction.sin(), direction.cos()], 1)
    one = torch.eye(2, dtype=torch.float64).expand(number, 2, 2)
    found = {
        "rotation": _sampled(stack, _turn(angle), about, about),
        "centre": _sampled(stack, one, about, about - shift),
        "friedel": stack.flip(-1, -2) if center is None else _sampled(stack, -one, about, about),
        "energy": _sampled(stack, ENERGY_FACTOR * one, about, about),
    }
    if counts:
        kept = torch.full_like(stack, FEWER, device="cpu")
        found["photons"] = torch.binomial(stack.cpu(), kept, generator=generator).to(stack.device)
    return found


def _turn(angle: Tensor) -> Tensor:
    """Matrices (N, 2, 2) on (y, x): the image appears turned by the angle, counter-clockwise as displayed."""
    c, s = angle.cos(), angle.sin()
    return torch.stack([c, s, -s, c], -1).unflatten(-1, (2, 2))


def _sampled(images: Tensor, matrix: Tensor, about: Tensor, source: Tensor) -> Tensor:
    """Each pixel p takes the value at ``matrix (p - about) + source``, bilinear; 0 from outside. (y, x) throughout."""
    height, width = images.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float64), torch.arange(width, dtype=torch.float64), indexing="ij"
    )
    pixels = torch.stack([y, x], -1) - about[:, None, None]
    places = torch.einsum("nij,nyxj->nyxi", matrix, pixels) + source[:, None, None]
    half = torch.tensor([(height - 1) / 2, (width - 1) / 2], dtype=torch.float64)
    grid = (places / half.clamp_min(0.5) - 1).flip(-1).to(images)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
