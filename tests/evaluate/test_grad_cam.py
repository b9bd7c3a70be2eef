"""Grad-CAM++ against a closed form, derivatives taken one by one in float64, and the `grad-cam` package."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import ModuleType

import pytest
import torch
from torch import nn
from torch.nn import functional

from cdifast.evaluate import grad_cam_plus_plus
from cdifast.nn import preact_resnet, vgg


class Linear(nn.Module):
    """Feature maps, their mean, and a linear layer: every step of Grad-CAM++ can be done on paper."""

    def __init__(self, rectify: bool = False) -> None:
        super().__init__()
        self.stages = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU() if rectify else nn.Identity())
        self.classifier = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for stage in self.stages:
            x = stage(x)
        return self.classifier(x.mean(dim=(2, 3)))


def tail(model: nn.Module, maps: torch.Tensor) -> torch.Tensor:
    """Logits from the last stage's maps."""
    if model.architecture == "vgg":
        return model.classifier(model.head(model.pool(maps)).mean(dim=(2, 3)))
    return model.classifier(model.final_preact(maps).mean(dim=(2, 3)))


def last_maps(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    seen = []
    handle = model.stages[-1].register_forward_hook(lambda module, args, output: seen.append(output.detach().clone()))
    model(images)
    handle.remove()
    return seen[0]


def one_by_one(score: Callable[[torch.Tensor], torch.Tensor], maps: torch.Tensor, slope: float) -> torch.Tensor:
    """P1's appendix D for one image, maps (K, h, w): each element's three derivatives by autograd, in loops."""
    channels, height, width = maps.shape

    def leaky(value: float) -> float:
        return value if value > 0 else slope * value

    weights = []
    for k in range(channels):
        weight = 0.0
        for i in range(height):
            for j in range(width):
                element = maps[k, i, j].clone().requires_grad_()
                full = maps.clone()
                full[k, i, j] = element
                value, derivatives = score(full), []
                for _ in range(3):
                    (value,) = torch.autograd.grad(value, element, create_graph=True)
                    derivatives.append(value.item())
                first, second, third = derivatives
                denominator = 2 * second + maps[k].sum().item() * third
                if second:
                    weight += second / denominator * leaky(first)
        weights.append(weight)
    heat = torch.zeros(height, width, dtype=torch.float64)
    for i in range(height):
        for j in range(width):
            heat[i, j] = leaky(sum(weights[k] * maps[k, i, j].item() for k in range(channels)))
    return heat


def networks() -> list[nn.Module]:
    torch.manual_seed(3)
    residual = preact_resnet(18, 3, width=0.015).double()
    residual.train()
    residual(torch.randn(8, 1, 64, 64, dtype=torch.float64))  # statistics other than 0 and 1
    return [residual.eval(), vgg(16, 3, width=0.01).double().eval()]


@pytest.mark.parametrize("network", [0, 1], ids=["preact_resnet", "vgg"])
@pytest.mark.parametrize("slope", [0.2, 0.0])
@pytest.mark.parametrize("score", ["exponential", "probability"])
def test_equals_the_formula_with_every_derivative_taken_alone(network: int, slope: float, score: str) -> None:
    model = networks()[network]
    with torch.no_grad():
        model.classifier.weight.mul_(5)  # logits of a size that tells exponential and sigmoid apart
    side = 32 if network else 64  # last maps of 2 x 2 either way
    images = 3 * torch.randn(2, 1, side, side, dtype=torch.float64)
    maps = last_maps(model, images)
    size = (maps.shape[2], maps.shape[3])
    found = grad_cam_plus_plus(
        model,
        images,
        negative_slope=slope,
        score=score,  # type: ignore[arg-type]
        size=size,
    )
    assert found.dtype == torch.float64
    activation = torch.exp if score == "exponential" else torch.sigmoid
    for n in range(2):
        for c in range(3):
            expected = one_by_one(lambda full, c=c: activation(tail(model, full[None])[0, c]), maps[n], slope)
            largest = expected.abs().max()
            torch.testing.assert_close(found[n, c], expected / (largest if largest > 0 else 1), rtol=1e-6, atol=1e-9)
    assert found.abs().amax() == 1
    if slope == 0:
        assert found.min() >= 0
    else:
        assert found.min() < 0


@pytest.mark.parametrize("slope", [0.2, 0.0])
def test_closed_form_of_a_linear_network(slope: float) -> None:
    """S = sum_k v_k mean(A_k): g = v_k / hw, and w_k = leaky(v_k) / (2 + v_k mean(A_k))."""
    model = Linear().double()
    images = torch.randn(3, 1, 5, 7, dtype=torch.float64)
    maps = last_maps(model, images)
    v = model.classifier.weight.detach()
    weights = functional.leaky_relu(v, slope) / (2 + v * maps.mean(dim=(2, 3))[:, None])  # (N, C, K)
    expected = functional.leaky_relu(torch.einsum("nck,nkij->ncij", weights, maps), slope)
    found = grad_cam_plus_plus(model, images, negative_slope=slope, normalize=False)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def with_stand_in_for_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package imports torchvision for parts that are not used here; its wheel needs another build of torch."""
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        for name in ("", ".ops", ".transforms", ".transforms.functional"):
            module = ModuleType(f"torchvision{name}")
            module.Compose = module.Normalize = module.ToTensor = module.resize = None  # type: ignore[attr-defined]
            monkeypatch.setitem(sys.modules, module.__name__, module)


def test_agrees_with_the_grad_cam_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The original, with ReLUs. ``pip install --no-deps grad-cam ttach tqdm opencv-python-headless`` has it run."""
    for name in ("ttach", "cv2", "tqdm", "sklearn"):
        pytest.importorskip(name)
    with_stand_in_for_torchvision(monkeypatch)
    package = pytest.importorskip("pytorch_grad_cam")
    model = Linear(rectify=True).double().eval()
    with torch.no_grad():
        model.classifier.weight.mul_(3000)  # the package adds 1e-6 to the denominator: squares must be larger
    images = torch.randn(4, 1, 12, 12, dtype=torch.float64)
    found = grad_cam_plus_plus(model, images, negative_slope=0.0)
    for c in range(3):
        with package.GradCAMPlusPlus(model=model, target_layers=[model.stages[-1]]) as cam:
            target = package.utils.model_targets.ClassifierOutputTarget(c)
            theirs = torch.from_numpy(cam(input_tensor=images, targets=[target] * 4)).double()
        ours = found[:, c]
        ours = ours - ours.amin(dim=(1, 2), keepdim=True)  # it stretches each map to [0, 1]
        ours = ours / (1e-7 + ours.amax(dim=(1, 2), keepdim=True))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5)
    assert found.amax() == 1


