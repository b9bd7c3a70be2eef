"""Simulated diffraction images of single particles, labelled by what the particles are."""

from __future__ import annotations

from .detector import SATURATION, FlatDetector, photon_counts
from .labelling import labels_for
from .multislice import far_field
from .particles import KINDS, PARAMETERS, shape_of
from .preset import Preset
from .shapes import Pills, Shape, Spheroids, rotation
from .simulation import PRESETS, Shots, iter_shots, shots

__all__ = [
    "KINDS",
    "PARAMETERS",
    "PRESETS",
    "SATURATION",
    "FlatDetector",
    "Pills",
    "Preset",
    "Shape",
    "Shots",
    "Spheroids",
    "far_field",
    "iter_shots",
    "labels_for",
    "photon_counts",
    "rotation",
    "shape_of",
    "shots",
]
