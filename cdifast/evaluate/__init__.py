"""Predictions, metrics and baselines; embeddings, their baselines and their physics nulls."""

from .baselines import AllNegative, Baseline, Majority
from .classical import ProfileRegression, SpectralClusters, SupportVectorMachine
from .curves import RankingCurve, RankingCurves, ranking_curves
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
from .feature_baseline import ScoringBaseline
from .features import PatternFeatures
from .fitted import FittedEmbedding, encoder_embedding, gaussian_embedding
from .grad_cam import grad_cam_plus_plus
from .intervals import Interval, bootstrap, bootstrap_sums, paired_bootstrap
from .linear import LinearEvaluation, linear_evaluation
from .metrics import ClassificationMetrics, ClassMetrics, classification_metrics
from .neighbours import NeighbourVote, neighbour_vote
from .null_images import null_images
from .null_shots import null_shots
from .nulls import NullScore, null_score, physics_nulls
from .overlap import Overlap, overlap
from .predict import labels_from_probabilities, predict_logits, predict_probabilities
from .reliability_curves import Reliability, ReliabilityCurve, reliability
from .rules import RuleViolations, rule_violations
from .selection import P2_CLASSES, p2_selection
from .sift import sift_distances
from .ssim import ssim, ssim_matrix
from .thresholds import choose_thresholds
from .uncertainty import label_uncertainty, most_uncertain, spread_out

__all__ = [
    "P2_CLASSES",
    "AllNegative",
    "Baseline",
    "ClassMetrics",
    "ClassificationMetrics",
    "FittedEmbedding",
    "Interval",
    "LinearEvaluation",
    "Majority",
    "NeighbourVote",
    "NullScore",
    "Overlap",
    "PatternFeatures",
    "ProfileRegression",
    "RankingCurve",
    "RankingCurves",
    "Reliability",
    "ReliabilityCurve",
    "RuleViolations",
    "ScoringBaseline",
    "SpectralClusters",
    "SupportVectorMachine",
    "bootstrap",
    "bootstrap_sums",
    "choose_thresholds",
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
    "grad_cam_plus_plus",
    "join_gaussians",
    "kernel_pca",
    "label_uncertainty",
    "labels_from_probabilities",
    "linear_evaluation",
    "most_uncertain",
    "neighbour_vote",
    "null_images",
    "null_score",
    "null_shots",
    "overlap",
    "p2_selection",
    "paired_bootstrap",
    "pairwise_distances",
    "pca",
    "physics_nulls",
    "predict_logits",
    "predict_probabilities",
    "ranking_curves",
    "reliability",
    "rule_violations",
    "sift_distances",
    "spread_out",
    "ssim",
    "ssim_matrix",
    "umap_embedding",
    "uniform_noise",
]
