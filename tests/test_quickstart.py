"""The quickstart from end to end on few shots: what it leaves, how it resumes, what it refuses."""

from __future__ import annotations

import csv
import dataclasses
import html
import json
import os
import shlex
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer

import cdifast.jobs.maps
import cdifast.quickstart as quickstart
import cdifast.simulate.simulation
from cdifast import cli
from cdifast.data import open_frames
from cdifast.evaluate import classification_metrics, overlap
from cdifast.jobs import MapSettings, unwrapped_and_maps
from cdifast.labels import CLASSES
from cdifast.quickstart import QuickstartResult, run_quickstart
from cdifast.train import TrainConfig, TrainingInterrupted
from cdifast.train.run import TrainingRun

h5py = pytest.importorskip("h5py")
pytest.importorskip("matplotlib")

COUNT, SIZE = 48, 64


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    """A network of an eighth of the width, and one thread: more would wait for each other at this size."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        narrow = dataclasses.replace(quickstart.RECIPE, width=0.125, batch_size=8)
        patch.setattr(quickstart, "RECIPE", narrow)
        yield
    torch.set_num_threads(threads)


def run(output: Path, **changed: Any) -> QuickstartResult:
    return run_quickstart(output, **{"count": COUNT, "size": SIZE, "input_size": 32, "epochs": 2, "seed": 5, **changed})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> QuickstartResult:
    return run(tmp_path_factory.mktemp("quickstart") / "a folder & more")


def comparable(summary: dict[str, Any]) -> dict[str, Any]:
    """The summary without what depends on the clock."""
    kept = {key: value for key, value in summary.items() if key != "seconds"}
    kept["history"] = [{**record, "seconds": None} for record in summary["history"]]
    return kept


def interrupt_call(patch: pytest.MonkeyPatch, place: Any, name: str, call: int) -> None:
    """Make the given call (from 0) of a function raise what Ctrl-C raises."""
    original: Callable[..., Any] = getattr(place, name)
    calls = iter(range(10**6))

    def counted(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == call:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    patch.setattr(place, name, counted)


def test_everything_is_there_and_fits_together(finished: QuickstartResult) -> None:
    folder, summary = finished.output, finished.summary
    assert summary == json.loads((folder / "summary.json").read_text())
    assert not list(folder.rglob("*.partial"))
    assert sum(seconds for stage, seconds in summary["seconds"].items() if stage != "all") == pytest.approx(
        summary["seconds"]["all"]
    )
    with open_frames(folder / "shots.cxi") as frames, (folder / "held-out.csv").open() as file:
        rows = list(csv.DictReader(file))
        assert frames.shape == (COUNT, SIZE, SIZE)
        shots = [int(row["shot"]) for row in rows]
        assert len(rows) == summary["shots"]["held_out"] == COUNT - summary["shots"]["train"]
        truth = np.array([[int(row[f"true {name}"]) for name in CLASSES] for row in rows])
        np.testing.assert_array_equal(truth, frames.labels[shots])
    # The report's numbers, again from the file of held-out probabilities alone.
    guess = np.array([[float(row[name]) >= 0.5 for name in CLASSES] for row in rows])
    metrics = classification_metrics(truth, guess)
    pooled = summary["held_out"]["methods"]["network"]["pooled"]
    assert [pooled[name]["value"] for name in ("accuracy", "precision", "recall")] == pytest.approx(
        [metrics.accuracy, metrics.precision, metrics.recall]
    )
    assert summary["wrong_images"] == (guess != truth).any(axis=1).sum()
    page = finished.report.read_text(encoding="utf-8")
    assert f"{metrics.precision:.3f}" in page
    assert summary["fingerprints_sha256"]["training/weights.safetensors"] in page


def test_neighbours_are_those_of_the_embeddings(finished: QuickstartResult) -> None:
    """The overlap of labels among nearest neighbours, again from the files of shots and embeddings alone."""
    found = finished.summary["similar_shots"]
    with open_frames(finished.output / "shots.cxi") as frames, h5py.File(finished.output / "embeddings.h5") as file:
        labels, vectors = frames.labels, file["/entry_1/embeddings/embedding"][:]
    assert found["neighbours"] == 13
    assert found["overlap"] == pytest.approx(overlap(vectors, labels, 13).macro, abs=1e-6)
    shared = (labels[:, None] & labels).sum(2) / np.maximum(labels.sum(1)[:, None], labels.sum(1))
    np.fill_diagonal(shared, 0)
    chance = shared.sum(1) / (COUNT - 1)
    assert found["chance"] == pytest.approx(np.mean([chance[column > 0].mean() for column in labels.T if column.any()]))
    page = finished.report.read_text(encoding="utf-8")
    assert f"{100 * found['overlap']:.0f} % of its labels in common" in page
    assert page.count("<figure") == page.count("<figcaption")
    assert "whose embeddings are nearest" in page


def test_next_steps_are_commands_that_exist(finished: QuickstartResult) -> None:
    """Every command of the page is accepted by the command line, down to its options."""
    group = typer.main.get_command(cli.app)
    lines = [line for line in quickstart._next_steps(finished.output) if not line.startswith("#")]
    assert len(lines) == 6
    for line in lines:
        assert html.escape(line) in finished.report.read_text(encoding="utf-8")
        program, name, *arguments = shlex.split(line)
        assert program == "cdifast"
        context = group.commands[name].make_context(name, arguments)
        assert context.params["files"][0].endswith(".cxi")


def test_baselines_learn_from_the_training_split(finished: QuickstartResult) -> None:
    """The majority's recall, by hand: the share of the true labels that the most frequent set holds."""
    with open_frames(finished.output / "shots.cxi") as frames:
        labels = frames.labels
    with (finished.output / "held-out.csv").open() as file:
        held_out = [int(row["shot"]) for row in csv.DictReader(file)]
    train = np.delete(labels, held_out, axis=0)
    rows, counts = np.unique(train, axis=0, return_counts=True)
    hits = (labels[held_out] & rows[counts.argmax()]).sum()
    pooled = finished.summary["held_out"]["methods"]["majority"]["pooled"]
    assert pooled["recall"]["value"] == pytest.approx(hits / labels[held_out].sum())


