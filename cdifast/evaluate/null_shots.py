"""Physics nulls of simulated shots: the same particles under changed conditions, simulated anew and so exact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdifast.labels import CLASSES
from cdifast.simulate import PRESETS, render
from cdifast.simulate.detector import MOST_OFF_CENTRE
from cdifast.simulate.optics import HC, absorption_length

Null = Literal["repeat", "rotation", "centre", "photons", "friedel", "energy"]
NULLS: Final[tuple[Null, ...]] = get_args(Null)

SHIFT: Final = 0.03
"""Shift of the beam's centre in radii of the rim: one pixel of 64 x 64, 15 of the published images."""

FEWER: Final = 0.1
"""Photons of the null "photons" over those of the original."""

ENERGY_FACTOR: Final = 1.1
"""Photon energy of the null "energy" over the original's, or under it."""

ENERGY_RANGE: Final = (19.0, 35.0)
"""eV within which helium's energies are kept (P1, section 2)."""


def null_shots(
    records: NDArray[Any],
    size: int = 64,
    preset: str = "helium",
    seed: int = 0,
    nulls: Sequence[Null] = NULLS,
    *,
    device: torch.device | str = "cpu",
) -> dict[str, Tensor]:
    """Simulate shots again, each under one changed condition. Detector, hole and dead place stay where they are.

    - ``"repeat"``: nothing but the photons' chance; what the others are to be measured by.
    - ``"rotation"``: the particle (and a second one) turned about the beam by a random angle.
    - ``"centre"``: the beam's centre shifted by 0.03 radii of the rim in a random direction, towards the middle where
      it would leave the simulator's range.
    - ``"photons"``: a tenth of the photons, scattered and background. A Poisson number thinned is one of less mean, so
      this is thinning, before the detector.
    - ``"friedel"``: the pattern inverted through the beam's centre, I(-q): the particle turned by 180 degrees about the
      beam, exactly, at any angle. Where Friedel's law holds (small angles, no absorption) this is the pattern itself;
      at wide angles it tells how much a method makes of the difference.
    - ``"energy"``: photons of 1.1 times the energy (or 1/1.1, where that leaves 19 to 35 eV): the rings move, the
      Ewald sphere's curvature and helium's absorption change. Simulated, because at wide angles no rescaling of the
      image is exact. Only the helium presets' absorption follows the energy.

    Photons of all nulls are counted with another seed than the originals', ``"repeat"`` too.

    Parameters
    ----------
    records : ndarray
        ``(N,)`` of the originals: `cdifast.simulate.parameters`.
    size, preset
        Of the originals.
    seed : int
        Of the originals; random angles and photons follow from it.
    nulls : sequence of str
        Which.
    device : torch.device or str

    Returns
    -------
    dict
        From the null's name to its images ``(N, size, size)`` int32.

    Raises
    ------
    ValueError
        An unknown null, or as `cdifast.simulate.render`.
    """
    for name in nulls:
        if name not in NULLS:
            raise ValueError(f"nulls: found {name!r}, expected one of {', '.join(NULLS)}")
    found: dict[str, Tensor] = {}
    for name in nulls:
        # Each null has its own random numbers, whichever others are asked for.
        rng = np.random.default_rng([seed, NULLS.index(name), 1])
        counting = int(rng.integers(2**62))
        changed = changed_records(records, name, rng, helium=preset in PRESETS and PRESETS[preset].classes == CLASSES)
        found[name] = render(changed, size, preset, counting, device=device)
    return found


def changed_records(records: NDArray[Any], null: Null, rng: np.random.Generator, *, helium: bool) -> NDArray[Any]:
    """The records ``(N,)`` under one null of `null_shots`; ``helium``: whether absorption is that of helium."""
    changed = records.copy()
    count = len(changed)
    angle = rng.uniform(0, 2 * np.pi, count)
    if null == "rotation":
        _turn(changed, angle)
    elif null == "friedel":
        _turn(changed, np.full(count, np.pi))
    elif null == "centre":
        for field, shift in (("centre_y", SHIFT * np.sin(angle)), ("centre_x", SHIFT * np.cos(angle))):
            outside = np.abs(changed[field] + shift) > MOST_OFF_CENTRE
            changed[field] += np.where(outside, -shift, shift)
    elif null == "photons":
        for field in ("photons", "background"):
            changed[field] *= FEWER
    elif null == "energy":
        energy = HC / changed["wavelength"]
        low, high = ENERGY_RANGE if helium else (0.0, np.inf)
        higher = energy * ENERGY_FACTOR
        energy = np.where(higher <= high, higher, np.maximum(energy / ENERGY_FACTOR, low))
        changed["wavelength"] = HC / energy
        if helium:
            lit = ~np.isnan(changed["absorption_length"])
            changed["absorption_length"][lit] = absorption_length(energy[lit])
    return changed


def _turn(records: NDArray[Any], angle: NDArray[np.float64]) -> None:
    """Turn particles about the beam, in place: from +x (columns) towards +y (rows)."""
    records["azimuth"] += angle
    x, y = records["second_x"].copy(), records["second_y"].copy()
    records["second_x"] = np.cos(angle) * x - np.sin(angle) * y
    records["second_y"] = np.sin(angle) * x + np.cos(angle) * y
