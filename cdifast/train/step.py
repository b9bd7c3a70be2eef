"""One step of training: a batch, the loss, its gradients over all ranks, the optimizer."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import nn

from cdifast.data.augment_torch import apply_changes
from cdifast.nn.weights import ARCHITECTURES

from .average import WeightAverage
from .config import TrainConfig
from .cross_rank_batch_norm import convert_batch_norm
from .distributed import Ranks, average_gradients, sum_over_ranks
from .losses import ClassificationLoss, conv_and_linear_kernels, positive_weights
from .optimizers import make_optimizer
from .order import Stream, part_of_rank, stream_generator, stream_seed
from .precision import autocast_dtype, loss_scaler


class StepLoss(NamedTuple):
    """Loss of a step over the whole batch."""

    total: float
    cross_entropy: float


class TrainStep:
    """The network with all that changes it.

    Parameters
    ----------
    inputs, targets
        Images (N, C, S, S) float32 and labels (N, K), on the CPU.
    train_targets
        Labels of the training split alone, for the class balance.
    config
        The recipe.
    device, ranks
        Where this process works, and who it is.

    Attributes
    ----------
    model
        The network in training.
    average : WeightAverage or None
        Of its weights.
    evaluated : torch.nn.Module
        A network of its own for validation and the files; `refresh` brings it up to date.
    """

    def __init__(
        self,
        inputs: torch.Tensor,
        targets: torch.Tensor,
        train_targets: torch.Tensor,
        config: TrainConfig,
        *,
        device: torch.device,
        ranks: Ranks,
    ) -> None:
        self.inputs, self.targets, self.config, self.device, self.ranks = inputs, targets, config, device, ranks
        self.layout = torch.channels_last if config.channels_last else torch.contiguous_format
        with _seeded(stream_seed(config.seed, Stream.WEIGHTS), torch.device("cpu")):
            model = ARCHITECTURES[config.architecture](**config.network_arguments(targets.shape[1], inputs.shape[1]))
        model = model.to(device)
        if config.channels_last:
            model = model.to(memory_format=self.layout)  # type: ignore[call-overload]
        self.average = WeightAverage(model, config.ema) if config.ema else None
        self.evaluated = self.average.module if self.average else copy.deepcopy(model).requires_grad_(False).eval()
        self.model = convert_batch_norm(model) if ranks.world_size > 1 else model
        self.kernels = conv_and_linear_kernels(self.model)
        balance = None
        if config.class_balance:
            balance = positive_weights(train_targets, config.class_balance, config.class_balance_bound)
        self.loss = ClassificationLoss(config.l1, config.l2, config.penalty, balance).to(device)
        self.optimizer = make_optimizer(
            self.model,
            config.optimizer,
            config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )
        self.dtype = autocast_dtype(config.mixed_precision, device)
        self.scaler = loss_scaler(self.dtype, device)
        self._draws = any(isinstance(module, nn.modules.dropout._DropoutNd) for module in model.modules())

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What belongs into a checkpoint."""
        return {"model": self.model} | ({"average": self.average.module} if self.average else {})

    def refresh(self) -> nn.Module:
        """The network to evaluate, with the weights of now."""
        if self.average is None:
            self.evaluated.load_state_dict(self.model.state_dict())
        return self.evaluated

    def batch(self, rows: torch.Tensor, epoch: int, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """This rank's part of a batch, with the changes that it would have in the whole batch."""
        config = self.config
        part = part_of_rank(rows, self.ranks.rank, self.ranks.world_size)
        images = self.inputs[rows[part]].to(self.device)
        targets = self.targets[rows[part]].to(self.device)
        if config.augmentation is not None:
            generator = stream_generator(config.seed, Stream.AUGMENTATION, epoch, step)
            draws = config.augmentation.uniforms(len(rows), generator)[part]
            changes = config.augmentation.changes(draws, *images.shape[-2:])
            images = apply_changes(images, config.augmentation, changes)[0]
        return images.contiguous(memory_format=self.layout), targets

    def __call__(self, rows: torch.Tensor, epoch: int, step: int, steps: int) -> StepLoss:
        """Change the weights by one batch.

        Parameters
        ----------
        rows
            Images of the whole batch.
        epoch, step, steps
            Place in the run, both from 0, and steps an epoch.

        Raises
        ------
        FloatingPointError
            The loss is NaN or infinite; on all ranks together.
        """
        config, number = self.config, epoch * steps + step
        rate = config.learning_rate_at(number, steps)
        images, targets = self.batch(rows, epoch, step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        with self._random_layers(epoch, step), torch.autocast(self.device.type, self.dtype, self.dtype is not None):
            logits = self.model(images)
        terms = self.loss(logits.float(), targets, self.kernels)
        loss = self._joint(terms.total, terms.cross_entropy, len(images))
        if not math.isfinite(loss.total):
            raise FloatingPointError(
                f"the loss became {loss.total} at epoch {epoch + 1}, step {step + 1} of {steps} "
                f"(learning rate {rate:g}); lower the learning rate or add warm-up epochs"
            )
        self.scaler.scale(terms.total).backward()
        average_gradients(self.model.parameters(), weight=len(images))
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update(self.model, number)
        return loss

    def _joint(self, total: torch.Tensor, cross_entropy: torch.Tensor, count: int) -> StepLoss:
        """Means over the batches of all ranks."""
        if self.ranks.world_size == 1:
            return StepLoss(total.item(), cross_entropy.item())
        weighted = torch.stack([total.detach(), cross_entropy.detach(), torch.ones_like(total)]).double() * count
        sums = sum_over_ranks(weighted)
        return StepLoss(*(sums[:2] / sums[2]).tolist())

    @contextmanager
    def _random_layers(self, epoch: int, step: int) -> Iterator[None]:
        """Dropout that a seed decides; each rank's is its own, so ranks there differ from one process."""
        if not self._draws:
            yield
            return
        seed = stream_seed(self.config.seed, Stream.DROPOUT, epoch, step * self.ranks.world_size + self.ranks.rank)
        with _seeded(seed, self.device):
            yield


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's global generators seeded within, and as they were after."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
