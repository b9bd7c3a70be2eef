"""Which of the eleven classes a simulated shot shows, from what its particle is and how it lies.

The real labels were given by a researcher who saw patterns, not particles (P1, section 2); which particle makes which pattern is
plausible, not stated. The rules here follow that physics, with thresholds set where the simulated pattern starts
to look like the class. Asymmetric, Newton rings, Double rings and Layered are never given: the two-droplet and
layered particles are not simulated yet, and Asymmetric waits for a rule, though wide-angle patterns of tilted
droplets already show it.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cdifast.labels import CLASSES

ROUND_RATIO: Final = 1.1
"""Silhouettes with a smaller axis ratio look round: the fifth ring, one ring spacing per radian times pi, is then off by
less than half a ring."""

STREAK_RATIO: Final = 2.0
"""Silhouette's length over width from which a pill's straight side gathers light in a line rather than in ovals."""

BENT_SAGITTA: Final = 1.25
"""Sagitta of the streak at the sensor's rim, in streak widths, from which one sees that it is bent."""

LINE_SAGITTA: Final = 2.2
"""Sagitta, in streak widths, above which the pattern is a crescent, no longer a line through the centre."""

BENT_FAN: Final = 1.25
"""Spread of the streak at the rim by the pill's own bend, in streak widths, from which the streak is not straight."""


def labels_for(parameters: NDArray[Any], max_angle: float) -> NDArray[np.uint8]:
    """Labels of simulated shots.

    Every shot with a particle gets exactly one of Spherical/Oblate and Prolate; Round or Elliptical only with the
    first, Streak and Bent only with the second.

    - *Spherical/Oblate, Round*: a sphere, or any particle whose silhouette's axis ratio is below :data:`ROUND_RATIO`:
      an oblate droplet seen along its axis, but also a prolate one seen end-on, whose rings look alike.
    - *Spherical/Oblate, Elliptical*: an oblate droplet tilted further: the rings are the silhouette's, turned by 90 degrees.
    - *Prolate*: a prolate spheroid or a pill otherwise.
    - *Streak*: a pill whose silhouette is at least :data:`STREAK_RATIO` times as long as wide: its straight side
      scatters into the plane across the long axis, a line on the detector. Not if bent to a crescent
      (:data:`LINE_SAGITTA`) or fanned out (:data:`BENT_FAN`).
    - *Bent*: a particle with its long axis ``a`` at the angle ``t`` to the beam scatters where ``q.a = 0``, and on the Ewald
      sphere that is ``q_par = (q_perp^2 / 2k) cot t``: a curve. Its sagitta at the rim, divided by the streak's width ``2 pi /
      (length sin t)``, is ``sin(max_angle)^2 length cos t / (2 wavelength)``; Bent from :data:`BENT_SAGITTA`. A pill's own
      bend ``b`` across the beam turns the normals of its ends by +-b/2, so the streak spreads by ``q b / 2`` either side: ``sin(max_angle)
      b |sin roll| length / (2 wavelength)`` widths; Bent from :data:`BENT_FAN`. (A bend towards the beam moves
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
    along = np.where(pill, (p["length"] - width) * sin + width, np.hypot(p["length"] * sin, width * cos))
    with np.errstate(invalid="ignore"):  # empty shots carry NaN, and NaN compares false
        ratio = np.maximum(along / width, width / along)
        looks_round = ratio < ROUND_RATIO
        sagitta = math.sin(max_angle) ** 2 * p["length"] * cos / (2 * p["wavelength"])
        spread = np.abs(np.sin(p["roll"])) * p["bend"] * p["length"]
        fan = np.where(pill, math.sin(max_angle) * spread / (2 * p["wavelength"]), 0)
        prolate = long & ~looks_round
        closed = ~empty & ~prolate
        bent = prolate & ((sagitta >= BENT_SAGITTA) | (fan >= BENT_FAN))
        streak = prolate & pill & (ratio >= STREAK_RATIO) & (sagitta <= LINE_SAGITTA) & (fan < BENT_FAN)

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
