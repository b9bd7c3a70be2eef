"""VGG against hand-computed sizes, a plain functional version of it, and training."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn import functional

from cdifast.nn import preset_arguments, vgg

# P1, table 7, by hand. Weights of the 3 x 3 convolutions: 9 x (in x out), stage by stage.
EARLY = 9 * (1 * 64 + 64 * 64) + 9 * (64 * 128 + 128 * 128)
D = EARLY + 9 * (128 * 256 + 2 * 256 * 256) + 9 * (256 * 512 + 2 * 512 * 512) + 9 * (3 * 512 * 512)
E = EARLY + 9 * (128 * 256 + 3 * 256 * 256) + 9 * (256 * 512 + 3 * 512 * 512) + 9 * (4 * 512 * 512)
HEAD = 7 * 7 * 512 * 4096 + 4096 * 4096 + 4096 * 11
D_BIASES = 2 * 64 + 2 * 128 + 3 * 256 + 6 * 512 + 2 * 4096 + 11
E_BIASES = 2 * 64 + 2 * 128 + 4 * 256 + 8 * 512 + 2 * 4096 + 11


@pytest.mark.parametrize(
    ("depth", "preset", "parameters"),
    [
        (16, "p1", D + HEAD + D_BIASES),
        (19, "p1", E + HEAD + E_BIASES),
        (16, "p1-code", D + HEAD),
        (19, "p1-code", E + HEAD),
    ],
)
@pytest.mark.parametrize("first", ["leaky", "log"])
def test_parameter_count(depth: int, preset: str, parameters: int, first: str) -> None:
    with torch.device("meta"):
        model = vgg(depth, 11, **preset_arguments(preset, "vgg") | {"first_activation": first})
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert model.num_features == 4096


def plain_forward(
    kernels: list[torch.Tensor],
    biases: list[torch.Tensor | None],
    x: torch.Tensor,
    counts: tuple[int, ...],
    arguments: dict[str, Any],
) -> torch.Tensor:
    """P1's table 7, written out without modules; the mean over the map comes last, as the table has it."""
    slope = arguments["negative_slope"]
    layers = iter(zip(kernels, biases, strict=True))

    def conv(x: torch.Tensor) -> torch.Tensor:
        kernel, bias = next(layers)
        return functional.conv2d(x, kernel, bias, padding=kernel.shape[-1] // 2)

    for stage, count in enumerate(counts):
        for index in range(count):
            x = conv(x)
            log = stage == index == 0 and arguments["first_activation"] == "log"
            if log:
                x = arguments["alpha"] * x.sign() * (torch.log(x.abs() + 1 / math.e) + 1)
            plain = stage == index == 0 and arguments["first_activation"] == "none"
            if not plain and (not log or arguments["leaky_after_log"]):
                x = torch.where(x > 0, x, slope * x)
        height, width = x.shape[2] // 2, x.shape[3] // 2
        x = x[..., : 2 * height, : 2 * width].unflatten(3, (width, 2)).unflatten(2, (height, 2)).amax(dim=(3, 5))
    for _ in range(2):
        x = conv(x)
        x = torch.where(x > 0, x, slope * x)
    return conv(x).mean(dim=(2, 3))


@pytest.mark.parametrize(("depth", "counts"), [(16, (2, 2, 3, 3, 3)), (19, (2, 2, 4, 4, 4))])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"first_activation": "log", "alpha": 0.3},
        {"first_activation": "none"},
        preset_arguments("p1-code", "vgg"),
    ],
)
@pytest.mark.parametrize("size", [(64, 64), (75, 33)])
def test_equals_the_plain_formula(
    depth: int, counts: tuple[int, ...], changes: dict[str, Any], size: tuple[int, int]
) -> None:
    arguments = {"first_activation": "leaky", "negative_slope": 0.2, "leaky_after_log": False, **changes}
    model = vgg(depth, 5, **{**changes, "width": 0.03}).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    weights = list(model.state_dict().items())
    kernels = [tensor if tensor.dim() == 4 else tensor[..., None, None] for _, tensor in weights if tensor.dim() > 1]
    biases: list[torch.Tensor | None] = [tensor for _, tensor in weights if tensor.dim() == 1]
    x = torch.randn(2, 1, *size, dtype=torch.float64)
    expected = plain_forward(kernels, biases or [None] * len(kernels), x, counts, arguments)
    torch.testing.assert_close(model(x), expected, rtol=1e-9, atol=1e-12)
    assert model.features(x).shape == (2, model.num_features)


