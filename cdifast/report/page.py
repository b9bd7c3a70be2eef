"""The quickstart's report as one HTML file that needs nothing else: no script, no style sheet, no font from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Template
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cdifast.evaluate import RuleViolations

from . import markup
from .comparison import METRICS, Comparison, Estimate, defined_precision
from .similarity import Similarity

_DASH: Final = "–"
_UNDEFINED: Final = (
    f"{_DASH} : undefined, because nothing was predicted (precision) or nothing was there to find (recall). By the "
    "convention of Zimmermann et al. (2019), section 3.2, such a precision would count as 0."
)


@dataclass(frozen=True)
class Report:
    """All that the page shows; every number in it is computed, none is typed in.

    Attributes
    ----------
    size, input_size, epochs
        Side of the frames and of the network's input in pixels; epochs of the training.
    classes
        Names of the C classes.
    train_counts, held_out_counts
        Shots of each class in either split, (C,).
    train_images
        Images of the training split.
    comparison
        The network beside its baselines on the held-out split.
    similarity
        What nearest neighbours by embedding have in common.
    label_violations
        Exclusion rules that the true labels of the held-out split break.
    wrong_images
        Held-out images with at least one wrong label.
    pictures
        ``examples``, ``counts``, ``curves``, ``views``, ``similar`` and, unless nothing was wrong, ``wrong``: each
        (PNG bytes, alternative text, caption).
    settings, fingerprints, versions, machine
        For the tables at the end: name to value.
    seconds
        Wall time of each stage.
    files
        Name to description of the files in the folder.
    next_steps
        Shell lines to copy.
    """

    size: int
    input_size: int
    epochs: int
    classes: tuple[str, ...]
    train_counts: NDArray[np.int64]
    held_out_counts: NDArray[np.int64]
    train_images: int
    comparison: Comparison
    similarity: Similarity
    label_violations: RuleViolations
    wrong_images: int
    pictures: Mapping[str, tuple[bytes, str, str]]
    settings: Mapping[str, Any]
    fingerprints: Mapping[str, str]
    versions: Mapping[str, Any]
    machine: Mapping[str, Any]
    seconds: Mapping[str, float]
    files: Mapping[str, str]
    next_steps: Sequence[str]


def render(report: Report) -> str:
    """The page as HTML text."""
    sections = [
        _what_was_done(report),
        _result(report),
        _shots(report),
        _views(report),
        _training(report),
        _classes(report),
        _rules(report),
        _wrong(report),
        _similar(report),
        _next(report),
        _provenance(report),
    ]
    return _PAGE.substitute(content="\n".join(sections))


def verdict(comparison: Comparison) -> str:
    """One sentence: whether the network is ahead of every baseline, beyond the intervals, and where it is not.

    Precision and recall decide; a baseline's precision that does not exist is not compared.
    """
    behind, close = [], []
    for baseline in comparison.baselines:
        for metric in ("precision", "recall"):
            lead = baseline.lead[metric]
            if baseline.pooled[metric].value is None:
                continue
            if lead.value is None or lead.low is None or lead.value <= 0:
                behind.append(f"{metric} of the {baseline.name} baseline")
            elif lead.low <= 0:
                close.append(f"{metric} of the {baseline.name} baseline")
    if behind:
        return f"The network is not ahead of the {' and the '.join(behind)}: it has not learned enough."
    if close:
        return f"The network is ahead of every baseline, but within the interval for the {' and the '.join(close)}."
    return "The network is ahead of every baseline in precision and in recall, beyond the 95 % intervals."


def _what_was_done(report: Report) -> str:
    images, held_out = report.train_images + report.comparison.images, report.comparison.images
    return markup.section(
        "What was done",
        markup.paragraphs(
            f"{images} diffraction images of helium nanodroplets were simulated: for each shot a droplet of random "
            "shape, size and orientation, its scattering to wide angles slice by slice (multi-slice Fourier "
            f"transform), a flat detector of {report.size} × {report.size} pixels with a central hole, and photon "
            "noise. The labels follow from the droplet's shape and orientation, not from a look at its pattern.",
            "The shots were written to a CXI file and read back. "
            f"A pre-activation ResNet with a logarithmic activation after its first convolution (Zimmermann et al. "
            f"2019) saw {report.train_images} of them, averaged to {report.input_size} × {report.input_size} pixels, "
            f"for {report.epochs} epochs. The other {held_out} shots were held out: all results below are "
            "measured on them, with the network as it was after the last epoch.",
            "Simulated shots lack much that measured ones have (stray light, damaged regions of the detector, several "
            "particles at once), and their mixture of classes is even where a beam time's is not. The numbers show "
            "that the whole chain works on this machine; they are not comparable with those published for real data.",
        ),
    )


def _result(report: Report) -> str:
    comparison = report.comparison
    rows = [[method.name, *(_with_interval(method.pooled[name]) for name in METRICS)] for method in comparison.methods]
    leads = [
        [f"network minus {method.name}", *(_points(method.lead[name]) for name in METRICS)]
        for method in comparison.baselines
    ]
    empty = [name for name, count in zip(report.classes, report.held_out_counts, strict=True) if count == 0]
    absent = f" For the classes without a held-out shot ({', '.join(empty)}) every no is right." if empty else ""
    return markup.section(
        "The result",
        f'<p class="verdict">{markup.inline(verdict(comparison))}</p>',
        markup.table(
            f"Pooled over all {len(report.classes)} labels of {comparison.images} held-out shots",
            ["", *METRICS],
            rows,
            [
                f"Below each value: 95 % interval, bootstrap over held-out shots ({comparison.resamples} resamples).",
                "Precision: share of the labels given that are right. Recall: share of the true labels that are found. "
                "Accuracy: share of all yes/no answers that are right; most are no, which is why even "
                f"a classifier that always says no does well in it.{absent}",
                "All-negative gives no label to any shot; majority gives every shot the training split's most frequent "
                "set of labels.",
                *_undefined_note(estimate for method in comparison.methods for estimate in method.pooled.values()),
            ],
        ),
        markup.table(
            "By how much the network is ahead, in percentage points",
            ["", *METRICS],
            leads,
            [
                "Below each value: 95 % interval of the difference, both measured on the same resampled shots.",
                *(
                    f"{_DASH} : {method.name} predicts nothing, so it has no precision to compare with; counted as 0, "
                    f"as Zimmermann et al. (2019) do in section 3.2, the network would be "
                    f"{100 * comparison.network.metrics.precision:.1f} points ahead."
                    for method in comparison.baselines
                    if method.pooled["precision"].value is None
                ),
            ],
        ),
    )


def _shots(report: Report) -> str:
    return markup.section("The shots", *_pictures(report, "counts", "examples"))


def _views(report: Report) -> str:
    return markup.section(
        "Three views of a shot",
        markup.paragraphs(
            "A map of correlations between rings does not change when the pattern is turned about the beam: it "
            "keeps the shape of the particle and drops its roll angle. Below its diagonal (zero lag): how alike the "
            "rings of radius i and j are, averaged over the angle. Above it: the correlation of one angular harmonic."
        ),
        *_pictures(report, "views"),
    )


def _training(report: Report) -> str:
    return markup.section("The training", *_pictures(report, "curves"))


def _classes(report: Report) -> str:
    methods = report.comparison.methods
    header = ["class", "shots"]
    for name in ("precision", "recall"):
        header += [f"{name}, {method.name}" for method in methods]
    rows = []
    for index, name in enumerate(report.classes):
        entries = [method.metrics.per_class[index] for method in methods]
        rows.append(
            [
                name,
                str(entries[0].support),
                *(_number(defined_precision(entry.precision, entry.predicted)) for entry in entries),
                *(_number(_defined(entry.recall)) for entry in entries),
            ]
        )
    return markup.section(
        "Class by class",
        markup.table(
            f"Precision and recall of each class on {report.comparison.images} held-out shots",
            header,
            rows,
            [_UNDEFINED],
        ),
    )


def _rules(report: Report) -> str:
    network = report.comparison.network.metrics.violations
    rows = [
        [rule, str(len(indices)), str(len(report.label_violations.by_rule[rule]))]
        for rule, indices in network.by_rule.items()
    ]
    return markup.section(
        "Rules between the classes",
        markup.paragraphs(
            "Some labels exclude each other, and every shot belongs to one of the main classes. The network is not "
            f"told so: {len(network.indices)} of {network.images} held-out shots got labels that break a rule."
        ),
        markup.table("Held-out shots that break a rule", ["rule", "predicted labels", "true labels"], rows),
    )


def _wrong(report: Report) -> str:
    sentence = (
        f"{report.wrong_images} of {report.comparison.images} held-out shots have at least one wrong label."
        if report.wrong_images
        else "Not one held-out shot has a wrong label."
    )
    return markup.section("Where the network is most wrong", markup.paragraphs(sentence), *_pictures(report, "wrong"))


def _similar(report: Report) -> str:
    similarity = report.similarity
    return markup.section(
        "Similar shots, without labels",
        markup.paragraphs(
            "The package comes with an encoder that was trained without labels, on other simulated shots (contrastive "
            "projection learning, Zimmermann et al. 2022). It turns a shot into a vector; shots with near vectors "
            f"should be alike. Here a shot has {100 * similarity.overlap:.0f} % of its labels in common with its "
            f"{similarity.nearest.shape[1]} nearest, averaged over the classes; with shots drawn at random it would be "
            f"{100 * similarity.chance:.0f} %."
        ),
        *_pictures(report, "similar"),
    )


def _next(report: Report) -> str:
    return markup.section(
        "Next: your own data",
        markup.paragraphs(
            "CXI, HDF5 and NumPy files are recognised; put your file in place of `your.cxi`. The network trained here "
            "knows simulated shots alone: to label measured ones, train it on measured ones.",
        ),
        markup.commands(*report.next_steps),
    )


def _provenance(report: Report) -> str:
    total = sum(report.seconds.values())
    times = [[stage, f"{seconds:.1f}"] for stage, seconds in report.seconds.items()] + [["all", f"{total:.1f}"]]
    machine = {
        "processor": report.machine["cpu"],
        "cores, threads of torch": f"{report.machine['cores']}, {report.machine['threads']}",
        "memory": _DASH if report.machine["memory_gb"] is None else f"{report.machine['memory_gb']:g} GB",
        "system": report.machine["system"],
        "instruction set of the operators": report.machine["instruction_set"],
        "GPU": report.machine["gpu"] or "none (not needed)",
    }
    versions = {name: version or _DASH for name, version in report.versions.items()}
    return markup.section(
        "How to make the same again",
        '<div class="columns">',
        markup.table("Wall time", ["stage", "seconds"], times, ["Interruptions do not count."]),
        markup.pairs("Settings", report.settings),
        markup.pairs("Machine", machine),
        markup.pairs("Versions", versions),
        "</div>",
        markup.pairs("Fingerprints (SHA-256)", report.fingerprints),
        markup.pairs("Files in this folder", report.files),
    )


def _pictures(report: Report, *names: str) -> list[str]:
    return [markup.figure(*report.pictures[name]) for name in names if name in report.pictures]


def _number(value: float | None) -> str:
    return _DASH if value is None else f"{value:.3f}"


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else value


def _with_interval(estimate: Estimate) -> str:
    if estimate.value is None:
        return _DASH
    return f"{estimate.value:.3f}\n{estimate.low:.3f} to {estimate.high:.3f}"


def _points(estimate: Estimate) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return _DASH
    return f"{100 * estimate.value:+.1f}\n{100 * estimate.low:+.1f} to {100 * estimate.high:+.1f}"


def _undefined_note(estimates: Any) -> list[str]:
    return [_UNDEFINED] if any(estimate.value is None for estimate in estimates) else []


_PAGE: Final = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>cdifast quickstart</title>
<style>
:root { --ink: #1b1f24; --soft: #57606a; --paper: #ffffff; --panel: #f4f6f8; --line: #d5dae0; --mark: #0072b2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7eb; --soft: #a3acb7; --paper: #14171b; --panel: #1f242a; --line: #3a424c; --mark: #56b4e9; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 2rem 1.25rem 4rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .2rem; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 .7rem; padding-top: .9rem; border-top: 1px solid var(--line); }
p { margin: 0 0 .9rem; max-width: 46rem; }
.lead { color: var(--soft); }
.verdict { font-size: 1.1rem; font-weight: 600; border-left: .3rem solid var(--mark); padding-left: .8rem; }
.table { margin: 0 0 1.4rem; overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: .35rem; }
th, td { padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; }
tbody th { font-weight: 400; }
.pairs td { text-align: left; }
.pairs tr:first-child > * { border-top: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
td small { color: var(--soft); white-space: nowrap; }
td { overflow-wrap: anywhere; }
.note, figcaption { color: var(--soft); font-size: .86rem; margin: .35rem 0 0; }
figure { margin: 0 0 1.6rem; }
figure img { display: block; max-width: 100%; height: auto; background: #fff; border: 1px solid var(--line);
  border-radius: .4rem; padding: .4rem; }
pre { background: var(--panel); border: 1px solid var(--line); border-radius: .4rem; padding: .8rem 1rem;
  overflow-x: auto; font-size: .88rem; line-height: 1.5; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .92em; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 0 2rem; }
@media print {
  :root { --ink: #000; --soft: #333; --paper: #fff; --panel: #f4f4f4; --line: #bbb; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  figure, tr, .verdict, pre { break-inside: avoid; }
  h2 { break-after: avoid; }
  .table { overflow: visible; }
  pre { white-space: pre-wrap; }
}
</style>
</head>
<body>
<header>
<h1>From simulated shots to a trained classifier</h1>
<p class="lead">The cdifast quickstart: what it did on this machine, and how well it worked.</p>
</header>
<main>
$content
</main>
</body>
</html>
""")
