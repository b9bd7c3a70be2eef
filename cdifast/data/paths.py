"""From paths, patterns and folders to the files of a stack."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from .errors import FrameError

PathLike = str | os.PathLike[str]

KINDS: Final[dict[str, tuple[str, ...]]] = {
    "HDF5": (".cxi", ".h5", ".hdf5", ".hdf", ".nxs"),
    ".npy": (".npy",),
    ".npz": (".npz",),
    "TIFF": (".tif", ".tiff"),
    "PNG": (".png",),
}
"""What a file's name says about its format; used to choose the files of a folder, never to read one."""


class Inputs(NamedTuple):
    """The files of a stack.

    Attributes
    ----------
    files : list of Path
        Absolute: workers may have another working directory.
    folders : dict of Path to int
        Folders that were named as a whole, and how many other files each holds.
    """

    files: list[Path]
    folders: dict[Path, int]


def expand_paths(paths: PathLike | Iterable[PathLike]) -> Inputs:
    """Files of every path, pattern and folder.

    A pattern's and a folder's files come in lexicographic order, a list in its own.

    Raises
    ------
    FileNotFoundError
        A path is missing or a pattern matches nothing.
    FrameError
        No path at all; a folder without files of frames, or with files of several formats.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not given:
        raise FrameError("found an empty list of paths; expected at least one file")
    files: list[Path] = []
    folders: dict[Path, int] = {}
    for entry in given:
        text = os.fspath(entry)
        if os.path.isdir(text):
            folder = Path(text).absolute()
            found, others = _files_in(folder)
            files.extend(found)
            folders[folder] = others
        elif os.path.exists(text):
            files.append(Path(text).absolute())
        elif glob.has_magic(text):
            matches = sorted(glob.glob(text, recursive=True))
            if not matches:
                raise FileNotFoundError(f"{text}: the pattern matches no file")
            folder_match = next((match for match in matches if os.path.isdir(match)), None)
            if folder_match is not None:
                raise FrameError(
                    f"is a directory; the pattern '{text}' matches it: expected files, so add '/*' to it",
                    path=folder_match,
                )
            files.extend(Path(match).absolute() for match in matches)
        else:
            raise FileNotFoundError(f"{text}: no such file")
    return Inputs(files, folders)


def _files_in(folder: Path) -> tuple[list[Path], int]:
    """The files of frames that a folder holds itself, and the number of its other files."""
    kinds = {suffix: kind for kind, suffixes in KINDS.items() for suffix in suffixes}
    found: dict[str, list[Path]] = {}
    others = 0
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if not entry.name.startswith(".") and not entry.is_dir())
    for name in names:
        kind = kinds.get(os.path.splitext(name)[1].lower())
        if kind is None:
            others += 1
        elif not os.path.isfile(folder / name):  # frames that are missing must not be missed silently
            raise FileNotFoundError(f"{folder / name}: is a link to no file, or no file of data")
        else:
            found.setdefault(kind, []).append(folder / name)
    if not found:
        known = ", ".join(suffix for suffixes in KINDS.values() for suffix in suffixes)
        raise FrameError(
            f"is a directory without files of frames ({known}); expected those, a file, or a pattern such as "
            "'run/*/*.cxi'",
            path=folder,
        )
    if len(found) > 1:
        choices = ", ".join(
            f"'{folder}/*{files[0].suffix}' ({len(files)} {kind} files)" for kind, files in found.items()
        )
        raise FrameError(
            f"is a directory with files of several formats: name one with a pattern: {choices}", path=folder
        )
    return next(iter(found.values())), others
