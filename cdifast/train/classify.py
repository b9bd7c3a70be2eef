"""Train a classifier of diffraction images (P1, section 3.1.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import nn

from cdifast.data.map_input import MapPreparation
from cdifast.data.prepare import Preparation
from cdifast.evaluate.metrics import ClassificationMetrics
from cdifast.evaluate.rules import RuleViolations
from cdifast.labels import CLASSES
from cdifast.nn.weights import ModelCard

from .config import TrainConfig
from .distributed import process_group
from .history import EpochRecord
from .interrupt import InterruptGuard
from .labels import BadLabels, check_labels, without_images
from .order import Split, check_split, shuffled_split
from .progress import ProgressCallback, reporter
from .resumable import BEST_WEIGHTS, CHECKPOINT, CONFIG, WEIGHTS, held_by_a_run, refusal
from .run import TrainingRun
from .tensorboard import EpochWriter, require_tensorboard

__all__ = [
    "BEST_WEIGHTS",
    "CHECKPOINT",
    "CONFIG",
    "WEIGHTS",
    "TrainResult",
    "held_by_a_run",
    "refusal",
    "train_classifier",
]


@dataclass(frozen=True)
class TrainResult:
    """What a training run leaves.

    Attributes
    ----------
    model
        The network after the last epoch, in evaluation mode; with an average of the weights, that.
    card
        Its card, as in ``weights.safetensors``.
    metrics
        Its metrics on the validation split, at the threshold 0.5.
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
    stopped_early
        Whether the run ended before its last epoch because its patience was at an end.
    """

    model: nn.Module
    card: ModelCard
    metrics: ClassificationMetrics
    history: tuple[EpochRecord, ...]
    best_epoch: int
    split: Split
    label_violations: RuleViolations
    output: Path
    stopped_early: bool = False


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
    bad_labels: BadLabels = "keep",
    numbers: ArrayLike | None = None,
    tensorboard: bool = False,
) -> TrainResult:
    """Train a classifier, by default P1's pre-activation residual network, on prepared images.

    The folder `output` receives ``weights.safetensors`` (after the last epoch), ``weights-best.safetensors``
    (best validation accuracy), ``history.csv`` and ``history.json``, ``config.json`` and
    ``checkpoint.safetensors``; each file appears whole or not at all.

    SIGINT (Ctrl-C) and SIGTERM end the run after the step at hand with a checkpoint; ``resume=True``
    continues it. On one machine, with one number of threads, an interrupted run ends with the same bits as
    an uninterrupted one, and a run repeated with the same seed gives the same weights.

    Under ``torchrun``, or in a process group that the caller made, all processes train one network together:
    each takes its part of every batch, statistics of the batch normalisation are those of the whole batch, and
    gradients are averaged by the number of images, so that the result is that of one process but for rounding
    (and but for dropout). All of them must be given the same data and see the same folder, which rank 0 writes.

    Parameters
    ----------
    inputs
        Prepared images (N, channels, S, S) float32 on the CPU, see `cdifast.data.prepare`.
    labels
        (N, len(classes)), 0 or 1.
    config
        The recipe; `TrainConfig()` is P1's, ``TrainConfig.recipe("fast")`` a faster one.
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
        Where to train; a "cuda" without number is, under ``torchrun``, each process's own GPU.
    progress
        On rank 0: True for a progress bar on standard error, or a function that is called with a `StepReport` after
        each step.
    checkpoint_seconds
        Longest time without a checkpoint within an epoch; the end of each epoch writes one anyway.
    bad_labels
        What to do with images whose labels break the exclusion rules: ``"keep"`` and report them, since real labels
        have true exceptions (P1 trained on five); ``"drop"`` them from both parts of the split, and report them;
        ``"refuse"`` them.
    numbers
        (N,) what the images are called in such reports, for example their places in a longer stack; None: 0 to
        N - 1. `TrainResult` counts from 0 anyway.
    tensorboard
        Also write the numbers of each epoch for TensorBoard, into ``tensorboard`` in the folder.

    Returns
    -------
    TrainResult

    Raises
    ------
    ValueError
        Inputs, labels or split that do not fit, NaN in the inputs, labels that break the rules and are refused,
        correlation maps that would be turned, a checkpoint of another run, or processes with different data.
    TypeError
        Inputs that are not float32.
    FileExistsError
        `output` holds a run, and neither `resume` nor `overwrite` was given.
    FileNotFoundError
        `resume` without a checkpoint.
    ImportError
        TensorBoard is asked for and not installed.
    FloatingPointError
        The loss became NaN or infinite; epoch and step are named.
    TrainingInterrupted
        Stopped by a signal; a `KeyboardInterrupt` that names the checkpoint.

    Warns
    -----
    LabelRuleWarning
        Labels break the exclusion rules and are kept or dropped.
    """
    if tensorboard:
        require_tensorboard()
    classes = tuple(classes)
    _check_inputs(inputs)
    if isinstance(preparation, MapPreparation) and config.augmentation is not None and config.augmentation.resamples:
        raise ValueError(
            "config: its augmentation turns, crops or shifts images, and the inputs are correlation maps; expected "
            "config.for_maps()"
        )
    targets, violations = check_labels(labels, len(inputs), classes, bad_labels=bad_labels, numbers=numbers)
    if split is None:
        split = shuffled_split(len(inputs), config.train_fraction, config.seed)
    split = check_split(split, len(inputs))
    if bad_labels == "drop":
        split = check_split(without_images(split, violations.indices), len(inputs))
    with process_group(device) as ranks:
        here = ranks.device(device)
        run = TrainingRun(inputs, targets, classes, split, config, Path(output), preparation, here, ranks)
        run.start(resume=resume, overwrite=overwrite)
        if tensorboard and ranks.is_first:
            run.writer = EpochWriter(run.output, run.position.epoch)
        # Only deterministic algorithms, or two runs would differ; the CPU's are deterministic as they are.
        with (
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
            InterruptGuard() as guard,
            reporter(progress if ranks.is_first else False) as report,
        ):
            try:
                while not run.finished:
                    run.train_epoch(report, guard, checkpoint_seconds)
                    run.stop_if_asked(guard)
            finally:
                if run.writer is not None:
                    run.writer.close()
            run.validation = run.validation or run.evaluate()
        card = run.save(WEIGHTS)
    return TrainResult(
        model=run.step.evaluated.eval(),
        card=card,
        metrics=run.validation.metrics,
        history=tuple(run.position.history),
        best_epoch=run.position.best_epoch,
        split=split,
        label_violations=violations,
        output=run.output,
        stopped_early=run.position.history[-1].stopped_early,
    )


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
