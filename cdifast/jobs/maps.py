"""Correlation maps of a whole run: frames -> unwrapped maps -> merged correlation maps -> result file."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cdifast import ops
from cdifast.data import Frames, RowDataset, nxdata
from cdifast.ops.correlation import Normalize, Part
from cdifast.ops.polar import Interpolation

from .rows import as_image_tensor, run_over_frames


@dataclass(frozen=True)
class MapSettings:
    """How frames become correlation maps.

    Attributes
    ----------
    n_radial, n_angular
        Size of the unwrapped map; the correlation map is ``(n_radial, n_radial)``.
    order, part, normalize, min_weight
        As :func:`cdifast.ops.correlation_map`.
    center
        Beam centre ``(y, x)`` in pixels; None: the middle of the frame.
    r_min, r_max
        First and last radius in pixels; ``r_max=None``: the largest circle inside the frame.
    interpolation
        As :func:`cdifast.ops.polar_resample`.
    """

    n_radial: int = 112
    n_angular: int = 224
    order: int = 8
    part: Part = "real"
    normalize: Normalize = "none"
    center: tuple[float, float] | None = None
    r_min: float = 0.0
    r_max: float | None = None
    interpolation: Interpolation = "bilinear"
    min_weight: float = 0.05


class MapMaker:
    """Correlation maps of frames of one shape and mask; the validity weights are computed once.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the frames in pixels.
    mask : ndarray of bool, (H, W), optional
        True = good pixel.
    settings : MapSettings

    Attributes
    ----------
    weight : Tensor, (n_radial, n_angular)
        Validity weight of each sample of the unwrapped map.
    cell_weight : Tensor, (n_radial, n_radial)
        Weight of each cell of the correlation map, as :func:`cdifast.ops.correlation_map` returns it.

    Raises
    ------
    ValueError
        If the settings do not fit the frames, or leave not one cell of the map with a value.
    """

    def __init__(
        self, shape: tuple[int, int], mask: ArrayLike | None = None, settings: MapSettings | None = None
    ) -> None:
        self.settings = settings or MapSettings()
        self.shape = shape
        self._mask = None if mask is None else torch.as_tensor(np.asarray(mask))
        _, self.weight = self._resample(torch.zeros(shape), self._mask, return_weight=True)
        # Where every sample counts fully, the map needs no weights at all, which is twice as fast.
        self._weight = None if bool((self.weight == 1).all()) else self.weight
        _, self.cell_weight = self._correlate(torch.zeros(self.weight.shape), self._weight, return_weight=True)
        if not bool((self.cell_weight > 0).any()):
            raise ValueError(
                f"no cell of the correlation map would have a value: with center {self.settings.center}, radii "
                f"{self.settings.r_min} to {self.settings.r_max} and this mask, no two rings share "
                f"{100 * self.settings.min_weight:g} % of their angles inside frames of {shape[0]} x {shape[1]} pixels"
            )

    def __call__(self, images: NDArray[Any] | Tensor) -> tuple[Tensor, Tensor]:
        """Unwrapped maps (n, n_radial, n_angular) and correlation maps (n, n_radial, n_radial) of frames (n, H, W)."""
        unwrapped = self._resample(self._tensor(images), self._mask).to(torch.float32)
        return unwrapped, self._correlate(unwrapped, self._weight)

    def with_masks(self, images: NDArray[Any] | Tensor, good: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
        """Correlation maps of frames with masks of their own, and the weights of their cells.

        Parameters
        ----------
        images : ndarray or Tensor, (n, H, W)
        good : ndarray of bool, (n, H, W)
            True = good pixel.

        Returns
        -------
        maps, weights : Tensor, (n, n_radial, n_radial)
        """
        unwrapped, weight = self._resample(self._tensor(images), torch.from_numpy(good), return_weight=True)
        maps, weights = self._correlate(unwrapped.to(torch.float32), weight, return_weight=True)
        return maps, weights

    def _tensor(self, images: NDArray[Any] | Tensor) -> Tensor:
        tensor = images if isinstance(images, Tensor) else as_image_tensor(images)
        if tuple(tensor.shape[-2:]) != self.shape:
            raise ValueError(
                f"frames: found shape {tuple(tensor.shape)}, expected (n, {', '.join(map(str, self.shape))})"
            )
        return tensor

    def radii(self) -> NDArray[np.float64]:
        """Radius of each ring in pixels, (n_radial,)."""
        r_max = self.settings.r_max
        if r_max is None:
            r_max = (min(self.shape) - 1) / 2
        return np.linspace(self.settings.r_min, r_max, self.settings.n_radial)

    def _resample(self, images: Tensor, mask: Tensor | None, **options: Any) -> Any:
        chosen = self.settings
        return ops.polar_resample(
            images,
            chosen.n_radial,
            chosen.n_angular,
            center=chosen.center,
            r_min=chosen.r_min,
            r_max=chosen.r_max,
            mask=mask,
            interpolation=chosen.interpolation,
            **options,
        )

    def _correlate(self, unwrapped: Tensor, weight: Tensor | None, **options: Any) -> Any:
        chosen = self.settings
        return ops.correlation_map(
            unwrapped,
            order=chosen.order,
            part=chosen.part,
            weight=weight,
            normalize=chosen.normalize,
            min_weight=chosen.min_weight,
            **options,
        )


def unwrapped_and_maps(
    images: NDArray[Any] | Tensor, mask: ArrayLike | None = None, settings: MapSettings | None = None
) -> tuple[Tensor, Tensor]:
    """Unwrapped and correlation maps of some frames, float32 on the CPU; see :class:`MapMaker`.

    Parameters
    ----------
    images : ndarray or Tensor, (n, H, W)
        Raw frames of any real type, finite outside the mask.
    mask, settings
        As :class:`MapMaker`.

    Returns
    -------
    unwrapped : Tensor, (n, n_radial, n_angular)
    maps : Tensor, (n, n_radial, n_radial)
    """
    height, width = images.shape[-2:]
    return MapMaker((int(height), int(width)), mask, settings)(images)


def write_maps(
    frames: Frames,
    output: str | os.PathLike[str],
    settings: MapSettings | None = None,
    *,
    batch: int | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Write the correlation map of every frame to an HDF5 file, in stack order, keyed by event.

    The file's ``/entry_1/maps`` is a NeXus NXdata group that silx view and h5web plot: ``data`` (N, R, R) float32,
    ``weight`` (R, R) the cells' weights, ``radius`` (R,) in pixels, and the settings as attributes. Where frames have
    masks of their own (`Frames.masks_differ`), each is computed with its own and ``weight`` is (N, R, R). An
    interrupted job continues when the same call is repeated.

    Parameters
    ----------
    frames : Frames
        Its masks are used.
    output : path
    settings : MapSettings, optional
    batch, overwrite, progress
        As :func:`cdifast.jobs.rows.run_over_frames`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    FrameError
        Frames that cannot be read or hold NaN outside the mask, or an ``output`` that is another job's or a file of
        the frames.
    FileExistsError
        If ``output`` exists and ``overwrite`` is False.
    ValueError
        If the settings do not fit the frames.
    """
    maker = MapMaker(frames.shape[1:], frames.mask, settings)
    chosen = asdict(maker.settings)
    n_radial = maker.settings.n_radial
    description = {
        "lower_triangle": "zero-lag correlation C0[i, j], j <= i (P1, eq. 13)",
        "upper_triangle": f"order-{maker.settings.order} correlation, {maker.settings.part} part (P1, eq. 15)",
        **{name: value if value is not None else "default" for name, value in chosen.items()},
    }
    columns = [RowDataset("maps", (n_radial, n_radial), "float32", path="/entry_1/maps/data")]
    constants: dict[str, ArrayLike] = {"/entry_1/maps/radius": maker.radii()}
    if frames.masks_differ:
        columns.append(RowDataset("weight", (n_radial, n_radial), "float32", path="/entry_1/maps/weight"))
    else:
        constants["/entry_1/maps/weight"] = maker.cell_weight.numpy()

    def compute(images: NDArray[Any], good: NDArray[np.bool_] | None) -> dict[str, NDArray[Any]]:
        if not frames.masks_differ or good is None:
            return {"maps": maker(images)[1].numpy()}
        maps, weights = maker.with_masks(images, good)
        return {"maps": maps.numpy(), "weight": weights.numpy()}

    return run_over_frames(
        frames,
        output,
        columns,
        compute,
        description="correlation maps",
        fingerprint={f"map {name}": value for name, value in chosen.items()},
        attrs={
            "/entry_1": {"NX_class": "NXentry", "default": "maps"},
            "/entry_1/maps": nxdata("data", axes=(".", "radius", "radius"), interpretation="image", **description),
            "/entry_1/maps/radius": {"units": "pixel"},
        },
        constants=constants,
        batch=batch,
        overwrite=overwrite,
        progress=progress,
    )
