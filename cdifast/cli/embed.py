"""``cdifast embed``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .app import Dataset, Files, Mask, Overwrite, Quiet, app, opened_frames, say, usable_device

EncoderWeights = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        "-w",
        help="weights.safetensors, or the folder that pretrain or train wrote; default: the package's encoder.",
    ),
]


Center = Annotated[
    tuple[float, float] | None,
    typer.Option(help="Beam centre in pixels, Y then X, where unwrapped views are made; default: the middle."),
]


@app.command()
def embed(
    files: Files,
    output: Annotated[Path, typer.Option("--output", "-o", help="HDF5 file to write.")],
    weights: EncoderWeights = None,
    layer: Annotated[
        Literal["head", "features"] | None,
        typer.Option(help="First layer of the projection head, or the encoder's output; default: the weights' own."),
    ] = None,
    center: Center = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    dataset: Dataset = None,
    mask: Mask = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Turn every frame into a vector in which near means similar.

    An interrupted run goes on when the same command is given again.

    Example: `cdifast embed run7.cxi --output run7-embeddings.h5`
    """
    from cdifast.jobs import write_embeddings

    device = usable_device(device)
    with opened_frames(files, dataset, mask) as frames:
        path = write_embeddings(
            frames,
            output,
            weights_file(weights),
            embedding=layer,
            center=center,
            device=device,
            overwrite=overwrite,
            progress=not quiet,
        )
        say(f"{len(frames)} embeddings in {path}")


def weights_file(weights: Path | None) -> Path | None:
    """The file of weights: of a folder, the one in it."""
    return weights / "weights.safetensors" if weights is not None and weights.is_dir() else weights
