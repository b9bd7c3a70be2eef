"""Peers that are missing say so; benchmarks refuse a cold heap; the grids agree with the operators' definition."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.call import MissingPeer, peer_module, relative_error
from benchmarks.peers import activation, correlation, harmonics, polar
from benchmarks.peers.geometry import Polar, from_warp_polar, to_warp_polar
from cdifast import reference

ROOT = Path(__file__).resolve().parents[2]


def test_missing_peer_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingPeer, match="opencv-python-headless cannot be imported"):
        peer_module("cv2", "opencv-python-headless")
    with pytest.raises(MissingPeer, match="opencv-python-headless"):
        polar.remap(torch.zeros(1, 8, 8), Polar(8, 4, 8))


def test_cold_heap_is_refused() -> None:
    """With glibc's default a run ends with its own exit status and names the variables."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "benchmarks/bench_limits.py", "-q", "-k", "1-threads and multiply"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 3, run.stdout
    assert "MALLOC_MMAP_THRESHOLD_" in run.stdout + run.stderr


def test_grid_is_the_operators_own() -> None:
    """grid_sample on it gives the reference's values, and those in SciPy's order of coordinates too."""
    grid = Polar(33, 9, 16)
    images = torch.rand(2, 33, 33)
    exact = reference.polar_resample(images.double(), 9, 16)[0]
    for call in (polar.grid_sample(images, grid), polar.map_coordinates(images, grid)):
        assert relative_error(call, exact) is not None


def test_order_of_warp_polar_goes_there_and_back() -> None:
    unwrapped = torch.rand(2, 3, 8).numpy()
    assert torch.equal(from_warp_polar(to_warp_polar(unwrapped)), torch.from_numpy(unwrapped))


def test_compositions_are_the_definition() -> None:
    maps = torch.rand(3, 10, 24)
    exact = reference.correlation_map(maps.double())[0]
    for build in (correlation.bmm_dft_bin, correlation.bmm_rfft, correlation.numpy_rfft):
        assert relative_error(build(maps), exact) is not None
    weight = (torch.rand(10, 24) > 0.1).float()
    exact = reference.correlation_map(maps.double(), weight=weight.double())[0]
    assert relative_error(correlation.bmm_weighted(maps, weight), exact) is not None

    exact = torch.fft.fft(maps.double())[..., [0, 2, 8]].mT / 24
    for build in (harmonics.rfft_pick, harmonics.matrix_product):
        assert relative_error(build(maps, (0, 2, 8)), exact) is not None

    x = torch.randn(50)
    assert relative_error(activation.eager(x), reference.log_activation(x.double())) is not None


def test_loops_over_slices_give_the_closed_form() -> None:
    """Both NumPy loops and ours, against spheroids on the Ewald sphere, are what the benchmark says they are."""
    pytest.importorskip("scipy")
    from benchmarks import bench_simulate
    from cdifast.simulate.helium import helium_detector

    detector = helium_detector(128)
    errors = {
        name: relative_error(build(detector), bench_simulate.exact(128))
        for name, build in bench_simulate.PATTERNS.items()
    }
    assert all(error is not None and error < 0.02 for error in errors.values()), errors
    assert errors["ours"] == min(error for error in errors.values() if error is not None)
