"""What is in some frames, in a few lines: ``cdifast info``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .frames import Frames
from .photon_energy import ELECTRON_VOLT


def summarize(frames: Frames, sample: int = 32) -> dict[str, str]:
    """Describe frames for people: layout, size, mask, labels, energy, event keys, and the values of an even sample.

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
    if frames.masks_differ:
        text["mask"] += "; each frame has its own"
    text["energy"] = _energy(frames.energy)
    text["event keys"] = _events(frames.events)
    if frames.labels is None:
        text["labels"] = "none"
    else:
        sums = frames.labels.sum(axis=0)
        text["labels"] = ", ".join(f"{name} {n}" for name, n in zip(frames.class_names, sums, strict=True) if n)
    chosen = np.unique(np.linspace(0, count - 1, min(sample, count)).round().astype(np.int64))
    images = frames[chosen]
    good = frames.read_mask(chosen, images=images) if frames.masks_differ else frames.mask
    text[f"values of {len(chosen)} frames"] = _values(images, good)
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


def _events(events: NDArray[np.void]) -> str:
    """First and last value of each key beyond file and index."""
    names = [name for name in events.dtype.names or () if name not in ("file", "index")]
    found = []
    for name in names:
        first, last = (
            value.decode(errors="replace") if isinstance(value, bytes) else str(value)
            for value in (events[name][0], events[name][-1])
        )
        found.append(f"{name} {first}" if first == last else f"{name} {first} to {last}")
    return ", ".join(found) or "file and index alone"


def _values(images: NDArray[Any], mask: NDArray[np.bool_] | None) -> str:
    if mask is None:
        values = images.astype(np.float64)
    else:
        values = images[mask if mask.ndim == 3 else np.s_[:, mask]].astype(np.float64)
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
