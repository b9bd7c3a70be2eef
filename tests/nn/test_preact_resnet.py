"""The network against hand-computed sizes and a plain functional version of it."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from cdifast.nn import preact_resnet


# Each number is summed by hand: 49 x 64 for the first convolution; a basic block of c channels behind c'
# has 2c' + 9c'c + 2c + 9c^2 and, as a stage's first, a projection of c'c; a bottleneck block of width c has
# 2c' + c'c + 2c + 9c^2 + 2c + 4c^2 and a projection of 4c'c; then the last normalisation and linear layer.
@pytest.mark.parametrize(
    ("depth", "parameters"), [(18, 11_178_187), (34, 21_286_347), (50, 23_516_619), (101, 42_508_747)]
)
def test_parameter_count(depth: int, parameters: int) -> None:
    with torch.device("meta"):
        model = preact_resnet(depth, 11)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_learnable_alpha_is_one_parameter_more() -> None:
    counts = [
        sum(parameter.numel() for parameter in preact_resnet(18, 11, width=0.125, learnable_alpha=flag).parameters())
        for flag in (False, True)
    ]
    assert counts[1] == counts[0] + 1


def plain_forward(weights: dict[str, torch.Tensor], x: torch.Tensor, depth: int, first: str) -> torch.Tensor:
    """The network of SCIENCE.md "Network" in evaluation mode, written out without modules."""

    def preact(x: torch.Tensor, name: str) -> torch.Tensor:
        shape = (1, -1, 1, 1)
        mean, variance = (weights[f"{name}.0.running_{part}"].reshape(shape) for part in ("mean", "var"))
        x = (x - mean) / torch.sqrt(variance + 1e-5)
        x = x * weights[f"{name}.0.weight"].reshape(shape) + weights[f"{name}.0.bias"].reshape(shape)
        return torch.where(x > 0, x, 0.2 * x)

    x = functional.conv2d(x, weights["conv1.weight"], stride=2, padding=3)
    if first == "log":
        x = 0.25 * x.sign() * (torch.log(x.abs() + 1 / math.e) + 1)
    elif first == "leaky":
        x = torch.where(x > 0, x, 0.2 * x)
    x = functional.max_pool2d(x, 3, 2, 1)
    for stage in range(4):
        for block in range({18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}[depth][stage]):
            name = f"stages.{stage}.{block}"
            stride = 2 if stage > 0 and block == 0 else 1
            activated = preact(x, f"{name}.preact1")
            shortcut = x
            if block == 0:
                shortcut = functional.conv2d(activated, weights[f"{name}.projection.weight"], stride=stride)
            if depth == 18:
                y = functional.conv2d(activated, weights[f"{name}.conv1.weight"], stride=stride, padding=1)
                y = functional.conv2d(preact(y, f"{name}.preact2"), weights[f"{name}.conv2.weight"], padding=1)
            else:
                y = functional.conv2d(activated, weights[f"{name}.conv1.weight"])
                y = preact(y, f"{name}.preact2")
                y = functional.conv2d(y, weights[f"{name}.conv2.weight"], stride=stride, padding=1)
                y = functional.conv2d(preact(y, f"{name}.preact3"), weights[f"{name}.conv3.weight"])
            x = y + shortcut
    features = preact(x, "final_preact").mean(dim=(2, 3))
    return features @ weights["classifier.weight"].T + weights["classifier.bias"]


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("first", ["log", "leaky", "none"])
def test_equals_the_plain_formula(depth: int, first: str) -> None:
    torch.manual_seed(0)
    model = preact_resnet(depth, 5, width=0.0625, first_activation=first, alpha=0.25).double()
    model.train()
    model(torch.randn(4, 1, 32, 32, dtype=torch.float64))  # statistics other than 0 and 1
    with torch.no_grad():  # scales and shifts other than 1 and 0
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.eval()
    x = torch.randn(3, 1, 37, 45, dtype=torch.float64)
    expected = plain_forward(model.state_dict(), x, depth, first)
    torch.testing.assert_close(model(x), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("size", [(32, 32), (33, 61), (7, 7), (1, 1)])
def test_any_image_size_and_feature_shapes(size: tuple[int, int]) -> None:
    model = preact_resnet(18, 11, in_channels=2, width=0.125).eval()
    x = torch.randn(3, 2, *size)
    assert model.features(x).shape == (3, model.num_features) == (3, 64)
    assert model(x).shape == (3, 11)
    torch.testing.assert_close(model.classifier(model.features(x)), model(x))


@pytest.mark.parametrize(("size", "before", "after"), [((112, 112), 0, 1), ((15, 15), 1, 1), ((7, 1), 1, 1)])
def test_first_pooling_pads_where_tensorflow_does(size: tuple[int, int], before: int, after: int) -> None:
    """TensorFlow's "SAME": max((ceil(n / 2) - 1) 2 + 3 - n, 0) pixels in all, the odd one at the end."""
    pool = preact_resnet(18, 11, width=0.125, pool_padding="tensorflow").pool
    x = torch.randn(2, 3, *size)
    padded = functional.pad(x, (before, after, before, after), value=-math.inf)
    assert torch.equal(pool(x), padded.unfold(2, 3, 2).unfold(3, 3, 2).amax(dim=(4, 5)))
    assert pool(x).shape[2:] == tuple(math.ceil(side / 2) for side in size)


