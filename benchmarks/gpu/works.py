"""What is timed on a GPU: ours beside torch's own, in batches that fill any card."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmarks import kernels
from benchmarks.call import Call, backward, forward_backward
from benchmarks.inputs import DTYPES, FEW, FUSED_SHAPE, ORDERS, SHAPES, centers, frames, good_pixels
from benchmarks.peers import activation, angular, cartesian, correlation, fused, harmonics, polar
from benchmarks.peers.geometry import Polar
from benchmarks.roofline import Need
from cdifast import ops, reference

OURS = "ours"
BATCH = {224: 4096, 512: 1024, 1024: 256}
PAIR_MAPS = 128  # maps whose functions of all pairs of rings are made in one call, 0.7 GB
CHANNELS = (256, 64, 112, 112)


@dataclass(frozen=True)
class Work:
    """What is timed: ours first, then the peers; float64 results to compare the first items with; bytes and operations.

    Attributes
    ----------
    calls
        Name to builder of the call, on tensors that are on the GPU.
    exact
        Makes the float64 result on the CPU; None where there is nothing to compare with.
    need
        Of one item.
    """

    title: str
    calls: dict[str, Callable[[], Call]]
    exact: Callable[[], Tensor] | None
    need: Need | None


def _activations(dtype: torch.dtype) -> Iterator[Work]:
    name = str(dtype).removeprefix("torch.")
    x = (3 * torch.randn(CHANNELS)).to(dtype)
    bias = torch.randn(CHANNELS[1], dtype=dtype)
    out = torch.empty_like(x)
    few = x.flatten()[:60_000].cpu().double()
    size = x.element_size()
    forward = Need(size, size, kernels.ACTIVATION_OPERATIONS)
    training = forward + Need(2 * size, size, kernels.DERIVATIVE_OPERATIONS)
    yield Work(
        f"log activation, forward, {name}",
        {
            OURS: lambda: Call(lambda: ops.log_activation(x, out=out), x.numel()),
            "copy": lambda: activation.copy(x),
            "torch.compile": lambda: activation.compiled(x),
            "eager": lambda: activation.eager(x),
        },
        lambda: reference.log_activation(few),
        forward,
    )
    yield Work(
        f"log activation with bias, forward, {name}",
        {
            OURS: lambda: Call(lambda: ops.log_activation(x, bias=bias, out=out), x.numel()),
            "eager": lambda: Call(lambda: activation.sign_log1p(x + bias[:, None, None]), x.numel()),
        },
        None,
        forward,
    )
    yield Work(
        f"log activation, forward + backward, {name}",
        {
            OURS: lambda: forward_backward(ops.log_activation, x),
            "torch.compile": lambda: activation.compiled_training(x),
            "eager": lambda: activation.eager_training(x),
        },
        None,
        training,
    )


def _polar(size: int, dtype: str) -> Iterator[Work]:
    grid = Polar(size, *SHAPES[size])
    shape = f"{size}x{size} to {grid.n_radial}x{grid.n_angular}"
    images = _frames(size, dtype)
    few = images[:FEW].cpu().double()
    out = torch.empty(len(images), grid.n_radial, grid.n_angular)
    yield Work(
        f"polar {shape}, {dtype}",
        {
            OURS: lambda: Call(lambda: ops.polar_resample(images, grid.n_radial, grid.n_angular, out=out), len(images)),
            "grid_sample": lambda: polar.grid_sample(images, grid),
        },
        lambda: reference.polar_resample(few, grid.n_radial, grid.n_angular)[0],
        kernels.polar_need(grid, images.element_size()),
    )


def _polar_backward(size: int) -> Iterator[Work]:
    grid = Polar(size, *SHAPES[size])
    images = _frames(size, "float32")
    yield Work(
        f"polar {size}x{size} to {grid.n_radial}x{grid.n_angular}, backward",
        {
            OURS: lambda: backward(lambda x: ops.polar_resample(x, grid.n_radial, grid.n_angular), images),
            "grid_sample": lambda: polar.grid_sample_backward(images, grid),
        },
        lambda: backward(
            lambda x: reference.polar_resample(x, grid.n_radial, grid.n_angular)[0],
            images[:FEW].cpu().double(),
        ).run(),
        kernels.polar_backward_need(grid),
    )


def _resampling() -> Iterator[Work]:
    grid = Polar(224, *SHAPES[224])
    images = _frames(224, "float32")
    with torch.device("cpu"):
        own = centers(224, 256).repeat(-(-len(images) // 256), 1)[: len(images)].cuda()
        mask = good_pixels(224).cuda()
    yield Work(
        "polar 224x224 to 112x224, a centre for each image",
        {
            OURS: lambda: Call(lambda: ops.polar_resample(images, *SHAPES[224], center=own), len(images)),
            "grid_sample": lambda: polar.grid_sample(images, grid, own),
        },
        None,  # at the border grid_sample mixes in zeros, where ours takes the pixels that there are
        kernels.polar_need(grid, 4),
    )
    yield Work(
        "polar 224x224 to 112x224, masked",
        {OURS: lambda: Call(lambda: ops.polar_resample(images, *SHAPES[224], mask=mask), len(images))},
        lambda: reference.polar_resample(images[:FEW].cpu().double(), *SHAPES[224], mask=mask.cpu())[0],
        kernels.polar_need(grid, 4),
    )
    maps = _maps(224)
    yield Work(
        "cartesian 112x224 to 224x224",
        {
            OURS: lambda: Call(lambda: ops.cartesian_resample(maps, 224, 224), len(maps)),
            "grid_sample": lambda: cartesian.grid_sample(maps, grid),
        },
        None,
        kernels.cartesian_need(grid),
    )
    yield Work(
        "cartesian 112x224 to 224x224, backward",
        {
            OURS: lambda: backward(lambda x: ops.cartesian_resample(x, 224, 224), maps),
            "grid_sample": lambda: cartesian.grid_sample_backward(maps, grid),
        },
        None,
        kernels.cartesian_need(grid),
    )


def _correlation_map(size: int) -> Iterator[Work]:
    maps = _maps(size)
    radii, angles = SHAPES[size]
    few = maps[:FEW].cpu().double()
    out = torch.empty(len(maps), radii, radii)
    need = kernels.correlation_need(radii, angles)
    yield Work(
        f"correlation map {radii}x{angles}",
        {
            OURS: lambda: Call(lambda: ops.correlation_map(maps, out=out), len(maps)),
            "bmm + DFT bin": lambda: correlation.bmm_dft_bin(maps),
            "bmm + rfft": lambda: correlation.bmm_rfft(maps),
        },
        lambda: reference.correlation_map(few)[0],
        need,
    )
    yield Work(
        f"correlation map {radii}x{angles}, backward",
        {
            OURS: lambda: backward(ops.correlation_map, maps),
            "bmm + DFT bin": lambda: correlation.bmm_backward(maps),
        },
        lambda: backward(lambda x: reference.correlation_map(x)[0], few).run(),
        Need(need.read + need.written, need.read, 2 * need.operations),
    )


def _correlations() -> Iterator[Work]:
    maps = _maps(224)
    weight = (torch.rand(*SHAPES[224]) > 0.1).float()
    yield Work(
        "correlation map 112x224, weighted",
        {
            OURS: lambda: Call(lambda: ops.correlation_map(maps, weight=weight), len(maps)),
            "bmm + DFT bin": lambda: correlation.bmm_weighted(maps, weight),
        },
        lambda: reference.correlation_map(maps[:FEW].cpu().double(), weight=weight.cpu())[0],
        kernels.correlation_need(*SHAPES[224]),
    )
    few = maps[:FEW].cpu().double()
    yield Work(
        f"angular harmonics 112x224, {len(ORDERS)} orders",
        {
            OURS: lambda: Call(lambda: ops.angular_harmonics(maps, ORDERS), len(maps)),
            "rfft, picked": lambda: harmonics.rfft_pick(maps, ORDERS),
            "matrix product": lambda: harmonics.matrix_product(maps, ORDERS),
        },
        lambda: reference.angular_harmonics(few, ORDERS),
        kernels.harmonics_need(*SHAPES[224], len(ORDERS)),
    )
    yield Work(
        f"angular harmonics 112x224, {len(ORDERS)} orders, backward",
        {
            OURS: lambda: backward(lambda x: torch.view_as_real(ops.angular_harmonics(x, ORDERS)), maps),
            "matrix product": lambda: harmonics.matrix_backward(maps, ORDERS),
        },
        None,
        kernels.harmonics_need(*SHAPES[224], len(ORDERS)),
    )
    pair_maps = maps[:PAIR_MAPS]
    yield Work(
        "angular correlation 112x224, all lags and pairs",
        {
            OURS: lambda: Call(lambda: ops.angular_correlation(pair_maps), len(pair_maps)),
            "torch.fft": lambda: Call(lambda: angular.torch_fft(pair_maps), len(pair_maps)),
        },
        lambda: angular.torch_fft(few.cuda()).cpu(),
        kernels.angular_need(*SHAPES[224]),
    )


def _fused(size: int, dtype: str) -> Iterator[Work]:
    radii, angles = FUSED_SHAPE
    images = _frames(size, dtype)
    grid = Polar(size, radii, angles)
    out = torch.empty(len(images), radii, radii)
    yield Work(
        f"fused {size}x{size} {dtype} to {radii}x{radii} maps",
        {
            OURS: lambda: Call(lambda: ops.polar_correlation_map(images, radii, angles, out=out), len(images)),
            "ours in two": lambda: Call(
                lambda: ops.correlation_map(ops.polar_resample(images, radii, angles), out=out), len(images)
            ),
            "grid_sample + bmm + DFT bin": lambda: fused.grid_sample_bmm(images, grid),
        },
        lambda: reference.polar_correlation_map(images[:FEW].cpu().double(), radii, angles)[0],
        kernels.fused_need(grid, images.element_size()),
    )


def _fused_backward() -> Iterator[Work]:
    radii, angles = FUSED_SHAPE
    images = _frames(224, "float32")
    grid = Polar(224, radii, angles)
    yield Work(
        f"fused 224x224 float32 to {radii}x{radii} maps, backward",
        {
            OURS: lambda: backward(lambda x: ops.polar_correlation_map(x, radii, angles), images),
            "grid_sample + bmm + DFT bin": lambda: fused.grid_sample_bmm_backward(images, grid),
        },
        None,
        None,
    )


def _limits() -> Iterator[Work]:
    source = torch.randn(1 << 28)
    yield Work("copy of 1 GiB, float32", {"copy": lambda: activation.copy(source)}, None, Need(4, 4, 0))
    side = 8192
    a, b = torch.randn(side, side), torch.randn(side, side)
    yield Work(
        f"product of {side}x{side} matrices, float32 without TF32",
        {"torch.mm": lambda: Call(lambda: a @ b, side**3, tolerance=None)},
        None,
        Need(0, 0, 2),
    )


def _frames(size: int, dtype: str) -> Tensor:
    with torch.device("cpu"):
        some = frames(size, dtype, 4)
    return some.cuda().repeat(BATCH[size] // 4, 1, 1)


def _maps(size: int) -> Tensor:
    return ops.polar_resample(_frames(size, "float32"), *SHAPES[size])


FAMILIES: list[Callable[[], Iterator[Work]]] = [
    _limits,
    partial(_activations, torch.float32),
    partial(_activations, torch.float16),
    *(partial(_polar, size, dtype) for size in BATCH for dtype in DTYPES),
    *(partial(_polar_backward, size) for size in BATCH),
    _resampling,
    *(partial(_correlation_map, size) for size in (224, 512)),
    _correlations,
    *(partial(_fused, *frames) for frames in ((224, "float32"), (512, "uint16"), (1024, "uint16"))),
    _fused_backward,
]
