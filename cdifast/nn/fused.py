"""Correlation maps straight from detector frames as a layer."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from cdifast import ops

from .correlation import Scaling, scale_triangles


class PolarCorrelationMap(nn.Module):
    """Merged correlation maps of detector frames: :func:`cdifast.ops.polar_correlation_map` as a layer.

    Parameters
    ----------
    n_radial, n_angular : int
        Size of the unwrapped map in between.
    mask : Tensor of bool, shape (H, W), optional
        True where a pixel is good. Kept as a buffer: it moves with the module and is saved with its state.
    scaling : {"none", "log", "minmax"}
        See :func:`cdifast.nn.scale_triangles`.
    **options
        The operator's other options: center, r_min, r_max, interpolation, order, part, normalize, fill, min_weight.

    Raises
    ------
    TypeError
        If an option is not one of these.

    Examples
    --------
    >>> PolarCorrelationMap(112, 224, scaling="log")(torch.rand(8, 1, 224, 224)).shape
    torch.Size([8, 1, 112, 112])
    """

    mask: Tensor | None

    OPTIONS = frozenset(
        {"center", "r_min", "r_max", "interpolation", "order", "part", "normalize", "fill", "min_weight"}
    )

    def __init__(
        self,
        n_radial: int,
        n_angular: int,
        *,
        mask: Tensor | None = None,
        scaling: Scaling = "none",
        **options: Any,
    ) -> None:
        super().__init__()
        if unknown := sorted(set(options) - self.OPTIONS):
            raise TypeError(f"PolarCorrelationMap: unknown options {unknown}; expected some of {sorted(self.OPTIONS)}")
        self.n_radial = n_radial
        self.n_angular = n_angular
        self.scaling: Scaling = scaling
        self.options = options
        self.register_buffer("mask", mask)

    def forward(self, images: Tensor) -> Tensor:
        maps = ops.polar_correlation_map(images, self.n_radial, self.n_angular, mask=self.mask, **self.options)
        return scale_triangles(maps, self.scaling)

    def extra_repr(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        mask = "yes" if self.mask is not None else "no"
        return f"{self.n_radial}, {self.n_angular}{options}, scaling={self.scaling!r}, mask={mask}"
