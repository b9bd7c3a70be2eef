"""Dark runs, calibrated runs and hits as a user gets them: files, resuming, commands, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from cdifast.calibrate import Calibration, calibrate, load_calibration, save_calibration
from cdifast.cli import app
from cdifast.data import FrameError, check_finite, open_frames, write_cxi
from cdifast.data.cxi import MASK
from cdifast.data.masks import CXI_BITS
from cdifast.jobs import HitFinder, HitSettings, read_misses, write_calibrated, write_hits
from cdifast.jobs import rows as rows_module

SHAPE = (40, 48)
GAIN, NOISE = 20.0, 3.0


def command(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200", "TERM": "dumb"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join(result.output.split())


def light() -> Any:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return 0.4 * np.exp(-((y - 8) ** 2 + (x - 30) ** 2) / 200)


@pytest.fixture(scope="module")
def beamtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dark frames and a run of 240 with 24 hits: pedestals, tile offsets, stray light, a hot pixel, ring patterns."""
    folder = tmp_path_factory.mktemp("a beamtime")
    generator = np.random.default_rng(0)
    level = generator.uniform(90, 110, SHAPE)
    level[5, 6] += 900
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    u = np.maximum(np.hypot(y - 20.3, x - 22.8) * 0.55, 1e-6)
    rings = (3 * (np.sin(u) - u * np.cos(u)) / u**3) ** 2
    photons = generator.poisson(light() * generator.uniform(0.5, 1.5, (240, 1, 1)), (240, *SHAPE)).astype(float)
    hit = np.zeros(240, bool)
    hit[::10] = True
    photons[hit] += generator.poisson(rings / rings.sum() * 2e4, (24, *SHAPE))
    offset = np.kron(generator.normal(0, 8, (240, 2, 2)), np.ones((20, 24)))
    raw = level + offset + generator.normal(0, NOISE, photons.shape) + GAIN * photons
    darks = generator.normal(level, NOISE, (100, *SHAPE))
    darks[17, 20, 20] += 3000
    for name, frames in (("run", raw), ("dark", darks)):
        options = {"energy": 4e-18, "labels": np.eye(11, dtype=np.uint8)[hit * 10]} if name == "run" else {}
        write_cxi(folder / f"{name}.cxi", np.clip(np.rint(frames), 0, 9000).astype(np.uint16), **options)  # type: ignore[arg-type]
    np.savez(folder / "truth.npz", photons=photons, hit=hit, level=level, offset=offset)
    status, text = command(
        *("darks", folder / "dark.cxi", "-o", folder / "cal.h5", "--gain", GAIN, "--saturation", 9000),
        *("--common-mode", "tile", "--tile", 20, 24, "-q"),
    )
    assert status == 0, text
    assert "hot 1 pixels" in text
    assert "good 1919 of 1920 pixels" in text
    return folder


def test_darks_command_measures_the_detector(beamtime: Path) -> None:
    calibration = load_calibration(beamtime / "cal.h5")
    truth = np.load(beamtime / "truth.npz")
    assert calibration.dark is not None
    assert calibration.noise is not None
    assert calibration.mask is not None
    np.testing.assert_allclose(calibration.dark, truth["level"], atol=5 * NOISE / 10)
    np.testing.assert_allclose(float(calibration.noise.median()), NOISE, rtol=0.02)
    assert torch.nonzero(calibration.mask).tolist() == [[5, 6]]
    assert int(calibration.mask[5, 6]) == CXI_BITS["hot"]
    assert float(calibration.noise[20, 20]) < 5  # the cosmic ray does not count


@pytest.mark.parametrize("centers", ["none", "friedel", "rings"])
def test_hits_command_finds_the_hits_and_their_centres(beamtime: Path, tmp_path: Path, centers: str) -> None:
    output = tmp_path / "hits.h5"
    status, text = command(
        "hits", beamtime / "run.cxi", "-c", beamtime / "cal.h5", "-o", output, "--centers", centers, "-q"
    )
    assert status == 0, text
    assert "24 of 240 frames (10.00 %)" in text
    assert "expected by chance 0.24 frames" in text
    hit = np.load(beamtime / "truth.npz")["hit"]
    with h5py.File(output) as file:
        group = file["/entry_1/hits"]
        assert np.array_equal(group["hit"][:] == 1, hit)
        assert group["significance"][:][hit].min() > 5
        assert np.array_equal(group["lit_pixels"][:] > group.attrs["threshold"], hit)
        assert group["lit_level"].shape == SHAPE
        assert file["/entry_1/events/index"][:].tolist() == list(range(240))
        if centers == "none":
            assert "center" not in group
        else:
            center = group["center"][:]
            assert np.isnan(center[~hit]).all()
            assert np.median(np.abs(center[hit] - [20.3, 22.8])) < 0.1
            assert (group["center_score"][:][~hit] == 0).all()
            assert re.search(
                r"centre \(y, x\) 20\.[23]\d ± 0\.0\d, 22\.[78]\d ± 0\.0\d pixels \(median of 24 hits\)", text
            )


