"""Every operator on a device against its reference, and its bandwidth beside a copy's: ``cdifast doctor --gpu``."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cdifast import ops, reference

TOLERANCE = 2e-6
"""Relative error (norm) that float32 results may have."""


@dataclass(frozen=True)
class OperatorCheck:
    """What one operator did on a device.

    Attributes
    ----------
    name : str
    error, gradient_error : float
        Relative (norm) against the float64 reference on the CPU; the gradient is that of the first argument.
    seconds : float
        Median time of a forward call.
    bandwidth : float
        Bytes of arguments and result over that time, in bytes a second.
    """

    name: str
    error: float
    gradient_error: float
    seconds: float
    bandwidth: float

    @property
    def good(self) -> bool:
        """Whether both errors are within :data:`TOLERANCE`."""
        return self.error < TOLERANCE and self.gradient_error < TOLERANCE


def _cases() -> dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor], tuple[int, ...]]]:
    """Operator, reference and the shape of one sample, by name."""
    pairs = torch.triu_indices(24, 24).T
    return {
        "log_activation": (ops.log_activation, reference.log_activation, (64, 112, 112)),
        "polar_resample": (
            lambda x: ops.polar_resample(x, 112, 224),
            lambda x: reference.polar_resample(x, 112, 224)[0],
            (224, 224),
        ),
        "cartesian_resample": (
            lambda x: ops.cartesian_resample(x, 224, 224),
            lambda x: reference.cartesian_resample(x, 224, 224)[0],
            (112, 224),
        ),
        "angular_harmonics": (
            lambda x: torch.view_as_real(ops.angular_harmonics(x, [1, 2, 8])),
            lambda x: torch.view_as_real(reference.angular_harmonics(x, [1, 2, 8])),
            (112, 224),
        ),
        "correlation_map": (ops.correlation_map, lambda x: reference.correlation_map(x)[0], (112, 224)),
        "angular_correlation": (
            ops.angular_correlation,
            lambda x: reference.angular_correlation(x, pairs)[0],
            (24, 224),
        ),
        "polar_correlation_map": (
            lambda x: ops.polar_correlation_map(x, 112, 224),
            lambda x: reference.polar_correlation_map(x, 112, 224)[0],
            (224, 224),
        ),
    }


def _median_time(call: Callable[[], object], device: torch.device, rounds: int) -> float:
    """Seconds of a call, the work on the device included."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    for _ in range(3):
        call()
    times = []
    for _ in range(rounds):
        wait()
        start = time.perf_counter()
        call()
        wait()
        times.append(time.perf_counter() - start)
    return sorted(times)[rounds // 2]


def copy_bandwidth(device: torch.device, megabytes: int = 256, rounds: int = 20) -> float:
    """Bytes a second, read and written, of a copy between two tensors on the device."""
    source = torch.zeros(megabytes << 18, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / _median_time(lambda: target.copy_(source), device, rounds)


def check_operators(device: torch.device, batch: int = 256, rounds: int = 20) -> list[OperatorCheck]:
    """Run every operator in float32 on ``device``, forward and backward.

    Parameters
    ----------
    device : torch.device
    batch : int
        Samples that are timed; two of them are compared.
    rounds : int
        Timed calls.

    Returns
    -------
    list of OperatorCheck
    """
    generator = torch.Generator().manual_seed(0)
    checks = []
    for name, (operator, definition, shape) in _cases().items():
        few = torch.rand(2, *shape, generator=generator)
        here = few.to(device).requires_grad_()
        exact = few.double().requires_grad_()
        found, expected = operator(here), definition(exact)
        cotangent = torch.rand(expected.shape, generator=generator, dtype=torch.float64)
        (gradient,) = torch.autograd.grad(found, here, cotangent.to(found))
        (exact_gradient,) = torch.autograd.grad(expected, exact, cotangent.to(found.dtype).double())
        many = few.repeat(batch // 2, *[1] * len(shape)).to(device)
        with torch.no_grad():
            result = operator(many)
            seconds = _median_time(lambda operator=operator, many=many: operator(many), device, rounds)  # type: ignore[misc]
        checks.append(
            OperatorCheck(
                name,
                _relative_error(found, expected),
                _relative_error(gradient, exact_gradient),
                seconds,
                (many.nbytes + result.nbytes) / seconds,
            )
        )
    return checks


def _relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found.detach().cpu().double() - expected).norm() / expected.norm())
