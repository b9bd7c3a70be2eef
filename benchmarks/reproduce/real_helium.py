"""Does a network that has seen simulated shots alone label real ones?

    PYTHONPATH=. python -m benchmarks.reproduce.real_helium --examples ../shared/data/helium_examples.npz --device cuda

Shots of the presets ``helium`` (real label statistics) and ``helium-balanced``, half and half and both through the
helium detector, are cropped and scaled as the seven published examples of the real data set are, with unknown steps
of that way drawn at random (`display.roughened`); P1's ResNet18 is
trained on them and then labels the seven. Of each example one class is known, not all: they are not exclusive. So each
network gives a 7 x 7 table of scores, examples by classes, in which the known pairs lie on the diagonal; and chance is
what the same table gives for all 5040 ways to pair examples with classes, exactly. Scores are logits in standard
deviations of the held-out simulated shots, so that no class is favoured for being frequent.

Seven images say little: what is reported is a direction and its exact p-value, not a rate.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.reproduce.display import CLASS_OF_EXAMPLE, COLUMNS, SIMULATED_SIZE, crop, display_scaled, roughened
from cdifast.data.augment import Augmentation
from cdifast.evaluate import classification_metrics
from cdifast.evaluate.predict import predict_logits
from cdifast.jobs.processes import ordered_map
from cdifast.labels import CLASSES
from cdifast.report.machine import describe_machine, describe_versions
from cdifast.simulate import PRESETS, shots
from cdifast.train import TrainConfig, train_classifier

PRESETS_USED = ("helium", "helium-balanced")
LEVEL = 10.0
"""Mean of an image as the network sees it, that of `cdifast.data.prepare`."""


@dataclasses.dataclass(frozen=True)
class Scale:
    """Size of a study: shots, networks and their training."""

    shots: int
    networks: int
    epochs: int
    width: float
    batch_size: int


SCALES = {
    "full": Scale(shots=20_000, networks=3, epochs=30, width=1.0, batch_size=48),
    "small": Scale(shots=3_000, networks=1, epochs=8, width=0.5, batch_size=48),
    "smoke": Scale(shots=48, networks=1, epochs=1, width=0.125, batch_size=8),
}


def simulated(count: int, seed: int, jobs: int, batch: int = 50) -> tuple[Tensor, NDArray[np.uint8]]:
    """``count`` shots as the network sees them, ``(count, 1, 88, 88)``, and their labels ``(count, 11)``."""
    response = PRESETS["helium"].response
    take = partial(shots, response=response)
    calls = []
    for preset, part in zip(PRESETS_USED, (count - count // 2, count // 2), strict=True):
        calls += [(min(batch, part - k), SIMULATED_SIZE, preset, seed, k) for k in range(0, part, batch)]
    parts = ordered_map(take, calls, jobs) if jobs > 1 else (take(*call) for call in calls)
    images, labels = [], []
    for number, part_shots in enumerate(parts):
        images.append(prepared(roughened(crop(part_shots.images), seed + number)))
        labels.append(part_shots.labels.numpy())
    return torch.cat(images), np.concatenate(labels)


def prepared(images: Tensor) -> Tensor:
    """Display-scaled images ``(N, 88, 88)`` with the mean that the network is used to, ``(N, 1, 88, 88)``."""
    scaled = display_scaled(images)
    return (scaled * (LEVEL / scaled.mean((1, 2), keepdim=True).clamp_min(1e-6)))[:, None]


def read_examples(path: Path) -> tuple[Tensor, list[str]]:
    """The seven examples as the network sees them, and the package's names of their classes."""
    with np.load(path) as file:
        return prepared(torch.from_numpy(file["detector"])), [CLASS_OF_EXAMPLE[str(name)] for name in file["classes"]]


def permutation_test(
    scores: NDArray[np.float64], statistic: Callable[[NDArray[np.float64], tuple[int, ...]], float]
) -> dict[str, float]:
    """A statistic of the true pairing (the diagonal), its mean over all pairings, and the share of them that reach it.

    Parameters
    ----------
    scores
        (n, n): examples by classes, the class of example i in column i.
    statistic
        Of scores and the column that each example is paired with; larger is better.
    """
    count = len(scores)
    true = statistic(scores, tuple(range(count)))
    values = np.array([statistic(scores, pairing) for pairing in itertools.permutations(range(count))])
    return {
        "found": true,
        "chance": float(values.mean()),
        "p": float((values >= true - 1e-12).mean()),
    }


def mean_score(scores: NDArray[np.float64], pairing: tuple[int, ...]) -> float:
    """Mean score of the paired examples and classes."""
    return float(scores[np.arange(len(scores)), list(pairing)].mean())


def best_class(scores: NDArray[np.float64], pairing: tuple[int, ...]) -> float:
    """Share of the examples whose highest score is that of their class."""
    return float((scores.argmax(1) == np.array(pairing)).mean())


def best_example(scores: NDArray[np.float64], pairing: tuple[int, ...]) -> float:
    """Mean over classes of the share of other examples with a lower score than the class's own: an area under the
    curve."""
    own = scores[np.arange(len(scores)), list(pairing)]
    others = scores[:, list(pairing)]  # [example, i]: score for the class paired with example i
    below = (others < own).sum(0) / (len(scores) - 1)
    return float(below.mean())


