"""A calibration on disk: what comes back, what is refused, and that nothing half-written is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from cdifast.calibrate import (
    Background,
    Calibration,
    CommonMode,
    calibrate,
    load_calibration,
    pixel_groups,
    save_calibration,
)
from cdifast.data import FrameError
from cdifast.data.masks import CXI_BITS

SHAPE = (12, 17)


def whole() -> Calibration:
    generator = np.random.default_rng(0)
    bits = np.zeros(SHAPE, np.uint32)
    bits[1, 2], bits[3, 4] = CXI_BITS["hot"], CXI_BITS["noisy"] | CXI_BITS["dead"]
    return Calibration(
        dark=generator.normal(100, 3, SHAPE),
        gain=generator.uniform(2, 3, SHAPE),
        noise=generator.uniform(1, 2, SHAPE),
        mask=bits,
        saturation=4000.5,
        common_mode=CommonMode(pixel_groups(SHAPE, "row"), "median", torch.rand(SHAPE) > 0.3, 3),
        background=Background(torch.rand(SHAPE), "robust", torch.rand(SHAPE) > 0.5),
    )


PARTS: tuple[dict[str, Any], ...] = (
    {"shape": SHAPE},
    {"dark": np.ones(SHAPE)},
    {"gain": 2.5, "shape": SHAPE},
    {"mask": np.arange(204).reshape(SHAPE) % 3 == 0, "saturation": 9.0},
    {"common_mode": CommonMode(pixel_groups(SHAPE))},
    {"background": Background(torch.ones(SHAPE))},
)


@pytest.mark.parametrize("number", range(len(PARTS) + 1))
def test_what_is_saved_is_what_is_loaded(number: int, tmp_path: Path) -> None:
    calibration = Calibration(**PARTS[number]) if number < len(PARTS) else whole()
    path = save_calibration(tmp_path / "c.h5", calibration)
    again = load_calibration(path)
    assert again.fingerprint() == calibration.fingerprint()
    assert again.shape == SHAPE
    raw = np.random.default_rng(1).integers(0, 5000, (3, *SHAPE)).astype(np.uint16)
    for a, b in zip(calibrate(raw, calibration), calibrate(raw, again), strict=True):
        assert torch.equal(a, b)
    assert [p.name for p in tmp_path.iterdir()] == ["c.h5"]


def test_fingerprints_name_the_part_that_differs() -> None:
    one, other = whole().fingerprint(), Calibration(dark=whole().dark, shape=SHAPE).fingerprint()
    assert one["calibration dark"] == other["calibration dark"]
    assert other["calibration gain"] == "none" != one["calibration gain"]


def test_an_existing_file_is_kept_unless_told_and_on_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.h5"
    path.write_text("precious")
    with pytest.raises(FileExistsError, match=r"c\.h5"):
        save_calibration(path, whole())

    def full(*arguments: Any, **options: Any) -> Any:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(h5py.Group, "create_dataset", full)
        with pytest.raises(OSError, match="No space left"):
            save_calibration(path, whole(), overwrite=True)
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]
    save_calibration(path, whole(), overwrite=True)
    assert h5py.is_hdf5(path)


def spoil(path: Path, how: str) -> None:
    with h5py.File(path, "r+") as file:
        group = file["calibration"]
        match how:
            case "no group":
                del file["calibration"]
            case "later version":
                group.attrs["version"] = 99
            case "another shape":
                del group["dark"]
                group["dark"] = np.ones((3, 4), np.float32)
            case "another type":
                del group["mask"]
                group["mask"] = np.ones(SHAPE, np.float32)
            case "unknown method":
                group["common_mode"].attrs["method"] = "magic"
            case "no groups":
                del group["common_mode/groups"]
            case "no image":
                del group["background/image"]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no group", "has no group '/calibration'"),
        ("later version", "version 99"),
        ("another shape", r"/calibration/dark.*found \(3, 4\) float32; expected .*\(12, 17\)"),
        ("another type", r"/calibration/mask.*float32; expected unsigned integers"),
        ("unknown method", "attribute 'method' is 'magic'; expected one of median, mode"),
        ("no groups", "/calibration/common_mode/groups.*is missing"),
        ("no image", "/calibration/background/image.*is missing"),
    ],
)
def test_a_file_that_is_no_calibration_is_named(how: str, message: str, tmp_path: Path) -> None:
    path = save_calibration(tmp_path / "c.h5", whole())
    spoil(path, how)
    with pytest.raises(FrameError, match=rf"c\.h5.*{message}"):
        load_calibration(path)


def test_missing_truncated_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no\.h5"):
        load_calibration(tmp_path / "no.h5")
    (tmp_path / "text.h5").write_text("text")
    for path in (tmp_path / "text.h5", tmp_path):
        with pytest.raises(FrameError, match="is no HDF5 file"):
            load_calibration(path)
    path = save_calibration(tmp_path / "c.h5", whole())
    content = path.read_bytes()
    for length in range(16, len(content), len(content) // 40):
        path.write_bytes(content[:length])
        with pytest.raises(FrameError, match=r"c\.h5"):
            load_calibration(path)
