"""Polar resampling: detector images unwrapped to (radius, angle) maps."""

from __future__ import annotations

from typing import Literal, overload

from torch import Tensor

from ._resample import Center, Interpolation, resample


@overload
def polar_resample(
    images: Tensor,
    n_radial: int,
    n_angular: int,
    *,
    center: Center = ...,
    r_min: float = ...,
    r_max: float | None = ...,
    mask: Tensor | None = ...,
    interpolation: Interpolation = ...,
    fill: float = ...,
    return_weight: Literal[False] = ...,
    out: Tensor | None = ...,
) -> Tensor: ...


@overload
def polar_resample(
    images: Tensor,
    n_radial: int,
    n_angular: int,
    *,
    center: Center = ...,
    r_min: float = ...,
    r_max: float | None = ...,
    mask: Tensor | None = ...,
    interpolation: Interpolation = ...,
    fill: float = ...,
    return_weight: Literal[True],
    out: Tensor | None = ...,
) -> tuple[Tensor, Tensor]: ...


def polar_resample(
    images: Tensor,
    n_radial: int,
    n_angular: int,
    *,
    center: Center = None,
    r_min: float = 0.0,
    r_max: float | None = None,
    mask: Tensor | None = None,
    interpolation: Interpolation = "bilinear",
    fill: float = 0.0,
    return_weight: bool = False,
    out: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    r"""Unwrap detector images into (radius, angle) maps.

    Sample ``(j, k)`` lies at

    .. math:: x = c_x + r_j \cos\varphi_k,\quad y = c_y - r_j \sin\varphi_k,\quad
              r_j = r_\mathrm{min} + j\,\frac{r_\mathrm{max} - r_\mathrm{min}}{n_\mathrm{radial} - 1},\quad
              \varphi_k = \frac{2\pi k}{n_\mathrm{angular}}

    in pixels, pixel centres on whole numbers: counter-clockwise as displayed, the end point of the circle left out.
    A sample's *validity weight* is the sum of the bilinear weights of its neighbours that lie in the image and are
    not masked. At 0.5 or more the sample is their weighted mean; below, it is ``fill`` and its weight is 0. A
    neighbour that the sample does not reach (weight 0) does not count, nor can a masked pixel's value, ``NaN``
    included, get into the result.

    P2 calls the detector image "polar form" and this map "Cartesian form".

    Parameters
    ----------
    images : Tensor, shape (..., H, W)
        uint8, uint16, int16, int32, float16, bfloat16, float32 or float64.
    n_radial, n_angular : int
        Size of the map.
    center : pair of float or Tensor, optional
        ``(y, x)`` in pixels: shape (2,) for all images, or (..., 2) with the images' batch dimensions. Default
        ``((H - 1) / 2, (W - 1) / 2)``. A floating tensor gets a gradient (first order).
    r_min, r_max : float
        First and last radius in pixels. ``r_max`` defaults to ``(min(H, W) - 1) / 2``, the largest circle inside
        the image round the default centre: the same grid whatever the centres.
    mask : Tensor of bool, optional
        True where a pixel is good: shape (H, W) for all images, or (..., H, W) with their batch dimensions.
    interpolation : {"bilinear", "nearest"}
    fill : float, default 0.0
        Value of a sample without enough valid neighbours.
    return_weight : bool, default False
        Also return the validity weights.
    out : Tensor, shape (..., n_radial, n_angular), optional
        Where to write the maps: contiguous, of their dtype, apart from the images in memory. Without gradients only.

    Returns
    -------
    unwrapped : Tensor, shape (..., n_radial, n_angular)
        In the images' dtype if that is floating (float32 under autocast), else float32. Integers up to 2^24 are
        exact.
    weight : Tensor, shape (..., n_radial, n_angular)
        In [0, 1], float64 for float64 images, else float32; only with ``return_weight``. May be an expanded view.
        It depends on the geometry and the mask only, and carries no gradient.

    Raises
    ------
    TypeError
        If ``images`` or ``mask`` has another dtype, or a size is no int.
    ValueError
        If a shape, radius or option does not fit, or ``out`` does not.
    RuntimeError
        If ``images`` is on a device that this build has no kernel for, or ``out`` is given while a gradient is
        recorded.
    NotImplementedError
        Under forward-mode differentiation, and for a second derivative with respect to ``center``.

    Notes
    -----
    Geometry is computed in float64. Linear in ``images``; the backward pass is the exact adjoint, one thread an
    image, so that results do not depend on the number of threads. On the CPU, the sampling plan of a centre and mask
    that all images share is kept for the next call, by content (``cdifast._C.plan_cache_info()``); for fewer than five
    images it is made when that geometry comes again.

    References
    ----------
    P2: Zimmermann et al., "Finding the semantic similarity in single-particle diffraction images using self-supervised
    contrastive projection learning" (2022), section II. It leaves the grid open; angles that leave out the end point,
    the validity rule and the defaults are decided here.

    Examples
    --------
    >>> polar_resample(torch.ones(5, 65, 65), 32, 64).shape
    torch.Size([5, 32, 64])
    """
    return resample(
        "polar", images, n_radial, n_angular, center, r_min, r_max, mask, interpolation, fill, return_weight, out
    )
