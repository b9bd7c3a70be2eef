"""The figure of explanations: opacity and contours are the heat map's."""

from __future__ import annotations

import numpy as np
import pytest

from cdifast.report.explanation import LEVELS, draw_explanations
from cdifast.report.figures import png

pytest.importorskip("matplotlib")

MASK = np.hypot(*(np.mgrid[:16, :16] - 7.5)) > 3
IMAGES = np.random.default_rng(0).poisson(20, (2, 16, 16)).astype(np.uint16)
RAMP = np.linspace(-1, 2, 16)[None, :] * np.ones((16, 1))
HEAT = np.stack([[RAMP, 0 * RAMP, -1 - RAMP**2], [RAMP.T, RAMP, RAMP]])
TITLES = [["a 0.9", "b 0.5", "$c$ 0.1"], ["d 1.0", "e 0.2", "f 0.0"]]


def test_a_row_a_shot_and_a_column_a_class() -> None:
    figure = draw_explanations(IMAGES, HEAT, TITLES, ["shot 3", "shot 17"], MASK)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["shot 3", *TITLES[0], "shot 17", *TITLES[1]]
    for axes, image in zip(figure.axes, np.repeat(IMAGES, 4, axis=0), strict=True):
        drawn = axes.get_images()[0].get_array()
        np.testing.assert_allclose(drawn.filled(np.nan)[MASK], np.log10(1.0 + image)[MASK])
    assert png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize("mask", [None, MASK])
def test_opacity_is_the_contour_level_reached(mask: np.ndarray | None) -> None:
    axes = draw_explanations(IMAGES, HEAT, TITLES, mask=mask).axes[1]
    opacity = axes.get_images()[0].get_alpha()
    share = np.maximum(RAMP, 0) / 2  # of the map's highest value, 2; what speaks against counts as nothing
    good = np.ones_like(MASK) if mask is None else mask
    assert (opacity[~good] == 0).all()
    for low, high, expected in [(0.1, 0.3, 0.1), (0.3, 0.5, 0.3), (0.5, 0.7, 0.5), (0.7, 0.9, 0.7), (0.9, 1.1, 1.0)]:
        inside = good & (share >= low) & (share < high)
        assert inside.any()
        assert (opacity[inside] == expected).all()
    below = opacity[good & (share < LEVELS[0])]
    assert (below == below[0]).all()
    assert 0 < below[0] < 0.3


def test_contours_lie_on_the_levels_and_a_map_without_any_has_none() -> None:
    axes = draw_explanations(IMAGES, HEAT, TITLES).axes
    (contours,) = axes[1].collections
    assert tuple(contours.levels) == LEVELS
    for level, path in zip(LEVELS, contours.get_paths(), strict=True):
        columns = path.vertices[:, 0]
        np.testing.assert_allclose(columns, np.interp(2 * level, RAMP[0], np.arange(16)), atol=0.2)
    assert not axes[2].collections  # zero everywhere
    assert not axes[3].collections  # everything speaks against the class


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"heat: found shape \(2, 3, 16, 16\), expected .* images \(2, 15, 16\)"):
        draw_explanations(IMAGES[:, 1:], HEAT, TITLES)
    with pytest.raises(ValueError, match="expected 2 captions and 2 rows of 3 titles"):
        draw_explanations(IMAGES, HEAT, TITLES[:1])
    with pytest.raises(ValueError, match="expected 2 captions"):
        draw_explanations(IMAGES, HEAT, TITLES, ["one"])
