"""The CUDA kernels, launchers and registration of polar resampling and its way back, run by the emulator."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from conftest import Configure
from emulator_build import MAX_BLOCKS
from torch import Tensor

from cdifast import reference

FLOATING = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
DTYPES = [torch.uint8, torch.uint16, torch.int16, torch.int32, *FLOATING]
# Those of tests/ops/test_contract.py: relative error (norm) against the float64 reference of the same, rounded input.
TOLERANCE = {torch.float16: 2e-3, torch.bfloat16: 1.5e-2, torch.float32: 2e-6, torch.float64: 1e-13}
PATCH = 16  # rows and columns of the target that a block has at a time
GROUP = 8  # images that a thread of the adjoint adds up at a time
LIST = 24  # samples that a thread of the adjoint keeps at a time
WARP = 32
OPS = torch.ops.cdifast_emulator

both_ways = pytest.mark.parametrize("way", ["polar", "cartesian"])


def named(dtypes: list[torch.dtype]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("dtype", dtypes, ids=lambda dtype: str(dtype).removeprefix("torch."))


@dataclass(frozen=True)
class Case:
    """A geometry, and what the operators of one way and the reference do with it."""

    way: str
    image: tuple[int, int]
    map: tuple[int, int]
    center: Tensor
    good: Tensor | None = None
    r_min: float = 0.0
    r_max: float = 4.0
    nearest: bool = False

    @property
    def source(self) -> tuple[int, int]:
        return self.image if self.way == "polar" else self.map

    @property
    def target(self) -> tuple[int, int]:
        return self.map if self.way == "polar" else self.image

    @property
    def radii(self) -> tuple[float, float, bool]:
        return self.r_min, self.r_max, self.nearest

    def _operator(self, name: str) -> Any:
        return getattr(OPS, f"{self.way}_{name}")

    def forward(self, source: Tensor, fill: float = 0.0) -> Tensor:
        return self._operator("resample")(source, self.center, self.good, *self.target, *self.radii, fill)

    def into(self, source: Tensor, out: Tensor, fill: float = 0.0) -> None:
        self._operator("resample_out")(source, self.center, self.good, *self.radii, fill, out)

    def weight(self, float64: bool = True) -> Tensor:
        return self._operator("weight")(self.center, self.good, *self.source, *self.target, *self.radii, float64)

    def backward(self, grad: Tensor) -> Tensor:
        return self._operator("resample_backward")(grad, self.center, self.good, *self.source, *self.radii)

    def backward_center(self, grad: Tensor, source: Tensor) -> Tensor:
        return self._operator("resample_backward_center")(grad, source, self.center, self.good, *self.radii)

    def everything(self, source: Tensor, grad: Tensor) -> list[Tensor]:
        return [self.forward(source), self.weight(), self.backward(grad), self.backward_center(grad, source)]

    def reference(self, source: Tensor, center: Tensor | None = None, fill: float = 0.0) -> tuple[Tensor, Tensor]:
        count = len(source)
        function = reference.polar_resample if self.way == "polar" else reference.cartesian_resample
        return function(
            source,
            *self.target,
            center=(self.center if center is None else center).expand(count, 2),
            r_min=self.r_min,
            r_max=self.r_max,
            mask=None if self.good is None else self.good.expand(count, *self.source),
            interpolation="nearest" if self.nearest else "bilinear",
            fill=fill,
        )

    def reference_gradients(self, source: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
        source = source.double().nan_to_num().requires_grad_()
        center = self.center.clone().requires_grad_()
        values, weight = self.reference(source, center)
        # A sample without a value has no gradient to give, whatever stands in its place.
        torch.where(weight > 0, values * torch.where(weight > 0, grad.double(), 0), 0).sum().backward()
        assert source.grad is not None
        return source.grad, torch.zeros_like(center) if center.grad is None else center.grad


def centers(count: int = 1) -> Tensor:
    """Off the pixels and their middles, where a sample's slope has two values."""
    return torch.tensor([[6.217, 5.831]], dtype=torch.float64) + 0.377 * torch.arange(count)[:, None]


