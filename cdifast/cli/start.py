"""``cdifast quickstart`` and ``cdifast doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .app import Overwrite, Quiet, app, print_table, say, usable_device


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
    say(f"report: {result.report}")


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
        checks += examine_device(usable_device("cuda"))
    print_table({check.name: marks[check.good] + check.found for check in checks})
    if any(check.good is False for check in checks):
        raise typer.Exit(1)
