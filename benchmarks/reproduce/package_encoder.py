"""The encoder that comes with the package: simulate its shots, train it, score it, write it with its card.

    python -m benchmarks.reproduce.package_encoder --jobs 2 --pairs ../shared/data/helium_examples.npz
    python -m benchmarks.reproduce.package_encoder --install            # also replaces the package's weights

A run that was stopped goes on where it was. Scores are those of P2's table 1 on shots that it has not seen, beside the
same network without training and PCA, and the ranks of the seven real pairs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.reproduce.helium_pairs import partner_ranks, read_pairs
from benchmarks.reproduce.p2_data import load, simulated
from benchmarks.reproduce.page import header, row
from cdifast._atomic import whole_file, write_text_whole
from cdifast.data import InputPreparation
from cdifast.data.prepare import prepare_frames
from cdifast.data.views import plain_view
from cdifast.evaluate import FittedEmbedding, encoder_embedding, evaluate_fitted, pca, physics_nulls
from cdifast.jobs.processes import ordered_map
from cdifast.nn import ContrastiveModel, contrastive_preset, load_encoder, save_weights
from cdifast.report.machine import describe_machine, describe_versions
from cdifast.simulate import PRESETS, parameters, render
from cdifast.simulate.particles import classes_of
from cdifast.train.contrast import ContrastResult, train_contrastive
from cdifast.train.contrast_config import CONTRAST_RECIPES, ContrastConfig

SEED: Final = 2022
"""Of the training shots; those that the encoder is scored on have others."""

NAME: Final = "cplr-small.safetensors"
PACKAGE: Final = Path("cdifast/weights")
OTHERS: Final = 6
"""One of so many round or empty helium shots is kept: the real data set has five of them to one of the rest."""

TRAINED: Final = "package encoder"

LIMITS: Final = (
    "It has seen simulated shots alone, each of one particle or two in the middle of the image.",
    "It sees 64 x 64 pixels: rings finer than two of these pixels are lost.",
    "What the detector does not record is 0: a hole or gaps other than those of the training may count as likeness.",
    "An encoder trained on the run itself (`cdifast pretrain`) knows that run's detector and particles.",
)


@dataclasses.dataclass(frozen=True)
class Scale:
    """Size of the training, and of what it is scored on (as in `p2`).

    Attributes
    ----------
    helium, balanced, species
        Shots drawn of the presets ``helium`` (of which the selection is kept), ``helium-balanced`` and ``cxidb10``.
    epochs
        Passes over them.
    frame
        Pixels along each side.
    scored, nulls
        Helium shots of whose selection P2's scores are, and how many of these are seen again under other conditions.
    """

    helium: int
    balanced: int
    species: int
    epochs: int
    frame: int
    scored: int
    nulls: int


SCALES: Final = {
    "smoke": Scale(60, 40, 20, 2, 32, 300, 8),
    "full": Scale(12_000, 4_000, 1_200, 80, 64, 7264, 300),
}


def training_frames(scale: Scale, folder: Path, jobs: int, chunk: int = 200) -> tuple[NDArray[np.uint16], Tensor]:
    """Frames (N, H, W), and which of their pixels hold data, (N, H, W) bool; made once, chunk by chunk.

    Half of the balanced shots are seen by the helium detector, half by one that counts photons.
    """
    response = PRESETS["helium"].response
    balanced = parameters(scale.balanced, "helium-balanced", SEED)
    parts: list[tuple[str, NDArray[Any], Any]] = [
        ("helium", helium_selection(parameters(scale.helium, "helium", SEED)), None),
        ("helium-balanced", balanced[: len(balanced) // 2], response),
        ("helium-balanced", balanced[len(balanced) // 2 :], None),
        ("cxidb10", parameters(scale.species, "cxidb10", SEED), None),
    ]
    calls, good = [], []
    folder.mkdir(parents=True, exist_ok=True)
    for number, (preset, records, camera) in enumerate(parts):
        detector = PRESETS[preset].detector(scale.frame)
        valid = (PRESETS[preset].response if camera is None else camera).good(detector)
        good.append(valid.expand(len(records), -1, -1))
        for start in range(0, len(records), chunk):
            some = records[start : start + chunk]
            path = folder / f"{scale.frame}-{number}-{len(records)}-{start}.npy"
            calls.append((path, some, scale.frame, preset, camera))
    done = ordered_map(_render, calls, jobs) if jobs > 1 else (_render(*call) for call in calls)
    frames = [np.load(path) for path in done]
    return np.concatenate(frames), torch.cat(good)


def helium_selection(records: NDArray[Any]) -> NDArray[Any]:
    """Records of the preset ``helium`` without most of the round and empty ones."""
    classes = PRESETS["helium"].classes
    labels = classes_of(records, len(classes))
    other = labels[:, classes.index("Round")].astype(bool) | labels[:, classes.index("Empty")].astype(bool)
    return records[~other | (np.cumsum(other) % OTHERS == 0)]


def _render(path: Path, records: NDArray[Any], frame: int, preset: str, response: Any) -> Path:
    if not path.is_file():
        images = render(records, frame, preset, SEED, response=response).numpy().astype(np.uint16)
        with whole_file(path) as temporary, open(temporary, "wb") as file:
            np.save(file, images)
    return path


def recipe(scale: Scale) -> ContrastConfig:
    """How it is trained: as ``small``, but for two things.

    The embedding sees the unwrapped view, which is the better one in `p2`; and the contrast changes more, by up to a
    factor of 1.5 in the exponent, for detectors have different gain curves.
    """
    small = CONTRAST_RECIPES["small"].scaled(scale.epochs)
    assert small.views.augmentation is not None
    changes = dataclasses.replace(small.views.augmentation, contrast=0.4)
    views = dataclasses.replace(small.views.with_mode("unwrapped-detector"), augmentation=changes)
    return dataclasses.replace(small, views=views, seed=SEED, monitor_every=5)


def train(scale: Scale, work: Path, jobs: int, progress: bool = True) -> ContrastResult:
    """Train it in `work`, or go on from the checkpoint there."""
    preparation = InputPreparation(size=scale.frame)
    frames, good = training_frames(scale, work / "frames", jobs)
    images = prepare_frames(frames, good.numpy(), preparation)
    folder = work / "training"
    return train_contrastive(
        images,
        recipe(scale),
        folder,
        mask=good,
        preparation=preparation,
        resume=(folder / "checkpoint.safetensors").is_file(),
        progress=progress,
    )


def scores(model: ContrastiveModel, scale: Scale, work: Path, pairs: Path | None) -> dict[str, Any]:
    """Of this network, of the same one untrained, and of PCA: P2's scores, nulls, and ranks of the real pairs."""
    preparation = InputPreparation(size=scale.frame)
    shots = load([simulated(work, scale.scored, scale.frame, scale.nulls)])
    images, changed = shots.images(scale.frame, "mean"), shots.changed_images(scale.frame, "mean")
    assert shots.good is not None
    good, views = torch.from_numpy(shots.good), recipe(scale).views
    torch.manual_seed(SEED)
    untrained = contrastive_preset("small").train()
    with torch.no_grad():
        untrained(images[:128])  # its batch normalisations' statistics
    networks = {TRAINED: model, "untrained network": untrained.eval()}

    def embedding(name: str) -> FittedEmbedding:
        network = networks[name]
        return encoder_embedding(name, lambda batch: network.embed(plain_view(batch, views, mask=good)), images)

    methods = {name: embedding(name) for name in networks}
    methods["PCA"] = pca(images, min(256, len(images) // 4), seed=0)
    found: dict[str, Any] = {"images": len(images)}
    for name, fitted in methods.items():
        nulls = physics_nulls(fitted.distances, changed)
        scored = evaluate_fitted(fitted, shots.labels, metrics=("cosine",), nulls=nulls)
        found[name] = {
            "precision": scored["linear"]["precision"],
            "recall": scored["linear"]["recall"],
            "overlap": scored["overlap"]["cosine"]["macro"],
            "nulls": {null: score["recall_at_1"] for null, score in scored["nulls"].items()},
        }
        if pairs is not None:
            detector, unwrapped, _ = read_pairs(pairs, preparation)
            # Both views as they are: to see one's own in the other is what the encoder has learnt.
            embed = networks[name].embed if name in networks else fitted.embed
            found[name]["pairs"] = partner_ranks(partial(_vectors, embed), detector, unwrapped)
    return found


@torch.no_grad()
def _vectors(embed: Callable[[Tensor], Any], images: Tensor) -> NDArray[np.float32]:
    return np.asarray(embed(images), np.float32)


def described(result: ContrastResult, scale: Scale, found: dict[str, Any]) -> Any:
    """The card, with the data and the scores on it."""
    data = {
        "simulated": dataclasses.asdict(scale) | {"seed": SEED, "images": len(result.split.train)},
        "of helium": f"all that are neither round nor empty, one in {OTHERS} of the others",
        "of helium-balanced": "half through the response of the helium detector",
    }
    training = result.card.training | {"data": data, "limits": list(LIMITS)}
    metrics = result.card.metrics | {"scores": found}
    return dataclasses.replace(result.card, preset=NAME.partition(".")[0], training=training, metrics=metrics)


def page(content: dict[str, Any], scale: Scale) -> str:
    """The encoder's card for people."""
    found, machine = content["scores"], content["machine"]
    methods = [name for name in found if name != "images"]
    nulls = list(found[methods[0]]["nulls"])
    lines = [
        "# The package's encoder",
        "",
        "Written by `python -m benchmarks.reproduce.package_encoder`; the card in the weights' file "
        "(`cdifast.nn.load_encoder`) holds the same and every setting.",
        "",
        f"Contrastive projection learning (P2), unwrapped-detector, with the recipe `small` for {scale.epochs} epochs "
        f"on {content['images']} simulated shots of {scale.frame} x {scale.frame} pixels: helium droplets (one in "
        f"{OTHERS} of the round and empty ones), the balanced droplets, half of them through the helium "
        f"detector's response, and five species at an X-ray laser. No label was used. "
        f"{content['seconds'] / 60:.0f} minutes on {machine['cpu']}, "
        f"{machine['cores']} cores.",
        "",
        "## Scores",
        "",
        f"On P2's selection of other simulated helium shots ({found['images']}), by P2's protocols.",
        "",
        *header(["", "precision", "recall", "overlap", *(f"null: {null}" for null in nulls)]),
    ]
    for name in methods:
        scores = found[name]
        shown = [scores[key] for key in ("precision", "recall", "overlap")] + [scores["nulls"][null] for null in nulls]
        lines.append(row([name, *(f"{value:.3f}" for value in shown)]))
    lines += [
        "",
        "Nulls: share of shots, simulated again under other conditions, whose nearest shot is the original.",
        "",
    ]
    if "pairs" in found[methods[0]]:
        lines += [
            "## The seven published pairs of real helium shots",
            "",
            "Rank of a shot's own unwrapped view among all seven, by cosine distance, and of its own detector view.",
            "",
            *header(["", "detector to unwrapped", "unwrapped to detector", "mean (chance 4)", "p of all pairings"]),
        ]
        for name in methods:
            pairs = found[name]["pairs"]
            ranks = [", ".join(map(str, pairs[key])) for key in ("detector_to_unwrapped", "unwrapped_to_detector")]
            lines.append(row([name, *ranks, f"{pairs['mean_rank']:.2f}", f"{pairs['p']:.4f}"]))
        lines.append("")
    return "\n".join([*lines, "## Limits", "", *(f"- {limit}" for limit in LIMITS), ""])


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="full")
    parser.add_argument("--work", type=Path, default=Path("build/package-encoder"), help="shots, checkpoint, weights")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/package-encoder"))
    parser.add_argument("--pairs", type=Path, help="the seven published helium pairs")
    parser.add_argument("--jobs", type=int, default=1, help="processes that simulate")
    parser.add_argument("--install", action="store_true", help=f"write {PACKAGE / NAME}")
    arguments = parser.parse_args()
    scale = SCALES[arguments.scale]
    result = train(scale, arguments.work, arguments.jobs)
    found = scores(result.model, scale, arguments.work, arguments.pairs)
    weights = arguments.work / NAME
    save_weights(weights, result.model, described(result, scale, found))
    load_encoder(weights)
    content = {
        "images": len(result.split.train),
        "scores": found,
        "training": [dataclasses.asdict(record) for record in result.history if record.retrieval is not None],
        "seconds": sum(record.seconds for record in result.history),
        "machine": describe_machine(),
        "versions": describe_versions(),
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    write_text_whole(arguments.output / "result.json", json.dumps(content, indent=1) + "\n")
    write_text_whole(arguments.output / "README.md", page(content, scale))
    if arguments.install:
        PACKAGE.mkdir(exist_ok=True)
        with whole_file(PACKAGE / NAME) as temporary:
            shutil.copyfile(weights, temporary)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
