"""The training loop: what it computes, that it learns, and that it continues bit by bit."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from cdifast.data.augment import Augmentation
from cdifast.data.prepare import InputPreparation
from cdifast.evaluate import AllNegative, Majority, classification_metrics
from cdifast.labels import CLASSES
from cdifast.nn import load_classifier, preact_resnet
from cdifast.train import (
    LabelRuleWarning,
    StepReport,
    TrainConfig,
    TrainingInterrupted,
    TrainResult,
    metric_maxima,
    recalibrate_batch_norm,
    train_classifier,
)
from cdifast.train.classify import BEST_WEIGHTS, CHECKPOINT, WEIGHTS
from cdifast.train.order import Stream, epoch_order, stream_generator, stream_seed

SMALL = TrainConfig(width=0.125, epochs=3, batch_size=8, recalibration_images=16, learning_rate=0.05, seed=3)
NAMES = ("Ring", "Streak", "Empty")


def shots(count: int, seed: int = 0, size: int = 32) -> tuple[torch.Tensor, np.ndarray]:
    """Rings, streaks through the centre, and noise: images (count, 1, size, size) and labels (count, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    labels = np.eye(3, dtype=np.uint8)[rng.integers(0, 3, count)]
    images = np.empty((count, 1, size, size), np.float32)
    for image, label in zip(images, labels, strict=True):
        angle, period = rng.uniform(0, np.pi), rng.uniform(4, 7)
        ring = 5 * (1 + np.cos(2 * np.pi * np.hypot(x, y) / period))
        streak = 20 * np.exp(-((x * np.sin(angle) - y * np.cos(angle)) ** 2) / 2)
        image[0] = rng.poisson(label[0] * ring + label[1] * streak + 0.5)
    return torch.from_numpy(images), labels


@pytest.fixture(scope="module")
def data() -> tuple[torch.Tensor, np.ndarray]:
    return shots(40)


def train(
    data: tuple[torch.Tensor, np.ndarray], output: Path, config: TrainConfig = SMALL, **options: object
) -> TrainResult:
    return train_classifier(*data, config, output, classes=NAMES, **options)


def assert_same_run(first: Path, second: Path) -> None:
    """Weights, momentum, statistics, position and history are bit for bit the same, but for wall times."""
    for name in (CHECKPOINT, WEIGHTS, BEST_WEIGHTS):
        one, other = load_file(first / name), load_file(second / name)
        assert one.keys() == other.keys()
        for key, tensor in one.items():
            assert torch.equal(tensor, other[key]), (name, key)
    assert any(key.startswith("optimizer/momentum_buffer/") for key in load_file(first / CHECKPOINT))
    histories = [json.loads((folder / "history.json").read_text()) for folder in (first, second)]
    for history in histories:
        for record in history:
            del record["seconds"]
    assert histories[0] == histories[1]
    assert len(histories[0]) == SMALL.epochs


@pytest.fixture(scope="module")
def straight(data: tuple[torch.Tensor, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return train(data, tmp_path_factory.mktemp("straight"))


def raise_interrupt() -> None:
    raise KeyboardInterrupt


STOPS: dict[str, tuple[Callable[[], None], int]] = {
    "ctrl-c": (lambda: os.kill(os.getpid(), signal.SIGINT), signal.SIGINT),
    "sigterm": (lambda: os.kill(os.getpid(), signal.SIGTERM), signal.SIGTERM),
    "callback": (raise_interrupt, signal.SIGINT),
}


@pytest.mark.parametrize("stop", list(STOPS))
def test_interrupted_run_continues_bit_by_bit(
    data: tuple[torch.Tensor, np.ndarray], straight: TrainResult, tmp_path: Path, stop: str
) -> None:
    action, number = STOPS[stop]
    seen: list[tuple[int, int]] = []

    def interrupt(report: StepReport) -> None:
        seen.append((report.epoch, report.step))
        if seen in ([(1, 1), (1, 2)], [(1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2), (2, 3)]):
            action()

    with pytest.raises(TrainingInterrupted, match=r"stopped by SIG\w+; resume it from") as caught:
        train(data, tmp_path, progress=interrupt)
    assert caught.value.signal_number == number
    assert caught.value.checkpoint == tmp_path / CHECKPOINT
    with pytest.raises(TrainingInterrupted):
        train(data, tmp_path, progress=interrupt, resume=True)
    result = train(data, tmp_path, progress=interrupt, resume=True)
    # No step was done twice or left out.
    assert seen == [(epoch, step) for epoch in (1, 2, 3) for step in (1, 2, 3, 4)]
    assert_same_run(straight.output, tmp_path)
    assert result.metrics == dataclasses.replace(straight.metrics, violations=result.metrics.violations)
    assert not list(tmp_path.glob(".*"))


def test_killed_run_continues_from_its_last_periodic_checkpoint(
    data: tuple[torch.Tensor, np.ndarray], straight: TrainResult, tmp_path: Path
) -> None:
    def fail(report: StepReport) -> None:
        if (report.epoch, report.step) == (2, 3):
            raise MemoryError("as if the process had died")

    with pytest.raises(MemoryError):
        train(data, tmp_path, progress=fail, checkpoint_seconds=0)
    first: list[StepReport] = []
    train(data, tmp_path, resume=True, progress=first.append)
    assert (first[0].epoch, first[0].step) == (2, 3)
    assert_same_run(straight.output, tmp_path)


def test_same_seed_same_weights_other_seed_others(
    data: tuple[torch.Tensor, np.ndarray], straight: TrainResult, tmp_path: Path
) -> None:
    torch.manual_seed(999)  # the global generator must not matter, nor be disturbed
    state = torch.get_rng_state()
    train(data, tmp_path / "again")
    assert torch.equal(torch.get_rng_state(), state)
    assert_same_run(straight.output, tmp_path / "again")
    other = train(data, tmp_path / "other", dataclasses.replace(SMALL, seed=4, epochs=1))
    assert not torch.equal(other.model.conv1.weight, straight.model.conv1.weight)


def test_steps_are_the_papers(data: tuple[torch.Tensor, np.ndarray], tmp_path: Path) -> None:
    """Two epochs against Nesterov's update, equation 10 and the schedule, written out."""
    config = dataclasses.replace(SMALL, epochs=2, decay_every=1.5, recalibration_images=0, l1=1e-3, l2=1e-2)
    result = train(data, tmp_path, config)
    torch.manual_seed(stream_seed(config.seed, Stream.WEIGHTS))
    model = preact_resnet(18, 3, width=0.125).train()
    weights = list(model.parameters())
    initial = torch.cat([weight.detach().flatten() for weight in weights])
    velocity = [torch.zeros_like(weight) for weight in weights]
    labels = torch.from_numpy(data[1]).float()
    for count, rate in enumerate([0.05] * 6 + [0.005] * 2):
        epoch, step = divmod(count, 4)
        order = epoch_order(result.split.train, config.seed, epoch)
        batch = order[8 * step : 8 * step + 8]
        images = Augmentation()(data[0][batch], stream_generator(config.seed, Stream.AUGMENTATION, epoch, step))
        kernels = torch.cat([weight.flatten() for weight in weights if weight.dim() > 1])
        loss = functional.binary_cross_entropy_with_logits(model(images), labels[batch])
        loss = loss + 1e-3 * kernels.abs().sum() + 1e-2 * kernels.square().sum().sqrt()
        for index, gradient in enumerate(torch.autograd.grad(loss, weights)):
            velocity[index] = 0.9 * velocity[index] + gradient
            with torch.no_grad():
                weights[index] -= rate * (gradient + 0.9 * velocity[index])
    # Rounding grows over the steps (each weight near 0 has an L1 gradient of either sign), so what is
    # compared is the whole path, to one per cent of its length; a wrong step is off by tens of per cent.
    ours, plain = (torch.cat([w.detach().flatten() for w in ws]) for ws in (result.model.parameters(), weights))
    assert (ours - plain).norm() < 0.01 * (plain - initial).norm()


def test_learns_and_beats_the_baselines_in_few_steps(tmp_path: Path) -> None:
    """Also the reason for the recalibration: the running statistics of 72 steps are useless."""
    inputs, labels = shots(160, seed=1)
    config = dataclasses.replace(SMALL, batch_size=16, recalibration_images=64, augmentation=Augmentation())
    result = train((inputs, labels), tmp_path / "recalibrated", dataclasses.replace(config, epochs=9))
    truth = labels[result.split.validation]
    for baseline in (AllNegative(), Majority()):
        baseline.fit(result.split.train, labels[result.split.train])
        trivial = classification_metrics(truth, baseline.predict(truth), NAMES)
        assert result.metrics.precision > trivial.precision + 0.4
        assert result.metrics.recall > trivial.recall + 0.4
    stale = train((inputs, labels), tmp_path / "stale", dataclasses.replace(config, epochs=9, recalibration_images=0))
    # Same weights, other statistics.
    for one, other in zip(result.model.parameters(), stale.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert stale.metrics.accuracy < result.metrics.accuracy - 0.1


def test_files_of_a_run(data: tuple[torch.Tensor, np.ndarray], tmp_path: Path) -> None:
    preparation = InputPreparation(size=32)
    config = dataclasses.replace(SMALL, validate_every=2)
    result = train(data, tmp_path, config, preparation=preparation)
    model, card = load_classifier(tmp_path / WEIGHTS, classes=NAMES)
    assert card == result.card
    assert InputPreparation.from_dict(card.input) == preparation
    assert TrainConfig.from_dict(card.training["config"]) == config
    at_half = dict(card.metrics)
    del at_half["at_thresholds"]
    assert at_half == json.loads(json.dumps(result.metrics.to_dict()))
    with torch.no_grad():
        assert torch.equal(model(data[0]), result.model(data[0]))
    with open(tmp_path / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [row["accuracy"] == "" for row in rows] == [True, False, False]
    assert float(rows[-1]["accuracy"]) == result.metrics.accuracy
    assert TrainConfig.from_dict(json.loads((tmp_path / "config.json").read_text())) == config
    best = load_classifier(tmp_path / BEST_WEIGHTS)[1]
    accuracies = {record.epoch: record.accuracy for record in result.history if record.accuracy is not None}
    assert result.best_epoch == best.training["epoch"] == max(accuracies, key=lambda epoch: accuracies[epoch])
    assert metric_maxima(result.history)["accuracy"] == (accuracies[result.best_epoch], result.best_epoch)
    # Resuming a finished run trains no further and gives the same network.
    again = train(data, tmp_path, config, resume=True, progress=lambda report: pytest.fail("trained on"))
    assert again.metrics.accuracy == result.metrics.accuracy
    assert torch.equal(again.model.conv1.weight, result.model.conv1.weight)


def test_other_run_is_not_resumed_or_overwritten(
    data: tuple[torch.Tensor, np.ndarray], straight: TrainResult, tmp_path: Path
) -> None:
    folder = straight.output
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(FileExistsError, match=r"checkpoint.safetensors: the folder holds a training run"):
        train(data, folder)
    with pytest.raises(ValueError, match=r"another configuration: learning_rate 0.05 \(checkpoint\), 0.1 \(now\)"):
        train(data, folder, dataclasses.replace(SMALL, learning_rate=0.1), resume=True)
    with pytest.raises(ValueError, match=r"augmentation .*brightness"):
        train(data, folder, dataclasses.replace(SMALL, augmentation=Augmentation(brightness=0)), resume=True)
    changed = data[0].clone()
    changed[7, 0, 3, 3] += 1
    with pytest.raises(ValueError, match=r"a run on other data"):
        train((changed, data[1]), folder, resume=True)
    with pytest.raises(ValueError, match=r"a run on other data"):
        train_classifier(*data, SMALL, folder, classes=("Ring", "Streak", "None"), resume=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    with pytest.raises(FileNotFoundError, match=r"no checkpoint to resume from"):
        train(data, tmp_path, resume=True)
    (tmp_path / CHECKPOINT).write_bytes(b"\x00" * 100)
    with pytest.raises(ValueError, match=r"not a safetensors file, or a damaged one"):
        train(data, tmp_path, resume=True)
    train(data, tmp_path, dataclasses.replace(SMALL, epochs=1), overwrite=True)
    assert len(json.loads((tmp_path / "history.json").read_text())) == 1


def test_diverging_run_stops_and_says_where(data: tuple[torch.Tensor, np.ndarray], tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match=r"the loss became \S+ at epoch \d+, step \d+ of 4 .*1e\+30"):
        train(data, tmp_path, dataclasses.replace(SMALL, learning_rate=1e30))
    assert not (tmp_path / WEIGHTS).exists()


def test_labels_that_break_the_rules_are_reported(tmp_path: Path) -> None:
    inputs, _ = shots(20)
    labels = np.zeros((20, 11), np.uint8)
    labels[:, [0, 1]] = 1
    labels[4, CLASSES.index("Prolate")] = 1
    labels[17] = 0
    config = dataclasses.replace(SMALL, epochs=1)
    with pytest.warns(LabelRuleWarning, match=r"2 of 20 images .* excludes Prolate: 1 \(images 4\)") as caught:
        result = train_classifier(inputs, labels, config, tmp_path)
    assert list(result.label_violations.indices) == [4, 17]
    assert caught[0].filename == __file__


def test_bad_data_is_named(data: tuple[torch.Tensor, np.ndarray], tmp_path: Path) -> None:
    inputs, labels = data
    spoilt = inputs.clone()
    spoilt[31, 0, 0, 0] = float("inf")
    half = labels.astype(float)
    half[5, 1] = 0.5
    for bad_inputs, bad_labels, error, message in [
        (spoilt, labels, ValueError, "inputs: image 31 has NaN or infinite pixels"),
        (inputs.double(), labels, TypeError, "inputs: found dtype torch.float64, expected float32"),
        (inputs.numpy(), labels, TypeError, "inputs: found ndarray"),
        (inputs[:, 0], labels, ValueError, r"inputs: found shape \(40, 32, 32\)"),
        (inputs, labels[:39], ValueError, "labels: found 39 rows for 40 images"),
        (inputs, labels[:, :2], ValueError, r"labels: found shape \(40, 2\), expected \(40, 3\)"),
        (inputs, half, ValueError, "labels: found 0.5 for image 5, class 'Streak'"),
    ]:
        with pytest.raises(error, match=message):
            train((bad_inputs, bad_labels), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_recalibration_is_the_mean_over_batches() -> None:
    torch.manual_seed(0)
    model = preact_resnet(18, 3, width=0.125).eval()
    inputs = torch.randn(20, 1, 32, 32)
    weights = [parameter.clone() for parameter in model.parameters()]
    recalibrate_batch_norm(model, inputs, batch_size=8)
    assert not model.training
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), weights, strict=True))
    norm = model.stages[0][0].preact1[0]
    assert norm.momentum == pytest.approx(0.003)
    # Two whole batches; the first normalisation sees the pooled output of the first convolution.
    with torch.no_grad():
        maps = [model.pool(model.first_activation(model.conv1(inputs[i : i + 8]))).double() for i in (0, 8)]
    mean = sum(values.mean(dim=(0, 2, 3)) for values in maps) / 2
    variance = sum(values.var(dim=(0, 2, 3), correction=1) for values in maps) / 2
    torch.testing.assert_close(norm.running_mean.double(), mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(norm.running_var.double(), variance, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"found no images"):
        recalibrate_batch_norm(model, inputs[:0])


def test_progress_bar_draws(
    data: tuple[torch.Tensor, np.ndarray], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    train(data, tmp_path, dataclasses.replace(SMALL, epochs=2), progress=True)
    captured = capfd.readouterr()
    assert "epoch 2/2" in captured.err
    assert "8/8" in captured.err
    assert captured.out == ""
