"""Which of the eleven classes a simulated shot shows, from what its particle is and how it lies.

The real labels were given by a researcher who saw patterns, not particles (P1, section 2); which particle
makes which pattern is plausible, not stated. The rules here follow that physics, with thresholds set where
the simulated pattern starts to look like the class.
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

ASYMMETRIC_CLOSED: Final = 0.13
"""Relative difference of ``u`` (see :func:`asymmetry`) between opposite points of the rim from which closed rings
look one-sided: as intensity falls with u^-4, one side is there 1.7 times as bright."""

ASYMMETRIC_PROLATE: Final = 0.3
"""The same for elongated patterns. Nearly all that are bent are also one-sided to some degree, but a researcher
called only a quarter so; from this on the weaker arm has less than a third of the other's brightness."""

NEWTON_DISTANCE: Final = (5e-6, 150e-6)
"""Distances in m of two droplets between which rings of their interference are wide enough to be seen, and narrow
enough to be rings on top of the pattern."""

NEWTON_SHARE: Final = 0.1
"""Least share of the photons from the weaker of two droplets from which their interference is seen: fringes of
``2 sqrt(0.1 0.9)``, 60 %, on average."""

DOUBLE_RATIO: Final = 1.25
"""Ratio of two droplets' radii from which their ring systems are told apart: by the fourth ring they are one ring
out of step."""

DOUBLE_SHARE: Final = 0.2
"""Least share of the photons from the weaker of two ring systems for both to be seen."""

LAYERED_AMPLITUDE: Final = 0.25
"""Relative amplitude of a density wave from which its two side streaks are seen."""

WEAK_PHOTONS: Final = 2000.0
"""Scattered photons on the sensor up to which a hit is not seen: Empty."""


def asymmetry(parameters: NDArray[Any], max_angle: float) -> NDArray[np.float64]:
    """How far Friedel symmetry is broken: relative difference of ``u = |A q|`` at opposite points of the rim.

    A spheroid with semi-axes ``a`` across and ``c`` along its axis ``n`` scatters as a sphere would at ``u^2 = a^2 (q^2
    - (q.n)^2) + c^2 (q.n)^2``. On the Ewald sphere ``q_z = q tan(theta / 2)`` for ``q`` in projection, and the term
    ``q_x q_z`` changes sign with ``q_x``: along the axis' shadow ``u`` differs by ``2 |c^2 - a^2| sin t cos t tan(theta
    / 2) / (c^2 sin^2 t + a^2 cos^2 t)`` of itself between both sides. Other shapes count as the spheroid of their
    extents. NaN without a particle.

    Parameters
    ----------
    parameters : ndarray
        ``(N,)`` of :data:`cdifast.simulate.PARAMETERS`.
    max_angle : float
        Scattering angle at the sensor's rim, in radians.
    """
    a, c = parameters["equatorial_radius"], parameters["length"] / 2
    sin, cos = np.sin(parameters["tilt"]), np.abs(np.cos(parameters["tilt"]))
    across = (c * sin) ** 2 + (a * cos) ** 2
    result: NDArray[np.float64] = 2 * np.abs(c**2 - a**2) * sin * cos * math.tan(max_angle / 2) / across
    return result


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
    - *Asymmetric*: :func:`asymmetry` of at least :data:`ASYMMETRIC_CLOSED` or :data:`ASYMMETRIC_PROLATE`.
    - *Newton rings*: a second droplet at :data:`NEWTON_DISTANCE`, seen from the first one in a direction that meets
      the sensor (the rings' middle lies there), with :data:`NEWTON_SHARE` of the photons.
    - *Double rings*: a second droplet with a radius different by :data:`DOUBLE_RATIO`, with :data:`DOUBLE_SHARE` of the
      photons.
    - *Layered*: a density wave of at least :data:`LAYERED_AMPLITUDE`.
    - *Empty*: no particle, or :data:`WEAK_PHOTONS` at most; then nothing else.

    A pill's silhouette is that of the straight pill. A superellipsoid with exponent ``p`` counts as a pill whose
    straight part is ``length (1 - 2 / p)``; a droplet with surface waves as the sphere that carries them.

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
    flat = p["kind"] == b"superellipsoid"
    pill = (p["kind"] == b"pill") | flat
    empty = (p["kind"] == b"empty") | (p["photons"] <= WEAK_PHOTONS)
    long = pill | (p["kind"] == b"prolate")
    width = 2 * p["equatorial_radius"]
    straight = np.where(flat, p["length"] * (1 - 2 / np.maximum(p["exponent"], 1)), p["length"] - width)
    sin, cos = np.sin(p["tilt"]), np.abs(np.cos(p["tilt"]))
    rim = math.sin(max_angle)
    along = np.where(pill & ~flat, straight * sin + width, np.hypot(p["length"] * sin, width * cos))
    with np.errstate(invalid="ignore", divide="ignore"):  # empty shots carry NaN, and NaN compares false
        ratio = np.maximum(along / width, width / along)
        looks_round = ratio < ROUND_RATIO
        side = straight * sin / np.sqrt(p["wavelength"] * p["equatorial_radius"])
        lean = rim * cos / (2 * sin)  # q_par / q_perp at the rim; infinite end-on
        widths = rim**2 * p["length"] * cos / (2 * p["wavelength"])
        fan = rim * p["bend"] * np.abs(np.sin(p["roll"])) * p["length"] / (2 * p["wavelength"])
        lopsided = rim * cos * p["length"] / (2 * width)

        lopsided_rings = asymmetry(p, max_angle)
        second = p["second_radius"] > 0
        weaker = np.minimum(p["second_share"], 1 - p["second_share"])
        apart = np.sqrt(p["second_x"] ** 2 + p["second_y"] ** 2 + p["second_z"] ** 2)
        aside = np.arctan2(np.hypot(p["second_x"], p["second_y"]), p["second_z"])
        seen_apart = (apart >= NEWTON_DISTANCE[0]) & (apart <= NEWTON_DISTANCE[1]) & (aside <= max_angle)
        sizes = np.maximum(p["second_radius"] / p["equatorial_radius"], p["equatorial_radius"] / p["second_radius"])

        prolate = ~empty & long & ~looks_round
        closed = ~empty & ~prolate
        streak = prolate & pill & (side >= STREAK_LENGTH) & (lean <= LINE_SAGITTA) & (fan < BENT_FAN)
        curved = np.where(pill, (widths >= BENT_SAGITTA) | (fan >= BENT_FAN), lopsided >= BENT_OVAL)
        bent = prolate & curved
        asymmetric = lopsided_rings >= np.where(prolate, ASYMMETRIC_PROLATE, ASYMMETRIC_CLOSED)
        newton = second & seen_apart & (weaker >= NEWTON_SHARE)
        double = second & (sizes >= DOUBLE_RATIO) & (weaker >= DOUBLE_SHARE)

    labels = np.zeros((len(p), len(CLASSES)), dtype=np.uint8)
    for name, shown in (
        ("Spherical/Oblate", closed),
        ("Round", closed & looks_round),
        ("Elliptical", closed & ~looks_round),
        ("Prolate", prolate),
        ("Streak", streak),
        ("Bent", bent),
        ("Asymmetric", ~empty & asymmetric),
        ("Newton rings", ~empty & newton),
        ("Double rings", ~empty & double),
        ("Layered", ~empty & (p["layers"] >= LAYERED_AMPLITUDE)),
        ("Empty", empty),
    ):
        labels[:, CLASSES.index(name)] = shown
    return labels
