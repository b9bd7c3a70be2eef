"""``cdifast train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .app import Dataset, Files, Labels, Mask, Overwrite, Quiet, app, opened_frames, print_table, usable_device


@app.command()
def train(
    files: Files,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for weights, history and checkpoint.")],
    epochs: Annotated[int, typer.Option(help="Passes over the training images; the decay is scaled to them.")] = 200,
    input_size: Annotated[int, typer.Option(help="Pixels along each side that the network sees.")] = 224,
    depth: Annotated[int, typer.Option(help="Depth of the network: 18, 34, 50 or 101.")] = 18,
    width: Annotated[float, typer.Option(help="Factor on the number of channels.")] = 1.0,
    batch_size: Annotated[int, typer.Option(help="Images a step.")] = 48,
    learning_rate: Annotated[float, typer.Option(help="Learning rate at the start.")] = 0.1,
    warmup_epochs: Annotated[float, typer.Option(help="Epochs of linear rise to it.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of split, weights, order and augmentation.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    dataset: Dataset = None,
    mask: Mask = None,
    labels: Labels = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in the folder.")] = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Train a classifier on labelled frames (pre-activation ResNet with log activation, P1's recipe).

    Ctrl-C leaves a checkpoint; the same command with --resume goes on, bit for bit.

    Example: `cdifast train shots.cxi --output model --epochs 20 --input-size 96 --width 0.5`
    """
    import dataclasses

    from cdifast.data.prepare import InputPreparation, prepare_frames
    from cdifast.jobs.progress import progress_bar
    from cdifast.train import TrainConfig, train_classifier
    from cdifast.train.classify import held_by_a_run, refusal

    device = usable_device(device)
    if resume and overwrite:
        raise ValueError("--resume and --overwrite: expected one of them, not both")
    held = held_by_a_run(output)
    if held and not (resume or overwrite):
        raise FileExistsError(refusal(held[0]))
    # Interrupted before its first checkpoint, a run begins anew.
    if not held:
        resume = False
    config = dataclasses.replace(
        TrainConfig(depth=depth, width=width, batch_size=batch_size, learning_rate=learning_rate, seed=seed).scaled(
            epochs
        ),
        warmup_epochs=warmup_epochs,
    )
    with opened_frames(files, dataset, mask, labels) as frames:
        if frames.labels is None:
            raise ValueError(f"{frames.paths[0]}: has no labels to train on; give them with --labels ({frames.why})")
        preparation = InputPreparation(size=input_size)
        with progress_bar("preparing frames", len(frames), show=not quiet) as report:
            inputs = prepare_frames(frames, frames.mask, preparation, progress=lambda done, _total: report(done))
        result = train_classifier(
            inputs,
            frames.labels,
            config,
            output,
            preparation=preparation,
            resume=resume,
            overwrite=overwrite,
            device=device,
            progress=not quiet,
        )
    metrics = result.metrics
    pooled = f"accuracy {metrics.accuracy:.3f}, precision {metrics.precision:.3f}, recall {metrics.recall:.3f}"
    rows = {"all classes": pooled}
    for entry in metrics.per_class:
        if entry.support:
            scores = f"precision {entry.precision:.3f}, recall {entry.recall:.3f}, {entry.support} images"
            rows[entry.name] = scores
    rows["weights"] = str(result.output / "weights.safetensors")
    print_table(rows, title=f"{metrics.images} validation images after {config.epochs} epochs")
