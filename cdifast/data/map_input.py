"""From detector frames to correlation maps as network input (P1, section 5.3)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import torch
from numpy.typing import ArrayLike

from cdifast import ops
from cdifast.nn.correlation import scale_triangles
from cdifast.ops.correlation import Normalize, Part

from .arguments import as_frames, as_mask
from .finite import check_finite

if TYPE_CHECKING:
    from .frames import Frames

KIND: Final = "correlation maps"
"""What a weights' card says of this kind of input."""


@dataclass(frozen=True)
class MapPreparation:
    """How frames become correlation maps as network input; stored on the weights' card.

    The merged map of P1 (equations 13 to 15): below and on the diagonal the zero-lag correlation, above it the one of
    order `order`; each triangle scaled on its own. P1 does not say how its maps were scaled. Maps are computed from the
    frames at their full resolution, so that nothing is averaged before the product; what is averaged, with
    `oversampling`, is the map.

    Attributes
    ----------
    size
        Radii of the unwrapped map, hence the side S of the square input in pixels.
    n_angular
        Angles of the unwrapped map; None: twice its radii.
    oversampling
        The map is computed with so many times `size` radii and averaged down, below and above the diagonal apart. With
        1, most pixels of frames much larger than the map are passed over, and their share in averaging out the noise
        is lost. See `covering`.
    order, part, normalize
        As :func:`cdifast.ops.correlation_map`.
    scaling
        As :func:`cdifast.nn.scale_triangles`; ``"log"`` by default, since maps span twice the decades of the images.
    level
        What the scaled map, 0 to 1, is multiplied by, so that the network's first layer meets numbers of the size that
        prepared images have. Not used with ``scaling="none"``.
    center
        Beam centre (y, x) in pixels of the frames; None: their middle.
    r_min, r_max
        First and last radius in pixels of the frames; ``r_max=None``: the largest circle inside the frame.
    min_weight
        Cells of the map over less than this share of the angles are 0.
    """

    size: int = 112
    n_angular: int | None = None
    oversampling: int = 1
    order: int = 8
    part: Part = "real"
    normalize: Normalize = "none"
    scaling: Literal["none", "log", "minmax"] = "log"
    level: float = 10.0
    center: tuple[float, float] | None = None
    r_min: float = 0.0
    r_max: float | None = None
    min_weight: float = 0.05

    def __post_init__(self) -> None:
        if self.size < 2:
            raise ValueError(f"size: found {self.size}, expected at least 2")
        if self.oversampling < 1:
            raise ValueError(f"oversampling: found {self.oversampling}, expected at least 1")
        if self.scaling not in ("none", "log", "minmax"):
            raise ValueError(f"scaling: found {self.scaling!r}, expected 'none', 'log' or 'minmax'")
        if not self.level > 0:
            raise ValueError(f"level: found {self.level}, expected a positive number")
        if self.center is not None:  # JSON has lists
            object.__setattr__(self, "center", tuple(self.center))

    @classmethod
    def covering(cls, shape: tuple[int, int], size: int, **options: Any) -> MapPreparation:
        """With a ring at least for every pixel along the radius, and where these are more than `size`, with an angle
        for at most every pi/2 pixels of the outermost one: what frames (H, W) need to be used in full.

        Parameters
        ----------
        shape
            Of the frames.
        size, **options
            As above; `oversampling` follows from the shape and the radii, and so does `n_angular` where not given.
        """
        plain = cls(size, **options)
        last = (min(shape) - 1) / 2 if plain.r_max is None else plain.r_max
        oversampling = max(1, math.ceil((last - plain.r_min) / size))
        angles = plain.n_angular
        if angles is None and oversampling > 1:
            angles = 4 * math.ceil(last)
        return replace(plain, oversampling=oversampling, n_angular=angles)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-serialisable dictionary."""
        return {"kind": KIND, **asdict(self)}


class MapPreparer:
    """Makes network input of frames of one shape under one mask; `cdifast.data.prepare.Preparer` for images.

    Parameters
    ----------
    shape
        (H, W) of the frames.
    mask
        Good pixels, bool: (H, W), or (N, H, W) for batches of N frames; None: all are good.
    preparation
        Size, order and scaling.
    device
        Where it is done.

    Raises
    ------
    ValueError
        A mask that fits not, or radii that leave the frame.
    TypeError
        A mask that is not bool.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        mask: ArrayLike | None,
        preparation: MapPreparation,
        device: str | torch.device = "cpu",
    ) -> None:
        good = None if mask is None else as_mask(mask)
        if good is not None and good.shape[-2:] != shape:
            raise ValueError(f"mask: found shape {good.shape}, expected {shape} or (N, {shape[0]}, {shape[1]})")
        self.shape, self.preparation, self.device = shape, preparation, torch.device(device)
        self._good = good
        self._mask = None if good is None or good.all() else torch.from_numpy(good.copy()).to(self.device)

    def checked(
        self, frames: ArrayLike | torch.Tensor, first_index: int = 0, source: Frames | None = None
    ) -> torch.Tensor:
        """Turn frames (N, H, W) into maps (N, 1, S, S); a `FrameError` names the first with a NaN or infinity."""
        values = as_frames(frames)
        maps = self(values)
        if values.is_floating_point() and not torch.isfinite(maps).all():
            check_finite(values.to("cpu", torch.float32), self._good, first_index, source)
        return maps

    def __call__(self, frames: torch.Tensor) -> torch.Tensor:
        """Turn frames (N, H, W) into maps (N, 1, S, S) float32; a NaN in a good pixel makes NaN."""
        how = self.preparation
        frames = frames.to(self.device)
        if frames.dtype not in _UNWRAPPED_AS_THEY_ARE:
            frames = frames.to(torch.float32)
        radii = how.size * how.oversampling
        maps = ops.polar_correlation_map(
            frames,
            radii,
            how.n_angular or 2 * radii,
            center=how.center,
            r_min=how.r_min,
            r_max=how.r_max,
            mask=self._mask,
            order=how.order,
            part=how.part,
            normalize=how.normalize,
            min_weight=how.min_weight,
            fill=0.0 if how.oversampling == 1 else -math.inf,
        ).to(torch.float32)
        if how.oversampling > 1:
            maps = _averaged(maps, how.oversampling)
        scaled = scale_triangles(maps, how.scaling)
        return (scaled if how.scaling == "none" else scaled * how.level)[:, None]


def _averaged(maps: torch.Tensor, factor: int) -> torch.Tensor:
    """Means over squares of `factor` cells, of one triangle alone.

    Cells of -inf do not count, and 0 is where none does. An infinite pixel cannot pass for such a cell: on its ring's
    diagonal it is +inf.
    """

    def pool(cells: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(cells, factor)

    def triangle(side: int) -> torch.Tensor:
        return torch.ones(side, side, dtype=torch.bool, device=maps.device).tril()

    def mean(cells: torch.Tensor) -> torch.Tensor:
        counted = (maps != -math.inf) & cells
        share = pool(counted.to(maps.dtype))
        return pool(torch.where(counted, maps, 0)) / torch.where(share > 0, share, 1)

    lower = triangle(maps.shape[-1])
    return torch.where(triangle(maps.shape[-1] // factor), mean(lower), mean(~lower))


_UNWRAPPED_AS_THEY_ARE = frozenset({torch.uint8, torch.uint16, torch.int16, torch.int32, torch.float32})
