"""The CUDA kernels, launchers and registration of pairs of spectra, run by the emulator."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import Configure
from test_emulated_harmonics import OPS, TOLERANCE, every_precision, random, relative_error
from torch import Tensor


def pairs_and_lists(n_radial: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs, some twice, some of a ring with itself, and each ring's list of them; the last ring has none."""
    pairs = torch.tensor([[0, 1], [2, 0], [1, 1], [0, 1], [3, 2], [2, 2]]) % max(n_radial - 1, 1)
    lists: list[list[int]] = [[] for _ in range(n_radial)]
    for p, (i, j) in enumerate(pairs.tolist()):
        lists[i].append(2 * p)
        lists[j].append(2 * p + 1)
    first = torch.tensor([0, *(len(entries) for entries in lists)]).cumsum(0)
    return pairs, first, torch.tensor([entry for entries in lists for entry in entries])


def as_complex(x: Tensor) -> Tensor:
    return torch.view_as_complex(x.double().contiguous())


@every_precision
@pytest.mark.parametrize("n_frequencies", [1, 33, 64])
def test_pairs_of_spectra_and_their_adjoint(configure: Configure, dtype: torch.dtype, n_frequencies: int) -> None:
    spectra = random(3, 5, n_frequencies, 2, dtype=dtype) - 0.5
    pairs, first, entries = pairs_and_lists(5)
    found = OPS.pair_spectra(spectra, pairs)
    s = as_complex(spectra)
    expected = s[:, pairs[:, 0]].conj() * s[:, pairs[:, 1]]
    assert (found.dtype, found.shape) == (dtype, (3, 6, n_frequencies, 2))
    assert relative_error(found, torch.view_as_real(expected)) < TOLERANCE[dtype]

    product = random(*found.shape, dtype=dtype) - 0.5
    g = as_complex(product)
    out = torch.zeros_like(s)
    for p, (i, j) in enumerate(pairs.tolist()):
        out[:, i] += g[:, p].conj() * s[:, j]
        out[:, j] += g[:, p] * s[:, i]
    found = OPS.pair_spectra_adjoint(product, spectra, pairs, first, entries)
    assert relative_error(found, torch.view_as_real(out)) < TOLERANCE[dtype]


def test_pairs_of_rings_that_are_not_there_give_nan(configure: Configure) -> None:
    spectra = random(1, 3, 4, 2, dtype=torch.float32)
    pairs = torch.tensor([[0, 1], [0, 3], [-1, 2]])
    found = OPS.pair_spectra(spectra, pairs)
    assert found[:, 0].isfinite().all()
    assert found[:, 1:].isnan().all()
    first, entries = torch.tensor([0, 2, 3, 9]), torch.tensor([0, 2, 1, 5, 7, -1])
    found = OPS.pair_spectra_adjoint(found, spectra, pairs, first, entries)
    assert found[:, 0].isnan().all()
    assert found[:, 1].isfinite().all()
    assert found[:, 2].isnan().all()


# --- functions of all lags

# A quarter of the lags in one part or two, K / 4 one of them or none, frequencies in one step or several.
LENGTHS = [2, 4, 6, 18, 24, 30, 66, 128, 136, 138, 262]


def rings(*shape: int) -> tuple[Tensor, Tensor]:
    """Rings of a level that is far above their structure, and their spectra in float32."""
    values = 20 + random(*shape)
    return values, torch.view_as_real(torch.fft.rfft(values, norm="forward")).float()


def by_shifts(values: Tensor, pairs: Tensor) -> Tensor:
    """Means over angles of one ring times the other one, turned by every lag: in float64, without a transform."""
    first, second = values[:, pairs[:, 0]], values[:, pairs[:, 1]]
    lags = [(first * second.roll(-lag, -1)).mean(-1) for lag in range(values.shape[-1])]
    return torch.stack(lags, -1)


@pytest.mark.parametrize("n_angular", LENGTHS)
def test_samples_of_pairs_are_those_of_shifted_rings(configure: Configure, n_angular: int) -> None:
    values, spectra = rings(2, 5, n_angular)
    pairs = pairs_and_lists(5)[0]
    out = torch.full((2, len(pairs), n_angular), math.nan)
    OPS.pair_samples_out(spectra, pairs, None, 0.0, out)
    level = values.mean(-1)
    level = (level[:, pairs[:, 0]] * level[:, pairs[:, 1]])[..., None]
    expected = by_shifts(values, pairs)
    assert relative_error(out, expected) < TOLERANCE[torch.float32]
    # What is not the same for all lags is as exact beside a level 2,500 times as large as float32 holds it.
    torch.testing.assert_close(out.double() - level, expected - level, rtol=0, atol=1.5e-4)


@pytest.mark.parametrize("sets", [1, 4])
def test_samples_are_multiplied_by_inverse_weights(configure: Configure, sets: int) -> None:
    # More maps than the emulator's launches have, and more than 16 pairs.
    values, spectra = rings(4, 6, 24)
    pairs = torch.cartesian_prod(torch.arange(6), torch.arange(6))[:35]
    inverse = torch.randint(0, 3, (sets, 35, 24)) / 2
    out = torch.empty(4, 35, 24)
    OPS.pair_samples_out(spectra, pairs, inverse, -3.0, out)
    expected = torch.where(inverse > 0, by_shifts(values, pairs) * inverse, -3.0)
    torch.testing.assert_close(out.double(), expected, rtol=1e-6, atol=0)