def test_initial_weights_are_truncated_normal_of_unit_gain() -> None:
    torch.manual_seed(1)
    weight = preact_resnet(18, 11).stages[3][1].conv2.weight  # 2.4 million values, fan-in 4608
    scaled = weight.detach().double() * math.sqrt(4608)
    assert abs(scaled.mean()) < 0.005
    assert scaled.var() == pytest.approx(1, abs=0.005)
    # Cut at two standard deviations of the uncut distribution, which is 1 / 0.8796 wide.
    assert scaled.abs().max() <= 2 / 0.8796 + 1e-3
    assert scaled.abs().max() > 2 / 0.8796 - 1e-3


def test_batch_norm_momentum_is_in_tensorflows_sense() -> None:
    model = preact_resnet(18, 11, width=0.125)
    norm = model.final_preact[0]
    old = norm.running_mean.clone()
    batches = []
    hook = norm.register_forward_hook(lambda module, args, output: batches.append(args[0].mean(dim=(0, 2, 3))))
    model(torch.randn(4, 1, 32, 32))
    hook.remove()
    torch.testing.assert_close(norm.running_mean, 0.997 * old + 0.003 * batches[0])
    assert norm.eps == 1e-5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 20}, "depth: found 20, expected one of 18, 34, 50, 101"),
        ({"num_classes": 0}, "num_classes: found 0"),
        ({"in_channels": 0}, "in_channels: found 0"),
        ({"width": -1.0}, "width: found -1.0"),
        ({"first_activation": "relu"}, "first_activation: found 'relu'"),
        ({"batch_norm_momentum": 1.0}, "batch_norm_momentum: found 1.0"),
        ({"pool_padding": "same"}, "pool_padding: found 'same'"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        preact_resnet(**{"depth": 18, "num_classes": 11, **arguments})


def test_bad_images() -> None:
    model = preact_resnet(18, 11, width=0.125)
    with pytest.raises(ValueError, match=r"found shape \(2, 32, 32\), expected \(N, 1, H, W\); add"):
        model(torch.zeros(2, 32, 32))
    with pytest.raises(ValueError, match=r"found 3 channels .* takes 1"):
        model(torch.zeros(2, 3, 32, 32))
    with pytest.raises(TypeError, match=r"found dtype torch.uint8"):
        model(torch.zeros(2, 1, 32, 32, dtype=torch.uint8))


def test_traces_without_graph_breaks() -> None:
    model = preact_resnet(18, 11, width=0.125).eval()
    x = torch.randn(2, 1, 32, 32)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), model(x))
