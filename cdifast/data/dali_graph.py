"""A `FramePipeline` as a graph of DALI operators, each of which has a CPU and a GPU kernel.

The random numbers are ours and come in as data, so the same seed gives torch's batches up to rounding. What depends on
the mask alone (weights, valid pixels) is computed by torch, once: both backends agree on which pixels are valid.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from .augment import Augmentation, Changes
from .augment_torch import MIN_WEIGHT
from .pipeline import FramePipeline
from .prepare import Preparer

MASK_NAMES: Final = ("inverse_weight", "valid")
"""What comes from each frame's own mask, (n, S, S, 1); a mask for all is part of the graph."""


def input_names(augmentation: Augmentation | None, own_masks: bool = False) -> tuple[str, ...]:
    """What the graph takes besides the frames, in this order: of masks, and of the random numbers."""
    names: list[str] = list(MASK_NAMES) if own_masks else []
    if augmentation is None:
        return tuple(names)
    if augmentation.resamples:
        names.append("matrix")
    elif augmentation.horizontal_flip or augmentation.vertical_flip:
        names += ["vertical", "horizontal"]
    if augmentation.jitters:
        names.append("gain")
        if augmentation.jitter == "linear":
            names += ["low", "high"]
        elif augmentation.contrast:
            names.append("exponent")
    if augmentation.blanks:
        names += ["anchor", "extent"]
    return tuple(names)


def inputs(names: tuple[str, ...], changes: Changes | None, preparer: Preparer | None) -> list[NDArray[Any]]:
    """The values of these names as DALI wants them, one row a frame."""
    values: dict[str, NDArray[Any]] = {}
    if preparer is not None:
        values = {name: getattr(preparer, name)[..., None].numpy() for name in MASK_NAMES}
    if changes is not None:
        count = len(changes.gain)
        values |= {
            "vertical": changes.flips[:, 0],
            "horizontal": changes.flips[:, 1],
            "matrix": _from_edges(changes.matrix),
            "gain": changes.gain,
            "exponent": changes.exponent,
            "low": changes.low,
            "high": changes.high,
            "anchor": changes.regions[:, :, :2].reshape(count, -1),
            "extent": changes.regions[:, :, 2:].reshape(count, -1),
        }
    integers = ("vertical", "horizontal")
    return [np.ascontiguousarray(values[n], dtype=np.int32 if n in integers else np.float32) for n in names]


