"""Layers and networks for diffraction images."""

from .angular import AngularCorrelation
from .cartesian import CartesianResample
from .correlation import CorrelationMap, scale_triangles
from .fused import PolarCorrelationMap
from .harmonics import AngularHarmonics
from .log_activation import LogActivation
from .polar import PolarResample
from .preact_resnet import PreActResNet, preact_resnet
from .presets import PRESETS, preset_arguments
from .vgg import VGG, vgg
from .weights import ModelCard, load_classifier, load_weights, read_card, save_weights

__all__ = [
    "PRESETS",
    "VGG",
    "AngularCorrelation",
    "AngularHarmonics",
    "CartesianResample",
    "CorrelationMap",
    "LogActivation",
    "ModelCard",
    "PolarCorrelationMap",
    "PolarResample",
    "PreActResNet",
    "load_classifier",
    "load_weights",
    "preact_resnet",
    "preset_arguments",
    "read_card",
    "save_weights",
    "scale_triangles",
    "vgg",
]
