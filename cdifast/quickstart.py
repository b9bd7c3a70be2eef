"""The whole way in a few minutes: simulate, write, read, train, evaluate, map, embed, report.

Each stage leaves its result in the folder under its final name only when it is whole, so an interrupted run is
continued by the same call, at whatever stage it stopped.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from cdifast import __version__, jobs, report
from cdifast._atomic import write_text_whole
from cdifast.data import Frames, open_frames
from cdifast.data.prepare import InputPreparation, prepare_frames
from cdifast.data.row_file import partial_path
from cdifast.evaluate import predict_probabilities, rule_violations
from cdifast.report import figures
from cdifast.report.held_out import HeldOut, simulated_labels
from cdifast.report.pictures import MOST_WRONG, draw_pictures
from cdifast.report.similarity import Similarity
from cdifast.simulate import PRESETS
from cdifast.train import TrainConfig, TrainResult, shuffled_split, train_classifier
from cdifast.train.classify import BEST_WEIGHTS, CHECKPOINT, CONFIG, WEIGHTS
from cdifast.train.history import HISTORY

SHOTS: Final = "shots.cxi"
TRAINING: Final = "training"
HELD_OUT: Final = "held-out.csv"
MAPS: Final = "maps.h5"
EMBEDDINGS: Final = "embeddings.h5"
REPORT: Final = "report.html"
SUMMARY: Final = "summary.json"
STATE: Final = "quickstart.json"

PRESET: Final = "helium-balanced"

RECIPE: Final = TrainConfig(
    epochs=16,
    batch_size=32,
    learning_rate=0.1,
    warmup_epochs=1,
    decay_every=6.4,
    decay_factor=0.1,
    # The held-out shots are the validation split: thresholds chosen on them would flatter the network.
    thresholds="half",
)
"""P1's recipe for a thousand images and a few minutes: smaller batches make more steps of few images, the rate is
lowered at two fifths and four fifths of the run, and an epoch of warm-up guards the first steps at P1's high rate
(trials without it ended alike)."""


@dataclass(frozen=True)
class QuickstartResult:
    """What a quickstart leaves.

    Attributes
    ----------
    output
        The folder.
    report
        The HTML report in it.
    summary
        The content of its ``summary.json``: every number of the report.
    """

    output: Path
    report: Path
    summary: dict[str, Any]


def run_quickstart(
    output: str | os.PathLike[str],
    *,
    count: int = 1000,
    size: int = 128,
    input_size: int = 64,
    epochs: int = RECIPE.epochs,
    seed: int = 0,
    overwrite: bool = False,
    progress: bool = False,
) -> QuickstartResult:
    """Simulate labelled shots, train a classifier, evaluate it, make correlation maps, find similar shots, and report.

    The folder receives ``shots.cxi`` (frames with labels), ``training/`` (weights, history, checkpoint),
    ``held-out.csv`` (true labels and probabilities of every held-out shot), ``maps.h5`` (a correlation map of every
    shot), ``embeddings.h5`` (an embedding of every shot by the package's encoder), ``report.html`` (one file, opens
    anywhere) and ``summary.json`` (every number of the report).

    The held-out shots (15 %) take no part in training, nor in choosing among epochs: the network after the last
    epoch is evaluated.

    An interrupted run is continued by the same call: what is finished stays, and shots, training and maps go on
    where they stopped. A finished run returns at once.

    Parameters
    ----------
    output
        Folder, made if missing.
    count
        Shots to simulate, at least 2.
    size
        Pixels along each side of a shot, at least 16.
    input_size
        Pixels along each side that the network sees.
    epochs
        Passes over the training shots; warm-up and decay of the learning rate are scaled to them.
    seed
        Of shots, split, weights, order, augmentation and bootstrap.
    overwrite
        Replace a finished run, or an unfinished one with other settings. An unfinished run with the same settings
        is continued even so.
    progress
        Say on standard error what is being done, with progress bars.

    Returns
    -------
    QuickstartResult

    Raises
    ------
    ValueError
        An argument out of range; nothing has been written then.
    FileExistsError
        The folder holds a run with other settings, or files of these names without a run's state, and `overwrite`
        is False.
    NotADirectoryError
        `output` is a file.
    ImportError
        h5py or matplotlib is missing (``pip install 'cdifast[all]'``).
    KeyboardInterrupt
        Interrupted; the same call continues.
    """
    plan = _Plan.make(count, size, input_size, epochs, seed)
    folder = Path(output)
    _check_extras()
    state = _State.open(folder, plan, overwrite=overwrite)
    if all((folder / name).is_file() for name in (SHOTS, MAPS, EMBEDDINGS, HELD_OUT, REPORT, SUMMARY)):
        return QuickstartResult(folder, folder / REPORT, json.loads((folder / SUMMARY).read_text(encoding="utf-8")))
    return _Run(folder, plan, state, progress).run()


@dataclass(frozen=True)
class _Plan:
    """Everything that decides the outcome."""

    count: int
    size: int
    seed: int
    preparation: InputPreparation
    config: TrainConfig
    maps: jobs.MapSettings

    @classmethod
    def make(cls, count: int, size: int, input_size: int, epochs: int, seed: int) -> _Plan:
        """The plan; each part checks its own arguments."""
        if epochs < 1:
            raise ValueError(f"epochs: found {epochs}, expected at least 1")
        config = dataclasses.replace(RECIPE.scaled(epochs), seed=seed)
        shuffled_split(count, config.train_fraction, seed)
        detector = PRESETS[PRESET].detector(size)
        # A bilinear sample touches pixels up to a diagonal away; with that margin from the hole and from the
        # rim, every ring is measured all round and no cell of a map needs a fill value.
        margin = 2**0.5
        maps = jobs.MapSettings(
            n_radial=size // 2,
            n_angular=size,
            # Without it, the fall of intensity with radius would be all that a picture of a map shows.
            normalize="pearson",
            r_min=detector.hole * size / 2 + margin,
            r_max=size / 2 - margin,
        )
        return cls(count, size, seed, InputPreparation(size=input_size), config, maps)

    def settings(self) -> dict[str, Any]:
        """As it reads after a round trip through JSON."""
        settings: dict[str, Any] = json.loads(
            json.dumps(
                {
                    "cdifast": __version__,
                    "preset": PRESET,
                    "count": self.count,
                    "size": self.size,
                    "seed": self.seed,
                    "preparation": self.preparation.to_dict(),
                    "training": self.config.to_dict(),
                    "maps": dataclasses.asdict(self.maps),
                }
            )
        )
        return settings


@dataclass
class _State:
    """What the folder belongs to, and the wall time of its stages."""

    path: Path
    settings: dict[str, Any]
    seconds: dict[str, float] = field(default_factory=dict)
    finished: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, folder: Path, plan: _Plan, *, overwrite: bool) -> _State:
        """Claim the folder, or find the run that has claimed it."""
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(f"{folder}: is a file; expected a folder, or a name that is free")
        path, settings = folder / STATE, plan.settings()
        products = [folder / name for name in (SHOTS, MAPS, EMBEDDINGS, HELD_OUT, REPORT, SUMMARY)]
        products += [partial_path(folder / name) for name in (SHOTS, MAPS, EMBEDDINGS)]
        products += [folder / TRAINING / name for name in (CHECKPOINT, WEIGHTS, BEST_WEIGHTS, CONFIG, *HISTORY)]
        found = [product for product in products if product.exists()]
        remedy = "choose another folder, or overwrite it"
        there = _read_state(path)
        if there is not None:
            differing = _differences(there["settings"], settings)
            whole = (folder / SUMMARY).is_file() and (folder / REPORT).is_file()
            if not differing and not (overwrite and whole):
                return cls(path, settings, there["seconds"], there["finished"])
            if differing and not overwrite:
                raise FileExistsError(
                    f"{folder}: holds a quickstart with other settings ({'; '.join(differing)}); {remedy}"
                )
        elif found and not overwrite:
            raise FileExistsError(f"{found[0]}: exists, but not from a quickstart with a readable {STATE}; {remedy}")
        for product in found:
            product.unlink()
        state = cls(path, settings)
        state.save()
        return state

    def save(self) -> None:
        """Write the state."""
        content = {"settings": self.settings, "seconds": self.seconds, "finished": self.finished}
        write_text_whole(self.path, json.dumps(content, indent=1))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the block's time to a stage's; what is only looked at again after its end does not count."""
        begun = time.monotonic()
        try:
            yield
        finally:
            if name not in self.finished:
                self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - begun
                self.save()
        if name not in self.finished:
            self.finished.append(name)
            self.save()


