"""Quality figures: what was measured must be what the axes hold."""

from __future__ import annotations

import numpy as np
import pytest

from cdifast.evaluate import ranking_curves, reliability
from cdifast.report import figures, quality_figures

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")
NAMES = ("a", "$b$", "never")


def labels_and_scores() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.random((80, 3)) < (0.5, 0.2, 0)
    return labels, np.clip(0.3 * labels + 0.7 * rng.random((80, 3)), 0, 1)


def test_panels_hold_the_curves_of_every_method() -> None:
    labels, scores = labels_and_scores()
    curves = {"network": ranking_curves(labels, scores, NAMES), "noise": ranking_curves(labels, scores[::-1], NAMES)}
    figure = quality_figures.precision_recall_curves(curves)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["all labels", *NAMES]
    for axes, number in zip(figure.axes[1:3], (0, 1), strict=True):
        drawn = {line.get_label(): line for line in axes.lines}
        for name, found in curves.items():
            np.testing.assert_array_equal(drawn[name].get_xdata(), found.per_class[number].recall)
            np.testing.assert_array_equal(drawn[name].get_ydata(), found.per_class[number].precision)
        areas = ", ".join(f"{found.per_class[number].average_precision:.2f}" for found in curves.values())
        assert axes.texts[0].get_text() == f"area {areas}\n{labels[:, number].sum()} of 80"
    assert figure.axes[3].texts[0].get_text() == "none among 80 images"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["network", "noise"]
    assert figures.png(figure).startswith(b"\x89PNG")
    assert not quality_figures.precision_recall_curves({"one": curves["noise"]}).legends
    with pytest.raises(ValueError, match="methods: found 0"):
        quality_figures.precision_recall_curves({})


def test_reliability_is_drawn_with_its_binomial_intervals() -> None:
    stats = pytest.importorskip("scipy.stats")
    labels, scores = labels_and_scores()
    found = reliability(labels, scores, NAMES)
    figure = quality_figures.reliability_diagrams(found)
    for axes, curve in zip(figure.axes, (found.pooled, *found.per_class), strict=True):
        line = axes.lines[-1]
        np.testing.assert_array_equal(line.get_xydata(), np.stack([curve.predicted, curve.observed], axis=1))
        assert axes.texts[0].get_text() == f"error {curve.expected_error:.3f}"
        segments = axes.collections[0].get_segments()
        for segment, share, count in zip(segments, curve.observed, curve.counts, strict=True):
            expected = stats.binomtest(round(share * count), int(count)).proportion_ci(method="wilson")
            assert segment[:, 1] == pytest.approx([expected.low, expected.high], abs=1e-5)
    assert figures.png(figure).startswith(b"\x89PNG")
    empty = quality_figures.reliability_diagrams(reliability(labels[:0], scores[:0], NAMES))
    assert empty.axes[0].texts[0].get_text() == "no labels"
