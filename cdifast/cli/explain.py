"""``cdifast explain``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .app import Dataset, Files, Mask, Overwrite, Quiet, app, opened_frames, save_figure, say, usable_device

if TYPE_CHECKING:
    from cdifast.data import Frames

_MOST_DRAWN = 40
_DRAWN = 4


@app.command()
def explain(
    files: Files,
    weights: Annotated[
        Path, typer.Option("--weights", "-w", help="weights.safetensors, or the folder that train wrote.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Figure (.png) of a few shots, or HDF5 file (.h5) for any number.")
    ],
    shots: Annotated[
        str | None,
        typer.Option(help="Which, such as 3,17 or 100:200 (without 200). Default: all, or four of them for a figure."),
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Classes to explain, such as Streak,Bent. Default: the most probable of each.")
    ] = None,
    count: Annotated[int, typer.Option(help="How many classes a shot, without --classes.")] = 3,
    stage: Annotated[
        int | None, typer.Option(help="Stage of the network to look at, from 1. Default: the last; earlier is finer.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    dataset: Dataset = None,
    mask: Mask = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Show where a trained classifier looks: Grad-CAM++ heat maps of single shots.

    A .png shows shots, one a row, each beside what the network saw of its most probable classes. A .h5 holds the
    maps themselves; an interrupted run goes on when the same command is given again.

    Example: `cdifast explain run7.cxi --weights model --shots 3,17 --output explain.png`
    """
    from cdifast.data.selection import SelectedFrames
    from cdifast.jobs import write_explanations

    device = usable_device(device)
    if weights.is_dir():
        weights = weights / "weights.safetensors"
    names = None if classes is None else [name.strip() for name in classes.split(",")]
    suffix = output.suffix.lower()
    if suffix not in (".png", ".h5", ".hdf5"):
        raise ValueError(f"--output: found {output}; expected a .png for a figure or a .h5 for the maps")
    with opened_frames(files, dataset, mask) as frames:
        total = len(frames)
        if suffix == ".png":
            spread = [index * (total - 1) // max(_DRAWN - 1, 1) for index in range(min(_DRAWN, total))]
            chosen = list(dict.fromkeys(spread)) if shots is None else _shot_numbers(shots, total)
            if len(chosen) > _MOST_DRAWN:
                raise ValueError(f"--shots: found {len(chosen)} shots, a figure holds {_MOST_DRAWN}; use a .h5 output")
            _draw(SelectedFrames(frames, chosen), chosen, frames, weights, output, names, count, stage, device)
            return
        selected = frames if shots is None else SelectedFrames(frames, _shot_numbers(shots, total))
        path = write_explanations(
            selected,
            weights,
            output,
            classes=names,
            count=count,
            stage=stage,
            device=device,
            overwrite=overwrite,
            progress=not quiet,
        )
        say(f"heat maps of {len(selected)} shots in {path}")


def _draw(
    selected: Frames,
    chosen: list[int],
    frames: Frames,
    weights: Path,
    output: Path,
    names: list[str] | None,
    count: int,
    stage: int | None,
    device: str,
) -> None:
    from cdifast.jobs import Explainer, explain_frames
    from cdifast.report.explanation import draw_explanations

    explainer = Explainer(weights, selected, classes=names, count=count, stage=stage, device=device)
    images, found = explain_frames(explainer, selected)
    titles = [
        [f"{explainer.class_names[k]} {probability[k]:.2f}" for k in row]
        for row, probability in zip(found.classes, found.probability, strict=True)
    ]
    figure = draw_explanations(
        images,
        explainer.on_frames(found.heat),
        titles,
        [f"shot {index}" for index in chosen],
        selected.mask if explainer.sees_frames else None,
    )
    save_figure(figure, output, frames)


def _shot_numbers(text: str, total: int) -> list[int]:
    """Numbers of ``3,17,100:200``, in this order, each once.

    Raises
    ------
    ValueError
        Not numbers, or none; which number is out of range is said when they are chosen.
    """
    numbers: list[int] = []
    for part in text.split(","):
        start, colon, stop = part.strip().partition(":")
        try:
            if colon:
                numbers.extend(range(*slice(int(start or 0), int(stop) if stop else total).indices(total)))
            else:
                numbers.append(int(start))
        except ValueError:
            raise ValueError(f"--shots: found {text!r}; expected numbers and ranges such as 3,17 or 100:200") from None
    numbers = [number + total if -total <= number < 0 else number for number in numbers]
    if not numbers:
        raise ValueError(f"--shots: found no shot in {text!r}; there are {total}, from 0 on")
    return list(dict.fromkeys(numbers))
