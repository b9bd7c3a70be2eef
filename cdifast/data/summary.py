"""What is in some frames, in a few lines: ``cdifast info``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .frames import Frames

ELECTRON_VOLT = 1.602176634e-19
"""J (exact in the SI)."""


def summarize(frames: Frames, sample: int = 32) -> dict[str, str]:
    """Describe frames for people: layout, size, mask, labels, energy, and the values of an even sample.

    Parameters
    ----------
    frames : Frames
    sample : int
        Number of frames to read, spread evenly over the stack.

    Returns
    -------
    dict
        Heading and text, in the order to print them.

    Raises
    ------
    FrameError
        If a sampled frame cannot be read.
    """
    count, height, width = frames.shape
    text = {
        "layout": frames.layout,
        "recognised": frames.why,
        "frames": f"{count} of {height} x {width} pixels, {frames.dtype}",
        "raw size": _size(count * height * width * frames.dtype.itemsize),
        "files": str(frames.paths[0]) + (f" and {len(frames.paths) - 1} more" if len(frames.paths) > 1 else ""),
    }
    if frames.mask is None:
        text["mask"] = "none: every pixel counts"
    else:
        bad = int(frames.mask.size - np.count_nonzero(frames.mask))
        text["mask"] = f"{bad} of {frames.mask.size} pixels bad ({100 * bad / frames.mask.size:.1f} %)"
    text["energy"] = _energy(frames.energy)
    if frames.labels is None:
        text["labels"] = "none"
    else:
        sums = frames.labels.sum(axis=0)
        text["labels"] = ", ".join(f"{name} {n}" for name, n in zip(frames.class_names, sums, strict=True) if n)
    chosen = np.unique(np.linspace(0, count - 1, min(sample, count)).round().astype(np.int64))
    text[f"values of {len(chosen)} frames"] = _values(frames[chosen], frames.mask)
    return text


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def _energy(energy: NDArray[np.float64] | None) -> str:
    if energy is None or not np.isfinite(energy).any():
        return "not given"
    low, high = np.nanmin(energy), np.nanmax(energy)
    if low == high:
        return f"{low:.4g} J ({low / ELECTRON_VOLT:.4g} eV)"
    return f"{low:.4g} to {high:.4g} J ({low / ELECTRON_VOLT:.4g} to {high / ELECTRON_VOLT:.4g} eV)"


def _values(images: NDArray[Any], mask: NDArray[np.bool_] | None) -> str:
    values = images.astype(np.float64) if mask is None else images[:, mask].astype(np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        return "no finite value outside the mask"
    good = values[finite]
    text = (
        f"min {good.min():.4g}, median {np.median(good):.4g}, mean {good.mean():.4g}, "
        f"99.9 % below {np.quantile(good, 0.999):.4g}, max {good.max():.4g}"
    )
    if (good < 0).any():
        text += f"; {100 * (good < 0).mean():.1f} % negative"
    lost = values.size - good.size
    if lost:
        text += f"; {lost} values NaN or infinite outside the mask"
    return text
