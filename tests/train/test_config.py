"""The recipe: P1's numbers, its schedule, and its way to disk and back."""

from __future__ import annotations

import dataclasses
import json

import pytest

from cdifast.data.augment import Augmentation
from cdifast.train import TrainConfig


def test_papers_schedule() -> None:
    config, steps = TrainConfig(), 128
    for epoch, rate in [(0, 0.1), (49, 0.1), (50, 0.01), (99, 0.01), (100, 0.001), (150, 1e-4), (199, 1e-4)]:
        assert config.learning_rate_at(epoch * steps, steps) == pytest.approx(rate)
        assert config.learning_rate_at(epoch * steps + steps - 1, steps) == pytest.approx(rate)


def test_scaled_schedule_decays_at_the_same_fractions() -> None:
    config = dataclasses.replace(TrainConfig(), warmup_epochs=20)
    short = config.scaled(10)
    assert (short.epochs, short.decay_every, short.warmup_epochs) == (10, 2.5, 1)
    # Step 10 k of 2000 in 200 epochs is step k of 200 in 10 epochs (after the warm-up's own discretisation).
    for step in range(40, 200):
        assert short.learning_rate_at(step, 20) == pytest.approx(config.learning_rate_at(step * 20, 20))


def test_warmup_is_linear_and_ends_at_the_full_rate() -> None:
    config = dataclasses.replace(TrainConfig(), warmup_epochs=2)
    rates = [config.learning_rate_at(step, 5) for step in range(12)]
    assert rates == pytest.approx([0.1 * (step + 1) / 10 for step in range(10)] + [0.1, 0.1])


def test_json_round_trip() -> None:
    for config in (
        TrainConfig(),
        TrainConfig(augmentation=None, width=0.25),
        TrainConfig(augmentation=Augmentation(brightness=0)),
    ):
        assert TrainConfig.from_dict(json.loads(config.to_json())) == config
    with pytest.raises(ValueError, match=r"unknown entries optimiser"):
        TrainConfig.from_dict({"optimiser": "adamw"})


def test_preset_name_tells_the_truth() -> None:
    assert TrainConfig(seed=7, validate_every=5).preset == "p1"
    assert TrainConfig().scaled(30).preset == "p1 over 30 epochs"
    assert TrainConfig(width=0.5).preset == "custom"
    assert TrainConfig(epochs=30).preset == "custom"


@pytest.mark.parametrize(
    "arguments",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": float("nan")},
        {"momentum": 1.0},
        {"decay_every": 0},
        {"train_fraction": 1.0},
        {"seed": -1},
    ],
)
def test_bad_values_are_named(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(arguments))}: found"):
        TrainConfig(**arguments)
