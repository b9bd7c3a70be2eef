"""The ``cdifast`` command: thin shells round the package's functions, one module for each or for a few."""

# In the order in which `cdifast --help` lists them.
from . import simulate, files, maps, darks, calibrate, hits  # isort: skip
from . import train, predict, label_next, explain, start  # isort: skip
from .app import app

__all__ = [
    "app",
    "calibrate",
    "darks",
    "explain",
    "files",
    "hits",
    "label_next",
    "maps",
    "predict",
    "simulate",
    "start",
    "train",
]
