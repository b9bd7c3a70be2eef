"""Sheets of shots to label next: what is on them, and the way from the command to a table and back."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from cdifast.cli import app
from cdifast.data import FrameError, InputPreparation, open_frames, read_label_table, write_cxi
from cdifast.jobs import Predictions, predictions_for_sheet, read_predictions, write_label_sheet
from cdifast.labels import CLASSES
from cdifast.nn import ModelCard, preact_resnet, save_weights

pytest.importorskip("matplotlib")
SIZE = 32


def images(count: int) -> np.ndarray:
    """Rings of many spacings, two-fold modulated; the second half are the first half turned by 90 degrees."""
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    radius, angle = np.hypot(y, x), np.arctan2(-y, x)
    shots = [
        50 * (1 + np.cos(2 * np.pi * radius / (4 + 0.5 * k))) * (1 + 0.6 * np.cos(2 * angle)) for k in range(count // 2)
    ]
    return np.array([*shots, *(np.rot90(shot) for shot in shots)]).astype(np.uint16)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    mask = np.hypot(*(np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2)) > 4
    return write_cxi(tmp_path / "run.cxi", images(24), mask=mask)


def made_up(path: Path, probabilities: np.ndarray, rule_broken: np.ndarray | None = None) -> Predictions:
    count = len(probabilities)
    return Predictions(
        probabilities.astype(np.float32),
        (probabilities >= 0.5).astype(np.uint8),
        ("a excludes b",),
        np.zeros((count, 1), np.uint8) if rule_broken is None else rule_broken,
        ("a", "b"),
        (0.5, 0.5),
        (path,),
        np.zeros(count, np.int64),
        np.arange(count),
    )


def test_broken_rules_lead_then_the_unsure_and_no_two_alike(run: Path, tmp_path: Path) -> None:
    probabilities = np.full((24, 2), 0.01)
    probabilities[[2, 14, 5, 6], 0] = 0.45  # 14 is 2 turned by 90 degrees
    probabilities[[9, 21], :] = 0.99  # 21 is 9 turned
    broken = np.zeros((24, 1), np.uint8)
    broken[[9, 21]] = 1
    with open_frames(run) as frames:
        sheet = write_label_sheet(frames, made_up(run, probabilities, broken), tmp_path / "sheet", count=4)
        assert sheet.indices[0] == 9
        assert set(sheet.indices.tolist()) in ({9, 2, 5, 6}, {9, 14, 5, 6})
        assert sheet.breaking_rules == 1
        rows = {int(row["frame"]): row for row in csv.DictReader(sheet.table.open())}
        assert list(rows) == sheet.indices.tolist()
        assert (rows[9]["hint: predicted"], rows[9]["hint: broken rules"]) == ("a; b", "a excludes b")
        assert (rows[5]["hint: probabilities"], rows[5]["hint: uncertainty"]) == ("a 0.45", "0.900")
        assert (rows[5]["a"], rows[5]["b"], rows[5]["file"]) == ("", "", "run.cxi")
        # Filled in by a person.
        text = sheet.table.read_text().splitlines()
        text[1:3] = [line.replace(",,,", ",1,0,", 1) for line in text[1:3]]
        sheet.table.write_text("\n".join(text))
        found = read_label_table(sheet.table, frames, ("a", "b"))
        assert found.indices.tolist() == sorted(sheet.indices[:2].tolist())
        assert found.labels.tolist() == [[1, 0], [1, 0]]
        with pytest.raises(FileExistsError, match="exists already and may hold labels"):
            write_label_sheet(frames, made_up(run, probabilities), tmp_path / "sheet")
        # The next sheet leaves out what has labels now.
        after = write_label_sheet(
            frames, made_up(run, probabilities), tmp_path / "second", count=30, labelled=[sheet.table]
        )
        assert sorted(after.indices.tolist()) == sorted(set(range(24)) - set(found.indices.tolist()))


def test_pictures_show_every_shot_with_its_hole(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cdifast.report import figures

    drawn: list[tuple[list[np.ndarray], list[str]]] = []
    original = figures.captioned_shots

    def spy(shots: list[np.ndarray], captions: list[str], mask: None, *, columns: int) -> object:
        drawn.append((shots, captions))
        return original(shots, captions, mask, columns=columns)

    monkeypatch.setattr(figures, "captioned_shots", spy)
    monkeypatch.setattr("cdifast.jobs.label_sheet._PAGE", 9)
    (tmp_path / "sheet").mkdir()
    (tmp_path / "sheet" / "shots-7.png").write_text("of an earlier, longer sheet")
    rng = np.random.default_rng(0)
    with open_frames(run) as frames:
        broken = (np.arange(24) % 3 == 0).astype(np.uint8)[:, None]
        sheet = write_label_sheet(frames, made_up(run, rng.random((24, 2)), broken), tmp_path / "sheet", count=20)
        assert [path.name for path in sheet.pictures] == ["shots-1.png", "shots-2.png", "shots-3.png"]
        assert sorted(sheet.table.parent.glob("*.png")) == list(sheet.pictures)
        assert all(path.read_bytes().startswith(b"\x89PNG") for path in sheet.pictures)
        shots = [shot for page, _ in drawn for shot in page]
        captions = [caption for _, page in drawn for caption in page]
        for index, shot, caption in zip(sheet.indices, shots, captions, strict=True):
            assert caption.startswith(f"frame {index}\n")
            assert ("broken: a excludes b" in caption) == (index % 3 == 0)
            assert (np.isnan(shot) == ~frames.mask).all()
            np.testing.assert_allclose(shot[frames.mask], frames[int(index)][frames.mask], rtol=1e-5)


def test_bad_requests(run: Path, tmp_path: Path) -> None:
    with open_frames(run) as frames:
        good = made_up(run, np.full((24, 2), 0.3))
        with pytest.raises(ValueError, match="count: found 0"):
            write_label_sheet(frames, good, tmp_path / "s", count=0)
        with pytest.raises(FrameError, match="holds predictions for 5 frames; there are 24"):
            write_label_sheet(frames, made_up(run, np.full((5, 2), 0.3)), tmp_path / "s")
        every = tmp_path / "every.csv"
        every.write_text("frame,a,b\n" + "".join(f"{k},0,1\n" for k in range(24)))
        with pytest.raises(ValueError, match="all 24 frames have labels"):
            write_label_sheet(frames, good, tmp_path / "s", labelled=[every])
    assert not (tmp_path / "s").exists()


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    model = preact_resnet(18, 11, width=0.125).eval()
    preparation = InputPreparation(size=SIZE).to_dict()
    (tmp_path / "model").mkdir()
    path = tmp_path / "model" / "weights.safetensors"
    save_weights(path, model, ModelCard("preact_resnet", model.arguments, CLASSES, (0.5,) * 11, input=preparation))
    return path


def test_predictions_are_made_once_and_again_when_something_changed(run: Path, weights: Path, tmp_path: Path) -> None:
    with open_frames(run) as frames:
        first = predictions_for_sheet(frames, weights, tmp_path / "sheet")
        path = tmp_path / "sheet" / "predictions.h5"
        before = path.stat().st_mtime_ns
        second = predictions_for_sheet(frames, weights, tmp_path / "sheet")
        assert path.stat().st_mtime_ns == before
        np.testing.assert_array_equal(first.probabilities, second.probabilities)
    later = path.stat().st_mtime + 5
    os.utime(run, (later, later))
    with open_frames(run) as frames:
        predictions_for_sheet(frames, weights, tmp_path / "sheet")
    assert path.stat().st_mtime_ns > before


def test_the_command(run: Path, weights: Path, tmp_path: Path) -> None:
    def call(*arguments: object) -> tuple[int, str]:
        environment = {"COLUMNS": "200", "TERM": "dumb"}
        result = CliRunner().invoke(app, ["label-next", *map(str, arguments), "-q"], env=environment)
        return result.exit_code, " ".join(result.output.split())

    sheet = tmp_path / "sheet"
    status, text = call(run, "--weights", weights.parent, "--count", 6, "-o", sheet)
    assert status == 0, text
    assert "shots 6 of 24" in text
    assert len(read_predictions(sheet / "predictions.h5").labels) == 24
    header, *rows = csv.reader((sheet / "labels.csv").open())
    assert header[:3] == ["frame", "file", "index"]
    assert header[3:14] == list(CLASSES)
    assert len(rows) == 6
    status, text = call(run, "--predictions", sheet / "predictions.h5", "-o", sheet)
    assert status == 1
    assert re.search(r"labels\.csv: exists already and may hold labels; .* or pass --overwrite", text), text
    status, text = call(run, "--predictions", sheet / "predictions.h5", "-n", 3, "-o", sheet, "--overwrite")
    assert (status, len((sheet / "labels.csv").read_text().splitlines())) == (0, 4), text
    for wrong in ((), ("--weights", weights, "--predictions", sheet / "predictions.h5")):
        status, text = call(run, *wrong, "-o", tmp_path / "other")
        assert status == 1
        assert "--predictions and --weights: expected one of them" in text
    assert not (tmp_path / "other").exists()
