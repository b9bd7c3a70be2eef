"""Statistics of the batch normalisation that belong to the weights at hand."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@torch.no_grad()
def recalibrate_batch_norm(
    model: nn.Module, inputs: torch.Tensor, *, batch_size: int = 48, device: str | torch.device | None = None
) -> None:
    """Compute the running statistics of all batch normalisations anew, from images as they are.

    Running statistics average over the training steps past, hence over weights that are no more; with a
    momentum of 0.997 even the initial values linger for a thousand steps. Here they become the plain mean
    of the batch means and variances that the present weights produce ("precise batch normalisation", Wu
    and Johnson 2021, arXiv:2105.07576). Weights do not change; momentum and training mode are restored.

    Parameters
    ----------
    model
        The network, changed in place.
    inputs
        Training images (N, C, S, S), some hundreds, without augmentation. An incomplete last batch is left
        out unless it is the only one.
    batch_size
        Images a batch: the one used in training.
    device
        Where the network lives; None: where its first parameter is.

    Raises
    ------
    ValueError
        No images.
    """
    if len(inputs) == 0:
        raise ValueError("inputs: found no images to compute statistics from")
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    if device is None:
        device = next(model.parameters()).device
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    modes = [module.training for module in model.modules()]
    # Dropout and the like stay off: the statistics are to be those of the network that predicts.
    model.eval()
    try:
        for layer in layers:
            layer.train()
            layer.reset_running_stats()
            layer.momentum = None  # PyTorch's way to ask for the plain mean over batches
        whole = len(inputs) // batch_size * batch_size or len(inputs)
        for batch in inputs[:whole].split(batch_size):
            model(batch.to(device))
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for module, mode in zip(model.modules(), modes, strict=True):
            module.training = mode
