"""A training step of P1's ResNet18, with its log activation and our batches, beside the same network written plainly.

Ours draws the batch from the images in memory, flips it and changes brightness and contrast; the plain one is given
its batch. Ratio and shares of a step in one run: ``python -m benchmarks.training_profile``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from cdifast.labels import CLASSES
from cdifast.train import TrainConfig
from cdifast.train.distributed import Ranks
from cdifast.train.step import TrainStep

from .call import Call, EntryTimer
from .inputs import frames
from .peers import training as peers

SIZE, BATCH, IMAGES = 224, 48, 192
# So low that weights hardly move over the rounds: each round does the same work.
P1 = TrainConfig(learning_rate=1e-4)


@functools.lru_cache(maxsize=1)
def data() -> tuple[Tensor, Tensor]:
    """Images (192, 1, 224, 224) and labels."""
    images = frames(SIZE, "float32", IMAGES)[:, None]
    labels = torch.arange(IMAGES * len(CLASSES)).remainder(7).eq(0).to(torch.uint8).view(IMAGES, -1)
    return images * (10 / images.mean()), labels


def our_step(config: TrainConfig = P1, kind: type[TrainStep] = TrainStep) -> Callable[[], Tensor]:
    """A step as `train_classifier` does it, batch preparation included."""
    images, labels = data()
    step = kind(images, labels, labels, config, device=torch.device("cpu"), ranks=Ranks())
    step.model.train()
    rows = torch.arange(IMAGES).view(-1, BATCH).T.flatten()[:BATCH]
    return lambda: torch.tensor(step(rows, 0, 0, 128).total)


def plain_step() -> Callable[[], Tensor]:
    """The plain one's."""
    images, labels = data()
    return peers.step(images[:BATCH].contiguous(), labels[:BATCH])


ENTRIES: dict[str, Callable[[], Callable[[], Tensor]]] = {
    "ours, P1": our_step,
    "ours, P1 with LeakyReLU": lambda: our_step(TrainConfig(learning_rate=1e-4, first_activation="leaky")),
    "ours, fast": lambda: our_step(TrainConfig.recipe("fast", learning_rate=1e-4)),
    "torchvision's style, LeakyReLU": plain_step,
}


@pytest.mark.parametrize("name", ENTRIES)
def test_step(name: str, entry: EntryTimer) -> None:
    entry("one step of 48 images", name, lambda: Call(ENTRIES[name](), BATCH, tolerance=None), None, size=SIZE)
