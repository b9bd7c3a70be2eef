"""The classifiers without a network, on the very splits of the trainings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.reproduce.p1_data import Dataset, network_inputs
from benchmarks.reproduce.p1_trainings import Scale, counts_of, split_for
from cdifast.evaluate import (
    AllNegative,
    Majority,
    ProfileRegression,
    SpectralClusters,
    SupportVectorMachine,
    classification_metrics,
)

BASELINES: Final[dict[str, Callable[[int], Any]]] = {
    "all-negative": lambda seed: AllNegative(),
    "majority": lambda seed: Majority(),
    "logistic regression": lambda seed: ProfileRegression(),
    "spectral clustering": lambda seed: SpectralClusters(seed=seed),
    "support-vector machine": lambda seed: SupportVectorMachine(seed=seed),
}
"""By name; made with a seed."""

STRONGEST: Final = "support-vector machine"


@dataclass(frozen=True)
class BaselineCell:
    """A baseline on the helium images without noise."""

    dataset: Dataset = "helium"
    baseline: str = "majority"
    seed: int = 0

    @property
    def name(self) -> str:
        return f"{self.dataset}-{self.baseline.replace(' ', '-')}-s{self.seed}"


def baseline_cell(cell: BaselineCell, scale: Scale, data: Mapping[Dataset, Sequence[Path]]) -> dict[str, Any]:
    """Fit one baseline and measure it."""
    inputs = network_inputs(data[cell.dataset], cell.dataset, size=scale.size)
    split = split_for(len(inputs.images), cell.seed)
    baseline = BASELINES[cell.baseline](cell.seed).fit(inputs.images[split.train], inputs.labels[split.train])
    predictions = baseline.predict(inputs.images[split.validation])
    truth = inputs.labels[split.validation]
    return {
        "best": classification_metrics(truth, predictions, inputs.classes).to_dict(),
        "counts": counts_of(truth, predictions),
    }
