"""Small files of every layout that users have, written without our own writers; what is in them comes with them.

Each function writes into a folder and returns `Written`. `WRITERS` lists them by name, for tests over all layouts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image

from cdifast.labels import CLASSES

EV = 1.602176634e-19
HC = 6.62607015e-34 * 299792458.0


@dataclass
class Written:
    """A layout's files and all that opening them must give.

    Attributes
    ----------
    paths : path or list of paths
        What to open.
    layout : str
        What `Frames.layout` must say.
    frames : ndarray, (n, H, W)
        In the byte order of the file.
    mask : ndarray of bool, (H, W), or None
        True = good.
    masks : ndarray of bool, (n, H, W), or None
        Each frame's own, where they differ.
    labels, energy : ndarray or None
    events : dict
        The keys beyond ``file`` and ``index``.
    """

    paths: Any
    layout: str
    frames: np.ndarray
    mask: np.ndarray | None = None
    masks: np.ndarray | None = None
    labels: np.ndarray | None = None
    energy: np.ndarray | None = None
    events: dict[str, np.ndarray] = field(default_factory=dict)


def random_frames(
    dtype: str = "uint16", count: int = 7, height: int = 12, width: int = 10, seed: int = 0
) -> np.ndarray:
    """Frames that use the whole range of an integer type, or normal floats."""
    generator = np.random.default_rng(seed)
    native = np.dtype(dtype).newbyteorder("=")
    if native.kind == "f":
        return generator.normal(scale=100, size=(count, height, width)).astype(dtype)
    limits = np.iinfo(native)
    drawn = generator.integers(limits.min, limits.max, size=(count, height, width), dtype=native, endpoint=True)
    return drawn.astype(dtype)


def random_labels(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 2, size=(count, len(CLASSES)), dtype=np.uint8)


def random_bits(shape: tuple[int, ...], bits: Sequence[int], seed: int = 2) -> np.ndarray:
    """A mask in which about every fourth pixel has one of the bits."""
    generator = np.random.default_rng(seed)
    return np.where(generator.random(shape) < 0.25, generator.choice(bits, shape), 0)


def majority(masks: np.ndarray) -> np.ndarray:
    """Good in at least half of the frames; for stacks so short that all frames are looked at."""
    return (~masks).sum(axis=0) * 2 <= len(masks)


# --- CXI ---


def stacked_cxi(folder: Path, dtype: str = "uint16") -> Written:
    """CXI 1.5 with the frames of all shots in one data set, and a link to it."""
    frames, path = random_frames(dtype), folder / "stacked.cxi"
    bits = random_bits(frames.shape[1:], [0x1, 0x2, 0x80, 0x20, 0x1000])
    energy = np.linspace(19, 35, len(frames)) * EV
    with h5py.File(path, "w") as file:
        file["cxi_version"] = 150
        detector = file.create_group("entry_1/instrument_1/detector_1")
        detector["data"], detector["mask"] = frames, bits.astype(np.uint32)
        file["entry_1/data_1"] = h5py.SoftLink("/entry_1/instrument_1/detector_1")
        file["entry_1/instrument_1/source_1/energy"] = energy
    return Written(path, "cxi", frames, mask=(bits & 0x83) == 0, energy=energy)


def cxidb_94(folder: Path, dtype: str = "uint16", numbers: Sequence[int] = (1, 2, 4, 5, 10, 11, 100)) -> Written:
    """CXIDB 94: an entry for each shot; numbers may be missing, and 10 comes after 9."""
    frames, path = random_frames(dtype, count=len(numbers)), folder / "helium.cxi"
    labels, energy = random_labels(len(numbers)), np.linspace(19, 35, len(numbers)) * EV
    bunches = 1_000_000 + 17 * np.arange(len(numbers))
    with h5py.File(path, "w") as file:
        file["cxi_version"] = 150
        for i in np.random.default_rng(3).permutation(len(numbers)):  # as they were created, not in order
            entry = file.create_group(f"entry_{numbers[i]}")
            entry["instrument_1/detector_1/data"] = frames[i]
            entry["instrument_1/source_1/energy"] = energy[i]
            entry["note_1/data"] = labels[i]
            entry["experimental_identifier"] = bunches[i]
    events = {"entry": np.array(numbers), "bunchId": bunches}
    return Written(path, "cxi-entries", frames, labels=labels, energy=energy, events=events)


def cxidb_10(folder: Path, dtype: str = "int16", count: int = 5) -> Written:
    """CXIDB 10-14: a file for each shot, the two halves of a pnCCD apart; another detector beside them."""
    frames, paths = random_frames(dtype, count), []
    energy = np.linspace(1180, 1220, count) * EV
    half = frames.shape[1] // 2
    for i, frame in enumerate(frames):
        paths.append(folder / f"amo10510_{i:04}.cxi")
        with h5py.File(paths[-1], "w") as file:
            file["cxi_version"] = 110
            for number, data in [(1, frame[:3, :2]), (2, frame[:3, 2:4]), (3, frame[:half]), (4, frame[half:])]:
                file[f"entry_1/instrument_1/detector_{number}/data"] = data
                file[f"entry_1/data_{number}"] = h5py.SoftLink(f"/entry_1/instrument_1/detector_{number}")
            file["entry_1/instrument_1/source_1/energy"] = energy[i]
            file["entry_1/experiment_identifier"] = f"LCLS_2010_{i:04}"
    names = np.array([f"LCLS_2010_{i:04}" for i in range(count)], dtype="S")
    return Written(paths, "cxi-halves", frames, energy=energy, events={"identifier": names})


# --- Cheetah and Condor ---


def cheetah(folder: Path, dtype: str = "int16", *, own_masks: bool = True) -> Written:
    """Cheetah's CXI: a shared mask and one for each frame, LCLS keys; stacks longer than the number of events."""
    frames, path = random_frames(dtype, count=6), folder / "cheetah.cxi"
    count, room = len(frames), 8
    shared = random_bits(frames.shape[1:], [0x4, 0x200, 0x20, 0x800])
    own = random_bits(frames.shape, [0x2, 0x400, 0x1000, 0x100], seed=4) | shared
    energy = np.linspace(7.9, 8.1, count) * 1000 * EV
    with h5py.File(path, "w") as file:
        file["cxi_version"] = np.array([130], np.int32)
        detector = file.create_group("entry_1/instrument_1/detector_1")

        def stack(group: h5py.Group, name: str, values: np.ndarray) -> None:
            item = group.create_dataset(name, (room, *values.shape[1:]), values.dtype, chunks=(2, *values.shape[1:]))
            item[:count] = values
            item.attrs["numEvents"] = np.array([count], np.int32)

        stack(detector, "data", frames)
        detector["mask_shared"] = shared.astype(np.uint16)
        if own_masks:
            stack(detector, "mask", own.astype(np.uint16))
        file["entry_1/data_1"] = h5py.SoftLink("/entry_1/instrument_1/detector_1")
        stack(file.create_group("entry_1/instrument_1/source_1"), "energy", energy)
        names = np.array([f"LCLS_2015_Mar21_r{i:04}" for i in range(count)], dtype="S128")
        stack(file["entry_1"], "experiment_identifier", names)
        lcls = file.create_group("LCLS")
        machine, fiducial = 1_426_957_000 + np.arange(count), 4000 + 3 * np.arange(count)
        stack(lcls, "machineTime", machine.astype(np.int32))
        stack(lcls, "fiducial", fiducial.astype(np.int32))
        file.create_group("cheetah/unshared")
    bad = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x40 | 0x80 | 0x200 | 0x400 | 0x1000
    masks = (own & bad) == 0
    events = {"identifier": names, "machineTime": machine, "fiducial": fiducial}
    mask = majority(masks) if own_masks else (shared & bad) == 0
    return Written(path, "cheetah", frames, mask=mask, masks=masks if own_masks else None, energy=energy, events=events)


