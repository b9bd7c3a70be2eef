"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary name beside `path`; rename it to `path` once the block has ended without error.

    The data reach the disk before the rename, so that after a power cut `path` holds either its old
    content or all of the new one. If the block raises, the temporary file is removed and `path` stays
    as it was. Missing parent folders are created.

    Parameters
    ----------
    path
        Final file name.

    Yields
    ------
    pathlib.Path
        The temporary name to write to (same folder, hence same file system).
    """
    final = Path(path).resolve()  # a symbolic link stays one, and its target is written
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".{final.name}.{os.getpid()}.partial")
    try:
        # Some writers (safetensors) make files that their owner alone can read: theirs shall be as any other of his.
        temporary.touch()
        mode = temporary.stat().st_mode
        temporary.unlink()
        yield temporary
        temporary.chmod(mode)
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)


def write_text_whole(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` (UTF-8) to `path` by way of `whole_file`."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
