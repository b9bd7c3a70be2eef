"""Rows of the table: the parts' own numbers, put together."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cdifast.evaluate import (
    FittedEmbedding,
    evaluate_embedding,
    evaluate_fitted,
    format_rows,
    linear_evaluation,
    neighbour_vote,
    null_score,
    overlap,
    pairwise_distances,
)

pytest.importorskip("sklearn")

RNG = np.random.default_rng(0)
LABELS = (RNG.random((40, 7)) < 0.4).astype(np.uint8)
RUNS = RNG.normal(size=(2, 40, 5))


def test_a_row_holds_what_the_parts_find() -> None:
    nulls = {"turned": null_score(pairwise_distances(RUNS[0], RUNS[0] + 0.01))}
    row = evaluate_embedding("m", RUNS[0], LABELS, metrics=("cosine", "euclidean"), k=3, seeds=(0, 1), nulls=nulls)
    assert row["linear"] == linear_evaluation(RUNS[0], LABELS, (0, 1)).to_dict()
    assert row["overlap"]["euclidean"] == overlap(RUNS[0], LABELS, 3, "euclidean").to_dict()
    assert row["vote"]["cosine"] == neighbour_vote(RUNS[0], LABELS, 3, "cosine").to_dict()
    assert row["nulls"] == {"turned": nulls["turned"].to_dict()}
    assert (row["method"], row["images"], row["dimension"]) == ("m", 40, 5)
    json.dumps(row, allow_nan=False)


def test_several_runs_are_averaged() -> None:
    row = evaluate_embedding("m", RUNS, LABELS, k=3, seeds=(0, 1))
    scores = [overlap(run, LABELS, 3) for run in RUNS]
    assert row["overlap"]["cosine"]["macro"] == pytest.approx(np.mean([score.macro for score in scores]))
    assert row["overlap"]["cosine"]["macro_spread"] == pytest.approx(np.std([s.macro for s in scores], ddof=1))
    votes = [neighbour_vote(run, LABELS, 3) for run in RUNS]
    assert row["vote"]["cosine"]["recall"] == pytest.approx(np.mean([vote.recall for vote in votes]))
    assert row["vote"]["cosine"]["per_class"]["Bent"]["support"] == votes[0].per_class[2][2]
    layered = row["overlap"]["cosine"]["per_class"]["Layered"]
    assert layered["overlap"] == pytest.approx(np.mean([score.per_class[6] for score in scores]))
    assert row["linear"] == linear_evaluation(RUNS, LABELS, (0, 1)).to_dict()


def test_direct_measures_have_no_linear_evaluation() -> None:
    distances = pairwise_distances(RUNS[0], metric="euclidean")
    row = evaluate_embedding("SSIM", None, LABELS, distances={"ssim": distances}, k=3)
    assert row["linear"] is None
    assert row["overlap"]["ssim"]["macro"] == overlap(RUNS[0], LABELS, 3, "euclidean").macro
    table = format_rows([row, evaluate_embedding("m", RUNS[0], LABELS, k=3, seeds=(0, 1))]).splitlines()
    assert table[0].startswith("| Method | Precision | Recall | Measure | Overlap |")
    assert table[2].startswith("| SSIM | n/a | n/a | ssim | 0.")
    assert "±" in table[3]
    with pytest.raises(ValueError, match="x: found neither embeddings nor distances"):
        evaluate_embedding("x", None, LABELS)


def test_fitted_embeddings_bring_their_metric_and_features() -> None:
    sigma = np.abs(RUNS)
    fitted = [
        FittedEmbedding(
            "VAE",
            np.concatenate([mean, s], axis=1),
            lambda images: images.numpy(),
            "wasserstein",
            mean,
            {"seed": index},
        )
        for index, (mean, s) in enumerate(zip(RUNS, sigma, strict=True))
    ]
    row = evaluate_fitted(fitted, LABELS, k=3, seeds=(0, 1))
    assert row["linear"] == linear_evaluation(RUNS, LABELS, (0, 1)).to_dict()
    assert list(row["overlap"]) == ["wasserstein"]
    assert row["dimension"] == 5
    assert row["settings"] == {"seed": 0}
    alone = evaluate_fitted(fitted[0], LABELS, k=3, seeds=(0,), metrics=("euclidean",))
    assert list(alone["overlap"]) == ["euclidean"]