def cheetah_old(folder: Path, dtype: str = "int16", count: int = 3) -> Written:
    """Cheetah before CXI: a file for each event, ``/data/data`` a link to one of several images."""
    frames, paths = random_frames(dtype, count), []
    bits = random_bits(frames.shape[1:], [0x4, 0x20, 0x200])
    energy = np.linspace(9000, 9100, count) * EV
    for i, frame in enumerate(frames):
        paths.append(folder / f"LCLS_2011_Jun01_r{i:04}.h5")
        with h5py.File(paths[-1], "w") as file:
            file["data/assembleddata0"] = frame
            file["data/assembledpixelmask0"] = bits.astype(np.uint16)
            file["data/rawdata0"] = frame[:4, :4].copy()
            file["data/pixelmask0"] = np.ones((4, 4), np.uint16)
            file["data/data"] = h5py.SoftLink("/data/assembleddata0")
            file["LCLS/photon_energy_eV"] = energy[i : i + 1] / EV
            file["LCLS/machineTime"] = np.array([1000 + i], np.int32)
            file["LCLS/fiducial"] = np.array([7 * i], np.int32)
            file.create_group("processing/cheetah")
    events = {"machineTime": 1000 + np.arange(count), "fiducial": 7 * np.arange(count)}
    return Written(paths, "cheetah", frames, mask=(bits & 0x204) == 0, energy=energy, events=events)


