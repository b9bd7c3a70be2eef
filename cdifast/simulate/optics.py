"""Refractive index of helium droplets in the extreme ultraviolet: what is known, and what was decided.

``n = 1 - delta + i beta`` comes from one set of oscillators, so that dispersion and absorption belong together
(Kramers-Kronig), through ``n^2 = 1 + E_p^2 sum of f / (E_0^2 - E^2 - i E G)``. Known values:

- number density of liquid helium below 2 K, 2.18e28 per m^3 (145 kg/m^3), hence ``E_p^2 = 30.1 eV^2`` an electron;
- oscillator strengths of the atom's lines: 1s-2p 0.276, 1s-3p 0.073 (NIST); 1s-4p and higher together 0.08, from
  the sum rule below the threshold;
- photoionisation cross-section above 24.59 eV: the fit of Verner, Ferland, Korista and Yakovlev, ApJ 465 (1996)
  487. It is 7.4 Mb at threshold, so that liquid helium transmits 1/e through 62 nm there.

Decided, because no measured index of droplets was at hand:

- lines of the droplet instead of the atom: bands at 21.6 eV (from 1s-2p) and 23.8 eV (from all higher), with widths
  of 0.8 and 1.5 eV, about what fluorescence excitation spectra show (Joppien et al., PRL 71 (1993) 2654);
- the continuum's dispersion is that of 24 narrow slices of its cross-section up to 200 eV;
- the lines' Lorentzian wings absorb at 19 eV as no droplet does: the model is an upper limit there.

Near the bands ``|n - 1|`` exceeds 0.1, where the Born approximation of :mod:`cdifast.simulate.multislice` says
little about intensities. It still says where rings lie, as these follow from the silhouette. So the helium preset
takes absorption from here, but no refraction.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

THRESHOLD = 24.59
"""eV: ionisation of the helium atom."""

NUMBER_DENSITY = 2.18e28
"""Atoms per m^3."""

PLASMA_ENERGY_SQUARED = 30.06
"""eV^2: (hbar e)^2 NUMBER_DENSITY / (epsilon_0 m_e), one electron an atom."""

BANDS = ((21.6, 0.276, 0.8), (23.8, 0.153, 1.5))
"""Energy (eV), oscillator strength and width (eV) of the absorption bands."""

_MEGABARN_EV = 109.76  # cross-section (Mb) of one oscillator per eV


def photoionisation(energy: ArrayLike) -> NDArray[np.float64]:
    """Cross-section of the helium atom in m^2, 0 below the threshold.

    Parameters
    ----------
    energy : array_like
        Photon energies in eV.
    """
    e = np.asarray(energy, dtype=np.float64)
    x = e / 13.61 - 0.4434
    y = np.hypot(x, 2.136)
    shape = ((x - 1) ** 2 + 2.039**2) * y ** (0.5 * 3.188 - 5.5) * (1 + np.sqrt(y / 1.469)) ** -3.188
    return np.where(e >= THRESHOLD, 949.2e-22 * shape, 0.0)


def helium_index(energy: ArrayLike) -> NDArray[np.complex128]:
    """Complex refractive index ``1 - delta + i beta`` of liquid helium.

    Parameters
    ----------
    energy : array_like
        Photon energies in eV; sources and limits are the module's.
    """
    e = np.asarray(energy, dtype=np.float64)
    susceptibility = np.zeros(e.shape, dtype=np.complex128)
    for centre, strength, width in BANDS:
        susceptibility += strength / (centre**2 - e**2 - 1j * width * e)
    edges = np.geomspace(THRESHOLD, 200.0, 25)
    slices = np.sqrt(edges[1:] * edges[:-1])
    strengths = photoionisation(slices) * 1e22 / _MEGABARN_EV * np.diff(edges)
    # real part of the continuum; each slice as broad as itself, so that none stands out
    for centre, strength, width in zip(slices, strengths, 2 * np.diff(edges), strict=True):
        susceptibility += (strength / (centre**2 - e**2 - 1j * width * e)).real
    index = np.sqrt(1 + PLASMA_ENERGY_SQUARED * susceptibility)
    return index + 1j * photoionisation(e) * NUMBER_DENSITY * wavelength_of(e) / (4 * np.pi)


def absorption_length(energy: ArrayLike) -> NDArray[np.float64]:
    """Length in m after which liquid helium has absorbed all but 1/e of the intensity: ``lambda / (4 pi beta)``."""
    return wavelength_of(energy) / (4 * np.pi * helium_index(energy).imag)


def wavelength_of(energy: ArrayLike) -> NDArray[np.float64]:
    """Wavelength in m of photons of ``energy`` eV."""
    return HC / np.asarray(energy, dtype=np.float64)


HC = 1.239841984e-6
"""Planck constant times speed of light, eV m."""
