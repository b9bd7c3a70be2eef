"""Augmentation in torch, batched, on any device."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from .augment import Augmentation, Changes

MIN_WEIGHT = 0.5
"""A resampled pixel with less than this share of valid neighbours is 0, otherwise their weighted mean."""


def apply_changes(
    images: torch.Tensor, augmentation: Augmentation, changes: Changes, valid: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Change copies of images as told.

    Where images are resampled, an output pixel is the mean of its up to four neighbours that are valid and lie in
    the image, with their bilinear weights, or 0 and invalid where these sum to less than `MIN_WEIGHT`: neither bad
    pixels nor the border darken their neighbourhood.

    Parameters
    ----------
    images
        (N, C, H, W), floating point, any device; 0 where not valid. Not changed.
    augmentation
        What is switched on.
    changes
        `Augmentation.changes` for N images of H x W.
    valid
        (1 or N, 1, H, W) bool, True where the images hold data; None: everywhere.

    Returns
    -------
    images
        Same shape, dtype and device.
    valid
        (1 or N, 1, H, W) bool, or None where it was None and no change leaves a pixel without data.
    """
    if augmentation.resamples:
        images, valid = _resample(images, changes, valid)
    else:
        images = _flip(images, changes)
        if valid is not None and changes.flips.any():
            valid = _flip(valid.expand(len(images), -1, -1, -1), changes)
    if augmentation.jitters:
        images = _jitter(images, augmentation, changes)
    if augmentation.blanks:
        blank = _blank(changes, images)
        images = images.masked_fill(blank, 0)
        valid = ~blank if valid is None else valid & ~blank
    return images, valid


def _flip(images: torch.Tensor, changes: Changes) -> torch.Tensor:
    flips = torch.from_numpy(changes.flips).to(images.device)[:, :, None, None, None]
    images = torch.where(flips[:, 1], images.flip(-1), images)
    return torch.where(flips[:, 0], images.flip(-2), images)


def _resample(images: torch.Tensor, changes: Changes, valid: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    count, channels, height, width = images.shape
    # affine_grid's coordinates run from -1 to 1 over the image's edges: x = (X + 1) W / 2 - 1/2.
    half = np.array([width / 2, height / 2])
    matrix = changes.matrix
    theta = np.empty_like(matrix)
    theta[:, :, :2] = matrix[:, :, :2] * half / half[:, None]
    theta[:, :, 2] = (matrix[:, :, 2] + matrix[:, :, :2] @ (half - 0.5) + 0.5) / half - 1
    grid = functional.affine_grid(
        torch.from_numpy(theta).to(images.device, images.dtype), [count, 1, height, width], align_corners=False
    )
    weight = torch.ones((), dtype=images.dtype, device=images.device) if valid is None else valid.to(images.dtype)
    both = torch.cat([images, weight.expand(count, 1, height, width)], dim=1)
    both = functional.grid_sample(both, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    weight = both[:, channels:]
    valid = weight >= MIN_WEIGHT
    return (both[:, :channels] / weight.clamp_min(MIN_WEIGHT)).masked_fill(~valid, 0), valid


def _jitter(images: torch.Tensor, augmentation: Augmentation, changes: Changes) -> torch.Tensor:
    def scalars(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values).to(images.device, images.dtype)[:, None, None, None]

    gain = scalars(changes.gain)
    if augmentation.jitter == "linear":
        return (images * gain).clamp(scalars(changes.low), scalars(changes.high))
    if augmentation.contrast == 0:
        return images * gain
    magnitude = images.abs()
    # An all-zero image has no mean to stretch about; any positive pivot leaves it zero.
    pivot = magnitude.mean(dim=(1, 2, 3), keepdim=True).clamp_min(torch.finfo(images.dtype).tiny)
    return torch.copysign(gain * pivot * (magnitude / pivot).pow(scalars(changes.exponent)), images)


def _blank(changes: Changes, images: torch.Tensor) -> torch.Tensor:
    """(N, 1, H, W) bool: True in the rectangles."""
    top, left, height, width = torch.from_numpy(changes.regions).to(images.device).unbind(-1)
    rows = torch.arange(images.shape[-2], device=images.device)
    columns = torch.arange(images.shape[-1], device=images.device)
    in_rows = (rows >= top[:, :, None]) & (rows < (top + height)[:, :, None])
    in_columns = (columns >= left[:, :, None]) & (columns < (left + width)[:, :, None])
    return (in_rows[:, :, :, None] & in_columns[:, :, None, :]).any(dim=1)[:, None]
