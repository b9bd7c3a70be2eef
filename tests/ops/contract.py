"""The operators of the contract table: for each, its calls, inputs and reference. A new operator adds an entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from cdifast import ops, reference
from cdifast.ops.angular import composed, composed_backward
from cdifast.ops.dtypes import FLOATING, IMAGE_DTYPES


def _seeded(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, dtype=torch.float64, generator=generator).to(dtype)


def layouts(tensor: Tensor) -> tuple[Tensor, ...]:
    """The same numbers in memory that is transposed, strided, not aligned, and with the batch inside."""
    sliced = tensor.new_empty(tensor.shape[0], *(2 * s for s in tensor.shape[1:]))
    view = sliced[:, ::2, ::2]
    view.copy_(tensor)
    offset = tensor.new_empty(tensor.numel() + 1)[1:].reshape(tensor.shape).copy_(tensor)
    return tensor.mT.contiguous().mT, view, offset, tensor.transpose(0, 1).contiguous().transpose(0, 1)


@dataclass(frozen=True)
class Case:
    """One way to call one operator."""

    name: str
    operator: Callable[..., Tensor]  # the public function with its options, of tensor arguments
    reference: Callable[..., Tensor]
    inputs: Callable[[], tuple[Tensor, ...]]  # float64, away from kinks; the first has a leading batch dimension
    dispatcher: Callable[[tuple[Tensor, ...]], list[tuple[Any, tuple[Any, ...]]]]  # (operator, arguments) for opcheck
    dtypes: tuple[torch.dtype, ...] = FLOATING  # of the first input
    out: Callable[..., Tensor] | None = None  # as operator, with the keyword `out` too; name_out is in dispatcher then
    twice: bool = True  # has a second derivative in every input
    batched: bool = True  # takes any number of leading batch dimensions
    scale: float = 1.0  # factor for inputs of integer dtype
    cuda: bool = True  # has a CUDA kernel
    kernels: tuple[str, ...] = field(default=())  # dispatcher names


_C = torch.ops.cdifast


def _signed() -> Tensor:
    return 4 * _seeded(3, 4, 5) - 2


_ALPHA = torch.tensor(0.3, dtype=torch.float64)
_BIAS = torch.tensor([0.31, -0.52, 0.0, 1.7], dtype=torch.float64)  # one for each of dimension 1


def _activation(inputs: tuple[Tensor, ...]) -> list[tuple[Any, tuple[Any, ...]]]:
    x, *rest = inputs
    alpha = next((t for t in rest if t.numel() == 1), _ALPHA)
    bias = next((t for t in rest if t.numel() > 1), None)
    grad = torch.ones_like(x).requires_grad_(x.requires_grad)
    untracked = [None if t is None else t.detach() for t in (x, alpha, bias)]
    return [
        (_C.log_activation.default, (x, alpha, bias)),
        (_C.log_activation_out.default, (*untracked, torch.empty_like(x))),
        (_C.log_activation_backward.default, (grad, x, alpha, bias)),
        (_C.log_activation_backward_alpha.default, (grad, x, alpha, bias)),
        (_C.log_activation_backward_bias.default, (x,)),
    ]


_MASK = _seeded(17, 19, seed=1) > 0.2
_CENTERS = torch.tensor([[8.13, 9.21], [7.77, 9.06], [8.41, 8.69]], dtype=torch.float64)
_POLAR = {"r_min": 1.3, "r_max": 9.4}


def _resample(
    kind: str, source: tuple[int, int], target: tuple[int, int], good: Tensor | None, nearest: bool
) -> Callable[[tuple[Tensor, ...]], list[tuple[Any, tuple[Any, ...]]]]:
    """Every operator of one direction, from images of the shape ``source`` to the shape ``target``."""

    def calls(inputs: tuple[Tensor, ...]) -> list[tuple[Any, tuple[Any, ...]]]:
        images = inputs[0]
        center = inputs[1] if len(inputs) > 1 else _CENTERS
        grid = (1.3, 9.4, nearest)
        grad = torch.ones(3, *target, dtype=images.dtype).requires_grad_(images.requires_grad)
        fixed, fixed_center = images.detach(), center.detach()
        return [
            (getattr(_C, f"{kind}_resample").default, (images, center, good, *target, *grid, 0.5)),
            (
                getattr(_C, f"{kind}_resample_out").default,
                (fixed, fixed_center, good, *grid, 0.5, torch.empty(3, *target, dtype=images.dtype)),
            ),
            (getattr(_C, f"{kind}_weight").default, (fixed_center, good, *source, *target, *grid, False)),
            (getattr(_C, f"{kind}_resample_backward").default, (grad, fixed_center, good, *source, *grid)),
            (
                getattr(_C, f"{kind}_resample_backward_center").default,
                (grad.detach(), fixed, fixed_center, good, *grid),
            ),
        ]

    return calls


def _polar(good: Tensor | None, nearest: bool) -> Callable[[tuple[Tensor, ...]], list[tuple[Any, tuple[Any, ...]]]]:
    return _resample("polar", (17, 19), (6, 10), good, nearest)


def _cartesian(good: Tensor | None, nearest: bool) -> Callable[[tuple[Tensor, ...]], list[tuple[Any, tuple[Any, ...]]]]:
    return _resample("cartesian", (6, 10), (17, 19), good, nearest)


_MAP_MASK = _seeded(6, 10, seed=5) > 0.15

_WEIGHT = torch.where(_seeded(6, 16, seed=2) < 0.3, 0, _seeded(6, 16, seed=3))


def _correlation(weight: Tensor | None, *options: Any) -> Callable[[tuple[Tensor, ...]], list[tuple[Any, Any]]]:
    order, modulus, normalize, _fill, min_weight = options

    def calls(inputs: tuple[Tensor, ...]) -> list[tuple[Any, tuple[Any, ...]]]:
        w = None if weight is None else weight.reshape(-1, 6, 16)
        x = inputs[0]
        grad = torch.ones(3, 6, 6, dtype=x.dtype).requires_grad_(x.requires_grad)
        out = torch.empty(3, 6, 6, dtype=x.dtype)
        result: list[tuple[Any, tuple[Any, ...]]] = [
            (_C.correlation_map.default, (x, w, *options)),
            (_C.correlation_map_out.default, (x.detach(), w, *options, out)),
            (_C.correlation_map_backward.default, (grad, x, w, order, modulus, normalize, min_weight)),
        ]
        if w is not None:
            result.append((_C.correlation_weight.default, (w, 0.05)))
        return result

    return calls


def _fused(good: Tensor | None, *options: Any) -> Callable[[tuple[Tensor, ...]], list[tuple[Any, tuple[Any, ...]]]]:
    def calls(inputs: tuple[Tensor, ...]) -> list[tuple[Any, tuple[Any, ...]]]:
        images = inputs[0]
        center = inputs[1] if len(inputs) > 1 else _CENTERS
        grid = (1.3, 8.0, False)
        out = torch.empty(3, 6, 6, dtype=images.dtype)
        return [
            (_C.polar_correlation_map.default, (images, center, good, 6, 16, *grid, *options)),
            (_C.polar_correlation_map_out.default, (images.detach(), center.detach(), good, 16, *grid, *options, out)),
        ]

    return calls


_ORDERS = [0, 2, -3, 8]
_PAIRS = torch.tensor([[0, 1], [5, 2], [3, 3], [1, 0]])


def _harmonics(weight: Tensor | None) -> Callable[[tuple[Tensor, ...]], list[tuple[Any, tuple[Any, ...]]]]:
    def calls(inputs: tuple[Tensor, ...]) -> list[tuple[Any, tuple[Any, ...]]]:
        w = None if weight is None else weight[None]
        x, orders = inputs[0], torch.tensor(_ORDERS)
        grad = torch.ones(3, len(_ORDERS), 6, 2, dtype=x.dtype).requires_grad_(x.requires_grad)
        return [
            (_C.angular_harmonics.default, (x, w, orders)),
            (_C.angular_harmonics_out.default, (x.detach(), w, orders, torch.empty_like(grad.detach()))),
            (_C.angular_harmonics_backward.default, (grad, w, orders, 16)),
        ]

    return calls


def _angular(weight: Tensor | None) -> Callable[[tuple[Tensor, ...]], list[tuple[Any, tuple[Any, ...]]]]:
    def calls(inputs: tuple[Tensor, ...]) -> list[tuple[Any, tuple[Any, ...]]]:
        w = None if weight is None else weight[None]
        x = inputs[0]
        grad = torch.ones(3, len(_PAIRS), 16, dtype=x.dtype).requires_grad_(x.requires_grad)
        return [
            (_C.angular_correlation.default, (x, w, _PAIRS, -1.0, 0.05)),
            (_C.angular_correlation_out.default, (x.detach(), w, _PAIRS, -1.0, 0.05, torch.empty_like(grad.detach()))),
            (_C.angular_correlation_backward.default, (grad, x, w, _PAIRS, 0.05)),
        ]

    return calls


def check_tiles(dtype: torch.dtype, *, masked: bool) -> None:
    """A geometry that all images share is sampled in tiles of 16 x 16, one for each image in groups: the same bits.

    Outputs with whole tiles along rows and columns, broken ones at both ends, and samples outside the source.
    """
    for resample, source, target, options in (
        (ops.polar_resample, (70, 64), (41, 53), {"r_min": 0.5, "r_max": 37.0}),
        (ops.cartesian_resample, (40, 64), (57, 49), {"r_min": 1.0, "r_max": 30.0}),
    ):
        detector = source if resample is ops.polar_resample else target
        middle = ((detector[0] - 1) / 2 + 0.3, (detector[1] - 1) / 2 - 0.2)
        images = _seeded(9, *source, seed=3).mul(200).to(dtype)
        options = {**options, "fill": -3.0, "mask": _seeded(*source, seed=4) > 0.02 if masked else None}
        each = torch.tensor(middle, dtype=torch.float64).expand(9, 2)
        expected = resample(images, *target, center=each, **options)  # type: ignore[operator]
        assert torch.equal(resample(images, *target, center=middle, **options), expected)  # type: ignore[operator]
        few = resample(images[:3], *target, center=middle, **options)  # type: ignore[operator]
        assert torch.equal(few, expected[:3])


def check_map_blocks(dtype: torch.dtype, *, weighted: bool) -> None:
    """Maps of as many rings as fill the register blocks of a product, wholly and in part, and of orders whose half
    period is a whole number of angles, and not: rings of large mean, so that the harmonics' half has to be as exact by
    itself as the whole."""
    tolerance = 2e-6 if dtype == torch.float32 else 1e-11  # the reference has rounding errors too
    for n_radial in (1, 7, 16, 17, 31, 33, 49, 64, 70, 112):
        for n_angular, order in ((48, 8), (50, 8), (37, 3), (24, 12)):
            rings = 1e3 + _seeded(3, n_radial, n_angular, seed=5).to(dtype)
            weight = _seeded(3, n_radial, n_angular, seed=6).to(dtype) if weighted else None
            options: dict[str, Any] = {"order": order, "fill": -2.0}
            found = ops.correlation_map(rings, weight=weight, **options)
            exact = reference.correlation_map(
                rings.double(), weight=None if weight is None else weight.double(), **options
            )[0]
            for half in (found.double() - exact, exact), ((found.double() - exact).triu(1), exact.triu(1)):
                error, size = (float(part.norm()) for part in half)
                assert error <= tolerance * size, (n_radial, n_angular, order, error / size)


def _check_pairs(rings: Tensor, weight: Tensor | None, pairs: Tensor, what: object) -> None:
    """Angular correlations of these pairs and their gradient against torch.fft in float64."""
    grad = _seeded(len(rings), len(pairs), rings.shape[-1], seed=11).sub(0.5).to(rings.dtype)
    exact_weight = None if weight is None else weight.double()
    found = torch.ops.cdifast.angular_correlation(rings, weight, pairs, -1.0, 0.05)
    exact = composed(rings.double(), exact_weight, pairs, -1.0, 0.05)
    found_grad = torch.ops.cdifast.angular_correlation_backward(grad, rings, weight, pairs, 0.05)
    exact_grad = composed_backward(grad.double(), rings.double(), exact_weight, pairs, 0.05)
    for result, expected in ((found, exact), (found_grad, exact_grad)):
        error = float((result.double() - expected).norm() / expected.norm())
        assert error <= (2e-6 if rings.dtype == torch.float32 else 1e-13), (what, error)


def _rings_and_weight(
    n_radial: int, n_angular: int, dtype: torch.dtype, weighted: bool
) -> tuple[Tensor, Tensor | None]:
    rings = _seeded(2, n_radial, n_angular, seed=9).to(dtype)
    if not weighted:
        return rings, None
    weight = _seeded(1, n_radial, n_angular, seed=10)
    weight[weight < 0.3] = 0
    weight[:, 5] = 0
    return rings, weight.to(dtype)


def check_angular_lengths(dtype: torch.dtype, *, weighted: bool) -> None:
    """Rings of every length that is transformed in two steps, of one for each other way, and pairs that fill vectors,
    share them, and repeat a ring."""
    pairs = torch.cat([torch.triu_indices(18, 18).T, torch.tensor([[3, 1], [17, 0], [3, 1]])])
    two_steps = [32, 64, 128, 256, 512, *(odd * binary for odd in (3, 5, 7) for binary in (16, 32, 64))]
    for n_angular in (*two_steps, 16, 360, 37, 74):
        _check_pairs(*_rings_and_weight(18, n_angular, dtype, weighted), pairs, n_angular)


def check_angular_pairs(dtype: torch.dtype, *, weighted: bool) -> None:
    """Pairs whose first rings follow each other as their second ones do, a vector of them and fewer, from one vector of
    rings into the next, each ring with itself and apart, alone and beside pairs of one first ring."""
    rings, weight = _rings_and_weight(37, 48, dtype, weighted)
    along = {d: [(i, i + d) for i in range(37) if 0 <= i + d < 37] for d in (0, 1, 5, 16, 21, -3)}
    of_one = [(2, j) for j in range(37)]
    lists = [*along.values(), along[5][3:9], [*along[0][:20], *of_one, *along[-3]], [*along[16], (4, 4), *along[16]]]
    for pairs in lists:
        _check_pairs(rings, weight, torch.tensor(pairs), pairs[:3])


def check_fused_tiles(dtype: torch.dtype) -> None:
    """Frames to maps in one operator: the very bits of the two one after the other, whether rings go between them in
    panels or in rows, and panels' tiles along radii, angles and with neighbours that are not reached."""
    frames = _seeded(6, 70, 64, seed=7).mul(200).to(dtype)
    for n_radial, n_angular, order in ((32, 48, 8), (16, 16, 1), (48, 64, 8), (32, 50, 5), (33, 48, 8), (32, 48, 5)):
        for options in ({"r_max": 30.0}, {"r_max": 44.0}, {"r_max": 20.0, "interpolation": "nearest"}, {"r_min": 0.0}):
            options = {"r_min": 2.0, "center": (34.0, 31.5), **options}
            unwrapped, weight = ops.polar_resample(frames, n_radial, n_angular, return_weight=True, **options)  # type: ignore[call-overload]
            weight = None if bool((weight == 1).all()) else weight
            expected = ops.correlation_map(unwrapped, weight=weight, order=order)
            found = ops.polar_correlation_map(frames, n_radial, n_angular, order=order, **options)  # type: ignore[arg-type]
            assert torch.equal(found, expected), (n_radial, n_angular, order, options)
            alone = ops.polar_correlation_map(frames[:1], n_radial, n_angular, order=order, **options)  # type: ignore[arg-type]
            assert torch.equal(alone, expected[:1])


