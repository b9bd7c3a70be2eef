"""A training run in progress: epochs, validation, files."""

from __future__ import annotations

import dataclasses
import math
import signal
import time
from pathlib import Path
from typing import Final

import torch

from cdifast._atomic import write_text_whole
from cdifast.data.prepare import Preparation
from cdifast.nn.weights import ModelCard, save_weights

from .checkpoint import data_fingerprint, load_checkpoint, save_checkpoint
from .config import TrainConfig
from .distributed import Ranks, any_rank, require_same
from .history import HISTORY, EpochRecord, out_of_patience, write_history
from .interrupt import InterruptGuard, TrainingInterrupted
from .order import Split, epoch_order, steps_per_epoch
from .position import RunPosition
from .progress import ProgressCallback, StepReport
from .step import StepLoss, TrainStep
from .tensorboard import EpochWriter
from .validation import Validation, validate

CHECKPOINT: Final = "checkpoint.safetensors"
WEIGHTS: Final = "weights.safetensors"
BEST_WEIGHTS: Final = "weights-best.safetensors"
CONFIG: Final = "config.json"


def held_by_a_run(output: str | Path) -> list[Path]:
    """Files of a training run that a folder holds already, checkpoint first; empty: it is free."""
    candidates = [Path(output) / name for name in (CHECKPOINT, WEIGHTS, BEST_WEIGHTS, *HISTORY)]
    return [path for path in candidates if path.exists()]


def refusal(found: Path) -> str:
    """What to say of a folder that holds a run."""
    return f"{found}: the folder holds a training run; resume it, overwrite it or choose another folder"


class TrainingRun:
    """A run in progress: what is trained, how far it is, and its files, which rank 0 writes."""

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
        self.inputs, self.targets, self.classes, self.split = inputs, targets, classes, split
        self.config, self.output, self.preparation = config, output, preparation
        self.device, self.ranks = device, ranks
        self.steps = steps_per_epoch(len(split.train), config.batch_size)
        smallest = min(config.batch_size, len(split.train))
        if smallest < ranks.world_size:
            raise ValueError(
                f"batch_size: found {smallest} images a step, expected one for each of {ranks.world_size} ranks"
            )
        train_targets = targets[torch.from_numpy(split.train)]
        self.step = TrainStep(inputs, targets, train_targets, config, device=device, ranks=ranks)
        self.position = RunPosition()
        self.validation: Validation | None = None
        self.writer: EpochWriter | None = None
        self.data_sha256 = data_fingerprint(
            inputs, targets, (torch.from_numpy(split.train), torch.from_numpy(split.validation)), classes
        )
        require_same(self.data_sha256 + config.to_json(), "inputs, labels, split or config", device)

    @property
    def finished(self) -> bool:
        """Whether no epoch is left, or no patience."""
        config, history = self.config, self.position.history
        return self.position.epoch >= config.epochs or out_of_patience(history, config.patience, config.patience_on)

    def start(self, *, resume: bool, overwrite: bool) -> None:
        """Load the checkpoint, or claim the folder for a new run."""
        if resume:
            content = load_checkpoint(
                self.output / CHECKPOINT,
                self.step.modules,
                self.step.optimizer,
                config=self.config.to_dict(),
                data_sha256=self.data_sha256,
                scaler=self.step.scaler,
            )
            self.position = RunPosition.from_dict(content)
            return
        found = held_by_a_run(self.output)
        # All ranks look before the first one writes, and all refuse if one does.
        if any_rank(bool(found), self.device) and not overwrite:
            raise FileExistsError(refusal(found[0] if found else self.output))
        if self.ranks.is_first:
            for path in found:
                path.unlink()
            write_text_whole(self.output / CONFIG, self.config.to_json())

    def train_epoch(self, report: ProgressCallback, guard: InterruptGuard, checkpoint_seconds: float) -> None:
        """Run the rest of the epoch at hand, validate, record and save."""
        config, position = self.config, self.position
        order = epoch_order(self.split.train, config.seed, position.epoch)
        last = position.history[-1] if position.history else None
        self.step.model.train()
        begun = saved = time.monotonic()
        seconds_before = position.seconds
        while position.step < self.steps:
            loss = self.train_step(order)
            position.step += 1
            position.loss_sum += loss.total
            position.cross_entropy_sum += loss.cross_entropy
            now = time.monotonic()
            position.seconds = seconds_before + now - begun
            try:
                report(StepReport(position.epoch + 1, config.epochs, position.step, self.steps, loss.total, last))
            except KeyboardInterrupt:
                guard.signal_number = signal.SIGINT
            if position.step < self.steps:
                self.stop_if_asked(guard)
                if now - saved > checkpoint_seconds:
                    self.save_checkpoint()
                    saved = now
        self.finish_epoch(seconds_before - begun)

    def train_step(self, order: torch.Tensor) -> StepLoss:
        """The step at hand; returns its loss."""
        position, size = self.position, self.config.batch_size
        rows = order[position.step * size :][:size]
        return self.step(rows, position.epoch, position.step, self.steps)

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

    def save_checkpoint(self) -> None:
        """Write the state of the run."""
        if self.ranks.is_first:
            save_checkpoint(
                self.output / CHECKPOINT,
                self.step.modules,
                self.step.optimizer,
                self.position.to_dict(),
                config=self.config.to_dict(),
                data_sha256=self.data_sha256,
                scaler=self.step.scaler,
            )

    def stop_if_asked(self, guard: InterruptGuard) -> None:
        """Write a checkpoint and raise if a signal has arrived on any rank and something is left to do."""
        if any_rank(guard.signal_number is not None, self.device) and not self.finished:
            self.save_checkpoint()
            # The first rank to leave ends the others: none does before the file is whole.
            any_rank(False, self.device)
            raise TrainingInterrupted(self.output / CHECKPOINT, guard.signal_number or signal.SIGTERM)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
