"""Jobs over whole runs of frames: each writes one file, shows its progress, and resumes where it was interrupted."""

from .calibrated import write_calibrated
from .convert import convert_frames
from .darks import dark_file_calibration, measure_background, measure_darks, read_misses
from .explainer import Explainer, Explanation, explain_frames
from .explanations import write_explanations
from .hits import HitFinder, HitSettings, summarize_hits, write_hits
from .maps import MapMaker, MapSettings, unwrapped_and_maps, write_maps
from .predictions import write_predictions
from .shots import write_shots

__all__ = [
    "Explainer",
    "Explanation",
    "HitFinder",
    "HitSettings",
    "MapMaker",
    "MapSettings",
    "convert_frames",
    "dark_file_calibration",
    "explain_frames",
    "measure_background",
    "measure_darks",
    "read_misses",
    "summarize_hits",
    "unwrapped_and_maps",
    "write_calibrated",
    "write_explanations",
    "write_hits",
    "write_maps",
    "write_predictions",
    "write_shots",
]
