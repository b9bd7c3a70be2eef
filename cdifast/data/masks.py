"""Pixel masks: every convention that comes in, one that goes on (True = good pixel)."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import FrameError, describe

CXI_BITS: Final[dict[str, int]] = {
    "invalid": 0x1,
    "saturated": 0x2,
    "hot": 0x4,
    "dead": 0x8,
    "shadowed": 0x10,
    "to be ignored": 0x40,
    "bad": 0x80,
    "missing": 0x200,
    "noisy": 0x400,
}
"""The CXI mask bits that make a pixel bad.

The other bits of the format describe a pixel without condemning it: 0x20 in a peak, 0x100 outside the
resolution limits, 0x800 artefact corrected, 0x1000 has signal above background.
"""

CXI_BAD: Final[int] = sum(CXI_BITS.values())
"""All of `CXI_BITS` together."""


class MaskRule(NamedTuple):
    """Which bits of an integer mask make a pixel bad.

    Attributes
    ----------
    bad : int
        Those bits.
    name : str
        The rule, for people to read.
    """

    bad: int
    name: str

    def good(self, mask: NDArray[Any], *, place: str) -> NDArray[np.bool_]:
        """Where no such bit is set.

        Raises
        ------
        FrameError
            Negative values.
        """
        if mask.dtype.kind == "i" and (mask < 0).any():
            raise FrameError(f"{place}: found negative values in an integer mask; expected {self.name}")
        return (mask & mask.dtype.type(self.bad & np.iinfo(mask.dtype).max)) == 0


CXI_RULE: Final = MaskRule(CXI_BAD, "CXI bits, 0 = good")

CHEETAH_RULE: Final = MaskRule(CXI_BAD | 0x1000, "Cheetah bits, 0 = good")
"""As CXI's, but 0x1000 is a failed correction of an artefact there (and 0x400 the halo of a bad pixel)."""

ANY_BIT_RULE: Final = MaskRule((1 << 64) - 1, "any bit = bad")
"""European XFEL: each bit gives a reason to doubt the pixel."""


class PixelMask(NamedTuple):
    """A mask as all of the package uses it.

    Attributes
    ----------
    good : ndarray of bool, (H, W)
        True = good pixel.
    why : str
        Where it came from, the rule that was used and how many pixels are bad, for people to read.
    warning : str
        What looks wrong about it, as one sentence with its place; empty when nothing does.
    """

    good: NDArray[np.bool_]
    why: str
    warning: str = ""


def check_mask_shape(found: tuple[int, ...], dtype: Any, shape: tuple[int, int], *, place: str) -> None:
    """Refuse a mask that is not one of ``shape`` (H, W) for all frames, of booleans or integers.

    Raises
    ------
    FrameError
        Another shape than the frames', a mask for each frame, or another type.
    """
    text = describe(found, dtype)
    if len(found) == 3 and found[1:] == shape and found[0] != 1:
        raise FrameError(
            f"{place}: found {text}, a mask for each frame; expected one of shape {shape} for all: pass one with mask="
        )
    if found not in (shape, (1, *shape)):
        raise FrameError(f"{place}: found a mask {text}; the frames are {shape}: both must have one shape")
    if np.dtype(dtype).kind not in "bui":
        raise FrameError(f"{place}: found a mask {text}; expected booleans (True = good) or CXI bits as integers")


def good_pixels(
    mask: NDArray[Any], shape: tuple[int, int], *, name: str = "mask", place: str = "mask", bits: MaskRule = CXI_RULE
) -> PixelMask:
    """Turn a mask of any convention into good pixels.

    The rule, in this order:

    1. an array called ``bad_pixels``: nonzero = bad;
    2. an array called ``good``: nonzero = good;
    3. booleans: True = good (as in `Frames.mask`; beware that `numpy.ma` means the opposite);
    4. integers: the bits of the CXI format, 0 = good (`CXI_BITS`). Zeros and ones that make most pixels bad come
       with a warning: someone may have meant 1 = good.

    Parameters
    ----------
    mask : ndarray, (H, W) or (1, H, W)
        Booleans or integers.
    shape : tuple of int
        ``(H, W)`` of the frames.
    name : str
        The array's name, for rules 1 and 2; a path counts by its last part.
    place : str
        What error messages call it: file and data set, or the argument.
    bits : MaskRule
        For rule 4: another convention than CXI's.

    Returns
    -------
    PixelMask
        ``why`` holds the rule and the count; the caller knows where the mask came from.

    Raises
    ------
    FrameError
        Another shape than the frames', a mask per frame, or neither booleans nor integers.
    """
    check_mask_shape(mask.shape, mask.dtype, shape, place=place)
    mask = mask.reshape(shape)
    match name.rsplit("/", 1)[-1]:
        case "bad_pixels":
            good, rule = mask == 0, "nonzero = bad"
        case "good":
            good, rule = mask != 0, "nonzero = good"
        case _ if mask.dtype.kind == "b":
            good, rule = mask.copy(), "True = good"
        case _:
            good, rule = bits.good(mask, place=place), bits.name
    bad = good.size - int(np.count_nonzero(good))
    why = f"{rule}; {bad} of {good.size} pixels bad ({100 * bad / good.size:.1f} %)"
    warning = ""
    if rule == bits.name and 2 * bad > good.size and mask.max() == 1:
        doubt = "most pixels are bad: if 1 means good here, pass booleans or an array called 'good'"
        why, warning = f"{why}; {doubt}", f"{place}: {doubt} ({bad} of {good.size} are 1)"
    return PixelMask(np.ascontiguousarray(good), why, warning)


def cxi_bits(mask: NDArray[Any], shape: tuple[int, int], *, place: str = "mask") -> NDArray[np.uint32]:
    """A mask as the CXI format stores it, uint32: 0 good, 0x80 bad for booleans, integers as they are.

    Raises
    ------
    FrameError
        As `good_pixels`.
    """
    good = good_pixels(mask, shape, place=place).good
    if mask.dtype.kind == "b":
        return np.where(good, 0, CXI_BITS["bad"]).astype(np.uint32)
    return mask.reshape(shape).astype(np.uint32)
