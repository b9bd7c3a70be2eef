"""Predictions, metrics and baselines."""

from .baselines import AllNegative, Baseline, Majority
from .classical import ProfileRegression, SpectralClusters, SupportVectorMachine
from .curves import RankingCurve, RankingCurves, ranking_curves
from .feature_baseline import ScoringBaseline
from .features import PatternFeatures
from .grad_cam import grad_cam_plus_plus
from .intervals import Interval, bootstrap, bootstrap_sums, paired_bootstrap
from .metrics import ClassificationMetrics, ClassMetrics, classification_metrics
from .predict import labels_from_probabilities, predict_logits, predict_probabilities
from .reliability_curves import Reliability, ReliabilityCurve, reliability
from .rules import RuleViolations, rule_violations
from .thresholds import choose_thresholds
from .uncertainty import label_uncertainty, most_uncertain, spread_out

__all__ = [
    "AllNegative",
    "Baseline",
    "ClassMetrics",
    "ClassificationMetrics",
    "Interval",
    "Majority",
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
    "grad_cam_plus_plus",
    "label_uncertainty",
    "labels_from_probabilities",
    "most_uncertain",
    "paired_bootstrap",
    "predict_logits",
    "predict_probabilities",
    "ranking_curves",
    "reliability",
    "rule_violations",
    "spread_out",
]
