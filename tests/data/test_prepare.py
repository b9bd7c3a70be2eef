"""Network input against a float64 double loop, average pooling and closed forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from cdifast.data.prepare import InputPreparation, prepare_batch, prepare_frames

RAW = InputPreparation(size=7, scaling="none")


def box_mean(frame: np.ndarray, good: np.ndarray, size: int, min_weight: float) -> np.ndarray:
    """Masked area average, cell by cell and pixel by pixel, in float64."""
    height, width = frame.shape
    side = max(height, width)
    top, left = (side - height) / 2, (side - width) / 2
    step = side / size
    out = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            total = weight = 0.0
            for y in range(height):
                dy = min((i + 1) * step, top + y + 1) - max(i * step, top + y)
                for x in range(width):
                    dx = min((j + 1) * step, left + x + 1) - max(j * step, left + x)
                    if dy > 0 and dx > 0 and good[y, x]:
                        total += dy * dx * float(frame[y, x])
                        weight += dy * dx
            if weight >= min_weight * step * step * (1 - 1e-9):
                out[i, j] = total / weight
    return out


@pytest.mark.parametrize("shape", [(20, 20), (13, 22), (22, 15), (5, 4)])
@pytest.mark.parametrize("min_weight", [0.5, 0.1, 1.0])
def test_equals_the_double_loop(shape: tuple[int, int], min_weight: float) -> None:
    rng = np.random.default_rng(0)
    frames = rng.normal(100, 50, (3, *shape))
    mask = rng.random(shape) > 0.3
    images = prepare_batch(frames, mask, InputPreparation(7, "none", min_weight=min_weight))
    assert images.shape == (3, 1, 7, 7)
    assert images.dtype == torch.float32
    expected = [box_mean(frame, mask, 7, min_weight) for frame in frames]
    np.testing.assert_allclose(images[:, 0], expected, rtol=2e-5, atol=1e-3)


def test_whole_factor_is_average_pooling() -> None:
    frames = torch.rand(4, 24, 24)
    images = prepare_batch(frames, None, InputPreparation(8, "none"))
    torch.testing.assert_close(images, functional.avg_pool2d(frames[:, None], 3))


def test_bad_pixels_leave_no_trace() -> None:
    rng = np.random.default_rng(1)
    mask = rng.random((40, 40)) > 0.3
    mask[10:30, 18:22] = False  # wider than a cell
    frames = np.full((2, 40, 40), 3.0, np.float32)
    frames[:, ~mask] = [[1e9], [np.nan]]
    images = prepare_batch(frames, mask, InputPreparation(20, "none"))
    assert torch.equal(images[0], images[1])
    values = images.unique()
    np.testing.assert_allclose(values, [0, 3], rtol=1e-6)
    # By the rule: zero exactly where fewer than half of a cell's four pixels are good.
    few = mask.reshape(20, 2, 20, 2).sum(axis=(1, 3)) < 2
    np.testing.assert_array_equal(images[0, 0].numpy() == 0, few)


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "i2", "i4", "u4", "i8", "f2", "f4", ">f4", "f8", "bool"])
def test_every_dtype_gives_the_same_input(dtype: str) -> None:
    counts = np.random.default_rng(2).poisson(0.4, (2, 14, 14)).clip(0, 1)
    expected = prepare_batch(counts.astype(np.float32), None, RAW)
    assert torch.equal(prepare_batch(counts.astype(dtype), None, RAW), expected)


def test_round_stays_round_on_a_rectangular_detector() -> None:
    y, x = np.mgrid[:60, :100]
    radius = np.hypot(y - 29.5, x - 49.5)
    frame = (np.abs(radius - 20) < 3).astype(np.float32)
    image = prepare_batch(frame[None], None, InputPreparation(50, "none"))[0, 0]
    torch.testing.assert_close(image, image.T)
    torch.testing.assert_close(image, image.flip(0))


def test_scaling_by_the_mean_removes_the_fluence() -> None:
    rng = np.random.default_rng(3)
    frames = rng.gamma(0.3, size=(5, 30, 30))
    mask = rng.random((30, 30)) > 0.1
    preparation = InputPreparation(15, "mean", level=10)
    images = prepare_batch(frames, mask, preparation)
    fluence = np.array([0.01, 1, 10, 1e3, 1e6]).reshape(5, 1, 1)
    torch.testing.assert_close(prepare_batch(fluence * frames, mask, preparation), images)
    for image in images:
        assert image[image != 0].abs().mean() == pytest.approx(10, rel=1e-4)
    dark = prepare_batch(np.zeros((1, 30, 30)), mask, preparation)
    assert torch.count_nonzero(dark) == 0


def test_level_brings_the_outermost_ring_to_the_knee_of_the_log_activation() -> None:
    """The reason for the default level: q^-4 behind a hole of a sixth of the radius (see its docstring)."""
    y, x = np.mgrid[:512, :512] - 255.5
    q = np.hypot(y, x) / 256
    mask = (q > 1 / 6) & (q < 1)
    image = prepare_batch((q**-4.0)[None], mask, InputPreparation(512))[0, 0].numpy()
    ring = image[(q > 0.98) & (q < 1)].mean()
    assert ring == pytest.approx(10 / 36, rel=0.1)
    assert 0.5 < ring * np.e < 1


class Recorder:
    """A source that remembers how much of it was asked for at once."""

    def __init__(self, frames: np.ndarray) -> None:
        self.frames = frames
        self.slices: list[int] = []

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: slice, /) -> np.ndarray:
        part = self.frames[index]
        self.slices.append(len(part))
        return part


@pytest.mark.parametrize("mask_per_frame", [False, True])
def test_chunks_do_not_matter_and_bound_the_memory(mask_per_frame: bool) -> None:
    rng = np.random.default_rng(4)
    source = Recorder(rng.integers(0, 1000, (11, 16, 18)).astype(np.uint16))
    mask = rng.random((11, 16, 18) if mask_per_frame else (16, 18)) > 0.2
    reports: list[tuple[int, int]] = []
    preparation = InputPreparation(8)
    images = prepare_frames(
        source, mask, preparation, chunk=4, progress=lambda done, total: reports.append((done, total))
    )
    assert source.slices == [4, 4, 3]
    assert reports == [(4, 11), (8, 11), (11, 11)]
    torch.testing.assert_close(images, prepare_batch(source.frames, mask, preparation))


def test_wrong_input_is_named() -> None:
    frames = np.zeros((6, 8, 8), np.float32)
    frames[4, 2, 3] = np.nan
    frames[4, 5, 5] = np.inf
    with pytest.raises(
        ValueError, match=r"frame 4: 2 pixels are NaN or infinite, the first at \(y, x\) = \(2, 3\).*pass a mask"
    ):
        prepare_frames(frames, chunk=2)
    mask = np.isfinite(frames[4])
    assert torch.isfinite(prepare_frames(frames, mask)).all()
    frames[:] = 0
    for wrong, error, message in [
        (np.ones((8, 7), bool), ValueError, r"mask: found shape \(8, 7\), expected \(8, 8\)"),
        (np.ones((5, 8, 8), bool), ValueError, "found 5 masks for 6 frames"),
        (np.ones(8, bool), ValueError, r"found shape \(8,\)"),
        (np.ones((8, 8), np.uint16), TypeError, "found dtype uint16, expected bool with True for good"),
    ]:
        with pytest.raises(error, match=message):
            prepare_frames(frames, wrong)
    with pytest.raises(ValueError, match=r"frames: found shape \(8, 8\), expected \(N, H, W\)"):
        prepare_batch(frames[0])
    with pytest.raises(TypeError, match=r"frames: found dtype complex64"):
        prepare_batch(frames.astype(np.complex64))
    with pytest.raises(ValueError, match=r"without pixels"):
        prepare_batch(frames[:, :0])


def test_description_round_trip() -> None:
    preparation = InputPreparation(96, "none", 2.5, 0.25)
    assert InputPreparation.from_dict(preparation.to_dict()) == preparation
    with pytest.raises(ValueError, match=r"unknown entries blur"):
        InputPreparation.from_dict({"blur": 1})
    for arguments in ({"size": 0}, {"scaling": "max"}, {"level": 0.0}, {"min_weight": 0.0}):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            InputPreparation(**arguments)


def test_real_frames_with_their_bad_pixels() -> None:
    path = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "lcls_frames.npz"
    if not path.exists():
        pytest.skip("the real frames are not at hand")
    with np.load(path) as file:
        # Around the central hole and the gap; the double loop is too slow for whole frames.
        window = slice(90, 160)
        frames = file["frames"][:, window, window]
        good = ~file["bad_pixels"].astype(bool)[window, window]
    assert 0.05 < (~good).mean() < 0.95
    images = prepare_batch(frames, good, InputPreparation(9, "none"))
    expected = np.array([box_mean(frame, good, 9, 0.5) for frame in frames])
    np.testing.assert_allclose(images[:, 0], expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
