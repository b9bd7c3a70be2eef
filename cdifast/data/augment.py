"""Random changes of training images: what may change and how much, and the numbers that are drawn for it.

`cdifast.data.augment_torch` carries them out in torch, `cdifast.data.dali_graph` in DALI, from the same numbers.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

Jitter = Literal["power", "linear"]

DRAWS: Final = 19
"""Random numbers that decide an image's changes. The first four are the flips, brightness and contrast."""

CLASSIC: Final = 4


class Changes(NamedTuple):
    """What is done to each of N images of H x W pixels: plain arrays, the same for every backend.

    Attributes
    ----------
    flips : ndarray of bool, (N, 2)
        Mirror the rows' order (vertical), the columns' order (horizontal). In ``matrix`` too.
    matrix : ndarray of float64, (N, 2, 3)
        From (x, y, 1) of a pixel of the result to the place (x, y) of the image that it shows; pixel centres on
        integers.
    gain, exponent : ndarray of float64, (N,)
        Of the brightness and contrast, see `Augmentation`.
    low, high : ndarray of float32, (N,)
        Limits after them; the largest finite numbers where nothing is clipped.
    regions : ndarray of int64, (N, 3, 4)
        Three rectangles (top, left, height, width) that are set to 0; empty ones have no height or no width.
    """

    flips: NDArray[np.bool_]
    matrix: NDArray[np.float64]
    gain: NDArray[np.float64]
    exponent: NDArray[np.float64]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    regions: NDArray[np.int64]


