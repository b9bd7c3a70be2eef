"""Stray light: a background image whose strength differs from shot to shot."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal, Self

import torch
from torch import Tensor

from .robust import GAUSSIAN_MAD, row_median, sorted_rows

Scaling = Literal["least-squares", "robust", "fixed"]

_CLIP: Final = 3.0
# As many pixels of the fit, evenly spread, give the robust fit's start; least squares takes all that agree with it.
_MAX_SORTED: Final = 1 << 14


@dataclass(frozen=True, eq=False)
class Background:
    """A background image and how its strength in a frame is found.

    Attributes
    ----------
    image : Tensor of float32, (H, W)
        In the units of calibrated frames. A pixel where it is not finite counts as bad.
    scaling : {"least-squares", "robust", "fixed"}
        The scale s of a frame v, from its good pixels of ``fit``: ``"least-squares"`` minimises
        :math:`\\sum (v - s b)^2`, hence :math:`s = \\sum v b / \\sum b^2`: unbiased also for single photons, but light
        of the particle in the fit counts as background. ``"robust"`` minimises :math:`\\sum |v - s b|` (the weighted
        median of v / b) and then does least squares on the pixels within 3 standard deviations of that: right while
        less than half of the fit is lit, but only where the background is many photons a pixel or noise is more than
        they are (the median of sparse photons is 0). ``"fixed"``: s = 1.
    fit : Tensor of bool, (H, W), optional
        Pixels that the particle does not light. Default: all good ones.

    Raises
    ------
    TypeError, ValueError
        If a tensor has another type or shape, or ``scaling`` is unknown.
    """

    image: Tensor
    scaling: Scaling = "least-squares"
    fit: Tensor | None = None

    def __post_init__(self) -> None:
        if self.image.dtype != torch.float32 or self.image.dim() != 2:
            raise TypeError(
                f"Background: image is {self.image.dtype} {tuple(self.image.shape)}; expected float32 (H, W)"
            )
        if self.scaling not in ("least-squares", "robust", "fixed"):
            raise ValueError(
                f"Background: found scaling {self.scaling!r}; expected 'least-squares', 'robust' or 'fixed'"
            )
        if self.fit is not None and (self.fit.dtype != torch.bool or self.fit.shape != self.image.shape):
            raise ValueError(
                f"Background: fit is {self.fit.dtype} {tuple(self.fit.shape)}; expected bool {tuple(self.image.shape)}"
            )

    def to(self, device: torch.device | str) -> Self:
        """The same with its tensors on a device."""
        return replace(self, image=self.image.to(device), fit=None if self.fit is None else self.fit.to(device))


def background_scale(values: Tensor, good: Tensor, image: Tensor, fit: Tensor, scaling: Scaling) -> Tensor:
    """Scale ``(n,)`` of the background in each frame; NaN where no pixel of the fit is good.

    Parameters
    ----------
    values : Tensor of float32, (n, H, W)
    good : Tensor of bool, (n, H, W)
    image : Tensor of float32, (H, W)
        Finite wherever ``fit``.
    fit : Tensor of bool, (H, W)
    scaling
        As in `Background`.
    """
    if scaling == "fixed":
        return values.new_ones(len(values))
    background = torch.where(fit, image, 0).flatten()
    flat, usable = values.flatten(1), good.flatten(1)
    if scaling == "robust":
        chosen = torch.nonzero(background)[:, 0]
        chosen = chosen[:: max(1, -(-len(chosen) // _MAX_SORTED))]
        some, picked = flat.index_select(1, chosen), usable.index_select(1, chosen)
        rough = _least_deviations(some, picked, background[chosen])[:, None]
        spread = GAUSSIAN_MAD * row_median(*sorted_rows((some - rough * background[chosen]).abs(), picked))
        usable = usable & ((flat - rough * background).abs() <= _CLIP * spread[:, None])
    # Values that are not good may be infinite or NaN, and 0 times them is NaN.
    numerator = _dots(torch.where(usable, flat, 0), background)
    denominator = _dots(usable.to(values.dtype), background.square())
    return torch.where(denominator > 0, numerator / denominator, torch.nan)


def _dots(rows: Tensor, vector: Tensor) -> Tensor:
    """Product of each row with the vector, the same bits whatever the batch.

    A product of all at once would round differently for another batch; and a library's dot product does so, on some
    processors, for a row that begins elsewhere in a cache line.
    """
    return torch.stack([(row * vector).sum() for row in rows])


def _least_deviations(values: Tensor, usable: Tensor, background: Tensor) -> Tensor:
    """The s of each row that minimises sum |v - s b|: the median of v / b, each with weight |b|."""
    if not len(background):
        return values.new_full((len(values),), torch.nan)
    ratio = torch.where(usable, values / background, torch.inf)
    ordered, order = ratio.sort(dim=-1)
    weight = torch.where(usable, background.abs(), 0).gather(-1, order).double().cumsum(-1)
    half = (weight >= weight[:, -1:] / 2).int().argmax(dim=-1, keepdim=True)
    return ordered.gather(-1, half)[:, 0]
