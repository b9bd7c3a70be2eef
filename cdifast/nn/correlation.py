"""The correlation map as a layer, and its scaling as a network's input."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from cdifast import ops
from cdifast.ops.correlation import Normalize, Part

Scaling = Literal["none", "log", "minmax"]


def scale_triangles(maps: Tensor, scaling: Scaling = "minmax") -> Tensor:
    """Scale the two triangles of correlation maps, each on its own, for use as a network's input.

    The zero-lag half is larger than the order-n half by orders of magnitude (P1, section 5.3, shows each with its own
    colours); as one image the latter would vanish.

    Parameters
    ----------
    maps : Tensor, shape (..., n_radial, n_radial)
        From :func:`cdifast.ops.correlation_map`; finite.
    scaling : {"minmax", "log", "none"}
        "minmax" maps each triangle of each map to [0, 1], a constant one to 0. "log" takes ``sign(C) log(1 + |C|/s)``
        first, with s the median magnitude of the triangle's cells that are not 0, then does the same: patterns fall
        by orders of magnitude from the inner rings to the outer ones, and the mean would speak for the inner alone.

    Returns
    -------
    Tensor
        Like ``maps``.

    Raises
    ------
    ValueError
        If the maps are not square or the scaling is unknown.
    """
    if maps.dim() < 2 or maps.shape[-1] != maps.shape[-2]:
        raise ValueError(f"scale_triangles: maps must have shape (..., n, n), got {tuple(maps.shape)}")
    if scaling not in ("none", "log", "minmax"):
        raise ValueError(f'scale_triangles: scaling must be "none", "log" or "minmax", got {scaling!r}')
    if scaling == "none" or maps.numel() == 0:
        return maps
    # Half precision cannot hold the range of a map before it is scaled.
    values = maps.to(torch.promote_types(maps.dtype, torch.float32))
    lower = torch.ones(maps.shape[-2:], dtype=torch.bool, device=maps.device).tril()
    scaled = _scaled_triangle(values, lower, scaling)
    if maps.shape[-1] > 1:  # a 1 x 1 map has no upper triangle
        scaled = torch.where(lower, scaled, _scaled_triangle(values, ~lower, scaling))
    return scaled.to(maps.dtype)


def _scaled_triangle(maps: Tensor, triangle: Tensor, scaling: Scaling) -> Tensor:
    """Maps scaled by the values of one triangle; what stands outside it means nothing."""
    if scaling == "log":
        nonzero = torch.where(triangle & (maps != 0), maps.abs(), torch.nan)
        size = nonzero.flatten(-2).nanmedian(dim=-1).values[..., None, None].nan_to_num(1.0)
        maps = maps.sign() * torch.log1p(maps.abs() / size)
    low = torch.where(triangle, maps, torch.inf).amin((-2, -1), keepdim=True)
    high = torch.where(triangle, maps, -torch.inf).amax((-2, -1), keepdim=True)
    return (maps - low) / torch.where(high > low, high - low, 1)


class CorrelationMap(nn.Module):
    """Merged correlation maps of unwrapped images: :func:`cdifast.ops.correlation_map` as a layer.

    Parameters
    ----------
    order, part, normalize, fill, min_weight
        As for the operator.
    scaling : {"none", "log", "minmax"}
        See :func:`scale_triangles`.

    Examples
    --------
    >>> maps = torch.nn.Sequential(PolarResample(112, 224), CorrelationMap(scaling="log"))
    >>> maps(torch.rand(8, 1, 224, 224)).shape
    torch.Size([8, 1, 112, 112])
    """

    def __init__(
        self,
        *,
        order: int = 8,
        part: Part = "real",
        normalize: Normalize = "none",
        fill: float = 0.0,
        min_weight: float = 0.05,
        scaling: Scaling = "none",
    ) -> None:
        super().__init__()
        self.order = order
        self.part: Part = part
        self.normalize: Normalize = normalize
        self.fill = fill
        self.min_weight = min_weight
        self.scaling: Scaling = scaling

    def forward(self, unwrapped: Tensor, weight: Tensor | None = None) -> Tensor:
        maps = ops.correlation_map(
            unwrapped,
            order=self.order,
            part=self.part,
            weight=weight,
            normalize=self.normalize,
            fill=self.fill,
            min_weight=self.min_weight,
        )
        return scale_triangles(maps, self.scaling)

    def extra_repr(self) -> str:
        return f"order={self.order}, part={self.part!r}, normalize={self.normalize!r}, scaling={self.scaling!r}"
