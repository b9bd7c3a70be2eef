"""Common mode: groups, medians, and a mode that lit pixels do not move."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cdifast.calibrate import Calibration, CommonMode, calibrate, pixel_groups
from cdifast.calibrate.groups import group_tables
from cdifast.calibrate.robust import row_median, row_mode, sorted_rows


@pytest.mark.parametrize("along", ["frame", "tile", "row", "column"])
@pytest.mark.parametrize("tile", [None, (4, 5), (7, 100), (1, 1)])
def test_groups_are_the_rows_and_columns_of_tiles(along: str, tile: tuple[int, int] | None) -> None:
    shape = (9, 13)
    groups = pixel_groups(shape, along, tile).numpy()  # type: ignore[arg-type]
    height, width = tile or shape
    seen: dict[tuple[int, ...], int] = {}
    for y in range(shape[0]):
        for x in range(shape[1]):
            key = {
                "frame": (0,),
                "tile": (y // height, x // width),
                "row": (y, x // width),
                "column": (x, y // height),
            }[along]
            assert seen.setdefault(key, groups[y, x]) == groups[y, x]
    assert sorted(seen.values()) == list(range(len(seen)))


def test_wrong_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="along='diagonal'"):
        pixel_groups((3, 3), "diagonal")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1"):
        pixel_groups((3, 3), "tile", (0, 3))
    with pytest.raises(TypeError, match="expected int64"):
        CommonMode(torch.zeros(3, 3))
    with pytest.raises(ValueError, match="pixels is"):
        CommonMode(pixel_groups((3, 3)), pixels=torch.ones(2, 3, dtype=torch.bool))


def test_tables_hold_every_usable_pixel_once_whatever_the_sizes_of_the_groups() -> None:
    generator = torch.Generator().manual_seed(0)
    groups = (torch.rand(40, 50, generator=generator) ** 4 * 60).long() - 1  # -1 to 58, of very different sizes
    usable = torch.rand(40, 50, generator=generator) > 0.3
    found: dict[int, set[int]] = {}
    gathered = 0
    for table in group_tables(groups, usable):
        gathered += table.pixels.numel()
        for label, pixels, present in zip(table.labels, table.pixels, table.present, strict=True):
            assert int(label) not in found
            found[int(label)] = set(pixels[present].tolist())
            assert len(found[int(label)]) == int(present.sum())
    expected: dict[int, set[int]] = {}
    for index, (label, good) in enumerate(zip(groups.flatten().tolist(), usable.flatten().tolist(), strict=True)):
        if good and label >= 0:
            expected.setdefault(label, set()).add(index)
    assert found == expected
    assert gathered <= 2 * int(usable.sum())


def test_row_median_is_numpys_for_every_count() -> None:
    values = torch.randn(40, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    valid = torch.rand(40, 7, generator=torch.Generator().manual_seed(2)) > 0.4
    valid[0], valid[1] = False, True
    found = row_median(*sorted_rows(values, valid))
    for row, mask, median in zip(values.numpy(), valid.numpy(), found.tolist(), strict=True):
        assert median == np.median(row[mask]) if mask.any() else np.isnan(median)


@pytest.mark.parametrize("lit", [0.0, 0.2, 0.4, 0.6])
def test_mode_of_noise_is_unmoved_by_photons_where_the_median_moves_as_computed(lit: float) -> None:
    """Single photons of 5 sigma and more on a share of the pixels: against the mean of the unlit pixels."""
    generator = np.random.default_rng(3)
    values = generator.normal(0, 1, (200, 2000))
    photons = generator.random(values.shape) < lit
    values[photons] += 5 * generator.integers(1, 5, photons.sum())
    ordered, count = sorted_rows(torch.from_numpy(values), torch.ones(values.shape, dtype=torch.bool))
    mode, scale = row_mode(ordered, count)
    unlit = 2000 * (1 - lit)
    assert abs(float(mode.mean())) < 4 / np.sqrt(200 * unlit)
    assert float(mode.std()) < 1.6 / np.sqrt(unlit)
    np.testing.assert_allclose(float(scale.mean()), 1, atol=0.02)
    if lit == 0.2:
        from scipy.stats import norm

        expected = norm.ppf(0.5 / (1 - lit))
        np.testing.assert_allclose(float(row_median(ordered, count).mean()), expected, atol=0.01)


def test_mode_of_what_has_no_peak() -> None:
    def mode(values: list[float]) -> float:
        row = torch.tensor([values])
        return float(row_mode(*sorted_rows(row, torch.ones_like(row, dtype=torch.bool)))[0])

    assert mode([7.0]) == 7.0
    assert mode([1.0, 1.0, 1.0, 50.0]) == 1.0
    assert mode([3.0] * 100) == 3.0
    assert 1 <= mode([1.0, 2.0]) <= 2
    none = torch.tensor([[1.0, 2.0]])
    assert row_mode(*sorted_rows(none, torch.zeros_like(none, dtype=torch.bool)))[0].isnan().all()


@pytest.mark.parametrize("method", ["median", "mode"])
def test_offsets_of_tiles_are_taken_off_beside_a_bright_pattern(method: str) -> None:
    """Three tenths of each tile are lit: the median is off by half a sigma, the mode by nothing."""
    generator = np.random.default_rng(4)
    shape, tile = (64, 96), (32, 32)
    offset = generator.normal(0, 20, (5, 2, 3))
    pattern = np.zeros(shape)
    pattern.reshape(2, 32, 3, 32)[:, :10] = 40.0
    raw = 1000 + np.kron(offset, np.ones(tile)) + generator.normal(0, 2, (5, *shape)) + pattern
    calibration = Calibration(
        dark=np.full(shape, 1000.0), common_mode=CommonMode(pixel_groups(shape, "tile", tile), method)
    )  # type: ignore[arg-type]
    corrected, _, terms = calibrate(raw, calibration, return_terms=True)
    error = terms.common_mode.numpy() - offset.reshape(5, 6)
    if method == "mode":
        assert np.abs(error).max() < 0.5
        np.testing.assert_allclose(corrected.numpy().mean(axis=0), pattern, atol=6)
    else:
        assert 1.0 < error.mean() < 1.6  # 2 Phi^-1(0.5 / (22 / 32)) = 1.21


def test_pixels_of_groups_that_are_too_dark_to_tell_are_bad() -> None:
    shape = (10, 12)
    mask = np.ones(shape, bool)
    mask[3, 4:] = False  # four pixels are left of this row
    groups = pixel_groups(shape, "row")
    groups[9] = -1
    raw = np.random.default_rng(5).normal(50, 1, (2, *shape)).astype(np.float32)
    raw[1, 6, :5] = np.nan  # seven are left, in this frame
    calibration = Calibration(mask=mask, common_mode=CommonMode(groups, min_pixels=8))
    corrected, good, terms = calibrate(raw, calibration, return_terms=True)
    assert not good[:, 3].any()
    assert good[0, 6].all()
    assert not good[1, 6].any()
    assert good[:, 9].all()
    assert torch.equal(corrected[:, 9], torch.from_numpy(raw[:, 9]))
    assert terms.common_mode.isnan().tolist() == [[y == 3 for y in range(9)], [y in (3, 6) for y in range(9)]]


def test_only_the_pixels_that_are_asked_are_asked() -> None:
    shape = (8, 20)
    strip = torch.zeros(shape, dtype=torch.bool)
    strip[:, :10] = True
    raw = torch.full((1, *shape), 7.0)
    raw[:, :, 10:] = 1000.0
    calibration = Calibration(common_mode=CommonMode(pixel_groups(shape, "row"), pixels=strip))
    corrected, good = calibrate(raw, calibration)
    assert good.all()
    assert (corrected[:, :, :10] == 0).all()
    assert (corrected[:, :, 10:] == 993).all()
