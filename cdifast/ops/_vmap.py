"""Moving the mapped dimension of ``torch.func.vmap`` to the front, for every operator's vmap rule."""

from __future__ import annotations

from torch import Tensor


def batch_first(tensor: Tensor, dim: int | None, batch: int) -> Tensor:
    """``tensor`` with the mapped dimension first; expanded to it where the tensor is not mapped."""
    return tensor.unsqueeze(0).expand(batch, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
