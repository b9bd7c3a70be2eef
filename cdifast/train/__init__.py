"""Training loops."""

from .average import WeightAverage
from .batch_norm import recalibrate_batch_norm
from .classify import TrainResult, train_classifier
from .collapse import CollapseMonitors, collapse_monitors
from .config import TrainConfig
from .contrast import ContrastResult, train_contrastive
from .contrast_config import CONTRAST_RECIPES, ContrastConfig
from .history import ContrastRecord, EpochRecord, metric_maxima, out_of_patience
from .interrupt import TrainingInterrupted
from .labels import BadLabels, LabelRuleWarning, check_labels
from .lars import LARS
from .losses import ClassificationLoss, LossTerms, conv_and_linear_kernels, kernel_penalty, positive_weights
from .nt_xent import nt_xent
from .order import Split, shuffled_split
from .progress import StepReport
from .recipes import RECIPES
from .vicreg import vicreg

__all__ = [
    "CONTRAST_RECIPES",
    "LARS",
    "RECIPES",
    "BadLabels",
    "ClassificationLoss",
    "CollapseMonitors",
    "ContrastConfig",
    "ContrastRecord",
    "ContrastResult",
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
    "collapse_monitors",
    "conv_and_linear_kernels",
    "kernel_penalty",
    "metric_maxima",
    "nt_xent",
    "out_of_patience",
    "positive_weights",
    "recalibrate_batch_norm",
    "shuffled_split",
    "train_classifier",
    "train_contrastive",
    "vicreg",
]
