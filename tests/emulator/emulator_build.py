"""Builds of the emulator, each made once for the content of its sources and kept under ``build/emulator``."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "build" / "emulator"
TORCH = Path(torch.__file__).parent

# Few blocks a launch, so that short arrays make kernels stride over the grid; more than the two that
# csrc/emulator/threads.cpp runs at a time.
MAX_BLOCKS = 3
# Little workspace, so that a few small maps take several passes (csrc/cuda/workspace.h).
PASS_BYTES = 16 << 10
LIMITS = (f"-DCDIFAST_MAX_BLOCKS={MAX_BLOCKS}", f"-DCDIFAST_PASS_BYTES={PASS_BYTES}")
# Line numbers are all that reports show: without the rest of -g a build takes a fifth less.
FLAGS = ("-std=c++20", "-g1", "-DCDIFAST_EMULATOR", *LIMITS)

LAUNCHERS = sorted((ROOT / "csrc" / "cuda").glob("*_launch.cu"))


@dataclass(frozen=True)
class Engine:
    """What a block's threads run on, and what watches them."""

    name: str
    source: str
    flags: tuple[str, ...]


Item = TypeVar("Item")
Result = TypeVar("Result")

FIBERS = Engine("fibers", "fibers.cpp", ("-O1",))
# UndefinedBehaviorSanitizer too, for misaligned vectors, which fault on a GPU.
ADDRESS = Engine("address", "fibers.cpp", ("-O1", "-fsanitize=address,alignment,bounds", "-fno-sanitize-recover=all"))
THREAD = Engine("thread", "threads.cpp", ("-O1", "-fsanitize=thread"))


