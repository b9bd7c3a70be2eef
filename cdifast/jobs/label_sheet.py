"""The shots to label next: a table to fill in and pictures of the shots, chosen by what a network is unsure of."""

from __future__ import annotations

import hashlib
import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from cdifast._atomic import whole_file
from cdifast.data import Frames, InputPreparation, read_label_table, write_label_table
from cdifast.data.hdf5 import import_h5py
from cdifast.data.prepare import Preparer
from cdifast.evaluate import PatternFeatures, label_uncertainty, most_uncertain, spread_out
from cdifast.evaluate.uncertainty import Measure

from .prediction_files import GROUP, Predictions, read_predictions
from .predictions import write_predictions
from .progress import progress_bar
from .rows import refuse_inputs

TABLE: Final = "labels.csv"
PREDICTIONS: Final = "predictions.h5"

# Shots that are looked at more closely, for each one on the sheet.
_POOL: Final = 5
_PAGE: Final = 40
_FEATURE_SIZE: Final = 96
_PICTURE_SIZE: Final = 160
_CHUNK: Final = 32


@dataclass(frozen=True)
class LabelSheet:
    """What `write_label_sheet` wrote.

    Attributes
    ----------
    table
        The CSV table to fill in (`cdifast.data.read_label_table` reads it).
    pictures
        PNG pages with the shots, in the order of the table.
    indices
        The shots, places in the stack, (n,) int64, in this order.
    uncertainty
        Of each, (n,).
    breaking_rules
        How many of them break a rule by their predicted labels.
    """

    table: Path
    pictures: tuple[Path, ...]
    indices: NDArray[np.int64]
    uncertainty: NDArray[np.float64]
    breaking_rules: int


def write_label_sheet(
    frames: Frames,
    predictions: Predictions,
    folder: str | os.PathLike[str],
    *,
    count: int = 50,
    measure: Measure = "margin",
    labelled: Sequence[str | os.PathLike[str]] = (),
    overwrite: bool = False,
    progress: bool = False,
) -> LabelSheet:
    """Choose the shots whose labels would teach a network most, and write a sheet to label them on.

    Shots whose predicted labels break a rule come first, then the most uncertain ones
    (`cdifast.evaluate.label_uncertainty`). Of five times as many of those as are asked for, the sheet takes such that
    lie far from each other and from shots that have labels, distance times uncertainty deciding
    (`cdifast.evaluate.spread_out`): two shots alike teach hardly more than one. What is alike is told by
    `PatternFeatures`, so a pattern and the same one turned count as one.

    The table ``labels.csv`` has an empty column for each class and, as hints that reading leaves out, the predicted
    labels, broken rules, uncertainty and highest probabilities. ``shots-1.png``, ... show the shots, with frame
    number and probabilities.

    Parameters
    ----------
    frames
        The stack.
    predictions
        For all of its frames.
    folder
        Made if need be.
    count
        Shots on the sheet; fewer where there are no more.
    measure
        Of the uncertainty.
    labelled
        Tables of labels already given: their shots are left out.
    overwrite
        Replace an existing sheet.
    progress
        Show a bar while frames are read.

    Returns
    -------
    LabelSheet

    Raises
    ------
    FileExistsError
        The folder has a sheet, which may hold a person's work, and `overwrite` is False.
    FrameError
        Predictions or labels of other frames; frames that cannot be read.
    ValueError
        A `count` below 1, or no shot that has no labels yet.
    ImportError
        matplotlib is missing.
    """
    folder = Path(folder)
    table = folder / TABLE
    refuse_sheet(folder, overwrite)
    if count < 1:
        raise ValueError(f"count: found {count}, expected at least 1")
    predictions.check_frames(frames, "predictions")
    done = [read_label_table(path, frames, predictions.classes).indices for path in labelled]
    known = np.unique(np.concatenate([np.empty(0, np.int64), *done]))
    uncertainty = label_uncertainty(predictions.probabilities, predictions.thresholds, measure)
    broken: NDArray[np.bool_] = np.asarray(predictions.rule_broken.any(axis=1))
    pool = most_uncertain(uncertainty, _POOL * count, first=broken, exclude=known)
    if not len(pool):
        raise ValueError(f"labelled: all {len(frames)} frames have labels, none is left for a sheet")
    features = _features(frames, np.concatenate([pool, known]), progress)
    ours, theirs = features[: len(pool)], features[len(pool) :]
    chosen = spread_out(ours, count, first=broken[pool], taken=theirs, weight=uncertainty[pool])
    indices = pool[chosen]
    folder.mkdir(parents=True, exist_ok=True)
    pictures = _draw(frames, predictions, indices, folder)
    labels, values = predictions.labels[indices], predictions.probabilities[indices]
    write_label_table(
        table,
        frames,
        indices,
        classes=predictions.classes,
        hints={
            "predicted": [_names(predictions.classes, row) for row in labels],
            "broken rules": [_names(predictions.rules, row) for row in predictions.rule_broken[indices]],
            "uncertainty": [f"{value:.3f}" for value in uncertainty[indices]],
            "probabilities": [", ".join(_highest(predictions.classes, row)) for row in values],
        },
        overwrite=overwrite,
    )
    return LabelSheet(table, pictures, indices, uncertainty[indices], int(broken[indices].sum()))


