"""Where a trained network looks in the frames of a stack: Grad-CAM++ from raw frames to heat maps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from cdifast.data import Frames, InputPreparation, check_finite
from cdifast.evaluate import grad_cam_plus_plus, predict_probabilities
from cdifast.nn import load_classifier

from .network_input import NetworkInput


@dataclass(frozen=True)
class Explanation:
    """Heat maps of a few frames.

    Attributes
    ----------
    probability : ndarray of float32, (n, C)
        Of every class.
    classes : ndarray of int64, (n, M)
        Which classes are explained; for each frame the most probable first, or as asked for.
    heat : Tensor of float32, (n, M, h, w)
        What speaks for each, at most 1 in magnitude (`cdifast.evaluate.grad_cam_plus_plus`).
    """

    probability: NDArray[np.float32]
    classes: NDArray[np.int64]
    heat: torch.Tensor


class Explainer:
    """Grad-CAM++ of a trained network on the frames of one stack.

    Parameters
    ----------
    weights : path
        As :func:`cdifast.train.train_classifier` writes them.
    frames : Frames
        Their shape and mask.
    classes : sequence of str, optional
        Classes to explain, in this order; None: the most probable of each frame.
    count : int
        How many, without `classes`.
    stage : int, optional
        Whose output to look at, from 1; None: the last. Earlier ones give finer maps of less specific features.
    negative_slope : float
        As for `grad_cam_plus_plus`.
    device : str or torch.device
        Where the network runs.

    Attributes
    ----------
    class_names : tuple of str
        All C classes of the weights, in the order of the logits.
    explained : int
        M, the number of classes explained for each frame.

    Raises
    ------
    FileNotFoundError
        No such weights.
    ValueError
        Weights that are damaged, of no classifier, or do not say how to prepare frames, a class that they do not know
        or that is named twice, or a count or stage out of range.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str],
        frames: Frames,
        *,
        classes: Sequence[str] | None = None,
        count: int = 3,
        stage: int | None = None,
        negative_slope: float = 0.2,
        device: str | torch.device = "cpu",
    ) -> None:
        self._model, card = load_classifier(weights, device=device)
        self.class_names = card.classes
        if not card.classes or not hasattr(self._model, "stages"):
            raise ValueError(f"{weights}: found a {card.architecture} network, expected a classifier with stages")
        self._asked = None if classes is None else _indices(classes, card.classes, weights)
        if not 1 <= count <= len(card.classes):
            raise ValueError(f"count: found {count}, expected 1 to {len(card.classes)}, the classes of {weights}")
        self.explained = count if self._asked is None else len(self._asked)
        stages: Any = self._model.stages
        if stage is not None and not 1 <= stage <= len(stages):
            raise ValueError(f"stage: found {stage}, expected 1 to {len(stages)}, the stages of {weights}")
        self._layer = stages[len(stages) - 1 if stage is None else stage - 1]
        self._slope = negative_slope
        self._frame = frames.shape[1:]
        self.input = NetworkInput(card, weights, frames, device)
        self.sees_frames = isinstance(self.input.preparation, InputPreparation)

    def __call__(
        self, images: NDArray[Any], good: NDArray[np.bool_] | None, *, size: tuple[int, int] | None = None
    ) -> Explanation:
        """Explain frames.

        Parameters
        ----------
        images : ndarray, (n, H, W)
            Raw frames.
        good : ndarray of bool, optional
            Good pixels, (H, W), (n, H, W) where frames have masks of their own, or None.
        size : pair of int, optional
            Height and width of the heat maps; None: those of the network's input.
        """
        inputs = self.input(images, good)
        probability = predict_probabilities(self._model, inputs)
        if self._asked is None:
            # Sorted stably: of equally probable classes the first leads, on any machine.
            chosen = probability.argsort(dim=1, descending=True, stable=True)[:, : self.explained]
        else:
            chosen = torch.tensor(self._asked).expand(len(images), -1)
        heat = grad_cam_plus_plus(self._model, inputs, chosen, layer=self._layer, negative_slope=self._slope, size=size)
        return Explanation(probability.numpy(), chosen.numpy(), heat.float())

    def on_frames(self, heat: torch.Tensor) -> NDArray[np.float32]:
        """Heat maps (n, M, h, w) on the frames' own pixels, (n, M, H, W).

        The network sees a frame in the middle of a square of its longer side; where sides differ by an odd number,
        the map is half a pixel off. A network that sees correlation maps speaks of their pixels: its heat maps are
        returned as they are.
        """
        if not self.sees_frames:
            return heat.numpy()
        height, width = self._frame
        side = max(height, width)
        square = functional.interpolate(heat, (side, side), mode="bilinear")
        top, left = (side - height) // 2, (side - width) // 2
        return square[:, :, top : top + height, left : left + width].numpy()


def explain_frames(explainer: Explainer, frames: Frames, *, batch: int = 16) -> tuple[NDArray[Any], Explanation]:
    """Read a few frames, all into memory, and explain them; for a figure.

    Parameters
    ----------
    explainer
        Made for these frames.
    frames
        The stack, or `cdifast.data.selection.SelectedFrames` of it.
    batch
        Frames at a time.

    Returns
    -------
    images : ndarray, (n, H, W)
        The frames; of a network that sees correlation maps, these.
    explanation : Explanation
        With maps of the network's input's size.

    Raises
    ------
    FrameError
        Frames that cannot be read or hold NaN outside the mask.
    """
    images = frames.read(slice(None))
    good = frames.read_mask(slice(None), images=images) if frames.masks_differ else frames.mask
    check_finite(images, good, 0, frames)
    parts, seen = [], []
    for start in range(0, len(images), batch):
        part = slice(start, start + batch)
        own = good[part] if good is not None and good.ndim == 3 else good
        parts.append(explainer(images[part], own))
        if not explainer.sees_frames:
            seen.append(explainer.input(images[part], own)[:, 0].cpu().numpy())
    return np.concatenate(seen) if seen else images, Explanation(
        np.concatenate([part.probability for part in parts]),
        np.concatenate([part.classes for part in parts]),
        torch.cat([part.heat for part in parts]),
    )


def _indices(asked: Sequence[str], known: Sequence[str], source: object) -> list[int]:
    """Places of class names among those of the weights."""
    if not asked:
        raise ValueError("classes: found none, expected at least one")
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise ValueError(f"classes: found {', '.join(unknown)}; {source} knows {', '.join(known)}")
    if len(set(asked)) != len(asked):
        raise ValueError(f"classes: found a name twice in {', '.join(asked)}")
    return [list(known).index(name) for name in asked]
