"""A network judged on the validation split."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from cdifast.evaluate.metrics import ClassificationMetrics, classification_metrics
from cdifast.evaluate.predict import labels_from_probabilities, predict_logits
from cdifast.evaluate.thresholds import choose_thresholds

from .batch_norm import recalibrate_batch_norm
from .config import TrainConfig
from .distributed import Ranks, gather_rows
from .order import Split, part_of_rank


@dataclass(frozen=True)
class Validation:
    """What a validation found.

    Attributes
    ----------
    cross_entropy
        Mean over the labels, none weighted.
    metrics
        At the threshold 0.5, P1's.
    thresholds
        For the card: chosen on these images, or 0.5, as the configuration says.
    at_thresholds
        Metrics at these thresholds. Thresholds and metrics come from the same images: slightly too good.
    """

    cross_entropy: float
    metrics: ClassificationMetrics
    thresholds: tuple[float, ...]
    at_thresholds: ClassificationMetrics


def validate(
    model: nn.Module,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    split: Split,
    classes: tuple[str, ...],
    config: TrainConfig,
    *,
    device: torch.device,
    ranks: Ranks,
) -> Validation:
    """Compute the batch normalisation's statistics anew and judge the network on the validation split.

    Every rank calls this with the same network and data. Each computes the statistics, which are then the same,
    predicts for its part of the split, and learns of all.

    Parameters
    ----------
    model
        A network that no optimizer works on; its statistics change.
    inputs, targets
        All images (N, C, S, S) and labels (N, K), on the CPU.
    split, classes, config
        Of the run.
    device, ranks
        Where this process works, and who it is.

    Returns
    -------
    Validation
        The same on all ranks.
    """
    if config.recalibration_images:
        # The same images each time: the curve then shows the network, not the choice of images.
        chosen = split.train[:: max(len(split.train) // config.recalibration_images, 1)]
        recalibrate_batch_norm(
            model,
            inputs[torch.from_numpy(chosen[: config.recalibration_images].copy())],
            batch_size=config.batch_size,
            device=device,
        )
    validation = torch.from_numpy(split.validation)
    own = validation[part_of_rank(validation, ranks.rank, ranks.world_size)]
    if len(own):
        logits = predict_logits(model, inputs[own], batch_size=config.batch_size, device=device)
    else:
        logits = torch.empty(0, len(classes))
    logits = gather_rows(logits.to(device)).cpu() if ranks.world_size > 1 else logits
    truth = targets[validation]
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, truth.float()).item()
    probabilities = logits.sigmoid()
    labels = truth.numpy()
    metrics = classification_metrics(labels, labels_from_probabilities(probabilities), classes)
    # Logits that are NaN (running statistics of a few steps, say) have no thresholds.
    if config.thresholds == "half" or not bool(torch.isfinite(probabilities).all()):
        return Validation(cross_entropy, metrics, (0.5,) * len(classes), metrics)
    thresholds = choose_thresholds(labels, probabilities.numpy())
    at_thresholds = classification_metrics(labels, labels_from_probabilities(probabilities, thresholds), classes)
    return Validation(cross_entropy, metrics, thresholds, at_thresholds)
