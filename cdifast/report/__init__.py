"""The report of a classification job: comparison with baselines, figures, and the page that holds them.

matplotlib loads when a figure is drawn (``pip install 'cdifast[eval]'``).
"""

from .comparison import Comparison, Estimate, Method, compare
from .explanation import draw_explanations
from .machine import describe_machine, describe_versions
from .page import Report, render, verdict

__all__ = [
    "Comparison",
    "Estimate",
    "Method",
    "Report",
    "compare",
    "describe_machine",
    "describe_versions",
    "draw_explanations",
    "render",
    "verdict",
]
