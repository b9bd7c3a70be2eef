"""Jobs over whole runs of frames: each writes one file, shows its progress, and resumes where it was interrupted."""

from .convert import convert_frames
from .maps import MapMaker, MapSettings, unwrapped_and_maps, write_maps
from .predictions import write_predictions
from .shots import write_shots

__all__ = [
    "MapMaker",
    "MapSettings",
    "convert_frames",
    "unwrapped_and_maps",
    "write_maps",
    "write_predictions",
    "write_shots",
]
