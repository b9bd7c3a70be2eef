"""The way back from unwrapped maps as a layer."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from cdifast import ops
from cdifast.ops.polar import Interpolation


class CartesianResample(nn.Module):
    """Resample (radius, angle) maps to detector images: :func:`cdifast.ops.cartesian_resample` as a layer.

    Parameters
    ----------
    height, width : int
        Size of the images.
    center : pair of float, optional
        ``(y, x)`` in pixels; default the middle of the image.
    r_min, r_max, interpolation, fill
        As for the operator.

    Examples
    --------
    >>> CartesianResample(65, 65)(torch.rand(8, 1, 32, 64)).shape
    torch.Size([8, 1, 65, 65])
    """

    def __init__(
        self,
        height: int,
        width: int,
        *,
        center: tuple[float, float] | None = None,
        r_min: float = 0.0,
        r_max: float | None = None,
        interpolation: Interpolation = "bilinear",
        fill: float = 0.0,
    ) -> None:
        super().__init__()
        self.height = height
        self.width = width
        self.options: dict[str, Any] = {
            "center": center,
            "r_min": r_min,
            "r_max": r_max,
            "interpolation": interpolation,
            "fill": fill,
        }

    def forward(self, unwrapped: Tensor) -> Tensor:
        return ops.cartesian_resample(unwrapped, self.height, self.width, **self.options)

    def extra_repr(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.items() if value is not None)
        return f"{self.height}, {self.width}, {options}"
