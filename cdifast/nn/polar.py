"""Polar resampling as a layer."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from cdifast import ops
from cdifast.ops.polar import Interpolation


class PolarResample(nn.Module):
    """Unwrap images into (radius, angle) maps: :func:`cdifast.ops.polar_resample` as a layer.

    Parameters
    ----------
    n_radial, n_angular : int
        Size of the map.
    center : pair of float, optional
        ``(y, x)`` in pixels; default the middle of the image.
    r_min, r_max, interpolation, fill
        As for the operator.
    mask : Tensor of bool, shape (H, W), optional
        True where a pixel is good. Kept as a buffer: it moves with the module and is saved with its state.

    Examples
    --------
    >>> PolarResample(112, 224)(torch.rand(8, 1, 224, 224)).shape
    torch.Size([8, 1, 112, 224])
    """

    mask: Tensor | None

    def __init__(
        self,
        n_radial: int,
        n_angular: int,
        *,
        center: tuple[float, float] | None = None,
        r_min: float = 0.0,
        r_max: float | None = None,
        mask: Tensor | None = None,
        interpolation: Interpolation = "bilinear",
        fill: float = 0.0,
    ) -> None:
        super().__init__()
        self.n_radial = n_radial
        self.n_angular = n_angular
        self.options: dict[str, Any] = {
            "center": center,
            "r_min": r_min,
            "r_max": r_max,
            "interpolation": interpolation,
            "fill": fill,
        }
        self.register_buffer("mask", mask)

    def forward(self, images: Tensor) -> Tensor:
        return ops.polar_resample(images, self.n_radial, self.n_angular, mask=self.mask, **self.options)

    def extra_repr(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.items() if value is not None)
        return f"{self.n_radial}, {self.n_angular}, {options}, mask={'yes' if self.mask is not None else 'no'}"