def test_maps_follow_what_speaks_for_the_class() -> None:
    """Class 0 is a bright upper half, class 1 a bright lower one."""
    model = Linear()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.stages[0].weight[:, 0, 1, 1] = 1  # every map is the image
        model.classifier.weight[0, 0] = 1
        model.classifier.weight[1, 1] = -1
    image = torch.zeros(1, 1, 8, 8)
    image[..., :4, :] = 1
    heat = grad_cam_plus_plus(model, image)
    assert torch.equal(heat[0, 0], image[0, 0])
    assert (heat[0, 1] <= 0).all()  # the bright half speaks against class 1
    assert (heat[0, 2] == 0).all()  # nothing speaks for or against class 2: no division by zero


@pytest.mark.parametrize("network", [0, 1], ids=["preact_resnet", "vgg"])
def test_batches_classes_and_repeats_give_the_same_maps(network: int) -> None:
    model = networks()[network].float()
    images = torch.randn(5, 1, 64, 96)
    everything = grad_cam_plus_plus(model, images)
    assert everything.shape == (5, 3, 64, 96)
    assert everything.dtype == torch.float32
    assert torch.equal(everything, grad_cam_plus_plus(model, images))
    torch.testing.assert_close(grad_cam_plus_plus(model, images, batch_size=2), everything, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(grad_cam_plus_plus(model, images, [2, 0]), everything[:, [2, 0]])
    own = torch.tensor([[0], [2], [1], [1], [0]])
    torch.testing.assert_close(
        grad_cam_plus_plus(model, images, own), everything[torch.arange(5)[:, None], own], rtol=1e-3, atol=1e-4
    )
    coarse = grad_cam_plus_plus(model, images, size=(2, 3) if network == 0 else (4, 6))
    torch.testing.assert_close(functional.interpolate(coarse, (64, 96), mode="bilinear"), everything)


def test_another_layer() -> None:
    model = networks()[0]
    images = torch.randn(2, 1, 64, 64, dtype=torch.float64)
    finer = grad_cam_plus_plus(model, images, layer=model.stages[1], size=(8, 8))
    assert finer.shape == (2, 3, 8, 8)
    torch.testing.assert_close(
        grad_cam_plus_plus(model, images, layer=model.stages[3]), grad_cam_plus_plus(model, images)
    )


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_the_network_is_left_as_it_was(off: Callable[[], AbstractContextManager[None]]) -> None:
    model = preact_resnet(18, 3, width=0.0625).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with off():  # as callers often have it
        grad_cam_plus_plus(model, torch.randn(2, 1, 32, 32))
    assert model.training
    assert all(module.training for module in model.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_nothing_before_the_layer_records_a_graph() -> None:
    """The memory bound: what autograd keeps is what lies behind the last stage, and not the whole network."""
    model = preact_resnet(18, 11, width=0.25)
    kept = 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        grad_cam_plus_plus(model, torch.randn(2, 1, 64, 64))
        behind = kept
        kept = 0
        model.eval()(torch.randn(2, 1, 64, 64))
    assert behind < kept / 20


@pytest.mark.parametrize(
    ("images", "arguments", "message"),
    [
        (torch.zeros(0, 1, 8, 8), {}, r"images: found shape \(0, 1, 8, 8\)"),
        (torch.zeros(1, 8, 8), {}, r"images: found shape \(1, 8, 8\), expected \(N, channels, H, W\)"),
        (torch.zeros(2, 1, 8, 8), {"classes": [3]}, "classes: found 3 to 3, the network has 3, from 0 on"),
        (torch.zeros(2, 1, 8, 8), {"classes": [-1]}, "classes: found -1"),
        (torch.zeros(2, 1, 8, 8), {"classes": []}, "classes: found none"),
        (torch.zeros(2, 1, 8, 8), {"classes": torch.zeros(3, 1, dtype=torch.long)}, r"found shape \(3, 1\)"),
        (torch.zeros(2, 1, 8, 8), {"negative_slope": -0.1}, "negative_slope: found -0.1"),
        (torch.zeros(2, 1, 8, 8), {"score": "logit"}, "score: found 'logit'"),
        (torch.zeros(2, 1, 8, 8), {"size": (0, 3)}, r"size: found \(0, 3\)"),
        (torch.zeros(2, 1, 8, 8), {"batch_size": 0}, "batch_size: found 0"),
    ],
)
def test_bad_arguments(images: torch.Tensor, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        grad_cam_plus_plus(Linear(), images, **arguments)  # type: ignore[arg-type]


def test_bad_layers_and_class_types() -> None:
    model, images = Linear(), torch.zeros(2, 1, 8, 8)
    with pytest.raises(TypeError, match=r"classes: found torch\.float32, expected integers"):
        grad_cam_plus_plus(model, images, torch.tensor([0.5]))
    with pytest.raises(ValueError, match="layer: used 0 times"):
        grad_cam_plus_plus(model, images, layer=nn.Conv2d(1, 1, 1))
    with pytest.raises(ValueError, match=r"layer: found output \(2, 3\), expected feature maps"):
        grad_cam_plus_plus(model, images, layer=model.classifier)
    with pytest.raises(ValueError, match="Sequential has no `stages`"):
        grad_cam_plus_plus(nn.Sequential(nn.Conv2d(1, 2, 3)), images)
    assert not any(module._forward_hooks for module in model.modules())
