"""Angular harmonics as a layer."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from cdifast import ops


class AngularHarmonics(nn.Module):
    """Fourier coefficients of rings over the angle: :func:`cdifast.ops.angular_harmonics` as a layer.

    Parameters
    ----------
    orders : sequence of int
        As for the operator.

    Examples
    --------
    >>> layers = torch.nn.Sequential(PolarResample(112, 224), AngularHarmonics([1, 2, 4, 8]))
    >>> layers(torch.rand(8, 1, 224, 224)).shape
    torch.Size([8, 1, 4, 112])
    """

    def __init__(self, orders: Sequence[int]) -> None:
        super().__init__()
        self.orders = tuple(int(order) for order in orders)

    def forward(self, unwrapped: Tensor, weight: Tensor | None = None) -> Tensor:
        return ops.angular_harmonics(unwrapped, self.orders, weight=weight)

    def extra_repr(self) -> str:
        return f"orders={self.orders}"
