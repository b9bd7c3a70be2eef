"""pretrain, embed, similar and few-shot, run one after the other as a user runs them."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cdifast.data import open_frames
from tests.cli.test_cli import run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shots, an encoder and the shots' embeddings."""
    folder = tmp_path_factory.mktemp("embedding")
    for arguments in (
        ("simulate", folder / "shots.cxi", "--count", 48, "--size", 32, "--seed", 1, "-q"),
        ("pretrain", folder / "shots.cxi", "-o", folder / "encoder", *SMALL),
        ("embed", folder / "shots.cxi", "-o", folder / "e.h5", "-w", folder / "encoder", "-q"),
    ):
        status, text = run(*arguments)
        assert status == 0, text
    return folder


SMALL = ("--epochs", 1, "--batch-size", 16, "--input-size", 32, "-q")


def test_pretrain_refuses_resumes_and_trains_other_modes(folder: Path, tmp_path: Path) -> None:
    status, text = run("pretrain", folder / "shots.cxi", "-o", folder / "encoder", *SMALL)
    assert status == 1
    assert "holds a training run" in text
    status, text = run("pretrain", folder / "shots.cxi", "-o", folder / "encoder", *SMALL, "--resume")
    assert status == 0, text
    assert re.search(r"embedding\s+192 numbers", text)
    other = ("--mode", "unwrapped-detector", "--center", 15, 16)
    status, text = run("pretrain", folder / "shots.cxi", "-o", tmp_path / "other", *SMALL, *other)
    assert status == 0, text
    embeddings = []
    for center in ((15, 16), (11, 16)):
        path = tmp_path / f"{center[0]}.h5"
        status, text = run(
            "embed", folder / "shots.cxi", "-o", path, "-w", tmp_path / "other", "--center", *center, "-q"
        )
        assert status == 0, text
        with h5py.File(path) as file:
            assert file["/entry_1/embeddings"].attrs["view"] == b"unwrapped"
            embeddings.append(file["/entry_1/embeddings/embedding"][:])
    assert not np.allclose(embeddings[0], embeddings[1])


def test_pretrain_on_hits_alone(folder: Path, tmp_path: Path) -> None:
    """With a file of hits, an encoder is trained on those frames alone, with their centres."""
    shots = folder / "shots.cxi"
    status, text = run("hits", shots, "-o", tmp_path / "hits.h5", "--centers", "friedel", "--level", 20, "-q")
    assert status == 0, text
    with h5py.File(tmp_path / "hits.h5", "r+") as file:
        file["/entry_1/hits/hit"][:] = np.arange(48) % 2
        file["/entry_1/hits/center"][1] = (14, 15)
    arguments = ("pretrain", shots, *SMALL, "--hits", tmp_path / "hits.h5")
    status, text = run(*arguments, "-o", tmp_path / "encoder")
    assert status == 0, text
    assert "24 frames" in text
    with h5py.File(tmp_path / "hits.h5", "r+") as file:
        file["/entry_1/hits/center"][1] = (18, 15)
    status, text = run(*arguments, "-o", tmp_path / "moved")
    assert status == 0, text
    weights = [load_file(tmp_path / name / "weights.safetensors") for name in ("encoder", "moved")]
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    with h5py.File(tmp_path / "hits.h5", "r+") as file:
        file["/entry_1/hits/hit"][:] = np.arange(48) == 7
    status, text = run(*arguments, "-o", tmp_path / "none")
    assert status == 1
    assert "found 1 hits among 48 frames, expected at least 2" in text
    status, text = run("pretrain", shots, *SMALL, "--hits", folder / "e.h5", "-o", tmp_path / "no")
    assert status == 1
    assert "expected a file that `cdifast hits` wrote" in text


def test_similar_prints_the_nearest_and_draws_them(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    shots, figure = folder / "shots.cxi", tmp_path / "like.png"
    status, text = run("similar", shots, "--shot", 5, "-k", 6, "-e", folder / "e.h5", "--figure", figure)
    assert status == 0, text
    with h5py.File(folder / "e.h5") as file:
        rows = file["/entry_1/embeddings/embedding"][:].astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    expected = [index for index in np.argsort(1 - rows @ rows[5]).tolist() if index != 5][:6]
    table = re.findall(r"^\s*(\d+)\s+(\d+)\s+([\d.]+)\s+shots\.cxi (\d+)", text, re.M)
    assert [int(row[1]) for row in table] == [int(row[3]) for row in table] == expected
    assert float(table[0][2]) == pytest.approx(1 - rows[expected[0]] @ rows[5], abs=1e-5)
    assert figure.read_bytes().startswith(b"\x89PNG")
    status, again = run("similar", shots, "--shot", 5, "-k", 6, "-w", folder / "encoder", "-q")
    assert status == 0, again
    assert [row[:2] for row in re.findall(r"^\s*(\d+)\s+(\d+)\s", again, re.M)] == [row[:2] for row in table]


def test_an_image_from_elsewhere(folder: Path, tmp_path: Path) -> None:
    pil = pytest.importorskip("PIL.Image")
    with open_frames(folder / "shots.cxi") as frames:
        image = np.where(frames.mask, frames[9], 0)
    pil.fromarray(image.astype(np.uint16)).save(tmp_path / "image.png")
    status, text = run(
        "similar", folder / "shots.cxi", "--like", tmp_path / "image.png", "-k", 3, "-e", folder / "e.h5"
    )
    assert status == 0, text  # the weights are those that the embeddings name
    assert "nearest to image.png" in text
    status, text = run("similar", folder / "shots.cxi", "-e", folder / "e.h5")
    assert status == 1
    assert "--shot, --like: found both or neither" in text


def test_few_shot(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    with (tmp_path / "few.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("frame", "round", "bent"), (0, 1, 0), (5, 0, 0), (9, 1, 0), (11, 0, 0)])
    arguments = (folder / "shots.cxi", "-e", folder / "e.h5", "--labels", tmp_path / "few.csv", "-o", tmp_path / "l.h5")
    status, text = run("few-shot", *arguments)
    assert status == 0, text
    assert "warning: not learnt, since all labelled frames have them or none: bent" in text
    assert "48 frames labelled" in text
    assert "4 frames of few.csv" in text
    with h5py.File(tmp_path / "l.h5") as file:
        group = file["/entry_1/predictions"]
        assert group["label"][[0, 5, 9, 11], 0].tolist() == [1, 0, 1, 0]
        assert list(group.attrs["classes"]) == [b"round", b"bent"]
    status, text = run("few-shot", *arguments)
    assert status == 1
    assert "--overwrite" in text


def test_no_weights_come_with_the_package_or_they_work(folder: Path, tmp_path: Path) -> None:
    from cdifast.nn import package_weights

    try:
        package_weights()
    except FileNotFoundError:
        expected = (1, "train an encoder with `cdifast pretrain` and name it with --weights")
    else:
        expected = (0, "48 embeddings in")
    status, text = run("embed", folder / "shots.cxi", "-o", tmp_path / "e.h5", "-q")
    assert status == expected[0]
    assert expected[1] in text
