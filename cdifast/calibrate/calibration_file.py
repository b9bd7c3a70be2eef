"""A calibration as an HDF5 file.

================================================  =====================================================
``/calibration/dark``, ``gain``, ``noise``        float32 (H, W)
``/calibration/mask``                             uint32 (H, W), CXI bits
``/calibration/saturation``                       float64
``/calibration/common_mode/groups``, ``pixels``   int64 and bool (H, W); ``@method``, ``@min_pixels``
``/calibration/background/image``, ``fit``        float32 and bool (H, W); ``@scaling``
``/calibration/@shape``, ``@version``             (H, W); 1
================================================  =====================================================

A part that the calibration lacks is not there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdifast import __version__
from cdifast._atomic import whole_file
from cdifast.data.errors import FrameError, describe
from cdifast.data.hdf5 import PROVENANCE, hdf5_faults, import_h5py, is_hdf5, open_hdf5, provenance
from cdifast.data.hdf5_text import set_attributes, text_attribute

from .background import Background, Scaling
from .calibration import Calibration
from .common_mode import CommonMode, Method

_GROUP: Final = "calibration"
_VERSION: Final = 1


def save_calibration(path: str | os.PathLike[str], calibration: Calibration, *, overwrite: bool = False) -> Path:
    """Write a calibration to an HDF5 file, which appears whole or not at all.

    Parameters
    ----------
    path : path
    calibration : Calibration
        On any device.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    FileExistsError
        If ``path`` exists and ``overwrite`` is False.
    ImportError
        Without h5py.
    """
    h5py = import_h5py()
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path}: exists already; remove it, choose another name, or pass overwrite=True")
    calibration = calibration.to("cpu")
    with whole_file(path) as temporary, h5py.File(temporary, "w") as file:
        set_attributes(file.create_group(PROVENANCE), provenance())
        group = file.create_group(_GROUP)
        group.attrs.update({"version": _VERSION, "shape": calibration.shape})

        def put(parent: Any, name: str, value: Tensor | None, dtype: str) -> None:
            if value is not None:
                parent.create_dataset(name, data=value.numpy().astype(dtype), compression="gzip", compression_opts=4)

        for name in ("dark", "gain", "noise"):
            put(group, name, getattr(calibration, name), "float32")
        put(group, "mask", calibration.mask, "uint32")
        if calibration.saturation is not None:
            group["saturation"] = calibration.saturation
        if (mode := calibration.common_mode) is not None:
            part = group.create_group("common_mode")
            set_attributes(part, {"method": mode.method, "min_pixels": mode.min_pixels})
            put(part, "groups", mode.groups, "int64")
            put(part, "pixels", mode.pixels, "bool")
        if (background := calibration.background) is not None:
            part = group.create_group("background")
            set_attributes(part, {"scaling": background.scaling})
            put(part, "image", background.image, "float32")
            put(part, "fit", background.fit, "bool")
    return path


def load_calibration(path: str | os.PathLike[str], *, device: torch.device | str = "cpu") -> Calibration:
    """Read a calibration that :func:`save_calibration` wrote.

    Parameters
    ----------
    path : path
    device : torch.device or str
        Where its tensors go.

    Returns
    -------
    Calibration

    Raises
    ------
    FileNotFoundError
        There is no such file.
    FrameError
        It is no calibration, of a later version, or damaged; names file and data set.
    ImportError
        Without h5py.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file (given as calibration)")
    if path.is_dir() or not is_hdf5(path):
        raise FrameError("is no HDF5 file; expected a calibration as `cdifast darks` writes it", path=path)
    with hdf5_faults(path), open_hdf5(path) as file:
        group = file.get(_GROUP)
        if group is None or "version" not in group.attrs or "shape" not in group.attrs:
            raise FrameError(
                "has no group '/calibration'; expected a calibration as `cdifast darks` writes it", path=path
            )
        if int(group.attrs["version"]) > _VERSION:
            raise FrameError(
                f"is of version {group.attrs['version']}; this cdifast ({__version__}) knows up to {_VERSION}",
                path=path,
            )
        shape = tuple(int(n) for n in group.attrs["shape"])
        parts: dict[str, Any] = {}
        for name in ("dark", "gain", "noise"):
            parts[name] = _read(path, group, name, shape, "f")
        mask = _read(path, group, "mask", shape, "u")
        parts["mask"] = None if mask is None else mask.to(torch.int32)
        if "saturation" in group:
            parts["saturation"] = float(group["saturation"][()])
        if "common_mode" in group:
            part = group["common_mode"]
            groups = _read(path, part, "groups", shape, "i")
            if groups is None:
                raise FrameError("is missing", path=path, dataset="/calibration/common_mode/groups")
            pixels = _read(path, part, "pixels", shape, "b")
            method = _choice(path, part, "method", get_args(Method))
            parts["common_mode"] = CommonMode(groups, method, pixels, int(part.attrs["min_pixels"]))
        if "background" in group:
            part = group["background"]
            image = _read(path, part, "image", shape, "f")
            if image is None:
                raise FrameError("is missing", path=path, dataset="/calibration/background/image")
            fit = _read(path, part, "fit", shape, "b")
            parts["background"] = Background(image, _choice(path, part, "scaling", get_args(Scaling)), fit)
    return Calibration(shape=(shape[0], shape[1]), **parts).to(device)


def _read(path: Path, group: Any, name: str, shape: tuple[int, ...], kind: str) -> Tensor | None:
    """A data set of the calibration's shape and of a kind of type; None where it is not there."""
    if name not in group:
        return None
    stored = group[name]
    if stored.shape != shape or stored.dtype.kind != kind:
        kinds = {"f": "floating-point numbers", "u": "unsigned integers", "i": "integers", "b": "booleans"}
        raise FrameError(
            f"found {describe(stored.shape, stored.dtype)}; expected {kinds[kind]} {shape}",
            path=path,
            dataset=stored.name,
        )
    array: NDArray[Any] = stored[()]
    if kind == "u":
        array = array.astype(np.int64)
    return torch.from_numpy(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")))


def _choice(path: Path, group: Any, name: str, known: tuple[str, ...]) -> Any:
    found = text_attribute(group, name)
    if found not in known:
        raise FrameError(
            f"attribute '{name}' is {found!r}; expected one of {', '.join(known)}", path=path, dataset=group.name
        )
    return found