def test_calibrate_command_gives_photons_that_every_other_command_reads(beamtime: Path, tmp_path: Path) -> None:
    run, truth = beamtime / "run.cxi", np.load(beamtime / "truth.npz")
    status, text = command("hits", run, "-c", beamtime / "cal.h5", "-o", tmp_path / "hits.h5", "-q")
    assert status == 0, text
    status, text = command(
        *("calibrate", run, "-c", beamtime / "cal.h5", "-o", tmp_path / "cal.cxi"),
        *("--background", tmp_path / "hits.h5"),
        *("--save-calibration", tmp_path / "all.h5", "--compression", "gzip", "--frame-masks", "-q"),
    )
    assert status == 0, text
    calibration = load_calibration(tmp_path / "all.h5")
    assert calibration.background is not None
    assert torch.nonzero(calibration.background.image.isnan()).tolist() == [[5, 6]]
    np.testing.assert_allclose(calibration.background.image[calibration.good], light()[calibration.good], atol=0.25)
    with open_frames(run) as frames, open_frames(tmp_path / "cal.cxi") as calibrated:
        assert calibrated.dtype == np.float32
        assert calibrated.mask is not None
        assert np.argwhere(~calibrated.mask).tolist() == [[5, 6]]
        assert np.array_equal(calibrated.labels, frames.labels)  # type: ignore[arg-type]
        np.testing.assert_allclose(calibrated.energy, 4e-18)  # type: ignore[arg-type]
        expected, good = calibrate(frames[:], calibration, fill=None)
        images = calibrated[:]
    assert np.array_equal(images, expected.numpy())
    residual = (images - (truth["photons"] - light()))[good.numpy()]
    assert abs(np.median(residual)) < 0.02
    assert np.abs(residual).mean() < 0.2
    with h5py.File(tmp_path / "cal.cxi") as file:
        result = file["/entry_1/result_1"]
        saturated = result["saturated"][:]
        masks = file[MASK][:]
        assert saturated.sum() > 0  # the brightest hits
        assert np.array_equal(saturated, (masks == CXI_BITS["saturated"]).sum(axis=(1, 2)))
        assert np.array_equal(result["bad"][:], (masks != 0).sum(axis=(1, 2)) - 1)
        assert np.array_equal(masks == 0, good.numpy())
        assert (result["background_scale"][:] == 1).all()
    with open_frames(tmp_path / "cal.cxi") as calibrated:
        assert calibrated.masks_differ
        assert np.array_equal(calibrated.read_mask(slice(None)), good.numpy())
    status, text = command("hits", run, "-c", tmp_path / "all.h5", "-o", tmp_path / "p.h5", "--score", "poisson", "-q")
    assert status == 0, text
    with h5py.File(tmp_path / "p.h5") as file:
        assert np.array_equal(file["/entry_1/hits/hit"][:] == 1, truth["hit"])
    status, text = command("maps", tmp_path / "cal.cxi", "-o", tmp_path / "maps.h5", "--n-radial", 8, "-q")
    assert status == 0, text


def test_dark_option_is_the_same_as_two_commands(beamtime: Path, tmp_path: Path) -> None:
    options = ("--gain", GAIN, "--saturation", 9000, "--common-mode", "tile", "--tile", 20, 24)
    run = beamtime / "run.cxi"
    status, text = command("calibrate", run, "--dark", beamtime / "dark.cxi", *options, "-o", tmp_path / "a.cxi", "-q")
    assert status == 0, text
    status, text = command("calibrate", run, "-c", beamtime / "cal.h5", "-o", tmp_path / "b.cxi", "-q")
    assert status == 0, text
    with open_frames(tmp_path / "a.cxi") as a, open_frames(tmp_path / "b.cxi") as b:
        assert np.array_equal(a[:], b[:])


