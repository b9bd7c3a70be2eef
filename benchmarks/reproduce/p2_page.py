"""The results of paper 2's experiments as a page: P2's numbers in the neighbouring columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reproduce.cells import read_cell
from benchmarks.reproduce.p2_methods import CONTRASTIVE, DIRECT, DIRECT_NULLS, EMBEDDINGS, MethodCell, Scale
from benchmarks.reproduce.p2_numbers import CLASS_COUNTS, TABLE1, TABLE2
from benchmarks.reproduce.page import header, row, spread
from cdifast.evaluate.null_shots import NULLS

BEST = "CPLR detector-unwrapped"


def results(folder: Path, scale: Scale) -> dict[str, list[dict[str, Any]]]:
    """Rows of each method, by seed."""
    found = {}
    for method in (*EMBEDDINGS, *DIRECT):
        rows = (read_cell(folder, MethodCell(method, seed), scale) for seed in range(scale.seeds))
        found[method] = [entry for entry in rows if entry is not None]
    return found


def page(folder: Path, scale: Scale, machine: str) -> str:
    """The whole page."""
    found = results(folder, scale)
    images = max((entry["images"] for rows in found.values() for entry in rows), default=0)
    lines = [
        "# Paper 2, reproduced",
        "",
        "Written by `python -m benchmarks.reproduce.p2`; read with [docs/paper2.md](../../../docs/paper2.md).",
        "",
        f"{machine}. {images} shots that are neither round nor empty, out of {scale.shots} simulated ones of the "
        f"preset `helium`, {scale.frame} x {scale.frame} pixels, {scale.size} x {scale.size} seen by all methods. "
        f"Contrastive: encoder `{scale.encoder}`, {scale.epochs} epochs, batch {scale.batch_size}, {scale.seeds} "
        "seeds. Mean ± standard deviation over seeds (of training where there is one, else of the linear evaluation). "
        "P2's numbers are those of real data, its encoder a ResNet50 of width 2, 1000 epochs.",
        "",
    ]
    lines += _table1(found) + _figures(folder) + _table2(found) + _nulls(found, scale) + _training(found)
    return "\n".join(lines).rstrip() + "\n"


def _table1(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    lines = [
        "## Table 1",
        "",
        *header(["", "precision", "P2", "recall", "P2", "measure", "overlap", "P2", "F1 of 13 nearest"]),
    ]
    for method, rows in found.items():
        printed = TABLE1.get(method)
        measures = list(rows[0]["overlap"]) if rows else list(printed.overlap) if printed else [""]
        for number, measure in enumerate(measures):
            linear = ["", "", "", ""]
            if number == 0 and method not in DIRECT:
                linear = [
                    _linear(rows, "precision"),
                    _printed(printed and printed.precision),
                    _linear(rows, "recall"),
                    _printed(printed and printed.recall),
                ]
            overlap = spread(entry["overlap"][measure]["macro"] for entry in rows) if rows else ""
            vote = spread(_f1(entry["vote"][measure]) for entry in rows) if rows else ""
            theirs = _printed(printed.overlap.get(measure)) if printed else ""
            lines.append(row([method if number == 0 else "", *linear, measure, overlap, theirs, vote]))
    return [*lines, ""]


def _figures(folder: Path) -> list[str]:
    captions = {
        "figure3.png": "P2's figure 3: three shots, drawn at random, and the four nearest of each, with the overlap of "
        "their labels.",
        "figure1.png": "P2's figure 1: which two of three shots are alike? Distances in units of the median of all.",
    }
    there = {name: caption for name, caption in captions.items() if (folder / name).is_file()}
    return [line for name, caption in there.items() for line in (f"![{caption}]({name})", "", caption, "")]


def _table2(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    lines = ["## Table 2: class by class", "", "Precision, recall and overlap; P2's in brackets.", ""]
    lines += header(["", "images (P2)", *TABLE2])
    for name, count in CLASS_COUNTS.items():
        support = next(
            (r[0]["linear"]["per_class"][name]["support"] for m, r in found.items() if m in TABLE2 and r), ""
        )
        cells = []
        for method, classes in TABLE2.items():
            rows = found[method]
            own = [
                _mean(entry["linear"]["per_class"][name]["precision"] for entry in rows),
                _mean(entry["linear"]["per_class"][name]["recall"] for entry in rows),
                _mean(next(iter(entry["overlap"].values()))["per_class"][name]["overlap"] for entry in rows),
            ]
            cells.append(", ".join(own) + f" ({', '.join(f'{value:.2f}' for value in classes[name])})" if rows else "")
        lines.append(row([name, f"{support} ({count})", *cells]))
    return [*lines, ""]


def _nulls(found: dict[str, list[dict[str, Any]]], scale: Scale) -> list[str]:
    lines = [
        "## Physics nulls",
        "",
        f"{scale.nulls} shots simulated again under one changed condition, each sought among the originals (of "
        f"{', '.join(DIRECT)}, which are slow, {max(scale.nulls // DIRECT_NULLS, 1)} shots): share that "
        "finds its own original first, and (median distance to it over the median distance to the others). *repeat*: "
        "nothing changes but the photons. Friedel: the mate of a wide-angle pattern is not the pattern itself.",
        "",
        *header(["", *NULLS]),
    ]
    for method, rows in found.items():
        if rows and rows[0]["nulls"]:
            cells = [
                f"{_mean(entry['nulls'][null]['recall_at_1'] for entry in rows)} "
                f"({_mean(entry['nulls'][null]['relative_distance'] for entry in rows)})"
                for null in NULLS
            ]
            lines.append(row([method, *cells]))
    return [*lines, ""]


def _training(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    lines = ["## Did the trainings collapse?", "", "Monitors after the last epoch, mean over seeds.", ""]
    lines += header(["", "loss", "alignment", "uniformity", "effective rank"])
    for method in CONTRASTIVE:
        last = [entry["settings"]["last"] for entry in found[method]]
        if last:
            names = ("train_loss", "alignment", "uniformity", "effective_rank")
            lines.append(row([method, *(_mean(entry.get(name) for entry in last) for name in names)]))
    return [*lines, ""]


def _linear(rows: Sequence[dict[str, Any]], name: str) -> str:
    if len(rows) == 1 and rows[0]["linear"][f"{name}_spread"] is not None:
        return f"{rows[0]['linear'][name]:.3f} ± {rows[0]['linear'][f'{name}_spread']:.3f}"
    return spread(entry["linear"][name] for entry in rows)


def _f1(vote: dict[str, Any]) -> float | None:
    precision, recall = vote["precision"], vote["recall"]
    if precision is None or recall is None:
        return None
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _printed(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _mean(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.2f}" if known else "n/a"
