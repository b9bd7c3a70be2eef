"""``cdifast explain`` as a user runs it."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from cdifast.cli import app
from cdifast.cli.explain import _shot_numbers
from cdifast.data import InputPreparation, write_cxi
from cdifast.labels import CLASSES
from cdifast.nn import ModelCard, preact_resnet, save_weights


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200", "TERM": "dumb"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explain")
    write_cxi(folder / "run.cxi", np.random.default_rng(0).poisson(5, (60, 32, 30)).astype(np.uint16))
    torch.manual_seed(0)
    model = preact_resnet(18, 11, width=0.0625)
    card = ModelCard("preact_resnet", model.arguments, CLASSES, (0.5,) * 11, input=InputPreparation(size=32).to_dict())
    save_weights(folder / "model" / "weights.safetensors", model, card)
    return folder


def test_a_figure_of_chosen_shots_and_one_of_shots_spread_over_the_run(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    command = ("explain", folder / "run.cxi", "--weights", folder / "model", "--output", tmp_path / "e.png")
    status, text = run(*command, "--shots", "3,17", "--classes", "Streak, Newton rings")
    assert status == 0, text
    first = (tmp_path / "e.png").read_bytes()
    assert first.startswith(b"\x89PNG")
    status, text = run(*command)  # figures are replaced, as those of other commands
    assert status == 0, text
    assert (tmp_path / "e.png").read_bytes() != first


def test_a_sidecar_of_a_range_of_shots(folder: Path, tmp_path: Path) -> None:
    command = ("explain", folder / "run.cxi", "-w", folder / "model", "-o", tmp_path / "e.h5", "-q")
    status, text = run(*command, "--shots", "50:", "--count", 2)
    assert status == 0, text
    assert "heat maps of 10 shots" in text
    with h5py.File(tmp_path / "e.h5") as file:
        assert file["/entry_1/explanations/heat"].shape == (10, 2, 32, 32)
        assert file["/entry_1/events/index"][:].tolist() == list(range(50, 60))
    status, text = run(*command)
    assert status == 1
    assert "--overwrite" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--output", "e.pdf"), "expected a .png for a figure or a .h5 for the maps"),
        (("--output", "e.png", "--shots", "3,x"), "--shots: found '3,x'; expected numbers and ranges"),
        (("--output", "e.png", "--shots", "60"), "frame 60 is out of range; there are 60 frames"),
        (("--output", "e.png", "--shots", "5:5"), "--shots: found no shot in '5:5'"),
        (("--output", "e.png", "--shots", ":"), "found 60 shots, a figure holds 40; use a .h5 output"),
        (("--output", "e.h5", "--classes", "Stripe"), "classes: found Stripe;"),
        (("--output", "e.h5", "--stage", "9"), "stage: found 9, expected 1 to 4"),
        (("--output", "e.h5", "--device", "gpu"), "--device: found 'gpu'"),
        (("--output", "e.h5", "--weights", "nowhere"), "nowhere: no such file"),
    ],
)
def test_bad_input_is_one_clear_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    status, text = run("explain", folder / "run.cxi", "--weights", folder / "model", *options)
    assert status == 1
    assert message in text
    assert not list(tmp_path.iterdir())


def test_shots_in_words() -> None:
    assert _shot_numbers("3, 17", 20) == [3, 17]
    assert _shot_numbers("5:8,0,6", 20) == [5, 6, 7, 0]
    assert _shot_numbers("17:,-1", 20) == [17, 18, 19]
    assert _shot_numbers("-2:", 20) == [18, 19]
    assert _shot_numbers("25", 20) == [25]  # refused when it is chosen, with the number of shots
