"""``cdifast pretrain``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .app import Dataset, Files, Mask, Overwrite, Quiet, app, opened_frames, print_table, usable_device
from .embed import Center

if TYPE_CHECKING:
    from cdifast.train import ContrastConfig, ContrastResult


@app.command()
def pretrain(
    files: Files,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for weights, history and checkpoint.")],
    encoder: Annotated[
        Literal["small", "p2", "p2-code"],
        typer.Option(help="Recipe and network: one for a CPU, the paper's, or that of the paper's code."),
    ] = "small",
    mode: Annotated[
        Literal["detector-unwrapped", "unwrapped-detector", "detector-detector", "unwrapped-unwrapped"],
        typer.Option(help="The two views of a shot; embed sees the first."),
    ] = "detector-unwrapped",
    epochs: Annotated[int | None, typer.Option(help="Passes over the frames; default: the recipe's.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Shots a step; default: the recipe's.")] = None,
    input_size: Annotated[
        int | None, typer.Option(help="Pixels along each side that the network sees; default: 64, or 224 and 256.")
    ] = None,
    center: Center = None,
    hits: Annotated[
        Path | None,
        typer.Option(help="File that hits wrote for these frames: train on the hits alone, each with its own centre."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights, order and augmentation.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    dataset: Dataset = None,
    mask: Mask = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in the folder.")] = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Train an encoder on frames without labels (contrastive projection learning, P2).

    Ctrl-C leaves a checkpoint; the same command with --resume goes on, bit for bit. Several processes train together
    under torchrun: `torchrun --nproc-per-node 2 -m cdifast.cli pretrain ...`.

    Example: `cdifast pretrain run7.cxi --output encoder --epochs 50`
    """
    import dataclasses

    import torch

    from cdifast.data import open_frames
    from cdifast.data.prepare import InputPreparation
    from cdifast.data.prepared import prepare_with_masks, prepared_center, prepared_centers
    from cdifast.jobs.hit_table import read_hits
    from cdifast.jobs.progress import progress_bar
    from cdifast.train import CONTRAST_RECIPES, train_contrastive
    from cdifast.train.distributed import process_group
    from cdifast.train.resumable import held_by_a_run, refusal

    device = usable_device(device)
    if resume and overwrite:
        raise ValueError("--resume and --overwrite: expected one of them, not both")
    # Before the processes meet: none of them has written yet.
    held = held_by_a_run(output)
    if held and not (resume or overwrite):
        raise FileExistsError(refusal(held[0]))
    # Interrupted before its first checkpoint, a run begins anew.
    if not held:
        resume = False
    recipe = CONTRAST_RECIPES[encoder]
    config = dataclasses.replace(
        recipe.scaled(recipe.epochs if epochs is None else epochs),
        batch_size=recipe.batch_size if batch_size is None else batch_size,
        views=recipe.views.with_mode(mode),
        seed=seed,
    )
    # P2's jitter clips to [0, 1]; the small network's log activation wants the counts.
    size = {"small": 64, "p2": 224, "p2-code": 256}[encoder] if input_size is None else input_size
    preparation = InputPreparation(size=size, scaling="mean" if encoder == "small" else "minmax")
    with process_group(device) as ranks:
        show = ranks.is_first and not quiet
        opening = opened_frames if ranks.is_first else open_frames
        with opening(files, dataset=dataset, mask=mask) as frames:
            chosen = None
            place = None if center is None else torch.tensor(prepared_center(center, frames.shape[1:], size))
            if hits is not None:
                found = read_hits(hits, frames)
                chosen = found.hit.nonzero()[0]
                if len(chosen) < 2:
                    raise ValueError(
                        f"{hits}: found {len(chosen)} hits among {len(frames)} frames, expected at least 2"
                    )
                if found.centers is not None:
                    place = prepared_centers(found.centers[chosen], frames.shape[1:], size, center)
            count = len(frames) if chosen is None else len(chosen)
            with progress_bar("preparing frames", count, show=show) as report:
                images, valid = prepare_with_masks(frames, preparation, chosen, progress=report)
        result = train_contrastive(
            images,
            config,
            output,
            mask=valid,
            centers=place,
            preparation=preparation,
            resume=resume,
            overwrite=overwrite,
            device=device,
            progress=show,
        )
        if ranks.is_first:
            _print_result(result, len(images), config)


def _print_result(result: ContrastResult, count: int, config: ContrastConfig) -> None:
    last = result.history[-1]
    rows = {"loss": f"{last.train_loss:.3f}"}
    if last.retrieval is not None and last.effective_rank is not None:
        rows["partners found"] = f"{100 * last.retrieval:.1f} % of the monitored shots"
        rows["effective rank"] = f"{last.effective_rank:.1f} of {result.model.head.arguments['out']}"
    rows["embedding"] = f"{result.model.num_embedding} numbers"
    rows["weights"] = str(result.output / "weights.safetensors")
    print_table(rows, title=f"{count} frames, {config.views.mode}, trained to epoch {config.epochs}")