def test_gain_comes_from_a_file_and_its_mask_from_the_frames(beamtime: Path, tmp_path: Path) -> None:
    gain = np.full(SHAPE, 20.0)
    gain[3, 3] = 0
    np.save(tmp_path / "gain.npy", gain)
    mask = np.ones(SHAPE, bool)
    mask[9, 9] = False
    np.save(tmp_path / "mask.npy", mask)
    status, text = command(
        *("darks", beamtime / "dark.cxi", "-o", tmp_path / "c.h5", "--gain", tmp_path / "gain.npy"),
        *("--mask", tmp_path / "mask.npy", "-q"),
    )
    assert status == 0, text
    good = load_calibration(tmp_path / "c.h5").good
    assert torch.nonzero(~good).tolist() == [[3, 3], [5, 6], [9, 9]]


@pytest.mark.parametrize("job", ["hits", "calibrated"])
def test_interrupted_jobs_go_on_and_another_calibration_is_another_job(
    beamtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: str
) -> None:
    calibration = load_calibration(beamtime / "cal.h5")

    def work(frames: Any, output: Path, with_calibration: Calibration = calibration) -> Path:
        if job == "hits":
            settings = HitSettings(centers="friedel")
            return write_hits(frames, output, settings, calibration=with_calibration, batch=50)
        return write_calibrated(frames, with_calibration, output, batch=50)

    def interrupted(images: Any, mask: Any, first_index: int, source: Any) -> None:
        if first_index == 100:
            raise KeyboardInterrupt
        check_finite(images, mask, first_index, source)

    with open_frames(beamtime / "run.cxi") as frames:
        whole = work(frames, tmp_path / "whole.h5")
        monkeypatch.setattr(rows_module, "check_finite", interrupted)
        with pytest.raises(KeyboardInterrupt):
            work(frames, tmp_path / "part.h5")
        monkeypatch.undo()
        other = Calibration(dark=calibration.dark, noise=calibration.noise, mask=calibration.mask, gain=19.0)
        with pytest.raises(FrameError, match="calibration gain"):
            work(frames, tmp_path / "part.h5", other)
        part = work(frames, tmp_path / "part.h5")
    with h5py.File(whole) as a, h5py.File(part) as b:
        names: list[str] = []
        a["entry_1"].visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        assert len(names) > 5
        for name in names:
            one, other = a["entry_1"][name][()], b["entry_1"][name][()]
            assert np.array_equal(one, other, equal_nan=one.dtype.kind == "f"), name


def test_hits_without_any_calibration(tmp_path: Path) -> None:
    """Photon counts as they are: the level comes from the frames, the mask is used, NaN under it does no harm."""
    generator = np.random.default_rng(1)
    images = generator.poisson(0.05, (200, *SHAPE)).astype(np.float32)
    images[50:60, 10:20, 10:20] += 1
    mask = np.ones(SHAPE, bool)
    mask[:, 40:] = False
    images[:, :, 40:] = np.nan
    with open_frames(write_cxi(tmp_path / "run.cxi", images, mask=mask)) as frames:
        finder = HitFinder(frames, HitSettings(level=0.5))
        path = write_hits(frames, tmp_path / "hits.h5", HitSettings(level=0.5))
        misses = read_misses(path, frames)
        annulus = HitFinder(frames, HitSettings(level=0.5, center=(2.0, 3.0), r_min=2, r_max=5))
    assert sorted(set(range(200)) - set(misses.tolist())) == list(range(50, 60))
    rows = finder(images)
    assert np.array_equal(rows["lit_pixels"], (np.nan_to_num(images[:, :, :40]) > 0.5).sum(axis=(1, 2)))
    np.testing.assert_allclose(rows["total"], np.nan_to_num(images[:, :, :40]).sum(axis=(1, 2)), rtol=1e-6)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    assert np.array_equal(annulus.region.numpy(), (np.hypot(y - 2, x - 3) >= 2) & (np.hypot(y - 2, x - 3) <= 5))


def test_a_run_of_integers_needs_no_level(tmp_path: Path) -> None:
    images = np.random.default_rng(2).poisson(0.05, (100, *SHAPE)).astype(np.uint16)
    images[7, :20] += 2
    with open_frames(write_cxi(tmp_path / "run.cxi", images)) as frames:
        finder = HitFinder(frames)
        assert finder.level == 0.5
        assert np.flatnonzero(finder(images)["hit"]).tolist() == [7]


