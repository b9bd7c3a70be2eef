"""P1's ResNet18 as one writes it in torchvision's style, with eager torch and no log activation, and its step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """Pre-activation block: normalisation, LeakyReLU and convolution, twice, beside a shortcut."""

    def __init__(self, inplanes: int, planes: int, stride: int, project: bool) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inplanes, momentum=0.003)
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes, momentum=0.003)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.downsample = nn.Conv2d(inplanes, planes, 1, stride, bias=False) if project else None
        self.relu = nn.LeakyReLU(0.2, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(x))
        identity = x if self.downsample is None else self.downsample(out)
        out = self.conv1(out)
        out = self.conv2(self.relu(self.bn2(out)))
        return out + identity


class ResNet18(nn.Module):
    """The layers of P1's table 8; LeakyReLU where P1 has the log activation."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
        self.relu = nn.LeakyReLU(0.2, inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        planes = (64, 64, 128, 256, 512)
        self.layers = nn.Sequential(
            *(
                Block(
                    planes[stage] if first else planes[stage + 1], planes[stage + 1], 2 if first and stage else 1, first
                )
                for stage in range(4)
                for first in (True, False)
            )
        )
        self.bn = nn.BatchNorm2d(512, momentum=0.003)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(self.maxpool(self.relu(self.conv1(x))))
        return self.fc(torch.flatten(self.avgpool(self.relu(self.bn(x))), 1))


def step(images: Tensor, targets: Tensor) -> Callable[[], Tensor]:
    """A step on a batch that is there already: nothing is drawn, changed or copied; P1's loss and optimizer."""
    torch.manual_seed(0)
    model = ResNet18(targets.shape[1]).train()
    kernels = [module.weight for module in model.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    optimizer = torch.optim.SGD(model.parameters(), 1e-4, momentum=0.9, nesterov=True)
    targets = targets.float()

    def run() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = functional.binary_cross_entropy_with_logits(model(images), targets)
        loss = loss + 1e-5 * torch.stack([w.abs().sum() for w in kernels]).sum()
        loss = loss + 1e-5 * torch.stack([w.square().sum() for w in kernels]).sum().sqrt()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return run
