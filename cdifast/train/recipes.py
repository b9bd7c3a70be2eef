"""Training recipes by name: what each changes of `TrainConfig`'s defaults, which are the paper's."""

from __future__ import annotations

import inspect
from typing import Any, Final

from cdifast.data.augment import Augmentation
from cdifast.nn.presets import preset_arguments
from cdifast.nn.weights import ARCHITECTURES

NETWORK_FIELDS: Final = ("width", "first_activation", "alpha", "learnable_alpha", "batch_norm_momentum")
"""Entries of the configuration that are arguments of the networks, beside the depth."""

DEPTHS: Final = {"preact_resnet": 18, "vgg": 16}
"""The depth of a recipe where none is asked for."""

_NETWORK_PRESET: Final = {"p1": "p1", "p1-code": "p1-code", "fast": "p1"}

RECIPES: Final[dict[str, dict[str, Any]]] = {
    "p1": {},
    "p1-code": {
        "penalty": "p1-code",
        # The code draws brightness and contrast nowhere; its flips are P1's.
        "augmentation": Augmentation(brightness=0, contrast=0),
    },
    # P1's optimizer and penalty, which did better than AdamW and than a class-balanced loss in trials on 1500 simulated
    # shots: what makes it fast is one cycle of the learning rate, smaller batches, averaged weights, and few
    # validations. A particle lies as it happens to lie: turned images are as good as new ones, and with flips alone
    # so short a run stayed behind P1's.
    "fast": {
        "epochs": 50,
        "batch_size": 32,
        "schedule": "one-cycle",
        "warmup_epochs": 10,
        "augmentation": Augmentation(rotation=180),
        "validate_every": 5,
        "mixed_precision": "auto",
        "channels_last": True,
        "ema": 0.998,
    },
}


def classifiers() -> dict[str, dict[str, inspect.Parameter]]:
    """Architectures that classify, by name, with the parameters of their constructors."""
    found = {}
    for name, constructor in ARCHITECTURES.items():
        parameters = dict(inspect.signature(constructor).parameters)
        if {"depth", "num_classes", "in_channels"} <= parameters.keys():
            found[name] = parameters
    return found


def recipe_entries(name: str, architecture: str) -> dict[str, Any]:
    """Entries of `TrainConfig` that make a recipe with an architecture.

    Parameters
    ----------
    name
        Key of `RECIPES`.
    architecture
        One of `classifiers`.

    Raises
    ------
    ValueError
        No such recipe or architecture.
    """
    if name not in RECIPES:
        raise ValueError(f"recipe: found {name!r}, expected one of {', '.join(RECIPES)}")
    known = classifiers()
    if architecture not in known:
        raise ValueError(f"architecture: found {architecture!r}, expected one of {', '.join(known)}")
    entries: dict[str, Any] = {"architecture": architecture, "depth": DEPTHS.get(architecture, 18)}
    arguments = {}
    try:
        preset = preset_arguments(_NETWORK_PRESET[name], architecture)
    except ValueError:  # an architecture that P1 does not have: its own defaults
        preset = {}
    for key, value in preset.items():
        if key in NETWORK_FIELDS:
            entries[key] = value
        elif value != known[architecture][key].default:
            arguments[key] = value
    return entries | {"arguments": arguments} | RECIPES[name]
