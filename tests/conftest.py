"""Fixtures that every test folder uses."""

from __future__ import annotations

from pathlib import Path

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