def in_parallel(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """``function`` of each item, as many at a time as there are cores: for what runs in processes of its own."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(function, items))


@functools.cache
def _compiler() -> str:
    """g++, whose macros tell the emulator which sanitizer it is built with."""
    for name in (os.environ.get("CXX"), "g++"):
        path = shutil.which(name) if name else None
        if path and "Free Software Foundation" in _version(path):
            return path
    pytest.skip("no g++ (nor a CXX that is one) to build the emulator with")


@functools.cache
def _version(compiler: str) -> str:
    return subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout


@functools.cache
def _sources_digest() -> bytes:
    digest = hashlib.sha256()
    for folder in (ROOT / "csrc", Path(__file__).parent):
        for path in sorted(folder.rglob("*")):
            if path.suffix in {".h", ".cpp", ".cu", ".cuh"}:
                digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
    return digest.digest()


def cached(name: str, key: str, suffix: str = "") -> Path:
    """Where the build called ``name`` lies for the present sources and ``key``; older ones of that name go."""
    digest = hashlib.sha256(_sources_digest() + key.encode()).hexdigest()[:16]
    target = CACHE / f"{name}-{digest}{suffix}"
    CACHE.mkdir(parents=True, exist_ok=True)
    for old in CACHE.glob(f"{name}-{'?' * 16}{suffix}"):
        if old != target:
            old.unlink(missing_ok=True)
            old.with_name(f"{old.name}.lock").unlink(missing_ok=True)
    return target


@contextlib.contextmanager
def made_once(target: Path) -> Iterator[bool]:
    """Whether ``target`` is still to be made, with other processes kept from making it meanwhile.

    The processes that share the tests ask for the same builds at the same time.
    """
    with target.with_name(f"{target.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield not target.exists()


def _compile(*arguments: str) -> None:
    command = [_compiler(), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"the emulator does not compile:\n{' '.join(command)}\n{done.stderr[-8000:]}")


def _build(
    name: str, sources: tuple[str, ...], flags: tuple[str, ...], link: tuple[str, ...], key: str = "", suffix: str = ""
) -> Path:
    target = cached(name, "\0".join((_version(_compiler()), key, *sources, *flags, *link)), suffix)
    with made_once(target) as wanted:
        if wanted:
            partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
            objects = in_parallel(lambda source: str(_object(source, flags)), sources)
            _compile(*flags, *objects, *link, "-o", str(partial))
            os.replace(partial, target)
    return target


def _object(source: str, flags: tuple[str, ...]) -> Path:
    """A compiled file, which several builds may be of."""
    name = f"object-{source.replace('/', '_')}-{hashlib.sha256(' '.join(flags).encode()).hexdigest()[:8]}"
    target = cached(name, "\0".join((_version(_compiler()), torch.__version__, *flags)), ".o")
    with made_once(target) as wanted:
        if wanted:
            partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
            _compile(*flags, "-x", "c++", "-c", source, "-o", str(partial))
            os.replace(partial, target)
    return target


def _sources(engine: Engine, *own: Path | str) -> tuple[str, ...]:
    emulator = ROOT / "csrc" / "emulator"
    paths = (emulator / "block.cpp", emulator / engine.source, *own)
    return tuple(str(Path(path).relative_to(ROOT)) for path in paths)


@functools.cache
def _has_sanitizer(engine: Engine) -> bool:
    """Whether the compiler has the engine's sanitizer, and its runtime works on this machine."""
    probe = CACHE / f"probe-{engine.name}.{os.getpid()}.partial"
    CACHE.mkdir(parents=True, exist_ok=True)
    arguments = [*engine.flags, "-x", "c++", "-", "-x", "none", "-o", str(probe)]
    built = subprocess.run([_compiler(), *arguments], input="int main() {}", text=True, capture_output=True)
    try:
        return built.returncode == 0 and run(probe).returncode == 0
    finally:
        probe.unlink(missing_ok=True)


def program(name: str, engine: Engine, *sources: Path | str) -> Path:
    """The executable of ``tests/emulator/<name>_main.cpp``; skips where the engine's sanitizer is missing."""
    if not _has_sanitizer(engine):
        pytest.skip(f"{_compiler()} has no working {' '.join(engine.flags[1:])} here")
    own = (*sources, Path(__file__).parent / f"{name}_main.cpp")
    return _build(f"{name}-{engine.name}", _sources(engine, *own), (*FLAGS, *engine.flags, "-pthread"), ())


def run(
    path: Path, *arguments: str | int, preload: str = "", variables: Mapping[str, str] = {}
) -> subprocess.CompletedProcess[str]:
    """Runs a program with sanitizers in it. A hang fails the test; the largest takes over a minute on one core."""
    # ThreadSanitizer keeps its records at fixed addresses, which a kernel that randomises many bits may have taken.
    fixed = [setarch, "-R"] if (setarch := shutil.which("setarch")) else []
    command = [*fixed, "env", f"LD_PRELOAD={preload}", str(path), *map(str, arguments)]
    environment = os.environ | variables | {"ASAN_OPTIONS": "detect_leaks=0", "TSAN_OPTIONS": "halt_on_error=1"}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, env=environment)


def address_sanitizer_runtime() -> str:
    """What to preload into Python before a library built with :data:`ADDRESS`; skips where it is not found."""
    files = [
        subprocess.run([_compiler(), f"-print-file-name={name}"], capture_output=True, text=True).stdout.strip()
        for name in ("libasan.so", "libstdc++.so")
    ]
    if not all(Path(file).is_absolute() for file in files):
        pytest.skip(f"{_compiler()} has no libasan.so to preload")
    return " ".join(files)


def operator_library(engine: Engine) -> Path:
    """The library that registers every CUDA operator as ``cdifast_emulator::*`` for CPU tensors."""
    cuda = ROOT / "csrc" / "cuda"
    own = (ROOT / "csrc" / "schema.cpp", *sorted(cuda.glob("*_cuda.cpp")), *LAUNCHERS)
    flags = (
        *(*FLAGS, *engine.flags),
        *("-fPIC", "-fvisibility=hidden", "-DTORCH_TARGET_VERSION=0x020a000000000000"),
        *("-isystem", str(TORCH / "include")),
    )
    sources = _sources(engine, *own, ROOT / "csrc" / "emulator" / "torch_library.cpp")
    link = ("-shared", f"-L{TORCH / 'lib'}", "-ltorch_cpu")
    return _build(f"operators-{engine.name}", sources, flags, link, key=torch.__version__, suffix=".so")
