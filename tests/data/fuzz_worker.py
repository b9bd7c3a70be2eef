"""Opens and reads mutated files, in processes of its own: HDF5 might crash, hang or take all memory.

``fuzz_worker.py FOLDER SEED COUNT``: FOLDER holds the whole files, one layout to a folder in it. Prints a JSON list
with an entry for each trial: layout, number, and what became of it: ``"frames"``, ``"error"`` (one of ours), or the
last words of the process, which is then replaced.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import shutil
import sys
import tempfile
from pathlib import Path
from typing import IO

import numpy as np

from cdifast.data import FrameError, open_frames

TRIAL_SECONDS = 10
MEMORY_BYTES = 1 << 29
"""More than the process has when it begins."""

_NUMBERS = [b"\xff" * 8, b"\0" * 8, b"\xff" * 7 + b"\x7f", b"\0" * 7 + b"\x80", b"\1" + b"\0" * 7, b"\xfe\xff\xff\xff"]


def mutated(whole: bytes, generator: np.random.Generator) -> bytes:
    """The bytes with one kind of damage: flips, cuts, holes, blocks in another's place, extreme numbers."""
    raw = bytearray(whole)
    size = len(raw)
    kind = generator.integers(6)
    if kind == 0:
        return bytes(raw[: generator.integers(1, size)])
    if kind == 1:  # a few bits
        for position in generator.integers(0, size, size=generator.integers(1, 8)):
            raw[position] ^= 1 << int(generator.integers(8))
    elif kind == 2:  # many bytes
        for position in generator.integers(0, size, size=generator.integers(8, 60)):
            raw[position] = int(generator.integers(256))
    elif kind == 3:
        start, length = int(generator.integers(size)), int(generator.integers(1, 600))
        raw[start : start + length] = bytes(len(raw[start : start + length]))
    elif kind == 4:
        length = int(generator.integers(8, 400))
        source, target = (int(generator.integers(max(1, size - length))) for _ in range(2))
        raw[target : target + length] = raw[source : source + length]
    else:  # sizes, counts and addresses
        for position in generator.integers(0, size, size=generator.integers(1, 4)):
            number = _NUMBERS[generator.integers(len(_NUMBERS))][: int(generator.choice([1, 2, 4, 8]))]
            raw[position : position + len(number)] = number
    return bytes(raw[:size])


def frames_of(files: list[Path]) -> list[Path]:
    """The files to open: where there are both, the others are sources of those called .cxi."""
    return [path for path in files if path.suffix == ".cxi"] or files


def trial(folder: Path, scratch: Path, generator: np.random.Generator) -> str:
    """Damage one file of a layout; open and read everything."""
    scratch = scratch / folder.name
    if not scratch.exists():
        shutil.copytree(folder, scratch)
    files = sorted(path for path in scratch.iterdir() if path.suffix in (".cxi", ".h5"))
    damaged = files[generator.integers(len(files))]
    whole = (folder / damaged.name).read_bytes()
    damaged.write_bytes(mutated(whole, generator))
    try:
        with open_frames(frames_of(files)) as frames:
            n, h, w = frames.shape
            if n * h * w < 1_000_000:
                images = frames[:]
                assert images.shape == frames.shape
                assert frames.read_mask(slice(None), images=images).shape == frames.shape
            assert len(frames.events) == n
            assert frames.mask is None or frames.mask.shape == (h, w)
            assert frames.labels is None or frames.labels.shape == (n, 11)
            assert frames.energy is None or frames.energy.shape == (n,)
    except (FrameError, FileNotFoundError):
        return "error"
    finally:
        if len(files) > 1:
            damaged.write_bytes(whole)
    return "frames"


def trials(scratch: Path, folders: list[Path], seed: int, first: int, stop: int, report: IO[str]) -> None:
    """What a process of its own does, within its memory; where a trial hangs it ends with a traceback."""
    with open("/proc/self/statm", encoding="ascii") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY_BYTES, resource.RLIM_INFINITY))
    faulthandler.enable()
    for number in range(first, stop):
        faulthandler.dump_traceback_later(TRIAL_SECONDS, exit=True)
        outcome = trial(folders[number % len(folders)], scratch, np.random.default_rng([seed, number]))
        faulthandler.cancel_dump_traceback_later()
        print(number, outcome, file=report, flush=True)


def main(root: str, seed: str, count: str) -> None:
    folders = sorted(Path(root).iterdir())
    memory = Path("/dev/shm")
    scratch = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    try:
        json.dump(run(scratch, folders, int(seed), int(count)), sys.stdout)
    finally:
        shutil.rmtree(scratch)


def run(scratch: Path, folders: list[Path], seed: int, count: int) -> list[tuple[str, int, str]]:
    """All trials, in as many processes as it takes."""
    found: list[tuple[str, int, str]] = []
    while (done := len(found)) < count:
        with tempfile.TemporaryFile("w+") as report, tempfile.TemporaryFile("w+") as words:
            child = os.fork()
            if child == 0:
                os.dup2(words.fileno(), 2)
                try:
                    trials(scratch, folders, seed, done, count, report)
                except BaseException:
                    sys.excepthook(*sys.exc_info())
                    os._exit(1)
                os._exit(0)
            _, status = os.waitpid(child, 0)
            report.seek(0), words.seek(0)
            for line in report:
                number, outcome = line.split()
                found.append((folders[int(number) % len(folders)].name, int(number), outcome))
            if status:
                for kept in scratch.iterdir():
                    shutil.rmtree(kept)
                found.append((folders[len(found) % len(folders)].name, len(found), words.read() or f"status {status}"))
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
