"""The package as installed: what it imports, how fast, what the binary holds."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import cdifast
from cdifast import _C

# Every package that only the optional extras bring.
EXTRAS = ("h5py", "hdf5plugin", "sklearn", "matplotlib", "scipy", "cupy", "nvidia.dali")


def python(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_import_costs_less_than_300_ms_beyond_torch() -> None:
    code = "import torch, time; t = time.perf_counter(); import cdifast; print(time.perf_counter() - t)"
    assert min(float(python(code)) for _ in range(3)) < 0.3


MODULES = (
    *("calibrate", "cli", "data", "doctor", "evaluate", "jobs", "nn", "quickstart", "reference", "report"),
    *("simulate", "train"),
)


def test_every_module_imports_without_the_extras() -> None:
    # A process for each, but torch, most of the time, is imported once for all.
    code = f"""
import os, sys
import torch
sys.modules.update(dict.fromkeys({EXTRAS!r}))
for module in {MODULES!r}:
    child = os.fork()
    if child == 0:
        try:
            __import__("cdifast." + module)
            import cdifast
            cdifast.ops.log_activation
        except BaseException as error:
            os.write(2, f"{{module}}: {{error!r}}".encode())
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, module
print(len({MODULES!r}))
"""
    assert python(code) == str(len(MODULES))


def test_submodules_load_when_first_used() -> None:
    code = """
import sys, cdifast
assert "cdifast.nn" not in sys.modules and "cdifast.data" not in sys.modules
cdifast.nn.LogActivation()
assert "nn" in dir(cdifast)
try:
    cdifast.no_such_thing
except AttributeError as error:
    print(error)
"""
    assert python(code) == "module 'cdifast' has no attribute 'no_such_thing'"


def test_binary_and_python_files_are_of_one_version() -> None:
    info = _C.build_info()
    assert info["version"] == cdifast.__version__
    assert info["minimum_torch"] == "2.10"


def test_binary_names_no_path_and_no_symbol_of_a_particular_torch() -> None:
    """Stable ABI only: C functions of the shim, no C++ name of torch or c10, and no library path to this machine."""
    nm, readelf = shutil.which("nm"), shutil.which("readelf")
    if nm is None or readelf is None:
        pytest.skip("binutils are not installed")
    undefined = subprocess.run([nm, "-DuC", _C.__file__], capture_output=True, text=True, check=True).stdout
    assert "torch_library_impl" in undefined
    foreign = [line.split()[-1] for line in undefined.splitlines() if "c10::" in line or "at::" in line]
    assert foreign == []
    dynamic = subprocess.run([readelf, "-d", _C.__file__], capture_output=True, text=True, check=True).stdout
    assert "libtorch_cpu.so" in dynamic
    assert "RPATH" not in dynamic
    assert "RUNPATH" not in dynamic
    assert "libcudart" not in dynamic
    site = str(Path(torch.__file__).parents[1])
    assert site.encode() not in Path(_C.__file__).read_bytes()


needs_cuda_build = pytest.mark.skipif(_C.build_info()["cuda"] is None, reason="built without CUDA kernels")


@needs_cuda_build
def test_cuda_kernels_register_and_import_under_any_torch() -> None:
    for name in ("", "_out", "_backward", "_backward_alpha", "_backward_bias"):
        for key in ("CPU", "CUDA"):
            assert torch._C._dispatch_has_kernel_for_dispatch_key(f"cdifast::log_activation{name}", key)


@needs_cuda_build
def test_binary_holds_every_kernel_for_every_architecture_and_dtype() -> None:
    cuobjdump = shutil.which("cuobjdump") or shutil.which("cuobjdump", path="/usr/local/cuda/bin")
    if cuobjdump is None:
        pytest.skip("cuobjdump is not installed")
    architectures = [a.removesuffix("-real") for a in _C.build_info()["cuda_architectures"].split()]
    assert set(architectures) <= {"75", "80", "86", "89", "90", "100", "120"}

    def dump(*arguments: str) -> str:
        command = [cuobjdump, *arguments, _C.__file__]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    elves = dump("--list-elf")
    for architecture in architectures:
        assert f"sm_{architecture}." in elves
    assert f"sm_{architectures[-1]}." in dump("--list-ptx")
    symbols = dump("--dump-elf-symbols", "--gpu-architecture", f"sm_{architectures[-1]}")
    # The mangled element types that the CPU accepts too: Half, BFloat16, float, double.
    for element in ("N7cdifast4HalfE", "N7cdifast8BFloat16E", "If", "Id"):
        for kernel in ("forward_kernel", "backward_kernel", "backward_alpha_kernel"):
            assert any(f"log_activation_{kernel}" in line and element in line for line in symbols.splitlines())


def test_package_is_typed() -> None:
    assert (Path(cdifast.__file__).parent / "py.typed").is_file()
