"""Correction of raw frames, a few at a time so that a frame is read from memory once."""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple, overload

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from .background import background_scale
from .calibration import Calibration
from .common_mode import find_common_mode
from .comparisons import below, counts, finite, hide

# Pixels worked on at once: on a CPU what fits its caches, on a GPU enough to keep it busy.
_CPU_PIXELS: Final = 1 << 18
_GPU_PIXELS: Final = 1 << 25


class CorrectionTerms(NamedTuple):
    """What was found in each frame, and taken off it.

    Attributes
    ----------
    common_mode : Tensor of float32, (n, groups)
        In raw units; NaN where too few pixels were good. No columns without a common mode.
    background_scale : Tensor of float32, (n,)
        NaN where no pixel of the fit was good; 0 without a background.
    saturated : Tensor of int64, (n,)
        Otherwise good pixels at or above the saturation level.
    """

    common_mode: Tensor
    background_scale: Tensor
    saturated: Tensor


@overload
def calibrate(
    frames: Tensor | ArrayLike,
    calibration: Calibration,
    *,
    fill: float | None = ...,
    out: Tensor | None = ...,
    good_out: Tensor | None = ...,
    return_terms: Literal[False] = ...,
) -> tuple[Tensor, Tensor]: ...


@overload
def calibrate(
    frames: Tensor | ArrayLike,
    calibration: Calibration,
    *,
    fill: float | None = ...,
    out: Tensor | None = ...,
    good_out: Tensor | None = ...,
    return_terms: Literal[True],
) -> tuple[Tensor, Tensor, CorrectionTerms]: ...


