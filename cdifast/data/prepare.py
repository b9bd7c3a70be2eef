"""From detector frames to network input: masked area average, padding to a square, scaling; or correlation maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike

from .arguments import as_frames, as_mask
from .finite import check_finite
from .frames import Frames
from .map_input import KIND, MapPreparation, MapPreparer
from .resize import Filter, Resizer

Scaling = Literal["mean", "minmax", "none"]


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
        (P1, where the log activation alone compresses them). ``"minmax"``: the valid pixels of each image are
        shifted and scaled to [0, 1] (P2). The last two ignore `level`.
    level
        Mean |value| after scaling. The log activation is linear below 1/e and logarithmic above. The
        envelope of a hard sphere's pattern falls as q^-4; behind a hole of a sixth of the detector's
        radius its outermost ring has 1/36 of the mean intensity. The default 10 puts that ring near 1/e,
        so that the logarithm acts on the whole pattern and not on the inner rings alone.
    min_weight
        An output pixel with less than this share of good input pixels is 0, otherwise it is the mean of
        the good ones.
    filter
        What the mean is over: ``"box"`` (default), the cell of the output pixel; ``"triangle"``, weights that
        fall linearly over twice its width. Both keep finer structure than an output pixel from aliasing; the box
        is sharper and keeps photon counts apart, the triangle is what DALI has. See `cdifast.data.resize`.
    """

    size: int = 224
    scaling: Scaling = "mean"
    level: float = 10.0
    min_weight: float = 0.5
    filter: Filter = "box"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size: found {self.size}, expected at least 1")
        if self.scaling not in ("mean", "minmax", "none"):
            raise ValueError(f"scaling: found {self.scaling!r}, expected 'mean', 'minmax' or 'none'")
        if not self.level > 0:
            raise ValueError(f"level: found {self.level}, expected a positive number")
        if not 0 < self.min_weight <= 1:
            raise ValueError(f"min_weight: found {self.min_weight}, expected 0 < min_weight <= 1")
        if self.filter not in ("box", "triangle"):
            raise ValueError(f"filter: found {self.filter!r}, expected 'box' or 'triangle'")

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
    preparation: Preparation | None = None,
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
        pixels are good. Of `Frames` whose masks differ, ``None`` or their ``mask`` is each frame's own.
    preparation
        Size and scaling, or `MapPreparation`; None: `InputPreparation()`.
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
    good = None if mask is None else as_mask(mask)
    if good is not None and good.ndim == 3 and len(good) != count:
        raise ValueError(f"mask: found {len(good)} masks for {count} frames, expected as many or one")
    inputs = torch.empty(count, 1, preparation.size, preparation.size)
    named = source if isinstance(source, Frames) else None
    own = named if named is not None and named.masks_differ and (mask is None or mask is named.mask) else None
    preparer = None
    for start in range(0, count, chunk):
        stop = min(start + chunk, count)
        raw = source[start:stop]
        frames = as_frames(raw)
        if own is not None:
            good = own.read_mask(slice(start, stop), images=np.asarray(raw))
            preparer = _preparer_of(frames, good, preparation, device)
        elif preparer is None or (good is not None and good.ndim == 3):
            part = good[start:stop] if good is not None and good.ndim == 3 else good
            preparer = _preparer_of(frames, part, preparation, device)
        inputs[start:stop] = preparer.checked(frames, start, named)
        if progress is not None:
            progress(stop, count)
    return inputs


