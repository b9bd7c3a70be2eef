"""Paper 1's harness: cells that resume, differences with intervals, the page, and a study from end to end."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from benchmarks.reproduce import p1
from benchmarks.reproduce.cells import machines_in_words, path_of, read_cell, run_cells
from benchmarks.reproduce.p1_claims import difference, digits, pooled, time_to_reach
from benchmarks.reproduce.p1_data import between_pixels, preparation_for
from benchmarks.reproduce.p1_numbers import TABLE10, TABLES
from benchmarks.reproduce.p1_page import Results, page
from benchmarks.reproduce.p1_trainings import Scale, Training, counts_of, split_for, with_seeds
from cdifast.data import InputPreparation, MapPreparation, prepare_frames
from cdifast.data.augment import P1
from cdifast.evaluate import classification_metrics
from cdifast.labels import CLASSES
from cdifast.simulate.helium import HOLE
from cdifast.train import TrainConfig


@dataclasses.dataclass(frozen=True)
class Square:
    """A cell for the tests."""

    number: int
    comment: str = ""

    @property
    def name(self) -> str:
        return f"square-{self.number}"


@dataclasses.dataclass(frozen=True)
class Size:
    """A scale for the tests."""

    power: int = 2
    seeds: int = 1


CALLS: list[int] = []


def square(cell: Square, scale: Size, offset: int) -> dict[str, Any]:
    """Its function."""
    CALLS.append(cell.number)
    if cell.number == 13:
        raise RuntimeError("unlucky")
    return {"value": cell.number**scale.power + offset}


def test_cells_are_computed_once_and_go_on_where_they_stopped(tmp_path: Path) -> None:
    CALLS.clear()
    cells = [Square(2), Square(13), Square(3)]
    with pytest.raises(RuntimeError, match="unlucky"):
        run_cells(square, cells, tmp_path, Size(), (1,), say=lambda _: None)
    assert CALLS == [2, 13]
    said: list[str] = []
    run_cells(square, [Square(2), Square(3)], tmp_path, Size(), (1,), say=said.append)
    assert CALLS == [2, 13, 3]
    assert said[0] == "1 of 2 cells are there, 1 to compute"
    assert read_cell(tmp_path, Square(3), Size(seeds=4)) == {"value": 10}
    # Another description under the same name is another cell.
    assert read_cell(tmp_path, Square(3, "changed"), Size()) is None
    assert read_cell(tmp_path, Square(3), Size(3)) is None
    kept = json.loads(path_of(tmp_path, Square(3)).read_text())
    assert kept["cell"] == {"number": 3, "comment": ""}
    assert kept["machine"]["cores"] >= 1


def test_cells_in_processes(tmp_path: Path) -> None:
    cells = [Square(n) for n in range(3)]
    run_cells(square, cells, tmp_path, Size(), (0,), jobs=2, say=lambda _: None)
    assert [read_cell(tmp_path, cell, Size()) for cell in cells] == [{"value": n * n} for n in range(3)]


def test_two_cells_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="square-2 twice"):
        run_cells(square, [Square(2), Square(2, "again")], tmp_path, Size(), (0,))


def labels(images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """True and predicted labels, 10 % of them wrong."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 2, (images, 11), dtype=np.uint8)
    return truth, truth ^ (random.random(truth.shape) < 0.1)


def test_metrics_from_counts_are_those_from_labels() -> None:
    truth, predicted = labels(70, 0)
    expected = classification_metrics(truth, predicted)
    counts = digits(counts_of(truth, predicted))
    for metric in ("accuracy", "precision", "recall"):
        assert pooled(counts, metric, 11) == pytest.approx(getattr(expected, metric))
    f1 = 2 / (1 / expected.precision + 1 / expected.recall)
    assert pooled(counts, "f1", 11) == pytest.approx(f1)


