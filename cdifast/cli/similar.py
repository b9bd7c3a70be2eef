"""``cdifast similar``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .app import Dataset, Files, Mask, Quiet, app, opened_frames, save_figure, usable_device
from .embed import Center, EncoderWeights, weights_file


@app.command()
def similar(
    files: Files,
    shot: Annotated[int | None, typer.Option(help="Frame to compare with: its place in the stack, from 0.")] = None,
    like: Annotated[
        Path | None, typer.Option(help="File with one image to compare with instead (.png, .npy, TIFF, CXI).")
    ] = None,
    k: Annotated[int, typer.Option("--k", "-k", help="How many shots.")] = 20,
    embeddings: Annotated[
        list[Path] | None,
        typer.Option("--embeddings", "-e", help="File that embed wrote for these frames; default: embed them now."),
    ] = None,
    weights: EncoderWeights = None,
    metric: Annotated[Literal["cosine", "euclidean", "correlation"], typer.Option(help="Distance.")] = "cosine",
    figure: Annotated[Path | None, typer.Option(help="Also draw the shots, the query first, to this PNG.")] = None,
    center: Center = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    dataset: Dataset = None,
    mask: Mask = None,
    quiet: Quiet = False,
) -> None:
    """List the shots that are most similar to one shot, or to an image from elsewhere.

    Example: `cdifast similar run7.cxi --shot 17 --k 20 --embeddings run7-embeddings.h5 --figure like-17.png`
    """
    from rich.console import Console
    from rich.table import Table

    from cdifast.jobs.neighbours import event_texts, masked_image, similar_shots

    if (shot is None) == (like is None):
        raise ValueError("--shot, --like: found both or neither, expected one of them")
    device = usable_device(device)
    with opened_frames(files, dataset, mask) as frames:
        found = similar_shots(
            frames,
            k,
            shot=shot,
            like=like,
            embeddings=embeddings or None,
            weights=weights_file(weights),
            metric=metric,
            center=center,
            device=device,
            progress=not quiet,
        )
        texts = event_texts(frames, found.indices)
        table = Table(title=f"nearest to {found.query}", box=None, title_justify="left", title_style="bold")
        for name in ("", "frame", f"{metric} distance"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("event", overflow="fold")
        for place, (index, distance, text) in enumerate(zip(found.indices, found.distances, texts, strict=True), 1):
            table.add_row(str(place), str(index), f"{distance:.5f}", text)
        Console(markup=False, highlight=False).print(table)
        if figure is not None:
            from cdifast.report.neighbours import draw_neighbours, neighbour_caption

            drawn = draw_neighbours(
                found.image,
                f"{found.query}\n{metric} distances",
                [masked_image(frames, int(index)) for index in found.indices],
                list(map(neighbour_caption, found.indices.tolist(), found.distances.tolist(), texts)),
            )
            save_figure(drawn, figure, frames)
