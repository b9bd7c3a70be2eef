"""What a preset is: an experiment's detector and the population of particles that it meets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .detector import FlatDetector


@dataclass(frozen=True)
class Preset:
    """An experiment to simulate.

    Attributes
    ----------
    name : str
        As users give it.
    detector : callable
        From the image size in pixels to the detector.
    draw : callable
        From a random generator to one record ``()`` of :data:`cdifast.simulate.PARAMETERS` (its ``index`` is
        set later).
    """

    name: str
    detector: Callable[[int], FlatDetector]
    draw: Callable[[np.random.Generator], NDArray[Any]]
