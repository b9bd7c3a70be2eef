"""Simulated patterns on a flat detector: multi-slice transform, absorption, resampling to pixels, solid angle.

Without Poisson noise and detector response: what is compared is the far field. The droplets are tilted spheroids of the
helium experiment's sizes, for which the far field has a closed form: errors are against that, of intensities in the
Euclidean norm. Absorption is computed with a length so great that it does not matter.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from cdifast.simulate import FlatDetector, expected_pattern
from cdifast.simulate.helium import draw_radius, helium_detector
from cdifast.simulate.particles import new_records
from cdifast.simulate.threads import one_thread_each

from .call import Call, EntryTimer, RowTimer, exact_result
from .peers import simulate as peers
from .peers.simulate import Droplet

SIDES = (128, 256)
DROPLETS = 16
FEW = 2


@functools.lru_cache(maxsize=1)
def droplets() -> list[Droplet]:
    """Spheroids, oblate and prolate, seen from anywhere."""
    rng = np.random.default_rng(7)
    made = []
    for _ in range(DROPLETS):
        radius, aspect = float(draw_radius(rng)), rng.uniform(0.6, 2)
        equatorial = radius * aspect ** (-1 / 3)
        wavelength = 1.239841984e-6 / rng.uniform(19, 35)
        tilt, azimuth = np.arccos(rng.uniform(0, 1)), rng.uniform(0, 2 * np.pi)
        made.append(Droplet(equatorial * aspect, equatorial, float(tilt), float(azimuth), wavelength, 1.0))
    return made


def ours(detector: FlatDetector) -> Call:
    records = new_records(DROPLETS)
    for record, droplet in zip(records, droplets(), strict=True):
        record["kind"] = b"prolate" if droplet.polar > droplet.equatorial else b"oblate"
        record["equatorial_radius"], record["length"] = droplet.equatorial, 2 * droplet.polar
        for name in ("tilt", "azimuth", "wavelength", "absorption_length"):
            record[name] = getattr(droplet, name)
        record["bend"] = record["roll"] = 0
        record["photons"] = 1
    out = torch.empty(DROPLETS, detector.size, detector.size)
    lit = detector.lit()

    def run() -> Tensor:
        def pattern(k: int) -> None:
            out[k] = torch.where(lit, expected_pattern(records[k : k + 1], detector), 0)

        one_thread_each(pattern, DROPLETS)
        return out

    return Call(run, DROPLETS, tolerance=peers.TOLERANCE)


PATTERNS: dict[str, Callable[[FlatDetector], Call]] = {
    "ours": ours,
    "NumPy loop, matrix products": lambda detector: peers.loop_of_products(droplets()[:FEW], detector),
    "NumPy loop, FFTs": lambda detector: peers.loop_of_ffts(droplets()[:FEW], detector),
}


@exact_result
def exact(size: int) -> Tensor:
    """``|3 (sin u - u cos u) / u^3|^2`` with ``u = |A q|`` on the Ewald sphere, times the solid angle."""
    detector = helium_detector(size)
    s_x, s_y = detector.direction_cosines()
    lit = detector.lit()
    transfer = 2 * np.pi * torch.stack([s_x, s_y, (1 - s_x**2 - s_y**2).sqrt() - 1], -1)
    patterns = []
    for droplet in droplets()[:FEW]:
        axis = torch.tensor(peers._axis(droplet), dtype=torch.float64)
        along = transfer @ axis
        a, c = droplet.equatorial / droplet.wavelength, droplet.polar / droplet.wavelength
        u = (a**2 * (transfer.square().sum(-1) - along**2) + c**2 * along**2).sqrt()
        pattern = torch.where(lit, ((u.sin() - u * u.cos()) / u**3) ** 2 * detector.solid_angle(), 0)
        patterns.append(pattern / pattern.sum())
    return torch.stack(patterns)


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("size", SIDES)
def test_pattern(name: str, size: int, entry: EntryTimer) -> None:
    entry("pattern", name, lambda: PATTERNS[name](helium_detector(size)), exact(size), size=size)


@pytest.mark.ratio
def test_row(compare: RowTimer) -> None:
    detector = helium_detector(256)
    loops = {name: build for name, build in PATTERNS.items() if name != "ours"}
    compare(
        "simulate",
        lambda: ours(detector),
        {name: functools.partial(build, detector) for name, build in loops.items()},
        exact(256),
    )
