"""Frames in and out: `open_frames` reads, `write_cxi` and `CxiWriter` write, `RowFile` holds results, `FrameLoader`
makes batches of network input.

h5py and hdf5plugin load when an HDF5 file is touched (``pip install 'cdifast[data]'``), NVIDIA DALI when its backend is
asked for (``pip install 'cdifast[dali]'``).
"""

from .augment import Augmentation
from .cxi_writer import FRAME_TYPES, STORED_TYPES, CxiWriter, write_cxi
from .dataset import FrameDataset
from .errors import FrameError, MissingFileError
from .finite import check_finite
from .frames import Frames, open_frames
from .label_table import LabelTable, read_label_table, write_label_table
from .loader import FrameBatch, FrameLoader
from .map_input import MapPreparation
from .order import FrameOrder
from .pipeline import FramePipeline
from .prepare import InputPreparation, Preparation, prepare_batch, prepare_frames
from .reading import SkippedFrame
from .recognition import LAYOUTS
from .row_file import RowDataset, RowFile, nxdata

__all__ = [
    "FRAME_TYPES",
    "LAYOUTS",
    "STORED_TYPES",
    "Augmentation",
    "CxiWriter",
    "FrameBatch",
    "FrameDataset",
    "FrameError",
    "FrameLoader",
    "FrameOrder",
    "FramePipeline",
    "Frames",
    "InputPreparation",
    "LabelTable",
    "MapPreparation",
    "MissingFileError",
    "Preparation",
    "RowDataset",
    "RowFile",
    "SkippedFrame",
    "check_finite",
    "nxdata",
    "open_frames",
    "prepare_batch",
    "prepare_frames",
    "read_label_table",
    "write_cxi",
    "write_label_table",
]
