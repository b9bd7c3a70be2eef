"""What a preset is: an experiment's detector and the population of particles that it meets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .detector import FlatDetector
from .response import Response


@dataclass(frozen=True)
class Preset:
    """An experiment to simulate.

    Attributes
    ----------
    name : str
        As users give it.
    classes : tuple of str
        What the columns of the labels mean, 16 at most.
    detector : callable
        From the image size in pixels to the detector.
    response : Response
        How it records photons.
    draw : callable
        From a random generator to one record ``()`` of :data:`cdifast.simulate.PARAMETERS`, its ``classes`` set (its
        ``index`` is set later).
    """

    name: str
    classes: tuple[str, ...]
    detector: Callable[[int], FlatDetector]
    response: Response
    draw: Callable[[np.random.Generator], NDArray[Any]]