def _parts(values: Tensor) -> Tensor:
    return torch.stack([values.real, values.imag], dim=-1)


def _harmonics_case(name: str, weight: Tensor | None) -> Case:
    return Case(
        name,
        lambda x: _parts(ops.angular_harmonics(x, _ORDERS, weight=weight)),
        lambda x: _parts(reference.angular_harmonics(x, _ORDERS, weight=weight)),
        lambda: (_seeded(3, 6, 16),),
        _harmonics(weight),
        dtypes=(torch.float32, torch.float64),  # the half types give complex64
        kernels=("angular_harmonics", "angular_harmonics_out", "angular_harmonics_backward"),
    )


def _angular_case(name: str, weight: Tensor | None) -> Case:
    return Case(
        name,
        lambda x: ops.angular_correlation(x, pairs=_PAIRS, weight=weight, fill=-1.0),
        lambda x: reference.angular_correlation(x, _PAIRS, weight=weight, fill=-1.0)[0],
        lambda: (_seeded(3, 6, 16),),
        _angular(weight),
        out=lambda x, out: ops.angular_correlation(x, pairs=_PAIRS, weight=weight, fill=-1.0, out=out),
        kernels=("angular_correlation", "angular_correlation_out", "angular_correlation_backward"),
    )


def _correlation_case(name: str, *, weight: Tensor | None, options: tuple[Any, ...], **keywords: Any) -> Case:
    return Case(
        name,
        lambda x: ops.correlation_map(x, weight=weight, **keywords),
        lambda x: reference.correlation_map(x, weight=weight, **keywords)[0],
        lambda: (_seeded(3, 6, 16),),
        _correlation(weight, *options),
        out=lambda x, out: ops.correlation_map(x, weight=weight, **keywords, out=out),
        kernels=("correlation_map", "correlation_map_out", "correlation_map_backward", "correlation_weight"),
    )


