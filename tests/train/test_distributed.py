"""Two gloo processes against one process with the joint batch, in float64."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from cdifast.nn import preact_resnet
from cdifast.train.cross_rank_batch_norm import CrossRankBatchNorm1d, CrossRankBatchNorm2d, convert_batch_norm
from cdifast.train.distributed import (
    Ranks,
    any_rank,
    average_gradients,
    current_ranks,
    gather_rows,
    process_group,
    ranks_from_environment,
    require_same,
    rows_of_ranks,
    sum_over_ranks,
)
from tests.train.ranks import run_on_ranks

PARTS = ([5, 3], [4, 4], [8, 0])


def part(tensor: Tensor, sizes: list[int], rank: int) -> Tensor:
    return tensor.split(sizes)[rank].clone()


def collectives(rank: int) -> dict[str, object]:
    found: dict[str, object] = {"ranks": [current_ranks().rank, current_ranks().world_size]}
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(8, 3, dtype=torch.float64, generator=generator)
    weights = torch.randn(2, 8, 8, dtype=torch.float64, generator=generator)
    for number, sizes in enumerate(PARTS):
        own = part(x, sizes, rank).requires_grad_()
        rows = gather_rows(own)
        (weights[rank] * (rows @ rows.T)).sum().backward()
        found[f"rows {number}"], found[f"gradient {number}"] = rows.detach(), own.grad
        found[f"counts {number}"] = rows_of_ranks(own)
    total_of = torch.full((2,), rank + 1.0, requires_grad=True)
    total = sum_over_ranks(total_of)
    (total.square() * (rank + 1)).sum().backward()
    found["sum"], found["sum gradient"] = total.detach(), total_of.grad
    whole_numbers = gather_rows(torch.arange(rank + 1))
    found["integers"] = whole_numbers
    parameters = [nn.Parameter(torch.zeros(2)) for _ in range(3)]
    parameters[0].grad = torch.tensor([1.0, 2.0]) * (rank + 1)
    if rank == 1:
        parameters[1].grad = torch.ones(2)
    average_gradients(parameters, weight=[3, 1][rank])
    found["means"] = [parameters[0].grad, parameters[1].grad]
    found["none"] = parameters[2].grad is None
    empty = nn.Parameter(torch.zeros(1))
    empty.grad = torch.tensor([float("nan") if rank else 5.0])
    average_gradients([empty], weight=1 - rank)
    found["of the one with images"] = empty.grad
    found["any"] = [any_rank(rank == 1), any_rank(False)]
    require_same("a", "data")
    try:
        require_same(f"{rank}", "data")
    except ValueError as error:
        found["refused"] = str(error)
    try:
        average_gradients(parameters, 0)
    except ValueError as error:
        found["no weight"] = str(error)
    return found


def all_of_it(rank: int) -> dict[str, object]:
    return {
        "collectives": collectives(rank),
        "normalised": [normalised(rank, sizes) for sizes in PARTS],
        "mixed": mixed_precision(rank),
    }


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """Of both ranks; starting processes takes longer than all they do."""
    return run_on_ranks(all_of_it, 2, tmp_path_factory.mktemp("ranks"))


def test_collectives_and_their_gradients(everything: list[dict]) -> None:
    found = [of_rank["collectives"] for of_rank in everything]
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(8, 3, dtype=torch.float64, generator=generator).requires_grad_()
    weights = torch.randn(2, 8, 8, dtype=torch.float64, generator=generator)
    # The gradient of the sum of both ranks' losses.
    (weights.sum(0) * (x @ x.T)).sum().backward()
    assert x.grad is not None
    for number, sizes in enumerate(PARTS):
        for rank in (0, 1):
            torch.testing.assert_close(found[rank][f"rows {number}"], x.detach(), rtol=0, atol=0)
            torch.testing.assert_close(found[rank][f"gradient {number}"], part(x.grad, sizes, rank))
            assert found[rank][f"counts {number}"] == sizes
    for rank in (0, 1):
        assert found[rank]["ranks"] == [rank, 2]
        assert found[rank]["sum"].tolist() == [3, 3]
        # d/dx of s^2 + 2 s^2 with s = 3.
        assert found[rank]["sum gradient"].tolist() == [18, 18]
        assert found[rank]["integers"].tolist() == [0, 0, 1]
        torch.testing.assert_close(found[rank]["means"][0], torch.tensor([1.25, 2.5]))
        torch.testing.assert_close(found[rank]["means"][1], torch.tensor([0.25, 0.25]))
        assert found[rank]["none"]
        assert found[rank]["of the one with images"].tolist() == [5]
        assert found[rank]["any"] == [True, False]
        assert "data: found another on rank 1" in found[rank]["refused"]
        assert "found 0 on all ranks" in found[rank]["no weight"]


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        body = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3))
        head = nn.Sequential(nn.BatchNorm2d(5, affine=False, momentum=None), nn.Flatten(), nn.Linear(5 * 16, 6))
        return nn.Sequential(body, head, nn.BatchNorm1d(6, track_running_stats=False)).double()


def images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    # Far from zero mean: a variance as a difference of means of squares would lose digits.
    x = 1000 + torch.randn(8, 1, 8, 8, dtype=torch.float64, generator=generator)
    return x, torch.randn(8, 6, dtype=torch.float64, generator=generator)


def step(model: nn.Module, x: Tensor, y: Tensor, whole: int) -> tuple[Tensor, Tensor]:
    x = x.requires_grad_()
    output = model(x)
    # A rank's mean loss, as its share of the joint one.
    loss = functional.mse_loss(output, y, reduction="sum") / whole
    loss.backward()
    assert x.grad is not None
    return output.detach(), x.grad


def normalised(rank: int, sizes: list[int]) -> dict[str, object]:
    model = convert_batch_norm(network())
    x, y = images()
    outputs, gradients = [], []
    for _ in range(2):
        output, gradient = step(model, part(x, sizes, rank), part(y, sizes, rank), len(x))
        outputs.append(output)
        gradients.append(gradient)
    # Sums over both: each rank's loss is its share of the joint one.
    average_gradients(model.parameters())
    model.eval()
    return {
        "outputs": outputs,
        "gradients": gradients,
        "parameters": {name: 2 * p.grad for name, p in model.named_parameters() if p.grad is not None},
        "state": dict(model.state_dict()),
        "evaluated": model[0](part(x, sizes, rank)).detach(),
    }


@pytest.mark.parametrize("case", range(len(PARTS)))
def test_batch_norm_equals_one_process_with_the_joint_batch(everything: list[dict], case: int) -> None:
    sizes, found = PARTS[case], [of_rank["normalised"][case] for of_rank in everything]
    model = network()
    x, y = images()
    for number in range(2):
        output, gradient = step(model, x.clone(), y, len(x))
        for rank in (0, 1):
            torch.testing.assert_close(found[rank]["outputs"][number], part(output, sizes, rank), rtol=0, atol=1e-9)
            expected = part(gradient, sizes, rank)
            torch.testing.assert_close(found[rank]["gradients"][number], expected, rtol=1e-7, atol=1e-8)
    model.eval()
    for rank in (0, 1):
        parameters = {name: p.grad for name, p in model.named_parameters()}
        torch.testing.assert_close(found[rank]["parameters"], parameters, rtol=1e-7, atol=1e-8)
        torch.testing.assert_close(found[rank]["state"], dict(model.state_dict()), rtol=1e-12, atol=1e-9)
        evaluated = part(model[0](x).detach(), sizes, rank)
        torch.testing.assert_close(found[rank]["evaluated"], evaluated, rtol=0, atol=1e-9)


def mixed_precision(rank: int) -> dict[str, object]:
    layer = CrossRankBatchNorm1d(6)
    own = part(images()[1], [5, 3], rank).bfloat16().requires_grad_()
    output = layer(own)
    output.square().sum().backward()
    return {"output": output.detach(), "mean": layer.running_mean, "gradient": own.grad}


def test_half_precision_has_statistics_in_float32(everything: list[dict]) -> None:
    layer = nn.BatchNorm1d(6)
    output = layer(images()[1].bfloat16().float())
    for rank in (0, 1):
        found = everything[rank]["mixed"]
        assert found["output"].dtype == found["gradient"].dtype == torch.bfloat16
        assert found["mean"].dtype == torch.float32
        torch.testing.assert_close(found["mean"], layer.running_mean)
        torch.testing.assert_close(found["output"].float(), part(output.detach(), [5, 3], rank), rtol=0.01, atol=0.01)


def test_conversion_keeps_parameters_names_and_one_process_results() -> None:
    model = preact_resnet(18, 3, width=0.125)
    x = torch.randn(4, 1, 32, 32)
    plain = copy.deepcopy(model)
    before = dict(model.named_parameters())
    converted = convert_batch_norm(model)
    assert converted is model
    assert not any(type(module) is nn.BatchNorm2d for module in model.modules())
    assert sum(isinstance(module, CrossRankBatchNorm2d) for module in model.modules()) == sum(
        isinstance(module, nn.BatchNorm2d) for module in plain.modules()
    )
    after = dict(model.named_parameters())
    assert before.keys() == after.keys()
    assert all(before[name] is after[name] for name in before)
    assert torch.equal(model(x), plain(x))
    torch.testing.assert_close(dict(model.state_dict()), dict(plain.state_dict()), rtol=0, atol=0)
    with pytest.raises(ValueError, match="expected 4D input"):
        CrossRankBatchNorm2d(3)(torch.zeros(2, 3))


def test_one_process_needs_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with process_group() as ranks:
        assert ranks == Ranks() == current_ranks()
        assert ranks.is_first
    x = torch.ones(2, 3)
    assert gather_rows(x) is x
    assert sum_over_ranks(x) is x
    assert not any_rank(False)
    require_same("a", "data")


def test_the_environment_of_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("RANK", "5")
    monkeypatch.setenv("LOCAL_RANK", "1")
    ranks = ranks_from_environment()
    assert ranks == Ranks(5, 8, 1)
    assert not ranks.is_first
    assert ranks.device("cuda") == torch.device("cuda", 1)
    assert ranks.device("cuda:0") == torch.device("cuda", 0)
    assert ranks.device("cpu") == torch.device("cpu")
    monkeypatch.setenv("RANK", "8")
    with pytest.raises(ValueError, match="RANK: found 8, expected 0 to 7"):
        ranks_from_environment()
    monkeypatch.setenv("RANK", "two")
    with pytest.raises(ValueError, match="RANK: found 'two', expected a whole number"):
        ranks_from_environment()
    monkeypatch.delenv("RANK")
    with pytest.raises(ValueError, match="RANK: not set"):
        ranks_from_environment()
