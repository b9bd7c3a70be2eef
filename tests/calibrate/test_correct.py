"""Correction of raw frames against float64 NumPy, and what it does with values that are no measurement."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cdifast.calibrate import Background, Calibration, CommonMode, calibrate, pixel_groups
from cdifast.calibrate import correct as correct_module
from cdifast.data.masks import CXI_BITS

SHAPE = (37, 46)


def detector(seed: int = 0) -> dict[str, NDArray[Any]]:
    generator = np.random.default_rng(seed)
    return {
        "dark": generator.uniform(90, 130, SHAPE),
        "gain": generator.uniform(5, 9, SHAPE),
        "mask": generator.random(SHAPE) > 0.05,
    }


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", ">u2", ">f4", "float16", "float64"]
)
def test_every_dtype_is_corrected_as_float64_would_without_wrapping_round(dtype: str) -> None:
    parts = detector()
    limit = 127 if dtype == "int8" else 250  # below many dark levels: unsigned arithmetic would wrap
    raw = np.random.default_rng(1).integers(0, limit, (5, *SHAPE)).astype(dtype)
    corrected, good = calibrate(raw, Calibration(**parts, saturation=200.0))
    dark, gain = parts["dark"].astype(np.float32), parts["gain"].astype(np.float32)
    expected_good = parts["mask"] & (raw.astype(np.float64) < 200)
    expected = np.where(expected_good, (raw.astype(np.float64) - dark) / gain, 0)
    assert corrected.dtype == torch.float32
    assert np.array_equal(good.numpy(), expected_good)
    assert (expected < 0).any()
    np.testing.assert_allclose(corrected.numpy(), expected, rtol=1e-6, atol=1e-5)


def test_all_parts_together_against_float64() -> None:
    """Dark, common mode by row of a tile, gain, background by least squares, saturation: one shot after another."""
    generator = np.random.default_rng(2)
    parts = detector()
    tile = (19, 23)
    light, fit = generator.uniform(0, 3, SHAPE), generator.random(SHAPE) > 0.5
    truth = generator.poisson(0.1 + light * generator.uniform(0.5, 2, (6, 1, 1)), (6, *SHAPE))
    raw = parts["dark"] + parts["gain"] * truth + generator.normal(0, 0.5, truth.shape) + 3.0
    raw[:, 3, 4] = 500.0
    calibration = Calibration(
        **parts,
        saturation=400.0,
        common_mode=CommonMode(pixel_groups(SHAPE, "row", tile), "median"),
        background=Background(torch.tensor(light, dtype=torch.float32), fit=torch.from_numpy(fit)),
    )
    corrected, good, terms = calibrate(raw, calibration, return_terms=True)

    dark, gain, light = (x.astype(np.float32).astype(np.float64) for x in (parts["dark"], parts["gain"], light))
    for k, frame in enumerate(raw.astype(np.float32).astype(np.float64)):
        usable = parts["mask"] & (frame < 400)
        values = frame - dark
        for y in range(SHAPE[0]):
            for x in (0, 23):
                row = np.s_[y, x : x + 23]
                values[row] -= np.median(values[row][usable[row]])
        values /= gain
        chosen = usable & fit
        scale = np.sum((values * light)[chosen]) / np.sum(light[chosen] ** 2)
        expected = np.where(usable, values - scale * light, 0)
        assert np.array_equal(good[k].numpy(), usable)
        np.testing.assert_allclose(float(terms.background_scale[k]), scale, rtol=2e-5)
        np.testing.assert_allclose(corrected[k].numpy(), expected, atol=1e-4)
    assert terms.saturated.tolist() == [int(parts["mask"][3, 4])] * 6


def test_values_that_are_no_measurement_are_bad_in_their_frame_only_and_spread_nowhere() -> None:
    raw = np.full((3, *SHAPE), 10.0, np.float32)
    raw[0, 1, 2], raw[1, 3, 4], raw[1, 5, 6] = np.nan, np.inf, -np.inf
    common = CommonMode(pixel_groups(SHAPE, "tile", (20, 20)))
    background = Background(torch.ones(SHAPE), "robust")
    calibration = Calibration(dark=np.full(SHAPE, 4.0), common_mode=common, background=background)
    for fill in (0.0, None):
        corrected, good = calibrate(raw, calibration, fill=fill)
        assert corrected.isfinite().all()
        assert torch.nonzero(~good).tolist() == [[0, 1, 2], [1, 3, 4], [1, 5, 6]]
        assert (corrected[good] == 0).all()
        assert (corrected[~good] == 0).all()
    corrected, _ = calibrate(raw, calibration, fill=-1.0)
    assert (corrected[~good] == -1).all()


@pytest.mark.parametrize("part", ["dark", "gain", "background"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_pixel_without_a_calibration_is_bad(part: str, value: float) -> None:
    image = np.ones(SHAPE, np.float32)
    image[7, 8] = value
    given: Any = Background(torch.from_numpy(image)) if part == "background" else image
    corrected, good = calibrate(np.ones((2, *SHAPE), np.uint16), Calibration(**{part: given}))
    assert torch.nonzero(~good).tolist() == [[0, 7, 8], [1, 7, 8]]
    assert corrected.isfinite().all()


@pytest.mark.parametrize("gain", [0.0, -2.0])
def test_a_gain_that_is_not_positive_makes_no_photons(gain: float) -> None:
    _, good = calibrate(np.ones((1, *SHAPE)), Calibration(gain=gain, shape=SHAPE))
    assert not good.any()


def test_saturated_pixels_keep_a_lower_bound_when_asked_to() -> None:
    raw = torch.tensor([[[5, 100], [99, 7]]], dtype=torch.uint16)
    calibration = Calibration(
        dark=np.full((2, 2), 5), gain=2.0, saturation=99, mask=np.array([[True, True], [True, False]])
    )
    corrected, good, terms = calibrate(raw, calibration, fill=None, return_terms=True)
    assert corrected.tolist() == [[[0.0, 47.5], [47.0, 0.0]]]  # what the mask leaves out is 0 still
    assert good.tolist() == [[[True, False], [False, False]]]
    assert terms.saturated.tolist() == [2]


def test_buffers_are_used_and_a_frame_does_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = np.random.default_rng(3).integers(0, 4000, (9, *SHAPE)).astype(np.uint16)
    calibration = Calibration(
        **detector(),
        common_mode=CommonMode(pixel_groups(SHAPE, "column")),
        background=Background(torch.rand(SHAPE), "robust"),
    )
    out, good_out = torch.full((9, *SHAPE), torch.nan), torch.zeros((9, *SHAPE), dtype=torch.bool)
    corrected, good = calibrate(raw, calibration, out=out, good_out=good_out)
    assert corrected is out
    assert good is good_out
    for pixels in (1, 4 * SHAPE[0] * SHAPE[1]):
        monkeypatch.setattr(correct_module, "_CPU_PIXELS", pixels)
        again = calibrate(raw, calibration)
        assert torch.equal(again[0], corrected)
        assert torch.equal(again[1], good)
    alone, _ = calibrate(raw[4], calibration)  # (H, W)
    assert torch.equal(alone[0], corrected[4])
    in_place = torch.from_numpy(raw.astype(np.float32))
    result, _ = calibrate(in_place, calibration, out=in_place)
    assert torch.equal(result, corrected)


def test_no_frames_and_read_only_arrays() -> None:
    corrected, good, terms = calibrate(np.empty((0, *SHAPE), np.uint16), Calibration(**detector()), return_terms=True)
    assert corrected.shape == good.shape == (0, *SHAPE)
    assert terms.background_scale.shape == (0,)
    raw = np.ones(SHAPE, np.uint16)
    raw.flags.writeable = False
    calibrate(raw, Calibration(**detector()))


def test_frames_that_are_bad_altogether() -> None:
    calibration = Calibration(
        mask=np.zeros(SHAPE, bool),
        common_mode=CommonMode(pixel_groups(SHAPE, "tile", (10, 10))),
        background=Background(torch.ones(SHAPE), "robust"),
    )
    corrected, good, terms = calibrate(np.ones((2, *SHAPE), np.float32), calibration, return_terms=True)
    assert not good.any()
    assert (corrected == 0).all()
    assert terms.background_scale.isnan().all()
    assert terms.common_mode.isnan().all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (2, 3)])
def test_the_smallest_frames(shape: tuple[int, int]) -> None:
    raw = np.arange(2 * shape[0] * shape[1], dtype=np.uint8).reshape(2, *shape)
    calibration = Calibration(
        dark=np.ones(shape),
        common_mode=CommonMode(pixel_groups(shape), "median", min_pixels=1),
        background=Background(torch.ones(shape), "robust"),
    )
    corrected, good = calibrate(raw, calibration)
    assert good.all()
    flat = corrected.flatten(1)
    assert float(flat.mean(dim=1).abs().max()) < 1e-4  # the background takes off what the median leaves
    only_level = Calibration(shape=shape, saturation=2)
    assert np.array_equal(calibrate(raw, only_level)[1].numpy(), raw < 2)


def test_cxi_bits_and_booleans_make_the_same_mask() -> None:
    bits = np.zeros(SHAPE, np.uint32)
    bits[1, 1], bits[2, 2], bits[3, 3] = CXI_BITS["hot"], CXI_BITS["noisy"], 0x1000  # the last has signal: good
    expected = np.ones(SHAPE, bool)
    expected[1, 1] = expected[2, 2] = False
    for mask in (bits, bits.astype(np.int64), torch.from_numpy(bits.astype(np.int32)), expected):
        assert np.array_equal(Calibration(mask=mask).good.numpy(), expected)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "nothing says how large"),
        ({"dark": np.ones((4, 5)), "gain": np.ones((5, 4))}, r"gain is \(5, 4\), but dark is \(4, 5\)"),
        ({"dark": np.ones(4)}, r"dark is torch.float32 \(4,\); expected real numbers \(H, W\)"),
        ({"mask": np.ones((4, 5))}, "mask is float64; expected booleans"),
        ({"dark": np.ones((4, 5)), "shape": (4, 6)}, r"dark is \(4, 5\), but shape is \(4, 6\)"),
        ({"saturation": np.nan, "shape": (4, 5)}, "saturation is nan"),
        ({"dark": np.ones((4, 5)), "background": Background(torch.ones(4, 4))}, r"background.image is \(4, 4\)"),
    ],
)
def test_a_calibration_whose_parts_do_not_fit_is_refused(parts: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        Calibration(**parts)


def test_arguments_that_do_not_fit_are_named() -> None:
    calibration = Calibration(**detector())
    frames = torch.ones(2, *SHAPE)
    for arguments, error, message in (
        ((torch.ones(2, 5, 6),), ValueError, r"frames are \(2, 5, 6\); the calibration is for frames of \(37, 46\)"),
        ((torch.ones(2, *SHAPE, dtype=torch.complex64),), TypeError, "complex64"),
        ((np.ones((2, *SHAPE), bool),), TypeError, "dtype bool"),
        ((torch.ones(1, 2, *SHAPE),), ValueError, r"expected \(n, H, W\)"),
    ):
        with pytest.raises(error, match=message):
            calibrate(*arguments, calibration)
    with pytest.raises(TypeError, match=r"out has dtype torch.float64; expected torch.float32"):
        calibrate(frames, calibration, out=frames.double())
    with pytest.raises(ValueError, match="not contiguous"):
        calibrate(frames, calibration, out=torch.ones(2, *SHAPE[::-1]).mT)
    with pytest.raises(ValueError, match="good_out is"):
        calibrate(frames, calibration, good_out=torch.ones(1, *SHAPE, dtype=torch.bool))


@pytest.mark.gpu
def test_cuda_gives_what_the_cpu_gives() -> None:
    raw = np.random.default_rng(4).integers(0, 4000, (9, *SHAPE)).astype(np.uint16)
    for method in ("median", "mode"):
        calibration = Calibration(
            **detector(),
            saturation=3900,
            common_mode=CommonMode(pixel_groups(SHAPE, "tile", (20, 20)), method),
            background=Background(torch.rand(SHAPE), "robust"),
        )
        expected = calibrate(raw, calibration, return_terms=True)
        found = calibrate(torch.from_numpy(raw).cuda(), calibration.to("cuda"), return_terms=True)
        assert torch.equal(found[1].cpu(), expected[1])
        torch.testing.assert_close(found[0].cpu(), expected[0], rtol=1e-4, atol=1e-2)
        torch.testing.assert_close(found[2].common_mode.cpu(), expected[2].common_mode, rtol=1e-4, atol=1e-2)