class _Run:
    """One way through the stages."""

    def __init__(self, folder: Path, plan: _Plan, state: _State, progress: bool) -> None:
        self.folder, self.plan, self.state, self.progress = folder, plan, state, progress

    def run(self) -> QuickstartResult:
        """All stages in order, each from where it is."""
        plan = self.plan
        with self.stage("simulation", f"simulating {plan.count} shots"):
            if not (self.folder / SHOTS).is_file():
                jobs.write_shots(
                    self.folder / SHOTS,
                    plan.count,
                    size=plan.size,
                    preset=PRESET,
                    seed=plan.seed,
                    progress=self.progress,
                )
        with open_frames(self.folder / SHOTS) as frames:
            with self.stage("reading and preparation", "reading them back"):
                inputs = prepare_frames(frames, frames.mask, plan.preparation)
                frames_sha256 = _content_sha256(frames)
            with self.stage("training", f"training for {plan.config.epochs} epochs"):
                trained = self.train(inputs, frames)
            with self.stage("evaluation", "evaluating on the held-out shots"):
                probabilities = predict_probabilities(trained.model, inputs[torch.from_numpy(trained.split.validation)])
                held_out = HeldOut.make(frames, trained, probabilities)
                comparison = held_out.compare(plan.seed)
                write_text_whole(self.folder / HELD_OUT, held_out.to_csv())
            with self.stage("correlation maps", "making correlation maps"):
                if not (self.folder / MAPS).is_file():
                    jobs.write_maps(frames, self.folder / MAPS, plan.maps, progress=self.progress)
            with self.stage("embeddings", "embedding them with the package's encoder"):
                if not (self.folder / EMBEDDINGS).is_file():
                    jobs.write_embeddings(frames, self.folder / EMBEDDINGS, progress=self.progress)
                similarity = Similarity.measure(frames, self.folder / EMBEDDINGS)
            with self.stage("figures", "drawing the report"):
                pictures = {
                    name: (figures.png(figure), alternative, caption)
                    for name, (figure, alternative, caption) in draw_pictures(
                        frames, trained, held_out, comparison, plan.maps, similarity
                    ).items()
                }
        fingerprints = {
            "frames and labels as simulated": frames_sha256,
            "images as prepared, labels, split": trained.card.data_sha256,
            "encoder of the package": similarity.weights_sha256,
            f"{TRAINING}/{WEIGHTS}": hashlib.sha256((self.folder / TRAINING / WEIGHTS).read_bytes()).hexdigest(),
        }
        page = self.page(trained, held_out, comparison, similarity, pictures, fingerprints)
        summary = _summary(page, plan, trained, held_out)
        write_text_whole(self.folder / REPORT, report.render(page))
        # Last, as its presence tells that the run is over.
        write_text_whole(self.folder / SUMMARY, json.dumps(summary, indent=1, allow_nan=False))
        return QuickstartResult(self.folder, self.folder / REPORT, summary)

    @contextmanager
    def stage(self, name: str, doing: str) -> Iterator[None]:
        """A stage, announced."""
        if self.progress and name not in self.state.finished:
            print(f"quickstart: {doing}", file=sys.stderr)
        with self.state.stage(name):
            yield

    def train(self, inputs: torch.Tensor, frames: Frames) -> TrainResult:
        """Train, or go on from the checkpoint; a finished training is only evaluated."""
        folder = self.folder / TRAINING
        begun = (folder / CHECKPOINT).is_file()
        return train_classifier(
            inputs,
            simulated_labels(frames),
            self.plan.config,
            folder,
            preparation=self.plan.preparation,
            resume=begun,
            # Before its first checkpoint a run may have left other files; the folder is ours.
            overwrite=not begun,
            progress=self.progress and "training" not in self.state.finished,
        )

    def page(
        self,
        trained: TrainResult,
        held_out: HeldOut,
        comparison: report.Comparison,
        similarity: Similarity,
        pictures: dict[str, tuple[bytes, str, str]],
        fingerprints: dict[str, str],
    ) -> report.Report:
        """All that the page shows."""
        plan, config = self.plan, self.plan.config
        return report.Report(
            size=plan.size,
            input_size=plan.preparation.size,
            epochs=config.epochs,
            classes=trained.card.classes,
            train_counts=held_out.train_labels.sum(axis=0, dtype=np.int64),
            held_out_counts=held_out.labels.sum(axis=0, dtype=np.int64),
            train_images=len(held_out.train_labels),
            comparison=comparison,
            similarity=similarity,
            label_violations=rule_violations(held_out.labels, trained.card.classes),
            wrong_images=len(held_out.wrong()),
            pictures=pictures,
            settings={
                "simulated experiment": PRESET,
                "seed": plan.seed,
                "network": f"pre-activation ResNet{config.depth}, width {config.width:g}, log activation",
                "batch": config.batch_size,
                "learning rate": f"{config.learning_rate:g}, times {config.decay_factor:g} every "
                f"{config.decay_every:g} epochs, {config.warmup_epochs:g} of warm-up",
                "loss": f"sigmoid cross-entropy + {config.l1:g} L1 + {config.l2:g} L2 of the kernels",
                "maps": f"{plan.maps.n_radial} radii, {plan.maps.n_angular} angles, order {plan.maps.order} "
                f"({plan.maps.part} part), normalisation {plan.maps.normalize}",
            },
            fingerprints=fingerprints,
            versions=report.describe_versions(),
            machine=report.describe_machine(),
            seconds=dict(self.state.seconds),
            files={
                SHOTS: "the shots: frames, labels, photon energies, mask (CXI)",
                f"{TRAINING}/{WEIGHTS}": "the network after the last epoch, with its card",
                HELD_OUT: "true labels and probabilities of every held-out shot",
                MAPS: "the correlation map of every shot (HDF5, opens in silx view)",
                EMBEDDINGS: "the embedding of every shot, which `cdifast similar` searches (HDF5)",
                SUMMARY: "every number of this page",
            },
            next_steps=_next_steps(self.folder),
        )


