"""Paper 2's experiments: tables 1 and 2, figures 1 and 3, and how embeddings stand what does not matter.

    python -m benchmarks.reproduce.p2 --scale cpu --jobs 2
    python -m benchmarks.reproduce.p2 --scale paper --device cuda --helium cxidb-94.cxi

Each method and seed is a cell, kept as JSON under the output folder, so the study goes on where it was stopped.
Simulated shots by default; ``--helium`` takes real files with their labels.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.reproduce.cells import machines_in_words, read_cell, run_cells
from benchmarks.reproduce.p1_figures import save
from benchmarks.reproduce.p2_data import load, simulated
from benchmarks.reproduce.p2_figures import figure1, figure3, pick_triple
from benchmarks.reproduce.p2_methods import DIRECT, EMBEDDINGS, MethodCell, Scale, cells, method_cell, order
from benchmarks.reproduce.p2_page import BEST, page
from cdifast._atomic import write_text_whole

SCALES: Final = {
    "smoke": Scale(300, 32, 32, 8, 1, 16, "small", 8, 8, 2, 1),
    # P2's 1024 components of some 1300 images overfit its perceptron: PCA does worse than noise with them.
    "cpu": Scale(7264, 64, 64, 300, 100, 128, "small", 256, 64, 2000, 3),
    "paper": Scale(7264, 256, 224, 1000, 1000, 628, "p2", 1024, 1024, 20_000, 5),
}

SHOWN: Final = (BEST, "CLR detector-detector", "VAE")
"""Methods of figure 3, as in P2."""

COMPARED: Final = ("SSIM", "CW-SSIM", "SIFT", "VAE", BEST)
"""Measures of figure 1."""


def study(
    scale: Scale,
    methods: Sequence[str],
    output: Path,
    work: Path,
    *,
    helium: Sequence[Path] = (),
    classifier: Path | None = None,
    jobs: int = 1,
    device: str = "cpu",
) -> None:
    """Do what is not done yet, and write page and figures.

    Parameters
    ----------
    scale
        Size of the study.
    methods
        Names of `EMBEDDINGS` and `DIRECT`.
    output, work
        Folders of the results, and of shots, weights and checkpoints.
    helium
        Real files instead of simulated shots.
    classifier
        Weights of a classifier trained on other shots, for the method "supervised".
    jobs
        Methods at a time.
    device
        Where to train.
    """
    paths = list(helium) or [simulated(work / "data", scale.shots, scale.frame, scale.nulls)]
    run_cells(
        method_cell,
        cells(scale, order(dict.fromkeys(methods))),
        output,
        scale,
        (paths, work, classifier, device),
        jobs=jobs,
    )
    shots = load(paths)
    first = {method: read_cell(output, MethodCell(method), scale) for method in (*EMBEDDINGS, *DIRECT)}
    nearest = {method: row["nearest"] for method in SHOWN if (row := first[method]) is not None}
    if nearest:
        save(figure3(shots, nearest), output / "figure3.png")
    triple = pick_triple(shots.labels)
    distances = {method: row["triple"] for method in COMPARED if (row := first[method]) is not None}
    if distances:
        save(figure1(shots, distances, triple), output / "figure1.png")
    write_text_whole(output / "README.md", page(output, scale, machines_in_words(output)))


def main() -> None:
    """Parse the command line and run."""
    methods = (*EMBEDDINGS, *DIRECT)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument(
        "--only", nargs="+", choices=methods, default=methods, metavar="METHOD", help=", ".join(methods)
    )
    parser.add_argument("--seeds", type=int, help="another number of repetitions")
    parser.add_argument("--output", type=Path, help="folder of the results; default build/p2-SCALE")
    parser.add_argument("--work", type=Path, help="folder of shots and weights; default build/p2-SCALE/work")
    parser.add_argument("--helium", type=Path, nargs="+", default=[], help="real frames with labels: CXIDB 94")
    parser.add_argument("--classifier", type=Path, help="weights for the method 'supervised', trained on other shots")
    parser.add_argument("--jobs", type=int, default=1, help="methods at a time")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    scale = SCALES[arguments.scale]
    if arguments.seeds:
        scale = dataclasses.replace(scale, seeds=arguments.seeds)
    chosen = [name for name in arguments.only if name != "supervised" or arguments.classifier]
    output = arguments.output or Path("build") / f"p2-{arguments.scale}"
    study(
        scale,
        chosen,
        output,
        arguments.work or output / "work",
        helium=arguments.helium,
        classifier=arguments.classifier,
        jobs=arguments.jobs,
        device=arguments.device,
    )
    print(output / "README.md")


if __name__ == "__main__":
    main()
