"""Networks and layers."""

from .log_activation import LogActivation
from .preact_resnet import PreActResNet, preact_resnet
from .weights import ModelCard, load_classifier, load_weights, read_card, save_weights

__all__ = [
    "LogActivation",
    "ModelCard",
    "PreActResNet",
    "load_classifier",
    "load_weights",
    "preact_resnet",
    "read_card",
    "save_weights",
]
