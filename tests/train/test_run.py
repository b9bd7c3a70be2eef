"""Runs with every optimizer and option: resumed bit by bit, ended early, with thresholds, labels dropped."""

from __future__ import annotations

import dataclasses
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cdifast.evaluate import choose_thresholds, predict_probabilities
from cdifast.nn import load_classifier
from cdifast.train import (
    LabelRuleWarning,
    Split,
    StepReport,
    TrainConfig,
    TrainingInterrupted,
    TrainResult,
    recalibrate_batch_norm,
    train_classifier,
)
from cdifast.train.classify import BEST_WEIGHTS, CHECKPOINT, WEIGHTS

NAMES = ("Bright", "Left")
TINY: dict[str, Any] = {"width": 0.125, "batch_size": 8, "recalibration_images": 16, "seed": 3}


def blobs(count: int, channels: int = 1, size: int = 32) -> tuple[torch.Tensor, np.ndarray]:
    """Noise with a blob, bright or not, left or right."""
    rng = np.random.default_rng(7)
    labels = rng.integers(0, 2, (count, 2)).astype(np.uint8)
    images = rng.poisson(1.0, (count, channels, size, size)).astype(np.float32)
    for image, (bright, left) in zip(images, labels, strict=True):
        x = 4 if left else size - 12
        image[:, 12:20, x : x + 8] += 4 + 12 * bright
    return torch.from_numpy(images), labels


@pytest.fixture(scope="module")
def data() -> tuple[torch.Tensor, np.ndarray]:
    return blobs(30)


def train(data: tuple[torch.Tensor, np.ndarray], output: Path, config: TrainConfig, **options: Any) -> TrainResult:
    return train_classifier(*data, config, output, classes=NAMES, **options)


RUNS: dict[str, TrainConfig] = {
    "adamw, ema": TrainConfig.recipe("fast", epochs=2, optimizer="adamw", learning_rate=3e-3, weight_decay=0.1, **TINY),
    "sgd, ema, running statistics": TrainConfig(epochs=2, ema=0.9, **{**TINY, "recalibration_images": 0}),
    "float16 with loss scaling": TrainConfig(epochs=2, mixed_precision="float16", learnable_alpha=True, **TINY),
    "vgg with dropout": TrainConfig.recipe(
        "p1-code", architecture="vgg", epochs=2, **{**TINY, "width": 0.03}, optimizer="adamw", learning_rate=1e-3
    ),
}


@pytest.mark.parametrize("name", list(RUNS))
def test_every_state_is_resumed_bit_by_bit(data: tuple[torch.Tensor, np.ndarray], tmp_path: Path, name: str) -> None:
    config = RUNS[name]
    straight = train(data, tmp_path / "straight", config)

    def interrupt(report: StepReport) -> None:
        if (report.epoch, report.step) in ((1, 2), (2, 1)):
            raise KeyboardInterrupt

    resumed = tmp_path / "resumed"
    for _ in range(2):
        with pytest.raises(TrainingInterrupted):
            train(data, resumed, config, progress=interrupt, resume=(resumed / CHECKPOINT).exists())
    train(data, resumed, config, resume=True)
    for file in (CHECKPOINT, WEIGHTS, BEST_WEIGHTS):
        one, other = load_file(straight.output / file), load_file(resumed / file)
        assert one.keys() == other.keys()
        assert all(torch.equal(tensor, other[key]) for key, tensor in one.items()), file
    states = {key.split("/")[1] for key in load_file(resumed / CHECKPOINT) if key.startswith("optimizer/")}
    assert states == ({"exp_avg", "exp_avg_sq", "step"} if config.optimizer == "adamw" else {"momentum_buffer"})
    if config.mixed_precision == "float16":
        assert scaling(resumed) == scaling(straight.output)
        assert scaling(resumed)["scale"] != 1
    model, card = load_classifier(resumed / WEIGHTS, classes=NAMES)
    assert card.architecture == config.architecture
    with torch.no_grad():
        assert torch.equal(model(data[0]), straight.model(data[0]))


def scaling(folder: Path) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(folder / CHECKPOINT, "pt") as file:
        return json.loads(file.metadata()["checkpoint"])["scaler"]