def test_samples_of_pairs_of_rings_that_are_not_there_are_nan(configure: Configure) -> None:
    spectra = rings(1, 3, 20)[1]
    out = torch.zeros(1, 4, 20)
    OPS.pair_samples_out(spectra, torch.tensor([[0, 1], [0, 3], [-1, 2], [2, 2]]), None, 0.0, out)
    assert torch.equal(out.isnan().all(-1)[0], torch.tensor([False, True, True, False]))
    assert torch.equal(out.isnan().any(-1)[0], torch.tensor([False, True, True, False]))


def test_tensors_that_do_not_fit_are_named(configure: Configure) -> None:
    spectra, pairs, out = torch.rand(1, 3, 5, 2), torch.tensor([[0, 1]]), torch.empty(1, 1, 8)
    for arguments, message in (
        ((spectra.double(), pairs, None, 0.0, out), "spectra must be float32"),
        ((spectra[:, :, :1], pairs, None, 0.0, out), "0 to K / 2 of 2 to"),
        ((spectra, pairs, None, 0.0, out.double()), "out has dtype Double; expected Float"),
        ((spectra, pairs, None, 0.0, out[..., :7]), r"out must have shape \(1, 1, 8\)"),
        ((spectra, pairs, torch.empty(1, 2, 8), 0.0, out), "inverse must have shape"),
        ((spectra[:, :0], pairs, None, 0.0, out), "pairs but no rings"),
    ):
        with pytest.raises(RuntimeError, match=message):
            OPS.pair_samples_out(*arguments)


# --- what holds for all


def results(dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    spectra = torch.rand(2, 5, 37, 2, generator=generator, dtype=torch.float64).to(dtype)
    pairs, first, entries = pairs_and_lists(5)
    product = OPS.pair_spectra(spectra, pairs)
    samples = torch.empty(2, len(pairs), 72)
    OPS.pair_samples_out(spectra.float(), pairs, None, 0.0, samples)
    return [product, OPS.pair_spectra_adjoint(product, spectra, pairs, first, entries), samples]


@pytest.mark.same_accesses
@every_precision
def test_bit_for_bit_the_same_in_any_order_of_threads_and_whatever_shared_memory_held(
    configure: Configure, dtype: torch.dtype
) -> None:
    before = results(dtype)
    for schedule, poison in ((1, 0x00), (3, 0x7F)):
        configure(schedule, poison)
        assert all(torch.equal(a, b) for a, b in zip(before, results(dtype), strict=True))


def test_nothing_to_do(configure: Configure) -> None:
    none = torch.empty(0, dtype=torch.int64)
    pairs, first = torch.empty(0, 2, dtype=torch.int64), torch.zeros(5, dtype=torch.int64)
    product = OPS.pair_spectra(torch.rand(2, 4, 9, 2), pairs)
    assert product.shape == (2, 0, 9, 2)
    assert torch.all(OPS.pair_spectra_adjoint(product, torch.rand(2, 4, 9, 2), pairs, first, none) == 0)
    assert OPS.pair_spectra(torch.empty(0, 4, 9, 2), pairs_and_lists(4)[0]).shape == (0, 6, 9, 2)
    OPS.pair_samples_out(torch.rand(2, 4, 9, 2), pairs, None, 0.0, torch.empty(2, 0, 16))
    OPS.pair_samples_out(torch.empty(0, 4, 9, 2), pairs_and_lists(4)[0], None, 0.0, torch.empty(0, 6, 16))


def test_any_memory_layout(configure: Configure) -> None:
    # Spectra one number into their memory, where no complex number is aligned.
    pairs, first, entries = pairs_and_lists(5)
    spectra = random(2, 5, 7, 2, dtype=torch.float32)
    product = OPS.pair_spectra(spectra, pairs)
    adjoint = OPS.pair_spectra_adjoint(product, spectra, pairs, first, entries)
    moved = [torch.cat((torch.zeros(1), x.flatten()))[1:].view(x.shape) for x in (spectra, product)]
    assert moved[0].data_ptr() % 8 == 4
    assert torch.equal(OPS.pair_spectra(moved[0], pairs), product)
    assert torch.equal(OPS.pair_spectra_adjoint(moved[1], moved[0], pairs, first, entries), adjoint)


def test_refuses_what_the_gpu_would_refuse(configure: Configure) -> None:
    spectra, (pairs, first, entries) = torch.rand(2, 4, 9, 2), pairs_and_lists(4)
    product = torch.rand(2, 6, 9, 2)
    for call, message in (
        (lambda: OPS.pair_spectra(spectra[..., 0], pairs), "spectra must have 4 dimensions, the last of size 2"),
        (lambda: OPS.pair_spectra(spectra, pairs[:, :1]), r"pairs must have shape \(P, 2\)"),
        (lambda: OPS.pair_spectra(spectra[:, :0], pairs), "there are pairs but no rings"),
        (
            lambda: OPS.pair_spectra_adjoint(product[:, 1:], spectra, pairs, first, entries),
            r"pair_spectra_adjoint: product must have shape \(N, P, F, 2\)",
        ),
        (lambda: OPS.pair_spectra_adjoint(product, spectra, pairs, first[1:], entries), r"first must have shape"),
        (lambda: OPS.pair_spectra_adjoint(product, spectra, pairs, first, entries[1:]), r"entries must have shape"),
    ):
        with pytest.raises(RuntimeError, match=message):
            call()
