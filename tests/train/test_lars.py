"""LARS against plain NumPy over several steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from cdifast.train.lars import LARS


def numpy_lars(weights: list[np.ndarray], gradients: list[list[np.ndarray]], rates: list[float]) -> list[np.ndarray]:
    """Written from the formulas of You et al. and SimCLR's published code, apart from ours."""
    weights = [w.copy() for w in weights]
    velocities = [np.zeros_like(w) for w in weights]
    for rate, of_step in zip(rates, gradients, strict=True):
        for k, g in enumerate(of_step):
            if weights[k].ndim > 1:
                g = g + 1e-4 * weights[k]
                w_norm, g_norm = np.sqrt((weights[k] ** 2).sum()), np.sqrt((g**2).sum())
                ratio = 0.001 * w_norm / g_norm if w_norm > 0 and g_norm > 0 else 1.0
                g = ratio * g
            velocities[k] = 0.9 * velocities[k] + rate * g
            weights[k] = weights[k] - velocities[k]
    return weights


def test_equals_numpy_over_several_steps() -> None:
    rng = np.random.default_rng(0)
    shapes = [(4, 3, 3, 3), (4,), (5, 4), (5,), (2, 2), (2, 3), ()]
    weights = [rng.normal(size=shape) * 10.0**k for k, shape in enumerate(shapes)]
    weights[5] = np.zeros((2, 3))  # no norm to trust at first
    rates = [0.1, 0.5, 2.5, 1.0, 0.0, 0.3]
    gradients = [[rng.normal(size=shape) for shape in shapes] for _ in rates]
    for of_step in gradients[:2]:
        of_step[4][:] = 0  # weight decay alone
    expected = numpy_lars(weights, gradients, rates)
    parameters = [nn.Parameter(torch.tensor(w)) for w in weights]
    optimizer = LARS(parameters, lr=1.0)
    for rate, of_step in zip(rates, gradients, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        for parameter, gradient in zip(parameters, of_step, strict=True):
            parameter.grad = torch.tensor(gradient)
        optimizer.step()
    for parameter, w in zip(parameters, expected, strict=True):
        np.testing.assert_allclose(parameter.detach().numpy(), w, rtol=1e-12, atol=1e-14)


def test_without_trust_and_decay_it_is_torchs_sgd() -> None:
    """Excluded tensors are plain momentum; torch's keeps the rate outside, which is the same while it is constant."""
    first, second = (nn.Linear(3, 2).double() for _ in range(2))
    second.load_state_dict(first.state_dict())
    ours = LARS(first.parameters(), 0.1, exclude=lambda parameter: True)
    theirs = torch.optim.SGD(second.parameters(), 0.1, momentum=0.9)
    x = torch.randn(8, 3, dtype=torch.float64)
    for _ in range(4):
        for model, optimizer in ((first, ours), (second, theirs)):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(dict(first.state_dict()), dict(second.state_dict()), rtol=1e-12, atol=1e-14)


def test_a_step_does_not_depend_on_the_scale_of_the_gradient() -> None:
    steps = []
    for scale in (1.0, 1e6):
        weight = nn.Parameter(torch.arange(1.0, 7, dtype=torch.float64).reshape(2, 3))
        weight.grad = torch.ones(2, 3, dtype=torch.float64) * scale
        before = weight.detach().clone()
        LARS([weight], 0.5, weight_decay=0).step()
        steps.append(before - weight.detach())
    torch.testing.assert_close(steps[0], steps[1])
    assert steps[0].norm().item() == pytest.approx(0.5 * 1e-3 * before.norm().item(), rel=1e-5)


def test_options_and_closure() -> None:
    for options, message in (
        ({"lr": -1}, "lr: found -1"),
        ({"lr": 1, "momentum": 1}, "momentum: found 1"),
        ({"lr": 1, "trust": 0}, "trust: found 0"),
        ({"lr": 1, "weight_decay": -1}, "weight_decay: found -1"),
    ):
        with pytest.raises(ValueError, match=message):
            LARS([nn.Parameter(torch.ones(1))], **options)
    weight, idle = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optimizer = LARS([weight, idle], 0.25)

    def closure() -> float:
        loss = weight.square().sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 1.0
    assert weight.item() == 0.5
    assert idle.item() == 1.0
    assert idle not in optimizer.state
