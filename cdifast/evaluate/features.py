"""What classical baselines see of a pattern: its radial profile and how strongly each ring varies with the angle."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from cdifast.ops import angular_harmonics, log_activation, polar_resample

_BATCH = 256


class PatternFeatures:
    """Features of prepared images that do not change when a pattern is turned about the beam.

    The image is unwrapped about its middle. The *log radial profile* is the log activation (P1 eq. 11,
    ``sign(I) log1p(e |I|)``, which bears the negative values that background subtraction leaves) of each ring's mean.
    The *harmonic amplitudes* are ``|I_n|`` of P1's section 5.3 of the log-activated map, for each ring and order n:
    the angular structure that Bobkov et al. (2015) give to their support-vector machine in the form of angular
    cross-correlations, whose Fourier coefficients are ``|I_n|^2``. On the logarithm, so that all rings count.

    Parameters
    ----------
    n_radial, n_angular
        Size of the unwrapped map; radii from 0 to half the image's side.
    orders
        Angular orders of the amplitudes; empty: the profile alone.
    """

    def __init__(
        self, n_radial: int = 24, n_angular: int = 64, orders: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7, 8)
    ) -> None:
        self.n_radial, self.n_angular, self.orders = n_radial, n_angular, tuple(orders)

    @property
    def count(self) -> int:
        """Number of features."""
        return self.n_radial * (1 + len(self.orders))

    def __call__(self, images: torch.Tensor, good: torch.Tensor | None = None) -> NDArray[np.float32]:
        """Features of prepared images (N, 1, S, S).

        Parameters
        ----------
        images
            Prepared images, floating.
        good
            Cells that hold data, (S, S) bool; None: all. Of a ring without good cells, all features are 0.

        Returns
        -------
        numpy.ndarray
            (N, count) float32: the profile, then the amplitudes, order by order.

        Raises
        ------
        ValueError
            Another shape.
        """
        if images.dim() != 4 or images.shape[1] != 1:
            raise ValueError(f"inputs: found shape {tuple(images.shape)}, expected (N, 1, S, S)")
        parts = [self._batch(batch[:, 0], good).numpy() for batch in images.detach().float().cpu().split(_BATCH)]
        return np.concatenate(parts) if len(images) else np.empty((0, self.count), np.float32)

    def _batch(self, images: torch.Tensor, good: torch.Tensor | None) -> torch.Tensor:
        unwrapped, weight = polar_resample(images, self.n_radial, self.n_angular, mask=good, return_weight=True)
        total = weight.sum(dim=-1)
        mean = torch.where(total > 0, (unwrapped * weight).sum(dim=-1) / total, 0)
        profile = log_activation(mean, 1.0)
        if not self.orders:
            return profile
        harmonics = angular_harmonics(log_activation(unwrapped, 1.0), list(self.orders), weight=weight.contiguous())
        return torch.cat([profile, harmonics.abs().flatten(1)], dim=1)


def cells_with_data(images: torch.Tensor) -> torch.Tensor:
    """Cells (S, S) of prepared images (N, 1, S, S) that are not 0 in all of them: `InputPreparation` writes 0 where
    a mask leaves nothing, and a cell that never saw a photon has nothing to tell either."""
    return (images[:, 0] != 0).any(dim=0).cpu()
