"""The results of paper 1's experiments as a page: P1's numbers in the neighbouring columns."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.reproduce.cells import read_cell
from benchmarks.reproduce.p1_baselines import BASELINES, STRONGEST, BaselineCell
from benchmarks.reproduce.p1_claims import Difference, difference, time_to_reach
from benchmarks.reproduce.p1_data import FINENESS, Kind
from benchmarks.reproduce.p1_numbers import FINER_LEVELS, TABLE5, TABLE10, TABLE10_NETWORK, TABLES, Table
from benchmarks.reproduce.p1_trainings import METRICS, Scale, Training, with_seeds
from benchmarks.reproduce.page import header, row, spread
from cdifast.labels import CLASSES
from cdifast.simulate.cxidb10 import SPECIES
from cdifast.simulate.noise import LEVELS

LOG, PLAIN = Training(), Training(first="none")
FULL, FAST = Training(recipe="p1-full", share=0), Training(recipe="fast", share=0)

_REDUCTIONS: Final[dict[Kind, str]] = {"images": "average", "points": "interpolate"}


@dataclass(frozen=True)
class Results:
    """The cells of a study that have been computed."""

    folder: Path
    scale: Scale

    def of(self, training: Training) -> list[dict[str, Any]]:
        """Results of a training's seeds, those that are there from the first one on."""
        found = []
        for cell in with_seeds(training, self.scale):
            result = read_cell(self.folder, cell, self.scale)
            if result is None:
                break
            found.append(result)
        return found

    def of_baseline(self, name: str) -> list[dict[str, Any]]:
        """The same of a baseline."""
        cells = (BaselineCell(baseline=name, seed=seed) for seed in range(self.scale.seeds))
        results = (read_cell(self.folder, cell, self.scale) for cell in cells)
        return [result for result in results if result is not None]

    def compare(self, first: Training, second: Training, metric: str = "accuracy") -> Difference | None:
        """First less second over the seeds that both have; None without any."""
        a, b = self.of(first), self.of(second)
        seeds = min(len(a), len(b))
        classes = len(SPECIES if first.dataset == "cxidb10" else CLASSES)
        return difference(a[:seeds], b[:seeds], metric, classes) if seeds else None


def page(results: Results, machine: str) -> str:
    """The whole page."""
    scale = results.scale
    lines = [
        "# Paper 1, reproduced",
        "",
        "Written by `python -m benchmarks.reproduce.p1`; read with [docs/paper1.md](../../../docs/paper1.md).",
        "",
        f"{machine}. {scale.shots} simulated shots of each data set, {scale.frame} x {scale.frame} pixels, "
        f"{scale.size} x {scale.size} seen by the networks, presets `{scale.preset}` and `cxidb10`; 85 % trained on, "
        f"recipe `{scale.recipe}` over {scale.epochs} epochs with P1's changes of the images (flips, brightness, "
        f"contrast); up to {scale.seeds} seeds (split, weights, order, augmentation). Factors on channels: "
        + ", ".join(f"{name} {width:g}" for name, width in scale.widths.items())
        + ".",
        "",
        "Ours is mean ± standard deviation over the seeds. As in P1's tables, each metric is its own maximum over the "
        "training, on the validation images; *at best* is that of the network with the highest accuracy, which is what "
        "a user gets. Times are seconds of training to the highest accuracy and in full (on a CPU, of one core), P1's "
        "are hours. P1's numbers are those of real data. Where ours is missing, it has not been computed yet.",
        "",
    ]
    for table in TABLES.values():
        lines += _table(results, table)
    lines += _per_class(results) + _baselines(results) + _recipes(results) + _claims(results)
    return "\n".join(lines).rstrip() + "\n"


def _table(results: Results, table: Table) -> list[str]:
    timed = any(line.hours for line in table.rows)
    columns = ["", "accuracy", "P1", "precision", "P1", "at best", "recall", "P1", "at best"]
    if timed:
        columns += ["s to best", "s in full", "P1: h to best", "h in full"]
    lines = [f"## {table.title}", "", *_explained(table, results.scale), *header(columns)]
    for line in table.rows:
        found = results.of(line.training)
        cells = [line.label]
        for metric, printed in zip(METRICS, line.metrics, strict=True):
            cells += [spread(result["maxima"][metric] for result in found), f"{printed:.3f}"]
            if metric != "accuracy":
                cells.append(spread(result["best"][metric] for result in found))
        if timed:
            cells += [_seconds(found, best=True), _seconds(found, best=False)]
            cells += [f"{hours:.3f}" for hours in line.hours or ()]
        lines.append(row(cells))
    return [*lines, ""]


def _explained(table: Table, scale: Scale) -> list[str]:
    if table.key == "turned":
        return [
            f"The recipe `fast` as it is, over {scale.fast_epochs} epochs. The features of the support-vector machine "
            "do not depend on how a pattern lies; trained like this, the networks too know that it does not matter.",
            "",
        ]
    if table.key != "table6-fine":
        return []
    side = FINENESS * scale.size
    return [
        f"Frames of {side} x {side} pixels become images of {scale.size} x {scale.size} in two ways: each the mean of "
        f"the {FINENESS} x {FINENESS} pixels in its place, as everywhere else on this page, or interpolated between "
        "four pixels, which leaves the others out. Maps are computed at full resolution and averaged. P1 does not say "
        "how its frames were reduced.",
        "",
    ]


