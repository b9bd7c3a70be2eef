"""From frames to batches, defined once: what each backend carries out, and torch's way of doing so."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import torch
from numpy.typing import ArrayLike

from cdifast import ops

from .augment import DRAWS, P1, P2, Augmentation, Changes
from .augment_torch import apply_changes
from .draws import frame_uniforms
from .prepare import InputPreparation, Preparer


@dataclass(frozen=True)
class FramePipeline:
    """Mask -> resize -> scale -> augment -> logarithm, standardisation: from frames to (N, 1, S, S) float32.

    The scaling that takes the fluence of the shot out is part of the preparation and comes before the random changes,
    or it would take the random brightness out too.

    Attributes
    ----------
    preparation
        Mask, resize and scaling.
    augmentation
        Random changes; None: none. Each frame's are drawn from (seed, epoch, index of the frame), so neither batch,
        rank, worker nor backend changes them.
    log
        Apply sign(x) log1p(e |x|), P1's log activation with alpha = 1, to the images. P1's network does so itself
        after its first convolution.
    standardise
        At last shift and scale each image to mean 0 and variance 1 over its valid pixels; the others are 0.
    """

    preparation: InputPreparation = field(default_factory=InputPreparation)
    augmentation: Augmentation | None = None
    log: bool = False
    standardise: bool = False

    @classmethod
    def p1(cls, size: int = 224) -> FramePipeline:
        """P1's training input: scaled by the mean (see `InputPreparation`), flips, brightness and contrast."""
        return cls(InputPreparation(size), P1)

    @classmethod
    def p2(cls, size: int = 224) -> FramePipeline:
        """P2's training input: scaled to [0, 1], six random changes."""
        return cls(InputPreparation(size, "minmax"), P2)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-serialisable dictionary."""
        return {
            "preparation": self.preparation.to_dict(),
            "augmentation": self.augmentation and self.augmentation.to_dict(),
            "log": self.log,
            "standardise": self.standardise,
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> FramePipeline:
        """Inverse of `to_dict`; a ValueError names entries that this version does not know."""
        unknown = content.keys() - {entry.name for entry in fields(cls)}
        if unknown:
            raise ValueError(f"frame pipeline: unknown entries {', '.join(sorted(unknown))}")
        content = dict(content)
        if "preparation" in content:
            content["preparation"] = InputPreparation.from_dict(content["preparation"])
        if content.get("augmentation") is not None:
            content["augmentation"] = Augmentation.from_dict(content["augmentation"])
        return cls(**content)

    def changes(self, indices: ArrayLike, seed: int, epoch: int) -> Changes | None:
        """The random changes of these frames in an epoch; None without augmentation."""
        if self.augmentation is None:
            return None
        size = self.preparation.size
        return self.augmentation.changes(frame_uniforms(indices, DRAWS, seed, epoch), size, size)


class TorchPipeline:
    """A `FramePipeline` in torch for frames of one shape under one mask; for one thread at a time.

    Parameters
    ----------
    pipeline
        The definition.
    shape
        (H, W) of the frames.
    mask
        (H, W) bool, True = good; None: all pixels are good, or each frame has its own mask.
    device
        Where it is done.
    """

    def __init__(
        self,
        pipeline: FramePipeline,
        shape: tuple[int, int],
        mask: ArrayLike | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self.pipeline = pipeline
        self._shape, self._device = shape, torch.device(device)
        self.preparer = Preparer(shape, mask, pipeline.preparation, device)

    @torch.no_grad()
    def __call__(
        self, frames: torch.Tensor, changes: Changes | None, good: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Turn frames into images.

        Parameters
        ----------
        frames
            (N, H, W), any real dtype, finite where good.
        changes
            `FramePipeline.changes` of these frames.
        good
            (N, H, W) bool on the CPU: each frame's own mask, in place of the one for all.

        Returns
        -------
        images
            (N, 1, S, S) float32 on the device.
        mask
            (N, 1, S, S) bool, True where the images hold data (not: bad or outside the detector, moved in from
            outside or erased, where they are 0); None: everywhere.
        """
        pipeline = self.pipeline
        preparer = self.preparer
        if good is not None:
            preparer = Preparer(
                self._shape, good.numpy(), pipeline.preparation, self._device, resizer=self.preparer.resizer
            )
        images = preparer(frames)
        valid = None if preparer.all_valid and good is None else preparer.valid[:, None]
        if pipeline.augmentation is not None:
            if changes is None:
                raise ValueError("changes: found None, expected those of the frames, for there is an augmentation")
            images, valid = apply_changes(images, pipeline.augmentation, changes, valid)
        if pipeline.log:
            images = ops.log_activation(images, 1.0)
        if pipeline.standardise:
            images = _standardised(images, valid)
        return images, None if valid is None else valid.expand(len(images), -1, -1, -1)


def _standardised(images: torch.Tensor, valid: torch.Tensor | None) -> torch.Tensor:
    """Mean 0, variance 1 over the valid pixels; an image without structure becomes 0."""
    weight = torch.ones_like(images[:, :, :1, :1]) if valid is None else valid.to(images.dtype)
    count = weight.expand_as(images).sum(dim=(2, 3), keepdim=True).clamp_min(1)
    mean = (images * weight).sum(dim=(2, 3), keepdim=True) / count
    images = (images - mean) * weight
    variance = images.square().sum(dim=(2, 3), keepdim=True) / count
    return images * torch.where(variance > 0, variance.rsqrt(), 0)
