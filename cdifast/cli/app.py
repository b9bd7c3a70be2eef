"""The application that the commands register with, and what they share: options, errors, tables."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
            say(f"interrupted{reason}; give the same command again to go on from there (train: with --resume)")
            raise typer.Exit(130) from None
        except _MENDABLE as error:
            if os.environ.get("CDIFAST_TRACEBACK"):
                raise
            text = str(error) or type(error).__name__
            for argument, option in _OPTIONS.items():
                text = text.replace(argument, option)
            say(f"error: {text}")
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


def say(text: str) -> None:
    """Print on standard error; standard output is for results."""
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
def opened_frames(
    files: list[str], dataset: str | None, mask: str | None, labels: str | None = None
) -> Iterator[Frames]:
    """The frames that a command was given; what is odd about them is said on standard error."""
    from cdifast.data import open_frames

    with open_frames(files, dataset=dataset, mask=mask, labels=labels) as frames:
        for warning in frames.warnings:
            say(f"warning: {warning}")
        yield frames


def usable_device(name: str) -> str:
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


def print_table(rows: dict[str, str], title: str | None = None) -> None:
    """Print names and values in two columns."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, show_header=False, box=None, title_justify="left", title_style="bold")
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, value)
    Console(markup=False, highlight=False).print(table)


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Refuse an output that is there already, before any work is done for it."""
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path}: exists already; remove it, choose another name, or pass overwrite=True")


def save_figure(figure: Any, path: Path, frames: Frames) -> None:
    """Write a figure, but over no file of another kind and none that the frames come from."""
    from cdifast._atomic import whole_file
    from cdifast.jobs.rows import refuse_inputs

    refuse_inputs(path, frames.input_paths)
    if path.exists() and path.suffix.lower() != ".png":
        raise FileExistsError(f"{path}: exists already and is no .png file; choose another name for the figure")
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png")
    say(f"figure: {path}")
