"""Two processes train as one does: the same weights but for rounding, and the same way through an interrupt."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cdifast.data.augment import Augmentation
from cdifast.train import StepReport, TrainConfig, TrainingInterrupted, TrainResult, train_classifier
from cdifast.train.classify import CHECKPOINT, WEIGHTS
from tests.train.ranks import run_on_ranks

NAMES = ("A", "B", "C")
# A batch of 7 is 3 and 4 images on two ranks; a small step, so that rounding grows little over the steps.
CONFIG = TrainConfig(
    width=0.125, epochs=2, batch_size=7, learning_rate=0.002, recalibration_images=14, seed=1, class_balance=0.5
)
CONFIGS = {
    "plain": CONFIG,
    "average": dataclasses.replace(
        CONFIG, ema=0.9, schedule="one-cycle", warmup_epochs=1, patience=5, augmentation=Augmentation(rotation=30)
    ),
}


def images() -> tuple[torch.Tensor, np.ndarray]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(26, 1, 32, 32, generator=generator) * 10, torch.randint(
        0, 2, (26, 3), generator=generator
    ).numpy()


def train(output: Path, config: TrainConfig, **options: Any) -> TrainResult:
    return train_classifier(*images(), config, output, classes=NAMES, **options)


def on_a_rank(rank: int, folder: str) -> dict[str, Any]:
    """Everything that two processes do; one start of them is slow enough."""
    output = Path(folder)
    found: dict[str, Any] = {}
    for name, config in CONFIGS.items():
        result = train(output / name, config)
        found[name] = {
            "weights": {key: value.clone() for key, value in result.model.state_dict().items()},
            "loss": result.history[-1].train_loss,
            "cross entropy": result.history[-1].validation_cross_entropy,
        }

    def stop(report: StepReport) -> None:
        if (report.epoch, report.step) == (1, 2):
            raise KeyboardInterrupt  # on rank 0 alone: the only one that reports

    try:
        train(output / "stopped", CONFIG, progress=stop)
    except TrainingInterrupted as interrupt:
        found["stopped"] = interrupt.checkpoint.exists()
    train(output / "stopped", CONFIG, resume=True)
    try:
        train(output / "stopped", CONFIG)
    except FileExistsError:
        found["held"] = True
    inputs, labels = images()
    for key, data, config in (
        ("other data", inputs + rank, CONFIG),
        ("small batch", inputs, dataclasses.replace(CONFIG, batch_size=1)),
    ):
        try:
            train_classifier(data, labels, config, output / "refused", classes=NAMES)
        except ValueError as error:
            found[key] = str(error)
    return found


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("ranks")
    return folder, run_on_ranks(on_a_rank, 2, folder, str(folder))


@pytest.mark.parametrize("name", list(CONFIGS))
def test_two_ranks_give_the_weights_of_one(ranks: tuple[Path, list[dict[str, Any]]], tmp_path: Path, name: str) -> None:
    folder, (first, second) = ranks
    # As many threads as a rank has: with others, sums are rounded otherwise, and a pixel at the edge of a turned image,
    # which is there or not, makes more of it.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        one = train(tmp_path / "one", CONFIGS[name])
    finally:
        torch.set_num_threads(threads)
    for key, value in one.model.state_dict().items():
        torch.testing.assert_close(first[name]["weights"][key], value, rtol=1e-4, atol=1e-5)
        assert torch.equal(first[name]["weights"][key], second[name]["weights"][key])
    record = one.history[-1]
    assert first[name]["loss"] == second[name]["loss"] == pytest.approx(record.train_loss, rel=1e-5)
    assert first[name]["cross entropy"] == pytest.approx(record.validation_cross_entropy, rel=1e-3)
    # Far less than what training did.
    other = train(tmp_path / "other", dataclasses.replace(CONFIGS[name], epochs=1))
    assert (other.model.conv1.weight - one.model.conv1.weight).abs().max() > 1e-3
    assert sorted(path.name for path in (folder / name).iterdir()) == sorted(
        path.name for path in (tmp_path / "one").iterdir()
    )


def test_two_ranks_stop_together_and_resume_bit_by_bit(ranks: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, found = ranks
    assert [rank["stopped"] for rank in found] == [True, True]
    for name in (CHECKPOINT, WEIGHTS):
        straight, resumed = load_file(folder / "plain" / name), load_file(folder / "stopped" / name)
        assert straight.keys() == resumed.keys()
        assert all(torch.equal(tensor, resumed[key]) for key, tensor in straight.items())
    assert len(json.loads((folder / "stopped" / "history.json").read_text())) == 2


def test_two_ranks_refuse_together(ranks: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, found = ranks
    assert [rank["held"] for rank in found] == [True, True]
    for rank in found:
        assert "found another on rank 1 than on rank 0" in rank["other data"]
        assert "batch_size: found 1 images a step" in rank["small batch"]
    assert not (folder / "refused").exists()
