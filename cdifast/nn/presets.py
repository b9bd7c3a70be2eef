"""Named sets of arguments for the networks: what a paper says, and what its public code does."""

from __future__ import annotations

from typing import Any, Final

PRESETS: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "p1": {
        "preact_resnet": {
            "width": 1,
            "first_activation": "log",
            "alpha": 0.2,
            "negative_slope": 0.2,
            "batch_norm_momentum": 0.997,
            "batch_norm_eps": 1e-5,
            "pool_padding": "both",
        },
        "vgg": {
            "width": 1,
            "first_activation": "leaky",
            "leaky_after_log": False,
            "negative_slope": 0.2,
            "bias": True,
            "dropout": 0.0,
            "initialization": "he",
        },
    },
    "p1-code": {
        "preact_resnet": {
            "width": 1,
            "first_activation": "log",
            "alpha": 0.2,
            "negative_slope": 0.2,
            "batch_norm_momentum": 0.997,
            "batch_norm_eps": 1e-5,
            "pool_padding": "tensorflow",
        },
        "vgg": {
            "width": 1,
            "first_activation": "log",
            "alpha": 0.2,
            "leaky_after_log": True,
            "negative_slope": 0.1,
            "bias": False,
            "dropout": 0.5,
            "initialization": "unit",
        },
    },
}
"""Arguments by preset and architecture; depth, classes and channels are left to the caller.

``p1`` is the paper. Where it is silent (batch normalisation, initial weights, padding of the first pooling), it takes
what the code does if that trains, otherwise what is usual. ``p1-code`` is the public code. They differ for the
pre-activation ResNet in the padding of the first pooling alone: P1 calls it "wide", but table 8 prints the channels of
the code, and its 8 and 36 blocks for 101 layers are those of 152.
"""


def preset_arguments(preset: str, architecture: str) -> dict[str, Any]:
    """Arguments of a preset for one architecture, a fresh dictionary to change and to hand to the constructor.

    Parameters
    ----------
    preset
        Key of `PRESETS`.
    architecture
        Key of `cdifast.nn.weights.ARCHITECTURES`.

    Returns
    -------
    dict
        Keyword arguments.

    Raises
    ------
    ValueError
        No such preset, or one without this architecture.

    Examples
    --------
    >>> network = vgg(16, 11, **preset_arguments("p1-code", "vgg") | {"width": 0.25})  # doctest: +SKIP
    """
    if preset not in PRESETS:
        raise ValueError(f"preset: found {preset!r}, expected one of {', '.join(PRESETS)}")
    if architecture not in PRESETS[preset]:
        raise ValueError(
            f"architecture: found {architecture!r}, preset {preset!r} has {', '.join(sorted(PRESETS[preset]))}"
        )
    return dict(PRESETS[preset][architecture])
