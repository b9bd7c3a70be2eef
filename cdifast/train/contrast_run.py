"""A contrastive training in progress: steps, monitors, files."""

from __future__ import annotations

import math
import time
from pathlib import Path

import torch
from torch import nn

from cdifast.data.prepare import InputPreparation
from cdifast.data.views import PairViews
from cdifast.nn.contrastive import ContrastiveModel, contrastive_model, contrastive_preset
from cdifast.nn.weights import ModelCard, save_weights

from .checkpoint import data_fingerprint
from .collapse import CollapseMonitors, collapse_monitors
from .contrast_config import ContrastConfig
from .contrast_position import ContrastPosition
from .cross_rank_batch_norm import convert_batch_norm
from .distributed import Ranks, average_gradients, require_same, sum_over_ranks
from .history import ContrastRecord, write_history
from .lars import LARS
from .nt_xent import nt_xent
from .optimizers import make_optimizer
from .order import Split, Stream, part_of_rank, stream_generator, stream_seed
from .precision import autocast_dtype, loss_scaler
from .resumable import WEIGHTS, ResumableRun
from .vicreg import vicreg


class ContrastRun(ResumableRun[ContrastConfig, ContrastPosition]):
    """The training of an encoder without labels in progress."""

    def __init__(
        self,
        images: torch.Tensor,
        split: Split,
        config: ContrastConfig,
        output: Path,
        mask: torch.Tensor | None,
        centers: torch.Tensor | None,
        preparation: InputPreparation | None,
        device: torch.device,
        ranks: Ranks,
    ) -> None:
        super().__init__(split, config, ContrastPosition(), output, device, ranks)
        self.images, self.preparation = images, preparation
        smallest = min(config.batch_size, len(split.train))
        if smallest < max(2, ranks.world_size):
            raise ValueError(
                f"images: found {smallest} a step, expected at least 2 and one for each of {ranks.world_size} ranks"
            )
        self.views = PairViews(config.views, images.shape[-1], mask=mask, centers=centers, device=device)
        if self.views.count not in (None, len(images)):
            raise ValueError(f"mask, centers: found {self.views.count} shots, expected 1 or {len(images)}")
        # The caller's global generator keeps its state.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream_seed(config.seed, Stream.WEIGHTS))
            model = contrastive_preset(
                config.encoder,
                embedding=config.embedding,
                encoder=config.encoder_arguments,
                head=config.head_arguments,
            )
        self.layout = torch.channels_last if config.channels_last else torch.contiguous_format
        self.model = model.to(device, memory_format=self.layout)  # type: ignore[call-overload]
        if ranks.world_size > 1:
            convert_batch_norm(self.model)
        self.optimizer = _optimizer(self.model, config)
        self.dtype = autocast_dtype(config.mixed_precision, device)
        self.scaler = loss_scaler(self.dtype, device)
        self.monitors: CollapseMonitors | None = None
        none = torch.empty(0)
        parts = (*map(torch.from_numpy, split), none if mask is None else torch.as_tensor(mask))
        self.data_sha256 = data_fingerprint(
            images, none if centers is None else torch.as_tensor(centers), parts, ("contrast",)
        )
        require_same(self.data_sha256 + config.to_json(), "images, mask, centers or config", device)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """Encoder and head."""
        return {"model": self.model}

    @property
    def trainer(self) -> tuple[torch.optim.Optimizer, torch.amp.GradScaler]:
        """What changes them."""
        return self.optimizer, self.scaler

    def train_step(self, batch: torch.Tensor) -> float:
        """Change the weights by the shots of a whole batch; returns the loss."""
        config, position = self.config, self.position
        rows = part_of_rank(batch, self.ranks.rank, self.ranks.world_size)
        generator = stream_generator(config.seed, Stream.AUGMENTATION, position.epoch, position.step)
        views = self.views.pair(self.images[batch[rows]], batch, generator, rows=rows)
        rate = config.learning_rate_at(position.epoch * self.steps + position.step, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(*self.project(*views))
        mean = sum_over_ranks(loss.detach()).item() / self.ranks.world_size
        if not math.isfinite(mean):
            raise FloatingPointError(
                f"the loss became {mean} at epoch {position.epoch + 1}, step {position.step + 1} of {self.steps} "
                f"(learning rate {rate:g}); lower the learning rate or add warm-up epochs"
            )
        self.scaler.scale(loss).backward()
        average_gradients(self.model.parameters())
        self.scaler.step(self.optimizer)
        self.scaler.update()
        position.loss_sum += mean
        return mean

    def project(self, first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Projections of both views.

        Views of one size go through the network as one batch (SimCLR): the batch normalisation then has statistics of
        both kinds together, in training as later; each kind's own would be averaged to ones that fit neither.
        """
        with torch.autocast(self.device.type, self.dtype, self.dtype is not None):
            if first.shape[2:] != second.shape[2:]:
                return self.model(self.laid_out(first)), self.model(self.laid_out(second))
            z_a, z_b = self.model(self.laid_out(torch.cat([first, second]))).split([len(first), len(second)])
            return z_a, z_b

    def laid_out(self, views: torch.Tensor) -> torch.Tensor:
        """Views in the memory format of the weights."""
        return views.contiguous(memory_format=self.layout)

    def loss(self, z_a: torch.Tensor, z_b: torch.Tensor) -> torch.Tensor:
        """The loss of the configuration, whose mean over ranks is that of the whole batch."""
        if self.config.loss == "vicreg":
            return vicreg(z_a, z_b).total
        return nt_xent(z_a, z_b, self.config.tau, block=self.config.block)

    def finish_epoch(self, seconds_offset: float) -> None:
        """Measure if it is time, write history and checkpoint, and move on to the next epoch."""
        config, position = self.config, self.position
        epoch = position.epoch + 1
        self.monitors = None
        if epoch % config.monitor_every == 0 or epoch == config.epochs:
            self.monitors = self.measure()
        found = self.monitors._asdict() if self.monitors else dict.fromkeys(CollapseMonitors._fields)
        record = ContrastRecord(
            epoch=epoch,
            learning_rate=config.learning_rate_at(epoch * self.steps - 1, self.steps),
            train_loss=position.loss_sum / self.steps,
            seconds=time.monotonic() + seconds_offset,
            **found,
        )
        self.position = ContrastPosition(epoch=epoch, history=[*position.history, record])
        if self.ranks.is_first:
            write_history(self.output, self.position.history)
        self.save_checkpoint()

    @torch.no_grad()
    def measure(self, chunk: int = 128) -> CollapseMonitors | None:
        """Monitors of the same shots under the same changes each time, on rank 0."""
        pool = self.split.validation if len(self.split.validation) else self.split.train
        order = torch.randperm(len(pool), generator=stream_generator(self.config.seed, Stream.MONITOR))
        shots = torch.from_numpy(pool)[order[: self.config.monitor_images]]
        if len(shots) < 2 or not self.ranks.is_first:
            return None
        # Rank 0 alone: in evaluation mode no layer waits for the others.
        self.model.eval()
        projections = []
        for number, some in enumerate(shots.split(chunk)):
            generator = stream_generator(self.config.seed, Stream.MONITOR, 1, number)
            projections.append(self.project(*self.views.pair(self.images[some], some, generator)))
        z_a, z_b = (torch.cat(z).float() for z in zip(*projections, strict=True))
        return collapse_monitors(z_a, z_b)

    def plain_model(self) -> ContrastiveModel:
        """The network in evaluation mode, on one process again."""
        with torch.random.fork_rng(devices=[]):
            model = contrastive_model(**self.model.arguments)
        model.load_state_dict(self.model.state_dict())
        return model.to(self.device).eval()

    def save(self) -> ModelCard:
        """Write the weights with their card."""
        last = self.position.history[-1]
        card = ModelCard(
            architecture=self.model.architecture,
            arguments=self.model.arguments,
            classes=(),
            thresholds=(),
            input=self.preparation.to_dict() if self.preparation else {},
            preset=self.config.preset,
            training={"epoch": self.position.epoch, "config": self.config.to_dict()},
            data_sha256=self.data_sha256,
            metrics={"train_loss": last.train_loss}
            | {name: getattr(last, name) for name in CollapseMonitors._fields if getattr(last, name) is not None},
        )
        if self.ranks.is_first:
            save_weights(self.output / WEIGHTS, self.model, card)
        return card


def _optimizer(model: torch.nn.Module, config: ContrastConfig) -> torch.optim.Optimizer:
    if config.optimizer == "lars":
        return LARS(
            model.parameters(),
            config.rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            trust=config.trust,
        )
    return make_optimizer(
        model, config.optimizer, config.rate, momentum=config.momentum, weight_decay=config.weight_decay
    )