def _summary(page: report.Report, plan: _Plan, trained: TrainResult, held_out: HeldOut) -> dict[str, Any]:
    """Every number of the report, JSON-serialisable."""
    classes = page.classes
    return {
        "verdict": report.verdict(page.comparison),
        "settings": plan.settings(),
        "versions": dict(page.versions),
        "machine": dict(page.machine),
        "seconds": {**page.seconds, "all": sum(page.seconds.values())},
        "fingerprints_sha256": dict(page.fingerprints),
        "shots": {
            "train": page.train_images,
            "held_out": page.comparison.images,
            "train_by_class": dict(zip(classes, page.train_counts.tolist(), strict=True)),
            "held_out_by_class": dict(zip(classes, page.held_out_counts.tolist(), strict=True)),
        },
        "held_out": page.comparison.to_dict(),
        "true_labels_breaking_a_rule": {rule: len(rows) for rule, rows in page.label_violations.by_rule.items()},
        "wrong_images": page.wrong_images,
        "similar_shots": page.similarity.to_dict(),
        "most_wrong": [
            {
                "shot": int(held_out.indices[row]),
                "true": figures.label_text(held_out.labels[row], classes),
                "predicted": figures.label_text(held_out.predicted[row], classes),
            }
            for row in held_out.wrong()[:MOST_WRONG]
        ],
        "history": [dataclasses.asdict(record) for record in trained.history],
    }


