"""The contrastive losses against double loops in float64, one rank and two."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from cdifast.train.cross_rank_batch_norm import convert_batch_norm
from cdifast.train.distributed import average_gradients
from cdifast.train.nt_xent import nt_xent
from cdifast.train.vicreg import vicreg
from tests.train.ranks import run_on_ranks


def pairs(count: int = 6, width: int = 4, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    z = torch.randn(2, count, width, generator=generator, dtype=torch.float64)
    return z[0].to(dtype).requires_grad_(), z[1].to(dtype).requires_grad_()


def double_loop(z_a: Tensor, z_b: Tensor, temperature: float) -> Tensor:
    """P2's formula, term by term."""
    z = [*z_a, *z_b]
    count = len(z_a)

    def similarity(u: Tensor, v: Tensor) -> Tensor:
        return (u * v).sum() / (u.square().sum().sqrt() * v.square().sum().sqrt())

    terms = []
    for i in range(2 * count):
        j = (i + count) % (2 * count)
        denominator = sum(torch.exp(similarity(z[i], z[k]) / temperature) for k in range(2 * count) if k != i)
        terms.append(-torch.log(torch.exp(similarity(z[i], z[j]) / temperature) / denominator))
    return torch.stack(terms).mean()


@pytest.mark.parametrize("temperature", [0.075, 0.2, 1.0])
@pytest.mark.parametrize("block", [1, 5, 7, 12, 1024])
def test_equals_the_double_loop(temperature: float, block: int) -> None:
    z_a, z_b = pairs()
    expected = double_loop(z_a, z_b, temperature)
    wanted = torch.autograd.grad(3 * expected, (z_a, z_b))
    found = nt_xent(z_a, z_b, temperature, block=block)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(torch.autograd.grad(3 * found, (z_a, z_b)), wanted, rtol=1e-10, atol=1e-12)


def test_gradcheck() -> None:
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, 0.3, block=5), pairs())
    assert torch.autograd.gradcheck(lambda a, b: vicreg(a, b).total, pairs())


def test_closed_forms() -> None:
    # All vectors the same: every other of 2N - 1 is as good as the partner.
    same = torch.ones(8, 3)
    assert nt_xent(same, 2 * same, 0.1).item() == pytest.approx(math.log(15), rel=1e-6)
    # Partners equal, all shots orthogonal.
    basis = torch.eye(8)
    assert nt_xent(basis, basis, 0.5).item() == pytest.approx(math.log(math.exp(2) + 14) - 2, rel=1e-6)
    # Its range survives temperatures at which exp overflows float32.
    assert nt_xent(basis, basis, 1e-3).item() == 0
    assert nt_xent(basis, -basis, 1e-3).item() == pytest.approx(1000 + math.log(14), rel=1e-6)


