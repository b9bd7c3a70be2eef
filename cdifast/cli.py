"""The ``cdifast`` command: thin shells round the package's functions."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
import typer.core

if TYPE_CHECKING:
    from cdifast.data import Frames

# What a user can mend gets one line; anything else is a bug and keeps its traceback.
_MENDABLE = (
    ValueError,
    TypeError,
    OSError,
    ImportError,
    RuntimeError,
    IndexError,
    FloatingPointError,
    MemoryError,
    OverflowError,
)
# The package speaks of Python arguments; here they are options.
_OPTIONS = {
    "overwrite=True": "--overwrite",
    "dataset=": "--dataset ",
    "mask=": "--mask ",
    "labels=": "--labels ",
    "resume it, overwrite it": "resume it (--resume), overwrite it (--overwrite)",
}


class _Commands(typer.core.TyperGroup):
    """Runs a command, and turns interrupts and mendable errors into one line and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort):
            raise
        except KeyboardInterrupt as interrupt:
            reason = f" ({interrupt})" if str(interrupt) else ""
            _say(f"interrupted{reason}; give the same command again to go on from there (train: with --resume)")
            raise typer.Exit(130) from None
        except _MENDABLE as error:
            if os.environ.get("CDIFAST_TRACEBACK"):
                raise
            text = str(error) or type(error).__name__
            for argument, option in _OPTIONS.items():
                text = text.replace(argument, option)
            _say(f"error: {text}")
            raise typer.Exit(1) from None


app = typer.Typer(
    name="cdifast",
    cls=_Commands,
    help="Classify, unwrap and correlate X-ray diffraction images of single particles.",
    epilog="CDIFAST_TRACEBACK=1 shows where an error came from.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


Files = Annotated[
    list[str],
    typer.Argument(
        help="Frames: CXI, HDF5, .npy, .npz, TIFF or PNG files, patterns or folders; all of them form one stack.",
        metavar="FILE...",
    ),
]
Dataset = Annotated[
    str | None,
    typer.Option(
        help="Data set or array that holds the frames, where a file leaves a choice; 'A+B' joins two halves, "
        "'entry_*/PLACE' takes one frame from every CXI entry."
    ),
]
Mask = Annotated[
    str | None,
    typer.Option(help="File with the mask (FILE:ARRAY where it holds several): True = good, or CXI bits, 0 = good."),
]
Labels = Annotated[str | None, typer.Option(help="File with labels (N, 11) of 0 and 1.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]


@contextmanager
def _frames(files: list[str], dataset: str | None, mask: str | None, labels: str | None = None) -> Iterator[Frames]:
    from cdifast.data import open_frames

    with open_frames(files, dataset=dataset, mask=mask, labels=labels) as frames:
        for warning in frames.warnings:
            _say(f"warning: {warning}")
        yield frames


def _device(name: str) -> str:
    """A device that can be used; refused before any work is done for it."""
    import torch

    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"--device: found {name!r}; expected cpu, cuda or cuda:N") from None
    if device.type == "cuda":
        if not torch.cuda.is_available():
            from cdifast.doctor import cuda

            raise ValueError(f"--device {name}: there is no CUDA here: {cuda().found.removeprefix('no: ')}")
        if device.index is not None and device.index >= torch.cuda.device_count():
            raise ValueError(f"--device {name}: there are {torch.cuda.device_count()} GPUs, numbered from 0")
    return name


def _table(rows: dict[str, str], title: str | None = None) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, show_header=False, box=None, title_justify="left", title_style="bold")
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, value)
    Console(markup=False, highlight=False).print(table)


