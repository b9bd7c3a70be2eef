"""The command: what it prints, writes and refuses, run as a user runs it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from cdifast.cli import app
from cdifast.data import MapPreparation, open_frames, prepare_frames, write_cxi
from cdifast.data.augment import Augmentation
from cdifast.evaluate import predict_probabilities
from cdifast.nn import load_classifier

COMMANDS = ("simulate", "info", "maps", "train", "predict", "label-next", "explain", "quickstart", "doctor")
COMMANDS += ("pretrain", "embed", "similar", "few-shot")


def run(*arguments: object) -> tuple[int, str]:
    """Exit status and everything printed, line breaks within tables joined."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200", "TERM": "dumb"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("a folder") / "shots.cxi"
    status, output = run("simulate", path, "--count", 60, "--size", 32, "--seed", 1, "--quiet")
    assert status == 0, output
    return path


def test_every_command_has_help_with_an_example() -> None:
    status, output = run("--help")
    assert status == 0
    for command in COMMANDS:
        assert command in output
        status, text = run(command, "--help")
        assert status == 0
        assert re.search(rf"Example:\s+cdifast\s+{command}", text), text


def test_simulate_then_info(shots: Path) -> None:
    status, output = run("info", shots)
    assert status == 0
    assert "60 of 32 x 32 pixels, uint16" in output
    assert "Spherical/Oblate" in output
    assert re.search(r"19\.\d+ to 3\d\.\d+ eV", output)


def test_maps(shots: Path, tmp_path: Path) -> None:
    output = tmp_path / "maps.h5"
    status, text = run("maps", shots, "-o", output, "--n-radial", 10, "--n-angular", 32, "--center", 15.5, 15.5, "-q")
    assert status == 0, text
    with h5py.File(output) as file:
        assert file["/entry_1/maps/data"].shape == (60, 10, 10)


def test_train_resume_and_predict(shots: Path, tmp_path: Path) -> None:
    options = ("--epochs", 2, "--input-size", 32, "--width", 0.125, "--batch-size", 16, "-q")
    status, text = run("train", shots, "-o", tmp_path / "model", *options)
    assert status == 0, text
    assert "9 validation images after 2 epochs" in text
    status, text = run("train", shots, "-o", tmp_path / "model", *options)
    assert status == 1
    assert "holds a training run" in text
    assert "--resume" in text
    status, text = run("train", shots, "-o", tmp_path / "new", *options, "--resume")  # nothing there yet: begins
    assert status == 0, text
    status, text = run("train", shots, "-o", tmp_path / "model", *options, "--resume")
    assert status == 0, text
    table = ("--csv", tmp_path / "p.csv")
    status, text = run("predict", shots, "-w", tmp_path / "model", "-o", tmp_path / "p.h5", *table, "-q")
    assert status == 0, text
    assert "breaking a rule" in text
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 61
    status, text = run("predict", shots, "-w", tmp_path / "model", "-o", tmp_path / "q.h5", *table, "-q")
    assert status == 1
    assert "p.csv: exists already" in text
    assert not (tmp_path / "q.h5").exists()
    with h5py.File(tmp_path / "p.h5") as file:
        assert file["/entry_1/predictions/probability"].shape == (60, 11)


def test_a_network_trained_on_correlation_maps_predicts_from_them(shots: Path, tmp_path: Path) -> None:
    options = ("--recipe", "fast", "--epochs", 1, "--input", "maps", "--input-size", 32, "--width", 0.125, "-q")
    status, text = run("train", shots, "-o", tmp_path / "model", *options)
    assert status == 0, text
    status, text = run("predict", shots, "-w", tmp_path / "model", "-o", tmp_path / "p.h5", "-q")
    assert status == 0, text
    model, card = load_classifier(tmp_path / "model" / "weights.safetensors")
    with open_frames(str(shots)) as frames:
        maps = prepare_frames(frames, frames.mask, MapPreparation(32))
    assert card.input == MapPreparation(32).to_dict()
    assert card.training["config"]["augmentation"] == Augmentation().to_dict()  # images this recipe would turn
    with h5py.File(tmp_path / "p.h5") as file:
        found = file["/entry_1/predictions/probability"][:]
    np.testing.assert_allclose(found, predict_probabilities(model, maps).numpy(), atol=1e-5)