def test_the_interval_of_a_difference_is_that_of_its_sampling_distribution() -> None:
    # Per image, the difference of the numbers of right labels is a sum of 11 independent ones: variances are known.
    images = 4000
    random = np.random.default_rng(1)
    truth = random.integers(0, 2, (images, 11), dtype=np.uint8)
    results = []
    for wrong in (0.1, 0.2):
        predicted = truth ^ (random.random(truth.shape) < wrong)
        results.append([{"counts": counts_of(truth, predicted)}])
    found = difference(results[0], results[1], "accuracy", 11)
    assert found.clear
    assert found.low < found.mean < found.high
    deviation = np.sqrt((0.1 * 0.9 + 0.2 * 0.8) / (11 * images))
    assert found.mean == pytest.approx(0.1, abs=4 * deviation)
    assert (found.high - found.low) / (2 * 1.96 * deviation) == pytest.approx(1, abs=0.1)
    assert found.by_seed == (pytest.approx(found.mean),)
    same = difference(results[0], results[0], "accuracy", 11)
    assert (same.mean, same.low, same.high, same.clear) == (0, 0, 0, False)


def test_seeds_that_disagree_widen_the_interval() -> None:
    sets = [labels(500, seed) for seed in range(3)]
    right = [{"counts": counts_of(truth, truth)} for truth, _ in sets]
    wrong = [{"counts": counts_of(truth, predicted)} for truth, predicted in sets]
    agreeing = difference(right, wrong, "accuracy", 11)
    disagreeing = difference([right[0], wrong[1], right[2]], [wrong[0], right[1], wrong[2]], "accuracy", 11)
    assert agreeing.clear
    assert not disagreeing.clear
    with pytest.raises(ValueError, match="3 and 2 seeds"):
        difference(right, wrong[:2], "accuracy", 11)


def test_time_to_reach() -> None:
    history = [{"seconds": s, "accuracy": a} for s, a in ((1.0, 0.5), (2.0, None), (3.0, 0.8), (4.0, 0.7))]
    assert time_to_reach(history, 0.6) == 3.0
    assert time_to_reach(history, 0.9) is None


def test_shares_of_the_training_split_are_nested_in_it_and_leave_the_validation_split() -> None:
    whole, half = split_for(200, 3), split_for(200, 3, 50)
    assert len(whole.train) == 170
    assert len(half.train) == 85
    assert set(half.train) < set(whole.train)
    np.testing.assert_array_equal(half.validation, whole.validation)


def test_the_tables_are_p1s() -> None:
    """Typing errors: what the tables share, and what the text says of them."""
    by_training: dict[Training, set[tuple[float, float, float]]] = {}
    for table in TABLES.values():
        for row in table.rows:
            by_training.setdefault(row.training, set()).add(row.metrics)
    for training, metrics in by_training.items():
        accuracies, precisions, recalls = zip(*metrics, strict=True)
        assert len(set(accuracies)) == len(set(precisions)) == 1, training
        assert max(recalls) - min(recalls) <= 0.001 + 1e-9, training  # P1 prints 0.866 and 0.867 for one network
    assert set(TABLE10) == set(CLASSES)
    assert {entry[3] for name, entry in TABLE10.items() if name == "Layered"} == {7}


def test_each_training_once_and_its_recipe() -> None:
    every = p1.trainings(p1.PARTS)
    assert len(every) == len(set(every)) == 37
    names = [cell.name for training in every for cell in with_seeds(training, p1.SCALES["cpu"])]
    assert len(set(names)) == 3 * 37
    config = Training(network="vgg19", first="leaky", seed=4).config(p1.SCALES["cpu"])
    assert (config.architecture, config.depth, config.first_activation, config.seed) == ("vgg", 19, "leaky", 4)
    assert (config.epochs, config.learning_rate, config.warmup_epochs) == (40, 0.01, 5)
    config = Training(first="0.5").config(p1.SCALES["paper"])
    assert (config.depth, config.width, config.first_activation, config.alpha) == (18, 1, "log", 0.5)
    assert (config.epochs, config.learning_rate, config.decay_every, config.batch_size) == (200, 0.1, 50, 48)
    fast, full = p1.FAST.config(p1.SCALES["cpu"]), p1.FULL.config(p1.SCALES["cpu"])
    assert (fast.epochs, full.epochs, full.decay_every) == (50, 200, 50)
    assert fast == TrainConfig.recipe("fast", width=0.25)
    # The tables' own: P1's changes of the images, and a validation every epoch.
    tables = Training().config(p1.SCALES["cpu"])
    assert tables == TrainConfig.recipe("fast", width=0.25, epochs=40, validate_every=1, augmentation=P1)
    assert (fast.schedule, fast.batch_size) == ("one-cycle", TrainConfig.recipe("fast").batch_size)