def _from_edges(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """DALI counts from the edges of pixels: a centre lies at 1/2."""
    moved = matrix.copy()
    moved[:, :, 2] += 0.5 - 0.5 * matrix[:, :, :2].sum(axis=2)
    return moved


class Graph:
    """Builds the graph; within ``with nvidia.dali.Pipeline(...)``.

    Parameters
    ----------
    pipeline
        With ``filter="triangle"``.
    preparer
        For frames of the shape, on the CPU.
    device
        ``"cpu"`` or ``"gpu"``: where everything after the transfer runs.
    own_masks
        Each frame has its own mask: then its bad pixels are 0 already, and `MASK_NAMES` are among the inputs.

    Raises
    ------
    ValueError
        The box filter, which DALI has not.
    """

    def __init__(self, pipeline: FramePipeline, preparer: Preparer, device: str, own_masks: bool = False) -> None:
        if pipeline.preparation.filter != "triangle":
            raise ValueError(
                "filter: found 'box', but DALI resizes with the triangle alone; expected "
                "InputPreparation(filter='triangle'), or the torch backend, which has both"
            )
        self.pipeline, self.preparer, self.device, self.own_masks = pipeline, preparer, device, own_masks

    @property
    def names(self) -> tuple[str, ...]:
        """See `input_names`."""
        return input_names(self.pipeline.augmentation, self.own_masks)

    def __call__(self, frames: Any, changes: list[Any]) -> tuple[Any, Any]:
        """Images and valid pixels, (S, S, 1) float32 and uint8 a sample, from frames (H, W) and `inputs`."""
        from nvidia.dali import fn, types

        augmentation = self.pipeline.augmentation
        change = dict(zip(self.names, changes, strict=True))
        if self.own_masks:
            inverse_weight, valid = (self._moved(change[name]) for name in MASK_NAMES)
        else:
            inverse_weight = self._constant(self.preparer.inverse_weight[0])
            valid = self._constant(self.preparer.valid[0].to(torch.float32))
        images = self._scaled(self._resized(self._moved(frames)) * inverse_weight, valid)
        # A constant is one tensor; products make it one a sample.
        valid = valid + 0 * images if self._masked else None
        if augmentation is not None:
            images, valid = self._changed(images, valid, augmentation, change)
        if self.pipeline.log:
            images = self._sign(images) * _log(1 + math.e * _abs(images))
        if self.pipeline.standardise:
            images = self._standardised(images, valid)
        if valid is None:
            valid = self._ones(images)
        return images, fn.cast(valid, dtype=types.UINT8)

    @property
    def _masked(self) -> bool:
        return self.own_masks or not self.preparer.all_valid

    def _moved(self, node: Any) -> Any:
        return node.gpu() if self.device == "gpu" else node

    def _constant(self, values: torch.Tensor) -> Any:
        """(H, W) as (H, W, 1)."""
        from nvidia.dali import types

        return types.Constant(values[:, :, None].numpy(), device=self.device, layout="HWC")

    def _ones(self, images: Any) -> Any:
        size = self.preparer.preparation.size
        return self._constant(torch.ones(size, size)) + 0 * images

    def _resized(self, frames: Any) -> Any:
        """Mask, centre in a square, resize."""
        from nvidia.dali import fn, types

        preparation, resizer = self.preparer.preparation, self.preparer.resizer
        height, width = resizer.shape
        images = fn.expand_dims(fn.cast(frames, dtype=types.FLOAT), axes=2, new_axis_names="C")
        if self.preparer.bad is not None:
            images = images * self._constant((~self.preparer.bad[0]).to(torch.float32))
        side = max(height, width)
        window: dict[str, Any] = {}
        if height != width:
            # Whole pixels of 0 on both sides; where the difference is odd, the square begins at half a pixel.
            missing = [side - height, side - width]
            before = [-(-m // 2) for m in missing]
            sides = [height + 2 * before[0], width + 2 * before[1]]
            images = fn.slice(
                images,
                start=[-before[0], -before[1]],
                shape=sides,
                axes=[0, 1],
                out_of_bounds_policy="pad",
                fill_values=0,
            )
            start = [(s - side) / 2 for s in sides]
            window = {"roi_start": start, "roi_end": [s + side for s in start]}
        return fn.resize(
            images,
            size=[preparation.size, preparation.size],
            interp_type=types.INTERP_LINEAR,
            antialias=True,
            dtype=types.FLOAT,
            **window,
        )

    def _scaled(self, images: Any, valid: Any) -> Any:
        from nvidia.dali import fn
        from nvidia.dali import math as dali_math

        preparation = self.preparer.preparation
        if preparation.scaling == "mean":
            count = fn.reductions.sum(valid + 0 * images, axes=[0, 1, 2], keep_dims=True)
            mean = fn.reductions.sum(_abs(images), axes=[0, 1, 2], keep_dims=True) / dali_math.max(count, 1.0)
            return images * (preparation.level * self._inverse(mean))
        if preparation.scaling == "minmax":
            far = (1.0 - valid) * float(np.finfo(np.float32).max)
            low = fn.reductions.min(images + far, axes=[0, 1, 2], keep_dims=True)
            span = fn.reductions.max(images - far, axes=[0, 1, 2], keep_dims=True) - low
            return (images - low) * self._inverse(span) * valid
        return images

    def _changed(self, images: Any, valid: Any, augmentation: Augmentation, change: dict[str, Any]) -> tuple[Any, Any]:
        from nvidia.dali import fn, types
        from nvidia.dali import math as dali_math

        if augmentation.resamples:
            both = fn.cat(images, self._ones(images) if valid is None else valid, axis_name="C")
            both = fn.warp_affine(
                both, matrix=change["matrix"], fill_value=0.0, interp_type=types.INTERP_LINEAR, inverse_map=True
            )
            weight = both[:, :, 1:2]
            valid = fn.cast(weight >= MIN_WEIGHT, dtype=types.FLOAT)
            images = both[:, :, 0:1] / dali_math.max(weight, MIN_WEIGHT) * valid
        elif "horizontal" in change:
            turn = {"horizontal": change["horizontal"], "vertical": change["vertical"]}
            images = fn.flip(images, **turn)
            valid = None if valid is None else fn.flip(valid, **turn)
        if augmentation.jitters:
            gain = self._moved(change["gain"])
            if augmentation.jitter == "linear":
                images = dali_math.clamp(images * gain, self._moved(change["low"]), self._moved(change["high"]))
            elif augmentation.contrast == 0:
                images = images * gain
            else:
                magnitude = _abs(images)
                tiny = float(np.finfo(np.float32).tiny)
                pivot = dali_math.max(fn.reductions.mean(magnitude, axes=[0, 1, 2], keep_dims=True), tiny)
                stretched = dali_math.pow(magnitude / pivot, self._moved(change["exponent"]))
                images = self._sign(images) * (gain * pivot * stretched)
        if augmentation.blanks:
            valid = self._ones(images) if valid is None else valid
            valid = fn.erase(valid, anchor=change["anchor"], shape=change["extent"], axis_names="HW", fill_value=0.0)
            images = images * valid
        return images, valid

    def _standardised(self, images: Any, valid: Any) -> Any:
        from nvidia.dali import fn
        from nvidia.dali import math as dali_math

        weight = self._ones(images) if valid is None else valid
        count = dali_math.max(fn.reductions.sum(weight, axes=[0, 1, 2], keep_dims=True), 1.0)
        mean = fn.reductions.sum(images * weight, axes=[0, 1, 2], keep_dims=True) / count
        images = (images - mean) * weight
        variance = fn.reductions.sum(images * images, axes=[0, 1, 2], keep_dims=True) / count
        return images * dali_math.sqrt(self._inverse(variance))

    @staticmethod
    def _inverse(values: Any) -> Any:
        """1 / values where positive, else 0."""
        from nvidia.dali import fn, types

        positive = fn.cast(values > 0.0, dtype=types.FLOAT)
        return positive / (values * positive + (1.0 - positive))

    @staticmethod
    def _sign(values: Any) -> Any:
        from nvidia.dali import fn, types

        return fn.cast(values > 0.0, dtype=types.FLOAT) - fn.cast(values < 0.0, dtype=types.FLOAT)


def _abs(values: Any) -> Any:
    from nvidia.dali import math as dali_math

    return dali_math.abs(values)


def _log(values: Any) -> Any:
    from nvidia.dali import math as dali_math

    return dali_math.log(values)
