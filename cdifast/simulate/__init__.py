"""Simulated diffraction images of single particles, labelled by what the particles are."""

from __future__ import annotations

from .curved import Harmonics, Superellipsoids
from .detector import SATURATION, FlatDetector, photon_counts
from .labelling import asymmetry, labels_for
from .multislice import far_field
from .noise import NoiseBounds, add_uniform_noise
from .optics import helium_index
from .particles import KINDS, PARAMETERS, classes_of, shape_of
from .polyhedra import Icosahedra
from .preset import Preset
from .response import Response
from .scene import expected_pattern
from .shapes import Pills, Shape, Spheroids, rotation
from .simulation import PRESETS, Shots, iter_shots, parameters, render, shots

__all__ = [
    "KINDS",
    "PARAMETERS",
    "PRESETS",
    "SATURATION",
    "FlatDetector",
    "Harmonics",
    "Icosahedra",
    "NoiseBounds",
    "Pills",
    "Preset",
    "Response",
    "Shape",
    "Shots",
    "Spheroids",
    "Superellipsoids",
    "add_uniform_noise",
    "asymmetry",
    "classes_of",
    "expected_pattern",
    "far_field",
    "helium_index",
    "iter_shots",
    "labels_for",
    "parameters",
    "photon_counts",
    "render",
    "rotation",
    "shape_of",
    "shots",
]
