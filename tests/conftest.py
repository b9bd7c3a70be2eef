"""Fixtures that every test folder uses."""

from __future__ import annotations

import os
from pathlib import Path

# Workers of pytest-xdist share the cores. OpenMP's threads spin while they wait, and take them from each other: a test
# of many small calls took ten times as long beside another. Read when torch is loaded, here and in processes of tests.
os.environ.setdefault(
    "OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))))
)
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest
import torch

import cdifast  # noqa: F401 - settles torch's vector mathematics before a test computes what it expects

SHARED_DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real example data beside the project; tests that need it skip where it is not."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real example data (../shared/data) is not here")
    return SHARED_DATA


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


# Files of minutes each: workers of pytest-xdist begin with them, so that none is left with one when others are done.
LONG = ("test_sanitizers.py", "test_ptxas.py")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.path.name not in LONG)
    if torch.cuda.is_available():
        return
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
