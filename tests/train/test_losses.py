"""The loss against float64 NumPy and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from cdifast.nn import preact_resnet
from cdifast.train import ClassificationLoss, conv_and_linear_kernels, kernel_penalty


def numpy_loss(
    logits: np.ndarray, targets: np.ndarray, kernels: list[np.ndarray], l1: float, l2: float, variant: str
) -> float:
    """P1, equations 6 and 10, label by label and weight by weight."""
    total = 0.0
    for logit, target in zip(logits.ravel(), targets.ravel(), strict=True):
        probability = 1 / (1 + np.exp(-logit))
        total -= target * np.log(probability) + (1 - target) * np.log(1 - probability)
    total /= logits.size
    if variant == "p1":
        weights = np.concatenate([kernel.ravel() for kernel in kernels])
        return total + l1 * sum(abs(w) for w in weights) + l2 * sum(w * w for w in weights) ** 0.5
    layers = [l1 * np.abs(kernel).sum() + l2 * (kernel**2).sum() / 2 for kernel in kernels]
    return total + sum(layers) / len(layers)


@pytest.mark.parametrize("variant", ["p1", "p1-code"])
def test_value(variant: str) -> None:
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(0, 3, (7, 5)), rng.integers(0, 2, (7, 5))
    kernels = [rng.normal(size=shape) for shape in ((4, 1, 3, 3), (4, 4, 1, 1), (5, 4))]
    loss = ClassificationLoss(0.01, 0.03, variant)
    terms = loss(torch.tensor(logits), torch.tensor(targets), [torch.tensor(kernel) for kernel in kernels])
    assert terms.total.item() == pytest.approx(numpy_loss(logits, targets, kernels, 0.01, 0.03, variant))
    assert terms.cross_entropy.item() == pytest.approx(numpy_loss(logits, targets, kernels, 0, 0, variant))
    assert terms.total == terms.cross_entropy + terms.penalty


@pytest.mark.parametrize("variant", ["p1", "p1-code"])
def test_gradient(variant: str) -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    kernels = [torch.randn(2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    targets = torch.randint(0, 2, (3, 4), dtype=torch.uint8)
    loss = ClassificationLoss(0.1, 0.2, variant)
    assert torch.autograd.gradcheck(lambda x, *w: loss(x, targets, w).total, (logits, *kernels))


def test_extreme_logits_and_zero_kernels_stay_finite() -> None:
    logits = torch.tensor([[1e4, -1e4]], requires_grad=True)
    kernel = torch.zeros(3, 3, requires_grad=True)
    terms = ClassificationLoss(1, 1)(logits, torch.tensor([[0, 1]]), [kernel])
    terms.total.backward()
    assert terms.cross_entropy.item() == pytest.approx(1e4)
    assert torch.equal(kernel.grad, torch.zeros(3, 3))
    assert torch.isfinite(logits.grad).all()


def test_only_convolution_and_linear_kernels_are_penalised() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    kernels = conv_and_linear_kernels(model)
    assert [kernel.shape for kernel in kernels] == [(2, 1, 3, 3), (3, 8)]
    # Table 8: 1 + 2 x 8 convolutions, a projection in each of 4 stages, and the linear layer.
    assert len(conv_and_linear_kernels(preact_resnet(18, 11, width=0.125))) == 22


def test_no_penalty_when_both_coefficients_are_zero() -> None:
    terms = ClassificationLoss(0, 0)(torch.zeros(2, 3), torch.zeros(2, 3), [])
    assert terms.penalty == 0
    assert terms.total.item() == pytest.approx(np.log(2))


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"targets: found shape \(2, 2\), the logits have \(2, 3\)"):
        ClassificationLoss()(torch.zeros(2, 3), torch.zeros(2, 2), [torch.ones(1)])
    with pytest.raises(ValueError, match=r"penalty: found 'l3'"):
        ClassificationLoss(penalty="l3")
    with pytest.raises(ValueError, match=r"l1, l2: found -1"):
        ClassificationLoss(l1=-1)
    with pytest.raises(ValueError, match=r"kernels: found none"):
        kernel_penalty([])
