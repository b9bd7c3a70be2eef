"""The contrastive loop: what it computes, that it learns, and that it continues bit by bit, on one rank and on two."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cdifast.data.augment import Augmentation
from cdifast.data.prepare import InputPreparation
from cdifast.data.view_recipe import VIEW_PRESETS
from cdifast.nn import load_classifier, load_encoder
from cdifast.train import (
    CONTRAST_RECIPES,
    ContrastConfig,
    ContrastResult,
    StepReport,
    TrainingInterrupted,
    train_contrastive,
)
from cdifast.train.resumable import CHECKPOINT, WEIGHTS
from tests.train.ranks import run_on_ranks

SIZE = 16
SMALL = ContrastConfig(
    encoder="small",
    encoder_arguments={"width": 0.125},
    head_arguments={"hidden": 16, "out": 8},
    views=VIEW_PRESETS["counts"],
    epochs=3,
    batch_size=8,
    warmup_epochs=1,
    seed=3,
    validation_fraction=0.2,
)


def shots(count: int, seed: int = 0, size: int = SIZE) -> torch.Tensor:
    """Elliptical rings of many spacings and shapes, with photon noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    images = np.empty((count, 1, size, size), np.float32)
    for image in images:
        angle, period, ratio = rng.uniform(0, np.pi), rng.uniform(3, 8), rng.uniform(1, 2)
        u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        radius = np.hypot(u, ratio * v)
        image[0] = rng.poisson(20 * np.exp(-radius / 8) * (1 + np.cos(2 * np.pi * radius / period)))
    return torch.from_numpy(images)


@pytest.fixture(scope="module")
def data() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images, masks and centres."""
    generator = torch.Generator().manual_seed(1)
    mask = torch.rand(40, SIZE, SIZE, generator=generator) > 0.1
    return shots(40) * mask[:, None], mask, (SIZE - 1) / 2 + torch.rand(40, 2, generator=generator)


def train(data: tuple, output: Path, config: ContrastConfig = SMALL, **options: object) -> ContrastResult:
    images, mask, centers = data
    return train_contrastive(images, config, output, mask=mask, centers=centers, **options)


def history(folder: Path) -> list[dict]:
    records = json.loads((folder / "history.json").read_text())
    for record in records:
        del record["seconds"]
    return records


def assert_same_run(first: Path, second: Path) -> None:
    """Weights, statistics, the optimizer's state and the history are bit for bit the same, but for wall times."""
    for name in (CHECKPOINT, WEIGHTS):
        one, other = load_file(first / name), load_file(second / name)
        assert one.keys() == other.keys()
        for key, tensor in one.items():
            assert torch.equal(tensor, other[key]), (name, key)
    assert any(key.startswith("optimizer/") for key in load_file(first / CHECKPOINT))
    assert history(first) == history(second)
    assert len(history(first)) == SMALL.epochs


@pytest.fixture(scope="module")
def straight(data: tuple, tmp_path_factory: pytest.TempPathFactory) -> ContrastResult:
    return train(data, tmp_path_factory.mktemp("straight"), preparation=InputPreparation(SIZE))


