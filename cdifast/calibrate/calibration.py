"""What turns raw detector frames into photons: dark level, gain, mask, common mode, background, saturation."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from cdifast.data.masks import CXI_BAD, CXI_BITS

from .background import Background
from .common_mode import CommonMode
from .groups import GroupTable, group_tables


@dataclass(frozen=True, eq=False)
class Calibration:
    """How raw frames are corrected; every part may be missing.

    Attributes
    ----------
    dark : Tensor of float32, (H, W), optional
        Level of each pixel without light (pedestal), in raw units.
    gain : Tensor of float32, (H, W), optional
        Raw units a photon (a number counts for all pixels). Pixels whose gain is not a positive number are bad.
    mask : Tensor of int32, (H, W), optional
        CXI bits, 0 = good (:data:`cdifast.data.masks.CXI_BITS`); booleans (True = good) are turned into them.
    noise : Tensor of float32, (H, W), optional
        Standard deviation of each pixel without light, in raw units. Not needed to correct, but to tell signal
        from noise (:func:`cdifast.calibrate.lit_level`).
    saturation : float, optional
        Raw value from which on a pixel is full: such pixels are bad in that frame.
    common_mode : CommonMode, optional
    background : Background, optional
    shape : (int, int), optional
        Of the frames; only needed if no other part says it.

    Arrays of other number types, NumPy's too, are converted.

    Raises
    ------
    TypeError, ValueError
        Parts of another type or of different shapes (named), or nothing that says the frames' shape.
    """

    dark: Tensor | None = None
    gain: Tensor | None = None
    mask: Tensor | None = None
    noise: Tensor | None = None
    saturation: float | None = None
    common_mode: CommonMode | None = None
    background: Background | None = None
    shape: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        shape = None if self.shape is None else (int(self.shape[0]), int(self.shape[1]))
        by = "shape"
        for name in ("dark", "noise", "gain", "mask"):
            value = getattr(self, name)
            if value is None or (name == "gain" and np.ndim(value) == 0):
                continue
            value = _bits(value) if name == "mask" else _image(name, value)
            put(name, value)
            shape, by = _same_shape(name, value, shape, by)
        if self.common_mode is not None:
            shape, by = _same_shape("common_mode.groups", self.common_mode.groups, shape, by)
        if self.background is not None:
            shape, by = _same_shape("background.image", self.background.image, shape, by)
        if shape is None:
            raise ValueError("Calibration: nothing says how large the frames are; give shape=(H, W)")
        put("shape", shape)
        if self.gain is not None and np.ndim(self.gain) == 0:
            put("gain", torch.full(shape, float(self.gain)))
        if self.saturation is not None:
            if not self.saturation > -np.inf:
                raise ValueError(f"Calibration: saturation is {self.saturation}; expected a number")
            put("saturation", float(self.saturation))
        if not self._tensors():
            put("mask", torch.zeros(shape, dtype=torch.int32))  # something has to be on a device
        devices = {tensor.device for tensor in self._tensors()}
        if len(devices) > 1:
            raise ValueError(f"Calibration: its parts are on several devices: {', '.join(sorted(map(str, devices)))}")

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return next(iter(self._tensors()), torch.empty(0)).device

    def to(self, device: torch.device | str) -> Self:
        """The same with its tensors on a device; itself if they are there."""
        if self.device == torch.device(device):
            return self
        moved = {
            name: value.to(device)
            for name in ("dark", "gain", "mask", "noise", "common_mode", "background")
            if (value := getattr(self, name)) is not None
        }
        return replace(self, **moved)

    @cached_property
    def good(self) -> Tensor:
        """``(H, W)`` bool: pixels that can be corrected: not masked, all parts finite, gain positive."""
        good = torch.ones(self._shape, dtype=torch.bool, device=self.device)
        if self.mask is not None:
            good &= (self.mask & CXI_BAD) == 0
        if self.dark is not None:
            good &= self.dark.isfinite()
        if self.gain is not None:
            good &= self.gain.isfinite() & (self.gain > 0) & (1 / self.gain).isfinite()
        if self.background is not None:
            good &= self.background.image.isfinite()
        return good

    @cached_property
    def good_count(self) -> int:
        """How many pixels can be corrected."""
        return int(self.good.sum())

    @property
    def _shape(self) -> tuple[int, int]:
        assert self.shape is not None  # __post_init__ sees to it
        return self.shape

    @cached_property
    def offset(self) -> Tensor | None:
        """``(H, W)`` float32: the dark level where a pixel is good, else 0."""
        return None if self.dark is None else torch.where(self.good, self.dark, 0)

    @cached_property
    def photons_per_unit(self) -> Tensor | None:
        """``(H, W)`` float32: one over the gain where a pixel is good, else 0."""
        return None if self.gain is None else torch.where(self.good, 1 / self.gain, 0)

    @cached_property
    def common_mode_tables(self) -> tuple[list[GroupTable], int]:
        """The pixels of each group that the common mode is found from, and the number of groups."""
        assert self.common_mode is not None
        chosen = self.common_mode.pixels
        usable = self.good if chosen is None else self.good & chosen
        return group_tables(self.common_mode.groups, usable), self.common_mode.count

    @cached_property
    def background_terms(self) -> tuple[Tensor, Tensor]:
        """The background, 0 where a pixel is bad, and the good pixels of the fit, each ``(H, W)``."""
        assert self.background is not None
        fit = self.background.fit
        return torch.where(self.good, self.background.image, 0), self.good if fit is None else self.good & fit

    def fingerprint(self) -> dict[str, str]:
        """A short digest of each part, for telling two calibrations apart in words."""
        mode, background = self.common_mode, self.background
        parts: dict[str, list[Any]] = {
            "dark": [self.dark],
            "gain": [self.gain],
            "mask": [self.mask],
            "noise": [self.noise],
            "saturation": [self.saturation],
            "common mode": [] if mode is None else [mode.groups, mode.pixels, mode.method, mode.min_pixels],
            "background": [] if background is None else [background.image, background.fit, background.scaling],
        }
        return {f"calibration {name}": _digest(values) for name, values in parts.items()}

    def _tensors(self) -> list[Tensor]:
        found = [self.dark, self.gain, self.mask, self.noise]
        if self.common_mode is not None:
            found += [self.common_mode.groups, self.common_mode.pixels]
        if self.background is not None:
            found += [self.background.image, self.background.fit]
        return [tensor for tensor in found if isinstance(tensor, Tensor)]


def _digest(values: list[Any]) -> str:
    digest = hashlib.sha256()
    for value in values:
        digest.update(value.cpu().numpy().tobytes() if isinstance(value, Tensor) else repr(value).encode())
    return "none" if all(value is None for value in values) else digest.hexdigest()[:16]


def _same_shape(name: str, value: Tensor, shape: tuple[int, int] | None, by: str) -> tuple[tuple[int, int], str]:
    found = (int(value.shape[0]), int(value.shape[1]))
    if shape is not None and found != shape:
        raise ValueError(f"Calibration: {name} is {found}, but {by} is {shape}; expected one shape for all parts")
    return found, name if shape is None else by


def _image(name: str, value: ArrayLike | Tensor) -> Tensor:
    tensor = value if isinstance(value, Tensor) else torch.from_numpy(np.array(value, dtype=np.float32))
    if tensor.dim() != 2 or tensor.is_complex():
        raise TypeError(f"Calibration: {name} is {tensor.dtype} {tuple(tensor.shape)}; expected real numbers (H, W)")
    return tensor.to(torch.float32)


def _bits(value: ArrayLike | Tensor) -> Tensor:
    tensor = value if isinstance(value, Tensor) else None
    if tensor is None:
        array = np.asarray(value)
        if array.dtype.kind in "ui":
            array = array.astype(np.int64)
        elif array.dtype.kind != "b":
            raise TypeError(f"Calibration: mask is {array.dtype}; expected booleans (True = good) or CXI bits")
        tensor = torch.from_numpy(array.copy())
    if tensor.dim() != 2 or tensor.is_floating_point() or tensor.is_complex():
        raise TypeError(
            f"Calibration: mask is {tensor.dtype} {tuple(tensor.shape)}; expected booleans (True = good) or CXI bits "
            "as integers, (H, W)"
        )
    if tensor.dtype == torch.bool:
        return (~tensor).to(torch.int32) * CXI_BITS["bad"]
    return tensor.to(torch.int32)
