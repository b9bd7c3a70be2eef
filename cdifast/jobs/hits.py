"""Hits of a whole run: lit pixels, significance and, of hits, the centre of every frame, into a result file."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cdifast.calibrate import (
    Calibration,
    Centers,
    NullDistribution,
    PoissonScore,
    calibrate,
    combine_centers,
    friedel_center,
    lit_level,
    lit_pixels,
    null_distribution,
    ring_center,
    typical_level,
)
from cdifast.data import Frames, RowDataset, nxdata
from cdifast.data.hdf5 import hdf5_faults, open_hdf5
from cdifast.data.hdf5_text import text_attribute
from cdifast.data.row_file import final_path

from .calibrated import masked
from .darks import batches
from .rows import as_image_tensor, refuse_inputs, run_over_frames, without_own_bad

CenterMethod = Literal["friedel", "rings"]

GROUP = "/entry_1/hits"
# Frames from which the lit level is taken where no dark frames say it.
_LEVEL_FRAMES = 64


@dataclass(frozen=True)
class HitSettings:
    """How hits are found.

    Attributes
    ----------
    score : {"lit", "poisson"}
        What decides: the number of lit pixels (:func:`cdifast.calibrate.lit_pixels`), or the deviance from the
        calibration's background (:class:`cdifast.calibrate.PoissonScore`).
    level : float, optional
        Value above which a pixel is lit, in the units of calibrated frames. Default: 5 standard deviations of the
        noise that the calibration has (:func:`cdifast.calibrate.lit_level`), or what frames of the run say
        (:func:`cdifast.calibrate.typical_level`).
    false_positive_rate : float
        Probability that a frame without a particle counts as a hit; it decides the threshold.
    sample : int
        Frames, spread evenly over the run, that the distribution of the misses is taken from.
    center : (float, float), optional
        Beam centre (y, x) in pixels, for the region and as the guess of the centre; default the middle.
    r_min, r_max : float, optional
        Only pixels at these distances from the centre count.
    centers : {"friedel", "rings"}, optional
        Also find the centre of each hit (:func:`cdifast.calibrate.friedel_center`, `ring_center`).
    search : float, optional
        How far from ``center``, in pixels; default an eighth of the shorter side.
    """

    score: Literal["lit", "poisson"] = "lit"
    level: float | None = None
    false_positive_rate: float = 1e-3
    sample: int = 2048
    center: tuple[float, float] | None = None
    r_min: float = 0.0
    r_max: float | None = None
    centers: CenterMethod | None = None
    search: float | None = None


class HitFinder:
    """Scores and verdict of frames of one run; what it takes from a sample of the run is found once.

    Parameters
    ----------
    frames : Frames
    settings : HitSettings, optional
    calibration : Calibration, optional
        Frames are corrected first.
    device : str or torch.device
    progress : bool
        Show a bar while the sample is read.

    Attributes
    ----------
    level : float or Tensor, (H, W)
    null : NullDistribution
        Of the score that decides.
    threshold : float
        A score above it is a hit.
    sampled : int
        Frames that these come from.

    Raises
    ------
    FrameError
        Frames that cannot be read, or not of the calibration's shape.
    ValueError
        If the settings leave no pixel, or the sample is too small to tell a distribution.
    """

    def __init__(
        self,
        frames: Frames,
        settings: HitSettings | None = None,
        calibration: Calibration | None = None,
        *,
        device: str | torch.device = "cpu",
        progress: bool = False,
    ) -> None:
        self.settings = settings or HitSettings()
        self.device = torch.device(device)
        self.calibration = None if calibration is None else masked(calibration, frames).to(device)
        mask = np.ones(frames.shape[1:], dtype=bool) if frames.mask is None else frames.mask
        self.good = torch.from_numpy(mask.copy()).to(device)
        if self.calibration is not None:
            self.good = self.good & self.calibration.good
        self.region = self.good & _annulus(frames.shape[1:], self.settings).to(device)
        if not bool(self.region.any()):
            raise ValueError(
                f"no pixel of {frames.shape[1]} x {frames.shape[2]} is good and {self.settings.r_min} (r_min) to "
                f"{self.settings.r_max} (r_max) pixels from the centre {self.settings.center or 'in the middle'}"
            )
        self._poisson = self._poisson_score()
        step = max(1, -(-len(frames) // max(1, self.settings.sample)))
        chosen = np.arange(0, len(frames), step)
        self.level = self._find_level(frames, chosen)
        scores = [self._scores(images) for _, images in batches(frames, chosen, "sampled frames", progress)]
        decisive = torch.cat([score[self.settings.score].double().cpu() for score in scores])
        self.sampled = len(decisive)
        self.null: NullDistribution = null_distribution(decisive, counts=self.settings.score == "lit")
        self.threshold = self.null.threshold(self.settings.false_positive_rate)

    def columns(self) -> list[RowDataset]:
        """The columns that a call gives."""
        names: dict[str, tuple[tuple[int, ...], str]] = {
            "lit_pixels": ((), "int32"),
            "total": ((), "float32"),
            "significance": ((), "float32"),
            "hit": ((), "uint8"),
        }
        if self._poisson is not None:
            names["poisson"] = ((), "float32")
        if self.settings.centers is not None:
            names |= {
                "center": ((2,), "float32"),
                "center_score": ((), "float32"),
                "center_uncertainty": ((2,), "float32"),
            }
        return [RowDataset(name, shape, dtype, path=f"{GROUP}/{name}") for name, (shape, dtype) in names.items()]

    def __call__(self, images: NDArray[Any], good: NDArray[np.bool_] | None = None) -> dict[str, ArrayLike]:
        """Rows of :meth:`columns` for raw frames (n, H, W), of which ``good`` (n, H, W) are good in each."""
        scores = self._scores(without_own_bad(images, good))
        decisive = scores[self.settings.score].double()
        hit = decisive > self.threshold
        rows = {
            "lit_pixels": scores["lit"],
            "total": scores["total"],
            "significance": self.null.significance(decisive),
            "hit": hit.to(torch.uint8),
        }
        if self._poisson is not None:
            rows["poisson"] = scores["poisson"]
        if self.settings.centers is not None:
            rows |= self._centers(scores["images"], scores["good"], hit)
        return {name: value.cpu().numpy() for name, value in rows.items()}

    def _scores(self, images: NDArray[Any]) -> dict[str, Tensor]:
        values, good, scale = self._correct(images)
        counts = good & self.region
        scores = {"images": values, "good": good, "lit": lit_pixels(values, self.level, counts)}
        scores["total"] = torch.where(counts, values, 0).sum(dim=(1, 2), dtype=torch.float64)
        if self._poisson is not None:
            if scale is not None:
                # `calibrate` has taken the background off: the photons themselves are what is counted.
                assert self.calibration is not None
                values = values + scale.nan_to_num(0.0)[:, None, None] * self.calibration.background_terms[0]
            scores["poisson"] = self._poisson(values, counts, scale)
        return scores

    def _correct(self, images: NDArray[Any]) -> tuple[Tensor, Tensor, Tensor | None]:
        """Values (float32 if calibrated), good pixels, and the background's scale."""
        raw = as_image_tensor(images).to(self.device)
        if self.calibration is None:
            values = raw.float()
            return values, values.isfinite() & self.good, None
        values, good, terms = calibrate(raw, self.calibration, return_terms=True)
        return values, good, terms.background_scale if self.calibration.background is not None else None

    def _poisson_score(self) -> PoissonScore | None:
        background = None if self.calibration is None else self.calibration.background
        if background is not None and self.calibration is not None and self.calibration.gain is not None:
            return PoissonScore(background.image, self.region)
        if self.settings.score == "poisson":
            raise ValueError(
                "score 'poisson' needs a calibration with gain and background; make the background from non-hits first"
            )
        return None

    def _find_level(self, frames: Frames, chosen: NDArray[np.int64]) -> float | Tensor:
        if self.settings.level is not None:
            return float(self.settings.level)
        if self.calibration is not None and self.calibration.noise is not None:
            return lit_level(self.calibration)
        few = chosen[:: max(1, len(chosen) // _LEVEL_FRAMES)][:_LEVEL_FRAMES]
        levels = []
        for _, images in batches(frames, few, "", False):
            if self.calibration is None:
                levels.append(typical_level(as_image_tensor(images).to(self.device), self.region))
            else:
                values, good, _ = self._correct(images)
                levels.append(typical_level(values, good & self.region))
        return float(np.median(levels))

    def _centers(self, values: Tensor, good: Tensor, hit: Tensor) -> dict[str, Tensor]:
        chosen = torch.nonzero(hit)[:, 0]
        count = len(values)
        rows = {
            "center": torch.full((count, 2), torch.nan),
            "center_score": torch.zeros(count),
            "center_uncertainty": torch.full((count, 2), torch.nan),
        }
        if len(chosen):
            method = friedel_center if self.settings.centers == "friedel" else ring_center
            found = method(values[chosen], good[chosen], guess=self.settings.center, search=self.settings.search)
            where = chosen.cpu()
            rows["center"][where] = found.center.float().cpu()
            rows["center_score"][where] = found.score.float().cpu()
            rows["center_uncertainty"][where] = found.uncertainty.float().cpu()
        return rows


def write_hits(
    frames: Frames,
    output: str | os.PathLike[str],
    settings: HitSettings | None = None,
    *,
    calibration: Calibration | None = None,
    device: str | torch.device = "cpu",
    batch: int | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Write for every frame whether it is a hit, and how sure that is, in stack order, keyed by event.

    The file's ``/entry_1/hits`` is a NeXus NXdata group: ``lit_pixels`` (N,) int32, ``total`` (N,) float32 (sum over
    the good pixels of the region), ``significance`` (N,) float32 (standard deviations of the score above the frames
    without a particle), ``hit`` (N,) uint8, with a background ``poisson`` (N,) float32, with ``centers`` also
    ``center`` (N, 2) float32 in (y, x) pixels, ``center_score`` and ``center_uncertainty``: NaN and 0 for frames that
    are no hits or whose centre was not found. Threshold, level and settings are attributes. An interrupted job
    continues when the same call is repeated.

    Parameters
    ----------
    frames : Frames
        Its mask is used.
    output : path
    settings : HitSettings, optional
    calibration : Calibration, optional
        Frames are corrected first.
    device : str or torch.device
        Where to compute.
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
        As `HitFinder`.
    """
    settings = settings or HitSettings()
    refuse_inputs(output, frames.input_paths)
    if final_path(output).exists() and not overwrite:
        # Before the sample is read.
        raise FileExistsError(f"{output}: exists already; remove it, choose another name, or pass overwrite=True")
    finder = HitFinder(frames, settings, calibration, device=device, progress=progress)
    chosen = {name: value if value is not None else "default" for name, value in asdict(settings).items()}
    level = finder.level.cpu().numpy() if isinstance(finder.level, Tensor) else np.float64(finder.level)
    parts = {"calibration": "none"} if calibration is None else calibration.fingerprint()
    return run_over_frames(
        frames,
        output,
        finder.columns(),
        finder,
        description="hits",
        fingerprint={
            **{f"hits {name}": value for name, value in asdict(settings).items()},
            "lit level": hashlib.sha256(level.tobytes()).hexdigest()[:16],
            **parts,
        },
        attrs={
            "/entry_1": {"NX_class": "NXentry", "default": "hits"},
            GROUP: nxdata(
                "significance",
                **chosen,
                threshold=finder.threshold,
                null_center=finder.null.center,
                null_spread=finder.null.spread,
                sampled_frames=finder.sampled,
            ),
        },
        constants={f"{GROUP}/lit_level": level},
        batch=batch,
        overwrite=overwrite,
        progress=progress,
    )


def summarize_hits(path: str | os.PathLike[str]) -> dict[str, str]:
    """What a file of `write_hits` says, for people to read.

    The threshold came from a sample; here it is told beside that of all frames, whose distribution may have changed in
    the course of the run.
    """
    with hdf5_faults(Path(path)), open_hdf5(Path(path)) as file:
        group = file[GROUP]
        numbers = ("threshold", "sampled_frames", "false_positive_rate")
        threshold, sampled, rate = (group.attrs[name].item() for name in numbers)
        hit = group["hit"][:] != 0
        score = "lit_pixels" if text_attribute(group, "score") == "lit" else "poisson"
        values = torch.from_numpy(group[score][:])
        names = [name for name in ("center", "center_score", "center_uncertainty") if name in group]
        found = {name: torch.from_numpy(group[name][:].astype(np.float64)) for name in names}
    whole = null_distribution(values, counts=score == "lit_pixels").threshold(rate)
    rows = {
        "hits": f"{int(hit.sum())} of {len(hit)} frames ({100 * hit.mean():.2f} %)",
        "expected by chance": f"{rate * len(hit):.3g} frames (at a false-positive rate of {rate:g})",
        "threshold": f"{threshold:.4g} {score.replace('_', ' ')}, from {sampled} frames; {whole:.4g} from all",
    }
    if found:
        everything = Centers(found["center"], found["center_score"], found["center_uncertainty"], found["center_score"])
        middle, error = combine_centers(everything)
        number = int(found["center"].isfinite().all(dim=1).sum())
        rows["centre (y, x)"] = (
            f"{middle[0]:.2f} ± {error[0]:.2f}, {middle[1]:.2f} ± {error[1]:.2f} pixels (median of {number} hits)"
            if number
            else "found for no hit"
        )
    return rows


def _annulus(shape: tuple[int, int], settings: HitSettings) -> Tensor:
    """Pixels between the two radii, ``(H, W)`` bool."""
    height, width = shape
    y0, x0 = settings.center or ((height - 1) / 2, (width - 1) / 2)
    y = torch.arange(height, dtype=torch.float64)[:, None] - y0
    x = torch.arange(width, dtype=torch.float64)[None, :] - x0
    radius = (y.square() + x.square()).sqrt()
    return (radius >= settings.r_min) & (radius <= (torch.inf if settings.r_max is None else settings.r_max))
