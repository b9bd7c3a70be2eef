"""The study on real shots: its statistics on tables with known answers, its images, and one tiny run of it all."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.reproduce.display import CLASS_OF_EXAMPLE, COLUMNS, crop, display_scaled
from benchmarks.reproduce.real_helium import (
    STATISTICS,
    Scale,
    best_class,
    best_example,
    mean_score,
    permutation_test,
    study,
)
from cdifast.labels import CLASSES
from cdifast.simulate import shots


def test_a_perfect_table_is_found_and_a_flat_one_is_not() -> None:
    for statistic in STATISTICS.values():
        perfect = permutation_test(np.eye(5), statistic)
        assert perfect["p"] == pytest.approx(1 / math.factorial(5))
        assert perfect["found"] == 1
    flat = permutation_test(np.ones((4, 4)), mean_score)
    assert flat == {"found": 1, "chance": 1, "p": 1}


def test_chance_is_what_pairing_at_random_gives() -> None:
    scores = np.random.default_rng(1).standard_normal((6, 6))
    for statistic in (best_class, best_example, mean_score):
        test = permutation_test(scores, statistic)
        expected = {best_class: 1 / 6, best_example: 0.5, mean_score: scores.mean()}[statistic]
        assert test["chance"] == pytest.approx(expected)
    # one swap away from perfect: four of six right
    swapped = np.eye(6)[[1, 0, 2, 3, 4, 5]]
    assert best_class(swapped, tuple(range(6))) == pytest.approx(4 / 6)


def test_an_area_under_the_curve_counts_examples_below() -> None:
    scores = np.array([[3.0, 0.0, 0.0], [1.0, 1.0, 9.0], [2.0, 5.0, 4.0]])
    # class 0: both others below; class 1: one of two; class 2: one of two
    assert best_example(scores, (0, 1, 2)) == pytest.approx((1 + 0.5 + 0.5) / 3)


def test_simulated_shots_have_the_examples_scale_and_hole() -> None:
    images = display_scaled(crop(shots(4, 124, seed=3).images))
    assert images.shape == (4, 88, 88)
    assert float(images.min()) == 0
    assert (images.amax((1, 2)) == 1).all()
    assert float(images[:, 30:58, 30:58].max()) == 0
    bright = images.flatten(1).quantile(0.9, dim=1)
    assert ((bright > 0.1) & (bright < 1)).all()
    assert [CLASSES[column] for column in COLUMNS.values()] == list(CLASS_OF_EXAMPLE.values())


def test_real_examples_keep_their_pixels(shared_data: Path) -> None:
    with np.load(shared_data / "helium_examples.npz") as file:
        detector = torch.from_numpy(file["detector"])
        assert set(file["classes"].tolist()) == set(CLASS_OF_EXAMPLE)
    scaled = display_scaled(detector)
    for before, after in zip(detector, scaled, strict=True):
        seen = (after > 0) & (after < 1)
        assert float(torch.corrcoef(torch.stack([before[seen], after[seen]]))[0, 1]) > 0.9999


def test_the_whole_study_on_few_shots(tmp_path: Path) -> None:
    made = shots(7, 124, "helium-balanced", seed=9)
    np.savez(tmp_path / "seven.npz", detector=crop(made.images).float().numpy(), classes=list(CLASS_OF_EXAMPLE))
    scale = Scale(shots=12, networks=1, epochs=1, width=0.0625, batch_size=4)
    result = study(tmp_path / "seven.npz", tmp_path / "out", scale, seed=0, jobs=1, device="cpu")
    written = json.loads((tmp_path / "out" / "result.json").read_text())
    assert written["classes"] == list(CLASS_OF_EXAMPLE.values()) == result["classes"]
    assert np.shape(written["scores"]) == (7, 7)
    assert all(0 < test["p"] <= 1 for test in written["tests"].values())
    report = (tmp_path / "out" / "report.md").read_text()
    assert "| Newton rings |" in report
    assert "5040" in report
