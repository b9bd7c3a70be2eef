"""Importing the package makes the first call of each function that torch leaves to MKL's vector mathematics."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import torch

from cdifast.vector_math import FUNCTIONS

RECORD = """
import torch
from torch.overrides import TorchFunctionMode

class Calls(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        if args and isinstance(args[0], torch.Tensor):
            print(function.__name__, args[0].dtype, args[0].device, args[0].numel())
        return function(*args, **(kwargs or {}))

with Calls():
    import cdifast
"""


def test_every_function_of_torchs_header_is_there() -> None:
    header = Path(torch.__file__).parent / "include" / "ATen" / "cpu" / "vml.h"
    names = re.findall(r"^IMPLEMENT_VML_MKL\((\w+),", header.read_text(), re.MULTILINE)
    assert "cos" in names
    assert set(names) <= {function.__name__ for function in FUNCTIONS}


def test_importing_the_package_calls_each_of_one_number() -> None:
    done = subprocess.run([sys.executable, "-c", RECORD], capture_output=True, text=True, check=True)
    calls = done.stdout.splitlines()
    for function in FUNCTIONS:
        for dtype in (torch.float32, torch.float64):
            assert f"{function.__name__} {dtype} cpu 1" in calls
