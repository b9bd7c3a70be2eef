"""Memory of the operators on the CPU: the cache of sampling plans, and how much a call takes beyond its result."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from cdifast import _C, ops


@pytest.fixture(autouse=True)
def _empty_cache() -> None:
    _C.clear_plan_cache()


def test_a_plan_is_made_once_for_a_geometry_and_the_content_of_its_mask() -> None:
    images = torch.rand(8, 40, 40)
    mask = torch.rand(40, 40) > 0.1
    first = ops.polar_resample(images, 8, 24, mask=mask)
    assert torch.equal(ops.polar_resample(images, 8, 24, mask=mask.clone()), first)
    assert (_C.plan_cache_info()["plans"], _C.plan_cache_info()["hits"]) == (1, 1)
    mask[20] = ~mask[20]  # the same tensor with another content is another mask
    assert not torch.equal(ops.polar_resample(images, 8, 24, mask=mask), first)
    for other in ({"r_max": 15.0}, {"center": (19.0, 20.0)}, {"interpolation": "nearest"}):
        ops.polar_resample(images, 8, 24, **other)  # type: ignore[call-overload]
    ops.polar_resample(images.double(), 8, 24)
    ops.cartesian_resample(torch.rand(8, 40, 40), 8, 24)
    info = _C.plan_cache_info()
    assert (info["plans"], info["misses"], info["hits"]) == (7, 7, 1)
    # A centre for each image is not kept.
    ops.polar_resample(images, 8, 24, center=torch.rand(8, 2) + 19)
    assert _C.plan_cache_info()["plans"] == 7


def test_a_few_images_make_a_plan_when_their_geometry_comes_again() -> None:
    """An image after another, each with its own centre, would make plans that nothing uses."""
    image = torch.rand(40, 40)
    first = ops.polar_resample(image, 8, 24, center=(19.0, 20.0))
    for k in range(3):
        ops.polar_resample(image, 8, 24, center=(19.0 + k / 7, 20.5))
    assert _C.plan_cache_info()["plans"] == 0
    assert torch.equal(ops.polar_resample(image, 8, 24, center=(19.0, 20.0)), first)
    assert _C.plan_cache_info()["plans"] == 1
    assert torch.equal(ops.polar_resample(image, 8, 24, center=(19.0, 20.0)), first)
    assert _C.plan_cache_info()["hits"] == 1
    # Only so many are remembered.
    for k in range(5):
        ops.polar_resample(image, 8, 24, center=(18.0, 20.0 + k / 7))
    ops.polar_resample(image, 8, 24, center=(18.0, 20.0))
    assert _C.plan_cache_info()["plans"] == 1


def test_the_cache_is_bounded() -> None:
    image = torch.rand(5, 600, 600)
    for k in range(30):
        ops.polar_resample(image, 800, 1000, r_max=290.0 + k / 100)  # 10 MB each
    info = _C.plan_cache_info()
    assert info["bytes"] <= info["max_bytes"]
    assert info["misses"] == 30
    assert 0 < info["plans"] < 30
    hits = info["hits"]
    ops.polar_resample(image, 800, 1000, r_max=290.29)  # the last used ones are kept
    assert _C.plan_cache_info()["hits"] == hits + 1


SCRIPT = """
import resource
import torch
from cdifast import ops
torch.set_num_threads(2)
limit = 4 << 30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
frames = torch.zeros(4096, 224, 224)
mask = torch.ones(224, 224, dtype=torch.bool)
mask[100] = False
unwrapped = torch.empty(4096, 112, 224)
ops.polar_resample(frames, 112, 224, mask=mask, out=unwrapped)
maps = torch.empty(4096, 112, 112)
ops.correlation_map(unwrapped, out=maps)
ops.polar_correlation_map(frames, 112, 224, mask=mask, out=maps)
del unwrapped
ops.log_activation(frames, out=frames)
# Not getrusage's maximum, which a process takes over from the one that started it.
(peak,) = (line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(peak) / 2**20)
"""


def test_a_batch_of_4096_runs_in_4_gigabytes() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout) < 2.0  # images 0.77 GiB, unwrapped 0.38, maps 0.19, and torch itself