def test_maps_are_those_of_the_shots_with_a_value_in_every_cell(finished: QuickstartResult) -> None:
    settings = MapSettings(**finished.summary["settings"]["maps"])
    with open_frames(finished.output / "shots.cxi") as frames, h5py.File(finished.output / "maps.h5") as file:
        assert file["/entry_1/maps/data"].shape == (COUNT, SIZE // 2, SIZE // 2)
        assert (file["/entry_1/maps/weight"][:] == 1).all()
        _, maps = unwrapped_and_maps(frames[7:9], frames.mask, settings)
        np.testing.assert_allclose(file["/entry_1/maps/data"][7:9], maps.numpy(), rtol=1e-5)


def test_a_finished_run_is_not_touched(finished: QuickstartResult) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.output.rglob("*")}
    assert run(finished.output) == finished
    assert {path: path.stat().st_mtime_ns for path in finished.output.rglob("*")} == before


def test_interrupted_at_every_stage_it_ends_with_the_same_numbers(
    finished: QuickstartResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulated: list[int] = []
    draw = cdifast.simulate.simulation.photon_counts

    def counted(*args: Any, **kwargs: Any) -> Any:
        simulated.append(1)
        return draw(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(cdifast.simulate.simulation, "photon_counts", counted)
        with patch.context() as inner:
            interrupt_call(inner, cdifast.simulate.simulation, "photon_counts", 40)
            with pytest.raises(KeyboardInterrupt):
                run(tmp_path)
        assert (tmp_path / "shots.cxi.partial").exists()
        assert not (tmp_path / "shots.cxi").exists()
        assert len(simulated) == 40

        with patch.context() as inner:
            interrupt_call(inner, TrainingRun, "train_step", 6)
            with pytest.raises(KeyboardInterrupt):
                run(tmp_path)
        # Two blocks of 16 shots had been written before the interrupt: only the last 16 were simulated again.
        assert len(simulated) == 40 + 16
    shots = (tmp_path / "shots.cxi").read_bytes()
    assert (tmp_path / "training" / "checkpoint.safetensors").exists()

    steps: list[int] = []
    step = TrainingRun.train_step
    with monkeypatch.context() as patch:
        patch.setattr(TrainingRun, "train_step", lambda *args: steps.append(1) or step(*args))
        interrupt_call(patch, cdifast.jobs.maps.MapMaker, "__call__", 0)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    assert len(steps) == 5  # five batches of 8 an epoch: the first epoch was safe
    assert not (tmp_path / "maps.h5").exists()

    with monkeypatch.context() as patch:
        interrupt_call(patch, quickstart.figures, "png", 2)
        interrupt_call(patch, TrainingRun, "train_step", 0)  # training is over
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    assert not (tmp_path / "report.html").exists()
    maps = (tmp_path / "maps.h5").stat().st_mtime_ns

    result = run(tmp_path)
    assert (tmp_path / "maps.h5").stat().st_mtime_ns == maps
    assert (tmp_path / "shots.cxi").read_bytes() == shots
    assert comparable(result.summary) == comparable(finished.summary)


def test_ctrl_c_in_training_leaves_its_checkpoint(
    finished: QuickstartResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = TrainingRun.train_step

    def interrupted(*args: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return step(*args)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingRun, "train_step", interrupted)
        with pytest.raises(TrainingInterrupted, match=r"checkpoint\.safetensors"):
            run(tmp_path)
    assert comparable(run(tmp_path).summary) == comparable(finished.summary)


def test_other_settings_are_refused_and_replaced_only_on_request(finished: QuickstartResult, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match=r"other settings \(count: 48 there, 32 now\); choose another folder"):
        run(finished.output, count=32)
    with pytest.raises(FileExistsError, match=r"training\.epochs: 2 there, 3 now"):
        run(finished.output, epochs=3)

    run(tmp_path, count=16, epochs=1)
    result = run(tmp_path, count=20, epochs=1, overwrite=True)
    assert result.summary["settings"]["count"] == 20
    with open_frames(tmp_path / "shots.cxi") as frames:
        assert len(frames) == 20
    (tmp_path / "quickstart.json").unlink()
    with pytest.raises(FileExistsError, match=r"shots\.cxi: exists, but not from a quickstart"):
        run(tmp_path, count=20, epochs=1)


def test_overwrite_goes_on_with_an_unfinished_run_of_the_same_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_call(patch, TrainingRun, "train_step", 0)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, count=16, epochs=1, overwrite=True)
    shots = (tmp_path / "shots.cxi").stat().st_ino
    first = run(tmp_path, count=16, epochs=1, overwrite=True)
    assert (tmp_path / "shots.cxi").stat().st_ino == shots
    second = run(tmp_path, count=16, epochs=1, overwrite=True)
    assert second.summary["seconds"] != first.summary["seconds"]  # a finished one is made anew
    assert comparable(second.summary) == comparable(first.summary)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"count": 1}, "a split needs at least 2"),
        ({"size": 8}, "size must be at least 16"),
        ({"input_size": 0}, "size: found 0"),
        ({"epochs": 0}, "epochs: found 0"),
        ({"seed": -1}, "seed: found -1"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(
    changed: dict[str, int], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "new", **changed)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotADirectoryError, match="is a file"):
        run(tmp_path / "file")


def test_the_recipe_is_scaled_to_the_epochs(finished: QuickstartResult) -> None:
    config = TrainConfig.from_dict(finished.summary["settings"]["training"])
    assert config.epochs == len(finished.summary["history"]) == 2
    share = config.epochs / quickstart.RECIPE.epochs
    assert config.decay_every == pytest.approx(quickstart.RECIPE.decay_every * share)
    assert config.warmup_epochs == pytest.approx(quickstart.RECIPE.warmup_epochs * share)
