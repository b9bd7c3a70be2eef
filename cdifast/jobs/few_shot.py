"""A classifier from a handful of labels on top of embeddings, and its labels for the whole run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdifast.data import FrameError, RowDataset, RowFile, nxdata
from cdifast.evaluate import rule_violations
from cdifast.search import Index

from .prediction_files import GROUP, rule_names
from .rows import refuse_inputs

_BLOCK: Final = 8192
_THRESHOLD: Final = 0.5


class FewShotClassifier:
    """Logistic regression on standardised embeddings, one for each class (scikit-learn).

    Mean and spread come from all embeddings, labelled or not: a handful of labelled ones would say little about them.
    A class that all labelled shots have, or none, cannot be learnt; every shot then gets the probability
    ``(positive + 1) / (labelled + 2)`` (Laplace's rule of succession).

    Parameters
    ----------
    strength
        Inverse of the weights' penalty, scikit-learn's ``C``.

    Attributes
    ----------
    learnt : tuple of bool
        Which classes could be learnt.
    """

    def __init__(self, strength: float = 1.0) -> None:
        if not strength > 0:
            raise ValueError(f"strength: found {strength}, expected a positive number")
        self.strength = strength
        self.learnt: tuple[bool, ...] = ()

    def fit(self, embeddings: ArrayLike, labels: ArrayLike, mean: ArrayLike, spread: ArrayLike) -> FewShotClassifier:
        """Learn from labelled embeddings.

        Parameters
        ----------
        embeddings
            (n, d) of the labelled shots.
        labels
            (n, C) of 0 and 1.
        mean, spread
            (d,) of all embeddings; where the spread is 0, an entry says nothing and is left out.
        """
        try:
            from sklearn.linear_model import LogisticRegression
        except ImportError as error:
            raise ImportError("few-shot labels need scikit-learn: pip install 'cdifast[eval]'") from error
        self._mean = np.asarray(mean, np.float64)
        spread = np.asarray(spread, np.float64)
        self._scale = np.divide(1, spread, out=np.zeros_like(spread), where=spread > 0)
        rows = self._standardised(embeddings)
        known = np.asarray(labels)
        if known.ndim != 2 or len(known) != len(rows):
            raise ValueError(f"labels: found shape {known.shape} for {len(rows)} embeddings, expected ({len(rows)}, C)")
        self._models: list[Any] = []
        self._constant = (known.sum(axis=0) + 1) / (len(known) + 2)
        for column in known.T:
            if 0 < column.sum() < len(column):
                model = LogisticRegression(C=self.strength, max_iter=2000)
                self._models.append(model.fit(rows, column))
            else:
                self._models.append(None)
        self.learnt = tuple(model is not None for model in self._models)
        return self

    def probabilities(self, embeddings: ArrayLike) -> NDArray[np.float32]:
        """Probability of each class, (n, C) float32, for embeddings (n, d)."""
        rows = self._standardised(embeddings)
        columns = [
            np.full(len(rows), constant) if model is None else model.predict_proba(rows)[:, 1]
            for model, constant in zip(self._models, self._constant, strict=True)
        ]
        return np.stack(columns, axis=1).astype(np.float32)

    def _standardised(self, embeddings: ArrayLike) -> NDArray[np.float64]:
        return (np.asarray(embeddings, np.float64) - self._mean) * self._scale


def write_few_shot(
    embeddings: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    indices: ArrayLike,
    labels: ArrayLike,
    classes: Sequence[str],
    output: str | os.PathLike[str],
    *,
    strength: float = 1.0,
    overwrite: bool = False,
) -> tuple[Path, tuple[str, ...]]:
    """Learn from a few labelled shots and label all of them, from their embeddings alone.

    The file is laid out as :func:`cdifast.jobs.write_predictions` lays out a network's: ``probability``, ``label``
    (probability at least 0.5), ``broken_rules`` and ``rule_broken`` below ``/entry_1/predictions``, keyed by event;
    also ``given`` (N,) uint8, 1 where a label was given. The given shots keep what the classifier says of them.

    Parameters
    ----------
    embeddings : path or sequence of path
        As :class:`cdifast.search.Index`.
    indices : array_like
        (n,) rows of the labelled shots.
    labels : array_like
        (n, C) of 0 and 1.
    classes : sequence of str
        Their C names.
    output : path
    strength : float
        As `FewShotClassifier`.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    path : Path
        The file.
    unlearnt : tuple of str
        Classes that all labelled shots have, or none of them.

    Raises
    ------
    ValueError
        Shapes that do not fit, or rows that are not there.
    FrameError
        Files that are no embedding files, or an ``output`` that is one of them.
    FileExistsError
        If ``output`` exists and ``overwrite`` is False.
    """
    chosen = np.asarray(indices)
    known = np.asarray(labels)
    if known.ndim != 2 or known.shape != (len(chosen), len(classes)):
        raise ValueError(f"labels: found shape {known.shape}, expected {(len(chosen), len(classes))}")
    with Index(embeddings) as index:
        refuse_inputs(output, index.paths)
        count = len(index)
        mean, spread = _moments(index)
        model = FewShotClassifier(strength).fit(index.rows(chosen), known, mean, spread)
        given = np.zeros(count, np.uint8)
        given[chosen] = 1
        group, rules = GROUP, rule_names(classes)
        events = index.events()
        digest = hashlib.sha256(chosen.astype(np.int64).tobytes() + known.astype(np.uint8).tobytes()).hexdigest()
        with RowFile.open_or_resume(
            output,
            count,
            [
                *(
                    RowDataset(f"event_{key}", (), each.dtype, path=f"/entry_1/events/{key}")
                    for key, each in events.items()
                ),
                RowDataset("probability", (len(classes),), "float32", path=f"{group}/probability"),
                RowDataset("label", (len(classes),), "uint8", path=f"{group}/label"),
                RowDataset("broken_rules", (), "uint8", path=f"{group}/broken_rules"),
                RowDataset("given", (), "uint8", path=f"{group}/given"),
                *([RowDataset("rule_broken", (len(rules),), "uint8", path=f"{group}/rule_broken")] if rules else []),
            ],
            fingerprint={"embeddings": [os.fspath(path) for path in index.paths], "labels sha256": digest},
            attrs={
                "/": {"NX_class": "NXroot", "default": "entry_1"},
                "/entry_1": {"NX_class": "NXentry", "default": "predictions"},
                "/entry_1/events": {"NX_class": "NXcollection"},
                group: nxdata(
                    "probability",
                    classes=list(classes),
                    thresholds=[_THRESHOLD] * len(classes),
                    **({"rules": rules} if rules else {}),
                    weights=index.weights,
                    weights_sha256=index.weights_sha256,
                    embeddings=[os.fspath(path) for path in index.paths],
                    labelled=len(chosen),
                    labels_sha256=digest,
                    strength=strength,
                ),
            },
            constants={"/entry_1/events/paths": index.event_paths()},
            overwrite=overwrite,
            resume=False,  # it takes seconds
        ) as file:
            for start, rows in index.blocks(_BLOCK):
                part = slice(start, start + len(rows))
                probability = model.probabilities(rows)
                label = (probability >= _THRESHOLD).astype(np.uint8)
                broken = rule_violations(label, classes).matrix
                file.write(
                    start,
                    probability=probability,
                    label=label,
                    broken_rules=broken.sum(axis=1, dtype=np.uint8),
                    given=given[part],
                    **{f"event_{key}": values[part] for key, values in events.items()},
                    **({"rule_broken": broken} if rules else {}),
                )
            path = file.finish()
    return path, tuple(name for name, learnt in zip(classes, model.learnt, strict=True) if not learnt)


def _moments(index: Index) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (d,) of all embeddings, block by block (Chan et al. 1979)."""
    done = 0
    mean = np.zeros(index.dimension)
    squares = np.zeros(index.dimension)
    for _, rows in index.blocks(_BLOCK):
        values = rows.astype(np.float64)
        shift = values.mean(axis=0) - mean
        total = done + len(values)
        squares += ((values - values.mean(axis=0)) ** 2).sum(axis=0) + shift**2 * (done * len(values) / total)
        mean += shift * (len(values) / total)
        done = total
    if not np.isfinite(squares).all():
        raise FrameError("found NaN or infinite embeddings; expected finite numbers", path=index.paths[0])
    spread = np.sqrt(squares / done)
    # What a constant feature leaves is rounding.
    return mean, np.where(spread > 1e-7 * np.abs(mean), spread, 0)
