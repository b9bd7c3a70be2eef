"""Training loops."""

from .average import WeightAverage
from .batch_norm import recalibrate_batch_norm
from .classify import TrainResult, train_classifier
from .config import TrainConfig
from .history import EpochRecord, metric_maxima, out_of_patience
from .interrupt import TrainingInterrupted
from .labels import BadLabels, LabelRuleWarning, check_labels
from .losses import ClassificationLoss, LossTerms, conv_and_linear_kernels, kernel_penalty, positive_weights
from .order import Split, shuffled_split
from .progress import StepReport
from .recipes import RECIPES

__all__ = [
    "RECIPES",
    "BadLabels",
    "ClassificationLoss",
    "EpochRecord",
    "LabelRuleWarning",
    "LossTerms",
    "Split",
    "StepReport",
    "TrainConfig",
    "TrainResult",
    "TrainingInterrupted",
    "WeightAverage",
    "check_labels",
    "conv_and_linear_kernels",
    "kernel_penalty",
    "metric_maxima",
    "out_of_patience",
    "positive_weights",
    "recalibrate_batch_norm",
    "shuffled_split",
    "train_classifier",
]
