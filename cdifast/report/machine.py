"""On what, and with which versions, a report was made: what a reader needs to judge its times."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch

import cdifast
from cdifast import _C


def describe_machine() -> dict[str, Any]:
    """Processor, cores and memory of this machine; no names of hosts or users.

    Returns
    -------
    dict
        ``cpu`` (model), ``cores`` (that this process may use), ``threads`` (that torch uses), ``memory_gb``
        (None where the system does not tell), ``system``, ``gpu`` (None without a usable CUDA device),
        ``instruction_set`` (that the compiled operators use).
    """
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    cores = len(affinity(0)) if affinity else os.cpu_count()
    return {
        "cpu": _cpu_model(),
        "cores": cores,
        "threads": torch.get_num_threads(),
        "memory_gb": _memory_gb(),
        "system": f"{platform.system()} {platform.machine()}",
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "instruction_set": str(_C.cpu_capability()),
    }


def describe_versions() -> dict[str, str | None]:
    """Versions of cdifast, of Python and of the packages whose numbers the report rests on; None: not installed."""
    versions: dict[str, str | None] = {
        "cdifast": cdifast.__version__,
        "Python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
    for name in ("h5py", "matplotlib"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def _cpu_model() -> str:
    """The processor's model; what `platform` knows where Linux's list of processors is missing."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    return model_in(text) or platform.processor() or platform.machine()


def model_in(cpuinfo: str) -> str | None:
    """The model in the text of Linux's ``/proc/cpuinfo``; None where it has none.

    Virtual machines are told names that many generations share ("AMD EPYC"). Where a name has no number in it, the
    processor's family and model follow in brackets.
    """
    first: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        first.setdefault(name.strip(), value.strip())
    model = first.get("model name")
    if model is None or any(character.isdigit() for character in model):
        return model
    numbers = [f"{name} {first[key]}" for name, key in (("family", "cpu family"), ("model", "model")) if key in first]
    return f"{model} ({', '.join(numbers)})" if numbers else model


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, OSError, ValueError):
        return None
