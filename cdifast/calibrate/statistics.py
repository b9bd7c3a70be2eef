"""Mean and standard deviation of every pixel over a stream of frames, without cosmic rays and other hits."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from .correct import as_frames
from .robust import GAUSSIAN_MAD, median

_PIXELS: Final = 1 << 18  # of a float64 block: what fits a processor's cache
_FEWEST: Final = 8  # frames from which limits can be told


class PixelMoments(NamedTuple):
    """What a stream of frames says of every pixel.

    Attributes
    ----------
    mean : Tensor of float64, (H, W)
        NaN where no value counted.
    deviation : Tensor of float64, (H, W)
        Standard deviation with n - 1; NaN where fewer than two values counted.
    counted : Tensor of int64, (H, W)
        Values that counted.
    rejected : Tensor of int64, (H, W)
        Values beyond the limits.
    quantum : float
        Smallest difference between two values: 1 for frames of integers, 0 if not known.
    """

    mean: Tensor
    deviation: Tensor
    counted: Tensor
    rejected: Tensor
    quantum: float

    @property
    def rejected_share(self) -> Tensor:
        """``(H, W)`` float64: share of the values that lay beyond the limits; 0 where there were none."""
        return self.rejected / (self.counted + self.rejected).clamp_min(1)


class PixelStatistics:
    r"""Streaming mean and standard deviation of every pixel, robust against rare large values.

    The first ``burn_in`` frames are kept and give each pixel's median m and standard deviation
    :math:`\sigma` (1.4826 times the median absolute deviation, at least the median of that over all pixels: a pixel
    that is quiet by chance must not reject its own noise; at least half a unit for integers). A value counts if it is
    within x of m, with

    .. math:: x = \frac{k^2 p}{6} + \sqrt{\left(\frac{k^2 p}{6}\right)^2 + k^2 \sigma^2},

    k = ``clip``; p = 0 (x = k sigma) for readout noise and p = 1 for photons, whose variance is at least the mean:
    a Poisson variable is beyond x with a probability below exp(-k^2 / 2) (Bernstein's inequality), also where less
    than one photon is expected. The result does not depend on how the frames are cut into batches.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the frames in pixels.
    clip : float
        k; infinite: every value counts.
    photons : bool
        The frames are photons (p = 1), not raw units (p = 0).
    burn_in : int
        Frames that the limits are taken from, at least 8. They are held in memory in their own type. With fewer than
        8 frames altogether every value counts.
    device : torch.device or str

    Raises
    ------
    ValueError
        If ``clip`` is not positive, or ``burn_in`` less than 8.

    Examples
    --------
    >>> statistics = PixelStatistics((512, 512))
    >>> for start in range(0, len(darks), 64):  # doctest: +SKIP
    ...     statistics.add(darks[start : start + 64])
    >>> dark, noise, *_ = statistics.result()  # doctest: +SKIP
    """

    def __init__(
        self,
        shape: tuple[int, int],
        *,
        clip: float = 6.0,
        photons: bool = False,
        burn_in: int = 32,
        device: torch.device | str = "cpu",
    ) -> None:
        if not clip > 0:
            raise ValueError(f"PixelStatistics: found clip {clip}; expected a positive number")
        if burn_in < _FEWEST:
            raise ValueError(f"PixelStatistics: found burn_in {burn_in}; expected at least {_FEWEST}")
        self.shape = (int(shape[0]), int(shape[1]))
        self.frames = 0
        self._clip, self._photons, self._burn_in = float(clip), photons, burn_in
        self._quantum = 0.0
        self._first: list[tuple[Tensor, Tensor | None]] = []
        self._middle: Tensor | None = None
        self._limit = torch.empty(0)
        self._count, self._rejected = (torch.zeros(self.shape, dtype=torch.int64, device=device) for _ in range(2))
        self._sum, self._squares = (torch.zeros(self.shape, dtype=torch.float64, device=device) for _ in range(2))

    def add(self, frames: Tensor | ArrayLike, good: Tensor | None = None) -> None:
        """Count the next frames.

        Parameters
        ----------
        frames : Tensor or array_like, (n, H, W) or (H, W)
            Any real type. Values that are not finite do not count, and are not called rejected.
        good : Tensor of bool, (H, W) or (n, H, W), optional
            The values that count.

        Raises
        ------
        TypeError
            If ``frames`` are no real numbers, or ``good`` is not bool.
        ValueError
            If a shape does not fit.
        """
        images = as_frames(frames, "PixelStatistics").to(self._sum.device)
        if images.shape[1:] != self.shape:
            raise ValueError(
                f"PixelStatistics: frames are {tuple(images.shape)}; expected (n, {self.shape[0]}, {self.shape[1]})"
            )
        if good is not None:
            if good.dtype != torch.bool:
                raise TypeError(f"PixelStatistics: good has dtype {good.dtype}; expected bool")
            if good.shape not in (images.shape, images.shape[1:]):
                raise ValueError(
                    f"PixelStatistics: good is {tuple(good.shape)}; expected {tuple(images.shape)} or {self.shape}"
                )
            good = good.to(images.device).expand_as(images)
        start = 0
        if self._middle is None:
            start = min(len(images), self._burn_in - self.frames)
            if start:
                # The caller may reuse its buffer for the next batch.
                self._first.append((images[:start].clone(), None if good is None else good[:start].clone()))
            self.frames += start
            if self.frames == self._burn_in:
                self._begin()
        self.frames += len(images) - start
        if self._middle is not None:
            self._count_in(images[start:], None if good is None else good[start:])

    def result(self) -> PixelMoments:
        """What the frames so far say; more can be added afterwards.

        Raises
        ------
        ValueError
            If there were no frames.
        """
        if self.frames == 0:
            raise ValueError("PixelStatistics: no frames were added; expected at least 1")
        if self._middle is None:
            whole = PixelStatistics(
                self.shape, clip=self._clip, photons=self._photons, burn_in=self._burn_in, device=self._sum.device
            )
            whole._first, whole.frames = self._first, self.frames
            whole._begin()
            return whole.result()
        count = self._count
        shift = self._sum / count
        variance = (self._squares - self._sum * shift) / (count - 1)
        deviation = torch.where(count > 1, variance.clamp_min(0).sqrt(), torch.nan)
        mean = torch.where(count > 0, self._middle + shift, torch.nan)
        return PixelMoments(mean, deviation, count.clone(), self._rejected.clone(), self._quantum)

    def _begin(self) -> None:
        """Take the limits from the first frames, and count those in."""
        self._quantum = 0.0 if self._first[0][0].is_floating_point() else 1.0
        self._middle, self._limit = self._limits()
        for images, good in self._first:
            self._count_in(images, good)
        self._first = []

    def _limits(self) -> tuple[Tensor, Tensor]:
        """Middle and largest distance from it of the values that count, each ``(H, W)`` float64."""
        middle, deviation = (torch.zeros(self.shape, dtype=torch.float64, device=self._sum.device) for _ in range(2))
        rows = max(1, _PIXELS // (self.shape[1] * self.frames))
        for top in range(0, self.shape[0], rows):
            band = slice(top, top + rows)
            values = torch.cat(
                [
                    images[:, band].double()
                    if good is None
                    else images[:, band].double().masked_fill(~good[:, band], torch.nan)
                    for images, good in self._first
                ]
            )
            values = values.masked_fill(~values.isfinite(), torch.nan).flatten(1).T.contiguous()
            centre = values.nanmedian(dim=1, keepdim=True).values
            spread = GAUSSIAN_MAD * (values - centre).abs().nanmedian(dim=1).values
            # A pixel that was never good here has no limits.
            middle[band] = centre.nan_to_num(0.0).view(-1, self.shape[1])
            deviation[band] = spread.nan_to_num(torch.inf).view(-1, self.shape[1])
        if self.frames < _FEWEST or math.isinf(self._clip):
            return middle, torch.full_like(middle, torch.inf)
        # Half a unit for integers: where most values are one number, its neighbours are noise too.
        variance = deviation.clamp_min(max(self._quantum / 2, float(median(deviation).nan_to_num(0.0)))).square()
        bound = torch.zeros_like(middle)
        if self._photons:
            variance = torch.maximum(variance, middle)
            bound += self._clip**2 / 6
        limit = bound + (bound.square() + self._clip**2 * variance).sqrt()
        # Without any spread (a broken detector) nothing tells noise from signal.
        return middle, torch.where(limit > 0, limit, torch.inf)

    def _count_in(self, images: Tensor, good: Tensor | None) -> None:
        assert self._middle is not None
        step = max(1, _PIXELS // max(1, self._middle.numel()))
        for start in range(0, len(images), step):
            part = slice(start, start + step)
            distance = images[part].double() - self._middle
            usable = distance.isfinite()
            if good is not None:
                usable &= good[part]
            counts = usable & (distance.abs() <= self._limit)
            distance.masked_fill_(~counts, 0.0)
            self._count += counts.sum(dim=0)
            self._rejected += (usable & ~counts).sum(dim=0)
            self._sum += distance.sum(dim=0)
            self._squares += distance.square_().sum(dim=0)
