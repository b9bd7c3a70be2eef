"""What is particular to angular correlation functions: direct loops, closed forms, lengths of every kind."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from contract import check_angular_lengths, check_angular_pairs
from torch._subclasses.fake_tensor import FakeTensorMode

from cdifast import ops
from cdifast.ops.angular import composed, composed_backward


def all_pairs(n_radial: int) -> torch.Tensor:
    return torch.triu_indices(n_radial, n_radial).T


def test_equals_direct_loops_over_valid_samples() -> None:
    generator = np.random.default_rng(2)
    rings = generator.gamma(2.0, size=(2, 4, 12))
    weights = (generator.random(rings.shape) > 0.3) * generator.uniform(0.5, 1, rings.shape)
    weights[0, 1] = 0.0
    rings[weights == 0] = np.nan
    found = ops.angular_correlation(
        torch.from_numpy(rings), weight=torch.from_numpy(weights), fill=-3.0, min_weight=0.2
    )
    for n in range(2):
        for p, (i, j) in enumerate(all_pairs(4).tolist()):
            for d in range(12):
                both = [k for k in range(12) if weights[n, i, k] > 0 and weights[n, j, (k + d) % 12] > 0]
                pair = sum(weights[n, i, k] * weights[n, j, (k + d) % 12] for k in both)
                expected = -3.0
                if pair >= 0.2 * 12:
                    products = (
                        weights[n, i, k] * weights[n, j, (k + d) % 12] * rings[n, i, k] * rings[n, j, (k + d) % 12]
                        for k in both
                    )
                    expected = sum(products) / pair
                assert float(found[n, p, d]) == pytest.approx(expected, rel=1e-11)
    assert torch.all(found[0, 1] == -3.0)
    assert not torch.isnan(found).any()


@pytest.mark.parametrize("n_angular", [1, 2, 3, 4, 7, 8, 16, 24, 30, 32, 37, 74, 97, 224, 360])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_length_equals_numpy(n_angular: int, dtype: torch.dtype) -> None:
    rings = torch.rand(2, 5, n_angular).to(dtype)
    exact = rings.double().numpy()
    first, second = all_pairs(5).T.numpy()
    spectra = np.fft.fft(exact, axis=-1)
    expected = np.fft.ifft(spectra[:, first].conj() * spectra[:, second], axis=-1).real / n_angular
    found = ops.angular_correlation(rings).double().numpy()
    assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < (2e-6 if dtype == torch.float32 else 1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("weighted", [False, True])
def test_lengths_in_two_steps_with_weights_and_gradients(dtype: torch.dtype, weighted: bool) -> None:
    check_angular_lengths(dtype, weighted=weighted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("weighted", [False, True])
def test_pairs_along_diagonals_with_weights_and_gradients(dtype: torch.dtype, weighted: bool) -> None:
    check_angular_pairs(dtype, weighted=weighted)


def test_pairs_of_any_order_share_vectors_and_a_changed_list_is_seen() -> None:
    generator = torch.Generator().manual_seed(3)
    rings = torch.rand(2, 37, 24, generator=generator, dtype=torch.float64)
    spectra = np.fft.fft(rings.numpy(), axis=-1)

    def check(pairs: torch.Tensor) -> None:
        first, second = pairs.T.numpy()
        expected = np.fft.ifft(spectra[:, first].conj() * spectra[:, second], axis=-1).real / 24
        for dtype, tolerance in ((torch.float64, 1e-14), (torch.float32, 2e-6)):
            found = ops.angular_correlation(rings.to(dtype), pairs=pairs).double().numpy()
            assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < tolerance

    check(all_pairs(37).contiguous())
    runs = [
        (i, j)
        for i in (0, 5, 36)
        for start, size in ((1, 3), (7, 14), (16, 16), (30, 7))
        for j in range(start, start + size)
    ]
    check(torch.tensor(runs))
    pairs = torch.randint(37, (200, 2), generator=generator)
    check(pairs)
    pairs[17] = 36 - pairs[17]  # the same memory
    check(pairs)
    pairs[3, 1] = 37
    with pytest.raises(ValueError, match="got 37"):
        ops.angular_correlation(rings, pairs=pairs)


def test_closed_form_of_cosine_rings() -> None:
    generator = torch.Generator().manual_seed(4)
    amplitude = torch.rand(6, 1, generator=generator, dtype=torch.float64)
    phase = 6 * torch.rand(6, 1, generator=generator, dtype=torch.float64)
    phi = 2 * math.pi * torch.arange(48, dtype=torch.float64) / 48
    rings = 1 + amplitude * torch.cos(8 * phi + phase)
    i, j = all_pairs(6).T
    expected = 1 + amplitude[i] * amplitude[j] * torch.cos(8 * phi + phase[j] - phase[i]) / 2
    torch.testing.assert_close(ops.angular_correlation(rings), expected, rtol=1e-12, atol=1e-14)


def test_the_first_lag_is_the_zero_lag_of_a_correlation_map_and_a_turn_changes_nothing() -> None:
    rings = torch.rand(3, 7, 30, dtype=torch.float64)
    weight = (torch.rand(7, 30) > 0.2).double()
    found = ops.angular_correlation(rings, weight=weight)
    i, j = all_pairs(7).T
    torch.testing.assert_close(found[..., 0], ops.correlation_map(rings, weight=weight)[:, j, i], rtol=1e-12, atol=0)
    turned = ops.angular_correlation(rings.roll(11, dims=-1), weight=weight.roll(11, dims=-1))
    torch.testing.assert_close(turned, found, rtol=1e-11, atol=0)
    diagonal = ops.angular_correlation(rings, pairs="diagonal", weight=weight)
    assert torch.equal(
        diagonal, ops.angular_correlation(rings, pairs=torch.arange(7)[:, None].expand(7, 2), weight=weight)
    )
    backwards = ops.angular_correlation(rings, pairs=torch.tensor([[4, 2]]))
    forwards = ops.angular_correlation(rings, pairs=torch.tensor([[2, 4]]))
    torch.testing.assert_close(backwards, forwards.flip(-1).roll(1, dims=-1), rtol=1e-12, atol=0)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_composition_that_gpus_run_equals_the_kernel(weighted: bool) -> None:
    rings = torch.rand(3, 6, 20, dtype=torch.float64)
    weight = (torch.rand(1, 6, 20) > 0.3).double() if weighted else None
    pairs = torch.tensor([[0, 1], [5, 2], [3, 3], [1, 0]])
    operators = torch.ops.cdifast
    found = operators.angular_correlation(rings, weight, pairs, -1.0, 0.05)
    torch.testing.assert_close(composed(rings, weight, pairs, -1.0, 0.05), found, rtol=1e-11, atol=1e-13)
    grad = torch.rand_like(found)
    expected = operators.angular_correlation_backward(grad, rings, weight, pairs, 0.05)
    torch.testing.assert_close(composed_backward(grad, rings, weight, pairs, 0.05), expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"pairs": "some"}, ValueError, "pairs"),
        ({"pairs": torch.tensor([[0, 4]])}, ValueError, "pairs"),
        ({"pairs": torch.tensor([[0.0, 1.0]])}, TypeError, "pairs"),
        ({"pairs": torch.tensor([0, 1, 2])}, ValueError, "pairs"),
        ({"weight": torch.ones(4, 15)}, ValueError, r"weight must have shape \(4, 16\)"),
        ({"unwrapped": torch.ones(16)}, ValueError, "unwrapped must have shape"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, object], error: type[Exception], message: str) -> None:
    call: dict[str, object] = {"unwrapped": torch.ones(4, 16)} | arguments
    with pytest.raises(error, match=message):
        ops.angular_correlation(**call)  # type: ignore[arg-type]


def test_the_kept_list_of_all_pairs_serves_every_mode() -> None:
    unwrapped = torch.rand(2, 13, 8, requires_grad=True)  # a number of rings that no other test has
    pairs = torch.triu_indices(13, 13).T.contiguous()
    with torch.inference_mode():  # makes the list
        first = ops.angular_correlation(unwrapped)
    second = ops.angular_correlation(unwrapped)
    assert torch.equal(first, second)
    assert torch.equal(second, ops.angular_correlation(unwrapped, pairs=pairs))
    (found,) = torch.autograd.grad(second.square().sum(), unwrapped)
    (expected,) = torch.autograd.grad(ops.angular_correlation(unwrapped, pairs=pairs).square().sum(), unwrapped)
    assert torch.equal(found, expected)
    mode = FakeTensorMode()
    fake = mode.from_tensor(unwrapped.detach())
    with mode:
        shape = ops.angular_correlation(fake).shape
    assert shape == (2, 91, 8)
