"""On what a run was made: names for its files and its tables, never of hosts."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cdifast.report import describe_machine, describe_versions

PACKAGES = ("scipy", "opencv-python-headless", "scikit-image", "pyFAI")


def machine() -> dict[str, Any]:
    """Processor, cores, instruction set, memory."""
    found = describe_machine()
    return {name: found[name] for name in ("cpu", "cores", "instruction_set", "memory_gb", "system")}


def versions() -> dict[str, str | None]:
    """Of what was timed; None: not installed."""
    found = {name: version for name, version in describe_versions().items() if name not in ("h5py", "matplotlib")}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def slug(machine: Mapping[str, Any]) -> str:
    """A file name for a machine: ``intel-xeon-2core-avx512``.

    Machines of one name have the same model, cores and instruction set, as the operating system tells them.
    """
    model = re.sub(r"\((r|tm)\)|\b(cpu|processor|\d+-core)\b|@.*", " ", machine["cpu"].lower())
    words = re.findall(r"[a-z0-9]+", model)
    return "-".join([*words, f"{machine['cores']}core", machine["instruction_set"]])


def commit(root: Path) -> str:
    """The checked-out commit, ``+`` behind it where sources differ from it; "unknown" outside a repository."""
    try:
        head = _git(root, "rev-parse", "--short", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if changed else "")


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout.strip()