@dataclass(frozen=True)
class Augmentation:
    """Flips, rotation, crop, brightness and contrast, erasing, translation, drawn anew for each image.

    The defaults are those of P1 (section 3.1.5), `P2` is that of P2 (Methods): flips, brightness and contrast with
    the ranges below, which P1 does not name (and its published code has them switched off, but for the flips). In
    this order: flips, rotation about the centre, crop, brightness and contrast, erasing, translation. The four of
    geometry are composed into one bilinear resampling. What lies outside the image is 0; an edge, or a border of bad
    pixels, leaves no trace in the interpolation (see `cdifast.data.augment_torch.apply_changes`).

    Intensities of a diffraction image span decades, and P1's network sees their logarithm, so with ``jitter="power"``
    both changes act on the logarithm of the intensity:

    - brightness: log|x| + b, a factor exp(b), b uniform within +-`brightness`. It is what another pulse
      energy does.
    - contrast: log|x| stretched by a factor exp(c) about the logarithm of the image's mean |x|, c uniform
      within +-`contrast`: a power law, what another gain curve of the detector does. The mean is taken over all
      pixels of the resampled image.

    Zeros (masked pixels) stay zero and signs stay. An offset added to all pixels, the brightness change of
    photographs, would lift the dark outer rings by more than their own height, and is not used.
    ``jitter="linear"`` is P2's: x (1 + c + b), clipped to [0, 1], for images that were scaled to that range.

    Attributes
    ----------
    horizontal_flip, vertical_flip
        Probability of mirroring the last, the last but one axis.
    brightness
        Largest |b|; the default 0.3 varies the intensity by a factor of 0.74 to 1.35.
    contrast
        Largest |c|; the default 0.1 varies the exponent from 0.90 to 1.11.
    jitter
        How brightness and contrast act.
    rotation
        Largest angle in degrees; uniform within +-`rotation`.
    crop_area
        Smallest share of the image's area that a crop leaves; uniform from there to 1, at a uniform place, and
        magnified to the whole image again. The aspect ratio stays. 1: no crops.
    erase_area
        Smallest and largest share of the area of a rectangle that is filled with 0; uniform. (0, 0): none.
    erase_aspect
        Smallest and largest height / width of that rectangle; its logarithm is uniform. A side longer than the image
        is cut to it; sides and place, which is uniform, are whole pixels.
    translation
        Largest shift along each axis as a share of the side; uniform, rounded to whole pixels.
    probability
        With which each change but the flips is made at all, independently of the others.
    """

    horizontal_flip: float = 0.5
    vertical_flip: float = 0.5
    brightness: float = 0.3
    contrast: float = 0.1
    jitter: Jitter = "power"
    rotation: float = 0.0
    crop_area: float = 1.0
    erase_area: tuple[float, float] = (0.0, 0.0)
    erase_aspect: tuple[float, float] = (0.25, 2.5)
    translation: float = 0.0
    probability: float = 1.0

    def __post_init__(self) -> None:
        for name in ("erase_area", "erase_aspect"):  # JSON has lists
            pair = tuple(getattr(self, name))
            if len(pair) != 2 or not (math.isfinite(pair[1]) and 0 <= pair[0] <= pair[1]):
                raise ValueError(f"{name}: found {pair}, expected two numbers, 0 <= smallest <= largest")
            object.__setattr__(self, name, pair)
        for name in ("horizontal_flip", "vertical_flip", "probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: found {getattr(self, name)}, expected a probability in [0, 1]")
        for name in ("brightness", "contrast", "rotation"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name}: found {value}, expected a number >= 0")
        if self.jitter not in ("power", "linear"):
            raise ValueError(f"jitter: found {self.jitter!r}, expected 'power' or 'linear'")
        if not 0 < self.crop_area <= 1:
            raise ValueError(f"crop_area: found {self.crop_area}, expected 0 < crop_area <= 1")
        if self.erase_area[1] > 1:
            raise ValueError(f"erase_area: found {self.erase_area}, expected shares of at most 1")
        if self.erase_aspect[0] <= 0:
            raise ValueError(f"erase_aspect: found {self.erase_aspect}, expected positive numbers")
        if not 0 <= self.translation <= 1:
            raise ValueError(f"translation: found {self.translation}, expected 0 to 1")

    @property
    def resamples(self) -> bool:
        """Whether images are interpolated; flips alone move whole pixels."""
        return self.rotation > 0 or self.crop_area < 1 or self.translation > 0

    @property
    def jitters(self) -> bool:
        """Whether intensities change."""
        return self.brightness > 0 or self.contrast > 0

    @property
    def blanks(self) -> bool:
        """Whether rectangles are set to 0."""
        return self.erase_area[1] > 0 or self.translation > 0

    @property
    def _draws(self) -> int:
        return DRAWS if self.resamples or self.blanks or self.probability < 1 else CLASSIC

    def to_dict(self) -> dict[str, Any]:
        """As JSON-serialisable dictionary: P1's four entries always, of the others those that differ from P1's.

        A configuration without the others thus reads as it did when there were only four.
        """
        default = Augmentation()
        return {
            name: value
            for number, (name, value) in enumerate(dataclasses.asdict(self).items())
            if number < CLASSIC or value != getattr(default, name)
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Augmentation:
        """Inverse of `to_dict`; a ValueError names entries that this version does not know."""
        unknown = content.keys() - {entry.name for entry in dataclasses.fields(cls)}
        if unknown:
            raise ValueError(f"augmentation: unknown entries {', '.join(sorted(unknown))}")
        return cls(**content)

    def changes(self, uniforms: NDArray[np.float64], height: int, width: int) -> Changes:
        """Turn uniform random numbers into changes.

        Parameters
        ----------
        uniforms : ndarray of float64, (N, 19) or (N, 4)
            In [0, 1), one row an image, as `cdifast.data.draws.frame_uniforms` gives them with `DRAWS`. Four are
            enough for flips, brightness and contrast at probability 1.
        height, width : int
            Of the images.

        Returns
        -------
        Changes
        """
        count = len(uniforms)
        u = np.full((DRAWS, count), 0.5)
        u[: uniforms.shape[1]] = uniforms.T
        if uniforms.shape[1] < self._draws:
            raise ValueError(f"uniforms: found {uniforms.shape[1]} numbers an image, expected {self._draws}")

        def happens(row: int) -> NDArray[np.bool_]:
            # With four numbers the others are 0.5, and with probability 1 everything happens.
            return u[row] < self.probability if self.probability < 1 else np.ones(count, np.bool_)

        flips = np.stack([u[1] < self.vertical_flip, u[0] < self.horizontal_flip], axis=1)
        jitter = happens(10)
        brightness, contrast = self.brightness * (2 * u[2] - 1) * jitter, self.contrast * (2 * u[3] - 1) * jitter
        most = np.finfo(np.float32).max
        low, high = np.full(count, -most), np.full(count, most)
        if self.jitter == "power":
            gain, exponent = np.exp(brightness), np.exp(contrast)
        else:
            gain, exponent = 1 + contrast + brightness, np.ones(count)
            low[jitter], high[jitter] = 0, 1

        angle = np.deg2rad(self.rotation * (2 * u[5] - 1)) * happens(4)
        side = np.sqrt(np.where(happens(6), self.crop_area + (1 - self.crop_area) * u[7], 1.0))
        limit = np.array([height, width])
        reach = self.translation * limit[:, None]
        shift = np.rint(reach * (2 * u[17:19] - 1) * happens(16)).astype(np.int64)  # (y, x)
        place = (1 - side) * limit[:, None] * u[8:10]
        matrix = _matrix(flips, angle, side, place, shift, limit)
        regions = np.zeros((count, 3, 4), np.int64)
        if self.erase_area[1] > 0:
            regions[:, 0] = self._rectangles(u[12:16], limit, shift) * happens(11)[:, None]
        regions[:, 1:] = _uncovered(shift, limit)
        return Changes(flips, matrix, gain, exponent, low, high, regions)

    def _rectangles(
        self, u: NDArray[np.float64], limit: NDArray[np.int64], shift: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Rectangles to fill with 0, (N, 4), moved with the image and cut at its border."""
        area = self.erase_area[0] + (self.erase_area[1] - self.erase_area[0]) * u[0]
        first, last = np.log(self.erase_aspect)
        stretch = np.exp((first + (last - first) * u[1]) / 2)  # square root of height / width
        sides = np.sqrt(area * limit.prod()) * np.stack([stretch, 1 / stretch])
        sides = np.clip(np.rint(sides), 1, limit[:, None]).astype(np.int64)
        start = np.floor(u[2:4] * (limit[:, None] - sides + 1)).astype(np.int64) + shift
        stop = np.clip(start + sides, 0, limit[:, None])
        start = np.clip(start, 0, limit[:, None])
        return np.concatenate([start, stop - start]).T

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return changed copies of the images.

        Parameters
        ----------
        images
            (N, C, H, W), floating point, any device.
        generator
            A generator **on the CPU**: the random numbers are drawn there, so that a seed gives the same
            changes on every device.

        Returns
        -------
        torch.Tensor
            Same shape, dtype and device.

        Raises
        ------
        ValueError
            Not of rank 4.
        TypeError
            Not floating point.
        """
        from .augment_torch import apply_changes

        if images.dim() != 4:
            raise ValueError(f"images: found shape {tuple(images.shape)}, expected (N, C, H, W)")
        if not images.is_floating_point():
            raise TypeError(f"images: found dtype {images.dtype}, expected a floating one")
        changes = self.changes(self.uniforms(len(images), generator), *images.shape[-2:])
        return apply_changes(images, self, changes)[0]

    def uniforms(self, count: int, generator: torch.Generator) -> NDArray[np.float64]:
        """The random numbers of `count` images, (count, 4 or 19), for `changes`; `generator` is on the CPU."""
        # The first four rows come first, so that they do not depend on what else is switched on.
        parts = [CLASSIC] if self._draws == CLASSIC else [CLASSIC, DRAWS - CLASSIC]
        draws = [torch.rand(rows, count, generator=generator, dtype=torch.float64) for rows in parts]
        return torch.cat(draws).T.numpy()


P1: Final = Augmentation()
"""P1, section 3.1.5: flips, brightness and contrast."""

P2: Final = Augmentation(
    horizontal_flip=0.5,
    vertical_flip=0.0,
    brightness=0.2,
    contrast=0.5,
    jitter="linear",
    rotation=90.0,
    crop_area=0.2,
    erase_area=(0.05, 0.3),
    erase_aspect=(0.25, 2.5),
    translation=0.125,
    probability=0.5,
)
"""P2, Methods: six changes with probability 1/2 each. Its code makes all but the flip always: ``probability=1``.

P2 names no order; the one here is that of `Augmentation`.
"""


def _matrix(
    flips: NDArray[np.bool_],
    angle: NDArray[np.float64],
    side: NDArray[np.float64],
    place: NDArray[np.float64],
    shift: NDArray[np.int64],
    limit: NDArray[np.int64],
) -> NDArray[np.float64]:
    """From pixels of the result back through translation, crop, rotation and flips, (N, 2, 3)."""
    centre_y, centre_x = (limit - 1) / 2
    # Back from translation and crop: a pixel p of the result lies at place + side (p - shift + 1/2) - 1/2.
    y0 = place[0] + side * (0.5 - shift[0]) - 0.5 - centre_y
    x0 = place[1] + side * (0.5 - shift[1]) - 0.5 - centre_x
    cos, sin = np.cos(angle), np.sin(angle)
    # Counter-clockwise as displayed, y downwards: the place that turns to (x, y) is (x cos - y sin, x sin + y cos).
    matrix = np.empty((len(angle), 2, 3))
    matrix[:, 0] = np.stack([side * cos, -side * sin, x0 * cos - y0 * sin], axis=1)
    matrix[:, 1] = np.stack([side * sin, side * cos, x0 * sin + y0 * cos], axis=1)
    # A flip negates the coordinate relative to the centre.
    matrix *= np.where(flips[:, ::-1], -1, 1)[:, :, None]
    matrix[:, :, 2] += (centre_x, centre_y)
    return matrix


def _uncovered(shift: NDArray[np.int64], limit: NDArray[np.int64]) -> NDArray[np.int64]:
    """The two stripes that a shifted image leaves, (N, 2, 4)."""
    height, width = limit
    down, right = shift
    stripes = np.zeros((shift.shape[1], 2, 4), np.int64)
    stripes[:, 0, 0] = np.where(down >= 0, 0, height + down)
    stripes[:, 0, 2] = np.abs(down)
    stripes[:, 0, 3] = width * (down != 0)
    stripes[:, 1, 1] = np.where(right >= 0, 0, width + right)
    stripes[:, 1, 2] = height * (right != 0)
    stripes[:, 1, 3] = np.abs(right)
    return stripes
