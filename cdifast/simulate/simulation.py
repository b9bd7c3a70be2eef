"""Simulated shots: images, labels and the parameters behind them, each shot fixed by (seed, index) alone."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .cxidb10 import CXIDB10
from .detector import FlatDetector, photon_counts
from .helium_balanced import HELIUM_BALANCED
from .helium_population import HELIUM
from .particles import PARAMETERS, classes_of
from .preset import Preset
from .response import Response
from .scene import expected_pattern
from .threads import one_thread_each

VERSION: Final = 2
"""Raised when a shot of the same preset, size, seed and index changes, so that no file holds shots of both kinds."""

PRESETS: Final[dict[str, Preset]] = {preset.name: preset for preset in (HELIUM, HELIUM_BALANCED, CXIDB10)}
"""Experiments that :func:`shots` knows, by name."""


@dataclass(frozen=True)
class Shots:
    """A batch of ``N`` simulated shots.

    Attributes
    ----------
    images : Tensor
        ``(N, size, size)`` int32, 0 to 65535: photon counts, or what the preset's detector makes of them
        (:class:`Response`).
    labels : Tensor
        ``(N, C)`` uint8, one column for each of ``classes``.
    parameters : ndarray
        ``(N,)`` of :data:`PARAMETERS`: particle, orientation and photons, SI units.
    classes : tuple of str
        What the labels' columns mean: :data:`cdifast.labels.CLASSES` for the helium presets.
    """

    images: Tensor
    labels: Tensor
    parameters: NDArray[Any]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)


def parameters(count: int, preset: str = "helium", seed: int = 0, start: int = 0) -> NDArray[Any]:
    """The parameters and labels of :func:`shots`, without making the images.

    Parameters
    ----------
    count, preset, seed, start
        As :func:`shots`.

    Returns
    -------
    ndarray
        ``(count,)`` of :data:`PARAMETERS`; :func:`classes_of` turns its ``classes`` into columns.

    Raises
    ------
    TypeError, ValueError
        As :func:`shots`.
    """
    count, start, seed = _natural("count", count), _natural("start", start), _natural("seed", seed)
    experiment = _preset(preset)
    records = np.empty(count, dtype=PARAMETERS)
    for k in range(count):
        particle = np.random.SeedSequence(seed, spawn_key=(start + k, 0))
        records[k] = experiment.draw(np.random.default_rng(particle))
        records[k]["index"] = start + k
    return records


def shots(
    count: int,
    size: int = 256,
    preset: str = "helium",
    seed: int = 0,
    start: int = 0,
    *,
    response: Response | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Shots:
    """Simulate diffraction images of single particles, with labels.

    Each shot is the multi-slice far field of one particle or two (:func:`far_field`, :func:`expected_pattern`) on a
    flat detector (:class:`FlatDetector`: projection, solid angle, hole), scaled to the shot's expected photons, plus a
    background, as the detector records it (:class:`Response`; Poisson counts that saturate at 65535 if ideal). Presets:

    - ``helium``: the helium experiment, label combinations as frequent as in the real data set, detector with its
      faults (:mod:`cdifast.simulate.helium_population`);
    - ``helium-balanced``: a mixture that a small network learns from, ideal detector
      (:mod:`cdifast.simulate.helium_balanced`);
    - ``cxidb10``: five species in soft X-rays, labels one-hot (:mod:`cdifast.simulate.cxidb10`).

    Which particle shows which class is decided by the rules of :func:`labels_for`.

    Shot ``k`` depends on ``(preset, size, seed, start + k)`` only: ``shots(100, seed=1)`` holds the very
    image of ``shots(1, seed=1, start=k)`` at ``k``, whatever the number of threads: each shot is computed by one.
    Parameters and labels are the same everywhere; images are bit-equal on one kind of device with one build of torch
    (elsewhere the expected photons differ in the last digits).

    Parameters
    ----------
    count : int
        Number of shots, 0 or more. All are held in memory: see :func:`iter_shots` for many.
    size : int
        Pixels along each side, at least 16.
    preset : str
        A key of :data:`PRESETS`.
    seed, start : int
        Non-negative: the random sequence, and the index of the first shot in it.
    response : Response, optional
        Another detector response than the preset's; ``Response()`` counts photons ideally.
    device : torch.device or str
        Where to compute and to leave images and labels. On the CPU, shots are shared out to ``torch.get_num_threads()``
        threads.
    dtype : torch.dtype
        float32 or float64: precision of the far field.

    Raises
    ------
    TypeError
        If a number is not an integer, or ``dtype`` is neither float32 nor float64.
    ValueError
        If a number is out of range or the preset is unknown.
    """
    records = parameters(count, preset, seed, start)
    images = render(records, size, preset, seed, response=response, device=device, dtype=dtype)
    labels = torch.from_numpy(classes_of(records, len(PRESETS[preset].classes))).to(device)
    return Shots(images, labels, records, PRESETS[preset].classes)


def render(
    records: NDArray[Any],
    size: int = 256,
    preset: str = "helium",
    seed: int = 0,
    *,
    response: Response | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Images of given shots: of :func:`parameters`, or of records changed by hand.

    With a record that is changed in one field (its azimuth, its photons, its wavelength) the same particle is seen
    again under other conditions; the photons are counted as in the shot of ``seed`` and the record's ``index``. Another
    seed records the same pattern with other photons.

    Parameters
    ----------
    records : ndarray
        ``(N,)`` of :data:`PARAMETERS`.
    size, preset, seed, response, device, dtype
        As :func:`shots`; of the preset, only detector and response are used.

    Returns
    -------
    Tensor
        ``(N, size, size)`` int32 on the device. ``render(parameters(count, preset, seed, start), size, preset, seed)``
        are the images of ``shots(count, size, preset, seed, start)``.

    Raises
    ------
    TypeError, ValueError
        As :func:`shots`; also where ``records`` are not of :data:`PARAMETERS`.
    """
    if dtype not in (torch.float32, torch.float64):
        raise TypeError(f"dtype must be torch.float32 or torch.float64, not {dtype}")
    if records.dtype != PARAMETERS or records.ndim != 1:
        raise ValueError(f"records must be (N,) of PARAMETERS, not {records.shape} of {records.dtype}")
    experiment = _preset(preset)
    detector, seed = experiment.detector(_natural("size", size)), _natural("seed", seed)
    device = torch.device(device)
    images = torch.empty(len(records), size, size, dtype=torch.int32, device=device)
    camera = _Camera(detector, experiment.response if response is None else response, device, dtype)

    def take(k: int) -> None:
        counting = np.random.SeedSequence(seed, spawn_key=(int(records["index"][k]), 1))
        generator = torch.Generator(device)
        generator.manual_seed(int(counting.generate_state(1, np.uint64)[0] >> np.uint64(1)))
        images[k] = camera.take(records[k : k + 1], generator)

    one_thread_each(take, len(records), parallel=device.type == "cpu")
    return images


