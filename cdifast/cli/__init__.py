"""The ``cdifast`` command: thin shells round the package's functions, one module for each or for a few."""

# In the order in which `cdifast --help` lists them.
from . import simulate, files, maps, darks, calibrate, hits  # isort: skip
from . import train, predict, label_next, explain, pretrain, embed, similar, few_shot, start  # isort: skip
from .app import app

__all__ = [
    "app",
    "calibrate",
    "darks",
    "embed",
    "explain",
    "few_shot",
    "files",
    "hits",
    "label_next",
    "maps",
    "predict",
    "pretrain",
    "similar",
    "simulate",
    "start",
    "train",
]