STATISTICS = {"mean score": mean_score, "highest of seven classes": best_class, "area under the curve": best_example}


def study(examples: Path, output: Path, scale: Scale, *, seed: int, jobs: int, device: str) -> dict[str, Any]:
    """Simulate, train, label; write ``result.json`` and ``report.md`` into ``output``.

    Returns
    -------
    dict
        The content of ``result.json``.
    """
    images, names = read_examples(examples)
    columns = [COLUMNS[name] for name in names]
    inputs, labels = simulated(scale.shots, seed, jobs)
    tables, hits, held_out = [], [], []
    for network in range(scale.networks):
        config = dataclasses.replace(
            TrainConfig().scaled(scale.epochs),
            width=scale.width,
            batch_size=scale.batch_size,
            warmup_epochs=min(1.0, scale.epochs / 4),
            seed=seed + network,
            augmentation=Augmentation(brightness=0.5, contrast=0.4),
        )
        trained = train_classifier(
            inputs, labels, config, output / f"network-{network}", device=device, overwrite=True, progress=True
        )
        validation = torch.from_numpy(trained.split.validation)
        simulated_logits = predict_logits(trained.model, inputs[validation]).double().numpy()
        logits = predict_logits(trained.model, images).double().numpy()
        spread = np.maximum(simulated_logits.std(0), 1e-9)
        tables.append(((logits - simulated_logits.mean(0)) / spread)[:, columns])
        hits.append((logits > 0)[:, columns])
        held_out.append(classification_metrics(labels[trained.split.validation], simulated_logits > 0))
    scores, found = np.mean(tables, 0), np.mean(hits, 0)
    result = {
        "scale": dataclasses.asdict(scale),
        "seed": seed,
        "presets": PRESETS_USED,
        "classes": names,
        "scores": scores.round(4).tolist(),
        "label given": found.round(4).tolist(),
        "tests": {name: permutation_test(scores, statistic) for name, statistic in STATISTICS.items()}
        | {"label given": permutation_test(found, mean_score)},
        "held-out simulated shots": {
            "accuracy": float(np.mean([metrics.accuracy for metrics in held_out])),
            "precision": float(np.mean([metrics.precision for metrics in held_out])),
            "recall": float(np.mean([metrics.recall for metrics in held_out])),
        },
        "shots by class": dict(zip(CLASSES, labels.sum(0).tolist(), strict=True)),
        "machine": describe_machine(),
        "versions": describe_versions(),
    }
    output.mkdir(parents=True, exist_ok=True)
    (output / "result.json").write_text(json.dumps(result, indent=1, default=str) + "\n")
    (output / "report.md").write_text(markdown(result))
    return result


def markdown(result: dict[str, Any]) -> str:
    """The report."""
    names, scores = result["classes"], np.array(result["scores"])
    on_simulated = ", ".join(f"{name} {_number(v)}" for name, v in result["held-out simulated shots"].items())
    scale = result["scale"]
    lines = [
        "# Real helium shots, labelled by networks that saw simulated ones alone",
        "",
        f"{scale['networks']} network(s), ResNet18 of width {scale['width']:g}, {scale['epochs']} epochs on "
        f"{scale['shots']} simulated shots. On held-out simulated shots: {on_simulated}.",
        "",
        "Seven published examples of the real data set, one known class each. Chance: all 5040 ways to pair examples "
        "with classes; p: the share of them that does as well.",
        "",
        "| measure | found | chance | p |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {test['found']:.3f} | {test['chance']:.3f} | {test['p']:.4f} |"
        for name, test in result["tests"].items()
    ]
    lines += [
        "",
        "Scores (standard deviations of the simulated shots' logits; the known class in bold):",
        "",
        "| example | " + " | ".join(names) + " | own class is number | label given |",
        "|---|" + "---|" * (len(names) + 2),
    ]
    for i, name in enumerate(names):
        cells = [f"**{value:.2f}**" if j == i else f"{value:.2f}" for j, value in enumerate(scores[i])]
        rank = 1 + int((scores[i] > scores[i, i]).sum())
        lines.append(f"| {name} | {' | '.join(cells)} | {rank} | {result['label given'][i][i]:.0%} |")
    return "\n".join([*lines, ""])


def _number(value: float) -> str:
    return "none" if math.isnan(value) else f"{value:.3f}"


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=Path, required=True, help="helium_examples.npz: detector, classes")
    parser.add_argument("--output", type=Path, default=Path("build/real-helium"))
    parser.add_argument("--scale", choices=SCALES, default="full")
    parser.add_argument("--shots", type=int, help="another number of shots")
    parser.add_argument("--epochs", type=int, help="another number of epochs")
    parser.add_argument("--networks", type=int, help="another number of networks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes that simulate")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    changed = {name: getattr(arguments, name) for name in ("shots", "epochs", "networks") if getattr(arguments, name)}
    study(
        arguments.examples,
        arguments.output,
        dataclasses.replace(SCALES[arguments.scale], **changed),
        seed=arguments.seed,
        jobs=arguments.jobs,
        device=arguments.device,
    )
    print((arguments.output / "report.md").read_text())


if __name__ == "__main__":
    main()