def condor(folder: Path, dtype: str = "float64") -> Written:
    """Condor: frames and CXI bits for each (saturation differs), source, particles and detector at the root."""
    frames, path = random_frames(dtype), folder / "condor.cxi"
    own = random_bits(frames.shape, [0x2, 0x200], seed=5)
    wavelength = np.linspace(1e-9, 1.2e-9, len(frames))
    with h5py.File(path, "w") as file:
        file["entry_1/data_1/data"] = frames
        file["entry_1/data_1/mask"] = own.astype(np.uint16)
        file["entry_1/data_1/full_period_resolution"] = np.ones(len(frames))
        file["source/wavelength"] = wavelength
        file["source/pulse_energy"] = np.full(len(frames), 1e-3)
        file["particles/particle_00/diameter"] = np.full(len(frames), 1e-7)
        file["detector/cx"] = np.zeros(len(frames))
    return Written(path, "condor", frames, mask=majority(own == 0), masks=own == 0, energy=HC / wavelength)


# --- European XFEL ---


def modules(
    folder: Path,
    dtype: str = "float32",
    *,
    gain_axis: bool = False,
    missing: Sequence[tuple[int, int]] = ((1, 2),),
    size: tuple[int, int] = (5, 4),
) -> Written:
    """A virtual CXI as EXtra-data writes it: a file for each of four modules, some (frame, module) not there."""
    count, number = 6, 4
    height, width = size
    stored = random_frames(dtype, count * number * 2, height, width).reshape(count, number, 2, height, width)
    bits = random_bits((count, number, height, width), [1, 0x1000, 0x20, 1 << 20], seed=6).astype(np.uint32)
    trains, pulses = 10_000 + np.arange(count) // 2, np.arange(count) % 2
    cells = 4 * pulses
    there = np.ones((count, number), bool)
    for frame, module in missing:
        there[frame, module] = False
    calibrated = not gain_axis
    rows = (number, height, width) if calibrated else (number, 2, height, width)
    layouts = {"data": h5py.VirtualLayout((count, *rows), dtype)}
    if calibrated:
        layouts["mask"] = h5py.VirtualLayout((count, *rows), "u4")
    cell_layout = h5py.VirtualLayout((count, number), "u2")
    for module in range(number):
        frames_there = np.flatnonzero(there[:, module])
        part = folder / f"CORR-R0001-AGIPD{module:02}-S00000.h5"
        image = f"INSTRUMENT/SPB_DET_AGIPD1M-1/DET/{module}CH0:xtdf/image"
        with h5py.File(part, "w") as file:
            data = stored[frames_there, module]
            file[f"{image}/data"] = data[:, 0] if calibrated else data
            file[f"{image}/mask"] = bits[frames_there, module]
            file[f"{image}/cellId"] = cells[frames_there].astype(np.uint16)
            sources = {name: h5py.VirtualSource(file[f"{image}/{name}"]) for name in layouts}
            cell_source = h5py.VirtualSource(file[f"{image}/cellId"])
            for local, frame in enumerate(frames_there.tolist()):
                for name, layout in layouts.items():
                    layout[frame, module] = sources[name][local]
                cell_layout[frame, module] = cell_source[local]
    path = folder / "virtual.cxi"
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        file["cxi_version"] = [150]
        file["entry_1/trainId"], file["entry_1/pulseId"] = trains.astype(np.uint64), pulses.astype(np.uint64)
        file.create_virtual_dataset("entry_1/cellId", cell_layout)
        detector = file.create_group("entry_1/instrument_1/detector_1")
        fill = np.nan if np.dtype(dtype).kind == "f" else 0
        detector.create_virtual_dataset("data", layouts["data"], fillvalue=fill)
        fill = detector["data"].fillvalue  # HDF5 may turn one NaN into another
        axes = "experiment_identifier:module_identifier:y:x"
        detector["data"].attrs["axes"] = axes if calibrated else axes.replace(":y", ":data_gain:y")
        if calibrated:
            detector.create_virtual_dataset("mask", layouts["mask"], fillvalue=0xFFFFFFFF)
        detector["module_identifier"] = np.arange(number)
        file["entry_1/data_1"] = h5py.SoftLink("/entry_1/instrument_1/detector_1")
    images = stored[:, :, 0].copy()
    images[~there] = fill
    masks = there[:, :, None, None] & ((bits == 0) if calibrated else True)
    masks = np.broadcast_to(masks, images.shape).reshape(count, number * height, width)
    events = {"trainId": trains, "pulseId": pulses, "cellId": cells}
    return Written(
        path,
        "extra-data",
        images.reshape(count, number * height, width),
        mask=majority(masks),
        masks=masks,
        events=events,
    )