def predictions_for_sheet(
    frames: Frames,
    weights: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    device: str | torch.device = "cpu",
    progress: bool = False,
) -> Predictions:
    """A network's predictions in the sheet's folder, ``predictions.h5``: made, or used where they are there already.

    They are used if they come from the same weights and are younger than all files of the frames, and replaced
    otherwise; a run that was interrupted goes on.

    Raises
    ------
    FrameError, FileNotFoundError, ValueError
        As `write_predictions`.
    """
    path = Path(folder) / PREDICTIONS
    if path.exists() and _up_to_date(path, frames, weights):
        return read_predictions(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_predictions(frames, weights, path, device=device, overwrite=True, progress=progress)
    return read_predictions(path)


def refuse_sheet(folder: Path, overwrite: bool) -> None:
    """Refuse a folder that has a sheet, before any work is done for another one."""
    if (folder / TABLE).exists() and not overwrite:
        raise FileExistsError(
            f"{folder / TABLE}: exists already and may hold labels; choose another folder, or pass overwrite=True"
        )


def _up_to_date(path: Path, frames: Frames, weights: str | os.PathLike[str]) -> bool:
    with import_h5py().File(path) as file:
        found = file[GROUP].attrs.get("weights_sha256") if GROUP in file else None
        count = len(file[f"{GROUP}/label"]) if GROUP in file else 0
    same = found == hashlib.sha256(Path(weights).read_bytes()).hexdigest() and count == len(frames)
    return same and all(source.stat().st_mtime <= path.stat().st_mtime for source in frames.input_paths)


def _features(frames: Frames, indices: NDArray[np.int64], progress: bool) -> NDArray[np.float64]:
    """Features of some frames, scaled so that their distances mean something."""
    preparation = InputPreparation(size=min(_FEATURE_SIZE, *frames.shape[1:]))
    features = PatternFeatures()
    parts = []
    with progress_bar("comparing shots", len(indices), show=progress) as report:
        for start in range(0, len(indices), _CHUNK):
            part = indices[start : start + _CHUNK]
            images, valid = _prepared(frames, part, preparation)
            # A shot of its own mask is seen through that mask.
            several = len(valid) > 1
            parts += [features(images[k : k + 1] if several else images, valid[k]) for k in range(len(valid))]
            report(start + len(part))
    raw = np.concatenate(parts).astype(np.float64)
    raw -= raw.mean(axis=0)
    # Profile and amplitudes count alike. Feature by feature, rings without structure would have their noise blown up.
    blocks = np.split(raw, [features.n_radial], axis=1)
    spreads = [np.sqrt((block**2).sum(axis=1).mean()) for block in blocks]
    return np.concatenate([block / (spread or 1.0) for block, spread in zip(blocks, spreads, strict=True)], axis=1)


def _prepared(
    frames: Frames, indices: NDArray[np.int64], preparation: InputPreparation
) -> tuple[torch.Tensor, torch.Tensor]:
    """Some frames as images (n, 1, S, S), and which of their cells hold data, (1 or n, S, S)."""
    raw = frames.read(indices)
    good = frames.read_mask(indices, images=raw) if frames.masks_differ else frames.mask
    preparer = Preparer(frames.shape[1:], good, preparation)
    return preparer.checked(raw, source=None), preparer.valid


def _draw(frames: Frames, predictions: Predictions, indices: NDArray[np.int64], folder: Path) -> tuple[Path, ...]:
    from cdifast.report.figures import captioned_shots, png

    for stale in folder.glob("shots-*.png"):
        stale.unlink()
    preparation = InputPreparation(size=min(_PICTURE_SIZE, *frames.shape[1:]), scaling="none")
    pages = []
    for start in range(0, len(indices), _PAGE):
        part = indices[start : start + _PAGE]
        images, valid = _prepared(frames, part, preparation)
        shown = images[:, 0].masked_fill(~valid, torch.nan).numpy()
        path = folder / f"shots-{start // _PAGE + 1}.png"
        refuse_inputs(path, frames.input_paths)
        figure = captioned_shots(list(shown), [_caption(predictions, int(k)) for k in part], None, columns=5)
        with whole_file(path) as temporary:
            temporary.write_bytes(png(figure, dpi=100))
        pages.append(path)
    return tuple(pages)


def _caption(predictions: Predictions, index: int) -> str:
    lines = [f"frame {index}", *_highest(predictions.classes, predictions.probabilities[index])]
    for rule, value in zip(predictions.rules, predictions.rule_broken[index], strict=True):
        if value:
            lines += textwrap.wrap(f"broken: {rule}", 30, subsequent_indent="  ")
    return "\n".join(lines)


def _highest(classes: Sequence[str], row: NDArray[np.float32]) -> list[str]:
    """Up to four classes with the highest probabilities, as text; those below 5 % only if nothing else is there."""
    order = np.argsort(-row, kind="stable")[:4]
    return [f"{classes[k]} {row[k]:.2f}" for place, k in enumerate(order) if place == 0 or row[k] >= 0.05]


def _names(names: Sequence[str], chosen: NDArray[np.uint8]) -> str:
    return "; ".join(name for name, value in zip(names, chosen, strict=True) if value)
