"""Roofline arithmetic against values worked out by hand."""

from __future__ import annotations

import dataclasses
import math

import made_up
import pytest
import torch

from benchmarks import bench_limits, kernels, roofline, roofline_page
from benchmarks.peers.geometry import Polar
from benchmarks.roofline import Kernel, Need


def kernel(need: Need, items: int = 1000) -> Kernel:
    return Kernel("polar", "polar", "forward", "ours, out=", 224, "float32", items, "formula", need)


def test_limits_are_rates_of_the_entries() -> None:
    found = roofline.limits(made_up.results(entries=made_up.limits()), threads=2)
    assert found is not None
    assert found.rates["copy"] == pytest.approx({1 << 20: 10e9, 1 << 27: 10e9})
    assert found.rates["fill"][1 << 20] == pytest.approx(5e9)
    assert found.operations == pytest.approx(100e9)
    assert roofline.limits(made_up.results(entries=made_up.limits()), threads=1) is None


def test_multiply_adds_in_registers_count_where_they_are_faster_than_a_product() -> None:
    for rate in (150e9, 50e9):
        registers = made_up.entry("limits", "operations", "registers", 2048, 2**34 / rate, items=2**34)
        found = roofline.limits(made_up.results(entries=[*made_up.limits(), registers]), threads=2)
        assert found is not None
        assert found.operations == pytest.approx(max(rate, 100e9))


def test_multiply_adds_in_registers_are_done() -> None:
    """s = s / 2 + 1 / 4, on every thread, of twelve sums apart: none stands for another. It ends at 1/2."""
    threads = torch.get_num_threads()
    sums = bench_limits.in_registers(threads).run()  # one step
    assert len(sums) == threads
    assert all(torch.equal(found, torch.arange(12.0) / 2 + 0.25) for found in sums)
    assert all(torch.all(found == 0.5) for found in bench_limits.in_registers(10**6).run())


def test_the_faster_way_to_copy_counts() -> None:
    size = 1 << 20
    faster = made_up.entry("limits", "bytes", "copy, memcpy", size, size / 15e9, items=size)
    slower = made_up.entry("limits", "bytes", "copy, memcpy", 1 << 27, 1.0, items=1 << 27)
    found = roofline.limits(made_up.results(entries=[*made_up.limits(), faster, slower]), threads=2)
    assert found is not None
    assert found.rates["copy"] == pytest.approx({size: 15e9, 1 << 27: 10e9})


def test_bytes_take_their_time_apart_or_in_copies() -> None:
    """Copies at 10 GB/s, fills at 5, sums at 20: 300 bytes read and 100 written take 15 + 20 ns or 20 + 10 ns."""
    size = 1 << 20
    read = made_up.entry("limits", "bytes", "read", size, size / 20e9, items=size)
    found = roofline.limits(made_up.results(entries=[*made_up.limits(), read]), threads=2)
    assert found is not None
    assert found.memory_seconds(Need(300, 100, 0), 1e6) == pytest.approx(30e-9)
    assert found.memory_seconds(Need(300, 0, 0), 1e6) == pytest.approx(15e-9)
    assert found.memory_seconds(Need(0, 100, 0), 1e6) == pytest.approx(20e-9)
    fill = made_up.entry("limits", "bytes", "fill, memset", size, size / 50e9, items=size)
    found = roofline.limits(made_up.results(entries=[*made_up.limits(), read, fill]), threads=2)
    assert found is not None
    assert found.memory_seconds(Need(300, 100, 0), 1e6) == pytest.approx(17e-9)
    assert found.compute_seconds(Need(0, 0, 500)) == pytest.approx(5e-9)


def test_bandwidth_of_the_nearest_working_set_or_a_larger_one() -> None:
    """40 GB/s in a cache do not count for what is in memory; 20 GB/s in memory count for both."""
    small, large = 1 << 20, 1 << 27
    cache = made_up.entry("limits", "bytes", "copy, memcpy", small, small / 40e9, items=small)
    found = roofline.limits(made_up.results(entries=[*made_up.limits(), cache]), threads=2)
    assert found is not None
    assert found.bandwidth("copy", 2e6) == pytest.approx(40e9)
    assert found.bandwidth("copy", 1e8) == pytest.approx(10e9)

    memory = made_up.entry("limits", "bytes", "copy, memcpy", large, large / 20e9, items=large)
    found = roofline.limits(made_up.results(entries=[*made_up.limits(), memory]), threads=2)
    assert found is not None
    assert found.bandwidth("copy", 2e6) == pytest.approx(20e9)
    assert found.bandwidth("copy", 1e8) == pytest.approx(20e9)


@pytest.mark.parametrize(("operations", "bound", "share"), [(1000, "memory", 0.5), (10_000, "operations", 1.0)])
def test_share_is_the_binding_limit_over_the_measured_time(operations: float, bound: str, share: float) -> None:
    """1000 items in 100 µs: 100 ns each; 50 ns of memory, 10 or 100 ns of operations."""
    measured = made_up.entry("polar", "forward", "ours, out=", 224, 100e-6, items=1000)
    found = made_up.results(entries=[*made_up.limits(), measured])
    (standing,) = roofline.standings(found, [kernel(Need(250, 250, operations))])
    assert standing.bound == bound
    assert standing.share == pytest.approx(share)
    assert roofline_page.page(found, [kernel(Need(250, 250, operations))]).count(f"{100 * share:.0f} %") >= 1


def test_cold_entries_do_not_count() -> None:
    cold = dataclasses.replace(made_up.entry("polar", "forward", "ours, out=", 224, 1.0), heap="cold")
    found = made_up.results(entries=[*made_up.limits(), cold])
    assert roofline.standings(found, [kernel(Need(1, 1, 1))]) == []


def test_lines_touched() -> None:
    """A whole circle of 224 pixels takes about pi/4 of the lines; four samples on a small one take what one sees."""
    whole = kernels.lines_touched(Polar(224, 112, 224), 4) * kernels.LINE
    assert math.pi / 4 * 224**2 * 4 < whole < 224**2 * 4
    # 16 float32 a line, 32 x 32 pixels: radii 0 and 15.5, angles 0, 90, 180, 270 degrees. The centre (15.5, 15.5)
    # has its four neighbours in rows 15, 16 and columns 15, 16: both halves of two rows. At 90 degrees, row 0 (and 1,
    # with weight 0), at 270 row 31: two lines each but for row 1, whose neighbours lie in both halves too.
    assert kernels.lines_touched(Polar(32, 2, 4), 4) == 4 + 4 + 2


def test_operations_of_the_correlation_map() -> None:
    """R = 2, K = 4: three products of four pairs, one order of two rings, three products of two."""
    need = kernels.correlation_need(2, 4)
    assert need == Need(read=4 * 8, written=4 * 4, operations=2 * 3 * 4 + 4 * 2 * 4 + 4 * 3)


def test_activation_moves_what_a_copy_moves() -> None:
    forward, training = kernels.kernels()[:2]
    assert (forward.need.read, forward.need.written) == (4, 4)
    assert (training.need.read, training.need.written) == (12, 8)
    assert forward.items == 12_845_056


def test_kernels_are_named_once() -> None:
    titles = [kernel.title for kernel in kernels.kernels()]
    assert len(set(titles)) == len(titles)