def test_saved_average_has_statistics_of_its_own(data: tuple[torch.Tensor, np.ndarray], tmp_path: Path) -> None:
    config = RUNS["adamw, ema"]
    result = train(data, tmp_path, config)
    checkpoint = load_file(tmp_path / CHECKPOINT)
    weights = load_file(tmp_path / WEIGHTS)
    assert torch.equal(weights["conv1.weight"], checkpoint["average/conv1.weight"])
    assert not torch.equal(weights["conv1.weight"], checkpoint["model/conv1.weight"])
    # Computed anew from the same images, the statistics are those that were saved.
    model, _ = load_classifier(tmp_path / WEIGHTS)
    before = {name: value.clone() for name, value in model.named_buffers()}
    chosen = result.split.train[:: max(len(result.split.train) // 16, 1)][:16]
    recalibrate_batch_norm(model, data[0][torch.from_numpy(chosen.copy())], batch_size=8)
    for name, value in model.named_buffers():
        torch.testing.assert_close(value, before[name], rtol=1e-4, atol=1e-5)


def test_several_channels_and_thresholds_of_the_validation_split(tmp_path: Path) -> None:
    inputs, labels = blobs(60, channels=3)
    split = Split(np.arange(30), np.arange(30, 60))
    config = TrainConfig.recipe("fast", epochs=2, **{**TINY, "learning_rate": 1e-3})
    result = train((inputs, labels), tmp_path, config, split=split)
    probabilities = predict_probabilities(result.model, inputs[30:], batch_size=8).numpy()
    assert result.card.thresholds == pytest.approx(choose_thresholds(labels[30:], probabilities), abs=1e-6)
    assert result.card.metrics["at_thresholds"]["images"] == 30
    assert result.metrics.accuracy == result.history[-1].accuracy
    half = train((inputs, labels), tmp_path / "half", dataclasses.replace(config, thresholds="half"), split=split)
    assert half.card.thresholds == (0.5, 0.5)
    assert result.card.thresholds != half.card.thresholds


def test_a_run_out_of_patience_ends_and_says_so(data: tuple[torch.Tensor, np.ndarray], tmp_path: Path) -> None:
    # Nothing is learnt at this rate, so the first validation stays the best.
    config = TrainConfig(epochs=9, patience=2, learning_rate=1e-12, **TINY)
    result = train(data, tmp_path, config)
    assert result.stopped_early
    assert [record.stopped_early for record in result.history] == [False, False, True]
    assert json.loads((tmp_path / "history.json").read_text())[-1]["stopped_early"] is True
    again = train(data, tmp_path, config, resume=True, progress=lambda report: pytest.fail("trained on"))
    assert again.stopped_early
    assert len(again.history) == 3


def test_labels_that_break_the_rules_are_kept_dropped_or_refused(tmp_path: Path) -> None:
    inputs, _ = blobs(20)
    labels = np.zeros((20, 11), np.uint8)
    labels[:, [0, 1]] = 1
    labels[[4, 17], 3] = 1
    config = TrainConfig(epochs=1, **TINY)
    numbers = np.arange(100, 120)
    with pytest.raises(ValueError, match=r"Prolate: 2 \(images 104, 117\); correct them"):
        train_classifier(inputs, labels, config, tmp_path / "no", bad_labels="refuse", numbers=numbers)
    assert not (tmp_path / "no").exists()
    with pytest.warns(LabelRuleWarning, match=r"images 104, 117.*; dropped") as caught:
        result = train_classifier(inputs, labels, config, tmp_path, bad_labels="drop", numbers=numbers)
    assert list(caught[0].message.violations.indices) == list(result.label_violations.indices) == [4, 17]
    assert sorted(np.concatenate(result.split)) == sorted(set(range(20)) - {4, 17})
    with pytest.raises(ValueError, match="bad_labels: found 'mend'"):
        train_classifier(inputs, labels, config, tmp_path / "no", bad_labels="mend")


def test_tensorboard_is_asked_for_and_missing(
    data: tuple[torch.Tensor, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r"tensorboard: not installed \(pip install tensorboard\)"):
        train(data, tmp_path / "out", TrainConfig(epochs=1, **TINY), tensorboard=True)
    assert not (tmp_path / "out").exists()


def test_tensorboard_gets_the_history(
    data: tuple[torch.Tensor, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a stand-in, since TensorBoard need not be installed."""
    calls: list[tuple[Any, ...]] = []

    class Writer:
        def __init__(self, folder: str, purge_step: int) -> None:
            calls.append(("open", Path(folder), purge_step))

        def add_scalar(self, name: str, value: float, step: int) -> None:
            calls.append((name, value, step))

        def flush(self) -> None: ...

        def close(self) -> None:
            calls.append(("close",))

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    result = train(data, tmp_path, TrainConfig(epochs=2, **TINY), tensorboard=True)
    assert calls[0] == ("open", tmp_path / "tensorboard", 1)
    assert calls[-1] == ("close",)
    written = [(value, step) for name, value, step in calls[1:-1] if name == "accuracy"]
    assert written == [(record.accuracy, record.epoch) for record in result.history]
