"""The emulated CUDA operators, for every test of this folder."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator

import emulator_build
import pytest
import torch

Configure = Callable[..., None]


@pytest.fixture(scope="session")
def _library() -> ctypes.CDLL:
    # Set by test_sanitizers.py, which runs the operators' tests a second time with AddressSanitizer preloaded.
    address = os.environ.get("CDIFAST_EMULATOR_ENGINE") == emulator_build.ADDRESS.name
    path = emulator_build.operator_library(emulator_build.ADDRESS if address else emulator_build.FIBERS)
    torch.ops.load_library(path)
    library = ctypes.CDLL(str(path))
    library.cdifast_emulator_configure.argtypes = (ctypes.c_uint32, ctypes.c_uint8, ctypes.c_bool, ctypes.c_int)
    library.cdifast_emulator_configure.restype = None
    return library


@pytest.fixture
def configure(_library: ctypes.CDLL) -> Iterator[Configure]:
    """Sets what csrc/emulator/emulator.h calls Settings, and whether scalar arguments stand for ones on the GPU."""

    def apply(
        schedule: int = 0, poison: int = 0xFF, scalars_on_device: bool = False, compute_capability: int = 90
    ) -> None:
        _library.cdifast_emulator_configure(schedule, poison, scalars_on_device, compute_capability)

    apply()
    # torch then fills what it allocates with NaN: an element that no kernel writes shows.
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield apply
    torch.use_deterministic_algorithms(before)
    apply()
