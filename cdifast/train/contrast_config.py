"""The configuration of a contrastive training run."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from cdifast.data.view_recipe import VIEW_PRESETS, ViewRecipe
from cdifast.nn.contrastive import CONTRASTIVE_PRESETS, Embedding

from .precision import MixedPrecision
from .schedules import learning_rate_at

ContrastLoss = Literal["nt_xent", "vicreg"]
ContrastOptimizer = Literal["lars", "adamw"]

_NO_RECIPE: Final = (
    "seed",
    "mixed_precision",
    "channels_last",
    "block",
    "validation_fraction",
    "monitor_images",
    "monitor_every",
)


@dataclass(frozen=True)
class ContrastConfig:
    """Everything that decides the outcome of a contrastive training, but for the data; the defaults are P2's recipe.

    Attributes
    ----------
    encoder
        Preset of the network, see `cdifast.nn.contrastive_preset`.
    encoder_arguments, head_arguments
        Arguments of `resnet_d` and `ProjectionHead` other than the preset's.
    embedding
        What the embedding is; None: the preset's.
    views
        How the two views of a shot are made; their mode is there too.
    loss
        ``"nt_xent"`` (P2) or ``"vicreg"``, with the weights of its paper.
    temperature
        Of NT-Xent; None: P2's of the mode.
    block
        Side of NT-Xent's tiles; it bounds the memory and does not change the loss but for rounding.
    epochs
        Passes over the training images.
    batch_size
        Shots a step, on all ranks together (P2: 628). An incomplete last batch is left out.
    optimizer
        ``"lars"`` (P2), or ``"adamw"``, which needs less tuning for small batches and networks.
    learning_rate
        None: 0.1 sqrt(batch_size) for LARS (P2; 2.506 for 628), 0.001 for AdamW.
    momentum
        Of LARS; the first beta of AdamW.
    weight_decay
        Of weights; none of biases and batch normalisations.
    trust
        LARS's trust coefficient.
    warmup_epochs
        Epochs of linear rise; half a cosine down to 0 follows.
    seed
        Of the initial weights, the order of the images, their augmentation and the split.
    mixed_precision
        See `cdifast.train.precision.autocast_dtype`; the losses are in float32 always.
    channels_last
        Keep weights and views with the channels innermost, which convolutions like; the result differs by rounding.
    validation_fraction
        Share of the images that is kept out of training and monitored instead; 0 (P2): training images are.
    monitor_images
        How many are monitored at most, the first ones of a random choice that stays; 0: none.
    monitor_every
        Epochs between measurements; the last epoch is always followed by one.
    """

    encoder: str = "p2"
    encoder_arguments: dict[str, Any] = field(default_factory=dict)
    head_arguments: dict[str, Any] = field(default_factory=dict)
    embedding: Embedding | None = None
    views: ViewRecipe = field(default_factory=ViewRecipe)
    loss: ContrastLoss = "nt_xent"
    temperature: float | None = None
    block: int = 1024
    epochs: int = 1000
    batch_size: int = 628
    optimizer: ContrastOptimizer = "lars"
    learning_rate: float | None = None
    momentum: float = 0.9
    weight_decay: float = 1e-4
    trust: float = 1e-3
    warmup_epochs: float = 10
    seed: int = 0
    mixed_precision: MixedPrecision = "none"
    channels_last: bool = False
    validation_fraction: float = 0.0
    monitor_images: int = 512
    monitor_every: int = 1

    def __post_init__(self) -> None:
        choices = {
            "encoder": tuple(CONTRASTIVE_PRESETS),
            "loss": ("nt_xent", "vicreg"),
            "optimizer": ("lars", "adamw"),
            "mixed_precision": ("none", "auto", "bfloat16", "float16"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name}: found {getattr(self, name)!r}, expected one of {', '.join(known)}")
        for name in ("epochs", "block", "monitor_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: found {getattr(self, name)}, expected at least 1")
        if self.batch_size < 2:
            raise ValueError(f"batch_size: found {self.batch_size}, expected at least 2: a shot alone has no negatives")
        for name in ("temperature", "learning_rate", "trust"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name}: found {value}, expected a positive number")
        for name in ("warmup_epochs", "weight_decay", "monitor_images", "seed"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: found {getattr(self, name)}, expected a number >= 0")
        for name in ("momentum", "validation_fraction"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}: found {getattr(self, name)}, expected 0 or more and below 1")

    @property
    def rate(self) -> float:
        """The highest learning rate."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 0.1 * math.sqrt(self.batch_size) if self.optimizer == "lars" else 1e-3

    @property
    def tau(self) -> float:
        """The temperature of NT-Xent."""
        return self.views.temperature if self.temperature is None else self.temperature

    def learning_rate_at(self, step: int, steps_per_epoch: int) -> float:
        """Learning rate of a step, counted from 0 over the whole run."""
        return learning_rate_at(
            step,
            self.epochs * steps_per_epoch,
            rate=self.rate,
            schedule="cosine",
            warmup=self.warmup_epochs * steps_per_epoch,
        )

    def scaled(self, epochs: int) -> ContrastConfig:
        """The same recipe over another number of epochs, with the same share of warm-up."""
        warmup = self.warmup_epochs * epochs / self.epochs
        return dataclasses.replace(self, epochs=epochs, warmup_epochs=warmup)

    @property
    def preset(self) -> str:
        """Name of the recipe for the weights' card: a key of `CONTRAST_RECIPES`, "... over E epochs", or "custom".

        What `_NO_RECIPE` names does not count as a change.
        """
        for name, recipe in CONTRAST_RECIPES.items():
            same = {entry: getattr(self, entry) for entry in _NO_RECIPE}
            if self == dataclasses.replace(recipe, **same):
                return name
            if self == dataclasses.replace(recipe.scaled(self.epochs), **same):
                return f"{name} over {self.epochs} epochs"
        return "custom"

    def to_dict(self) -> dict[str, Any]:
        """As JSON-serialisable dictionary."""
        return dataclasses.asdict(self) | {"views": self.views.to_dict()}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> ContrastConfig:
        """Inverse of `to_dict`; a ValueError names entries that this version does not know."""
        unknown = content.keys() - {entry.name for entry in dataclasses.fields(cls)}
        if unknown:
            raise ValueError(f"contrastive configuration: unknown entries {', '.join(sorted(unknown))}")
        content = dict(content)
        if isinstance(content.get("views"), dict):
            content["views"] = ViewRecipe.from_dict(content["views"])
        return cls(**content)

    def to_json(self) -> str:
        """As JSON text."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)


CONTRAST_RECIPES: Final[dict[str, ContrastConfig]] = {
    "p2": ContrastConfig(),
    "p2-code": ContrastConfig(encoder="p2-code", views=VIEW_PRESETS["p2-code"]),
    "small": ContrastConfig(
        encoder="small",
        views=VIEW_PRESETS["counts"],
        epochs=100,
        batch_size=128,
        optimizer="adamw",
        warmup_epochs=5,
        mixed_precision="auto",
        channels_last=True,
    ),
}
"""Recipes by name: P2's, its code's, and one for a small network on a CPU with images from `InputPreparation()`."""
