"""Paper 1's experiments, each table and figure by name.

    python -m benchmarks.reproduce.p1 --scale cpu --jobs 2
    python -m benchmarks.reproduce.p1 --scale paper --device cuda --helium cxidb-94.cxi --only table4 table6

Trainings that tables share are done once. Each is a cell, kept as JSON under the output folder, so the study goes on
where it was stopped. Simulated shots by default; ``--helium`` and ``--cxidb10`` take real files.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.reproduce.cells import machines_in_words, run_cells
from benchmarks.reproduce.p1_baselines import BASELINES, BaselineCell, baseline_cell
from benchmarks.reproduce.p1_data import FINENESS, Dataset, simulated
from benchmarks.reproduce.p1_figures import figure4, figure5, save, studies
from benchmarks.reproduce.p1_numbers import TABLE10_NETWORK, TABLES
from benchmarks.reproduce.p1_page import FAST, FULL, LOG, Results, page
from benchmarks.reproduce.p1_trainings import Scale, Training, train_cell, with_seeds
from cdifast._atomic import write_text_whole
from cdifast.simulate.cxidb10 import SPECIES

NETWORKS: Final = ("resnet18", "resnet50", "resnet101", "vgg16", "vgg19")

SCALES: Final = {
    "smoke": Scale(48, 32, 32, "helium", "fast", 2, 3, 1, 50, 1, 16, dict.fromkeys(NETWORKS, 0.0625)),
    # VGG's head of 7 x 7 x 4096 x 4096 alone is 411 million multiplications an image at full width.
    "cpu": Scale(
        3000,
        64,
        64,
        "helium-balanced",
        "fast",
        40,
        200,
        50,
        35,
        3,
        48,
        {"resnet18": 0.25, "resnet50": 0.25, "resnet101": 0.25, "vgg16": 0.125, "vgg19": 0.125},
    ),
    "paper": Scale(7264, 256, 224, "helium", "p1", 200, 200, 50, 100, 3, 48, dict.fromkeys(NETWORKS, 1.0)),
}

PARTS: Final = (*TABLES, "table10", "baselines", "fast", "figure4", "figure5")


FIRST: Final = ("table4", "table6", "table5", "fast", "table6-fine")
"""What a study stopped halfway should have done."""


def trainings(parts: Sequence[str]) -> list[Training]:
    """What parts need, each once, in the order in which to do it."""
    wanted: dict[Training, None] = {}
    for part in sorted(parts, key=lambda part: FIRST.index(part) if part in FIRST else len(FIRST)):
        if part in TABLES:
            wanted |= dict.fromkeys(TABLES[part].trainings())
        elif part == "table10":
            wanted[TABLE10_NETWORK] = None
        elif part == "fast":
            wanted |= {FULL: None, FAST: None}
        elif part == "figure5":
            wanted[LOG] = None
    return list(wanted)


def study(
    scale: Scale,
    parts: Sequence[str],
    output: Path,
    work: Path,
    *,
    helium: Sequence[Path] = (),
    cxidb10: Sequence[Path] = (),
    jobs: int = 1,
    device: str = "cpu",
    compute: bool = True,
) -> Results:
    """Do what is not done yet, and write page and figures.

    Parameters
    ----------
    scale
        Size of the study.
    parts
        Some of `PARTS`.
    output
        Folder of the results: cells, ``README.md`` and figures.
    work
        Folder of simulated frames, weights and checkpoints.
    helium, cxidb10
        Real files instead of simulated ones; of CXIDB 10 to 14 a pattern for each species, in the order of `SPECIES`.
    jobs
        Trainings at a time.
    device
        Where to train.
    compute
        False: write page and figures of what is done.
    """
    repetitions = [cell for training in trainings(parts) for cell in with_seeds(training, scale)]
    needed: set[Dataset] = {cell.dataset for cell in repetitions} | {"helium"}
    given: dict[Dataset, Sequence[Path]] = {"helium": helium, "helium-fine": helium, "cxidb10": cxidb10}
    frames: dict[Dataset, tuple[str, int]] = {
        "helium": (scale.preset, scale.frame),
        "helium-fine": (scale.preset, FINENESS * scale.size),
        "cxidb10": ("cxidb10", scale.frame),
    }
    data = {
        name: given[name] or [simulated(work / "data", preset, scale.shots, size, jobs=jobs)]
        for name, (preset, size) in frames.items()
        if name in needed
    }
    if "baselines" in parts and compute:
        baselines = [BaselineCell(baseline=name, seed=seed) for seed in range(scale.seeds) for name in BASELINES]
        run_cells(baseline_cell, baselines, output, scale, (data,), jobs=jobs)
    # Seed by seed, so that a study stopped halfway has every row once; the architectures, which take longest, last.
    central = {dataclasses.replace(training, seed=0) for training in trainings([p for p in parts if p in FIRST])}
    repetitions.sort(key=lambda cell: (dataclasses.replace(cell, seed=0) not in central, cell.seed))
    if compute:
        run_cells(train_cell, repetitions, output, scale, (data, work, device), jobs=jobs)
    results = Results(output, scale)
    save(studies(results), output / "studies.png")
    if "figure4" in parts:
        save(figure4(data["helium"], scale.size), output / "figure4.png")
    if "figure5" in parts:
        save(figure5(data["helium"], scale, work / "runs" / LOG.name), output / "figure5.png")
    write_text_whole(output / "README.md", page(results, machines_in_words(output)))
    return results


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--seeds", type=int, help="another number of repetitions")
    parser.add_argument("--output", type=Path, help="folder of the results; default build/p1-SCALE")
    parser.add_argument("--work", type=Path, help="folder of frames and weights; default build/p1-SCALE/work")
    parser.add_argument("--helium", type=Path, nargs="+", default=[], help="real frames: CXIDB 94")
    parser.add_argument(
        "--cxidb10",
        type=Path,
        nargs=len(SPECIES),
        default=[],
        help=f"real frames, one pattern each: {', '.join(SPECIES)}",
    )
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--render", action="store_true", help="only write page and figures of what is done")
    arguments = parser.parse_args()
    scale = SCALES[arguments.scale]
    if arguments.seeds:
        scale = dataclasses.replace(scale, seeds=arguments.seeds)
    output = arguments.output or Path("build") / f"p1-{arguments.scale}"
    study(
        scale,
        arguments.only,
        output,
        arguments.work or output / "work",
        helium=arguments.helium,
        cxidb10=arguments.cxidb10,
        jobs=arguments.jobs,
        device=arguments.device,
        compute=not arguments.render,
    )
    print(f"{output / 'README.md'}")


if __name__ == "__main__":
    main()
