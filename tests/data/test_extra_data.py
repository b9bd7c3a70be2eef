"""European XFEL's layout as EXtra-data itself writes it: its example run, its virtual CXI, its own reading."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from cdifast.data import Frames, open_frames

pytest.importorskip("extra_data", reason="EXtra-data writes the example files")

SOURCE = "SPB_DET_AGIPD1M-1/DET/{}CH0"
MISSING = 9  # a module without file; module 3 has no file for the last train


def example_run(folder: Path, *, raw: bool) -> Path:
    """A run of AGIPD files as EXtra-data makes examples, three trains of two pulses, filled with numbers."""
    from extra_data.tests.mockdata import write_file
    from extra_data.tests.mockdata.detectors import AGIPDModule

    folder.mkdir()
    for module in range(16):
        if module == MISSING:
            continue
        path = folder / f"{'RAW' if raw else 'CORR'}-R0238-AGIPD{module:02}-S00000.h5"
        source = AGIPDModule(SOURCE.format(module), raw=raw, frames_per_train=2)
        write_file(str(path), [source], ntrains=2 if module == 3 else 3, chunksize=4)
        generator = np.random.default_rng(module)
        with h5py.File(path, "r+") as file:
            image = file[f"INSTRUMENT/{SOURCE.format(module)}:xtdf/image"]
            image["data"][:] = generator.integers(0, 9999, image["data"].shape)
            if not raw:
                drawn = generator.random(image["mask"].shape)
                image["mask"][:] = np.where(drawn < 0.1, 1 << generator.integers(0, 20, drawn.shape), 0)
    return folder


@pytest.fixture(params=["calibrated", "raw"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Frames, Any, bool]:
    """Frames of the virtual CXI, EXtra-data's view of the same run, and whether it is raw."""
    import extra_data
    from extra_data.components import AGIPD1M

    raw = request.param == "raw"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = extra_data.RunDirectory(str(example_run(tmp_path / "run", raw=raw)))
        detector = AGIPD1M(data, raw=raw, min_modules=14)
        detector.write_virtual_cxi(str(tmp_path / "run.cxi"))
    return open_frames(tmp_path / "run.cxi"), detector, raw


def test_frames_masks_and_keys_are_those_of_extra_data(run: tuple[Frames, Any, bool]) -> None:
    frames, detector, raw = run
    assert (frames.layout, frames.shape) == ("extra-data", (6, 8192, 128))
    assert frames.dtype == (np.uint16 if raw else np.float32)
    assert ("without the gain axis" in frames.why) == raw

    def theirs(key: str, fill: float) -> np.ndarray:
        array = detector.get_array(key, fill_value=fill)  # module, train, pulse, [gain,] y, x
        array = array.stack(frame=("train", "pulse")).transpose("frame", "module", ...)
        full = np.full((6, 16, *array.shape[2:]), fill, dtype=array.dtype)
        full[:, array.coords["module"].values] = array.values
        return full

    expected = theirs("image.data", 0 if raw else np.nan)
    if raw:
        expected = expected[:, :, 0]
    images = frames[:]
    np.testing.assert_array_equal(images, expected.reshape(images.shape))
    np.testing.assert_array_equal(frames[[5, 0, 5]], expected.reshape(images.shape)[[5, 0, 5]])
    good = np.ones((6, 16, 512, 128), bool) if raw else theirs("image.mask", 0xFFFFFFFF) == 0
    good[:, MISSING] = False
    good[4:, 3] = False
    np.testing.assert_array_equal(frames.read_mask(slice(None), images=images), good.reshape(images.shape))
    np.testing.assert_array_equal(frames.read_mask([5]), good.reshape(images.shape)[[5]])
    np.testing.assert_array_equal(frames.mask, (2 * good.sum(axis=0) >= 6).reshape(8192, 128))
    if not raw:
        assert np.isfinite(images[good.reshape(images.shape)]).all()
    assert frames.events["trainId"].tolist() == np.repeat(np.arange(10000, 10003), 2).tolist()
    assert frames.events["pulseId"].tolist() == [0, 1] * 3
    assert frames.events["cellId"].tolist() == [0, 1] * 3
    assert len(frames.input_paths) == 16


def test_gain_of_calibrated_data_by_name(run: tuple[Frames, Any, bool]) -> None:
    frames, _, raw = run
    if raw:
        return
    gain = open_frames(frames.paths[0], dataset="/entry_1/instrument_1/detector_1/gain")
    assert (gain.layout, gain.shape, gain.dtype) == ("extra-data", (6, 8192, 128), np.uint8)