def _per_class(results: Results) -> list[str]:
    found = results.of(TABLE10_NETWORK)
    lines = ["## Table 10: ResNet101 class by class", "", "Ours at the highest accuracy, P1's each at its maximum.", ""]
    lines += header(["", "accuracy", "P1", "precision", "P1", "recall", "P1", "images", "P1"])
    for name, (*printed, images) in TABLE10.items():
        entries = [next(e for e in result["best"]["per_class"] if e["name"] == name) for result in found]
        cells = [name]
        for metric, value in zip(METRICS, printed, strict=True):
            cells += [spread(entry[metric] for entry in entries), f"{value:.3f}"]
        cells += [f"{np.mean([e['support'] for e in entries]):.0f}" if entries else "", str(images)]
        lines.append(row(cells))
    return [*lines, ""]


def _baselines(results: Results) -> list[str]:
    lines = ["## Baselines, on the same splits", "", *header(["", *METRICS, "rules broken per image"])]
    rows: dict[str, list[dict[str, Any]]] = {name: results.of_baseline(name) for name in BASELINES}
    rows |= {"ResNet18, as it is": results.of(PLAIN), "ResNet18, log activation": results.of(LOG)}
    for name, found in rows.items():
        cells = [spread(result["best"][metric] for result in found) for metric in METRICS]
        lines.append(row([name, *cells, spread(result["best"]["violations_per_image"] for result in found)]))
    return [
        *lines,
        "",
        "P1 has no such table; it says that networks are ahead of Bobkov et al. (2015) and Yoon et al.",
        "",
    ]


def _recipes(results: Results) -> list[str]:
    scale = results.scale
    lines = [
        "## The recipe `fast` beside P1's in full",
        "",
        f"ResNet18 with the log activation on {scale.fast_share} % of the training images: P1's recipe over "
        f"{scale.full_epochs} epochs, `fast` as it is, with images turned by any angle, over {scale.fast_epochs}. "
        "Accuracies are each recipe's highest.",
        "",
        *header(["seed", "P1", "fast", "P1: s to best", "s in full", "fast: s in full", "share of P1's time"]),
    ]
    for seed, (a, b) in enumerate(zip(results.of(FULL), results.of(FAST), strict=False)):
        best, full, fast = (
            time_to_reach(a["history"], a["maxima"]["accuracy"]) or 0.0,
            a["history"][-1]["seconds"],
            b["history"][-1]["seconds"],
        )
        accuracies = [f"{result['maxima']['accuracy']:.4f}" for result in (a, b)]
        lines.append(row([str(seed), *accuracies, f"{best:.0f}", f"{full:.0f}", f"{fast:.0f}", f"{fast / full:.2f}"]))
    found = results.compare(FAST, FULL)
    if found is not None:
        lines += ["", f"fast less P1, best networks: {found}, {'clear' if found.clear else 'not clear'}."]
    return [*lines, ""]


def _claims(results: Results) -> list[str]:
    """P1's statements as differences."""
    lines = ["## What P1 says, in differences", ""]
    lines += [
        "Paired by seed and image; 95 % intervals over resampled seeds and images (`p1_claims.py`). *Clear*: the "
        "interval leaves out 0.",
        "",
        *header(["statement", "metric", "difference", "clear", "seed by seed"]),
    ]
    shares = [line.training for line in TABLE5.rows]
    turned = [line.training for line in TABLES["turned"].rows]
    statements: list[tuple[str, Training, Training]] = [
        ("log activation less none", LOG, PLAIN),
        ("turned: log activation less none", turned[0], turned[1]),
    ]
    statements += [
        (f"{more.share} % of the training images less {less.share} %", more, less)
        for more, less in itertools.pairwise(shares)
    ]
    statements += [
        (f"maps less images, noise {level}", Training(kind="maps", noise=level), Training(noise=level))
        for level in LEVELS
    ]
    statements += [
        (
            f"finer frames: maps less images that {how}, noise {level}",
            Training("helium-fine", kind="maps", noise=level),
            Training("helium-fine", kind=kind, noise=level),
        )
        for kind, how in _REDUCTIONS.items()
        for level in FINER_LEVELS
    ]
    for text, first, second in statements:
        for metric in ("accuracy", "f1"):
            found = results.compare(first, second, metric)
            lines.append(row([text, metric, *_difference(found)]))
    networks = {"ResNet18 (log)": LOG} | {
        line.label.removeprefix("Helium, "): line.training
        for line in TABLES["table9"].rows
        if line.training.dataset == "helium"
    }
    networks |= {f"turned: {line.label}": line.training for line in TABLES["turned"].rows}
    for name, network in networks.items():
        for baseline in BASELINES if network.recipe == "scale" else (STRONGEST,):
            a, b = results.of(network), results.of_baseline(baseline)
            seeds = min(len(a), len(b))
            found = difference(a[:seeds], b[:seeds], "accuracy", len(CLASSES)) if seeds else None
            lines.append(row([f"{name} less {baseline}", "accuracy", *_difference(found)]))
    return [*lines, ""]


def _difference(found: Difference | None) -> list[str]:
    if found is None:
        return ["", "", ""]
    return [str(found), "yes" if found.clear else "no", ", ".join(f"{value:+.4f}" for value in found.by_seed)]


def _seconds(found: Sequence[Mapping[str, Any]], *, best: bool) -> str:
    times = [
        result["history"][result["best_epoch"] - 1 if best else -1]["seconds"] for result in found if result["history"]
    ]
    return f"{np.mean(times):.0f}" if times else ""
