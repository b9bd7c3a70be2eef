"""Layers and networks for diffraction images."""

from .angular import AngularCorrelation
from .cartesian import CartesianResample
from .contrastive import CONTRASTIVE_PRESETS, ContrastiveModel, contrastive_model, contrastive_preset
from .correlation import CorrelationMap, scale_triangles
from .encoders import Encoder, load_encoder, package_weights
from .fused import PolarCorrelationMap
from .harmonics import AngularHarmonics
from .heads import ProjectionHead
from .log_activation import LogActivation
from .polar import PolarResample
from .preact_resnet import PreActResNet, preact_resnet
from .presets import PRESETS, preset_arguments
from .resnet_d import ResNetD, resnet_d
from .vgg import VGG, vgg
from .weights import ModelCard, load_classifier, load_weights, read_card, save_weights

__all__ = [
    "CONTRASTIVE_PRESETS",
    "PRESETS",
    "VGG",
    "AngularCorrelation",
    "AngularHarmonics",
    "CartesianResample",
    "ContrastiveModel",
    "CorrelationMap",
    "Encoder",
    "LogActivation",
    "ModelCard",
    "PolarCorrelationMap",
    "PolarResample",
    "PreActResNet",
    "ProjectionHead",
    "ResNetD",
    "contrastive_model",
    "contrastive_preset",
    "load_classifier",
    "load_encoder",
    "load_weights",
    "package_weights",
    "preact_resnet",
    "preset_arguments",
    "read_card",
    "resnet_d",
    "save_weights",
    "scale_triangles",
    "vgg",
]
