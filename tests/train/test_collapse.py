"""Collapse monitors against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import special

from cdifast.train.collapse import alignment, collapse_monitors, effective_rank, partner_retrieval, uniformity


def test_alignment_of_known_angles() -> None:
    angle = torch.linspace(0, math.pi, 7, dtype=torch.float64)
    a = torch.tensor([1.0, 0.0], dtype=torch.float64).expand(7, 2)
    b = 5 * torch.stack([angle.cos(), angle.sin()], dim=1)
    assert alignment(3 * a, b) == pytest.approx((2 - 2 * angle.cos()).mean().item(), rel=1e-12)
    assert alignment(a, -a) == pytest.approx(4)
    assert alignment(a, a) == 0


def test_uniformity_of_points_and_spheres() -> None:
    assert uniformity(torch.ones(9, 3)) == pytest.approx(0, abs=1e-12)
    # The corners of a cross: 2 pairs of opposites in 6, squared distances 2 and 4.
    cross = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    assert uniformity(cross, block=3) == pytest.approx(math.log((4 * math.exp(-4) + 2 * math.exp(-8)) / 6), rel=1e-12)
    # Uniform on the circle: the mean of exp(-4 + 4 cos) is exp(-4) I0(4).
    angle = 2 * math.pi * torch.arange(4096, dtype=torch.float64) / 4096
    circle = torch.stack([angle.cos(), angle.sin()], dim=1)
    mean = (4096 * math.exp(-4) * special.i0(4.0) - 1) / 4095
    assert uniformity(circle) == pytest.approx(math.log(mean), rel=1e-9)
    with pytest.raises(ValueError, match="found 1 shot"):
        uniformity(torch.ones(1, 3))


def test_effective_rank_of_known_spectra() -> None:
    assert effective_rank(torch.ones(9, 3)) == pytest.approx(1)
    assert effective_rank(torch.eye(6)) == pytest.approx(6)
    assert effective_rank(torch.zeros(4, 2)) == 0
    # Two singular values as 3 : 1, whatever the directions.
    rng = np.random.default_rng(0)
    left, right = np.linalg.qr(rng.normal(size=(8, 2)))[0], np.linalg.qr(rng.normal(size=(5, 2)))[0]
    z = torch.from_numpy(left * [3, 1] @ right.T)
    expected = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert effective_rank(z) == pytest.approx(expected, rel=1e-9)


def test_partner_retrieval_counts_and_is_at_chance_for_noise() -> None:
    a = torch.eye(8)
    assert partner_retrieval(a, a, block=3) == 1
    swapped = a[[1, 0, *range(2, 8)]]
    assert partner_retrieval(a, swapped, block=3) == 6 / 8
    # A collapse is no retrieval: all ties.
    assert partner_retrieval(torch.ones(8, 3), torch.ones(8, 3)) == 0
    found = [partner_retrieval(torch.randn(50, 16), torch.randn(50, 16)) for _ in range(80)]
    # Not independent within a batch, but close to 4000 draws at 1 / 50.
    assert np.mean(found) == pytest.approx(1 / 50, abs=4 * math.sqrt(0.02 * 0.98 / 4000))


def test_all_together() -> None:
    a, b = torch.randn(2, 30, 4)
    found = collapse_monitors(a, b)
    assert found == (alignment(a, b), uniformity(a), effective_rank(a), partner_retrieval(a, b))
