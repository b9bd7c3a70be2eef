"""Predictions, metrics and baselines; embeddings, their baselines and their physics nulls."""

from .baselines import AllNegative, Baseline, Majority
from .cw_ssim import cw_ssim, cw_ssim_matrix
from .distances import join_gaussians, pairwise_distances
from .embedding_baselines import (
    correlation_map_embedding,
    factor_analysis,
    kernel_pca,
    pca,
    umap_embedding,
    uniform_noise,
)
from .embedding_table import evaluate_embedding, evaluate_fitted, format_rows
from .fitted import FittedEmbedding, encoder_embedding, gaussian_embedding
from .linear import LinearEvaluation, linear_evaluation
from .metrics import ClassificationMetrics, ClassMetrics, classification_metrics
from .neighbours import NeighbourVote, neighbour_vote
from .null_images import null_images
from .null_shots import null_shots
from .nulls import NullScore, null_score, physics_nulls
from .overlap import Overlap, overlap
from .predict import labels_from_probabilities, predict_logits, predict_probabilities
from .rules import RuleViolations, rule_violations
from .selection import P2_CLASSES, p2_selection
from .sift import sift_distances
from .ssim import ssim, ssim_matrix

__all__ = [
    "P2_CLASSES",
    "AllNegative",
    "Baseline",
    "ClassMetrics",
    "ClassificationMetrics",
    "FittedEmbedding",
    "LinearEvaluation",
    "Majority",
    "NeighbourVote",
    "NullScore",
    "Overlap",
    "RuleViolations",
    "classification_metrics",
    "correlation_map_embedding",
    "cw_ssim",
    "cw_ssim_matrix",
    "encoder_embedding",
    "evaluate_embedding",
    "evaluate_fitted",
    "factor_analysis",
    "format_rows",
    "gaussian_embedding",
    "join_gaussians",
    "kernel_pca",
    "labels_from_probabilities",
    "linear_evaluation",
    "neighbour_vote",
    "null_images",
    "null_score",
    "null_shots",
    "overlap",
    "p2_selection",
    "pairwise_distances",
    "pca",
    "physics_nulls",
    "predict_logits",
    "predict_probabilities",
    "rule_violations",
    "sift_distances",
    "ssim",
    "ssim_matrix",
    "umap_embedding",
    "uniform_noise",
]
