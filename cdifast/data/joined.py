"""What comes with the frames of several files, as one: masks, labels, energies, event keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import FrameError
from .masks import PixelMask
from .source import FrameSource


class JoinedMask(NamedTuple):
    """The masks of several files.

    Attributes
    ----------
    common : PixelMask or None
        The one that all files have; None where there is none, or where frames differ.
    differ : bool
        Whether good pixels differ from frame to frame.
    """

    common: PixelMask | None
    differ: bool


def joined_mask(sources: Sequence[FrameSource]) -> JoinedMask:
    """One mask for all, or that frames have their own.

    Files with a single frame each may differ: a shot's mask is then its own.

    Raises
    ------
    FrameError
        Stacks whose masks, one for each file, disagree.
    """
    if any(source.own_masks for source in sources):
        return JoinedMask(None, True)
    first = sources[0].read_mask()
    single = all(source.shape[0] == 1 for source in sources)
    # One at a time: thousands of files with a megapixel mask each would fill the memory.
    for source in sources[1:]:
        found = source.read_mask()
        same = (found is None) == (first is None)
        if same and found is not None and first is not None:
            same = np.array_equal(found.good, first.good)
        if not same and single:
            return JoinedMask(None, True)
        if not same:
            raise FrameError(
                f"its mask differs from that of {sources[0].path}: give the one for the stack with mask=",
                path=source.path,
            )
    return JoinedMask(first, False)


def joined_labels(sources: Sequence[FrameSource]) -> tuple[NDArray[np.uint8] | None, str]:
    """Labels where all files have them, and a note."""
    found = [labels for source in sources if (labels := source.read_labels()) is not None]
    if len(found) == len(sources):
        return np.concatenate(found), "labels from the files"
    if found:
        return None, f"labels left out: only {len(found)} of {len(sources)} files have them"
    return None, ""


def joined_energy(sources: Sequence[FrameSource]) -> NDArray[np.float64] | None:
    """Photon energies in joules, NaN for the frames of files without; None where no file has them."""
    found = [source.read_energy() for source in sources]
    if all(energy is None for energy in found):
        return None
    return np.concatenate(
        [
            np.full(source.shape[0], np.nan) if energy is None else energy
            for source, energy in zip(sources, found, strict=True)
        ]
    )


def joined_events(sources: Sequence[FrameSource]) -> NDArray[np.void]:
    """Keys of each frame as a structured array: ``file``, ``index``, and those that every file has.

    Numbers of different types are widened, names to the longest; where one file has numbers and another names,
    the key is left out.
    """
    found = [source.read_events() for source in sources]
    fields: list[tuple[str, Any]] = [("file", np.int32), ("index", np.int64)]
    for key in found[0]:
        kinds = [keys[key].dtype for keys in found if key in keys]
        if len(kinds) == len(found) and len({kind.kind == "S" for kind in kinds}) == 1:
            kind = np.result_type(*kinds)
            # NumPy's common type of signed and unsigned 64-bit integers is a float, which is no key.
            whole = all(one.kind in "ui" for one in kinds)
            fields.append((key, np.dtype(np.int64) if whole and kind.kind == "f" else kind))
    counts = [source.shape[0] for source in sources]
    events = np.empty(sum(counts), dtype=fields)
    starts = np.cumsum([0, *counts])
    for number, (start, count) in enumerate(zip(starts.tolist(), counts, strict=False)):
        part = events[start : start + count]
        part["file"] = number
        part["index"] = np.arange(count)
        for key, _ in fields[2:]:
            part[key] = found[number][key]
    return events