def test_train_on_a_table_of_a_few_labels_and_what_breaks_the_rules(shots: Path, tmp_path: Path) -> None:
    lines = ["frame,labels"]
    for frame in range(5, 29):
        names = "Spherical/Oblate;Round" if frame % 2 else "Prolate;Streak"
        lines.append(f"{frame},{names}")
    lines[3] = "7,Spherical/Oblate;Prolate"
    lines.append("40,")  # not labelled yet
    (tmp_path / "a.csv").write_text("\n".join(lines))
    options = (
        "--labels",
        tmp_path / "a.csv",
        "--epochs",
        1,
        "--input-size",
        32,
        "--width",
        0.05,
        "--batch-size",
        8,
        "-q",
    )
    vgg = ("--recipe", "fast", "--architecture", "vgg", "--first-activation", "log", "--mixed-precision", "none")
    status, text = run("train", shots, "-o", tmp_path / "model", *options, *vgg, "--bad-labels", "drop")
    assert status == 0, text
    assert "labels of 24 of 60 frames" in text
    assert re.search(r"warning: labels: 1 of 24 images break a rule; .*\(images 7\); dropped", text), text
    assert "threshold for predictions" in text
    status, text = run("predict", shots, "-w", tmp_path / "model", "-o", tmp_path / "p.h5", "-q")
    assert status == 0, text
    status, text = run("train", shots, "-o", tmp_path / "no", *options, "--bad-labels", "refuse")
    assert status == 1
    assert "(images 7); correct them" in text
    status, text = run("train", shots, "-o", tmp_path / "no", *options, "--recipe", "p3")
    assert status == 1
    assert "recipe: found 'p3'" in text
    status, text = run("train", shots, "-o", tmp_path / "no", *options, "--depth", 16)
    assert status == 1
    assert "depth: found 16" in text
    assert not list((tmp_path / "no").glob("*"))


def test_train_under_torchrun(shots: Path, tmp_path: Path) -> None:
    """Two processes, one table of results."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    command += ["-m", "cdifast.cli", "train", str(shots), "-o", str(tmp_path / "model"), "-q"]
    command += ["--epochs", "1", "--input-size", "32", "--width", "0.05", "--batch-size", "17"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("9 validation images after 1 epochs") == 1
    assert (tmp_path / "model" / "weights.safetensors").is_file()


def test_doctor_finds_right_results_and_says_why_there_is_no_cuda() -> None:
    status, output = run("doctor")
    assert status == 0
    for name in ("log_activation", "polar_resample", "correlation_map"):
        assert re.search(rf"{name}\s+\[ok\] relative error", output)
    assert re.search(r"CUDA\s+(yes: |no: \w+)", output)
    assert re.search(r"in use: (baseline|avx2|avx512)", output)


def spoil(path: Path) -> None:
    """Flip the compressed bytes of frame 2's chunk."""
    with h5py.File(path) as file:
        dataset = file["/data"]
        offset = dataset.id.get_chunk_info(2).byte_offset
    with open(path, "r+b") as raw:
        raw.seek(offset)
        raw.write(b"\xff" * 32)


def bad_inputs(folder: Path) -> dict[str, tuple[list[object], str]]:
    """Every kind of bad input of the issue: arguments, and what the message must say."""
    images = np.random.default_rng(0).poisson(4.0, (4, 20, 20)).astype(np.float32)
    good = write_cxi(folder / "good.cxi", images)
    nan = images.copy()
    nan[3, 5, 6] = np.inf
    write_cxi(folder / "nan.cxi", nan)
    np.save(folder / "vector.npy", np.ones(5))
    np.save(folder / "complex.npy", np.ones((2, 20, 20), np.complex64))
    np.save(folder / "mask.npy", np.ones((20, 21), bool))
    np.save(folder / "float-mask.npy", np.ones((20, 20)))
    np.save(folder / "labels.npy", np.zeros((3, 11), np.uint8))
    np.save(folder / "none.npy", np.ones((0, 20, 20)))
    (folder / "empty.cxi").touch()
    (folder / "text.h5").write_text("no HDF5")
    with h5py.File(folder / "chunks.h5", "w") as file:
        file.create_dataset("data", data=images, chunks=(1, 20, 20), compression="gzip")
    spoil(folder / "chunks.h5")
    out = ["-o", folder / "out.h5", "-q"]
    small = ["--n-radial", 8, "--n-angular", 24]
    return {
        "missing file": (["maps", folder / "no.cxi", *out], r"no\.cxi: no such file"),
        "empty pattern": (["maps", folder / "x*.cxi", *out], r"x\*\.cxi: the pattern matches no file"),
        "wrong data set": (["info", good, "--dataset", "/entry_1/dat"], r"good\.cxi.*'/entry_1/dat'"),
        "unreadable chunk": (["maps", folder / "chunks.h5", *small, *out], r"chunks\.h5, data set '/data', frame 2"),
        "wrong rank": (["info", folder / "vector.npy"], r"vector\.npy.*\(5,\) float64"),
        "complex": (["info", folder / "complex.npy"], r"complex\.npy.*complex64"),
        "infinite": (["maps", folder / "nan.cxi", *small, *out], r"nan\.cxi.*frame 3.*NaN or infinite"),
        "mask of another shape": (
            ["maps", good, "--mask", folder / "mask.npy", *out],
            r"mask\.npy.*\(20, 21\).*\(20, 20\)",
        ),
        "mask of another type": (
            ["maps", good, "--mask", folder / "float-mask.npy", *out],
            r"float64.*expected booleans",
        ),
        "labels of another length": (
            ["train", good, "--labels", folder / "labels.npy", "-o", folder / "model", "-q"],
            r"labels\.npy: found labels for 3 frames; there are 4",
        ),
        "no labels": (["train", good, "-o", folder / "model", "-q"], r"good\.cxi: has no labels.*--labels"),
        "empty file": (["info", folder / "empty.cxi"], r"empty\.cxi.*empty file"),
        "no frames": (["info", folder / "none.npy"], r"none\.npy.*\(0, 20, 20\)"),
        "not HDF5": (["info", folder / "text.h5"], r"text\.h5"),
        "device without CUDA": (
            ["train", good, "-o", folder / "model", "--device", "cuda:77", "-q"],
            r"--device cuda:77",
        ),
        "unknown device": (["predict", good, "-w", good, *out, "--device", "gpu"], r"--device: found 'gpu'"),
        "both flags": (["train", good, "-o", folder / "model", "--resume", "--overwrite"], "one of them, not both"),
        "figure over frames": (["info", good, "--figure", good], r"good\.cxi"),
        "figure over another file": (
            ["info", good, "--figure", folder / "text.h5"],
            r"text\.h5: exists already and is no",
        ),
        "maps over frames": (["maps", good, "-o", good, "--overwrite", *small, "-q"], r"good\.cxi"),
        "order too high": (["maps", good, "--n-angular", 10, *out], r"order must be at most n_angular // 2 = 5, got 8"),
        "labels of nothing": (
            ["label-next", good, "-o", folder / "sheet"],
            "--predictions and --weights: expected one",
        ),
        "frames as predictions": (["label-next", good, "-p", good, "-o", folder / "sheet"], "holds no predictions"),
        "table over frames": (["predict", good, "-w", good, *out, "--csv", good, "--overwrite"], "destroy the input"),
        "no weights": (["predict", good, "-w", folder / "w.safetensors", *out], r"w\.safetensors"),
        "weights of another format": (["predict", good, "-w", folder / "text.h5", *out], r"text\.h5"),
        "folder missing": (["maps", good, *small, "-o", folder / "no" / "out.h5", "-q"], r"directory does not exist"),
    }