def case(way: str, **changes: Any) -> Case:
    return replace(Case(way, (13, 11), (9, 17), centers(), r_min=0.4, r_max=7.3), **changes)


def values(count: int, size: tuple[int, int], dtype: torch.dtype, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    if dtype in FLOATING:
        return torch.randn(count, *size, dtype=torch.float64, generator=generator).to(dtype)
    return torch.randint(0, 200, (count, *size), generator=generator).to(dtype)


def mask(count: int, size: tuple[int, int], bad: float = 0.25) -> Tensor:
    return torch.rand(count, *size, generator=torch.Generator().manual_seed(7)) > bad


def error(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected).norm() / expected.norm())


def assert_as_reference(found: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    assert found.shape == expected.shape
    assert error(found, expected.detach()) < TOLERANCE[dtype]


# --- forward and weight


@both_ways
@named(DTYPES)
def test_values_of_every_dtype(configure: Configure, way: str, dtype: torch.dtype) -> None:
    geometry = case(way)
    geometry = replace(geometry, good=mask(1, geometry.source))
    source = values(3, geometry.source, dtype)
    if dtype in FLOATING:
        source = torch.where(geometry.good, source, math.nan)  # what a masked element holds must not matter
    found = geometry.forward(source, fill=-2.0)
    assert found.dtype == (dtype if dtype in FLOATING else torch.float32)
    expected, weight = geometry.reference(source.double(), fill=-2.0)
    assert ((weight > 0) & (weight < 1)).any()
    assert (weight == 0).any()
    assert_as_reference(found, expected, found.dtype)


@both_ways
@pytest.mark.parametrize("nearest", [False, True])
@pytest.mark.parametrize("shared", [(True, True), (True, False), (False, True), (False, False)])
def test_centers_and_masks_for_all_images_or_for_each(
    configure: Configure, way: str, nearest: bool, shared: tuple[bool, bool]
) -> None:
    geometry = case(way, center=centers(1 if shared[0] else 4), nearest=nearest)
    geometry = replace(geometry, good=mask(1 if shared[1] else 4, geometry.source))
    source, grad = values(4, geometry.source, torch.float64), values(4, geometry.target, torch.float64)
    expected, weight = geometry.reference(source)
    to_source, to_center = geometry.reference_gradients(source, grad)
    assert_as_reference(geometry.forward(source), expected, torch.float64)
    assert len(geometry.weight()) == (1 if all(shared) else 4)
    assert_as_reference(geometry.weight().expand_as(weight), weight, torch.float64)
    assert_as_reference(geometry.backward(grad), to_source, torch.float64)
    found = geometry.backward_center(grad, source)
    if nearest:
        assert torch.equal(found, torch.zeros_like(geometry.center))
    else:
        torch.testing.assert_close(found, to_center, rtol=1e-11, atol=1e-11)


@both_ways
@pytest.mark.parametrize("size", [(9, 13), (31, 43)])  # less than a patch; more patches than blocks
def test_batches_of_several_chunks(configure: Configure, way: str, size: tuple[int, int]) -> None:
    geometry = Case(way, *((13, 11), size)[:: 1 if way == "polar" else -1], centers(), r_max=6.5)
    patches = math.prod(math.ceil(extent / PATCH) for extent in size)
    assert patches == 1 if size[0] == 9 else patches > MAX_BLOCKS
    source = values(2 * MAX_BLOCKS + 1, geometry.source, torch.float32)
    assert_as_reference(geometry.forward(source), geometry.reference(source.double())[0], torch.float32)
    assert error(geometry.weight(float64=False), geometry.reference(source[:1].double())[1]) < 1e-6


@pytest.mark.parametrize("n_angular", [1, 2, 3, 8, 90, 1000])
def test_directions_to_the_last_bits(configure: Configure, n_angular: int) -> None:
    # A plane is reproduced exactly: x - c is r cos(phi), c - y is r sin(phi).
    plane = torch.arange(17, dtype=torch.float64).expand(17, 17)
    both = Case("polar", (17, 17), (1, n_angular), torch.full((1, 2), 8.0, dtype=torch.float64), r_min=6.0, r_max=6.0)
    x, y = both.forward(torch.stack([plane, plane.mT])).squeeze(1) - 8
    phi = 2 * math.pi * torch.arange(n_angular, dtype=torch.float64) / n_angular
    torch.testing.assert_close(x, 6 * torch.cos(phi), rtol=0, atol=1.5e-14)
    torch.testing.assert_close(-y, 6 * torch.sin(phi), rtol=0, atol=1.5e-14)


# --- gradients


@both_ways
@named(FLOATING)
@pytest.mark.parametrize("count", [1, GROUP + 3])
def test_gradient_of_the_source(configure: Configure, way: str, dtype: torch.dtype, count: int) -> None:
    geometry = case(way)
    geometry = replace(geometry, good=mask(1, geometry.source))
    grad = values(count, geometry.target, dtype)
    grad = torch.where(geometry.weight() > 0, grad, math.nan)  # nor a gradient where there is no value
    expected, _ = geometry.reference_gradients(values(count, geometry.source, torch.float64), grad)
    found = geometry.backward(grad)
    assert found.dtype == dtype
    assert_as_reference(found, expected, dtype)


def geometries(way: str, count: int) -> list[Case]:
    """Small ones of all kinds: one ring or angle, rings that lie on one another, centres on pixels and far outside."""
    draw = random.Random(way)
    cases = []
    for _ in range(count):
        height, width = draw.randint(1, 7), draw.randint(1, 7)
        center = draw.choice(
            [
                ((height - 1) / 2, (width - 1) / 2),
                (draw.uniform(0, height - 1), draw.uniform(0, width - 1)),
                (draw.uniform(-2, height + 2), draw.uniform(-2, width + 2)),
                (draw.randint(-1, height), draw.randint(-1, width)),
                (draw.uniform(-30, 30), draw.uniform(-30, 30)),
            ]
        )
        r_min = draw.choice([0.0, 0.0, 1.0, draw.uniform(0, 5)])
        extent = draw.choice([0.0, draw.uniform(0, 1e-3), *(draw.uniform(0, 5) for _ in range(5)), draw.uniform(0, 50)])
        rings_and_angles = draw.choice([1, 2, 3, 5, 9]), draw.choice([1, 2, 3, 4, 5, 6, 7, 8, 13])
        made = Case(
            way,
            (height, width),
            rings_and_angles,
            torch.tensor([center], dtype=torch.float64),
            r_min=r_min,
            r_max=r_min + extent,
            nearest=draw.random() < 0.4,
        )
        cases.append(replace(made, good=draw.choice([None, mask(1, made.source, draw.choice([0.1, 0.4]))])))
    return cases


def assert_adjoint(geometry: Case) -> int:
    """Both operators' dense matrices, a column each from one image of a batch. Returns how much is in them."""
    inputs, outputs = math.prod(geometry.source), math.prod(geometry.target)
    forward = geometry.forward(torch.eye(inputs, dtype=torch.float64).reshape(inputs, *geometry.source))
    backward = geometry.backward(torch.eye(outputs, dtype=torch.float64).reshape(outputs, *geometry.target))
    matrix, transposed = forward.reshape(inputs, outputs), backward.reshape(outputs, inputs)
    torch.testing.assert_close(transposed, matrix.mT, rtol=0, atol=1e-12, msg=lambda text: f"{geometry}: {text}")
    return int(matrix.count_nonzero())


@both_ways
def test_the_adjoint_of_any_geometry_is_the_transposed_matrix(configure: Configure, way: str) -> None:
    assert sum(assert_adjoint(geometry) for geometry in geometries(way, 40)) > 300


@pytest.mark.parametrize("nearest", [False, True])
@pytest.mark.parametrize(
    "geometry",
    [
        # Warps share the pixels round the centre: 150 angles, two pixels to either side.
        Case("polar", (9, 12), (3, 150), torch.tensor([[4.1, 5.3]], dtype=torch.float64), r_max=4.5),
        # Warps share the outer rings' sectors, some of which have more rows than columns, some fewer.
        Case("cartesian", (30, 34), (3, 8), torch.tensor([[14.2, 17.6]], dtype=torch.float64), r_max=14.0),
        # All rings', with a hole.
        Case("cartesian", (25, 20), (2, 2), torch.tensor([[12.0, 9.5]], dtype=torch.float64), r_min=9.0, r_max=13.0),
    ],
    ids=["polar", "cartesian", "two angles"],
)
def test_the_adjoint_where_warps_share_the_work(configure: Configure, geometry: Case, nearest: bool) -> None:
    geometry = replace(geometry, nearest=nearest, good=mask(1, geometry.source, 0.1))
    grad = values(2, geometry.target, torch.float64)
    expected, _ = geometry.reference_gradients(values(2, geometry.source, torch.float64), grad)
    assert_as_reference(geometry.backward(grad), expected, torch.float64)


def most_samples(geometry: Case) -> int:
    """Of those that read one element."""
    inputs = math.prod(geometry.source)
    matrix = geometry.forward(torch.eye(inputs, dtype=torch.float64).reshape(inputs, *geometry.source))
    return int(matrix.reshape(inputs, -1).count_nonzero(1).max())


@named([torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("geometry", "sharing"),
    [
        # All rings lie on one another, on pixels far from the square that warps share.
        (Case("polar", (1, 40), (90, 8), torch.tensor([[0.2, 9.3]], dtype=torch.float64), r_min=20.3, r_max=20.3), 1),
        (Case("polar", (5, 4), (3, 1700), torch.tensor([[2.1, 1.3]], dtype=torch.float64), r_max=2.5), WARP),
        (Case("cartesian", (42, 41), (2, 1), torch.tensor([[20.2, 19.6]], dtype=torch.float64), r_max=32.0), WARP),
    ],
    ids=["one thread's", "a warp's of pixels", "a warp's of an unwrapped map"],
)
def test_the_adjoint_of_more_samples_than_a_list_holds(
    configure: Configure, geometry: Case, sharing: int, masked: bool, dtype: torch.dtype
) -> None:
    assert most_samples(geometry) > 2 * LIST * sharing
    geometry = replace(geometry, good=mask(1, geometry.source, 0.1) if masked else None)
    grad = values(GROUP + 3, geometry.target, dtype)
    expected, _ = geometry.reference_gradients(values(GROUP + 3, geometry.source, torch.float64), grad)
    # Sums of thousands of samples: float32 rounds a little more than where there are four.
    assert error(geometry.backward(grad), expected) < TOLERANCE[dtype] * (2 if dtype == torch.float32 else 1)


def test_the_adjoint_of_more_images_than_a_team_keeps_sums_of(configure: Configure) -> None:
    count = GROUP * WARP + GROUP + 3
    geometry = Case("polar", (3, 3), (2, 900), torch.tensor([[1.1, 1.3]], dtype=torch.float64), r_max=0.7)
    assert most_samples(geometry) > LIST * WARP
    grad = values(count, geometry.target, torch.float32)
    expected = torch.cat([geometry.backward(part.double()) for part in grad.split(1)])
    assert_as_reference(geometry.backward(grad), expected, torch.float32)


@both_ways
def test_inside_and_outside_in_one_warp(configure: Configure, way: str) -> None:
    """Centres so different that of two images one sample lies inside and the other does not."""
    for center in (centers(5) * 2 - 6, centers(5) - 4, torch.tensor([[6.0, 5.0], [6.0, 500.0], [6.0, 5.0]]).double()):
        geometry = case(way, center=center)
        source = values(len(center), geometry.source, torch.float32)
        expected, _ = geometry.reference(source.double(), fill=-2.0)
        assert_as_reference(geometry.forward(source, fill=-2.0), expected, torch.float32)


@both_ways
@named(DTYPES)
def test_gradient_of_the_center(configure: Configure, way: str, dtype: torch.dtype) -> None:
    geometry = case(way)
    geometry = replace(geometry, good=mask(1, geometry.source))
    source, natural = values(5, geometry.source, dtype), dtype if dtype in FLOATING else torch.float32
    # As the forward pass pairs them, and one that it does not.
    for grad_dtype in (natural, torch.bfloat16 if dtype == torch.float32 else torch.float64):
        grad = values(5, geometry.target, grad_dtype)
        _, expected = geometry.reference_gradients(source, grad)
        found = geometry.backward_center(grad, source)
        assert found.dtype == torch.float64
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-9)


# --- what must not matter


@pytest.mark.same_accesses
@both_ways
@pytest.mark.parametrize("shared", [True, False])
def test_bit_for_bit_the_same_in_any_order_of_threads_and_whatever_shared_memory_held(
    configure: Configure, way: str, shared: bool
) -> None:
    geometry = Case(way, (20, 18), (3, 130 if way == "polar" else 10), centers(1 if shared else 3), r_max=9.0)
    source, grad = values(3, geometry.source, torch.float32), values(3, geometry.target, torch.float32)
    results = []
    for schedule, poison in ((0, 0xFF), (0, 0xFF), (1, 0x00), (2, 0x5A), (3, 0x7F)):
        configure(schedule, poison)
        results.append(geometry.everything(source, grad))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@both_ways
def test_any_memory_layout(configure: Configure, way: str) -> None:
    geometry = case(way, center=centers(2))
    geometry = replace(geometry, good=mask(2, geometry.source))
    source, grad = values(2, geometry.source, torch.float32), values(2, geometry.target, torch.float32)
    expected = geometry.everything(source, grad)
    scattered = replace(
        geometry, center=geometry.center.mT.contiguous().mT, good=geometry.good.repeat(1, 2, 1)[:, : geometry.source[0]]
    )
    found = scattered.everything(source.mT.contiguous().mT, grad.repeat(1, 1, 2)[..., : geometry.target[1]])
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


@both_ways
def test_writes_into_a_given_tensor(configure: Configure, way: str) -> None:
    geometry = case(way)
    source = values(2, geometry.source, torch.int16)
    out = torch.full((2, *geometry.target), math.nan)
    geometry.into(source, out, fill=3.0)
    assert torch.equal(out, geometry.forward(source, fill=3.0))


@both_ways
def test_empty_batches(configure: Configure, way: str) -> None:
    for count in (0, 1):
        geometry = case(way, center=centers(count))
        source, grad = (torch.empty(0, *size) for size in (geometry.source, geometry.target))
        value, weight, to_source, to_center = geometry.everything(source, grad)
        assert value.shape == grad.shape
        assert weight.shape == (count, *geometry.target)
        assert to_source.shape == source.shape
        assert torch.equal(to_center, torch.zeros(count, 2, dtype=torch.float64))
        geometry.into(source, grad)


@both_ways
@pytest.mark.parametrize("outside", [math.nan, math.inf, 1e300, -1e18])
def test_a_center_that_is_nowhere(configure: Configure, way: str, outside: float) -> None:
    geometry = case(way, center=torch.tensor([[6.0, outside]], dtype=torch.float64))
    source, grad = torch.ones(1, *geometry.source), torch.ones(1, *geometry.target)
    value, weight, to_source, to_center = geometry.everything(source, grad)
    for result in (value, weight, to_source, to_center):
        assert torch.equal(result, torch.zeros_like(result))


def test_infinite_elements_reach_the_samples_that_take_them(configure: Configure) -> None:
    image = torch.zeros(1, 5, 5)
    image[0, 2, 3] = math.inf
    geometry = Case("polar", (5, 5), (3, 4), torch.full((1, 2), 2.0, dtype=torch.float64), r_max=2.0)
    ring = [[0.0, 0.0, 0.0, 0.0], [math.inf, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    assert geometry.forward(image)[0].tolist() == ring


# --- refusals


@both_ways
def test_refuses_what_the_gpu_would_refuse(configure: Configure, way: str) -> None:
    geometry = case(way)
    argument = "images" if way == "polar" else "unwrapped"
    source, grad = torch.ones(2, *geometry.source), torch.ones(2, *geometry.target)
    one, two = torch.zeros(1, 2, dtype=torch.float64), torch.zeros(2, 2, dtype=torch.float64)
    operator = f"{way}_resample"

    def refuses(message: str, **changes: Any) -> None:
        for function in (
            lambda g: g.forward(source),
            lambda g: g.into(source, grad.clone()),
            lambda g: g.backward(grad),
            lambda g: g.backward_center(grad, source),
        ):
            with pytest.raises(RuntimeError, match=f"{operator}.*{message}"):
                function(replace(geometry, **changes))

    refuses(r"center must have shape \(1 or N, 2\)", center=torch.zeros(2, dtype=torch.float64))
    refuses("center must be float64", center=one.float())
    refuses("center or good is for 3 images, but there are 2", center=torch.zeros(3, 2, dtype=torch.float64))
    good = torch.ones(1, *geometry.source, dtype=torch.bool)
    refuses("good must be bool", good=good.float())
    refuses(r"good must have shape \(1 or N, ", good=good[:, 1:])
    refuses("center and good differ in length: 2 and 3", center=two, good=good.expand(3, *geometry.source))
    for r_min, r_max in itertools.permutations((-1.0, 3.0)):
        refuses("need 0 <= r_min <= r_max < inf, got r_min=", r_min=r_min, r_max=r_max)
    refuses("need 0 <= r_min <= r_max < inf, got r_min=0 and r_max=inf", r_min=0.0, r_max=math.inf)

    with pytest.raises(RuntimeError, match=f"{operator}: {argument} has dtype Long; expected uint8"):
        geometry.forward(source.long())
    with pytest.raises(RuntimeError, match=f"{operator}: {argument} must have 3 dimensions"):
        geometry.forward(source[0])
    with pytest.raises(RuntimeError, match=f"{operator}_backward: grad has dtype Int; expected float16"):
        geometry.backward(grad.int())
    with pytest.raises(RuntimeError, match=f"grad and {argument} must be batches of the same length, got 1 and 2"):
        geometry.backward_center(grad[:1], source)
    for size in ((0, 4), (4, 0)):
        changed = replace(geometry, **{"map" if way == "polar" else "image": size})
        with pytest.raises(RuntimeError, match=f"{operator}: .* must be at least 1, got "):
            changed.forward(source)
        with pytest.raises(RuntimeError, match=f"{way}_weight: .* must be at least 1, got "):
            changed.weight()
    changed = replace(geometry, **{"map" if way == "polar" else "image": (1 << 16, 1 << 15)})
    with pytest.raises(RuntimeError, match=r"of 2\^31 (pixels|elements) or more are not supported"):
        changed.forward(source)


@both_ways
def test_refuses_an_unfit_out(configure: Configure, way: str) -> None:
    geometry = case(way)
    source, out = torch.ones(2, *geometry.source), torch.ones(2, *geometry.target)
    operator = f"{way}_resample_out"
    for wrong, message in (
        (out[0], "out must have 3 dimensions"),
        (out[:1], "out is for 1 images, but .* has 2"),
        (out.double(), "out has dtype Double; expected Float"),
        (out.mT, "out must be contiguous"),
    ):
        with pytest.raises(RuntimeError, match=f"{operator}: {message}"):
            geometry.into(source, wrong)
