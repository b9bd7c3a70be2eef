"""The eleven classes of the helium-droplet data set and the rules between them (P1, section 2)."""

from __future__ import annotations

from typing import Final

CLASSES: Final[tuple[str, ...]] = (
    "Spherical/Oblate",
    "Round",
    "Elliptical",
    "Prolate",
    "Streak",
    "Bent",
    "Asymmetric",
    "Newton rings",
    "Double rings",
    "Layered",
    "Empty",
)
"""Class names in the column order of every ``(N, 11)`` label array (CXIDB 94)."""

EXCLUSIVE: Final[tuple[tuple[str, str], ...]] = (("Spherical/Oblate", "Prolate"), ("Round", "Elliptical"))
"""Pairs of classes that no single image may have together (P1, section 2)."""

SUPER_CLASSES: Final[tuple[str, ...]] = ("Spherical/Oblate", "Prolate", "Empty")
"""Every image belongs to one of these (P1, section 2; eleven of the 7264 real label rows belong to none)."""