def test_between_four_pixels_noise_stays_and_averages_take_it_away() -> None:
    generator = torch.Generator().manual_seed(2)
    frames = torch.rand(20, 129, 129, generator=generator)
    mask = np.ones((129, 129), bool)
    mask[:, 64:80] = False
    reduced, good = between_pixels(frames.where(torch.from_numpy(mask), torch.nan).nan_to_num(), mask, 32)
    # Positions 128 / 31 pixels apart, corner on corner: scipy's own interpolation between four pixels.
    at = np.linspace(0, 128, 32)
    expected = ndimage.map_coordinates(frames[3].numpy(), np.meshgrid(at, at, indexing="ij"), order=1)
    assert good.shape == (32, 32)
    assert not good.all()
    whole = np.floor(at)[None] + 1 < 64  # all four neighbours are good
    np.testing.assert_allclose(np.where(whole, reduced[3], 0), np.where(whole, expected, 0), atol=1e-5)
    # A mean of n uniform numbers has n times less variance; between two of a line, 2/3 as much for a random place.
    averages = prepare_frames(frames[:, :128, :128].numpy(), None, InputPreparation(32, "none"))
    assert averages.var() == pytest.approx(1 / 12 / 16, rel=0.05)
    assert reduced[:, :, :15].var() == pytest.approx((2 / 3) ** 2 / 12, rel=0.1)


def test_what_networks_see_of_finer_frames() -> None:
    assert preparation_for("maps", 64, 64).oversampling == 1  # type: ignore[union-attr]
    fine = preparation_for("maps", 64, 256)
    assert isinstance(fine, MapPreparation)
    assert (fine.oversampling, fine.n_angular) == (2, 512)
    assert fine.r_min == pytest.approx(HOLE * 255 / 2)
    assert preparation_for("points", 64, 256) == InputPreparation(64)
    assert {row.training.kind for row in TABLES["table6-fine"].rows} == {"maps", "images", "points"}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Scale]:
    """A study of two tables at the smallest scale."""
    folder = tmp_path_factory.mktemp("a study")
    scale = dataclasses.replace(p1.SCALES["smoke"], seeds=2)
    p1.study(scale, ["table4", "figure4", "figure5", "baselines"], folder / "out", folder / "work")
    return folder / "out", folder / "work", scale


def test_a_study_from_end_to_end(smoke: tuple[Path, Path, Scale]) -> None:
    output, _, scale = smoke
    text = (output / "README.md").read_text()
    for png in ("figure4.png", "figure5.png", "studies.png"):
        assert (output / png).stat().st_size > 10_000
    row = re.search(r"\| unmodified \| (.*) \|", text)
    assert row
    cells = row[1].split(" | ")
    assert [cells[1], cells[3], cells[6]] == ["0.955", "0.918", "0.867"]
    found = Results(output, scale).of(Training(first="none"))
    assert len(found) == 2
    accuracies = [result["maxima"]["accuracy"] for result in found]
    assert cells[0] == f"{np.mean(accuracies):.3f} ± {np.std(accuracies, ddof=1):.3f}"
    # What was not asked for stays empty; its rows are there, beside P1's numbers.
    assert re.search(r"\| 25 % \(1544\) \|  \| 0.797 \|", text)


def test_a_study_goes_on_and_a_page_is_the_same(smoke: tuple[Path, Path, Scale], monkeypatch: Any) -> None:
    output, work, scale = smoke
    before = (output / "README.md").read_text()
    monkeypatch.setattr(p1, "train_cell", None)  # would be called for a missing cell
    p1.study(scale, ["table4"], output, work)
    p1.study(scale, ["table4", "table5", "figure5"], output, work, compute=False)
    assert (output / "README.md").read_text() == before
    assert page(Results(output, scale), "A machine").startswith("# Paper 1, reproduced")


def test_the_committed_page_is_that_of_the_committed_cells() -> None:
    folder = Path(p1.__file__).parents[1] / "results" / "p1"
    text = page(Results(folder, p1.SCALES["cpu"]), machines_in_words(folder))
    assert (folder / "README.md").read_text() == text
