"""Pairs of views for contrastive learning, made on the device (P2, "Contrastive projection learning")."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from cdifast.ops import polar_resample

from .augment_torch import apply_changes
from .p2_code import p2_code_detector, p2_code_unwrapped
from .ring_fill import fill_from_rings, pixel_rings
from .view_recipe import VIEW_PRESETS, ViewKind, ViewRecipe

__all__ = ["VIEW_PRESETS", "PairViews", "ViewRecipe", "plain_view"]


class PairViews:
    """Makes the two views of shots.

    **No mask leak.** Both views of a shot come from one frame, hence with one mask. Masks that differ between shots
    would be the easiest way to tell who belongs to whom, and a network that learns to compare masks need not look at
    the diffraction. So a pixel that is bad in at least half of the shots is 0 in *all* images, and every other bad
    pixel is filled with noise of its ring, drawn anew for each view (`fill_from_rings`); samples of the unwrapped map
    that the detector does not reach, which would tell the shot's centre, are treated alike. What is 0 is thus the same
    in all images. (Blanking what is bad in *any* shot would leave nothing of a run whose masks differ; giving the views
    other shots' masks on top would leave their own in both.) An image that has been shrunk has pixels that average
    over fewer good ones, with more noise: this trace stays.

    Parameters
    ----------
    recipe
        What the views are.
    size
        Side S of the square images.
    mask
        Good pixels, bool: (S, S) for all shots or (N, S, S). None: all are good.
    centers
        (N, 2) or (2,), (y, x) in pixels of the images; None: the middle.
    device
        Where views are made.

    Raises
    ------
    ValueError
        Shapes that do not fit, or masks and centres of unequal numbers of shots.
    TypeError
        A mask that is not bool.
    """

    def __init__(
        self,
        recipe: ViewRecipe,
        size: int,
        *,
        mask: Tensor | None = None,
        centers: Tensor | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self.recipe, self.size, self.device = recipe, size, torch.device(device)
        self.mask = _as_masks(mask, size)
        self.centers = _as_centers(centers)
        if recipe.unwrapping == "p2-code" and self.centers is not None:
            raise ValueError("centers: found some, but P2's code takes the middle; use unwrapping='polar'")
        counts = {len(each) for each in (self.mask, self.centers) if each is not None and len(each) > 1}
        if len(counts) > 1:
            raise ValueError(f"mask, centers: found {sorted(counts)} shots, expected equally many")
        self.count = counts.pop() if counts else None
        half = (size - 1) / 2
        self._polar: dict[str, Any] = {
            "n_radial": recipe.n_radial or size,
            "n_angular": recipe.n_angular or size,
            "r_min": recipe.r_min * half,
            "r_max": recipe.r_max * half,
        }
        # What is 0 in every view, whatever the shot.
        self.common = _common(self.mask)
        self.common_unwrapped = self._common_unwrapped() if "unwrapped" in (recipe.first, recipe.second) else None

    def pair(
        self,
        images: Tensor,
        indices: Tensor,
        generator: torch.Generator,
        *,
        rows: slice = slice(None),
        partners: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Both views of a batch.

        Parameters
        ----------
        images
            (n, 1, S, S), floating: the images of ``indices[rows]``; bad pixels may hold anything but NaN.
        indices
            (B,) int64: the shots of the whole batch, for masks and centres.
        generator
            On the CPU; draws for the whole batch, so that ranks that make parts of it make the same views.
        rows
            The part of the batch at hand.
        partners
            Other images of the same shots, for the second view: another exposure, or the other half of the photons;
            None: the same images.

        Returns
        -------
        first, second : Tensor
            (n, 1, S, S) or (n, 1, n_radial, n_angular), on the device.

        Raises
        ------
        ValueError
            Images that do not fit the indices.
        """
        expected = (len(indices[rows]), 1, self.size, self.size)
        for name, given in (("images", images), ("partners", partners)):
            if given is not None and given.shape != expected:
                raise ValueError(f"{name}: found shape {tuple(given.shape)}, expected {expected}")
        first = self._view(self.recipe.first, images, indices, generator, rows)
        second = self._view(self.recipe.second, images if partners is None else partners, indices, generator, rows)
        return first, second

    def _view(self, kind: ViewKind, images: Tensor, indices: Tensor, generator: torch.Generator, rows: slice) -> Tensor:
        whole = len(indices)

        def uniforms(*shape: int) -> Tensor:
            draws = torch.rand(whole, *shape, generator=generator)
            return draws[rows].to(self.device)

        images = images.to(self.device)
        if self.mask is not None:
            good = _of(self.mask, indices[rows]).to(self.device)
            centers = None if self.centers is None else _of(self.centers, indices[rows])
            if self.recipe.mask_guard == "fill" and len(self.mask) > 1:
                rings = pixel_rings(self.size, self.size, centers, self.device)
                images = fill_from_rings(images, good, rings, uniforms(self.size, self.size))
                good = self.common.to(self.device)[None]
            images = images.masked_fill(~good[:, None], 0)
        else:
            good = None
        values, valid = self._shown(kind, images, good, indices[rows], uniforms)
        augmentation = self.recipe.augmentation
        if augmentation is None:
            return values
        changes = augmentation.changes(augmentation.uniforms(whole, generator)[rows], *values.shape[-2:])
        return apply_changes(values, augmentation, changes, valid)[0]

    def _shown(
        self, kind: ViewKind, images: Tensor, good: Tensor | None, indices: Tensor, uniforms: Callable[..., Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """Values (n, 1, ., .) of a view, and where they are valid (1 or n, 1, ., .)."""
        if self.recipe.unwrapping == "p2-code":
            make = p2_code_detector if kind == "detector" else p2_code_unwrapped
            return make(images, self.size), None
        if kind == "detector":
            return images, None if good is None else good[:, None]
        values, valid = self._unwrap(images, good, indices)
        if self.recipe.mask_guard == "fill" and self.centers is not None and len(self.centers) > 1:
            assert self.common_unwrapped is not None
            rings = torch.arange(values.shape[2], device=self.device)[None, :, None]
            values = fill_from_rings(values, valid[:, 0], rings, uniforms(*values.shape[2:]))
            valid = self.common_unwrapped.to(self.device)[None, None]
            values = values.masked_fill(~valid, 0)
        return values, valid

    def _unwrap(self, images: Tensor, good: Tensor | None, indices: Tensor) -> tuple[Tensor, Tensor]:
        centers = None if self.centers is None else _of(self.centers, indices).to(self.device)
        if centers is not None:
            centers = centers[0] if len(centers) == 1 else centers
        if good is not None:
            good = good[0] if len(good) == 1 else good
        maps, weight = polar_resample(images[:, 0], center=centers, mask=good, return_weight=True, **self._polar)
        return maps[:, None], (weight > 0)[:, None]

    def _common_unwrapped(self, chunk: int = 256) -> Tensor | None:
        """Samples that at least half of the shots have, (n_radial, n_angular) bool; None if it is no matter."""
        if self.centers is None or len(self.centers) == 1:
            return None
        good = None if self.mask is None else self.common.to(self.device)[None]
        seen = torch.zeros(self._polar["n_radial"], self._polar["n_angular"], device=self.device)
        for start in range(0, len(self.centers), chunk):
            indices = torch.arange(start, min(start + chunk, len(self.centers)))
            blank = torch.zeros(len(indices), 1, self.size, self.size, device=self.device)
            seen += self._unwrap(blank, good, indices)[1][:, 0].sum(0)
        return seen >= len(self.centers) / 2


def plain_view(
    images: Tensor,
    recipe: ViewRecipe,
    *,
    kind: ViewKind | None = None,
    mask: Tensor | None = None,
    centers: Tensor | None = None,
) -> Tensor:
    """A view without random changes, as inference sees it: bad pixels and what the detector does not reach are 0.

    Parameters
    ----------
    images
        (N, 1, S, S), floating.
    recipe
        As in training.
    kind
        Which view; None: the recipe's first.
    mask, centers
        As in `PairViews`.

    Returns
    -------
    Tensor
        (N, 1, S, S), or (N, 1, n_radial, n_angular).
    """
    kind = recipe.first if kind is None else kind
    recipe = dataclasses.replace(recipe, first=kind, second=kind, augmentation=None, mask_guard="none")
    views = PairViews(recipe, images.shape[-1], mask=mask, centers=centers, device=images.device)
    return views._view(kind, images, torch.arange(len(images)), torch.Generator(), slice(None))


def _of(each: Tensor, indices: Tensor) -> Tensor:
    return each if len(each) == 1 else each[indices]


def _common(mask: Tensor | None) -> Tensor:
    if mask is None:
        return torch.ones((), dtype=torch.bool)
    return mask[0] if len(mask) == 1 else mask.float().mean(0) > 0.5


def _as_masks(mask: Tensor | None, size: int) -> Tensor | None:
    if mask is None:
        return None
    mask = torch.as_tensor(mask)
    if mask.dtype != torch.bool:
        raise TypeError(f"mask: found dtype {mask.dtype}, expected bool with True for good pixels")
    if mask.dim() not in (2, 3) or mask.shape[-2:] != (size, size):
        raise ValueError(f"mask: found shape {tuple(mask.shape)}, expected {(size, size)} or (N, {size}, {size})")
    mask = mask.reshape(-1, size, size)
    return None if bool(mask.all()) else mask


def _as_centers(centers: Tensor | None) -> Tensor | None:
    if centers is None:
        return None
    centers = torch.as_tensor(centers, dtype=torch.float64)
    if centers.shape != (2,) and (centers.dim() != 2 or centers.shape[1] != 2):
        raise ValueError(f"centers: found shape {tuple(centers.shape)}, expected (N, 2) or (2,)")
    return centers.reshape(-1, 2)
