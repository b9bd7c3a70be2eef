"""``cdifast train``."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import typer

from .app import Dataset, Files, Mask, Overwrite, Quiet, app, opened_frames, print_table, say, usable_device

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from cdifast.data import Frames, Preparation
    from cdifast.train import TrainResult

Labels = Annotated[
    str | None,
    typer.Option(
        help="File with labels: (N, 11) of 0 and 1, or a CSV table (.csv) with labels of all frames or of some; "
        "training is then on those that have labels."
    ),
]


@app.command()
def train(
    files: Files,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for weights, history and checkpoint.")],
    recipe: Annotated[str, typer.Option(help="p1 (the paper), p1-code (its code) or fast (a modern one).")] = "p1",
    epochs: Annotated[
        int | None,
        typer.Option(help="Passes over the training images, the schedule scaled to them; default: the recipe's."),
    ] = None,
    network_input: Annotated[
        Literal["images", "maps"],
        typer.Option("--input", help="What the network sees: images, or correlation maps (P1, section 5.3)."),
    ] = "images",
    input_size: Annotated[int, typer.Option(help="Pixels along each side that the network sees.")] = 224,
    architecture: Annotated[str, typer.Option(help="preact_resnet or vgg.")] = "preact_resnet",
    depth: Annotated[
        int | None, typer.Option(help="Depth of the network: 18 (default), 34, 50, 101; VGG: 16 (default), 19.")
    ] = None,
    width: Annotated[float, typer.Option(help="Factor on the number of channels.")] = 1.0,
    first_activation: Annotated[
        str | None,
        typer.Option(help="After the first convolution: log, leaky or none; default: the recipe's."),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a step, of all processes together.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The highest; default: the recipe's.")] = None,
    warmup_epochs: Annotated[float | None, typer.Option(help="Epochs of rise to it; default: the recipe's.")] = None,
    mixed_precision: Annotated[
        str | None, typer.Option(help="none, auto, bfloat16 or float16; default: the recipe's.")
    ] = None,
    patience: Annotated[
        int, typer.Option(help="End after so many validations in a row without a better accuracy; 0: never.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Of split, weights, order and augmentation.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    dataset: Dataset = None,
    mask: Mask = None,
    labels: Labels = None,
    bad_labels: Annotated[
        Literal["keep", "drop", "refuse"],
        typer.Option(
            help="Images whose labels break the exclusion rules: keep them (real ones may be true exceptions), drop "
            "them, or refuse to train; they are reported in any case."
        ),
    ] = "keep",
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write the history for TensorBoard, into the folder.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in the folder.")] = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Train a classifier on labelled frames (pre-activation ResNet with log activation, P1's recipe).

    Ctrl-C leaves a checkpoint; the same command with --resume goes on, bit for bit. Several processes train one
    network together under torchrun: `torchrun --nproc-per-node 4 -m cdifast.cli train ...`.

    Example: `cdifast train shots.cxi --output model --epochs 20 --input-size 96 --width 0.5`
    """
    from cdifast.data import InputPreparation, MapPreparation, open_frames
    from cdifast.train import TrainConfig, train_classifier
    from cdifast.train.classify import held_by_a_run, refusal
    from cdifast.train.distributed import process_group

    device = usable_device(device)
    if resume and overwrite:
        raise ValueError("--resume and --overwrite: expected one of them, not both")
    held = held_by_a_run(output)
    if held and not (resume or overwrite):
        raise FileExistsError(refusal(held[0]))
    # Interrupted before its first checkpoint, a run begins anew.
    if not held:
        resume = False
    given = {
        "epochs": epochs,
        "depth": depth,
        "first_activation": first_activation,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "warmup_epochs": warmup_epochs,
        "mixed_precision": mixed_precision,
    }
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    config = TrainConfig.recipe(recipe, architecture=architecture, width=width, patience=patience, seed=seed, **changes)
    if network_input == "maps":
        config = config.for_maps()
    table = labels if labels is not None and labels.lower().endswith(".csv") else None
    with process_group(device) as ranks:
        # Every process opens the frames and says the same of them: once is enough.
        opening = opened_frames if ranks.is_first else open_frames
        with opening(files, dataset=dataset, mask=mask, labels=None if table else labels) as frames:
            numbers, truth, classes = _labelled(frames, table, say_so=ranks.is_first)
            preparation = (
                MapPreparation.covering(frames.shape[1:], input_size)
                if network_input == "maps"
                else InputPreparation(input_size)
            )
            inputs = _inputs(frames, numbers if table else None, preparation, show=ranks.is_first and not quiet)
        with _said_warnings(show=ranks.is_first):
            result = train_classifier(
                inputs,
                truth,
                config,
                output,
                classes=classes,
                preparation=preparation,
                resume=resume,
                overwrite=overwrite,
                device=device,
                progress=not quiet,
                bad_labels=bad_labels,
                numbers=numbers,
                tensorboard=tensorboard,
            )
        if ranks.is_first:
            _show(result)


def _labelled(
    frames: Frames, table: str | None, *, say_so: bool
) -> tuple[NDArray[np.int64], NDArray[np.uint8], tuple[str, ...]]:
    """The frames with labels, their labels (n, C), and the classes."""
    if table is None:
        if frames.labels is None:
            raise ValueError(f"{frames.paths[0]}: has no labels to train on; give them with --labels ({frames.why})")
        return np.arange(len(frames)), frames.labels, frames.class_names
    from cdifast.data.label_table import read_label_table

    found = read_label_table(table, frames)
    if say_so:
        say(f"{table}: labels of {len(found.indices)} of {len(frames)} frames; training on these")
    return found.indices, found.labels, found.classes


def _inputs(frames: Frames, indices: NDArray[np.int64] | None, preparation: Preparation, *, show: bool) -> torch.Tensor:
    """All frames, or some, as network input."""
    from cdifast.data import prepare_frames
    from cdifast.data.selection import SelectedFrames
    from cdifast.jobs.progress import progress_bar

    chosen = frames if indices is None else SelectedFrames(frames, indices)
    with progress_bar("preparing frames", len(chosen), show=show) as report:
        return prepare_frames(chosen, frames.mask, preparation, progress=lambda done, _total: report(done))


@contextmanager
def _said_warnings(*, show: bool) -> Iterator[None]:
    """Warnings about labels as lines on standard error, without the place in the code."""
    from cdifast.train import LabelRuleWarning

    with warnings.catch_warnings():
        warnings.simplefilter("always" if show else "ignore", LabelRuleWarning)
        elsewhere = warnings.showwarning

        def show_warning(message: Any, category: Any, *place: Any, **options: Any) -> None:
            if issubclass(category, LabelRuleWarning):
                say(f"warning: {message} (--bad-labels)")
            else:
                elsewhere(message, category, *place, **options)

        warnings.showwarning = show_warning
        yield


def _show(result: TrainResult) -> None:
    metrics = result.metrics
    pooled = f"accuracy {metrics.accuracy:.3f}, precision {metrics.precision:.3f}, recall {metrics.recall:.3f}"
    rows = {"all classes": pooled}
    for entry, threshold in zip(metrics.per_class, result.card.thresholds, strict=True):
        if entry.support:
            rows[entry.name] = (
                f"precision {entry.precision:.3f}, recall {entry.recall:.3f}, {entry.support} images, "
                f"threshold for predictions {threshold:.2f}"
            )
    rows["weights"] = str(result.output / "weights.safetensors")
    ended = " (no better since)" if result.stopped_early else ""
    print_table(rows, title=f"{metrics.images} validation images after {len(result.history)} epochs{ended}")