def _next_steps(folder: Path) -> list[str]:
    here = {name: shlex.quote(str(folder / name)) for name in (SHOTS, TRAINING, "labels.h5")}
    return [
        "# what is in a file, with a picture of some frames",
        "cdifast info your.cxi --figure your-frames.png",
        "# a correlation map of every frame, with a picture of some",
        "cdifast maps your.cxi --output your-maps.h5 --figure your-maps.png",
        "# train on labelled frames",
        "cdifast train your.cxi --labels your-labels.npy --output model --epochs 20 --input-size 96 --warmup-epochs 1",
        "# label frames with the trained network",
        "cdifast predict your.cxi --weights model --output your-labels.h5",
        "# the same with the network and the shots of this page",
        f"cdifast predict {here[SHOTS]} --weights {here[TRAINING]} --output {here['labels.h5']}",
        "# the shots most similar to one, without training or labels, by the package's encoder",
        "cdifast similar your.cxi --shot 17 --figure like-17.png",
    ]


def _content_sha256(frames: Frames) -> str:
    """SHA-256 of all frames and labels, not of the file, which also holds the time it was made at."""
    digest = hashlib.sha256()
    for start in range(0, len(frames), 64):
        digest.update(np.ascontiguousarray(frames[start : start + 64]).data)
    digest.update(np.ascontiguousarray(simulated_labels(frames)).data)
    return digest.hexdigest()


def _check_extras() -> None:
    """Fail now, not after minutes of computing, where a package for the later stages is missing."""
    for name in ("h5py", "matplotlib"):
        try:
            __import__(name)
        except ImportError as error:
            raise ImportError(f"the quickstart needs {name}: pip install 'cdifast[all]'") from error


def _read_state(path: Path) -> dict[str, Any] | None:
    """The state file's content; None where there is none or it is not one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {key: content[key] for key in ("settings", "seconds", "finished")}
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        return None


def _differences(there: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[str]:
    """What two nested settings differ in, in words."""
    differing = []
    for key in dict.fromkeys([*there, *now]):
        first, second = there.get(key), now.get(key)
        if isinstance(first, dict) and isinstance(second, dict):
            differing += _differences(first, second, f"{prefix}{key}.")
        elif first != second:
            differing.append(f"{prefix}{key}: {first!r} there, {second!r} now")
    return differing
