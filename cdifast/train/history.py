"""What a training run writes down after each epoch."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from cdifast._atomic import write_text_whole

HISTORY = ("history.csv", "history.json")


@dataclass(frozen=True)
class EpochRecord:
    """One epoch; None where nothing was measured.

    Attributes
    ----------
    epoch
        Counted from 1.
    learning_rate
        Of the epoch's last step.
    train_loss, train_cross_entropy
        Means over the epoch's steps, with and without the penalty; the cross-entropy as it is minimised, with the
        weights of the positive labels if there are any.
    validation_cross_entropy
        Mean over the labels of the validation split.
    accuracy, precision, recall
        Pooled over all labels of the validation split (P1), threshold 0.5.
    violations_per_image
        Exclusion rules that the predictions break, per image.
    seconds
        Wall time of the epoch; interruptions do not count.
    stopped_early
        Whether the run ended here because its patience was at an end.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    train_cross_entropy: float
    validation_cross_entropy: float | None
    accuracy: float | None
    precision: float | None
    recall: float | None
    violations_per_image: float | None
    seconds: float
    stopped_early: bool = False


def write_history(folder: Path, history: Sequence[EpochRecord]) -> None:
    """Write ``history.csv`` and ``history.json`` into a folder, each whole or not at all."""
    table = io.StringIO()
    writer = csv.DictWriter(table, [entry.name for entry in fields(EpochRecord)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(record) for record in history)
    csv_name, json_name = HISTORY
    write_text_whole(folder / csv_name, table.getvalue())
    write_text_whole(folder / json_name, json.dumps([asdict(record) for record in history], indent=1))


def metric_maxima(history: Sequence[EpochRecord]) -> dict[str, tuple[float, int]]:
    """Each metric's own maximum over the run and the first epoch that reached it, as P1's tables give it.

    The maxima of different metrics belong to different epochs, hence to no single network; the values at
    the best epoch are what a user gets.

    Returns
    -------
    dict
        ``accuracy``, ``precision`` and ``recall`` to (value, epoch); a metric never measured is missing.
    """
    maxima: dict[str, tuple[float, int]] = {}
    for record in history:
        for name in ("accuracy", "precision", "recall"):
            value = getattr(record, name)
            if value is not None and (name not in maxima or value > maxima[name][0]):
                maxima[name] = (value, record.epoch)
    return maxima


def out_of_patience(history: Sequence[EpochRecord], patience: int, watched: str) -> bool:
    """Whether the last validations brought nothing better: a function of the history alone, so that it needs no state.

    Parameters
    ----------
    history
        Records of all epochs so far; those without a validation do not count.
    patience
        Validations in a row without a new best that are one too many; 0: endless patience.
    watched
        ``"accuracy"`` or ``"cross-entropy"`` of the validation split.
    """
    if watched == "accuracy":
        values = [-record.accuracy for record in history if record.accuracy is not None]
    else:
        values = [r.validation_cross_entropy for r in history if r.validation_cross_entropy is not None]
    if not patience or not values:
        return False
    return len(values) - 1 - values.index(min(values)) >= patience
