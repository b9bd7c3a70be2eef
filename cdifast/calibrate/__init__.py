"""From raw detector frames to photons, and from those to centres and hits: batched, on CPU and CUDA.

- :func:`calibrate` corrects frames with a :class:`Calibration`; :class:`PixelStatistics` and :func:`dark_calibration`
  make one from dark frames, and :func:`save_calibration` keeps it.
- :func:`friedel_center` and :func:`ring_center` find the beam's centre, :func:`combine_centers` that of a run.
- :func:`lit_pixels`, :func:`null_distribution` and :class:`PoissonScore` tell hits from misses.
"""

from .background import Background
from .calibration import Calibration
from .calibration_file import load_calibration, save_calibration
from .centers import Centers, combine_centers
from .common_mode import CommonMode
from .correct import CorrectionTerms, calibrate
from .darks import BadPixelRules, DarkResult, dark_calibration
from .friedel import friedel_center
from .groups import pixel_groups
from .hits import NullDistribution, lit_level, lit_pixels, null_distribution, typical_level
from .poisson import PoissonScore
from .rings import ring_center
from .statistics import PixelMoments, PixelStatistics

__all__ = [
    "Background",
    "BadPixelRules",
    "Calibration",
    "Centers",
    "CommonMode",
    "CorrectionTerms",
    "DarkResult",
    "NullDistribution",
    "PixelMoments",
    "PixelStatistics",
    "PoissonScore",
    "calibrate",
    "combine_centers",
    "dark_calibration",
    "friedel_center",
    "lit_level",
    "lit_pixels",
    "load_calibration",
    "null_distribution",
    "pixel_groups",
    "ring_center",
    "save_calibration",
    "typical_level",
]
