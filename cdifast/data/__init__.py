"""Frames in and out: `open_frames` reads, `write_cxi` and `CxiWriter` write, `RowFile` holds results.

Importing this package needs NumPy alone; h5py and hdf5plugin load when an HDF5 file is touched
(``pip install 'cdifast[data]'``).
"""

from .cxi_writer import FRAME_TYPES, STORED_TYPES, CxiWriter, write_cxi
from .errors import FrameError, MissingFileError
from .finite import check_finite
from .frames import Frames, open_frames
from .recognition import LAYOUTS
from .row_file import RowDataset, RowFile, nxdata

__all__ = [
    "FRAME_TYPES",
    "LAYOUTS",
    "STORED_TYPES",
    "CxiWriter",
    "FrameError",
    "Frames",
    "MissingFileError",
    "RowDataset",
    "RowFile",
    "check_finite",
    "nxdata",
    "open_frames",
    "write_cxi",
]
