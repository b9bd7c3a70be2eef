"""The configuration of a training run."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from cdifast.data.augment import Augmentation
from cdifast.nn.first_activation import FirstActivation

from .losses import Penalty
from .optimizers import Optimizer
from .precision import MixedPrecision
from .recipes import NETWORK_FIELDS, RECIPES, classifiers, recipe_entries
from .schedules import Schedule, learning_rate_at

Watched = Literal["accuracy", "cross-entropy"]
Thresholds = Literal["validation", "half"]

# What does not count as another recipe: where it starts, how it is judged, and how it is laid out in memory.
_NO_RECIPE: Final = ("seed", "recalibration_images", "validate_every", "thresholds", "channels_last")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides the outcome of a training run, but for the data; the defaults are P1's recipe.

    `recipe` gives the others by name.

    Attributes
    ----------
    architecture, arguments
        The network, a key of `cdifast.nn.weights.ARCHITECTURES` that classifies, and further arguments of its
        constructor.
    depth, width, first_activation, alpha, learnable_alpha, batch_norm_momentum
        Arguments that most of them share, see `cdifast.nn.preact_resnet`. One that a network does not have must
        keep its default.
    epochs
        Passes over the training split.
    batch_size
        Images a step. An incomplete last batch is left out (each epoch has its own order, so no image is
        left out for good), because statistics over a few images would upset the batch normalisation; a
        training split smaller than one batch is one batch.
    optimizer, learning_rate, momentum, weight_decay
        ``"sgd"`` with Nesterov momentum (P1) or ``"adamw"``, whose first beta is `momentum`. Weight decay, on
        kernels alone, is beside the penalty below (P1: 0).
    schedule
        How the learning rate goes: ``"steps"`` (P1), ``"cosine"`` or ``"one-cycle"``, see
        `cdifast.train.schedules`.
    decay_every, decay_factor
        Of ``"steps"``: the learning rate is multiplied by `decay_factor` every `decay_every` epochs (fractions
        count).
    warmup_epochs
        Epochs of rise to the learning rate (P1: 0).
    l1, l2, penalty
        See `ClassificationLoss`.
    class_balance, class_balance_bound
        Weight of the positive labels of each class, see `positive_weights`; 0: 1 for all (P1).
    mixed_precision
        Type of the convolutions' products in training: ``"none"`` (float32), ``"bfloat16"``, ``"float16"`` with
        loss scaling, or ``"auto"``, bfloat16 where the machine is fast at it. Weights, statistics and
        validation stay in float32. A run with ``"auto"`` that goes on on another machine may change its type.
    channels_last
        Whether images and weights lie in memory with the channels innermost. No result but for rounding.
    ema
        Decay of an average of the weights (`WeightAverage`), which is then what is validated and saved; 0: none.
    patience, patience_on
        The run ends when the validation's ``"accuracy"`` or ``"cross-entropy"`` has not become better in so many
        validations in a row; 0: it never ends early. The schedule is that of all epochs nevertheless.
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
    thresholds
        From which probability on a class counts as present on the weights' card: chosen on the validation
        split (``"validation"``, by `choose_thresholds`), or 0.5 for all (``"half"``). History and metrics are at
        0.5 in either case, as P1's.
    """

    architecture: str = "preact_resnet"
    depth: int = 18
    width: float = 1
    first_activation: FirstActivation = "log"
    alpha: float = 0.2
    learnable_alpha: bool = False
    batch_norm_momentum: float = 0.997
    arguments: dict[str, Any] = field(default_factory=dict)
    epochs: int = 200
    batch_size: int = 48
    optimizer: Optimizer = "sgd"
    schedule: Schedule = "steps"
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0
    decay_every: float = 50
    decay_factor: float = 0.1
    warmup_epochs: float = 0
    l1: float = 1e-5
    l2: float = 1e-5
    penalty: Penalty = "p1"
    class_balance: float = 0
    class_balance_bound: float = 10
    mixed_precision: MixedPrecision = "none"
    channels_last: bool = False
    ema: float = 0
    patience: int = 0
    patience_on: Watched = "accuracy"
    train_fraction: float = 0.85
    seed: int = 0
    augmentation: Augmentation | None = field(default_factory=Augmentation)
    recalibration_images: int = 512
    validate_every: int = 1
    thresholds: Thresholds = "validation"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "validate_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: found {getattr(self, name)}, expected at least 1")
        for name in ("learning_rate", "decay_every", "decay_factor"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"{name}: found {getattr(self, name)}, expected a positive number")
        for name in ("warmup_epochs", "recalibration_images", "seed", "weight_decay", "class_balance", "patience"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: found {getattr(self, name)}, expected a number >= 0")
        if not self.class_balance_bound >= 1:
            raise ValueError(f"class_balance_bound: found {self.class_balance_bound}, expected a number >= 1")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema: found {self.ema}, expected 0 <= ema < 1")
        # Nesterov momentum is undefined without momentum.
        for name in ("momentum", "train_fraction"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name}: found {getattr(self, name)}, expected a number between 0 and 1")
        for name, kind in _CHOICES.items():
            if getattr(self, name) not in get_args(kind):
                expected = ", ".join(map(repr, get_args(kind)))
                raise ValueError(f"{name}: found {getattr(self, name)!r}, expected one of {expected}")
        # A copy, through JSON: a frozen configuration cannot change from outside, and reads back as it was.
        object.__setattr__(self, "arguments", json.loads(json.dumps(self.arguments)))
        self._check_network()

    def _check_network(self) -> None:
        known = classifiers()
        if self.architecture not in known:
            raise ValueError(f"architecture: found {self.architecture!r}, expected one of {', '.join(known)}")
        parameters = known[self.architecture]
        fixed = {"depth", "num_classes", "in_channels", *NETWORK_FIELDS}
        for name in self.arguments:
            if name not in parameters or name in fixed:
                free = ", ".join(key for key in parameters if key not in fixed)
                raise ValueError(f"arguments: found {name!r}, {self.architecture} takes {free}")
        for name in NETWORK_FIELDS:
            default = type(self).__dataclass_fields__[name].default
            if name not in parameters and getattr(self, name) != default:
                raise ValueError(f"{name}: found {getattr(self, name)!r}, but {self.architecture} has no such argument")

    @classmethod
    def recipe(cls, name: str, **changes: Any) -> TrainConfig:
        """A recipe by name, with changes.

        - ``"p1"``: the paper (the defaults, with the network of `cdifast.nn.PRESETS`).
        - ``"p1-code"``: its public code. It differs in the penalty (averaged over layers, half the squared L2
          norm), the augmentation (flips alone), the padding of the first pooling, and the VGG's slopes, biases,
          dropout, initial weights and first activation.
        - ``"fast"``: this package's own: P1's loss and optimizer in batches of 32 over one cycle of the learning
          rate in 50 epochs, images turned by any angle, averaged weights, a validation every fifth epoch, and bfloat16
          where the machine has it. Of correlation maps: `for_maps`.

        Parameters
        ----------
        name
            One of the above.
        **changes
            Entries of the configuration. Other `epochs` scale the schedule with them, as `scaled` does; an
            `architecture` comes with the recipe's arguments for it, and depth 18 or 16 (VGG).

        Returns
        -------
        TrainConfig

        Raises
        ------
        ValueError
            No such recipe or architecture, or a value out of range.
        TypeError
            A change of an entry that is none.
        """
        config = cls(**recipe_entries(name, changes.pop("architecture", "preact_resnet")))
        if "epochs" in changes:
            config = config.scaled(changes.pop("epochs"))
        if "arguments" in changes:
            changes["arguments"] = config.arguments | changes["arguments"]
        return dataclasses.replace(config, **changes)

    def scaled(self, epochs: int) -> TrainConfig:
        """The same recipe over another number of epochs: warm-up and decays at the same fractions."""
        factor = epochs / self.epochs
        return dataclasses.replace(
            self,
            epochs=epochs,
            decay_every=self.decay_every * factor,
            warmup_epochs=self.warmup_epochs * factor,
        )

    def for_maps(self) -> TrainConfig:
        """The same recipe for correlation maps, whose axes are both radii: without rotation, crop and translation."""
        if self.augmentation is None:
            return self
        augmentation = dataclasses.replace(self.augmentation, rotation=0.0, crop_area=1.0, translation=0.0)
        return dataclasses.replace(self, augmentation=augmentation)

    @property
    def preset(self) -> str:
        """Name of the recipe for the weights' card: "p1", "p1 over E epochs", likewise the others, or "custom".

        The network's architecture and depth have places of their own on the card and do not count as changes; nor do
        the seed, the settings of the validation, the layout in memory, and what `for_maps` leaves out.
        """
        for name in RECIPES:
            whole = TrainConfig.recipe(name, architecture=self.architecture, depth=self.depth)
            alike = dataclasses.replace(self, **{entry: getattr(whole, entry) for entry in _NO_RECIPE})
            if alike in (whole, whole.for_maps()):
                return name
            short = whole.scaled(self.epochs)
            if alike in (short, short.for_maps()):
                return f"{name} over {self.epochs} epochs"
        return "custom"

    def learning_rate_at(self, step: int, steps_per_epoch: int) -> float:
        """Learning rate of a step, counted from 0 over the whole run."""
        return learning_rate_at(
            step,
            self.epochs * steps_per_epoch,
            rate=self.learning_rate,
            schedule=self.schedule,
            warmup=self.warmup_epochs * steps_per_epoch,
            decay_every=self.decay_every * steps_per_epoch,
            decay_factor=self.decay_factor,
        )

    def network_arguments(self, num_classes: int, in_channels: int) -> dict[str, Any]:
        """Arguments for the constructor of the architecture."""
        parameters = classifiers()[self.architecture]
        shared: dict[str, Any] = {name: getattr(self, name) for name in NETWORK_FIELDS if name in parameters}
        return {
            "depth": self.depth,
            "num_classes": num_classes,
            "in_channels": in_channels,
            **shared,
            **self.arguments,
        }

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


_CHOICES: Final = {
    "optimizer": Optimizer,
    "schedule": Schedule,
    "penalty": Penalty,
    "mixed_precision": MixedPrecision,
    "patience_on": Watched,
    "thresholds": Thresholds,
}