@app.command()
def simulate(
    output: Annotated[Path, typer.Argument(help="CXI file to write.", metavar="OUTPUT.cxi")],
    count: Annotated[int, typer.Option(help="Number of shots.")] = 1000,
    size: Annotated[int, typer.Option(help="Pixels along each side.")] = 256,
    preset: Annotated[str, typer.Option(help="Experiment to simulate.")] = "helium",
    seed: Annotated[int, typer.Option(help="Random sequence; shot k depends on (seed, k) only.")] = 0,
    start: Annotated[
        int, typer.Option(help="Index of the first shot in that sequence, for making a set in parts.")
    ] = 0,
    compression: Annotated[
        Literal["none", "gzip", "bitshuffle-lz4"], typer.Option(help="Compression of the frames.")
    ] = "none",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Simulate labelled diffraction images of helium nanodroplets.

    An interrupted run goes on when the same command is given again.

    Example: `cdifast simulate shots.cxi --count 2000 --size 256 --seed 1`
    """
    from cdifast.jobs import write_shots

    path = write_shots(
        output,
        count,
        size=size,
        preset=preset,
        seed=seed,
        start=start,
        compression=None if compression == "none" else compression,
        overwrite=overwrite,
        progress=not quiet,
    )
    _say(f"{count} shots in {path}")


@app.command()
def info(
    files: Files,
    dataset: Dataset = None,
    mask: Mask = None,
    labels: Labels = None,
    figure: Annotated[Path | None, typer.Option(help="Also draw some frames, to this PNG.")] = None,
) -> None:
    """Say what is in files: layout, frames, mask, labels, energy, event keys, values.

    Example: `cdifast info "run7/*.cxi" --figure run7.png`
    """
    from cdifast.data.summary import summarize

    with _frames(files, dataset, mask, labels) as frames:
        _table(summarize(frames))
        if figure is not None:
            from cdifast.report.figures import draw_frames

            _save(draw_frames(frames), figure, frames)


@app.command()
def convert(
    files: Files,
    output: Annotated[Path, typer.Option("--output", "-o", help="CXI file to write.", metavar="OUTPUT.cxi")],
    compression: Annotated[
        Literal["bitshuffle-lz4", "gzip", "none"], typer.Option(help="Compression of the frames.")
    ] = "bitshuffle-lz4",
    dataset: Dataset = None,
    mask: Mask = None,
    labels: Labels = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Rewrite frames of any layout as one stacked CXI file that reads fast, a chunk for each frame.

    Values, element type, mask, labels, energies and event keys are kept. An interrupted run goes on when the same
    command is given again.

    Example: `cdifast convert "amo10510/*.cxi" --output nanorice.cxi`
    """
    from cdifast.jobs import convert_frames

    with _frames(files, dataset, mask, labels) as frames:
        path = convert_frames(
            frames,
            output,
            compression=None if compression == "none" else compression,
            overwrite=overwrite,
            progress=not quiet,
        )
        _say(f"{len(frames)} frames in {path}")


@app.command()
def maps(
    files: Files,
    output: Annotated[Path, typer.Option("--output", "-o", help="HDF5 file to write.")],
    n_radial: Annotated[int, typer.Option(help="Radii of the unwrapped map; the map is n_radial x n_radial.")] = 112,
    n_angular: Annotated[int, typer.Option(help="Angles of the unwrapped map.")] = 224,
    order: Annotated[int, typer.Option(help="Order of the upper triangle.")] = 8,
    part: Annotated[Literal["real", "abs"], typer.Option(help="What the upper triangle holds of it.")] = "real",
    normalize: Annotated[Literal["none", "mean", "pearson"], typer.Option(help="Normalisation of the rings.")] = "none",
    center: Annotated[
        tuple[float, float] | None, typer.Option(help="Beam centre in pixels, Y then X; default: the middle.")
    ] = None,
    r_min: Annotated[float, typer.Option(help="First radius in pixels.")] = 0.0,
    r_max: Annotated[
        float | None, typer.Option(help="Last radius in pixels; default: the largest circle inside.")
    ] = None,
    min_weight: Annotated[float, typer.Option(help="Least share of valid angles of a cell.")] = 0.05,
    dataset: Dataset = None,
    mask: Mask = None,
    figure: Annotated[Path | None, typer.Option(help="Also draw some frames with their maps, to this PNG.")] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Compute the angular correlation map of every frame.

    Lower triangle and diagonal: zero-lag correlation; upper triangle: the given order. An interrupted run goes on
    when the same command is given again.

    Example: `cdifast maps run7.cxi --output run7-maps.h5 --center 512.3 509.8 --figure run7-maps.png`
    """
    from cdifast.jobs import MapSettings, write_maps

    settings = MapSettings(
        n_radial=n_radial,
        n_angular=n_angular,
        order=order,
        part=part,
        normalize=normalize,
        center=center,
        r_min=r_min,
        r_max=r_max,
        min_weight=min_weight,
    )
    with _frames(files, dataset, mask) as frames:
        path = write_maps(frames, output, settings, overwrite=overwrite, progress=not quiet)
        _say(f"{len(frames)} maps in {path}")
        if figure is not None:
            from cdifast.report.figures import draw_maps

            _save(draw_maps(frames, settings), figure, frames)


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

    device = _device(device)
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
    with _frames(files, dataset, mask, labels) as frames:
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
    _table(rows, title=f"{metrics.images} validation images after {config.epochs} epochs")


@app.command()
def predict(
    files: Files,
    weights: Annotated[
        Path, typer.Option("--weights", "-w", help="weights.safetensors, or the folder that train wrote.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="HDF5 file to write.")],
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    dataset: Dataset = None,
    mask: Mask = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Label frames with a trained classifier.

    An interrupted run goes on when the same command is given again.

    Example: `cdifast predict run7.cxi --weights model --output run7-labels.h5`
    """
    from cdifast.data.hdf5 import import_h5py
    from cdifast.jobs import write_predictions

    device = _device(device)
    if weights.is_dir():
        weights = weights / "weights.safetensors"
    with _frames(files, dataset, mask) as frames:
        path = write_predictions(frames, weights, output, device=device, overwrite=overwrite, progress=not quiet)
        count = len(frames)
    with import_h5py().File(path) as file:
        group = file["/entry_1/predictions"]
        sums = group["label"][:].sum(axis=0)
        broken = int((group["broken_rules"][:] > 0).sum())
        classes = list(group.attrs["classes"])
    rows = {name: f"{total} frames" for name, total in zip(classes, sums, strict=True) if total}
    rows["breaking a rule"] = f"{broken} frames"
    _table(rows, title=f"{count} frames labelled in {path}")


@app.command()
def quickstart(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for everything.")] = Path("quickstart"),
    count: Annotated[int, typer.Option(help="Shots to simulate.")] = 1000,
    seed: Annotated[int, typer.Option(help="Random sequence of shots, split and weights.")] = 0,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """The whole way in a few minutes: simulate, write, read, train, evaluate, map, report.

    An interrupted run goes on when the same command is given again.

    Example: `cdifast quickstart --output quickstart`
    """
    from cdifast.quickstart import run_quickstart

    result = run_quickstart(output, count=count, seed=seed, overwrite=overwrite, progress=not quiet)
    _say(f"report: {result.report}")


@app.command()
def doctor(
    gpu: Annotated[bool, typer.Option("--gpu", help="Check and time every operator on the GPU.")] = False,
) -> None:
    """Say what was built, what runs here, and whether it gives right results; exit status 1 if not.

    Example: `cdifast doctor --gpu`
    """
    from cdifast.doctor import examine, examine_device

    marks = {True: "[ok] ", False: "[WRONG] ", None: ""}
    checks = examine()
    if gpu:
        checks += examine_device(_device("cuda"))
    _table({check.name: marks[check.good] + check.found for check in checks})
    if any(check.good is False for check in checks):
        raise typer.Exit(1)


def _save(figure: Any, path: Path, frames: Frames) -> None:
    from cdifast._atomic import whole_file
    from cdifast.jobs.rows import refuse_inputs

    refuse_inputs(path, frames.input_paths)
    if path.exists() and path.suffix.lower() != ".png":
        raise FileExistsError(f"{path}: exists already and is no .png file; choose another name for the figure")
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png")
    _say(f"figure: {path}")


if __name__ == "__main__":
    app()
