"""Rows of P2's Tables 1 and 2, and of the nulls: one method each.

How to make the whole table:

.. code-block:: python

    indices, labels = p2_selection(all_labels)             # Round == 0 and Empty == 0, seven classes
    images = prepared[indices]                              # (N, 1, S, S), min-max scaled (P2)
    row = evaluate_fitted(pca(images), labels)              # any FittedEmbedding
    row = evaluate_fitted([fit(seed) for seed in range(5)], labels)     # trained anew for each seed, as P2
    row = evaluate_embedding("SSIM", None, labels, distances={"ssim": 1 - ssim_matrix(images)})   # direct measures
    print(format_rows([row, ...]))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from .distances import Metric
from .fitted import FittedEmbedding
from .linear import linear_evaluation
from .neighbours import neighbour_vote
from .nulls import NullScore
from .overlap import overlap

NEIGHBOURS = 13


def evaluate_embedding(
    name: str,
    embeddings: Any,
    labels: ArrayLike,
    *,
    metrics: Sequence[Metric] = ("cosine",),
    distances: Mapping[str, Any] | None = None,
    features: Any = None,
    k: int = NEIGHBOURS,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    classes: Sequence[str] | None = None,
    nulls: Mapping[str, NullScore] | None = None,
) -> dict[str, Any]:
    """All scores of one method: linear evaluation, Overlap, neighbours' vote and nulls.

    Parameters
    ----------
    name : str
        Of the method.
    embeddings : array_like or Tensor, shape (N, d) or (S, N, d), or None
        One for all seeds or one for each; None for a direct measure, which has `distances` alone.
    labels : array_like, shape (N, C)
        0 or 1.
    metrics : sequence of str
        Distances between the embeddings for Overlap and vote.
    distances : mapping, optional
        Further distances (N, N) under names of their own, as those of direct measures.
    features : array_like or Tensor, optional
        What the linear evaluation sees, shaped as `embeddings`; None: these.
    k, seeds, classes
        See `overlap`, `linear_evaluation`.
    nulls : mapping, optional
        From `physics_nulls`.

    Returns
    -------
    dict
        JSON-serialisable: ``method``, ``images``, ``dimension`` (None for a direct measure), ``linear``
        (`LinearEvaluation.to_dict`, or None), ``overlap`` and ``vote`` (by the distance's name: `Overlap.to_dict`,
        `NeighbourVote.to_dict`; means over the runs where there are several, with spreads as ``macro_spread``) and
        ``nulls`` (by the null's name: `NullScore.to_dict`, or None).

    Raises
    ------
    ValueError
        Neither embeddings nor distances, or what the parts raise.
    """
    if embeddings is None and not distances:
        raise ValueError(f"{name}: found neither embeddings nor distances")
    runs = [] if embeddings is None else _runs(embeddings)
    row: dict[str, Any] = {"method": name, "images": len(np.asarray(labels)), "dimension": None, "linear": None}
    row |= {"overlap": {}, "vote": {}, "nulls": None}
    if runs:
        seen = embeddings if features is None else features
        row["dimension"] = int(_runs(seen)[0].shape[1])
        row["linear"] = linear_evaluation(seen, labels, seeds, classes=classes).to_dict()
        for metric in metrics:
            row["overlap"][metric], row["vote"][metric] = _scores(runs, labels, k, metric, classes)
    for measure, matrix in (distances or {}).items():
        row["overlap"][measure], row["vote"][measure] = _scores([matrix], labels, k, "precomputed", classes)
    if nulls is not None:
        row["nulls"] = {null: score.to_dict() for null, score in nulls.items()}
    return row


def evaluate_fitted(
    fitted: FittedEmbedding | Sequence[FittedEmbedding],
    labels: ArrayLike,
    *,
    metrics: Sequence[Metric] | None = None,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    **options: Any,
) -> dict[str, Any]:
    """`evaluate_embedding` of a `FittedEmbedding`, or of one for each seed, with the settings of the first in the row.

    Parameters
    ----------
    fitted : FittedEmbedding or sequence of them
        As many as seeds, if several.
    labels, metrics, seeds, options
        As `evaluate_embedding`; metrics None: the method's own.
    """
    runs = [fitted] if isinstance(fitted, FittedEmbedding) else list(fitted)
    if not runs:
        raise ValueError("fitted: found no embedding")
    first = runs[0]
    embeddings = first.embeddings if len(runs) == 1 else np.stack([run.embeddings for run in runs])
    features = first.features if len(runs) == 1 else np.stack([run.features for run in runs])
    row = evaluate_embedding(
        first.name,
        embeddings,
        labels,
        metrics=(first.metric,) if metrics is None else metrics,
        features=features,
        seeds=seeds,
        **options,
    )
    return {**row, "settings": first.settings}


def format_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """P2's Table 1 in Markdown, a line for each method and distance; ``n/a`` where there is nothing to measure.

    Parameters
    ----------
    rows : sequence of mapping
        From `evaluate_embedding`.
    """
    nulls = list(dict.fromkeys(null for row in rows for null in row["nulls"] or {}))
    head = ["Method", "Precision", "Recall", "Measure", "Overlap", "Vote P", "Vote R", *(f"R@1 {n}" for n in nulls)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        linear = row["linear"] or {}
        for measure, found in row["overlap"].items():
            vote = row["vote"][measure]
            cells = [
                row["method"],
                _cell(linear.get("precision"), linear.get("precision_spread")),
                _cell(linear.get("recall"), linear.get("recall_spread")),
                measure,
                _cell(found["macro"], found.get("macro_spread")),
                _cell(vote["precision"]),
                _cell(vote["recall"]),
                *(_cell(((row["nulls"] or {}).get(null) or {}).get("recall_at_1")) for null in nulls),
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _runs(embeddings: Any) -> list[Any]:
    dimensions = embeddings.dim() if isinstance(embeddings, torch.Tensor) else np.ndim(embeddings)
    return list(embeddings) if dimensions == 3 else [embeddings]


def _scores(
    runs: Sequence[Any], labels: ArrayLike, k: int, metric: Metric, classes: Sequence[str] | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Overlap and vote: means over the runs."""
    return (
        _averaged([overlap(run, labels, k, metric, classes=classes).to_dict() for run in runs]),
        _averaged([neighbour_vote(run, labels, k, metric, classes=classes).to_dict() for run in runs]),
    )


def _averaged(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Every measured number of the runs averaged, class by class; the spread of the overall ones beside."""
    if len(found) == 1:
        return found[0]
    mean = dict(found[0])
    for key in found[0].keys() - {"k", "metric", "per_class"}:
        values = [entry[key] for entry in found]
        mean[key] = _mean(values)
        mean[f"{key}_spread"] = None if None in values else float(np.std(values, ddof=1))
    mean["per_class"] = {
        name: {
            key: first[key] if key == "support" else _mean([entry["per_class"][name][key] for entry in found])
            for key in first
        }
        for name, first in found[0]["per_class"].items()
    }
    return mean


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _cell(value: float | None, spread: float | None = None) -> str:
    if value is None:
        return "n/a"
    return f"{value:.3f}" if spread is None else f"{value:.3f} ± {spread:.3f}"
