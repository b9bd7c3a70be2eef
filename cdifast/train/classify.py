"""Train a classifier of diffraction images (P1, section 3.1.5)."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch.nn import functional

from cdifast._atomic import write_text_whole
from cdifast.data.prepare import Preparation
from cdifast.evaluate.metrics import ClassificationMetrics, classification_metrics
from cdifast.evaluate.predict import labels_from_probabilities, predict_logits
from cdifast.evaluate.rules import RuleViolations
from cdifast.labels import CLASSES
from cdifast.nn.preact_resnet import PreActResNet, preact_resnet
from cdifast.nn.weights import ModelCard, save_weights

from .batch_norm import recalibrate_batch_norm
from .checkpoint import RunPosition, data_fingerprint, load_checkpoint, save_checkpoint
from .config import TrainConfig
from .history import HISTORY, EpochRecord, write_history
from .interrupt import InterruptGuard, TrainingInterrupted
from .labels import check_labels
from .losses import ClassificationLoss, conv_and_linear_kernels
from .order import (
    Split,
    Stream,
    check_split,
    epoch_order,
    shuffled_split,
    steps_per_epoch,
    stream_generator,
    stream_seed,
)
from .progress import ProgressCallback, StepReport, reporter

CHECKPOINT = "checkpoint.safetensors"
WEIGHTS = "weights.safetensors"
BEST_WEIGHTS = "weights-best.safetensors"
CONFIG = "config.json"


@dataclass(frozen=True)
class TrainResult:
    """What a training run leaves.

    Attributes
    ----------
    model
        The network after the last epoch, in evaluation mode.
    card
        Its card, as in ``weights.safetensors``.
    metrics
        Its metrics on the validation split.
    history
        One record an epoch.
    best_epoch
        The first epoch (from 1) with the highest validation accuracy; its network is in
        ``weights-best.safetensors``.
    split
        Which images were trained on and validated with.
    label_violations
        Labels that break the exclusion rules.
    output
        The folder with all files.
    """

    model: PreActResNet
    card: ModelCard
    metrics: ClassificationMetrics
    history: tuple[EpochRecord, ...]
    best_epoch: int
    split: Split
    label_violations: RuleViolations
    output: Path


def train_classifier(
    inputs: torch.Tensor,
    labels: ArrayLike | torch.Tensor,
    config: TrainConfig,
    output: str | Path,
    *,
    classes: Sequence[str] = CLASSES,
    split: Split | None = None,
    preparation: Preparation | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: str | torch.device = "cpu",
    progress: bool | ProgressCallback = False,
    checkpoint_seconds: float = 300.0,
) -> TrainResult:
    """Train a pre-activation residual network on prepared images.

    The folder `output` receives ``weights.safetensors`` (after the last epoch), ``weights-best.safetensors``
    (best validation accuracy), ``history.csv`` and ``history.json``, ``config.json`` and
    ``checkpoint.safetensors``; each file appears whole or not at all.

    SIGINT (Ctrl-C) and SIGTERM end the run after the step at hand with a checkpoint; ``resume=True``
    continues it. On one machine, with one number of threads, an interrupted run ends with the same bits as
    an uninterrupted one, and a run repeated with the same seed gives the same weights.

    Parameters
    ----------
    inputs
        Prepared images (N, channels, S, S) float32 on the CPU, see `cdifast.data.prepare`.
    labels
        (N, len(classes)), 0 or 1.
    config
        The recipe; `TrainConfig()` is P1's, ``TrainConfig().scaled(epochs)`` a shorter one.
    output
        Folder, made if missing.
    classes
        Names of the label columns.
    split
        Which images to train on and to validate with; None: `shuffled_split` by the configuration.
    preparation
        How the inputs were made; goes onto the weights' card.
    resume
        Continue from the checkpoint in `output`. A finished run is only evaluated again.
    overwrite
        Start anew in a folder that holds a run.
    device
        Where to train.
    progress
        True for a progress bar on standard error, or a function that is called with a `StepReport` after
        each step.
    checkpoint_seconds
        Longest time without a checkpoint within an epoch; the end of each epoch writes one anyway.

    Returns
    -------
    TrainResult

    Raises
    ------
    ValueError
        Inputs, labels or split that do not fit, NaN in the inputs, or a checkpoint of another run.
    TypeError
        Inputs that are not float32.
    FileExistsError
        `output` holds a run, and neither `resume` nor `overwrite` was given.
    FileNotFoundError
        `resume` without a checkpoint.
    FloatingPointError
        The loss became NaN or infinite; epoch and step are named.
    TrainingInterrupted
        Stopped by a signal; a `KeyboardInterrupt` that names the checkpoint.

    Warns
    -----
    LabelRuleWarning
        Labels break the exclusion rules; training goes on.
    """
    classes = tuple(classes)
    _check_inputs(inputs)
    targets, violations = check_labels(labels, len(inputs), classes)
    if split is None:
        split = shuffled_split(len(inputs), config.train_fraction, config.seed)
    split = check_split(split, len(inputs))
    run = _Run(inputs, targets, classes, split, config, Path(output), preparation, torch.device(device))
    run.start(resume=resume, overwrite=overwrite)
    # Only deterministic algorithms, or two runs would differ; the CPU's are deterministic as they are.
    with (
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
        InterruptGuard() as guard,
        reporter(progress) as report,
    ):
        while run.position.epoch < config.epochs:
            run.train_epoch(report, guard, checkpoint_seconds)
            run.stop_if_asked(guard)
        metrics = run.metrics or run.evaluate()[1]
    return TrainResult(
        model=run.model.eval(),
        card=run.save(WEIGHTS, metrics),
        metrics=metrics,
        history=tuple(run.position.history),
        best_epoch=run.position.best_epoch,
        split=split,
        label_violations=violations,
        output=run.output,
    )


def held_by_a_run(output: str | Path) -> list[Path]:
    """Files of a training run that a folder holds already, checkpoint first; empty: it is free."""
    candidates = [Path(output) / name for name in (CHECKPOINT, WEIGHTS, BEST_WEIGHTS, *HISTORY)]
    return [path for path in candidates if path.exists()]


def refusal(found: Path) -> str:
    """What to say of a folder that holds a run."""
    return f"{found}: the folder holds a training run; resume it, overwrite it or choose another folder"


class _Run:
    """A run in progress: the network, its optimizer and the position."""

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
    ) -> None:
        self.inputs, self.targets, self.classes, self.split = inputs, targets, classes, split
        self.config, self.output, self.preparation, self.device = config, output, preparation, device
        # The caller's global generator keeps its state.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream_seed(config.seed, Stream.WEIGHTS))
            self.model = preact_resnet(
                config.depth,
                len(classes),
                inputs.shape[1],
                config.width,
                config.first_activation,
                config.alpha,
                learnable_alpha=config.learnable_alpha,
                batch_norm_momentum=config.batch_norm_momentum,
            ).to(device)
        self.kernels = conv_and_linear_kernels(self.model)
        self.loss = ClassificationLoss(config.l1, config.l2, config.penalty)
        self.optimizer = torch.optim.SGD(self.model.parameters(), config.learning_rate, config.momentum, nesterov=True)
        self.steps = steps_per_epoch(len(split.train), config.batch_size)
        self.position = RunPosition()
        self.metrics: ClassificationMetrics | None = None
        self.data_sha256 = data_fingerprint(
            inputs, targets, (torch.from_numpy(split.train), torch.from_numpy(split.validation)), classes
        )

    def start(self, *, resume: bool, overwrite: bool) -> None:
        """Load the checkpoint, or claim the folder for a new run."""
        checkpoint = self.output / CHECKPOINT
        if resume:
            self.position = load_checkpoint(
                checkpoint,
                self.model,
                self.optimizer,
                config=self.config.to_dict(),
                data_sha256=self.data_sha256,
            )
            return
        found = held_by_a_run(self.output)
        if found and not overwrite:
            raise FileExistsError(refusal(found[0]))
        for path in found:
            path.unlink()
        write_text_whole(self.output / CONFIG, self.config.to_json())

    def train_epoch(self, report: ProgressCallback, guard: InterruptGuard, checkpoint_seconds: float) -> None:
        """Run the rest of the epoch at hand, validate, record and save."""
        config, position = self.config, self.position
        order = epoch_order(self.split.train, config.seed, position.epoch)
        last = position.history[-1] if position.history else None
        self.model.train()
        begun = saved = time.monotonic()
        seconds_before = position.seconds
        while position.step < self.steps:
            loss, cross_entropy = self.train_step(order)
            position.step += 1
            position.loss_sum += loss
            position.cross_entropy_sum += cross_entropy
            now = time.monotonic()
            position.seconds = seconds_before + now - begun
            try:
                report(StepReport(position.epoch + 1, config.epochs, position.step, self.steps, loss, last))
            except KeyboardInterrupt:
                guard.signal_number = signal.SIGINT
            if position.step < self.steps:
                self.stop_if_asked(guard)
                if now - saved > checkpoint_seconds:
                    self.save_checkpoint()
                    saved = now
        self.finish_epoch(seconds_before - begun)

    def train_step(self, order: torch.Tensor) -> tuple[float, float]:
        """One step of SGD; returns the loss and its cross-entropy."""
        config, position = self.config, self.position
        batch = order[position.step * config.batch_size :][: config.batch_size]
        images = self.inputs[batch].to(self.device)
        targets = self.targets[batch].to(self.device)
        if config.augmentation is not None:
            generator = stream_generator(config.seed, Stream.AUGMENTATION, position.epoch, position.step)
            images = config.augmentation(images, generator)
        step = position.epoch * self.steps + position.step
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate_at(step, self.steps)
        self.optimizer.zero_grad(set_to_none=True)
        terms = self.loss(self.model(images), targets, self.kernels)
        loss = terms.total.item()
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss became {loss} at epoch {position.epoch + 1}, step {position.step + 1} of "
                f"{self.steps} (learning rate {config.learning_rate_at(step, self.steps):g}); "
                "lower the learning rate or add warm-up epochs"
            )
        terms.total.backward()
        self.optimizer.step()
        return loss, terms.cross_entropy.item()

    def finish_epoch(self, seconds_offset: float) -> None:
        """Validate if it is time, write history and checkpoint, and move on to the next epoch."""
        config, position = self.config, self.position
        epoch = position.epoch + 1
        cross_entropy, self.metrics = None, None
        if epoch % config.validate_every == 0 or epoch == config.epochs:
            cross_entropy, self.metrics = self.evaluate()
        metrics = self.metrics
        position.history.append(
            EpochRecord(
                epoch=epoch,
                learning_rate=config.learning_rate_at(epoch * self.steps - 1, self.steps),
                train_loss=position.loss_sum / self.steps,
                train_cross_entropy=position.cross_entropy_sum / self.steps,
                validation_cross_entropy=cross_entropy,
                accuracy=metrics.accuracy if metrics else None,
                precision=_or_none(metrics.precision) if metrics else None,
                recall=_or_none(metrics.recall) if metrics else None,
                violations_per_image=metrics.violations.per_image if metrics else None,
                seconds=time.monotonic() + seconds_offset,
            )
        )
        self.position = position = RunPosition(
            epoch=epoch,
            best_epoch=position.best_epoch,
            best_accuracy=position.best_accuracy,
            history=position.history,
        )
        if metrics is not None and (position.best_accuracy is None or metrics.accuracy > position.best_accuracy):
            position.best_epoch, position.best_accuracy = epoch, metrics.accuracy
            self.save(BEST_WEIGHTS, metrics)
        write_history(self.output, position.history)
        self.save_checkpoint()

    def evaluate(self) -> tuple[float, ClassificationMetrics]:
        """Cross-entropy and metrics on the validation split, with fresh batch-normalisation statistics."""
        config = self.config
        if config.recalibration_images:
            # The same images each time: the curve then shows the network, not the choice of images.
            chosen = self.split.train[:: max(len(self.split.train) // config.recalibration_images, 1)]
            recalibrate_batch_norm(
                self.model,
                self.inputs[torch.from_numpy(chosen[: config.recalibration_images].copy())],
                batch_size=config.batch_size,
                device=self.device,
            )
        validation = torch.from_numpy(self.split.validation)
        logits = predict_logits(self.model, self.inputs[validation], batch_size=config.batch_size, device=self.device)
        targets = self.targets[validation]
        cross_entropy = functional.binary_cross_entropy_with_logits(logits, targets.float()).item()
        predictions = labels_from_probabilities(logits.sigmoid())
        return cross_entropy, classification_metrics(targets.numpy(), predictions, self.classes)

    def save(self, name: str, metrics: ClassificationMetrics) -> ModelCard:
        """Write the network as it is, with its card."""
        card = ModelCard(
            architecture=self.model.architecture,
            arguments=self.model.arguments,
            classes=self.classes,
            thresholds=(0.5,) * len(self.classes),
            input=self.preparation.to_dict() if self.preparation else {},
            preset=self.config.preset,
            training={"epoch": self.position.epoch, "config": self.config.to_dict()},
            data_sha256=self.data_sha256,
            metrics=metrics.to_dict(),
        )
        save_weights(self.output / name, self.model, card)
        return card

    def save_checkpoint(self) -> None:
        """Write the state of the run."""
        save_checkpoint(
            self.output / CHECKPOINT,
            self.model,
            self.optimizer,
            self.position,
            config=self.config.to_dict(),
            data_sha256=self.data_sha256,
        )

    def stop_if_asked(self, guard: InterruptGuard) -> None:
        """Write a checkpoint and raise if a signal has arrived and something is left to do."""
        if guard.signal_number is not None and self.position.epoch < self.config.epochs:
            self.save_checkpoint()
            raise TrainingInterrupted(self.output / CHECKPOINT, guard.signal_number)


def _check_inputs(inputs: Any) -> None:
    if not isinstance(inputs, torch.Tensor):
        raise TypeError(f"inputs: found {type(inputs).__name__}, expected a torch.Tensor")
    if inputs.dim() != 4:
        raise ValueError(f"inputs: found shape {tuple(inputs.shape)}, expected (N, channels, H, W)")
    if inputs.dtype != torch.float32:
        raise TypeError(f"inputs: found dtype {inputs.dtype}, expected float32; see cdifast.data.prepare")
    for start, images in zip(range(0, len(inputs), 256), inputs.split(256), strict=True):
        finite = torch.isfinite(images).flatten(1).all(1)
        if not finite.all():
            index = start + int((~finite).nonzero()[0])
            raise ValueError(f"inputs: image {index} has NaN or infinite pixels")


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
