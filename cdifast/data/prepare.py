"""From detector frames to network input: masked area average, padding to a square, scaling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from .finite import check_finite
from .frames import Frames

Scaling = Literal["mean", "none"]


class FrameSource(Protocol):
    """Anything with a length whose slices are stacks of frames: an array, an HDF5 data set, `Frames`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice, /) -> ArrayLike: ...


@dataclass(frozen=True)
class InputPreparation:
    """How frames become network input; stored on the weights' card so that prediction does the same.

    Attributes
    ----------
    size
        Side S of the square input in pixels (P1: 224).
    scaling
        ``"mean"`` (default): each image is divided by the mean |value| of its valid pixels and multiplied
        by `level`, so that the photon fluence of the shot drops out. ``"none"``: values stay as recorded
        (P1, where the log activation alone compresses them); `level` is then ignored.
    level
        Mean |value| after scaling. The log activation is linear below 1/e and logarithmic above. The
        envelope of a hard sphere's pattern falls as q^-4; behind a hole of a sixth of the detector's
        radius its outermost ring has 1/36 of the mean intensity. The default 10 puts that ring near 1/e,
        so that the logarithm acts on the whole pattern and not on the inner rings alone.
    min_weight
        An output pixel with less than this share of good input pixels is 0, otherwise it is the mean of
        the good ones.
    """

    size: int = 224
    scaling: Scaling = "mean"
    level: float = 10.0
    min_weight: float = 0.5

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size: found {self.size}, expected at least 1")
        if self.scaling not in ("mean", "none"):
            raise ValueError(f"scaling: found {self.scaling!r}, expected 'mean' or 'none'")
        if not self.level > 0:
            raise ValueError(f"level: found {self.level}, expected a positive number")
        if not 0 < self.min_weight <= 1:
            raise ValueError(f"min_weight: found {self.min_weight}, expected 0 < min_weight <= 1")

    def to_dict(self) -> dict[str, Any]:
        """As JSON-serialisable dictionary."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> InputPreparation:
        """Inverse of `to_dict`; a ValueError names entries that this version does not know."""
        unknown = content.keys() - {entry.name for entry in fields(cls)}
        if unknown:
            raise ValueError(f"input preparation: unknown entries {', '.join(sorted(unknown))}")
        return cls(**content)


def prepare_frames(
    source: FrameSource,
    mask: ArrayLike | None = None,
    preparation: InputPreparation | None = None,
    *,
    chunk: int = 64,
    device: str | torch.device = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> torch.Tensor:
    """Turn all frames of a source into network input, a chunk at a time.

    Only `chunk` raw frames are in memory at once, whatever the length of the source.

    Parameters
    ----------
    source
        Frames (N, H, W) with ``len`` and slices; any real numeric dtype.
    mask
        Good pixels, bool, True = good (as `Frames.mask`): (H, W) for all frames or (N, H, W). None: all
        pixels are good.
    preparation
        Size and scaling; None: `InputPreparation()`.
    chunk
        Frames read at once.
    device
        Where the averaging is done; the result is on the CPU.
    progress
        Called with (frames done, frames in all) after each chunk.

    Returns
    -------
    torch.Tensor
        (N, 1, S, S) float32 on the CPU.

    Raises
    ------
    ValueError
        Frames of wrong rank, a mask that fits not, or NaN or infinity in a good pixel; frame and pixel are
        named.
    TypeError
        Frames that are not real numbers, or a mask that is not bool.
    """
    preparation = preparation or InputPreparation()
    if chunk < 1:
        raise ValueError(f"chunk: found {chunk}, expected at least 1")
    count = len(source)
    good = None if mask is None else _as_mask(mask)
    if good is not None and good.ndim == 3 and len(good) != count:
        raise ValueError(f"mask: found {len(good)} masks for {count} frames, expected as many or one")
    inputs = torch.empty(count, 1, preparation.size, preparation.size)
    for start in range(0, count, chunk):
        stop = min(start + chunk, count)
        part = good[start:stop] if good is not None and good.ndim == 3 else good
        named = source if isinstance(source, Frames) else None
        inputs[start:stop] = prepare_batch(
            source[start:stop], part, preparation, device=device, first_index=start, source=named
        )
        if progress is not None:
            progress(stop, count)
    return inputs


def prepare_batch(
    frames: ArrayLike | torch.Tensor,
    mask: ArrayLike | None = None,
    preparation: InputPreparation | None = None,
    *,
    device: str | torch.device = "cpu",
    first_index: int = 0,
    source: Frames | None = None,
) -> torch.Tensor:
    """Turn one batch of frames into network input.

    A frame that is not square is centred in a square of its longer side, whose borders count as bad
    pixels: rings stay round. The square is divided into S x S equal cells; each becomes the area-weighted
    mean of its good pixels (an exact box filter, so nothing aliases), or 0 where too few are good. Bad
    pixels thus neither darken their neighbours nor leave a value behind.

    Parameters
    ----------
    frames
        (N, H, W), any real numeric dtype; computed in float32.
    mask
        As in `prepare_frames`.
    preparation
        Size and scaling; None: `InputPreparation()`.
    device
        Where the result is made and stays.
    first_index, source
        Index of the first frame and where it comes from, for error messages.

    Returns
    -------
    torch.Tensor
        (N, 1, S, S) float32 on `device`.

    Raises
    ------
    ValueError, TypeError
        As in `prepare_frames`.
    """
    preparation = preparation or InputPreparation()
    values = _as_float32(frames)
    good = _good_pixels(values, mask)
    check_finite(values.cpu(), None if mask is None else good.cpu().numpy(), first_index, source)
    values, good = values.to(device), good.to(device)
    values = torch.where(good, values, 0)
    _, height, width = values.shape
    side = max(height, width)
    rows = _cell_overlaps(height, preparation.size, side).to(device)
    columns = _cell_overlaps(width, preparation.size, side).T.to(device)
    weight = rows @ good.to(torch.float32) @ columns
    # The float32 sums of a fully covered cell may fall short of 1 by rounding.
    valid = weight >= preparation.min_weight - 1e-5
    images = torch.where(valid, rows @ values @ columns / weight.clamp_min(preparation.min_weight / 2), 0)
    if preparation.scaling == "mean":
        mean = images.abs().sum(dim=(1, 2), keepdim=True) / valid.sum(dim=(1, 2), keepdim=True).clamp_min(1)
        # An image without any signal has no scale: it stays zero.
        images = images * torch.where(mean > 0, preparation.level / mean, 0)
    return images[:, None]


@lru_cache(maxsize=16)
def _cell_overlaps(length: int, cells: int, side: int) -> torch.Tensor:
    """(cells, length) float32: share of each cell of a line of `side` pixels that each pixel covers.

    The `length` pixels lie centred in the line, so the rows of the outer cells may sum to less than 1.
    """
    edges = np.linspace(0, side, cells + 1) - (side - length) / 2
    pixels = np.arange(length)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return torch.from_numpy((np.maximum(overlap, 0) * (cells / side)).astype(np.float32))


def _as_float32(frames: ArrayLike | torch.Tensor) -> torch.Tensor:
    if isinstance(frames, torch.Tensor):
        tensor = frames
    else:
        array = np.asarray(frames)
        if array.dtype.kind not in "buif":
            raise TypeError(f"frames: found dtype {array.dtype}, expected real numbers")
        # torch has no arithmetic for some unsigned dtypes and none for foreign byte orders: NumPy converts.
        tensor = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    if tensor.is_complex():
        raise TypeError(f"frames: found dtype {tensor.dtype}, expected real numbers")
    if tensor.dim() != 3:
        raise ValueError(f"frames: found shape {tuple(tensor.shape)}, expected (N, H, W)")
    if 0 in tensor.shape[1:]:
        raise ValueError(f"frames: found shape {tuple(tensor.shape)}, frames without pixels")
    return tensor.to(torch.float32)


def _as_mask(mask: ArrayLike | torch.Tensor) -> NDArray[np.bool_]:
    array = np.asarray(mask)
    if array.dtype != np.bool_:
        raise TypeError(f"mask: found dtype {array.dtype}, expected bool with True for good pixels")
    if array.ndim not in (2, 3):
        raise ValueError(f"mask: found shape {array.shape}, expected (H, W) or (N, H, W)")
    return array


def _good_pixels(values: torch.Tensor, mask: ArrayLike | None) -> torch.Tensor:
    if mask is None:
        return torch.ones((1, *values.shape[1:]), dtype=torch.bool, device=values.device)
    good = torch.from_numpy(_as_mask(mask).copy()).to(values.device)
    if good.shape not in (values.shape[1:], values.shape):
        raise ValueError(
            f"mask: found shape {tuple(good.shape)}, expected {tuple(values.shape[1:])} or {tuple(values.shape)}"
        )
    return good if good.dim() == 3 else good[None]
