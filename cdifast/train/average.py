"""An exponential moving average of the weights, which is better than any of the weights it is of."""

from __future__ import annotations

import copy

import torch
from torch import nn


class WeightAverage:
    """The average of a network's weights over the steps (Polyak and Juditsky 1992; Tarvainen and Valpola 2017).

    ``average = d average + (1 - d) weights`` after each step, d = min(decay, (1 + t) / (10 + t)) at step t: at
    first the average forgets fast, so that the random initial weights are gone soon and a short run averages over
    about its last tenth.

    Running statistics of batch normalisations are averaged too. That is right to first order alone: the statistics
    under averaged weights are not the average of statistics. `recalibrate_batch_norm` computes them exactly, and
    the training loop does so before each validation unless told not to.

    Parameters
    ----------
    model
        The network, copied.
    decay
        d, from 0 to below 1.

    Attributes
    ----------
    module : torch.nn.Module
        The network with the averaged weights, in evaluation mode.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(model).requires_grad_(False).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after step `step`, counted from 0 over the whole run."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        state = model.state_dict()
        for name, average in self.module.state_dict().items():
            if average.is_floating_point():
                average.lerp_(state[name], share)
            else:
                average.copy_(state[name])