def wrong(beamtime: Path, folder: Path) -> dict[str, tuple[list[object], str]]:
    run, dark, cal = beamtime / "run.cxi", beamtime / "dark.cxi", beamtime / "cal.h5"
    write_cxi(folder / "few.cxi", np.ones((3, *SHAPE), np.uint16))
    write_cxi(folder / "one.cxi", np.ones((1, *SHAPE), np.uint16))
    write_cxi(folder / "small.cxi", np.ones((20, 8, 9), np.uint16))
    save_calibration(folder / "plain.h5", Calibration(shape=SHAPE))
    np.save(folder / "gain.npy", np.ones((4, 5)))
    (folder / "precious.h5").write_text("precious")
    precious = folder / "precious.h5"
    out = ["-o", folder / "out.h5", "-q"]
    return {
        "neither": (["calibrate", run, *out], "--calibration and --dark: expected one of them"),
        "both": (["calibrate", run, "-c", cal, "--dark", dark, *out], "expected one of them"),
        "gain twice": (["calibrate", run, "-c", cal, "--gain", 3, *out], "--gain: the calibration file has these"),
        "fit without": (
            ["calibrate", run, "-c", cal, "--background-scaling", "robust", *out],
            "only with --background",
        ),
        "no calibration": (["calibrate", run, "-c", run, *out], "has no group '/calibration'"),
        "another shape": (
            ["calibrate", folder / "small.cxi", "-c", cal, *out],
            "8 x 9 pixels; the calibration is for 40 x 48",
        ),
        "hits of another shape": (["hits", folder / "small.cxi", "-c", cal, *out], "8 x 9 pixels"),
        "not hits": (["calibrate", run, "-c", cal, "--background", cal, *out], "'/entry_1/hits/hit'"),
        "one dark": (["darks", folder / "one.cxi", *out], "found 1 frame; noise needs at least 2"),
        "gain of another shape": (["darks", dark, "--gain", folder / "gain.npy", *out], r"gain is \(4, 5\), but dark"),
        "gain missing": (["darks", dark, "--gain", folder / "no.npy", *out], r"no\.npy: no such file"),
        "tile": (["darks", dark, "--tile", 0, 4, *out], "sizes of at least 1"),
        "few frames": (["hits", folder / "few.cxi", *out], "found 3 scores; expected at least 16"),
        "no background": (
            ["hits", run, "-c", cal, "--score", "poisson", *out],
            "needs a calibration with gain and back",
        ),
        "no pixel": (["hits", run, "--r-min", 500, *out], r"no pixel of 40 x 48 is good and 500\.0 \(r_min\)"),
        "rate": (["hits", run, "--false-positive-rate", 0.7, *out], "between 0 and 0.5"),
        "existing": (["hits", run, "-o", folder / "precious.h5", "-q"], "exists already; .*--overwrite"),
        "existing darks": (["darks", dark, "-o", folder / "precious.h5", "-q"], "exists already; .*--overwrite"),
        "over the darks": (["darks", dark, "-o", dark, "--overwrite", "-q"], "would destroy the input"),
        "over the run": (["calibrate", run, "-c", cal, "-o", run, "--overwrite", "-q"], "would destroy the input"),
        "over the calibration": (["hits", run, "-c", cal, "-o", cal, "--overwrite", "-q"], "would destroy the input"),
        "over the hits": (
            ["calibrate", run, "-c", cal, "--background", precious, "-o", precious, "--overwrite"],
            "would destroy the input",
        ),
    }


def test_bad_input_is_one_clear_line_and_leaves_nothing(beamtime: Path, tmp_path: Path) -> None:
    content = {path: path.read_bytes() for path in beamtime.iterdir()}
    for name, (arguments, message) in wrong(beamtime, tmp_path).items():
        status, text = command(*arguments)
        assert status == 1, (name, text)
        assert "error: " in text, (name, text)
        assert re.search(message, text), (name, text)
        assert not (tmp_path / "out.h5").exists(), name
        assert not list(tmp_path.glob("*.partial*")), name
    assert (tmp_path / "precious.h5").read_text() == "precious"
    assert {path: path.read_bytes() for path in beamtime.iterdir()} == content


def test_background_of_other_frames_is_refused(beamtime: Path, tmp_path: Path) -> None:
    with open_frames(beamtime / "run.cxi") as frames:
        hits = write_hits(frames, tmp_path / "hits.h5", calibration=load_calibration(beamtime / "cal.h5"))
    with open_frames(beamtime / "dark.cxi") as frames, pytest.raises(FrameError, match="240 rows of other frames"):
        read_misses(hits, frames)


def test_every_command_has_help_with_an_example() -> None:
    for name in ("darks", "calibrate", "hits"):
        status, text = command(name, "--help")
        assert status == 0
        assert re.search(rf"Example: cdifast {name} ", text), text