def prepare_batch(
    frames: ArrayLike | torch.Tensor,
    mask: ArrayLike | None = None,
    preparation: Preparation | None = None,
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
    values = as_frames(frames)
    return _preparer_of(values, mask, preparation or InputPreparation(), device).checked(values, first_index, source)


class Preparer:
    """What `prepare_batch` does to frames of one shape under one mask, with all that depends on these made once.

    Instances keep their buffers, and are for one thread at a time.

    Parameters
    ----------
    shape
        (H, W) of the frames.
    mask
        As in `prepare_frames`; with (N, H, W) only batches of N frames can be prepared.
    preparation
        Size, filter and scaling.
    device
        Where it is done.
    resizer
        Of another one for the same shape, whose buffers to use.

    Attributes
    ----------
    valid : torch.Tensor
        (1 or N, S, S) bool on `device`: where an image holds data.
    all_valid : bool
        Whether that is everywhere.
    bad : torch.Tensor or None
        (1 or N, H, W) bool on `device`: pixels that count as 0; None: none.
    inverse_weight : torch.Tensor
        (1 or N, S, S) float32: what makes means of the sums over good pixels; 0 where not valid.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        mask: ArrayLike | None,
        preparation: InputPreparation,
        device: str | torch.device = "cpu",
        resizer: Resizer | None = None,
    ) -> None:
        good = torch.ones(1, *shape, dtype=torch.bool) if mask is None else torch.from_numpy(as_mask(mask).copy())
        if good.shape[-2:] != shape:
            raise ValueError(f"mask: found shape {tuple(good.shape)}, expected {shape} or (N, {shape[0]}, {shape[1]})")
        good = good if good.dim() == 3 else good[None]
        self.preparation = preparation
        self.resizer = resizer or Resizer(shape[0], shape[1], preparation.size, preparation.filter, device)
        self.bad = None if bool(good.all()) else ~good.to(device)
        weight = self.resizer(good)
        # The float32 sums of a fully covered cell may fall short of 1 by rounding.
        self.valid = weight >= preparation.min_weight - 1e-5
        self.all_valid = bool(self.valid.all())
        self.inverse_weight = torch.where(self.valid, 1 / weight, 0)
        self._whole = self.bad is None and shape[0] == shape[1]
        self._count = self.valid.sum(dim=(1, 2), keepdim=True).clamp_min(1)

    def checked(
        self, frames: ArrayLike | torch.Tensor, first_index: int = 0, source: Frames | None = None
    ) -> torch.Tensor:
        """Turn frames (N, H, W) into images (N, 1, S, S); a `FrameError` names the first with a NaN or infinity."""
        values = as_frames(frames)
        images = self(values)
        if values.is_floating_point() and not torch.isfinite(images).all():
            # Products carry a NaN or infinity of any good pixel into the images; only then is it worth looking for.
            good = None if self.bad is None else ~self.bad.cpu().numpy()
            check_finite(values.to("cpu", torch.float32), good, first_index, source)
        return images

    def __call__(self, frames: torch.Tensor) -> torch.Tensor:
        """Turn frames (N, H, W) into images (N, 1, S, S) float32; a NaN in a good pixel makes NaN."""
        images = self.resizer(frames, self.bad)
        if not self._whole:
            images.mul_(self.inverse_weight)
        return self.scale(images)[:, None]

    def scale(self, images: torch.Tensor) -> torch.Tensor:
        """Scale images (N, S, S), in place, as the preparation says."""
        if self.preparation.scaling == "mean":
            mean = images.abs().sum(dim=(1, 2), keepdim=True) / self._count
            # An image without any signal has no scale: it stays zero.
            images.mul_(torch.where(mean > 0, self.preparation.level / mean, 0))
        elif self.preparation.scaling == "minmax":
            low = images.masked_fill(~self.valid, torch.inf).amin(dim=(1, 2), keepdim=True)
            high = images.masked_fill(~self.valid, -torch.inf).amax(dim=(1, 2), keepdim=True)
            span = high - low
            images.sub_(low).mul_(torch.where(span > 0, 1 / span, 0)).masked_fill_(~self.valid, 0)
        return images


Preparation = InputPreparation | MapPreparation
"""How frames become network input: images, or correlation maps."""


def preparation_of(card_input: dict[str, Any]) -> Preparation:
    """What a weights' card says of its input (`ModelCard.input`), the inverse of either `to_dict`.

    Raises
    ------
    ValueError
        Nothing is said, or something that this version does not know.
    """
    if not card_input:
        raise ValueError("the card does not say how frames were prepared for training; train again")
    content = dict(card_input)
    kind = content.pop("kind", None)
    if kind is None:
        return InputPreparation.from_dict(content)
    if kind != KIND:
        raise ValueError(f"input preparation: found kind {kind!r}, expected {KIND!r} or none")
    unknown = content.keys() - {entry.name for entry in fields(MapPreparation)}
    if unknown:
        raise ValueError(f"input preparation: unknown entries {', '.join(sorted(unknown))}")
    return MapPreparation(**content)


def make_preparer(
    shape: tuple[int, int],
    mask: ArrayLike | None,
    preparation: Preparation,
    device: str | torch.device = "cpu",
    *,
    like: Preparer | MapPreparer | None = None,
) -> Preparer | MapPreparer:
    """What turns frames of one shape under one mask into network input.

    Parameters
    ----------
    shape, mask, device
        As `Preparer`.
    preparation
        Images or correlation maps.
    like
        Another one for the same shape and preparation, whose buffers are used.
    """
    if isinstance(preparation, MapPreparation):
        return MapPreparer(shape, mask, preparation, device)
    return Preparer(shape, mask, preparation, device, like.resizer if isinstance(like, Preparer) else None)


def _preparer_of(
    frames: torch.Tensor, mask: ArrayLike | None, preparation: Preparation, device: str | torch.device
) -> Preparer | MapPreparer:
    """For frames like these; with a mask (N, H, W) for these alone."""
    shape = frames.shape
    if mask is not None and np.shape(mask) not in (shape, shape[1:]) and np.ndim(mask) in (2, 3):
        raise ValueError(f"mask: found shape {np.shape(mask)}, expected {tuple(shape[1:])} or {tuple(shape)}")
    return make_preparer((shape[1], shape[2]), mask, preparation, device)
