"""Layers and networks for diffraction images."""

from .correlation import CorrelationMap, scale_triangles
from .log_activation import LogActivation
from .polar import PolarResample

__all__ = ["CorrelationMap", "LogActivation", "PolarResample", "scale_triangles"]