class LargestTensor(TorchDispatchMode):
    """Remembers the largest tensor that any operation made."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.largest = max(self.largest, result.numel())
        return result


def test_no_matrix_beyond_a_block() -> None:
    z_a, z_b = pairs(256, 8, torch.float32)
    with LargestTensor() as seen:
        nt_xent(z_a, z_b, 0.1, block=64).backward()
    assert seen.largest == 512 * 8 == 64 * 64
    with LargestTensor() as seen:
        nt_xent(z_a, z_b, 0.1).backward()
    assert seen.largest == 512 * 512


def test_half_precision_and_autocast_are_computed_in_float32() -> None:
    z_a, z_b = pairs(16, 8, torch.float32)
    plain = nt_xent(z_a, z_b, 0.1)
    wanted = torch.autograd.grad(plain, (z_a, z_b))
    with torch.autocast("cpu", torch.bfloat16):
        found = nt_xent(z_a, z_b, 0.1)
        gradients = torch.autograd.grad(found, (z_a, z_b))
    assert torch.equal(found, plain)
    torch.testing.assert_close(gradients, wanted, rtol=0, atol=0)
    half = nt_xent(z_a.bfloat16(), z_b.bfloat16(), 0.1)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, nt_xent(z_a.bfloat16().float(), z_b.bfloat16().float(), 0.1))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((torch.ones(4, 3), torch.ones(4, 2), 0.1), ValueError, r"found shapes \(4, 3\) and \(4, 2\)"),
        ((torch.ones(4), torch.ones(4), 0.1), ValueError, r"expected \(n, D\) twice"),
        ((torch.ones(1, 3), torch.ones(1, 3), 0.1), ValueError, "found 1 shot in all, expected at least 2"),
        ((torch.ones(4, 3), torch.ones(4, 3), 0), ValueError, "temperature: found 0"),
        ((torch.ones(4, 3, dtype=torch.int64), torch.ones(4, 3), 1), TypeError, "z_a: found dtype torch.int64"),
        ((torch.ones(4, 3), torch.ones(4, 3).double(), 1), TypeError, "z_b: found dtype torch.float64"),
    ],
)
def test_wrong_arguments_are_named(arguments: tuple, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        nt_xent(*arguments)


def vicreg_loop(z_a: Tensor, z_b: Tensor) -> tuple[float, float, float]:
    count, width = z_a.shape
    near = sum((z_a[i, d] - z_b[i, d]).item() ** 2 for i in range(count) for d in range(width)) / (count * width)
    spread = redundant = 0.0
    for z in (z_a.tolist(), z_b.tolist()):
        means = [sum(row[d] for row in z) / count for d in range(width)]
        for c in range(width):
            for d in range(width):
                cov = sum((row[c] - means[c]) * (row[d] - means[d]) for row in z) / (count - 1)
                if c == d:
                    spread += max(0.0, 1 - math.sqrt(cov + 1e-4)) / width / 2
                else:
                    redundant += cov**2 / width
    return near, spread, redundant


def test_vicreg_equals_the_loop() -> None:
    z_a, z_b = pairs(7, 5)
    z_a = z_a * torch.tensor([0.1, 0.5, 1, 2, 0.0])  # on both sides of the target, and no spread at all
    found = vicreg(z_a, z_b)
    near, spread, redundant = vicreg_loop(z_a.detach(), z_b.detach())
    expected = (25 * near + 25 * spread + redundant, near, spread, redundant)
    assert [term.item() for term in found] == pytest.approx(expected, rel=1e-12)
    other = vicreg(z_a, z_b, invariance=1, variance=2, covariance=3).total.item()
    assert other == pytest.approx(near + 2 * spread + 3 * redundant, rel=1e-12)
    with pytest.raises(ValueError, match="no variance"):
        vicreg(z_a[:1], z_b[:1])


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4)).double()


LOSSES = {
    "nt_xent": lambda a, b: nt_xent(a, b, 0.2, block=5),
    "vicreg": lambda a, b: vicreg(a, b).total,
}


def loss_and_gradients(name: str, views: Tensor, model: nn.Module) -> dict[str, object]:
    loss = LOSSES[name](model(views[0]), model(views[1]))
    loss.backward()
    average_gradients(model.parameters())
    return {"loss": loss.detach(), "gradients": {key: p.grad for key, p in model.named_parameters()}}


def two_views() -> Tensor:
    return torch.randn(2, 10, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(6))


SIZES = ([5, 5], [7, 3])


def on_a_rank(rank: int) -> dict[str, object]:
    return {
        f"{name} {number}": loss_and_gradients(
            name, two_views().split(sizes, dim=1)[rank], convert_batch_norm(network())
        )
        for name in LOSSES
        for number, sizes in enumerate(SIZES)
    } | {"alone": nt_xent(*two_views().split([5, 5], dim=1)[rank], 0.2, across_ranks=False)}


def test_two_ranks_equal_one_rank_with_the_joint_batch(tmp_path_factory: pytest.TempPathFactory) -> None:
    found = run_on_ranks(on_a_rank, 2, tmp_path_factory.mktemp("ranks"))
    for name in LOSSES:
        expected = loss_and_gradients(name, two_views(), network())
        for number in range(len(SIZES)):
            of_ranks = [found[rank][f"{name} {number}"] for rank in (0, 1)]
            mean = sum(part["loss"] for part in of_ranks) / 2
            torch.testing.assert_close(mean, expected["loss"], rtol=1e-12, atol=1e-12)
            for part in of_ranks:
                torch.testing.assert_close(part["gradients"], expected["gradients"], rtol=1e-9, atol=1e-9)
    for rank in (0, 1):
        alone = nt_xent(*two_views().split([5, 5], dim=1)[rank], 0.2)
        torch.testing.assert_close(found[rank]["alone"], alone)


def test_equals_cross_entropy_of_the_whole_matrix() -> None:
    """As P2's batch, by torch's own cross-entropy in float64."""
    z_a, z_b = pairs(628, 128)
    z = functional.normalize(torch.cat([z_a, z_b]), dim=1)
    logits = (z @ z.T / 0.1).fill_diagonal_(-torch.inf)
    expected = functional.cross_entropy(logits, torch.arange(2 * 628).roll(628))
    wanted = torch.autograd.grad(expected, (z_a, z_b))
    found = nt_xent(z_a, z_b, 0.1, block=500)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(torch.autograd.grad(found, (z_a, z_b)), wanted, rtol=1e-9, atol=1e-12)
