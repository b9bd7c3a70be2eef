"""Train an encoder without labels, by contrastive projection learning (P2)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cdifast.data.prepare import InputPreparation
from cdifast.nn.contrastive import ContrastiveModel
from cdifast.nn.weights import ModelCard

from .contrast_config import ContrastConfig
from .contrast_run import ContrastRun
from .distributed import process_group
from .history import ContrastRecord
from .interrupt import InterruptGuard
from .order import Split, shuffled_split
from .progress import ProgressCallback, reporter


@dataclass(frozen=True)
class ContrastResult:
    """What a contrastive training leaves.

    Attributes
    ----------
    model
        Encoder and head after the last epoch, in evaluation mode; ``model.embed(images)`` gives embeddings.
    card
        Its card, as in ``weights.safetensors``.
    history
        One record an epoch.
    split
        Which images were trained on; the other part is empty, unless the configuration keeps some.
    output
        The folder with all files.
    """

    model: ContrastiveModel
    card: ModelCard
    history: tuple[ContrastRecord, ...]
    split: Split
    output: Path


def train_contrastive(
    images: torch.Tensor,
    config: ContrastConfig,
    output: str | Path,
    *,
    mask: torch.Tensor | None = None,
    centers: torch.Tensor | None = None,
    preparation: InputPreparation | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: str | torch.device = "cpu",
    progress: bool | ProgressCallback = False,
    checkpoint_seconds: float = 300.0,
) -> ContrastResult:
    """Train encoder and projection head so that two views of a shot are near and those of different shots apart.

    The folder `output` receives ``weights.safetensors``, ``history.csv`` and ``history.json``, ``config.json`` and
    ``checkpoint.safetensors``; each file appears whole or not at all. The history says whether the training learns or
    collapses (`cdifast.train.collapse`).

    SIGINT (Ctrl-C) and SIGTERM end the run after the step at hand with a checkpoint; ``resume=True`` continues it. On
    one machine, with one number of threads, an interrupted run ends with the same bits as an uninterrupted one, and a
    run repeated with the same seed gives the same weights.

    Under ``torchrun``, or in a process group that the caller made, all processes train one network together: each makes
    the views of its part of every batch, negatives and statistics of the batch normalisation are those of the whole
    batch, so that the result is that of one process but for rounding. All of them must be given the same data and see
    the same folder, which rank 0 writes.

    Parameters
    ----------
    images
        Prepared images (N, 1, S, S) float32 on the CPU, see `cdifast.data.prepare`; in [0, 1] (``scaling="minmax"``)
        where the augmentation's jitter is P2's.
    config
        The recipe; `ContrastConfig()` is P2's, ``CONTRAST_RECIPES["small"]`` one for a CPU.
    output
        Folder, made if missing.
    mask
        Good pixels of the prepared images, bool, (S, S) or (N, S, S); None: all. See `cdifast.data.views.PairViews`.
    centers
        (N, 2) or (2,), (y, x) of the beam in pixels of the prepared images; None: the middle.
    preparation
        How the images were made; goes onto the weights' card.
    resume
        Continue from the checkpoint in `output`.
    overwrite
        Start anew in a folder that holds a run.
    device
        Where to train; a "cuda" without number is, under ``torchrun``, each process's own GPU.
    progress
        On rank 0: True for a progress bar on standard error, or a function that is called with a `StepReport` after
        each step.
    checkpoint_seconds
        Longest time without a checkpoint within an epoch; the end of each epoch writes one anyway.

    Returns
    -------
    ContrastResult

    Raises
    ------
    ValueError
        Images, mask or centres that do not fit, NaN in the images, fewer images than a training needs, a checkpoint of
        another run, or processes with different data.
    TypeError
        Images that are not float32, or a mask that is not bool.
    FileExistsError
        `output` holds a run, and neither `resume` nor `overwrite` was given.
    FileNotFoundError
        `resume` without a checkpoint.
    FloatingPointError
        The loss became NaN or infinite; epoch and step are named.
    TrainingInterrupted
        Stopped by a signal; a `KeyboardInterrupt` that names the checkpoint.
    """
    _check_images(images, config)
    split = _split(len(images), config)
    with process_group(device) as ranks:
        run = ContrastRun(images, split, config, Path(output), mask, centers, preparation, ranks.device(device), ranks)
        run.start(resume=resume, overwrite=overwrite)
        # Only deterministic algorithms, or two runs would differ; the CPU's are deterministic as they are.
        with (
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
            InterruptGuard() as guard,
            reporter(progress if ranks.is_first else False) as report,
        ):
            while run.position.epoch < config.epochs:
                run.train_epoch(report, guard, checkpoint_seconds)
                run.stop_if_asked(guard)
        card = run.save()
    return ContrastResult(run.plain_model(), card, tuple(run.position.history), split, run.output)


def _check_images(images: torch.Tensor, config: ContrastConfig) -> None:
    if not isinstance(images, torch.Tensor):
        raise TypeError(f"images: found {type(images).__name__}, expected a torch.Tensor")
    if images.dim() != 4 or images.shape[1] != 1 or images.shape[2] != images.shape[3]:
        raise ValueError(f"images: found shape {tuple(images.shape)}, expected (N, 1, S, S)")
    if images.dtype != torch.float32:
        raise TypeError(f"images: found dtype {images.dtype}, expected float32; see cdifast.data.prepare")
    if len(images) < 2:
        raise ValueError(f"images: found {len(images)}, expected at least 2")
    augmentation = config.views.augmentation
    clipped = augmentation is not None and augmentation.jitters and augmentation.jitter == "linear"
    for start, some in zip(range(0, len(images), 256), images.split(256), strict=True):
        low, high = some.flatten(1).amin(1), some.flatten(1).amax(1)
        finite = torch.isfinite(low) & torch.isfinite(high)
        if not finite.all():
            raise ValueError(f"images: image {start + int((~finite).nonzero()[0])} has NaN or infinite pixels")
        outside = (low < -1e-5) | (high > 1 + 1e-5)
        if clipped and outside.any() and config.views.unwrapping == "polar":
            index = int(outside.nonzero()[0])
            raise ValueError(
                f"images: image {start + index} spans {low[index]:g} to {high[index]:g}, but P2's jitter clips to "
                "[0, 1]; prepare with scaling='minmax', or use an augmentation with jitter='power' (views 'counts')"
            )


def _split(count: int, config: ContrastConfig) -> Split:
    if config.validation_fraction == 0:
        return Split(np.arange(count), np.arange(0))
    return shuffled_split(count, 1 - config.validation_fraction, config.seed)
