"""Bytes and operations of every kernel: where the roofline page's formulae can be checked."""

from __future__ import annotations

import functools
import math

import torch

from .inputs import ACTIVATIONS, ALL_PAIRS, BATCH, FUSED_BATCH, FUSED_SHAPE, ORDERS, SHAPES
from .peers.geometry import Polar
from .roofline import Kernel, Need

LINE = 64  # bytes of a cache line: what is read from memory at least
# As written in csrc/common/log_activation_math.h in float32: 27 for log1p, 4 for argument, range and alpha. Divisions
# count as one, though they take longer; what only moves bits does not count.
ACTIVATION_OPERATIONS = 31
# 1 / e added, the division, the product with the gradient.
DERIVATIVE_OPERATIONS = 3
# Three linear interpolations between two values: a + f (b - a), three operations each.
BILINEAR_OPERATIONS = 9


@functools.cache
def lines_touched(grid: Polar, item_bytes: int) -> int:
    """Cache lines of one image that the samples' four neighbours lie in."""
    y, x = grid.offsets()
    y, x = (grid.center + y).floor(), (grid.center + x).floor()
    pixels = torch.cat(
        [
            (y + dy).clamp(0, grid.size - 1) * grid.size + (x + dx).clamp(0, grid.size - 1)
            for dy in (0, 1)
            for dx in (0, 1)
        ]
    )
    return int(torch.unique((pixels * item_bytes).long() // LINE).numel())


def polar_need(grid: Polar, item_bytes: int) -> Need:
    """The lines touched, every sample written, nine operations a sample; coordinates come from a plan in the cache."""
    samples = grid.n_radial * grid.n_angular
    return Need(LINE * lines_touched(grid, item_bytes), 4 * samples, BILINEAR_OPERATIONS * samples)


def polar_backward_need(grid: Polar) -> Need:
    """The adjoint: every sample read, the whole image written, two operations for each of four neighbours."""
    samples = grid.n_radial * grid.n_angular
    return Need(4 * samples, 4 * grid.size**2, 8 * samples)


def cartesian_need(grid: Polar) -> Need:
    """The map read, the image written, nine operations for each pixel in the circle."""
    return Need(4 * grid.n_radial * grid.n_angular, 4 * grid.size**2, BILINEAR_OPERATIONS * math.pi / 4 * grid.size**2)


def correlation_need(n_radial: int, n_angular: int) -> Need:
    """Half of the products of rings, one order of each ring, the order's products."""
    triangle = n_radial * (n_radial + 1) / 2
    operations = 2 * triangle * n_angular + 4 * n_radial * n_angular + 4 * triangle
    return Need(4 * n_radial * n_angular, 4 * n_radial**2, operations)


def harmonics_need(n_radial: int, n_angular: int, orders: int) -> Need:
    """A cosine and a sine product for each order, by the definition."""
    return Need(4 * n_radial * n_angular, 8 * orders * n_radial, 4 * orders * n_radial * n_angular)


def angular_need(n_radial: int, n_angular: int) -> Need:
    """A real FFT of each ring and an inverse one of each pair (2.5 K log2 K each), 6 operations a product."""
    pairs = n_radial * (n_radial + 1) / 2
    fft = 2.5 * n_angular * math.log2(n_angular)
    return Need(
        4 * n_radial * n_angular,
        4 * pairs * n_angular,
        (n_radial + pairs) * fft + pairs * 6 * (n_angular // 2 + 1),
    )


def fused_need(grid: Polar, item_bytes: int) -> Need:
    """The lines touched and the map: the unwrapped image stays in the cache."""
    polar = polar_need(grid, item_bytes)
    correlation = correlation_need(grid.n_radial, grid.n_angular)
    return Need(polar.read, correlation.written, polar.operations + correlation.operations)


def kernels() -> list[Kernel]:
    """Every kernel of the page."""
    elements = math.prod(ACTIVATIONS[224])
    forward = Need(4, 4, ACTIVATION_OPERATIONS)
    found = [
        Kernel(
            "log activation, forward",
            "activation",
            "forward",
            "ours, out=",
            224,
            "float32",
            elements,
            f"4 B read, 4 B written, {ACTIVATION_OPERATIONS} operations an element",
            forward,
        ),
        Kernel(
            "log activation, forward + backward",
            "activation",
            "forward + backward",
            "ours",
            224,
            "float32",
            elements,
            f"3 x 4 B read (x twice, the gradient), 2 x 4 B written, "
            f"{ACTIVATION_OPERATIONS} + {DERIVATIVE_OPERATIONS} operations an element",
            forward + Need(8, 4, DERIVATIVE_OPERATIONS),
        ),
    ]
    sampled = "64 B x lines touched read, 4 R K written, 9 R K operations"
    for size in (224, 1024):
        grid = Polar(size, *SHAPES[size])
        shape = f"{size}x{size} to {grid.n_radial}x{grid.n_angular}"
        for dtype, item_bytes in (("float32", 4), ("uint16", 2)):
            found.append(
                Kernel(
                    f"polar {shape}, {dtype}",
                    "polar",
                    "forward",
                    "ours, out=",
                    size,
                    dtype,
                    BATCH[size],
                    sampled,
                    polar_need(grid, item_bytes),
                )
            )
        found.append(
            Kernel(
                f"polar {shape}, backward",
                "polar",
                "backward",
                "ours",
                size,
                "float32",
                BATCH[size],
                "4 R K read, 4 H W written, 8 R K operations",
                polar_backward_need(grid),
            )
        )
    grid = Polar(224, *SHAPES[224])
    found += [
        Kernel(
            "cartesian 112x224 to 224x224",
            "cartesian",
            "forward",
            "ours, out=",
            224,
            "float32",
            BATCH[224],
            "4 R K read, 4 H W written, 9 pi/4 H W operations",
            cartesian_need(grid),
        ),
        Kernel(
            "correlation map 112x224",
            "correlation",
            "forward",
            "ours, out=",
            224,
            "float32",
            BATCH[224],
            "4 R K read, 4 R^2 written, T = R (R + 1) / 2: 2 T K + 4 R K + 4 T operations",
            correlation_need(*SHAPES[224]),
        ),
        Kernel(
            f"angular harmonics 112x224, {len(ORDERS)} orders",
            "harmonics",
            f"{len(ORDERS)} orders, forward",
            "ours, out=",
            224,
            "float32",
            BATCH[224],
            "4 R K read, 8 R N written, 4 R K N operations for N orders",
            harmonics_need(*SHAPES[224], len(ORDERS)),
        ),
        Kernel(
            "angular correlation 112x224, all pairs",
            "angular",
            "all pairs",
            "ours, out=",
            224,
            "float32",
            ALL_PAIRS[224],
            "4 R K read, 4 T K written, (R + T) 2.5 K log2 K + 6 T (K / 2 + 1) operations",
            angular_need(*SHAPES[224]),
        ),
        Kernel(
            "fused 512x512 uint16 to 112x112",
            "fused",
            "forward",
            "ours, out=",
            512,
            "uint16",
            FUSED_BATCH[512],
            "64 B x lines touched read, 4 R^2 written, 9 R K + (correlation map) operations",
            fused_need(Polar(512, *FUSED_SHAPE), 2),
        ),
    ]
    return found
