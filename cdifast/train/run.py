"""A training run in progress: epochs, validation, files."""

from __future__ import annotations

import dataclasses
import math
import time
from pathlib import Path

import torch
from torch import nn

from cdifast.data.prepare import Preparation
from cdifast.nn.weights import ModelCard, save_weights

from .checkpoint import data_fingerprint
from .config import TrainConfig
from .distributed import Ranks, require_same
from .history import EpochRecord, out_of_patience, write_history
from .order import Split
from .position import RunPosition
from .resumable import BEST_WEIGHTS, ResumableRun
from .step import TrainStep
from .tensorboard import EpochWriter
from .validation import Validation, validate


class TrainingRun(ResumableRun[TrainConfig, RunPosition]):
    """The training of a classifier in progress."""

    def __init__(
        self,
        inputs: torch.Tensor,
        targets: torch.Tensor,
        classes: tuple[str, ...],
        split: Split,
        config: TrainConfig,
        output: Path,
        preparation: Preparation | None,
        device: torch.device,
        ranks: Ranks,
    ) -> None:
        super().__init__(split, config, RunPosition(), output, device, ranks)
        self.inputs, self.targets, self.classes, self.preparation = inputs, targets, classes, preparation
        smallest = min(config.batch_size, len(split.train))
        if smallest < ranks.world_size:
            raise ValueError(
                f"batch_size: found {smallest} images a step, expected one for each of {ranks.world_size} ranks"
            )
        train_targets = targets[torch.from_numpy(split.train)]
        self.step = TrainStep(inputs, targets, train_targets, config, device=device, ranks=ranks)
        self.validation: Validation | None = None
        self.writer: EpochWriter | None = None
        self.data_sha256 = data_fingerprint(
            inputs, targets, (torch.from_numpy(split.train), torch.from_numpy(split.validation)), classes
        )
        require_same(self.data_sha256 + config.to_json(), "inputs, labels, split or config", device)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The network and what goes with it."""
        return self.step.modules

    @property
    def trainer(self) -> tuple[torch.optim.Optimizer, torch.amp.GradScaler]:
        """What changes the network."""
        return self.step.optimizer, self.step.scaler

    @property
    def finished(self) -> bool:
        """Whether no epoch is left, or no patience."""
        config, history = self.config, self.position.history
        return super().finished or out_of_patience(history, config.patience, config.patience_on)

    def train_step(self, batch: torch.Tensor) -> float:
        """Change the weights by the images of a batch; returns the loss."""
        position = self.position
        loss = self.step(batch, position.epoch, position.step, self.steps)
        position.loss_sum += loss.total
        position.cross_entropy_sum += loss.cross_entropy
        return loss.total

    def finish_epoch(self, seconds_offset: float) -> None:
        """Validate if it is time, write history and checkpoint, and move on to the next epoch."""
        config, position = self.config, self.position
        epoch = position.epoch + 1
        self.validation = None
        if epoch % config.validate_every == 0 or epoch == config.epochs:
            self.validation = self.evaluate()
        metrics = self.validation.metrics if self.validation else None
        record = EpochRecord(
            epoch=epoch,
            learning_rate=config.learning_rate_at(epoch * self.steps - 1, self.steps),
            train_loss=position.loss_sum / self.steps,
            train_cross_entropy=position.cross_entropy_sum / self.steps,
            validation_cross_entropy=self.validation.cross_entropy if self.validation else None,
            accuracy=metrics.accuracy if metrics else None,
            precision=_or_none(metrics.precision) if metrics else None,
            recall=_or_none(metrics.recall) if metrics else None,
            violations_per_image=metrics.violations.per_image if metrics else None,
            seconds=time.monotonic() + seconds_offset,
        )
        history = [*position.history, record]
        if epoch < config.epochs and out_of_patience(history, config.patience, config.patience_on):
            history[-1] = dataclasses.replace(record, stopped_early=True)
        self.position = position = RunPosition(
            epoch=epoch, best_epoch=position.best_epoch, best_accuracy=position.best_accuracy, history=history
        )
        if metrics is not None and (position.best_accuracy is None or metrics.accuracy > position.best_accuracy):
            position.best_epoch, position.best_accuracy = epoch, metrics.accuracy
            self.save(BEST_WEIGHTS)
        if self.ranks.is_first:
            write_history(self.output, position.history)
            if self.writer is not None:
                self.writer.write(position.history[-1])
        self.save_checkpoint()

    def evaluate(self) -> Validation:
        """Judge the network of now, or the average of its weights."""
        return validate(
            self.step.refresh(),
            self.inputs,
            self.targets,
            self.split,
            self.classes,
            self.config,
            device=self.device,
            ranks=self.ranks,
        )

    def save(self, name: str) -> ModelCard:
        """Write the network that was validated last, with its card."""
        model, validation = self.step.evaluated, self.validation
        assert validation is not None
        card = ModelCard(
            architecture=str(model.architecture),
            arguments=dict(model.arguments),  # type: ignore[arg-type]
            classes=self.classes,
            thresholds=validation.thresholds,
            input=self.preparation.to_dict() if self.preparation else {},
            preset=self.config.preset,
            training={"epoch": self.position.epoch, "config": self.config.to_dict()},
            data_sha256=self.data_sha256,
            metrics={**validation.metrics.to_dict(), "at_thresholds": validation.at_thresholds.to_dict()},
        )
        if self.ranks.is_first:
            save_weights(self.output / name, model, card)
        return card


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