def iter_shots(
    count: int,
    size: int = 256,
    preset: str = "helium",
    seed: int = 0,
    start: int = 0,
    *,
    batch: int = 64,
    response: Response | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Iterator[Shots]:
    """The shots of :func:`shots`, ``batch`` at a time: memory for one batch only.

    To resume after ``done`` shots, ask for ``count - done`` from ``start + done``: the same shots follow.

    Parameters
    ----------
    batch : int
        Shots in each item, the last one may hold fewer.
    count, size, preset, seed, start, response, device, dtype
        See :func:`shots`.

    Yields
    ------
    Shots
        In order of index.

    Raises
    ------
    TypeError, ValueError
        As :func:`shots`, at the call and not at the first item; also if ``batch`` is below 1.
    """
    if _natural("batch", batch) < 1:
        raise ValueError("batch must be at least 1")
    shots(0, size, preset, seed, start, response=response, device=device, dtype=dtype)  # every check but count's
    stop = _natural("start", start) + _natural("count", count)
    return (
        shots(min(batch, stop - first), size, preset, seed, first, response=response, device=device, dtype=dtype)
        for first in range(start, stop, batch)
    )


class _Camera:
    """Turns records into images; what all shots share is prepared once."""

    def __init__(self, detector: FlatDetector, response: Response, device: torch.device, dtype: torch.dtype) -> None:
        self.detector, self.response, self.device, self.dtype = detector, response, device, dtype
        self.lit = detector.lit().to(device)
        self.background = response.background(detector).to(device, dtype)

    def take(self, record: NDArray[Any], generator: torch.Generator) -> Tensor:
        """The image ``(size, size)`` int32 of the one shot in ``record (1,)``."""
        expected = self.background * float(record["background"][0])
        if record["kind"][0] != b"empty":
            expected = expected + expected_pattern(record, self.detector, device=self.device, dtype=self.dtype)
        # Interference and resampling may leave -1e-7 of the brightest pixel where there is no light.
        expected = torch.where(self.lit, expected, 0).clamp_min_(0)
        if self.response.ideal:
            return photon_counts(expected, generator)
        return self.response.record(expected, self.detector, generator)


def _preset(name: str) -> Preset:
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; known: {', '.join(sorted(PRESETS))}")
    return PRESETS[name]


def _natural(name: str, value: int) -> int:
    """``value`` as a non-negative int; ``name`` is for the error."""
    if isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, not a bool")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, not {type(value).__name__}") from None
    if number < 0:
        raise ValueError(f"{name} must not be negative, not {number}")
    return number
