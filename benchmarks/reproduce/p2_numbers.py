"""What paper 2 printed: tables 1 and 2."""

from __future__ import annotations

from typing import Final, NamedTuple


class Score(NamedTuple):
    """Precision and recall of the linear evaluation (None for direct measures), and overlap by distance."""

    precision: float | None
    recall: float | None
    overlap: dict[str, float]


TABLE1: Final[dict[str, Score]] = {
    "CLR detector-detector": Score(0.49, 0.50, {"cosine": 0.49}),
    "CLR unwrapped-unwrapped": Score(0.49, 0.48, {"cosine": 0.43}),
    "CPLR unwrapped-detector": Score(0.51, 0.54, {"cosine": 0.52}),
    "CPLR detector-unwrapped": Score(0.52, 0.55, {"cosine": 0.52}),
    "factor analysis": Score(0.28, 0.35, {"euclidean": 0.28}),
    "PCA": Score(0.29, 0.35, {"euclidean": 0.40, "correlation": 0.43}),
    "kernel PCA": Score(0.28, 0.35, {"euclidean": 0.43, "correlation": 0.40}),
    "UMAP": Score(0.30, 0.31, {"euclidean": 0.41}),
    "VAE": Score(0.34, 0.35, {"wasserstein": 0.42}),
    "uniform noise": Score(0.23, 0.27, {"euclidean": 0.28}),
    "SSIM": Score(None, None, {"own": 0.37}),
    "CW-SSIM": Score(None, None, {"own": 0.36}),
    "SIFT": Score(None, None, {"own": 0.32}),
}
"""Table 1 by our names: P2's "polar" is the detector view, its "Cartesian" the unwrapped one."""

TABLE2: Final[dict[str, dict[str, tuple[float, float, float]]]] = {
    "CPLR detector-unwrapped": {
        "Elliptical": (0.79, 0.77, 0.65),
        "Streak": (0.91, 0.90, 0.66),
        "Bent": (0.51, 0.53, 0.48),
        "Asymmetric": (0.42, 0.38, 0.55),
        "Newton rings": (0.32, 0.34, 0.51),
        "Double rings": (0.34, 0.40, 0.45),
        "Layered": (0.37, 0.37, 0.33),
    },
    "CLR detector-detector": {
        "Elliptical": (0.78, 0.77, 0.65),
        "Streak": (0.89, 0.86, 0.67),
        "Bent": (0.51, 0.51, 0.49),
        "Asymmetric": (0.38, 0.40, 0.55),
        "Newton rings": (0.24, 0.25, 0.48),
        "Double rings": (0.34, 0.40, 0.43),
        "Layered": (0.31, 0.32, 0.30),
    },
    "VAE": {
        "Elliptical": (0.71, 0.71, 0.66),
        "Streak": (0.83, 0.72, 0.61),
        "Bent": (0.40, 0.50, 0.44),
        "Asymmetric": (0.33, 0.33, 0.56),
        "Newton rings": (0.06, 0.04, 0.48),
        "Double rings": (0.05, 0.04, 0.43),
        "Layered": (0.02, 0.09, 0.26),
    },
    "kernel PCA": {
        "Elliptical": (0.68, 0.64, 0.61),
        "Streak": (0.46, 0.47, 0.57),
        "Bent": (0.35, 0.41, 0.41),
        "Asymmetric": (0.29, 0.37, 0.52),
        "Newton rings": (0.09, 0.21, 0.44),
        "Double rings": (0.06, 0.22, 0.41),
        "Layered": (0.08, 0.25, 0.29),
    },
}
"""Table 2: precision, recall, overlap of each class."""

CLASS_COUNTS: Final = {
    "Elliptical": 793,
    "Streak": 228,
    "Bent": 367,
    "Asymmetric": 358,
    "Newton rings": 78,
    "Double rings": 38,
    "Layered": 27,
}
"""Images of each class among P2's 1261."""