def test_interrupted_run_continues_bit_by_bit(data: tuple, straight: ContrastResult, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    def interrupt(report: StepReport) -> None:
        seen.append((report.epoch, report.step))
        if seen[-1] in ((1, 2), (2, 3)):
            os.kill(os.getpid(), signal.SIGINT)

    for resume in (False, True):
        with pytest.raises(TrainingInterrupted, match="stopped by SIGINT; resume it from"):
            train(data, tmp_path, progress=interrupt, resume=resume)
    train(data, tmp_path, progress=interrupt, resume=True)
    assert seen == [(epoch, step) for epoch in (1, 2, 3) for step in (1, 2, 3, 4)]
    assert_same_run(straight.output, tmp_path)
    assert not list(tmp_path.glob(".*"))


def test_same_seed_same_weights_other_seed_others(data: tuple, straight: ContrastResult, tmp_path: Path) -> None:
    torch.manual_seed(999)  # the global generator must not matter, nor be disturbed
    state = torch.get_rng_state()
    train(data, tmp_path / "again")
    assert torch.equal(torch.get_rng_state(), state)
    assert_same_run(straight.output, tmp_path / "again")
    other = train(data, tmp_path / "other", dataclasses.replace(SMALL, seed=4, epochs=1))
    assert history(other.output)[0] != history(straight.output)[0]


def test_files_rebuild_the_encoder(data: tuple, straight: ContrastResult) -> None:
    model, card = load_classifier(straight.output / WEIGHTS)
    images = data[0][:5]
    with torch.no_grad():
        assert torch.equal(model.embed(images), straight.model.embed(images))
    assert json.loads(card.to_json()) == json.loads(straight.card.to_json())
    assert card.architecture == "contrastive"
    assert card.input == InputPreparation(SIZE).to_dict()
    assert ContrastConfig.from_dict(card.training["config"]) == SMALL
    assert ContrastConfig.from_dict(json.loads((straight.output / "config.json").read_text())) == SMALL
    last = straight.history[-1]
    assert card.metrics["retrieval"] == last.retrieval
    assert 1 <= last.effective_rank <= 8
    assert len(straight.split.validation) == 8


# A training of seconds learns little else.
GENTLE = Augmentation(0.5, 0.0, 0.2, 0.05, rotation=20)


@pytest.mark.parametrize("entries", [{}, {"loss": "vicreg"}])
def test_learns_and_does_not_collapse(tmp_path: Path, entries: dict) -> None:
    config = dataclasses.replace(
        SMALL,
        views=dataclasses.replace(VIEW_PRESETS["counts"].with_mode("detector-detector"), augmentation=GENTLE),
        optimizer="adamw",
        learning_rate=1e-2,
        epochs=15,  # with 10, VICReg passes or fails with the number of threads
        batch_size=32,
        head_arguments={"hidden": 32, "out": 16},
        monitor_every=5,
        **entries,
    )
    result = train_contrastive(shots(160), config, tmp_path)
    assert [record.retrieval is not None for record in result.history] == [False, False, False, False, True] * 3
    last = result.history[-1]
    assert last.train_loss < 0.9 * result.history[0].train_loss
    # Chance is 1 of the 32 that were kept out of training; 8 or more have a probability of 1e-5.
    assert last.retrieval >= 8 / 32
    assert last.effective_rank > 2
    assert last.uniformity < -0.5


def test_mixed_precision_is_close_to_float32(tmp_path: Path) -> None:
    # Not smaller: torch's gradient of a strided bfloat16 convolution of a single pixel is wrong on the CPU (2.13).
    images = shots(16, size=32)
    config = dataclasses.replace(SMALL, epochs=1, validation_fraction=0)
    losses = []
    for precision in ("none", "bfloat16"):
        config = dataclasses.replace(config, mixed_precision=precision)
        result = train_contrastive(images, config, tmp_path / precision)
        losses.append(result.history[0].train_loss)
        assert all(parameter.dtype == torch.float32 for parameter in result.model.parameters())
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def test_channels_last_changes_nothing_but_rounding(tmp_path: Path) -> None:
    config = dataclasses.replace(SMALL, epochs=1, validation_fraction=0)
    images, results = shots(16, size=32), []
    for layout in (False, True):
        config = dataclasses.replace(config, channels_last=layout)
        results.append(train_contrastive(images, config, tmp_path / str(layout)))
        assert all(parameter.is_contiguous() for parameter in results[-1].model.parameters())
    assert results[1].history[0].train_loss == pytest.approx(results[0].history[0].train_loss, rel=1e-4)
    plain = load_encoder(tmp_path / "True" / "weights.safetensors")[0]
    assert torch.equal(plain(images), results[1].model.embed(images))


def two_ranks(rank: int, folder: str) -> dict[str, object]:
    # Loads no test data: what a rank is given must be made by it.
    result = train_contrastive(shots(20), RANKS_CONFIG, Path(folder) / "run")
    refused = ""
    try:
        train_contrastive(shots(20, seed=rank), RANKS_CONFIG, Path(folder) / "other")
    except ValueError as error:
        refused = str(error)
    return {
        "loss": [record.train_loss for record in result.history],
        "state": dict(result.model.state_dict()),
        "refused": refused,
    }


# Seven shots a step: ranks have parts of unequal size. Small steps, or rounding would grow.
RANKS_CONFIG = dataclasses.replace(
    SMALL, batch_size=7, epochs=2, validation_fraction=0, warmup_epochs=2, learning_rate=0.01
)


def test_two_ranks_equal_one_process(tmp_path: Path) -> None:
    found = run_on_ranks(two_ranks, 2, tmp_path, str(tmp_path))
    alone = train_contrastive(shots(20), RANKS_CONFIG, tmp_path / "alone")
    for of_rank in found:
        assert of_rank["loss"] == pytest.approx([record.train_loss for record in alone.history], rel=1e-4)
        torch.testing.assert_close(of_rank["state"], dict(alone.model.state_dict()), rtol=1e-3, atol=1e-4)
        assert "images, mask, centers or config: found another on rank 1" in of_rank["refused"]
    # Rank 0's files are whole, and go on in one process.
    model, _ = load_classifier(tmp_path / "run" / WEIGHTS)
    torch.testing.assert_close(dict(model.state_dict()), found[0]["state"], rtol=0, atol=0)
    assert not (tmp_path / "other").exists()
    with pytest.raises(FileExistsError, match="the folder holds a training run"):
        train_contrastive(shots(20), RANKS_CONFIG, tmp_path / "run")
    train_contrastive(shots(20), RANKS_CONFIG, tmp_path / "run", resume=True)


def test_configuration_is_p2s() -> None:
    config = ContrastConfig()
    assert config.rate == pytest.approx(2.506, abs=5e-4)
    assert (config.tau, config.epochs, config.batch_size, config.preset) == (0.1, 1000, 628, "p2")
    assert dataclasses.replace(config, views=config.views.with_mode("unwrapped-detector")).tau == 0.075
    steps = 2
    assert config.learning_rate_at(0, steps) == pytest.approx(config.rate / 20)
    assert config.learning_rate_at(19, steps) == pytest.approx(config.rate)
    middle = 20 + (2000 - 20) // 2
    assert config.learning_rate_at(middle, steps) == pytest.approx(config.rate / 2)
    quarter = config.rate * (1 + math.cos(math.pi / 4)) / 2
    assert config.learning_rate_at(20 + 495, steps) == pytest.approx(quarter)
    assert config.learning_rate_at(1999, steps) < 1e-5 * config.rate
    assert config.scaled(100).warmup_epochs == 1
    assert config.scaled(100).preset == "p2 over 100 epochs"
    assert dataclasses.replace(config, seed=7, validation_fraction=0.1).preset == "p2"
    assert dataclasses.replace(config, trust=0.1).preset == "custom"
    for name, recipe in CONTRAST_RECIPES.items():
        assert recipe.preset == name
        assert ContrastConfig.from_dict(json.loads(recipe.to_json())) == recipe
    with pytest.raises(ValueError, match="unknown entries depth"):
        ContrastConfig.from_dict({"depth": 18})


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"encoder": "large"}, "encoder: found 'large', expected one of p2, p2-code, small"),
        ({"loss": "triplet"}, "loss: found 'triplet'"),
        ({"batch_size": 1}, "batch_size: found 1, expected at least 2"),
        ({"temperature": 0.0}, "temperature: found 0.0"),
        ({"momentum": 1.0}, "momentum: found 1.0"),
        ({"warmup_epochs": -1}, "warmup_epochs: found -1"),
        ({"epochs": 0}, "epochs: found 0"),
    ],
)
def test_wrong_entries_are_named(entries: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ContrastConfig(**entries)


def test_what_does_not_fit_is_refused(data: tuple, straight: ContrastResult, tmp_path: Path) -> None:
    images, mask, centers = data
    with pytest.raises(FileExistsError, match="the folder holds a training run"):
        train(data, straight.output)
    with pytest.raises(FileNotFoundError, match="no checkpoint to resume from"):
        train(data, tmp_path, resume=True)
    with pytest.raises(ValueError, match="another configuration: seed 3"):
        train(data, straight.output, dataclasses.replace(SMALL, seed=4), resume=True)
    with pytest.raises(ValueError, match="a run on other data"):
        train((images, ~mask, centers), straight.output, resume=True)
    with pytest.raises(ValueError, match=r"images: image 0 spans 0 to \d+, but P2's jitter clips"):
        train(data, tmp_path, dataclasses.replace(SMALL, views=VIEW_PRESETS["p2"]))
    with pytest.raises(ValueError, match="mask, centers: found 39 shots, expected 1 or 40"):
        train((images, mask[:39], None), tmp_path)
    with pytest.raises(TypeError, match=r"images: found dtype torch.float64"):
        train((images.double(), mask, None), tmp_path)
    spoilt = images.clone()
    spoilt[7, 0, 3, 3] = math.nan
    with pytest.raises(ValueError, match="image 7 has NaN"):
        train((spoilt, mask, None), tmp_path)
    with pytest.raises(FloatingPointError, match=r"the loss became nan at epoch \d+, step"):
        train(data, tmp_path, dataclasses.replace(SMALL, optimizer="adamw", learning_rate=1e30))
