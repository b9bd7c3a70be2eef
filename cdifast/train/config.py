"""The configuration of a training run."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any

from cdifast.data.augment import Augmentation
from cdifast.nn.preact_resnet import FirstActivation

from .losses import Penalty


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides the outcome of a training run, but for the data; the defaults are P1's recipe.

    Attributes
    ----------
    depth, width, first_activation, alpha, learnable_alpha, batch_norm_momentum
        The network, see `cdifast.nn.preact_resnet`.
    epochs
        Passes over the training split.
    batch_size
        Images a step. An incomplete last batch is left out (each epoch has its own order, so no image is
        left out for good), because statistics over a few images would upset the batch normalisation; a
        training split smaller than one batch is one batch.
    learning_rate, momentum
        Stochastic gradient descent with Nesterov momentum.
    decay_every, decay_factor
        The learning rate is multiplied by `decay_factor` every `decay_every` epochs (fractions count).
    warmup_epochs
        Epochs of linear rise to the learning rate (P1: 0).
    l1, l2, penalty
        See `ClassificationLoss`.
    train_fraction
        Share of the images that is trained on; the rest is the validation split.
    seed
        Of the split, the initial weights, the order of the images and their augmentation.
    augmentation
        Random changes of the training images; None: none.
    recalibration_images
        Training images from which the batch normalisation's statistics are computed anew before each
        validation (`recalibrate_batch_norm`); 0: the running statistics, as P1. P1's momentum of 0.997
        needs about a thousand steps to forget the start; P1 makes 25 800 steps, a run of some minutes
        makes a few hundred and would be judged, and saved, with statistics of a network it no longer is.
        Training itself is not affected: it uses each batch's own statistics.
    validate_every
        Epochs between validations; the last epoch is always followed by one.
    """

    depth: int = 18
    width: float = 1
    first_activation: FirstActivation = "log"
    alpha: float = 0.2
    learnable_alpha: bool = False
    batch_norm_momentum: float = 0.997
    epochs: int = 200
    batch_size: int = 48
    learning_rate: float = 0.1
    momentum: float = 0.9
    decay_every: float = 50
    decay_factor: float = 0.1
    warmup_epochs: float = 0
    l1: float = 1e-5
    l2: float = 1e-5
    penalty: Penalty = "p1"
    train_fraction: float = 0.85
    seed: int = 0
    augmentation: Augmentation | None = field(default_factory=Augmentation)
    recalibration_images: int = 512
    validate_every: int = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "validate_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: found {getattr(self, name)}, expected at least 1")
        for name in ("learning_rate", "decay_every", "decay_factor"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"{name}: found {getattr(self, name)}, expected a positive number")
        for name in ("warmup_epochs", "recalibration_images", "seed"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: found {getattr(self, name)}, expected a number >= 0")
        # Nesterov momentum is undefined without momentum.
        for name in ("momentum", "train_fraction"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name}: found {getattr(self, name)}, expected a number between 0 and 1")

    def scaled(self, epochs: int) -> TrainConfig:
        """The same recipe over another number of epochs: warm-up and decays at the same fractions."""
        factor = epochs / self.epochs
        return dataclasses.replace(
            self,
            epochs=epochs,
            decay_every=self.decay_every * factor,
            warmup_epochs=self.warmup_epochs * factor,
        )

    @property
    def preset(self) -> str:
        """Name of the recipe for the weights' card: "p1", "p1 over E epochs", or "custom".

        The seed and the two settings of the evaluation do not count as changes.
        """
        paper = TrainConfig()
        recipe = dataclasses.replace(
            self,
            seed=paper.seed,
            recalibration_images=paper.recalibration_images,
            validate_every=paper.validate_every,
        )
        if recipe == paper:
            return "p1"
        return f"p1 over {self.epochs} epochs" if recipe == paper.scaled(self.epochs) else "custom"

    def learning_rate_at(self, step: int, steps_per_epoch: int) -> float:
        """Learning rate of a step, counted from 0 over the whole run."""
        epoch = step / steps_per_epoch
        rate = self.learning_rate * self.decay_factor ** math.floor(epoch / self.decay_every)
        if epoch < self.warmup_epochs:
            rate *= min(1.0, (step + 1) / (self.warmup_epochs * steps_per_epoch))
        return rate

    def to_dict(self) -> dict[str, Any]:
        """As JSON-serialisable dictionary."""
        content = dataclasses.asdict(self)
        content["augmentation"] = self.augmentation and self.augmentation.to_dict()
        return content

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> TrainConfig:
        """Inverse of `to_dict`; a ValueError names entries that this version does not know."""
        unknown = content.keys() - {entry.name for entry in dataclasses.fields(cls)}
        if unknown:
            raise ValueError(f"training configuration: unknown entries {', '.join(sorted(unknown))}")
        content = dict(content)
        if isinstance(content.get("augmentation"), dict):
            content["augmentation"] = Augmentation.from_dict(content["augmentation"])
        return cls(**content)

    def to_json(self) -> str:
        """As JSON text."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)
