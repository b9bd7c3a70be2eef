"""Probabilities and labels from a trained network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn


def predict_logits(
    model: nn.Module, inputs: torch.Tensor, *, batch_size: int = 64, device: str | torch.device | None = None
) -> torch.Tensor:
    """Run a network over prepared images in evaluation mode; its mode is restored afterwards.

    Parameters
    ----------
    model
        Network from (n, 1, S, S) to logits (n, C).
    inputs
        Prepared images (N, 1, S, S) on any device.
    batch_size
        Images at once. Results do not depend on it but for rounding.
    device
        Where the network lives; None: where its first parameter is.

    Returns
    -------
    torch.Tensor
        Logits (N, C) float32 on the CPU.

    Raises
    ------
    ValueError
        No images.
    """
    if len(inputs) == 0:
        raise ValueError("inputs: found no images")
    if device is None:
        device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            logits = [model(batch.to(device)).float().cpu() for batch in inputs.split(batch_size)]
    finally:
        model.train(was_training)
    return torch.cat(logits).clone()


def predict_probabilities(
    model: nn.Module, inputs: torch.Tensor, *, batch_size: int = 64, device: str | torch.device | None = None
) -> torch.Tensor:
    """Probability of each class for each image, (N, C) float32 on the CPU; arguments as `predict_logits`."""
    return predict_logits(model, inputs, batch_size=batch_size, device=device).sigmoid()


def labels_from_probabilities(
    probabilities: torch.Tensor, thresholds: Sequence[float] | float = 0.5
) -> NDArray[np.uint8]:
    """Labels from probabilities: 1 where the probability reaches the class's threshold.

    Parameters
    ----------
    probabilities
        (N, C) in [0, 1].
    thresholds
        One for all classes or one for each of the C (`ModelCard.thresholds`).

    Returns
    -------
    numpy.ndarray
        (N, C) uint8.

    Raises
    ------
    ValueError
        Another number of thresholds.
    """
    limits = torch.as_tensor(thresholds, dtype=probabilities.dtype, device=probabilities.device)
    if limits.dim() > 0 and limits.shape != probabilities.shape[-1:]:
        raise ValueError(f"thresholds: found {limits.numel()}, expected 1 or {probabilities.shape[-1]}, one a class")
    return (probabilities >= limits).to(torch.uint8).cpu().numpy()
