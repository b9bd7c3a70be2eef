"""What every training run does alike: epochs of steps, a folder of its own, checkpoints, and an end when asked."""

from __future__ import annotations

import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Generic, Protocol, Self, TypeVar

import torch

from cdifast._atomic import write_text_whole

from .checkpoint import load_checkpoint, save_checkpoint
from .distributed import Ranks, any_rank
from .history import HISTORY
from .interrupt import InterruptGuard, TrainingInterrupted
from .order import Split, epoch_order, steps_per_epoch
from .progress import ProgressCallback, StepReport

CHECKPOINT: Final = "checkpoint.safetensors"
WEIGHTS: Final = "weights.safetensors"
BEST_WEIGHTS: Final = "weights-best.safetensors"
CONFIG: Final = "config.json"


class RunConfig(Protocol):
    """What a run asks of its configuration."""

    @property
    def epochs(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def seed(self) -> int: ...
    def to_dict(self) -> dict[str, Any]: ...
    def to_json(self) -> str: ...


class Position(Protocol):
    """How far a run has come: epochs completed, and steps of the next with the time that they took."""

    epoch: int
    step: int
    seconds: float
    history: list[Any]

    def to_dict(self) -> dict[str, Any]: ...
    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self: ...


C = TypeVar("C", bound=RunConfig)
P = TypeVar("P", bound=Position)


def held_by_a_run(output: str | Path) -> list[Path]:
    """Files of a training run that a folder holds already, checkpoint first; empty: it is free."""
    candidates = [Path(output) / name for name in (CHECKPOINT, WEIGHTS, BEST_WEIGHTS, *HISTORY)]
    return [path for path in candidates if path.exists()]


def refusal(found: Path) -> str:
    """What to say of a folder that holds a run."""
    return f"{found}: the folder holds a training run; resume it, overwrite it or choose another folder"


class ResumableRun(ABC, Generic[C, P]):
    """A run in progress: how far it is, and its files, which rank 0 writes.

    Parameters
    ----------
    split
        Which images are trained on.
    config, position
        The run's, and where it begins.
    output
        Its folder.
    device, ranks
        Where it runs.
    """

    data_sha256: str
    """Fingerprint of the data, which a checkpoint must have too."""

    def __init__(self, split: Split, config: C, position: P, output: Path, device: torch.device, ranks: Ranks) -> None:
        self.split, self.config, self.position, self.output = split, config, position, output
        self.device, self.ranks = device, ranks
        self.steps = steps_per_epoch(len(split.train), config.batch_size)

    @property
    @abstractmethod
    def modules(self) -> Mapping[str, torch.nn.Module]:
        """What is trained, by the names that checkpoints give it."""

    @property
    @abstractmethod
    def trainer(self) -> tuple[torch.optim.Optimizer, torch.amp.GradScaler]:
        """What changes it."""

    @abstractmethod
    def train_step(self, batch: torch.Tensor) -> float:
        """Change the weights by the images of a batch; returns the loss, after adding it to the position's sums."""

    @abstractmethod
    def finish_epoch(self, seconds_offset: float) -> None:
        """Measure if it is time, write history and checkpoint, and move on to the next epoch."""

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.position.epoch >= self.config.epochs

    def start(self, *, resume: bool, overwrite: bool) -> None:
        """Load the checkpoint, or claim the folder for a new run."""
        optimizer, scaler = self.trainer
        if resume:
            content = load_checkpoint(
                self.output / CHECKPOINT,
                self.modules,
                optimizer,
                config=self.config.to_dict(),
                data_sha256=self.data_sha256,
                scaler=scaler,
            )
            self.position = self.position.from_dict(content)
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
        """Run the rest of the epoch at hand, then `finish_epoch`."""
        config, position = self.config, self.position
        order = epoch_order(self.split.train, config.seed, position.epoch)
        last = position.history[-1] if position.history else None
        self.modules["model"].train()
        begun = saved = time.monotonic()
        seconds_before = position.seconds
        while position.step < self.steps:
            loss = self.train_step(order[position.step * config.batch_size :][: config.batch_size])
            position.step += 1
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

    def save_checkpoint(self) -> None:
        """Write the state of the run."""
        if self.ranks.is_first:
            optimizer, scaler = self.trainer
            save_checkpoint(
                self.output / CHECKPOINT,
                self.modules,
                optimizer,
                self.position.to_dict(),
                config=self.config.to_dict(),
                data_sha256=self.data_sha256,
                scaler=scaler,
            )

    def stop_if_asked(self, guard: InterruptGuard) -> None:
        """Write a checkpoint and raise if a signal has arrived on any rank and something is left to do."""
        if any_rank(guard.signal_number is not None, self.device) and not self.finished:
            self.save_checkpoint()
            # The first rank to leave ends the others: none does before the file is whole.
            any_rank(False, self.device)
            raise TrainingInterrupted(self.output / CHECKPOINT, guard.signal_number or signal.SIGTERM)
