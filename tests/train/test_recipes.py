"""Recipes by name, schedules against torch's own, and what a configuration refuses."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from cdifast.data import MapPreparation
from cdifast.data.augment import Augmentation
from cdifast.train import RECIPES, TrainConfig, positive_weights, train_classifier
from cdifast.train.distributed import Ranks
from cdifast.train.history import EpochRecord, out_of_patience
from cdifast.train.optimizers import make_optimizer
from cdifast.train.order import part_of_rank
from cdifast.train.precision import autocast_dtype
from cdifast.train.schedules import learning_rate_at
from cdifast.train.step import TrainStep


def torchs_rates(make: object, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.3)
    schedule = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


@pytest.mark.parametrize("warmup", [6, 10, 30])
def test_one_cycle_is_torchs(warmup: int) -> None:
    steps = 40
    expected = torchs_rates(
        lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 0.3, total_steps=steps + 1, pct_start=warmup / (steps + 1), cycle_momentum=False
        ),
        steps,
    )
    # torch wants a step more than there are.
    found = [learning_rate_at(k, steps + 1, rate=0.3, schedule="one-cycle", warmup=warmup) for k in range(steps)]
    assert found == pytest.approx(expected, rel=1e-9)
    assert learning_rate_at(steps - 1, steps, rate=0.3, schedule="one-cycle", warmup=warmup) == pytest.approx(1.2e-6)


def test_cosine_is_torchs_and_warmup_is_linear() -> None:
    expected = torchs_rates(lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 30), 30)
    assert [learning_rate_at(k, 30, rate=0.3, schedule="cosine") for k in range(30)] == pytest.approx(expected)
    late = [learning_rate_at(k, 35, rate=0.3, schedule="cosine", warmup=5) for k in range(35)]
    assert late == pytest.approx([0.06, 0.12, 0.18, 0.24, 0.3, *expected], abs=1e-12)


def test_no_schedule_fails_on_a_run_of_one_step() -> None:
    for schedule in ("steps", "cosine", "one-cycle"):
        config = TrainConfig(epochs=1, schedule=schedule, warmup_epochs=1)
        assert 0 < config.learning_rate_at(0, 1) <= config.learning_rate


def test_recipes_differ_from_the_paper_in_what_is_named() -> None:
    assert TrainConfig.recipe("p1") == TrainConfig()
    code = TrainConfig.recipe("p1-code")
    assert dataclasses.replace(code, penalty="p1", augmentation=Augmentation(), arguments={}) == TrainConfig()
    assert code.augmentation == Augmentation(brightness=0, contrast=0)
    assert code.arguments == {"pool_padding": "tensorflow"}
    vgg = TrainConfig.recipe("p1-code", architecture="vgg", depth=19, width=0.05)
    assert vgg.network_arguments(5, 2) == {
        "depth": 19,
        "num_classes": 5,
        "in_channels": 2,
        "width": 0.05,
        "first_activation": "log",
        "alpha": 0.2,
        "learnable_alpha": False,
        "leaky_after_log": True,
        "negative_slope": 0.1,
        "bias": False,
        "dropout": 0.5,
        "initialization": "unit",
    }
    assert TrainConfig.recipe("p1", architecture="vgg").first_activation == "leaky"
    with pytest.raises(ValueError, match=r"recipe: found 'p2', expected one of p1, p1-code, fast"):
        TrainConfig.recipe("p2")
    with pytest.raises(ValueError, match=r"architecture: found 'alexnet'"):
        TrainConfig.recipe("p1", architecture="alexnet")


def test_images_are_turned_and_correlation_maps_are_not(tmp_path: Path) -> None:
    fast = TrainConfig.recipe("fast", epochs=1, width=0.05, batch_size=4)
    assert fast.augmentation == Augmentation(rotation=180)
    assert fast.for_maps().augmentation == Augmentation()
    assert dataclasses.replace(fast, augmentation=None).for_maps().augmentation is None
    cropped = dataclasses.replace(fast, augmentation=Augmentation(crop_area=0.5, erase_area=(0.1, 0.2)))
    assert cropped.for_maps().augmentation == Augmentation(erase_area=(0.1, 0.2))
    inputs, labels = torch.rand(8, 1, 32, 32), torch.eye(8, 2, dtype=torch.uint8)
    how = {"classes": ("a", "b"), "preparation": MapPreparation(32)}
    with pytest.raises(ValueError, match=r"inputs are correlation maps; expected config\.for_maps\(\)"):
        train_classifier(inputs, labels, fast, tmp_path, **how)
    assert list(tmp_path.iterdir()) == []
    assert train_classifier(inputs, labels, fast.for_maps(), tmp_path, **how).card.preset == "custom"


@pytest.mark.parametrize("name", list(RECIPES))
def test_cards_name_the_recipe(name: str) -> None:
    config = TrainConfig.recipe(name, seed=5, thresholds="half")
    assert config.preset == name
    assert TrainConfig.recipe(name, architecture="vgg", depth=19).preset == name
    short = TrainConfig.recipe(name, epochs=7)
    assert short.preset == f"{name} over 7 epochs"
    assert short.warmup_epochs == pytest.approx(config.warmup_epochs * 7 / config.epochs)
    assert (config.for_maps().preset, short.for_maps().preset) == (config.preset, short.preset)
    assert dataclasses.replace(config, momentum=0.8).preset == "custom"
    assert TrainConfig.from_dict(json.loads(config.to_json())) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "adam"}, "optimizer: found 'adam', expected one of 'sgd', 'adamw'"),
        ({"schedule": "wave"}, "schedule: found 'wave'"),
        ({"mixed_precision": "half"}, "mixed_precision: found 'half'"),
        ({"ema": 1.0}, "ema: found 1.0"),
        ({"class_balance_bound": 0.5}, "class_balance_bound: found 0.5"),
        ({"arguments": {"bias": True}}, "arguments: found 'bias', preact_resnet takes negative_slope"),
        ({"arguments": {"width": 2}}, "arguments: found 'width'"),
        ({"architecture": "vgg", "batch_norm_momentum": 0.9}, "batch_norm_momentum: found 0.9, but vgg has no such"),
        ({"architecture": "contrastive"}, "architecture: found 'contrastive'"),
    ],
)
def test_bad_entries_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(**changes)


def test_weights_of_positive_labels() -> None:
    labels = torch.zeros(20, 4)
    labels[:10, 0] = 1  # as many positives as negatives
    labels[:4, 1] = 1
    labels[:19, 2] = 1
    assert positive_weights(labels).tolist() == pytest.approx([1, 4, 1 / 10, 10])
    assert positive_weights(labels, 0.5, 3).tolist() == pytest.approx([1, 2, 1 / 3, 3])
    assert positive_weights(labels, 0).tolist() == [1, 1, 1, 1]


def test_weight_decay_acts_on_kernels_alone() -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    before = {name: value.clone() for name, value in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for kind in ("adamw", "sgd"):
        make_optimizer(model, kind, 0.1, momentum=0.9, weight_decay=0.5).step()
    after = dict(model.named_parameters())
    # AdamW: w - 0.1 * 0.5 w; then SGD with Nesterov momentum: w - 0.1 * (0.5 w + 0.9 * 0.5 w).
    torch.testing.assert_close(after["0.weight"], before["0.weight"] * 0.95 * (1 - 0.095))
    for name in ("0.bias", "1.weight", "1.bias"):
        assert torch.equal(after[name], before[name])


def record(epoch: int, accuracy: float | None, cross_entropy: float | None) -> EpochRecord:
    return EpochRecord(epoch, 0.1, 1.0, 1.0, cross_entropy, accuracy, None, None, None, 1.0)


def test_patience_counts_validations() -> None:
    values = [(0.5, 0.7), (None, None), (0.6, 0.6), (0.6, 0.5), (None, None), (0.55, 0.55)]
    history = [record(epoch, *value) for epoch, value in enumerate(values, 1)]
    assert not out_of_patience(history, 0, "accuracy")
    assert [out_of_patience(history[:n], 2, "accuracy") for n in range(7)] == [False] * 6 + [True]
    assert not out_of_patience(history, 2, "cross-entropy")
    assert out_of_patience(history, 1, "cross-entropy")


def test_parts_of_ranks_make_up_the_batch() -> None:
    batch = torch.arange(11)
    parts = [batch[part_of_rank(batch, rank, 4)] for rank in range(4)]
    assert torch.equal(torch.cat(parts), batch)
    assert {len(part) for part in parts} == {2, 3}


def test_precisions() -> None:
    cpu = torch.device("cpu")
    assert autocast_dtype("none", cpu) is None
    assert autocast_dtype("auto", cpu) in (None, torch.bfloat16)
    step = TrainStep(
        torch.randn(4, 1, 32, 32),
        torch.ones(4, 2, dtype=torch.uint8),
        torch.ones(4, 2),
        TrainConfig.recipe("fast", width=0.125, batch_size=4, mixed_precision="bfloat16"),
        device=cpu,
        ranks=Ranks(),
    )
    types = []
    step.model.stages[0].register_forward_hook(lambda module, inputs, output: types.append(output.dtype))
    step(torch.arange(4), 0, 0, 1)
    assert types == [torch.bfloat16]
    assert {parameter.dtype for parameter in step.model.parameters()} == {torch.float32}
    assert step.model.conv1.weight.grad.dtype == torch.float32


def test_the_average_is_the_weighted_mean_of_the_weights() -> None:
    config = TrainConfig(width=0.125, batch_size=4, ema=0.3, learning_rate=0.01)
    inputs, targets = torch.randn(8, 1, 32, 32), torch.ones(8, 2, dtype=torch.uint8)
    step = TrainStep(inputs, targets, targets, config, device=torch.device("cpu"), ranks=Ranks())
    expected = step.model.conv1.weight.detach().double().clone()
    for number, decay in enumerate([1 / 10, 2 / 11, 3 / 12, 0.3]):
        step(torch.arange(4), 0, number, 8)
        expected = decay * expected + (1 - decay) * step.model.conv1.weight.detach().double()
    torch.testing.assert_close(step.refresh().conv1.weight.double(), expected, rtol=1e-6, atol=1e-8)
    assert not torch.equal(step.refresh().conv1.weight, step.model.conv1.weight)
