"""The page docs/roofline.md: the machine's limits, what each kernel needs, and how near it comes."""

from __future__ import annotations

from collections.abc import Sequence

from .results import Results
from .roofline import Kernel, limits, standings
from .tables import duration, machine_line, table

_INTRODUCTION = """\
Written by `make bench` from the run that the README's table comes from; the formulae are in
[`benchmarks/kernels.py`](../benchmarks/kernels.py), the arithmetic in
[`benchmarks/roofline.py`](../benchmarks/roofline.py).

A kernel cannot take less than the longer of two times: that of moving its bytes, each once, at the best rates that a
sum, a fill and a copy reach on this machine with a working set of that size or a larger one (read and written apart, or
together as far as copies go, whichever takes less), and that of its additions and multiplications at the best rate of
multiply-adds that the run measured: that of `torch.mm` with matrices of 2048 x 2048 or, in runs that have it, of
multiply-adds in registers alone. The share is that time over the measured one: 100 %
is the limit. Both limits are measured, so that a kernel can pass them by what noise there is. A low share means that
something else binds: gathers, divisions, shuffles and address arithmetic are no operations of this kind."""


def page(results: Results, kernels: Sequence[Kernel]) -> str:
    """The whole page."""
    threads = sorted({entry.threads for entry in results.entries})
    parts = ["# Roofline", _INTRODUCTION, machine_line(results), "## What the machine does at most"]
    parts.append(_limits(results, threads))
    parts += [
        "Copy, read and fill in GB/s, by working set. A copy counts the bytes read and those written.",
        "## What each kernel needs",
        "For one image, map or element; R radii, K angles, images of H x W. Lines are the cache lines that the "
        "neighbours of the samples lie in, counted from the geometry.",
        _needs(kernels),
        "## How near it comes",
        _shares(results, kernels),
    ]
    return "\n\n".join(parts) + "\n"


def _limits(results: Results, threads: Sequence[int]) -> str:
    lines = []
    sizes: list[int] = []
    for count in threads:
        found = limits(results, count)
        if found is None:
            continue
        sizes = sorted({size for rates in found.rates.values() for size in rates})
        for name, rates in found.rates.items():
            lines.append([name, str(count), *(f"{rates[size] / 1e9:.4g}" for size in sizes)])
        operations = f"{found.operations / 1e9:.4g}"
        lines.append(["multiply-adds, 10⁹ operations/s", str(count), operations, *("",) * (len(sizes) - 1)])
    return table(("limit", "threads", *(f"{size >> 20} MB" for size in sizes)), lines)


def _needs(kernels: Sequence[Kernel]) -> str:
    lines = [
        [
            kernel.title,
            kernel.formula,
            f"{kernel.need.read:,.0f}",
            f"{kernel.need.written:,.0f}",
            f"{kernel.need.operations:,.0f}",
        ]
        for kernel in kernels
    ]
    return table(("kernel", "an item", "bytes read", "bytes written", "operations"), lines)


def _shares(results: Results, kernels: Sequence[Kernel]) -> str:
    lines = [
        [
            found.kernel.title,
            str(found.threads),
            duration(found.memory),
            duration(found.compute),
            found.bound,
            duration(found.measured),
            f"{100 * found.share:.0f} %",
        ]
        for found in standings(results, kernels)
    ]
    head = ("kernel", "threads", "bytes take", "operations take", "binds", "measured", "share of the limit")
    return table(head, lines)
