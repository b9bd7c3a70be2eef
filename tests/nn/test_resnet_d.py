"""The encoder against sizes counted by hand and a plain functional version of it; gates against their formulas."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from cdifast.nn import resnet_d
from cdifast.nn.attention import SelectiveKernels, SqueezeExcitation

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


def by_hand(depth: int, width: float, ratio: float | None, kernels: bool = False, log: bool = False) -> int:
    """Parameters of the network of SCIENCE.md "Contrastive projection learning", summed from its table of layers."""
    c = [round(64 * width * 2**stage) for stage in range(4)]
    half = round(32 * width)
    total = 9 * half + (0 if log else 2 * half)  # 3 x 3 / 2 from one channel; the log activation has no normalisation
    total += 9 * half * half + 2 * half + 9 * half * c[0] + 2 * c[0]
    before = c[0]
    for stage in range(4):
        for block in range(BLOCKS[depth][stage]):
            w = c[stage]
            out = w if depth < 50 else 4 * w
            if depth < 50:
                total += 9 * before * w + 2 * w + 9 * w * w + 2 * w
            else:
                total += before * w + 2 * w + w * out + 2 * out
                if kernels:
                    between = max(32, int(w / 16))
                    total += 2 * (9 * w * w + 2 * w) + w * between + 2 * between + between * 2 * w
                else:
                    total += 9 * w * w + 2 * w
            if ratio is not None:
                squeezed = int(w * ratio)
                total += out * squeezed + squeezed + squeezed * out + out
            if block == 0:
                total += before * out + 2 * out
            before = out
    return total


@pytest.mark.parametrize(
    ("depth", "width", "ratio", "kernels", "log", "expected"),
    [
        # ResNet18 has 11,689,512 with its 1000 classes and colour stem: minus 513,000 and 9,536 (7 x 7 stem, 3
        # channels, with its normalisation), plus 28,192 for this stem and 4,224 for the first stage's projection.
        (18, 1, None, False, False, 11_689_512 - 513_000 - 9_536 + 28_192 + 4_224),
        (18, 1, 0.25, False, False, None),
        (34, 1, 0.25, False, False, None),
        (50, 1, None, False, False, None),
        (101, 1, 0.25, False, False, None),
        (50, 2, 0.25, True, False, None),
        (18, 2, 0.25, False, False, None),
        (18, 0.375, 0.25, False, True, None),
    ],
)
def test_parameter_count(
    depth: int, width: float, ratio: float | None, kernels: bool, log: bool, expected: int | None
) -> None:
    with torch.device("meta"):
        model = resnet_d(
            depth,
            width=width,
            squeeze_excitation=ratio,
            selective_kernels=kernels,
            first_activation="log" if log else "relu",
        )
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == by_hand(depth, width, ratio, kernels, log)
    if expected is not None:
        assert count == expected
    assert model.num_features == round(512 * width) * (1 if depth < 50 else 4)


def plain_features(model: nn.Module, x: torch.Tensor, depth: int, first: str, kernels: bool) -> torch.Tensor:
    """The encoder in evaluation mode, written out from its weights without modules."""
    weights: dict[str, Any] = dict(model.state_dict())

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        shape = (1, -1, 1, 1)
        mean, variance, scale, offset = (
            weights[f"{name}.{part}"].reshape(shape) for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(variance + 1e-5) * scale + offset

    def conv(x: torch.Tensor, name: str, stride: int = 1) -> torch.Tensor:
        weight = weights[f"{name}.weight"]
        return functional.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    def dense(x: torch.Tensor, name: str) -> torch.Tensor:
        weight = weights[f"{name}.weight"][:, :, 0, 0]
        y = x @ weight.T
        return y + weights[f"{name}.bias"] if f"{name}.bias" in weights else y

    relu = functional.relu
    x = conv(x, "stem.0", 2)
    shift = 0
    if first == "log":
        x = 0.25 * x.sign() * (torch.log(x.abs() + 1 / math.e) + 1)
    else:
        x, shift = relu(norm(x, "stem.1")), 1
    x = relu(norm(conv(x, f"stem.{2 + shift}"), f"stem.{3 + shift}"))
    x = relu(norm(conv(x, f"stem.{5 + shift}"), f"stem.{6 + shift}"))
    x = functional.max_pool2d(x, 3, 2, 1)
    for stage in range(4):
        for block in range(BLOCKS[depth][stage]):
            name = f"stages.{stage}.{block}"
            stride = 2 if stage > 0 and block == 0 else 1
            shortcut = x
            if block == 0:
                pooled = functional.avg_pool2d(x, 2) if stride == 2 else x
                place = 1 if stride == 2 else 0
                shortcut = norm(conv(pooled, f"{name}.shortcut.{place}"), f"{name}.shortcut.{place + 1}")
            if depth < 50:
                y = relu(norm(conv(x, f"{name}.conv1", stride), f"{name}.norm1"))
                y = norm(conv(y, f"{name}.conv2"), f"{name}.norm2")
            else:
                y = relu(norm(conv(x, f"{name}.conv1"), f"{name}.norm1"))
                if kernels:
                    a, b = (
                        relu(norm(conv(y, f"{name}.conv2.branches.{i}.0", stride), f"{name}.conv2.branches.{i}.1"))
                        for i in (0, 1)
                    )
                    z = dense((a + b).mean(dim=(2, 3)), f"{name}.conv2.reduce.0")
                    z = relu(norm(z[:, :, None, None], f"{name}.conv2.reduce.1"))[:, :, 0, 0]
                    mix = dense(z, f"{name}.conv2.choose").reshape(len(x), 2, -1).softmax(dim=1)[..., None, None]
                    y = mix[:, 0] * a + mix[:, 1] * b
                else:
                    y = relu(norm(conv(y, f"{name}.conv2.0", stride), f"{name}.conv2.1"))
                y = norm(conv(y, f"{name}.conv3"), f"{name}.norm3")
            gate = dense(relu(dense(y.mean(dim=(2, 3)), f"{name}.gate.squeeze")), f"{name}.gate.excite")
            x = relu(torch.sigmoid(gate)[:, :, None, None] * y + shortcut)
    return x.mean(dim=(2, 3))


@pytest.mark.parametrize(("depth", "first", "kernels"), [(18, "relu", False), (18, "log", False), (50, "relu", True)])
def test_equals_the_plain_formula(depth: int, first: str, kernels: bool) -> None:
    model = resnet_d(depth, width=0.125, selective_kernels=kernels, first_activation=first, alpha=0.25).double()
    model(torch.randn(4, 1, 32, 32, dtype=torch.float64))  # statistics other than 0 and 1
    with torch.no_grad():  # scales other than 1, and 0 at the branches' ends; shifts other than 0
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.rand_like(parameter))
    model.eval()
    x = torch.randn(3, 1, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        found, expected = model.features(x), plain_features(model, x, depth, first, kernels)
    assert torch.allclose(found, expected, rtol=1e-10, atol=1e-12)
    assert torch.equal(model(x), found)


def test_every_block_starts_as_its_shortcut() -> None:
    model = resnet_d(50, width=0.125, selective_kernels=True).eval()
    x = torch.rand(2, 32, 8, 8)
    with torch.no_grad():
        second = model.stages[0][1]
        assert torch.equal(second(x), x)
        first = model.stages[1][0]
        assert torch.equal(first(x), first.shortcut(x).relu())
    assert not torch.equal(first.shortcut(x), torch.zeros_like(first.shortcut(x)))


def test_the_shortcut_of_a_stride_sees_every_pixel() -> None:
    block = resnet_d(18, width=0.125).stages[1][0]
    for size in (8, 7):
        x = torch.zeros(1, 8, size, size, requires_grad=True)
        block.shortcut[1](block.shortcut[0](x)).sum().backward()
        assert x.grad is not None
        assert (x.grad != 0).all()


def test_squeeze_excitation_is_its_formula() -> None:
    gate = SqueezeExcitation(6, 2).double()
    x = torch.randn(3, 6, 4, 5, dtype=torch.float64)
    w1, b1, w2, b2 = (p.detach() for p in gate.parameters())
    for image, found in zip(x, gate(x), strict=True):
        hidden = torch.clamp(w1[:, :, 0, 0] @ image.mean(dim=(1, 2)) + b1, min=0)
        scale = 1 / (1 + torch.exp(-(w2[:, :, 0, 0] @ hidden + b2)))
        assert torch.allclose(found, image * scale[:, None, None], rtol=1e-12)


def test_selective_kernels_of_li_et_al_see_five_pixels() -> None:
    layer = SelectiveKernels(2, 1, ratio=0.0625, dilation=2, norm={"momentum": 0.1, "eps": 1e-5}).eval()
    x = torch.zeros(1, 2, 9, 9)
    x[0, :, 4, 4] = 1
    with torch.no_grad():
        reach = [(branch[0](x) != 0)[0].any(dim=0) for branch in layer.branches]
    assert reach[0].nonzero().min() == 3
    assert reach[1].nonzero().min() == 2
    assert int(reach[1].sum()) == 9


def test_initial_variance_is_one_over_fan_in() -> None:
    weight = resnet_d(18, width=1).stages[3][1].conv2.weight.detach()
    assert weight.var().item() == pytest.approx(1 / (9 * 512), rel=5e-3)
    assert weight.abs().max() <= 2.3 / math.sqrt(9 * 512)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="depth: found 20, expected one of 18, 34, 50, 101"):
        resnet_d(20)
    with pytest.raises(ValueError, match="selective_kernels: found True at depth 18"):
        resnet_d(18, selective_kernels=True)
    with pytest.raises(ValueError, match="first_activation: found 'tanh'"):
        resnet_d(18, first_activation="tanh")
    with pytest.raises(ValueError, match="squeeze_excitation: found 0"):
        resnet_d(18, squeeze_excitation=0)
    with pytest.raises(ValueError, match="selective_ratio: found 0"):
        resnet_d(50, selective_kernels=True, selective_ratio=0, width=0.125)
    model = resnet_d(18, width=0.125)
    with pytest.raises(ValueError, match="found 3 channels"):
        model(torch.zeros(1, 3, 32, 32))
    with pytest.raises(TypeError, match="int64"):
        model(torch.zeros(1, 1, 32, 32, dtype=torch.int64))