def test_bad_input_is_one_clear_line_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    for name, (arguments, message) in bad_inputs(tmp_path).items():
        status, output = run(*arguments)
        text = " ".join(output.split())
        assert status == 1, (name, text)
        assert "error: " in text, (name, text)
        assert re.search(message, text), (name, text)
        assert "Traceback" not in text
        assert not (tmp_path / "out.h5").exists(), name
        assert not list(tmp_path.glob("**/weights*")), name
        (tmp_path / "out.h5.partial").unlink(missing_ok=True)


def test_interrupting_says_how_to_go_on_and_the_same_command_does(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cdifast.cli", "simulate", "a.cxi", "--count", "100", "--size", "64", "-q"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    partial = tmp_path / "a.cxi.partial"
    deadline = time.monotonic() + 60
    while not partial.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, text = process.communicate(timeout=60)
    assert process.returncode == 130, text
    assert "same command again" in text
    assert not (tmp_path / "a.cxi").exists()
    assert partial.exists()
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=300)
    with open_frames(tmp_path / "a.cxi") as frames:
        assert len(frames) == 100
    assert not partial.exists()


def test_a_mask_that_may_be_inverted_is_warned_of_and_figures_are_pngs(tmp_path: Path) -> None:
    frames = write_cxi(tmp_path / "a.cxi", np.ones((3, 20, 20), np.uint16))
    mask = np.zeros((20, 20), np.uint8)
    mask[:15] = 1  # meant as good, but CXI bits count 0 as good
    np.save(tmp_path / "mask.npy", mask)
    status, text = run("info", frames, "--mask", tmp_path / "mask.npy", "--figure", tmp_path / "a.png")
    assert status == 0, text
    assert "warning: " in text
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    status, text = run("info", frames)
    assert "warning" not in text


def test_info_and_maps_of_three_real_lcls_frames_with_figures(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "lcls_frames.npz"
    status, text = run("info", source, "--figure", tmp_path / "frames.png")
    assert status == 0, text
    assert "3 of 260 x 257 pixels, float32" in text
    assert "1455 of 66820 pixels bad" in text
    assert "% negative" in text
    options = ("--normalize", "pearson", "--r-max", 70, "--figure", tmp_path / "maps.png", "-q")
    status, text = run("maps", source, "-o", tmp_path / "maps.h5", *options)
    assert status == 0, text
    with h5py.File(tmp_path / "maps.h5") as file:
        maps = file["/entry_1/maps/data"][:]
        weight = file["/entry_1/maps/weight"][:]
    assert maps.shape == (3, 112, 112)
    assert np.isfinite(maps).all()
    # A ring correlates fully with itself, where the mask leaves most of it (a sample beside the gap counts in
    # part, and once in the deviation but squared in the correlation).
    assert (np.diagonal(weight) > 0).mean() > 0.8
    measured = np.diagonal(weight) > 0.9
    assert measured.mean() > 0.5
    np.testing.assert_allclose(np.diagonal(maps, axis1=1, axis2=2)[:, measured], 1.0, atol=0.02)
    for figure in ("frames.png", "maps.png"):
        assert (tmp_path / figure).read_bytes().startswith(b"\x89PNG")
