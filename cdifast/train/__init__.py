"""Training loops."""

from .batch_norm import recalibrate_batch_norm
from .classify import TrainResult, train_classifier
from .config import TrainConfig
from .history import EpochRecord, metric_maxima
from .interrupt import TrainingInterrupted
from .labels import LabelRuleWarning, check_labels
from .losses import ClassificationLoss, LossTerms, conv_and_linear_kernels, kernel_penalty
from .order import Split, shuffled_split
from .progress import StepReport

__all__ = [
    "ClassificationLoss",
    "EpochRecord",
    "LabelRuleWarning",
    "LossTerms",
    "Split",
    "StepReport",
    "TrainConfig",
    "TrainResult",
    "TrainingInterrupted",
    "check_labels",
    "conv_and_linear_kernels",
    "kernel_penalty",
    "metric_maxima",
    "recalibrate_batch_norm",
    "shuffled_split",
    "train_classifier",
]
