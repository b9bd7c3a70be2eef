"""Jobs over whole runs of frames: each writes one file, shows its progress, and resumes where it was interrupted."""

from .calibrated import write_calibrated
from .convert import convert_frames
from .darks import dark_file_calibration, measure_background, measure_darks, read_misses
from .explainer import Explainer, Explanation, explain_frames
from .explanations import write_explanations
from .hits import HitFinder, HitSettings, summarize_hits, write_hits
from .label_sheet import LabelSheet, predictions_for_sheet, write_label_sheet
from .maps import MapMaker, MapSettings, unwrapped_and_maps, write_maps
from .prediction_files import Predictions, read_predictions, write_prediction_table
from .predictions import write_predictions
from .shots import write_shots

__all__ = [
    "Explainer",
    "Explanation",
    "HitFinder",
    "HitSettings",
    "LabelSheet",
    "MapMaker",
    "MapSettings",
    "Predictions",
    "convert_frames",
    "dark_file_calibration",
    "explain_frames",
    "measure_background",
    "measure_darks",
    "predictions_for_sheet",
    "read_misses",
    "read_predictions",
    "summarize_hits",
    "unwrapped_and_maps",
    "write_calibrated",
    "write_explanations",
    "write_hits",
    "write_label_sheet",
    "write_maps",
    "write_prediction_table",
    "write_predictions",
    "write_shots",
]