def modules_raw(folder: Path, dtype: str = "uint16") -> Written:
    """Raw modules: a gain axis, no mask, missing modules are zeros."""
    return modules(folder, dtype, gain_axis=True)


# --- without a convention ---


def plain_hdf5(folder: Path, dtype: str = "uint16") -> Written:
    frames, path = random_frames(dtype), folder / "plain.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("run/frames", data=frames, chunks=(2, *frames.shape[1:]), compression="gzip")
        file["run/time"] = np.arange(len(frames))
    return Written(path, "hdf5", frames)


def npy(folder: Path, dtype: str = "uint16") -> Written:
    frames = random_frames(dtype)
    np.save(folder / "frames.npy", frames)
    return Written(folder / "frames.npy", "npy", frames)


def npz(folder: Path, dtype: str = "uint16") -> Written:
    frames, labels = random_frames(dtype), random_labels(7)
    good = random_bits(frames.shape[1:], [1]) == 0
    np.savez_compressed(folder / "frames.npz", frames=frames, good=good, labels=labels)
    return Written(folder / "frames.npz", "npz", frames, mask=good, labels=labels)


def tiff_folder(folder: Path, dtype: str = "uint16") -> Written:
    """A folder of one-page TIFF files."""
    import tifffile

    frames, images = random_frames(dtype), folder / "tiff"
    images.mkdir()
    order = np.dtype(dtype).newbyteorder("S" if np.dtype(dtype).isnative else "=")
    for i, frame in enumerate(frames):  # every second file in the other byte order
        byteorder = "<" if i % 2 else ">"
        tifffile.imwrite(images / f"shot_{i:03}.tif", frame.astype(order.newbyteorder("=")), byteorder=byteorder)
    return Written(images, "tiff", frames)


def tiff_stack(folder: Path, dtype: str = "uint16") -> Written:
    """One TIFF of many compressed pages."""
    import tifffile

    frames = random_frames(dtype)
    native = frames.astype(frames.dtype.newbyteorder("="))
    tifffile.imwrite(folder / "stack.tiff", native, photometric="minisblack", compression="zlib")
    return Written(folder / "stack.tiff", "tiff", frames)


def png_folder(folder: Path, dtype: str = "uint16") -> Written:
    """A folder of gray PNG files."""
    frames, images = random_frames(dtype), folder / "png"
    images.mkdir()
    for i, frame in enumerate(frames):
        Image.fromarray(frame.astype(frame.dtype.newbyteorder("="))).save(images / f"shot_{i:03}.png")
    return Written(images, "png", frames)


WRITERS: dict[str, Callable[..., Written]] = {
    "stacked CXI": stacked_cxi,
    "CXIDB 94": cxidb_94,
    "CXIDB 10": cxidb_10,
    "Cheetah": cheetah,
    "Cheetah, one mask": lambda folder, dtype="int16": cheetah(folder, dtype, own_masks=False),
    "Cheetah before CXI": cheetah_old,
    "Condor": condor,
    "modules": modules,
    "raw modules": modules_raw,
    "HDF5": plain_hdf5,
    "npy": npy,
    "npz": npz,
    "TIFF folder": tiff_folder,
    "TIFF stack": tiff_stack,
    "PNG folder": png_folder,
}
"""Every layout's writer, ``writer(folder, dtype=...) -> Written``."""

HDF5_WRITERS = [name for name in WRITERS if not name.startswith(("np", "TIFF", "PNG"))]
"""Those whose files are HDF5: any element type can be asked for."""
