"""The angular correlation function as a layer."""

from __future__ import annotations

from torch import Tensor, nn

from cdifast import ops
from cdifast.ops.angular import Pairs


class AngularCorrelation(nn.Module):
    """Angular correlation of pairs of rings at all lags: :func:`cdifast.ops.angular_correlation` as a layer.

    Parameters
    ----------
    pairs : {"all", "diagonal"} or int64 Tensor of shape (P, 2)
        As for the operator. A tensor is kept as a buffer: it moves with the module and is saved with its state.
    fill, min_weight
        As for the operator.

    Examples
    --------
    >>> layers = torch.nn.Sequential(PolarResample(16, 64), AngularCorrelation(pairs="diagonal"))
    >>> layers(torch.rand(8, 1, 224, 224)).shape
    torch.Size([8, 1, 16, 64])
    """

    pair_list: Tensor | None

    def __init__(self, *, pairs: Pairs | Tensor = "all", fill: float = 0.0, min_weight: float = 0.05) -> None:
        super().__init__()
        self.pairs: Pairs | None = None if isinstance(pairs, Tensor) else pairs
        self.register_buffer("pair_list", pairs if isinstance(pairs, Tensor) else None)
        self.fill = fill
        self.min_weight = min_weight

    def forward(self, unwrapped: Tensor, weight: Tensor | None = None) -> Tensor:
        pairs = self.pair_list if self.pairs is None else self.pairs
        assert pairs is not None
        return ops.angular_correlation(
            unwrapped, pairs=pairs, weight=weight, fill=self.fill, min_weight=self.min_weight
        )

    def extra_repr(self) -> str:
        pairs = repr(self.pairs) if self.pair_list is None else f"{len(self.pair_list)} given"
        return f"pairs={pairs}, fill={self.fill}, min_weight={self.min_weight}"
