"""Presets: each can be built, and paper and code differ where they should."""

from __future__ import annotations

import inspect

import pytest
import torch

from cdifast.nn import PRESETS, preset_arguments
from cdifast.nn.weights import ARCHITECTURES


@pytest.mark.parametrize("preset", ["p1", "p1-code"])
@pytest.mark.parametrize(("architecture", "depths"), [("preact_resnet", (18, 50, 101)), ("vgg", (16, 19))])
def test_every_depth_of_p1_can_be_built(preset: str, architecture: str, depths: tuple[int, ...]) -> None:
    arguments = preset_arguments(preset, architecture)
    for depth in depths:
        with torch.device("meta"):
            model = ARCHITECTURES[architecture](depth, 11, **arguments)
        assert arguments.items() <= model.arguments.items()


@pytest.mark.parametrize("architecture", ["preact_resnet", "vgg"])
def test_constructors_default_to_the_paper(architecture: str) -> None:
    parameters = inspect.signature(ARCHITECTURES[architecture]).parameters
    for name, value in preset_arguments("p1", architecture).items():
        assert parameters[name].default == value, name


def test_paper_and_code_differ_where_they_should() -> None:
    differing = {
        architecture: {
            name
            for name in PRESETS["p1-code"][architecture]
            if PRESETS["p1"][architecture].get(name, 0.2) != PRESETS["p1-code"][architecture][name]
        }
        for architecture in ("preact_resnet", "vgg")
    }
    assert differing == {
        "preact_resnet": {"pool_padding"},
        "vgg": {"first_activation", "leaky_after_log", "negative_slope", "bias", "dropout", "initialization"},
    }


def test_presets_are_copies_and_unknown_ones_are_refused() -> None:
    preset_arguments("p1", "vgg")["width"] = 7
    assert preset_arguments("p1", "vgg")["width"] == 1
    with pytest.raises(ValueError, match=r"preset: found 'p3', expected one of p1, p1-code"):
        preset_arguments("p3", "vgg")
    with pytest.raises(ValueError, match=r"architecture: found 'alexnet', preset 'p1' has preact_resnet, vgg"):
        preset_arguments("p1", "alexnet")
