"""Predictions, metrics and baselines."""

from .baselines import AllNegative, Baseline, Majority
from .grad_cam import grad_cam_plus_plus
from .metrics import ClassificationMetrics, ClassMetrics, classification_metrics
from .predict import labels_from_probabilities, predict_logits, predict_probabilities
from .rules import RuleViolations, rule_violations

__all__ = [
    "AllNegative",
    "Baseline",
    "ClassMetrics",
    "ClassificationMetrics",
    "Majority",
    "RuleViolations",
    "classification_metrics",
    "grad_cam_plus_plus",
    "labels_from_probabilities",
    "predict_logits",
    "predict_probabilities",
    "rule_violations",
]
