"""What is installed, what it was built for, and whether it works here: ``cdifast doctor``."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import dataclass

import torch

from cdifast import _C, __version__, ops, reference

OPTIONAL = {
    "h5py": "HDF5 and CXI files [data]",
    "hdf5plugin": "bitshuffle-LZ4 and other codecs [data]",
    "scikit-learn": "classical baselines [eval]",
    "matplotlib": "figures and reports [eval]",
}
"""Optional packages, and what they are for and which extra brings them."""


@dataclass(frozen=True)
class Check:
    """One line of the report: what, what was found, and whether that is all right (None: no judgement)."""

    name: str
    found: str
    good: bool | None = None


def examine() -> list[Check]:
    """Look at the installation and run every operator once against its reference.

    Returns
    -------
    list of Check
        A check with ``good=False`` is something to mend.
    """
    info = _C.build_info()
    checks = [
        Check("cdifast", f"{__version__}, Python {platform.python_version()}, {platform.platform()}"),
        Check("binary", f"{info['compiler']}, built with torch {info['built_with_torch']}"),
        Check("torch", f"{torch.__version__} (needs {info['minimum_torch']} or newer)"),
        Check("CPU kernels", f"{', '.join(info['cpu_capabilities'])}; in use: {_C.cpu_capability()}{_override()}"),
        Check("threads", f"{torch.get_num_threads()} of {os.cpu_count()} processors"),
        cuda(),
    ]
    checks.extend(_optional(package, purpose) for package, purpose in OPTIONAL.items())
    checks.extend(_operators())
    return checks


def examine_device(name: str) -> list[Check]:
    """Run every operator on a device, forward and backward, against its reference, and time it beside a copy.

    Parameters
    ----------
    name : str
        As :class:`torch.device` takes it.

    Returns
    -------
    list of Check
        One for the device's copy, one an operator.
    """
    from cdifast.device_check import check_operators, copy_bandwidth

    device = torch.device(name)
    copy = copy_bandwidth(device)
    checks = [Check(f"{device}: copy", f"{copy / 1e9:.0f} GB/s")]
    for found in check_operators(device):
        text = (
            f"relative error {found.error:.1e}, of the gradient {found.gradient_error:.1e}; {found.seconds * 1e3:.3g} "
            f"ms, {found.bandwidth / 1e9:.0f} GB/s ({found.bandwidth / copy:.0%} of a copy)"
        )
        checks.append(Check(f"{device}: {found.name}", text, found.good))
    return checks


def _override() -> str:
    asked = os.environ.get("CDIFAST_CPU_CAPABILITY")
    return f" (CDIFAST_CPU_CAPABILITY={asked})" if asked else ""


def cuda() -> Check:
    """Whether operators run on a GPU here; if not, the first reason that stands in the way."""
    info = _C.build_info()
    if info["cuda"] is None:
        return Check("CUDA", f"no: {info['why_no_cuda']}")
    built = f"kernels of CUDA {info['cuda']} for {info['cuda_architectures'].replace('-real', '')}"
    if torch.version.cuda is None:
        return Check("CUDA", f"no: this torch is a CPU build ({built} are in the binary and wait for a CUDA build)")
    if not torch.cuda.is_available():
        return Check("CUDA", f"no: torch {torch.__version__} finds no GPU or driver ({built} are in the binary)")
    names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    covered = sorted(
        name for name in ops.__all__ if torch._C._dispatch_has_kernel_for_dispatch_key(f"cdifast::{name}", "CUDA")
    )
    return Check("CUDA", f"yes: {names}; {built}; operators with CUDA kernels: {', '.join(covered)}", True)


def _optional(package: str, purpose: str) -> Check:
    try:
        return Check(package, f"{importlib.metadata.version(package)}: {purpose}")
    except importlib.metadata.PackageNotFoundError:
        return Check(package, f"not installed: no {purpose}")


def _operators() -> list[Check]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(4, 64, 64, generator=generator)
    unwrapped = torch.rand(4, 24, 64, generator=generator)
    pairs = {
        "log_activation": (ops.log_activation(images), reference.log_activation(images.double())),
        "polar_resample": (ops.polar_resample(images, 24, 64), reference.polar_resample(images.double(), 24, 64)[0]),
        "correlation_map": (ops.correlation_map(unwrapped), reference.correlation_map(unwrapped.double())[0]),
    }
    checks = []
    for name, (found, expected) in pairs.items():
        error = float((found.double() - expected).norm() / expected.norm())
        checks.append(Check(name, f"relative error {error:.1e} against the float64 reference", error < 2e-6))
    return checks