_FUSED: dict[str, Any] = {"order": 3, "part": "abs", "normalize": "pearson", "fill": -1.0}

_ACTIVATION_KERNELS = (
    "log_activation",
    "log_activation_out",
    "log_activation_backward",
    "log_activation_backward_alpha",
    "log_activation_backward_bias",
)
_POLAR_KERNELS = (
    "polar_resample",
    "polar_resample_out",
    "polar_weight",
    "polar_resample_backward",
    "polar_resample_backward_center",
)
_CARTESIAN_KERNELS = tuple(name.replace("polar", "cartesian") for name in _POLAR_KERNELS)
_FUSED_KERNELS = ("polar_correlation_map", "polar_correlation_map_out")

CASES = [
    Case(
        "log_activation",
        lambda x: ops.log_activation(x),
        lambda x: reference.log_activation(x),
        lambda: (_signed(),),
        _activation,
        out=lambda x, *, out: ops.log_activation(x, out=out),
        kernels=_ACTIVATION_KERNELS,
    ),
    Case(
        "log_activation-learnable",
        lambda x, alpha: ops.log_activation(x, alpha),
        lambda x, alpha: reference.log_activation(x, alpha),
        lambda: (_signed(), _ALPHA.clone()),
        _activation,
        out=lambda x, alpha, *, out: ops.log_activation(x, alpha, out=out),
        kernels=_ACTIVATION_KERNELS,
    ),
    Case(
        "log_activation-bias",
        lambda x, bias: ops.log_activation(x, bias=bias),
        lambda x, bias: reference.log_activation(x, bias=bias),
        lambda: (_signed(), _BIAS.clone()),
        _activation,
        out=lambda x, bias, *, out: ops.log_activation(x, bias=bias, out=out),
        batched=False,
        kernels=_ACTIVATION_KERNELS,
    ),
    Case(
        "log_activation-learnable-bias",
        lambda x, alpha, bias: ops.log_activation(x, alpha, bias=bias),
        lambda x, alpha, bias: reference.log_activation(x, alpha, bias=bias),
        lambda: (_signed(), _ALPHA.clone(), _BIAS.clone()),
        _activation,
        out=lambda x, alpha, bias, *, out: ops.log_activation(x, alpha, bias=bias, out=out),
        batched=False,
        kernels=_ACTIVATION_KERNELS,
    ),
    Case(
        "polar_resample",
        lambda x: ops.polar_resample(x, 6, 10),
        lambda x: reference.polar_resample(x, 6, 10)[0],
        lambda: (_seeded(3, 17, 19),),
        _polar(None, False),
        out=lambda x, out: ops.polar_resample(x, 6, 10, out=out),
        dtypes=IMAGE_DTYPES,
        scale=200.0,
        kernels=_POLAR_KERNELS,
    ),
    Case(
        "polar_resample-masked-centered",
        lambda x, center: ops.polar_resample(x, 6, 10, center=center, mask=_MASK.to(x.device), **_POLAR),
        lambda x, center: reference.polar_resample(x, 6, 10, center=center, mask=_MASK, **_POLAR)[0],
        lambda: (_seeded(3, 17, 19), _CENTERS.clone()),
        _polar(_MASK[None], False),
        out=lambda x, center, out: ops.polar_resample(x, 6, 10, center=center, mask=_MASK, **_POLAR, out=out),
        dtypes=IMAGE_DTYPES,
        scale=200.0,
        twice=False,
        kernels=_POLAR_KERNELS,
    ),
    Case(
        "polar_resample-nearest",
        lambda x: ops.polar_resample(x, 6, 10, center=(8.1, 9.3), interpolation="nearest", fill=-1, **_POLAR),
        lambda x: reference.polar_resample(x, 6, 10, center=(8.1, 9.3), interpolation="nearest", fill=-1, **_POLAR)[0],
        lambda: (_seeded(3, 17, 19),),
        _polar(None, True),
        dtypes=IMAGE_DTYPES,
        scale=200.0,
        kernels=_POLAR_KERNELS,
    ),
    Case(
        "cartesian_resample",
        lambda x: ops.cartesian_resample(x, 17, 19, r_min=0.5, r_max=9.4),
        lambda x: reference.cartesian_resample(x, 17, 19, r_min=0.5, r_max=9.4)[0],
        lambda: (_seeded(3, 6, 10),),
        _cartesian(None, False),
        out=lambda x, out: ops.cartesian_resample(x, 17, 19, r_min=0.5, r_max=9.4, out=out),
        dtypes=IMAGE_DTYPES,
        scale=200.0,
        kernels=_CARTESIAN_KERNELS,
    ),
    Case(
        "cartesian_resample-masked-centered",
        lambda x, c: ops.cartesian_resample(x, 17, 19, center=c, mask=_MAP_MASK.to(x.device), fill=0.5, **_POLAR),
        lambda x, c: reference.cartesian_resample(x, 17, 19, center=c, mask=_MAP_MASK, fill=0.5, **_POLAR)[0],
        lambda: (_seeded(3, 6, 10), _CENTERS.clone()),
        _cartesian(_MAP_MASK[None], False),
        out=lambda x, c, out: ops.cartesian_resample(x, 17, 19, center=c, mask=_MAP_MASK, fill=0.5, **_POLAR, out=out),
        dtypes=IMAGE_DTYPES,
        scale=200.0,
        twice=False,
        kernels=_CARTESIAN_KERNELS,
    ),
    Case(
        "cartesian_resample-nearest",
        lambda x: ops.cartesian_resample(x, 17, 19, center=(8.1, 9.3), interpolation="nearest", **_POLAR),
        lambda x: reference.cartesian_resample(x, 17, 19, center=(8.1, 9.3), interpolation="nearest", **_POLAR)[0],
        lambda: (_seeded(3, 6, 10),),
        _cartesian(None, True),
        dtypes=IMAGE_DTYPES,
        scale=200.0,
        kernels=_CARTESIAN_KERNELS,
    ),
    Case(
        "polar_correlation_map",
        lambda x, center: ops.polar_correlation_map(x, 6, 16, order=3, center=center, r_min=1.3, r_max=7.0),
        lambda x, center: reference.polar_correlation_map(x, 6, 16, order=3, center=center, r_min=1.3, r_max=7.0)[0],
        lambda: (_seeded(3, 17, 19), _CENTERS.clone()),
        _fused(None, 3, False, 0, 0.0, 0.05),
        out=lambda x, center, out: ops.polar_correlation_map(
            x, 6, 16, order=3, center=center, r_min=1.3, r_max=7.0, out=out
        ),
        dtypes=IMAGE_DTYPES,
        twice=False,
        scale=200.0,
        kernels=_FUSED_KERNELS,
    ),
    Case(
        "polar_correlation_map-masked-pearson-abs",
        lambda x: ops.polar_correlation_map(x, 6, 16, mask=_MASK.to(x.device), **_FUSED),
        lambda x: reference.polar_correlation_map(x, 6, 16, mask=_MASK, **_FUSED)[0],
        lambda: (_seeded(3, 17, 19),),
        _fused(_MASK[None], 3, True, 2, -1.0, 0.05),
        out=lambda x, out: ops.polar_correlation_map(x, 6, 16, mask=_MASK, **_FUSED, out=out),
        dtypes=IMAGE_DTYPES,
        scale=200.0,
        kernels=_FUSED_KERNELS,
    ),
    _correlation_case("correlation_map", weight=None, options=(3, False, 0, 0.0, 0.05), order=3),
    _correlation_case(
        "correlation_map-mean-abs-weighted",
        weight=_WEIGHT,
        options=(3, True, 1, -1.0, 0.05),
        order=3,
        part="abs",
        normalize="mean",
        fill=-1.0,
    ),
    _correlation_case(
        "correlation_map-pearson-weighted",
        weight=_WEIGHT,
        options=(2, False, 2, 0.0, 0.05),
        order=2,
        normalize="pearson",
    ),
    _harmonics_case("angular_harmonics", None),
    _harmonics_case("angular_harmonics-weighted", _WEIGHT),
    _angular_case("angular_correlation", None),
    _angular_case("angular_correlation-weighted", _WEIGHT),
]
