"""One training of paper 1's experiments: a cell of the study."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.reproduce.p1_data import Dataset, Inputs, Kind, network_inputs
from cdifast.data.augment import P1
from cdifast.evaluate import classification_metrics, labels_from_probabilities, predict_probabilities
from cdifast.nn import load_classifier
from cdifast.simulate.noise import Level
from cdifast.train import TrainConfig, metric_maxima, shuffled_split, train_classifier
from cdifast.train.classify import BEST_WEIGHTS, CHECKPOINT
from cdifast.train.order import Split

VGG_RATE: Final = 0.01
"""P1 names one learning rate, 0.1, for all networks. Ours has no batch normalisation to bear it (nor has P1's, by its
table 7) and diverges within the first steps."""

VGG_WARMUP: Final = 1 / 8
"""Share of the epochs over which the rate rises."""

METRICS = ("accuracy", "precision", "recall")


@dataclass(frozen=True)
class Scale:
    """Size of the study.

    Attributes
    ----------
    shots
        Images of each data set.
    frame, size
        Pixels along each side of a simulated frame, and of the network's input.
    preset
        Of the simulated helium shots.
    recipe, epochs
        Of `cdifast.train.TrainConfig.recipe`; the learning rate changes at the same fractions of the epochs.
    full_epochs, fast_epochs, fast_share
        Of the two recipes where they are compared, and the per cent of the training images on which they are.
    seeds
        Repetitions: of split, initial weights, order and augmentation.
    batch_size
        Images a step of P1's recipe; ``fast`` has its own.
    widths
        Factor on the channels by architecture, ``resnet18`` and so on.
    """

    shots: int
    frame: int
    size: int
    preset: str
    recipe: str
    epochs: int
    full_epochs: int
    fast_epochs: int
    fast_share: int
    seeds: int
    batch_size: int
    widths: Mapping[str, float]


@dataclass(frozen=True)
class Training:
    """What decides a training, besides the scale.

    Attributes
    ----------
    network
        Architecture and depth: ``resnet18``, ``vgg16`` and so on.
    first
        First activation: ``none``, ``leaky``, or alpha of the log activation as a number.
    share
        Per cent of the training split that is trained on; 0: the scale's ``fast_share``.
    recipe
        ``scale``: the scale's, with P1's augmentation and a validation every epoch whichever it is, so that maps and
        images are treated alike and maxima over a training are those of P1's tables. ``p1-full`` and ``fast``: those
        that are compared, whole, over the epochs meant for that.
    """

    dataset: Dataset = "helium"
    network: str = "resnet18"
    first: str = "0.2"
    kind: Kind = "images"
    noise: Level = "none"
    share: int = 100
    recipe: str = "scale"
    seed: int = 0

    @property
    def name(self) -> str:
        noise = self.noise.replace("+", "-")
        return f"{self.dataset}-{self.network}-{self.first}-{self.kind}-{noise}-{self.share}-{self.recipe}-s{self.seed}"

    def config(self, scale: Scale) -> TrainConfig:
        """The recipe at this scale."""
        architecture, depth = ("vgg", self.network[3:]) if self.network.startswith("vgg") else ("preact_resnet", "")
        depth = depth or self.network.removeprefix("resnet")
        log = self.first not in ("none", "leaky")
        recipe, epochs = {
            "scale": (scale.recipe, scale.epochs),
            "p1-full": ("p1", scale.full_epochs),
            "fast": ("fast", scale.fast_epochs),
        }[self.recipe]
        config = TrainConfig.recipe(
            recipe,
            architecture=architecture,
            depth=int(depth),
            width=scale.widths[self.network],
            first_activation="log" if log else self.first,
            alpha=float(self.first) if log else 0.2,
            seed=self.seed,
            **({} if recipe == "fast" else {"batch_size": scale.batch_size}),
            **({} if self.recipe == "fast" else {"augmentation": P1, "validate_every": 1}),
        ).scaled(epochs)
        if architecture == "vgg":
            return dataclasses.replace(config, learning_rate=VGG_RATE, warmup_epochs=VGG_WARMUP * epochs)
        return config


def split_for(count: int, seed: int, share: int = 100) -> Split:
    """P1's 85/15 split, and of its training images a share drawn without replacement (section 5.2)."""
    split = shuffled_split(count, seed=seed)
    if share == 100:
        return split
    chosen = np.random.default_rng([seed, share]).permutation(split.train)[: round(len(split.train) * share / 100)]
    return Split(np.sort(chosen), split.validation)


def train_cell(
    cell: Training, scale: Scale, data: Mapping[Dataset, Sequence[Path]], work: Path, device: str
) -> dict[str, Any]:
    """Train one network and measure it.

    Returns
    -------
    dict
        ``history`` (epoch, seconds since the start, metrics; on a CPU with one thread they are processor seconds),
        ``maxima`` of each metric over the training as P1's tables have them, of the network with the highest accuracy
        ``best`` (metrics, class by class) and ``counts`` (see `counts_of`), ``parameters``, ``train_images``.
    """
    inputs = network_inputs(data[cell.dataset], cell.dataset, cell.kind, cell.noise, scale.size)
    begun, processor = time.monotonic(), time.process_time()
    split = split_for(len(inputs.images), cell.seed, cell.share or scale.fast_share)
    folder = work / "runs" / cell.name
    trained = train_classifier(
        inputs.images,
        inputs.labels,
        cell.config(scale),
        folder,
        classes=inputs.classes,
        split=split,
        preparation=inputs.preparation,
        resume=(folder / CHECKPOINT).is_file(),
        device=device,
    )
    # Of a process with one thread, processor time is what the training would take on a machine that does nothing else.
    alone = device == "cpu" and torch.get_num_threads() == 1
    share = (time.process_time() - processor) / (time.monotonic() - begun) if alone else 1.0
    history, elapsed = [], 0.0
    for record in trained.history:
        elapsed += record.seconds * share
        history.append(
            {"epoch": record.epoch, "seconds": round(elapsed, 2)} | {name: getattr(record, name) for name in METRICS}
        )
    model, _ = load_classifier(folder / BEST_WEIGHTS, classes=inputs.classes, device=device)
    return {
        "history": history,
        "maxima": {name: value for name, (value, _) in metric_maxima(trained.history).items()},
        "best_epoch": trained.best_epoch,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "train_images": len(split.train),
        **measured(predict_probabilities(model, inputs.images[torch.from_numpy(split.validation)]), inputs, split),
    }


def measured(probabilities: torch.Tensor, inputs: Inputs, split: Split) -> dict[str, Any]:
    """Metrics of predictions for the validation split, at the threshold 0.5 as in P1."""
    truth = inputs.labels[split.validation]
    predictions = labels_from_probabilities(probabilities)
    return {
        "best": classification_metrics(truth, predictions, inputs.classes).to_dict(),
        "counts": counts_of(truth, predictions),
    }


def counts_of(truth: NDArray[np.uint8], predictions: NDArray[np.uint8]) -> dict[str, str]:
    """Of each image, true and false positives and false negatives among its labels, a hexadecimal digit each: enough
    to resample the images for a confidence interval of any pooled metric."""
    counts = {"tp": truth & predictions, "fp": ~truth & 1 & predictions, "fn": truth & (~predictions & 1)}
    return {name: "".join(f"{int(n):x}" for n in rows.sum(1)) for name, rows in counts.items()}


def with_seeds(training: Training, scale: Scale) -> list[Training]:
    """The repetitions of a training."""
    return [dataclasses.replace(training, seed=seed) for seed in range(scale.seeds)]
