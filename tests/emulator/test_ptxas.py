"""What ptxas reports of every kernel on every architecture of the build: registers only, nothing in local memory."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path

import pytest
from emulator_build import LAUNCHERS, ROOT, cached, in_parallel, made_once

ENTRY = re.compile(r"Compiling entry function '(?P<kernel>\w+)' for 'sm_(?P<architecture>\d+)'")
STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
REGISTERS = re.compile(r"Used (\d+) registers")


@functools.cache
def architectures() -> list[str]:
    """Those of CMakeLists.txt that this nvcc knows."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("no nvcc on PATH")
    listed = sorted(set(re.findall(r"\b(\d+)-real\b", (ROOT / "CMakeLists.txt").read_text())), key=int)
    assert listed[0] == "75"
    assert listed[-1] == "120"
    known = subprocess.run([nvcc, "--list-gpu-code"], capture_output=True, text=True, check=True).stdout.split()
    return [architecture for architecture in listed if f"sm_{architecture}" in known]


def compiled_for(architecture: str, flags: list[str], launcher: Path) -> str:
    with tempfile.TemporaryDirectory() as folder:
        # The host's half is the same for all: it is compiled, and its warnings are seen, with the first one only.
        stage = "-c" if architecture == architectures()[0] else "-cubin"
        target = f"-gencode=arch=compute_{architecture},code=sm_{architecture}"
        command = ["nvcc", *flags, target, stage, str(launcher), "-o", str(Path(folder) / "object.o")]
        done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-8000:]
    return done.stderr + done.stdout


def report(launcher: Path) -> str:
    version = subprocess.run(["nvcc", "--version"], capture_output=True, text=True, check=True).stdout
    # A function of the GPU that is called on the host compiles with a warning, and ends the program that calls it.
    flags = ["-std=c++17", "-O3", "-DNDEBUG", "-Xptxas", "-v", "-Werror", "all-warnings"]
    kept = cached(f"ptxas-{launcher.stem}", version + " ".join((*flags, *architectures())), ".txt")
    with made_once(kept) as wanted:
        if wanted:
            partial = kept.with_suffix(".partial")
            reports = in_parallel(lambda architecture: compiled_for(architecture, flags, launcher), architectures())
            partial.write_text("".join(reports))
            partial.replace(kept)
    return kept.read_text()


def kernels(launcher: Path) -> set[str]:
    """Names of the kernels in the launcher's .cuh files."""
    files = launcher.parent.glob(launcher.name.replace("_launch.cu", "_*.cuh"))
    source = "".join(path.read_text() for path in files)
    return set(re.findall(r"__global__\s+void\s+(\w+)\s*\(", source))


@pytest.mark.parametrize("launcher", LAUNCHERS, ids=lambda path: path.name)
def test_every_kernel_stays_in_registers(launcher: Path) -> None:
    expected = architectures()
    compiled: dict[str, set[str]] = defaultdict(set)  # architectures by mangled name
    wrong = []
    for part in re.split(r"(?=ptxas info\s+: Compiling entry function)", report(launcher))[1:]:
        entry, stack, registers = ENTRY.search(part), STACK.search(part), REGISTERS.search(part)
        assert entry, part
        assert stack, part
        compiled[entry["kernel"]].add(entry["architecture"])
        if stack.groups() != ("0", "0", "0"):
            wrong.append(f"{entry['kernel']} for sm_{entry['architecture']}: {stack[0]}, {registers and registers[0]}")
    assert not wrong, "\n".join(wrong)
    assert all(sorted(found, key=int) == expected for found in compiled.values()), dict(compiled)
    for kernel in kernels(launcher):
        assert any(kernel in name for name in compiled), f"{kernel} was not compiled: {sorted(compiled)}"


def test_the_log_activation_is_compiled_for_every_dtype_and_width() -> None:
    (launcher,) = (path for path in LAUNCHERS if path.name == "log_activation_launch.cu")
    names = set(re.findall(r"entry function '(\w+)'", report(launcher)))
    # As packs and one by one: four dtypes, three kernels; the sum of parts for float and double.
    assert len(names) == 4 * 2 * 3 + 2


def test_the_resampling_is_compiled_for_every_dtype() -> None:
    (launcher,) = (path for path in LAUNCHERS if path.name == "resample_launch.cu")
    names = set(re.findall(r"entry function '(\w+)'", report(launcher)))
    # Both ways: eight dtypes forward and for the centre, two of the weight, four backward for one image and for
    # several. The table of directions; the sum of parts.
    assert len(names) == 2 * (8 + 8 + 2 + 4 * 2) + 2