def calibrate(
    frames: Tensor | ArrayLike,
    calibration: Calibration,
    *,
    fill: float | None = 0.0,
    out: Tensor | None = None,
    good_out: Tensor | None = None,
    return_terms: bool = False,
) -> tuple[Tensor, Tensor] | tuple[Tensor, Tensor, CorrectionTerms]:
    r"""Correct raw detector frames.

    .. math:: v = \frac{\text{raw} - \text{dark} - m_{g}}{\text{gain}} - s\, b

    with the common mode :math:`m_g` of the pixel's group (found from raw minus dark) and the scale s of the background
    b (found from what the other corrections leave). A part that the calibration lacks is left out.

    Parameters
    ----------
    frames : Tensor or array_like, (n, H, W) or (H, W)
        Raw frames of any real type and byte order. Computed in float32: unsigned values cannot wrap round, integers
        are exact up to 2^24.
    calibration : Calibration
        On the frames' device (:meth:`Calibration.to`).
    fill : float, optional
        Value of bad pixels, 0 by default. None: they keep what the formula gives, which for a saturated pixel is a
        lower bound; values that are not finite, and pixels that are bad in every frame, become 0.
    out : Tensor of float32, (n, H, W), optional
        Where to write the frames; contiguous. A float32 ``frames`` itself is possible.
    good_out : Tensor of bool, (n, H, W), optional
        Where to write the good pixels; contiguous.
    return_terms : bool
        Also return common modes, background scales and numbers of saturated pixels.

    Returns
    -------
    corrected : Tensor of float32, (n, H, W)
        Photons if there is a gain, else raw units. ``n`` is 1 for one frame (H, W).
    good : Tensor of bool, (n, H, W)
        False where the calibration's :attr:`Calibration.good` is, the raw value is saturated or not finite, or the
        common mode of its group or the background's scale could not be found.
    terms : CorrectionTerms
        Only with ``return_terms``.

    Raises
    ------
    TypeError
        If ``frames`` are no real numbers, or ``out`` or ``good_out`` of another type.
    ValueError
        If a shape, device or memory layout does not fit.

    Notes
    -----
    A few frames at a time go through all steps, so that each is read from memory and written to it once; apart from
    the two results the call needs a few megabytes. A frame's result does not depend on the others.
    """
    raw = as_frames(frames, "calibrate")
    shape, device = calibration.shape, raw.device
    if raw.shape[1:] != shape:
        raise ValueError(f"calibrate: frames are {tuple(raw.shape)}; the calibration is for frames of {shape}")
    if calibration.device != device:
        raise ValueError(
            f"calibrate: frames are on {device}, the calibration is on {calibration.device}; move it once with "
            "calibration.to(device)"
        )
    out = _buffer("out", out, raw, torch.float32)
    good_out = _buffer("good_out", good_out, raw, torch.bool)
    count = len(raw)
    groups = calibration.common_mode_tables[1] if calibration.common_mode is not None else 0
    terms = CorrectionTerms(
        torch.empty(count, groups, device=device),
        torch.zeros(count, device=device),
        torch.zeros(count, dtype=torch.int64, device=device),
    )
    pixels = _CPU_PIXELS if device.type == "cpu" else _GPU_PIXELS
    step = max(1, pixels // max(1, raw[0].numel() if count else 1))
    for start in range(0, count, step):
        part = slice(start, start + step)
        values, good = out.detach()[part], good_out[part]
        _correct(raw[part], calibration, fill, values, good, CorrectionTerms(*(t[part] for t in terms)))
    return (out, good_out, terms) if return_terms else (out, good_out)


def _correct(
    raw: Tensor, calibration: Calibration, fill: float | None, values: Tensor, good: Tensor, terms: CorrectionTerms
) -> None:
    """Correct a few frames into ``values``, ``good`` and ``terms``."""
    values.copy_(raw)
    good.copy_(calibration.good.expand_as(good))
    whole = not raw.is_floating_point()
    if not whole:
        good &= finite(values)
    if calibration.saturation is not None:
        before = calibration.good_count if whole else counts(good)
        good &= below(values, calibration.saturation)
        terms.saturated.copy_(before - counts(good))
    if calibration.offset is not None:
        values -= calibration.offset
    if calibration.common_mode is not None:
        _take_off_common_mode(values, good, calibration, terms.common_mode)
    if calibration.photons_per_unit is not None:
        values *= calibration.photons_per_unit
    if calibration.background is not None:
        image, fit = calibration.background_terms
        scale = background_scale(values, good, image, fit, calibration.background.scaling)
        terms.background_scale.copy_(scale)
        values -= image * scale.nan_to_num(0.0)[:, None, None]
        good &= scale.isfinite()[:, None, None]
    if fill == 0 and whole:
        hide(values, good)
    elif fill is not None:
        values.masked_fill_(~good, fill)
    else:
        values.masked_fill_(~(calibration.good & values.isfinite()), 0.0)


def _take_off_common_mode(values: Tensor, good: Tensor, calibration: Calibration, found: Tensor) -> None:
    mode = calibration.common_mode
    assert mode is not None
    tables, count = calibration.common_mode_tables
    found.copy_(find_common_mode(values, good, tables, count, mode.method, mode.min_pixels))
    # One more column for the pixels of no group, which -1 picks in torch too.
    column = torch.cat([found, found.new_zeros(len(found), 1)], dim=1)
    groups = torch.where(mode.groups >= 0, mode.groups, count).flatten()
    offset = column.index_select(1, groups).view_as(values)
    good &= offset.isfinite()
    values -= offset.nan_to_num(0.0)


def as_frames(frames: Tensor | ArrayLike, who: str) -> Tensor:
    """Frames (n, H, W) as a tensor, in shared memory if they can be; ``who`` is for messages."""
    tensor = frames if isinstance(frames, Tensor) else _from_array(frames, who)
    if tensor.is_complex() or tensor.dtype == torch.bool:
        raise TypeError(f"{who}: frames have dtype {tensor.dtype}; expected real numbers")
    if tensor.dim() == 2:
        tensor = tensor[None]
    if tensor.dim() != 3:
        raise ValueError(f"{who}: frames have shape {tuple(tensor.shape)}; expected (n, H, W)")
    return tensor.detach()


def _from_array(frames: ArrayLike, who: str) -> Tensor:
    array: Any = np.asarray(frames)
    if array.dtype.kind not in "uif":
        raise TypeError(f"{who}: frames have dtype {array.dtype}; expected real numbers")
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _buffer(name: str, given: Tensor | None, raw: Tensor, dtype: torch.dtype) -> Tensor:
    if given is None:
        return torch.empty(raw.shape, dtype=dtype, device=raw.device)
    if given.dtype != dtype:
        raise TypeError(f"calibrate: {name} has dtype {given.dtype}; expected {dtype}")
    if given.shape != raw.shape or given.device != raw.device or not given.is_contiguous():
        layout = "" if given.is_contiguous() else ", not contiguous"
        raise ValueError(
            f"calibrate: {name} is {tuple(given.shape)} on {given.device}{layout}; expected {tuple(raw.shape)} on "
            f"{raw.device}, contiguous"
        )
    return given