def test_last_stage_keeps_its_resolution_for_grad_cam() -> None:
    model = vgg(16, 3, width=0.03)
    shapes = []
    model.stages[-1].register_forward_hook(lambda module, args, output: shapes.append(output.shape[2:]))
    model(torch.randn(1, 1, 224, 224))
    assert shapes == [(14, 14)]


@pytest.mark.parametrize("first", ["leaky", "log"])
def test_he_weights_keep_the_signal_and_unit_ones_lose_it(first: str) -> None:
    """Root mean square of the features over that of the input, 15 LeakyReLUs later."""
    x = torch.randn(2, 1, 64, 64)
    sizes = {}
    for initialization in ("he", "unit"):
        model = vgg(16, 11, width=0.25, first_activation=first, initialization=initialization, leaky_after_log=True)
        with torch.no_grad():
            y = model.stages[0](x)
            size = y.square().mean().sqrt()
            for stage in model.stages[1:]:
                y = stage(y)  # without poolings, which raise the size, and without the head, whose border is padding
            sizes[initialization] = float(y.square().mean().sqrt() / size)
    # Zeros at the border of each map take a little; exact would be 1 and ((1 + 0.2²) / 2) ** (11 / 2) = 0.027.
    assert 0.5 < sizes["he"] < 1.5
    assert 0.015 < sizes["unit"] < 0.04


def test_dropout_works_in_training_only() -> None:
    model = vgg(16, 11, width=0.03, dropout=0.5)
    x = torch.randn(2, 1, 32, 32)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


def test_trains_from_its_initial_weights() -> None:
    """Rings or stripes: a toy task that the network must learn within seconds, without normalisation."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 32), indexing="ij")
    phases = 6.28 * torch.rand(32, 1, 1)
    waves = torch.cat([torch.sin(20 * torch.hypot(x, y) + phases), torch.sin(20 * x + phases)])
    images, labels = 5 * (1 + waves[:, None]), torch.eye(2).repeat_interleave(32, 0)
    model = vgg(16, 2, width=0.0625)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, nesterov=True)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = functional.binary_cross_entropy_with_logits(model(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 < losses[0], losses


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 18}, "depth: found 18, expected one of 16, 19"),
        ({"num_classes": 0}, "num_classes: found 0"),
        ({"in_channels": 0}, "in_channels: found 0"),
        ({"width": float("nan")}, "width: found nan"),
        ({"first_activation": "relu"}, "first_activation: found 'relu'"),
        ({"dropout": 1.0}, "dropout: found 1.0"),
        ({"initialization": "glorot"}, "initialization: found 'glorot'"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        vgg(**{"depth": 16, "num_classes": 11, "width": 0.03, **arguments})


def test_bad_images() -> None:
    model = vgg(16, 11, width=0.03)
    with pytest.raises(ValueError, match=r"found 31 x 40 pixels, expected at least 32 along each side"):
        model(torch.zeros(2, 1, 31, 40))
    with pytest.raises(ValueError, match=r"found 3 channels .* takes 1"):
        model(torch.zeros(2, 3, 32, 32))
    with pytest.raises(TypeError, match=r"found dtype torch.uint8"):
        model(torch.zeros(2, 1, 32, 32, dtype=torch.uint8))


def test_traces_without_graph_breaks() -> None:
    model = vgg(16, 11, width=0.03, first_activation="log").eval()
    x = torch.randn(2, 1, 32, 32)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), model(x))
