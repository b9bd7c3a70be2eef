"""Files of predictions, read back and as a table."""

from __future__ import annotations

import csv
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from cdifast.data import FrameError, InputPreparation, open_frames, write_cxi
from cdifast.evaluate import rule_violations
from cdifast.jobs import read_predictions, write_prediction_table, write_predictions
from cdifast.labels import CLASSES
from cdifast.nn import ModelCard, preact_resnet, save_weights


def save(path: Path, classes: tuple[str, ...], thresholds: tuple[float, ...]) -> Path:
    torch.manual_seed(1)
    model = preact_resnet(18, len(classes), width=0.125).eval()
    preparation = InputPreparation(size=32).to_dict()
    save_weights(path, model, ModelCard("preact_resnet", model.arguments, classes, thresholds, input=preparation))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("predictions")
    images = np.random.default_rng(0).poisson(3.0, (9, 32, 32)).astype(np.uint16)
    write_cxi(folder / "a.cxi", images[:5])
    write_cxi(folder / "b.cxi", images[5:])
    # So low that labels break rules.
    weights = save(folder / "w.safetensors", CLASSES, (0.45,) * 11)
    with open_frames([folder / "a.cxi", folder / "b.cxi"]) as frames:
        write_predictions(frames, weights, folder / "p.h5")
    return folder


def test_reading_gives_what_is_in_the_file(folder: Path) -> None:
    found = read_predictions(folder / "p.h5")
    with h5py.File(folder / "p.h5") as file:
        np.testing.assert_array_equal(found.probabilities, file["/entry_1/predictions/probability"][()])
        np.testing.assert_array_equal(found.labels, file["/entry_1/predictions/label"][()])
    assert (found.classes, found.thresholds) == (CLASSES, (0.45,) * 11)
    violations = rule_violations(found.labels)
    assert len(violations.indices)
    assert found.rules == tuple(violations.by_rule)
    np.testing.assert_array_equal(found.rule_broken, violations.matrix)
    assert [path.name for path in found.paths] == ["a.cxi", "b.cxi"]
    assert found.file.tolist() == [0] * 5 + [1] * 4
    assert found.index.tolist() == [*range(5), *range(4)]


def test_the_table_says_the_same(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdifast.jobs.prediction_files._CSV_ROWS", 4)
    path = write_prediction_table(folder / "p.h5", tmp_path / "p.csv")
    rows = list(csv.DictReader(path.open()))
    found = read_predictions(folder / "p.h5")
    assert [int(row["frame"]) for row in rows] == list(range(9))
    assert [Path(row["file"]).name for row in rows] == ["a.cxi"] * 5 + ["b.cxi"] * 4
    assert [int(row["index"]) for row in rows] == found.index.tolist()
    for row, labels, broken, values in zip(rows, found.labels, found.rule_broken, found.probabilities, strict=True):
        assert row["predicted"] == "; ".join(CLASSES[k] for k in np.flatnonzero(labels))
        assert row["broken rules"] == "; ".join(found.rules[k] for k in np.flatnonzero(broken))
        assert [float(row[f"probability: {name}"]) for name in CLASSES] == pytest.approx(values.tolist(), rel=1e-5)
    with pytest.raises(FileExistsError, match=r"p\.csv: exists already"):
        write_prediction_table(folder / "p.h5", path)
    with pytest.raises(FrameError, match="would destroy the input"):
        write_prediction_table(folder / "p.h5", folder / "p.h5", overwrite=True)


def test_classes_that_no_rule_speaks_of(folder: Path, tmp_path: Path) -> None:
    weights = save(tmp_path / "w.safetensors", ("virus", "rice"), (0.5, 0.5))
    with open_frames(folder / "a.cxi") as frames:
        path = write_predictions(frames, weights, tmp_path / "p.h5")
    found = read_predictions(path)
    assert (found.rules, found.rule_broken.shape) == ((), (5, 0))
    with h5py.File(path) as file:
        assert "rule_broken" not in file["/entry_1/predictions"]
    assert len(write_prediction_table(path, tmp_path / "p.csv").read_text().splitlines()) == 6


def test_predictions_of_other_frames_are_refused(folder: Path, tmp_path: Path) -> None:
    found = read_predictions(folder / "p.h5")
    with open_frames([folder / "a.cxi", folder / "b.cxi"]) as frames:
        found.check_frames(frames, "p.h5")
    with (
        open_frames(folder / "a.cxi") as frames,
        pytest.raises(FrameError, match=r"p\.h5: holds predictions for 9 frames; there are 5"),
    ):
        found.check_frames(frames, "p.h5")
    with (
        open_frames([folder / "b.cxi", folder / "a.cxi"]) as frames,
        pytest.raises(FrameError, match=r"row 4 is about frame 4 of file 0"),
    ):
        found.check_frames(frames, "p.h5")
    (tmp_path / "c.cxi").write_bytes((folder / "a.cxi").read_bytes())
    with (
        open_frames([tmp_path / "c.cxi", folder / "b.cxi"]) as frames,
        pytest.raises(FrameError, match=r"holds predictions for a\.cxi, expected c\.cxi"),
    ):
        found.check_frames(frames, "p.h5")


def test_what_is_no_file_of_predictions(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no\.h5: no such file"):
        read_predictions(tmp_path / "no.h5")
    with pytest.raises(FrameError, match=r"a\.cxi.*holds no predictions"):
        read_predictions(folder / "a.cxi")
    (tmp_path / "text.h5").write_text("text")
    with pytest.raises(FrameError, match=r"text\.h5: is no HDF5 file with predictions"):
        read_predictions(tmp_path / "text.h5")
