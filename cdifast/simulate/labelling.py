"""Which of the eleven classes a simulated shot shows, from what its particle is and how it lies.

The real labels were given by a researcher who saw patterns, not particles (P1, section 2); which particle
makes which pattern is plausible, not stated. The rules here follow that physics, with thresholds set where
the simulated pattern starts to look like the class. Asymmetric, Newton rings, Double rings and Layered are
never given: the two-droplet and layered particles are not simulated yet, and Asymmetric waits for a rule,
though wide-angle patterns of tilted droplets already show it.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cdifast.labels import CLASSES

ROUND_RATIO: Final = 1.1
"""Silhouettes with a smaller axis ratio look round: even the fifth ring is less than half a ring spacing
wider along one axis than along the other."""

STREAK_LENGTH: Final = 3.0
"""Straight part of a pill, as seen, in units of sqrt(wavelength radius), from which its side makes a streak:
the caps shine into every direction from a spot of about that size (their first Fresnel zone), the side into
one plane from all its length."""

BENT_SAGITTA: Final = 1.25
"""Sagitta of a pill's streak at the sensor's rim, in streak widths, from which one sees that it is bent."""

BENT_OVAL: Final = 0.3
"""Sagitta of a prolate spheroid's pattern at the rim, over the half width of its ovals there, from which they
are crescents."""

LINE_SAGITTA: Final = 0.22
"""Sagitta of a streak at the rim over the rim's radius, above which it is a crescent, no longer a line
through the centre: its arms then lean by 12 degrees each."""

BENT_FAN: Final = 1.25
"""Spread of the streak at the rim by the pill's own bend, in streak widths, from which the streak is not
straight."""


def labels_for(parameters: NDArray[Any], max_angle: float) -> NDArray[np.uint8]:
    """Labels of simulated shots.

    Every shot with a particle gets exactly one of Spherical/Oblate and Prolate; Round or Elliptical only with
    the first, Streak and Bent only with the second.

    - *Spherical/Oblate, Round*: a sphere, or any particle whose silhouette's axis ratio is below
      :data:`ROUND_RATIO`: an oblate droplet seen along its axis, but also a prolate one seen end-on, whose
      rings look alike.
    - *Spherical/Oblate, Elliptical*: an oblate droplet tilted further: the rings are the silhouette's, turned
      by 90 degrees.
    - *Prolate*: a prolate spheroid or a pill otherwise.
    - *Streak*: a pill with a straight part of at least :data:`STREAK_LENGTH`: its side scatters into the
      plane across the long axis, a line on the detector. Not if bent to a crescent (:data:`LINE_SAGITTA`) or
      fanned out (:data:`BENT_FAN`).
    - *Bent*: a particle with its long axis ``a`` at the angle ``t`` to the beam scatters where ``q.a = 0``,
      and on the Ewald sphere that is ``q_par = (q_perp^2 / 2k) cot t``: a curve. A pill's streak is ``2 pi /
      (length sin t)`` wide, so its sagitta at the rim is ``sin(max_angle)^2 length cos t / (2 wavelength)``
      widths; Bent from :data:`BENT_SAGITTA`. A spheroid makes no streak but ovals with the half width
      ``q_perp width / (length sin t)``, and the curve leaves their middle by ``sin(max_angle) cos t length /
      (2 width)`` of that; Bent from :data:`BENT_OVAL`. A pill's own bend ``b`` across the beam turns the
      normals of its ends by +-b/2, so the streak spreads by ``q b / 2`` either side: ``sin(max_angle) b |sin
      roll| length / (2 wavelength)`` widths; Bent from :data:`BENT_FAN`. (A bend towards the beam moves
      normals along it and hardly shows.)
    - *Empty*: no particle.

    A pill's silhouette is that of the straight pill.

    Parameters
    ----------
    parameters : ndarray
        ``(N,)`` of :data:`cdifast.simulate.PARAMETERS`.
    max_angle : float
        Scattering angle at the sensor's rim, in radians.

    Returns
    -------
    ndarray
        ``(N, 11)`` uint8 in the order of :data:`cdifast.labels.CLASSES`.
    """
    p = parameters
    empty, pill = p["kind"] == b"empty", p["kind"] == b"pill"
    long = pill | (p["kind"] == b"prolate")
    width = 2 * p["equatorial_radius"]
    sin, cos = np.sin(p["tilt"]), np.abs(np.cos(p["tilt"]))
    rim = math.sin(max_angle)
    along = np.where(pill, (p["length"] - width) * sin + width, np.hypot(p["length"] * sin, width * cos))
    with np.errstate(invalid="ignore", divide="ignore"):  # empty shots carry NaN, and NaN compares false
        ratio = np.maximum(along / width, width / along)
        looks_round = ratio < ROUND_RATIO
        side = (p["length"] - width) * sin / np.sqrt(p["wavelength"] * p["equatorial_radius"])
        lean = rim * cos / (2 * sin)  # q_par / q_perp at the rim; infinite end-on
        widths = rim**2 * p["length"] * cos / (2 * p["wavelength"])
        fan = rim * p["bend"] * np.abs(np.sin(p["roll"])) * p["length"] / (2 * p["wavelength"])
        lopsided = rim * cos * p["length"] / (2 * width)

        prolate = long & ~looks_round
        closed = ~empty & ~prolate
        streak = prolate & pill & (side >= STREAK_LENGTH) & (lean <= LINE_SAGITTA) & (fan < BENT_FAN)
        curved = np.where(pill, (widths >= BENT_SAGITTA) | (fan >= BENT_FAN), lopsided >= BENT_OVAL)
        bent = prolate & curved

    labels = np.zeros((len(p), len(CLASSES)), dtype=np.uint8)
    for name, shown in (
        ("Spherical/Oblate", closed),
        ("Round", closed & looks_round),
        ("Elliptical", closed & ~looks_round),
        ("Prolate", prolate),
        ("Streak", streak),
        ("Bent", bent),
        ("Empty", empty),
    ):
        labels[:, CLASSES.index(name)] = shown
    return labels
