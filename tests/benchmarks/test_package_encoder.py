"""How the package's encoder is made and scored, at the smallest scale; and the geometry of the seven real pairs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.reproduce import package_encoder
from benchmarks.reproduce.helium_pairs import ranks_of_pairs, read_pairs, whole_unwrapped
from cdifast.data import InputPreparation
from cdifast.nn import load_encoder
from cdifast.ops import polar_resample
from cdifast.simulate import PRESETS, parameters
from cdifast.simulate.particles import classes_of


def test_ranks_of_pairs_by_hand() -> None:
    perfect = ranks_of_pairs(1 - np.eye(4))
    assert perfect["mean_rank"] == 1
    assert perfect["p"] == pytest.approx(1 / 24)
    distances = np.array([[0.2, 0.1, 0.3], [0.3, 0.1, 0.2], [0.3, 0.2, 0.1]])
    found = ranks_of_pairs(distances)
    assert found["detector_to_unwrapped"] == [2, 1, 1]
    assert found["unwrapped_to_detector"] == [1, 1, 1]
    assert found["mean_rank"] == pytest.approx(7 / 6)
    assert found["chance"] == 2


def test_published_views_lie_where_a_whole_frame_is_unwrapped() -> None:
    """A published view that says at each point which radius and angle it shows, on the grid of a whole frame."""
    radius = torch.linspace(310 / 1034, 1010 / 1034, 88)
    angle = torch.linspace(167 / 1034, 867 / 1034, 88)
    maps = whole_unwrapped(torch.stack([radius[:, None].expand(88, 88), angle[None].expand(88, 88)]), 64)
    rows, columns = torch.nonzero(maps[0] > 0, as_tuple=True)
    torch.testing.assert_close(maps[0, rows, columns], rows / 63, atol=1e-5, rtol=0)
    torch.testing.assert_close(maps[1, rows, columns], columns / 64, atol=1e-5, rtol=0)
    assert len(rows) == 43 * 43  # radii 19 to 61 of 63, angles 11 to 53 of 64


def test_real_pairs_agree_in_the_layout_of_whole_frames(shared_data: Path) -> None:
    """Our own unwrapping of the prepared detector view is the published one, and not its mirror image."""
    detector, unwrapped, classes = read_pairs(shared_data / "helium_examples.npz", InputPreparation(size=64))
    assert detector.shape == unwrapped.shape == (7, 1, 64, 64)
    assert len(set(classes)) == 7
    for ours, published in zip(polar_resample(detector[:, 0], 64, 64), unwrapped[:, 0], strict=True):
        seen = (published > 0) & (ours > 0)
        mirrored = published.flip(1).roll(1, 1)

        def correlation(other: torch.Tensor, ours: torch.Tensor = ours, seen: torch.Tensor = seen) -> float:
            return float(torch.corrcoef(torch.stack([ours[seen], other[seen]]))[0, 1])

        # At 64 pixels fine rings blur; at full resolution it is 0.9 (tests/ops/test_polar.py).
        assert correlation(published) > max(0.7, correlation(mirrored))


def test_most_round_and_empty_shots_are_left_out() -> None:
    records = parameters(600, "helium", 3)
    classes = PRESETS["helium"].classes
    kept = package_encoder.helium_selection(records)

    def others(some: np.ndarray) -> int:
        labels = classes_of(some, len(classes))
        return int((labels[:, classes.index("Round")] | labels[:, classes.index("Empty")]).sum())

    assert others(kept) == others(records) // package_encoder.OTHERS
    assert len(kept) - others(kept) == len(records) - others(records)


def test_from_shots_to_a_card_with_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    scale = package_encoder.SCALES["smoke"]
    result = package_encoder.train(scale, tmp_path, 1, progress=False)
    found = package_encoder.scores(result.model, scale, tmp_path, None)
    card = package_encoder.described(result, scale, found)
    assert card.metrics["scores"] == found
    machine = {"cpu": "a processor", "cores": 2}
    content = {"images": len(result.split.train), "scores": found, "seconds": 60.0, "machine": machine}
    assert f"{found[package_encoder.TRAINED]['overlap']:.3f}" in package_encoder.page(content, scale)
    assert card.training["data"]["simulated"]["images"] == len(result.split.train)
    # Once more: nothing is simulated or trained again, and the same frames are there.
    monkeypatch.setattr(package_encoder, "render", None)
    again = package_encoder.train(scale, tmp_path, 1, progress=False)
    images = torch.rand(3, 1, 32, 32)
    assert torch.equal(again.model.embed(images), result.model.embed(images))
    frames, good = package_encoder.training_frames(dataclasses.replace(scale), tmp_path / "frames", 1)
    assert frames.shape == good.shape == (len(result.split.train), 32, 32)
    encoder, loaded = load_encoder(tmp_path / "training" / "weights.safetensors")
    assert loaded.training["config"]["views"]["first"] == "unwrapped"
    assert card.preset == "cplr-small"
    assert torch.equal(encoder(images), result.model.embed(images))
