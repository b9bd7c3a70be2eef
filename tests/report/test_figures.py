"""Figures: what was handed in must be what the axes hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cdifast.data import open_frames, write_cxi
from cdifast.report import figures
from cdifast.train import EpochRecord

pytest.importorskip("matplotlib")

MASK = np.hypot(*(np.mgrid[:16, :16] - 7.5)) > 3


def shot(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).poisson(20, (16, 16)).astype(np.uint16)


def record(epoch: int, *, measured: bool = True) -> EpochRecord:
    values = (0.5 / epoch, 0.9, 0.1 * epoch, 0.2 * epoch, 0.0) if measured else (None,) * 5
    return EpochRecord(epoch, 0.1, 1.0 / epoch, 0.8 / epoch, *values, 1.0)


def test_a_shot_is_the_logarithm_of_its_counts_without_the_masked_pixels() -> None:
    image = shot(0)
    figure = figures.shots_by_label_set([[image]], ["one"], MASK)
    drawn = figure.subfigs[0].axes[0].get_images()[0].get_array()
    np.testing.assert_allclose(drawn.filled(np.nan)[MASK], np.log10(1.0 + image)[MASK])
    np.testing.assert_array_equal(np.ma.getmaskarray(drawn), ~MASK)


def test_every_label_set_has_its_row_and_title() -> None:
    rows = [[shot(0), shot(1), shot(2)], [shot(3)]]
    figure = figures.shots_by_label_set(rows, ["first", "second"], None)
    assert [part.get_suptitle() for part in figure.subfigs] == ["first", "second"]
    assert [sum(bool(axes.get_images()) for axes in part.axes) for part in figure.subfigs] == [3, 1]


def test_bars_are_the_class_counts() -> None:
    train, held_out = np.array([5, 0, 7]), np.array([1, 0, 2])
    (axes,) = figures.class_counts(["a", "b", "$c$"], train, held_out).axes
    first, second = axes.containers
    assert [bar.get_width() for bar in first] == train.tolist()
    assert [(bar.get_x(), bar.get_width()) for bar in second] == list(zip(train, held_out, strict=True))
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "b", "$c$"]
    assert [text.get_text() for text in axes.texts] == ["5 + 1", "none simulated", "7 + 2"]
    assert figures.png(axes.figure).startswith(b"\x89PNG")  # a dollar sign is not the start of a formula


def test_curves_hold_the_history_and_skip_what_was_not_measured() -> None:
    history = [record(1), record(2, measured=False), record(3)]
    loss, quality = figures.learning_curves(history, {"majority": (0.25, 0.35), "nothing": (None, 0.0)}).axes
    lines = {line.get_label(): line for line in (*loss.lines, *quality.lines)}
    np.testing.assert_allclose(lines["training (augmented)"].get_xydata(), [[1, 0.8], [2, 0.4], [3, 0.8 / 3]])
    np.testing.assert_allclose(lines["held out"].get_xydata(), [[1, 0.5], [3, 0.5 / 3]])
    np.testing.assert_allclose(lines["precision, network"].get_xydata(), [[1, 0.1], [3, 0.3]])
    np.testing.assert_allclose(lines["recall, network"].get_ydata(), [0.2, 0.6])
    assert lines["precision, majority"].get_ydata()[0] == 0.25
    assert lines["recall, nothing"].get_ydata()[0] == 0.0
    assert "precision, nothing" not in lines


def test_views_show_radius_downwards_and_angle_across() -> None:
    unwrapped = np.arange(12.0).reshape(1, 3, 4)
    unwrapped[0, 0, 0] = np.nan
    maps = np.linspace(0, 1, 9).reshape(1, 3, 3)
    figure = figures.three_views(shot(0)[None], unwrapped, maps, ["shot 0: Round"], MASK, radii=(3.0, 7.0), order=8)
    detector, view, correlation = figure.axes[:3]
    assert detector.get_title(loc="left") == "shot 0: Round"
    polar = view.get_images()[0]
    assert polar.get_extent() == [0, 360, 7.0, 3.0]
    assert polar.get_array().mask[0, 0]
    np.testing.assert_allclose(polar.get_array()[1], np.log10(1 + unwrapped[0, 1]))
    assert (view.get_xlabel(), view.get_ylabel()) == ("angle (degrees)", "radius (pixels)")
    np.testing.assert_allclose(correlation.get_images()[0].get_array(), maps[0])
    assert [text.get_text() for text in correlation.texts] == ["zero lag", "order 8"]
    # "zero lag" stands where row i > column j: lower left.
    assert correlation.texts[0].get_position()[0] < 0.5 > correlation.texts[0].get_position()[1]


def test_label_sets_are_ordered_and_complete() -> None:
    labels = np.array([[0, 1], [1, 0], [0, 1], [0, 0], [1, 0], [0, 1]], np.uint8)
    sets = figures.label_sets(labels)
    assert [(row.tolist(), members.tolist()) for row, members in sets] == [
        ([0, 1], [0, 2, 5]),
        ([1, 0], [1, 4]),
        ([0, 0], [3]),
    ]
    assert [figures.label_text(row, ("a", "b")) for row, _ in sets] == ["b", "a", "no label"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    labels = np.zeros((5, 11), np.uint8)
    labels[:, [3, 4]] = 1
    return write_cxi(tmp_path / "five.cxi", np.stack([shot(k) for k in range(5)]), labels=labels, mask=MASK)


def test_preview_of_frames_spreads_over_the_stack(file: Path) -> None:
    with open_frames(file) as frames:
        figure = figures.draw_frames(frames, count=3)
        shown = [axes for axes in figure.axes if axes.get_images()]
        assert [axes.get_xlabel() for axes in shown] == [f"frame {k}\nProlate, Streak" for k in (0, 2, 4)]
        np.testing.assert_allclose(
            shown[1].get_images()[0].get_array().filled(0)[MASK], np.log10(1.0 + frames[2])[MASK]
        )


def test_preview_of_maps_draws_what_the_job_computes(file: Path) -> None:
    from cdifast.jobs import MapSettings, unwrapped_and_maps
    from cdifast.nn import scale_triangles

    settings = MapSettings(n_radial=6, n_angular=24, r_min=1, r_max=7)
    with open_frames(file) as frames:
        figure = figures.draw_maps(frames, settings, count=1)
        _, maps = unwrapped_and_maps(frames[0:1], frames.mask, settings)
    drawn = figure.axes[2].get_images()[0].get_array()
    known = ~np.ma.getmaskarray(drawn)
    assert 0 < known.sum() < known.size  # the rings inside the hole have no value, and show none
    np.testing.assert_allclose(drawn.filled(0)[known], scale_triangles(maps, "log")[0].numpy()[known], rtol=1e-6)
