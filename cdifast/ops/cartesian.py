"""The way back: (radius, angle) maps resampled to detector images."""

from __future__ import annotations

from typing import Literal, overload

from torch import Tensor

from ._resample import Center, Interpolation, resample


@overload
def cartesian_resample(
    unwrapped: Tensor,
    height: int,
    width: int,
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
def cartesian_resample(
    unwrapped: Tensor,
    height: int,
    width: int,
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


def cartesian_resample(
    unwrapped: Tensor,
    height: int,
    width: int,
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
    r"""Resample (radius, angle) maps to detector images, the way back of :func:`polar_resample`.

    The pixel at ``(y, x)`` has radius and angle

    .. math:: r = \sqrt{(x - c_x)^2 + (c_y - y)^2},\quad \varphi = \mathrm{atan2}(c_y - y,\, x - c_x)

    and takes the map at ring :math:`(r - r_\mathrm{min})(n_\mathrm{radial} - 1) / (r_\mathrm{max} - r_\mathrm{min})`
    and column :math:`\varphi\, n_\mathrm{angular} / 2\pi`; columns go round. Validity is that of
    :func:`polar_resample`: a pixel is the weighted mean of its valid neighbours in the map where their weights sum to
    0.5 at least, so that the first and the last ring reach half a step beyond their radius, and ``fill`` elsewhere. A
    map of a single ring reaches half a pixel to either side.

    Parameters
    ----------
    unwrapped : Tensor, shape (..., n_radial, n_angular)
        uint8, uint16, int16, int32, float16, bfloat16, float32 or float64.
    height, width : int
        Size of the images in pixels.
    center : pair of float or Tensor, optional
        ``(y, x)`` in pixels of the images: shape (2,) for all maps, or (..., 2) with the maps' batch dimensions.
        Default ``((height - 1) / 2, (width - 1) / 2)``. A floating tensor gets a gradient (first order).
    r_min, r_max : float
        Radii of the first and the last ring in pixels. ``r_max`` defaults to ``(min(height, width) - 1) / 2``.
    mask : Tensor of bool, optional
        True where an element of the map is good: shape (n_radial, n_angular) for all, or that of ``unwrapped``.
    interpolation : {"bilinear", "nearest"}
    fill : float, default 0.0
        Value of a pixel without enough valid neighbours.
    return_weight : bool, default False
        Also return the validity weights.
    out : Tensor, shape (..., height, width), optional
        Where to write the images: contiguous, of their dtype, apart from the maps in memory. Without gradients only.

    Returns
    -------
    images : Tensor, shape (..., height, width)
        In the maps' dtype if that is floating (float32 under autocast), else float32.
    weight : Tensor, shape (..., height, width)
        In [0, 1], float64 for float64 maps, else float32; only with ``return_weight``. May be an expanded view. It
        carries no gradient.

    Raises
    ------
    TypeError
        If ``unwrapped`` or ``mask`` has another dtype, or a size is no int.
    ValueError
        If a shape, radius or option does not fit, or ``out`` does not.
    RuntimeError
        If ``unwrapped`` is on a device that this build has no kernel for, or ``out`` is given while a gradient is
        recorded.
    NotImplementedError
        Under forward-mode differentiation, and for a second derivative with respect to ``center``.

    Notes
    -----
    Geometry is computed in float64. Linear in ``unwrapped``; the backward pass is the exact adjoint, one thread a
    map. This interpolates in the map: it is neither the inverse nor the adjoint of :func:`polar_resample`.

    References
    ----------
    P2: Zimmermann et al., "Finding the semantic similarity in single-particle diffraction images using self-supervised
    contrastive projection learning" (2022), section II, has the two coordinate systems; the grid and the validity rule
    are decided here.

    Examples
    --------
    >>> cartesian_resample(torch.ones(5, 32, 64), 65, 65).shape
    torch.Size([5, 65, 65])
    """
    return resample(
        "cartesian", unwrapped, height, width, center, r_min, r_max, mask, interpolation, fill, return_weight, out
    )
