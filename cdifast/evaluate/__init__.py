"""Predictions, metrics and baselines."""

from .baselines import AllNegative, Baseline, Majority
from .metrics import ClassificationMetrics, ClassMetrics, classification_metrics
from .predict import labels_from_probabilities, predict_logits, predict_probabilities
from .rules import RuleViolations, rule_violations
from .thresholds import choose_thresholds

__all__ = [
    "AllNegative",
    "Baseline",
    "ClassMetrics",
    "ClassificationMetrics",
    "Majority",
    "RuleViolations",
    "choose_thresholds",
    "classification_metrics",
    "labels_from_probabilities",
    "predict_logits",
    "predict_probabilities",
    "rule_violations",
]
