"""Rows survive interruption, and a file never has its final name before it is whole."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from cdifast import __version__
from cdifast.data import CxiWriter, FrameError, RowDataset, RowFile, nxdata, open_frames, write_cxi
from cdifast.data.cxi import DATA, DETECTOR, ENERGY, LABELS
from cdifast.data.hdf5 import PROVENANCE
from cdifast.data.hdf5_text import texts_attribute
from cdifast.labels import CLASSES

ROWS = 20
MAPS = np.random.default_rng(0).normal(size=(ROWS, 6, 5)).astype(np.float32)
SCORES = np.random.default_rng(1).integers(0, 99, size=ROWS)
FINGERPRINT = {"source": "run7.cxi", "n_radial": 6, "range": [0.0, 1.5]}


def columns(compression: str | None = None) -> list[RowDataset]:
    return [
        RowDataset("maps", (6, 5), "float32", path="/result/maps", compression=compression, attrs={"units": "1"}),
        RowDataset("score", (), "int64"),
    ]


def begin(path: Path, compression: str | None = None, **changes: object) -> RowFile:
    arguments: dict = {
        "fingerprint": FINGERPRINT,
        "attrs": {
            "/": {"default": "result"},
            "/result": nxdata("maps", [".", "radius", "radius"], title="maps"),
        },
        "constants": {"/result/radius": np.arange(6.0)},
        "links": {"/first": "/result/maps"},
    }
    return RowFile.open_or_resume(path, ROWS, columns(compression), **{**arguments, **changes})


def write_rows(file: RowFile, stop: int = ROWS, step: int = 3) -> None:
    while file.done < stop:
        start, end = file.done, min(stop, file.done + step)
        file.write(start, maps=MAPS[start:end], score=SCORES[start:end])


def interrupted(file: RowFile, stop: int) -> None:
    with file:
        write_rows(file, stop)
        raise KeyboardInterrupt


def run_here(code: str, *arguments: object, **environment: str) -> subprocess.Popen:
    """Python in another process, with this file's functions and the package found as they are found here."""
    search = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": search, **environment},
        text=True,
    )


def contents(path: Path) -> dict:
    """All of a file but the time it was made at."""
    found: dict = {}
    with h5py.File(path) as file:

        def visit(name: str, item: h5py.Dataset | h5py.Group) -> None:
            attrs = {k: np.asarray(v).tolist() for k, v in item.attrs.items() if k != "created"}
            found[name] = (attrs, item[()].tolist() if isinstance(item, h5py.Dataset) else None)

        file.visititems(visit)
        found["/"] = dict(file.attrs)
        found["first"] = file["first"][()].tolist()
    return found


@pytest.mark.parametrize("compression", [None, "gzip", "bitshuffle-lz4"])
def test_a_whole_file(tmp_path: Path, compression: str | None) -> None:
    path = tmp_path / "a.h5"
    with begin(path, compression) as file:
        assert (file.done, file.rows) == (0, ROWS)
        write_rows(file)
        assert not path.exists()
        assert file.finish() == path
    assert list(tmp_path.iterdir()) == [path]
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["result/maps"][()], MAPS)
        np.testing.assert_array_equal(file["score"][()], SCORES)
        np.testing.assert_array_equal(file["first"][()], MAPS)
        assert (file["result/maps"].compression == "gzip") == (compression == "gzip")
        assert file["result"].attrs["NX_class"] == b"NXdata"
        assert file["result"].attrs["signal"] == b"maps"
        assert list(file["result"].attrs["axes"]) == [b".", b"radius", b"radius"]
        assert file["result/maps"].attrs["units"] == b"1"
        provenance = file[PROVENANCE].attrs
        assert provenance["package_version"] == __version__.encode()
        assert provenance["command"]
        assert json.loads(provenance["fingerprint"])["n_radial"] == 6
        assert (
            abs(time.time() - np.datetime64(provenance["created"].decode()[:19]).astype("datetime64[s]").astype(int))
            < 100
        )


def test_one_row_a_chunk_where_rows_are_large(tmp_path: Path) -> None:
    frames = np.zeros((4, 200, 200), np.float32)
    with h5py.File(write_cxi(tmp_path / "a.cxi", frames, compression="bitshuffle-lz4")) as file:
        assert file[DATA].chunks == (1, 200, 200)
        assert file[DATA].id.get_create_plist().get_filter(0)[0] == 32008


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("stops", [[7], [0, 3, 3, 19], [20]])
def test_interrupted_job_gives_the_same_file(tmp_path: Path, compression: str | None, stops: list[int]) -> None:
    with begin(tmp_path / "whole.h5", compression) as file:
        write_rows(file)
        file.finish()
    path = tmp_path / "a.h5"
    for stop in stops:
        with pytest.raises(KeyboardInterrupt):
            interrupted(begin(path, compression), stop)
        assert not path.exists()
        assert (tmp_path / "a.h5.partial").exists()
        with begin(path, compression) as file:
            assert file.done == stop
    with begin(path, compression) as file:
        write_rows(file, step=5)
        file.finish()
    assert contents(path) == contents(tmp_path / "whole.h5")


KILLED = """
import sys, time
import numpy as np
from test_row_file import begin, write_rows
file = begin(sys.argv[1], sys.argv[2] if sys.argv[2] != "raw" else None, sync_seconds=0.0)
print("open", file.done, flush=True)
while file.done < file.rows:
    write_rows(file, file.done + 1)
    print(file.done, flush=True)
    time.sleep(0.002)
"""


@pytest.mark.parametrize("compression", ["raw", "gzip"])
def test_killed_process_leaves_a_partial_file_that_resumes(tmp_path: Path, compression: str) -> None:
    """SIGKILL at moments that nobody chose: the file opens, and every row that was promised is there."""
    path = tmp_path / "a.h5"
    rng = np.random.default_rng(2)
    done = 0
    for _ in range(4):
        process = run_here(KILLED, path, compression)
        assert process.stdout is not None
        assert process.stdout.readline().split() == ["open", str(done)]
        seen = 0
        for _ in range(int(rng.integers(1, 4))):
            seen = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        seen = max([seen, *map(int, process.stdout.read().split())])
        assert process.wait() == -signal.SIGKILL
        process.stdout.close()
        assert [item.name for item in tmp_path.iterdir()] == ["a.h5.partial"]
        with begin(path, None if compression == "raw" else compression) as file:
            assert file.done in (seen, seen + 1)  # a row may have become safe before it was printed
            done = file.done
            np.testing.assert_array_equal(file._file["/result/maps"][:done], MAPS[:done])
            np.testing.assert_array_equal(file._file["/score"][:done], SCORES[:done])
    with begin(path, None if compression == "raw" else compression) as file:
        write_rows(file)
        file.finish()
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["result/maps"][()], MAPS)
        np.testing.assert_array_equal(file["score"][()], SCORES)


def test_writing_rows_changes_data_alone(tmp_path: Path) -> None:
    """What makes a kill harmless: outside the rows and their count, not a byte of the file changes."""
    path = tmp_path / "a.h5"
    begin(path).close()
    partial = tmp_path / "a.h5.partial"
    before = np.frombuffer(partial.read_bytes(), np.uint8)
    with begin(path) as file:
        write_rows(file)
        places = [
            (item.id.get_offset(), item.id.get_storage_size())
            for item in (file._file[name] for name in ("/result/maps", "/score", f"{PROVENANCE}/rows_done"))
        ]
    after = np.frombuffer(partial.read_bytes(), np.uint8)
    assert len(before) == len(after)
    changed = before != after
    for offset, size in places:
        assert changed[offset : offset + size].any()
        changed[offset : offset + size] = False
    assert not changed.any()


def test_rows_on_disk_count_only_when_safe(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with begin(path, sync_seconds=1e9) as file:
        write_rows(file, 9)
        assert file.done == 9
        assert file._file[f"{PROVENANCE}/rows_done"][()] == 0
        file.sync()
        assert file._file[f"{PROVENANCE}/rows_done"][()] == 9
    with begin(path, sync_seconds=0.0) as file:
        write_rows(file, 10)
        assert file._file[f"{PROVENANCE}/rows_done"][()] == 10


@contextlib.contextmanager
def disk_full_at(size: float) -> Iterator[None]:
    """No file of this process grows or is written beyond so many bytes: EFBIG, where a full disk says ENOSPC."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.7, 0.9, 0.99])
@pytest.mark.parametrize("sync_seconds", [0.0, 1e9])
def test_full_disk_never_gives_a_finished_file(tmp_path: Path, share: float, sync_seconds: float) -> None:
    path, partial = tmp_path / "a.h5", tmp_path / "a.h5.partial"
    begun = begin(path, sync_seconds=sync_seconds)

    def job() -> None:
        with begun as file:
            write_rows(file, step=1)
            file.finish()

    stored = [begun._file[name].id for name in ("/result/maps", "/score")]
    end = max(item.get_offset() + item.get_storage_size() for item in stored)
    with disk_full_at(share * end), pytest.raises(OSError, match=r"File too large.*a\.h5\.partial"):
        job()
    assert list(tmp_path.iterdir()) == [partial]
    with begin(path) as file:
        assert file.done < ROWS
        np.testing.assert_array_equal(file._file["/result/maps"][: file.done], MAPS[: file.done])
        np.testing.assert_array_equal(file._file["/score"][: file.done], SCORES[: file.done])
        write_rows(file)
        file.finish()
    assert contents(path)["result/maps"][1] == MAPS.tolist()


@pytest.mark.parametrize("share", [0.05, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("compression", ["gzip", "bitshuffle-lz4"])
def test_disk_full_while_compressing(tmp_path: Path, compression: str, share: float) -> None:
    path, partial = tmp_path / "a.h5", tmp_path / "a.h5.partial"
    whole = tmp_path / "whole" / "a.h5"
    whole.parent.mkdir()
    with begin(whole, compression) as file:
        write_rows(file)
        file.finish()
    with begin(path, compression) as file:
        write_rows(file)
        with disk_full_at(share * whole.stat().st_size), pytest.raises(OSError, match="a\\.h5\\.partial"):
            file.finish()
        assert set(tmp_path.iterdir()) == {partial, whole.parent}
        file.finish()
    assert contents(path) == contents(whole)


def test_process_ends_in_order_after_a_full_disk(tmp_path: Path) -> None:
    """HDF5 takes a process down at its end when it holds a file that it cannot close."""
    code = """
import sys; from test_row_file import begin, disk_full_at, write_rows
with begin(sys.argv[1], "gzip") as file:
    write_rows(file)
    with disk_full_at(2500):
        file.finish()
"""
    process = run_here(code, tmp_path / "a.h5")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.strip().splitlines()[-1].startswith("OSError: [Errno 27] File too large")


def test_rows_that_a_failed_fsync_may_have_lost_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system reports a page that it could not write once, and drops it: the next fsync succeeds without it."""
    path = tmp_path / "a.h5"
    failures = iter([OSError(errno.EIO, "Input/output error")])

    def fsync(descriptor: int) -> None:
        if (failure := next(failures, None)) is not None:
            raise failure

    with begin(path) as file:
        write_rows(file, 4)
    with begin(path) as file:
        write_rows(file, 9)
        monkeypatch.setattr(os, "fsync", fsync)
        with pytest.raises(OSError, match=r"Input/output error.*a\.h5\.partial"):
            file.sync()
    with begin(path) as file:
        assert file.done == 4


def test_room_is_reserved_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(number: int) -> None:
        def posix_fallocate(descriptor: int, offset: int, length: int) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "posix_fallocate", posix_fallocate, raising=False)

    column = RowDataset("a", (1000, 1000), "f4")
    with RowFile.open_or_resume(tmp_path / "a.h5", 4, [column], fingerprint={}) as file:
        stat = file.partial.stat()
        assert stat.st_blocks * 512 >= stat.st_size > 16_000_000
        file.discard()
    refuse(errno.ENOSPC)
    with pytest.raises(FrameError, match=r"a\.h5\.partial: needs 0\.016 GB: No space left"):
        RowFile.open_or_resume(tmp_path / "a.h5", 4, [column], fingerprint={})
    assert list(tmp_path.iterdir()) == []
    refuse(errno.EOPNOTSUPP)
    RowFile.open_or_resume(tmp_path / "a.h5", 4, [column], fingerprint={}).close()
    assert [item.name for item in tmp_path.iterdir()] == ["a.h5.partial"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fingerprint": {**FINGERPRINT, "n_radial": 7}}, "n_radial: 6 there, 7 now"),
        ({"fingerprint": {**FINGERPRINT, "mask": "ab"}}, "mask: None there, 'ab' now"),
        ({"fingerprint": {"n_radial": 6, "range": [0.0, 1.5]}}, "source: 'run7.cxi' there, None now"),
        (
            {"constants": {"/result/radius": np.arange(1.0, 7.0)}},
            "constants, such as mask or geometry, have other values",
        ),
        (
            {"constants": {"/result/radius": np.arange(1.0, 7.0)}, "fingerprint": {**FINGERPRINT, "n_radial": 7}},
            "another job: n_radial: 6 there, 7 now. To start",
        ),
        ({"compression": "gzip"}, " raw' there, "),
    ],
)
def test_another_jobs_partial_file_is_refused(tmp_path: Path, change: dict, words: str) -> None:
    path = tmp_path / "a.h5"
    with begin(path) as file:
        write_rows(file, 4)
    with pytest.raises(FrameError) as caught:
        begin(path, **change)
    for part in (str(path) + ".partial", "begun by another job", words, "remove it or pass overwrite=True"):
        assert part in str(caught.value)
    with begin(path) as file:
        assert file.done == 4
    with begin(path, **change, overwrite=True) as file:
        assert file.done == 0


def test_overwrite_continues_its_own_and_replaces_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(b"the old result")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        begin(path)
    with begin(path, overwrite=True) as file:
        write_rows(file, 5)
    assert path.read_bytes() == b"the old result"
    with begin(path, overwrite=True) as file:
        assert file.done == 5
        write_rows(file)
        assert path.read_bytes() == b"the old result"
        file.finish()
    assert contents(path)["score"][1] == SCORES.tolist()
    assert list(tmp_path.iterdir()) == [path]


def test_final_name_taken_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with begin(path) as file:
        write_rows(file)
        path.write_bytes(b"somebody else's")
        with pytest.raises(FileExistsError, match="has appeared"):
            file.finish()
    assert path.read_bytes() == b"somebody else's"
    assert (tmp_path / "a.h5.partial").exists()


def test_partial_file_is_not_read_as_frames(tmp_path: Path) -> None:
    with begin(tmp_path / "a.h5") as file:
        write_rows(file, 7)
    with pytest.raises(FrameError, match=r"a\.h5\.partial, data set '/result/maps': is unfinished: 7 of 20 rows"):
        open_frames(tmp_path / "a.h5.partial")


def test_finished_file_is_whole_whatever_the_length_of_its_constants(tmp_path: Path) -> None:
    """The rows done count rows: a weight matrix longer than the stack is no sign of a file cut short."""
    weight = np.random.default_rng(5).random((ROWS + 8, ROWS + 8))
    with begin(tmp_path / "a.h5", constants={"/result/weight": weight}) as file:
        write_rows(file, 7)
        file.sync()
    for name in ("/result/weight", "/result/maps"):
        with pytest.raises(FrameError, match=rf"'{name}': is unfinished: 7 of 20 rows"):
            open_frames(tmp_path / "a.h5.partial", dataset=name)
    with begin(tmp_path / "a.h5", constants={"/result/weight": weight}) as file:
        write_rows(file)
        file.finish()
    np.testing.assert_array_equal(open_frames(tmp_path / "a.h5", dataset="/result/weight")[0], weight)


def test_finish_wants_all_rows(tmp_path: Path) -> None:
    with begin(tmp_path / "a.h5") as file:
        write_rows(file, 19)
        with pytest.raises(ValueError, match="19 of 20 rows"):
            file.finish()
    assert [item.name for item in tmp_path.iterdir()] == ["a.h5.partial"]


def test_failed_compression_keeps_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.h5"
    with begin(path, "gzip") as file:
        write_rows(file)
        with monkeypatch.context() as patch:
            patch.setattr("cdifast.data.row_file._COPY_BYTES", "broken")
            with pytest.raises(TypeError):
                file.finish()
    assert [item.name for item in tmp_path.iterdir()] == ["a.h5.partial"]
    with begin(path, "gzip") as file:
        assert file.done == ROWS
        file.finish()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("start", "rows", "words"),
    [
        (1, {"maps": MAPS[:2], "score": SCORES[:2]}, "found start 1; expected 2"),
        (2, {"maps": MAPS[:2]}, "found the data sets ['maps']; expected ['maps', 'score']"),
        (2, {"maps": MAPS[:2], "score": SCORES[:2], "x": SCORES[:2]}, "expected ['maps', 'score']"),
        (2, {"maps": MAPS[:2], "score": SCORES[:3]}, "'score', row 2: found (3,) int64; expected (2,) int64"),
        (
            2,
            {"maps": MAPS[:2, :5], "score": SCORES[:2]},
            "'maps', row 2: found (2, 5, 5) float32; expected (2, 6, 5)",
        ),
        (2, {"maps": MAPS[:2] * 1j, "score": SCORES[:2]}, "complex"),
        (2, {"maps": MAPS[:2], "score": SCORES[:2] * 0.5}, "float64"),
        (2, {"maps": MAPS[0], "score": SCORES[0]}, "'maps'"),
        (2, {"maps": MAPS[:19], "score": SCORES[:19]}, "rows 2 to 20 go beyond the 20 declared"),
    ],
)
def test_rows_that_do_not_fit_change_nothing(tmp_path: Path, start: int, rows: dict, words: str) -> None:
    with begin(tmp_path / "a.h5") as file:
        write_rows(file, 2)
        with pytest.raises(ValueError) as caught:
            file.write(start, **rows)
        assert words in str(caught.value)
        assert file.done == 2
        write_rows(file)
        np.testing.assert_array_equal(file._file["/result/maps"][()], MAPS)


def test_declarations_that_make_no_file(tmp_path: Path) -> None:
    column = RowDataset("a", (), "f4")
    for rows, datasets, words in [
        (0, [column], "at least 1"),
        (3, [], "at least one"),
        (3, [column, column], "once"),
    ]:
        with pytest.raises(ValueError, match=words):
            RowFile.open_or_resume(tmp_path / "a.h5", rows, datasets, fingerprint={})
    with pytest.raises(TypeError):
        RowFile.open_or_resume(tmp_path / "a.h5", 3, [column], fingerprint={"x": object()})
    with pytest.raises(FrameError, match=r"needs .* GB; the disk has"):
        RowFile.open_or_resume(tmp_path / "a.h5", 10**9, [RowDataset("a", (10**4, 10**4), "f4")], fingerprint={})
    assert list(tmp_path.iterdir()) == []


def test_damaged_partial_file(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with begin(path) as file:
        write_rows(file, 4)
    (tmp_path / "a.h5.partial").write_bytes(b"nothing")
    with pytest.raises(FrameError, match=r"a\.h5\.partial: not readable as HDF5.*pass overwrite=True"):
        begin(path)
    with begin(path, overwrite=True) as file:
        assert file.done == 0


def test_partial_file_in_use_is_left_alone(tmp_path: Path) -> None:
    """Two processes with the same command: the second is told, even when it may overwrite."""
    path = tmp_path / "a.h5"
    command = "import sys; from test_row_file import begin; begin(sys.argv[1], overwrite=True)"
    with begin(path) as file:
        write_rows(file, 4)
        second = run_here(command, path)
        _, errors = second.communicate(timeout=60)
        assert second.returncode == 1
        assert "in use by another process" in errors
        assert "wait for it" in errors
        write_rows(file)
        file.finish()
    assert contents(path)["score"][1] == SCORES.tolist()


def test_one_writer_where_hdf5_does_not_lock(tmp_path: Path) -> None:
    """As on Lustre and NFS: our own lock holds, ends with the process, and the file can then be continued."""
    path = tmp_path / "a.h5"
    unlocked = {"HDF5_USE_FILE_LOCKING": "FALSE"}
    first = run_here(
        "import sys, time; from test_row_file import begin, write_rows; file = begin(sys.argv[1]); "
        "write_rows(file, 4); file.sync(); print('open', flush=True); time.sleep(60)",
        path,
        **unlocked,
    )
    assert first.stdout is not None
    assert first.stdout.readline() == "open\n"
    content = (tmp_path / "a.h5.partial").read_bytes()
    command = "import sys; from test_row_file import begin; begin(sys.argv[1], overwrite=True, resume=False).close()"
    second = run_here(command, path, **unlocked)
    _, errors = second.communicate(timeout=60)
    assert second.returncode == 1
    assert "a.h5.partial: in use by another process" in errors
    assert "wait for it" in errors
    assert [item.name for item in tmp_path.iterdir()] == ["a.h5.partial"]
    assert (tmp_path / "a.h5.partial").read_bytes() == content
    first.kill()
    first.communicate()
    third = run_here(command.replace("overwrite=True, resume=False", ""), path, **unlocked)
    assert third.communicate(timeout=60) == ("", "")
    with begin(path) as file:
        assert file.done == 4


def test_file_systems_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", flock)
    with begin(tmp_path / "a.h5") as file:
        write_rows(file)
        file.finish()
    assert contents(tmp_path / "a.h5")["score"][1] == SCORES.tolist()


def test_partial_file_replaced_meanwhile_does_not_get_the_name(tmp_path: Path) -> None:
    path, partial = tmp_path / "a.h5", tmp_path / "a.h5.partial"
    with begin(path) as file:
        write_rows(file)
        partial.unlink()
        partial.write_bytes(b"another's, half-written")
        with pytest.raises(FrameError, match=r"a\.h5\.partial: was removed or replaced by another process"):
            file.finish()
        file.discard()
    assert not path.exists()
    assert partial.read_bytes() == b"another's, half-written"


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_symbolic_link_stays_and_its_target_is_written(tmp_path: Path, compression: str | None) -> None:
    (tmp_path / "disk").mkdir()
    link, target = tmp_path / "a.h5", tmp_path / "disk" / "b.h5"
    link.symlink_to("disk/b.h5")
    for overwrite in (False, True):
        with begin(link, compression, overwrite=overwrite) as file:
            write_rows(file)
            assert (tmp_path / "disk" / "b.h5.partial").exists()
            assert file.finish() == target
        assert link.is_symlink()
        assert not target.is_symlink()
        assert contents(link)["score"][1] == SCORES.tolist()
    assert list(target.parent.iterdir()) == [target]
    with pytest.raises(FileExistsError):
        begin(link, compression)


def test_tensors_are_rows(tmp_path: Path) -> None:
    with begin(tmp_path / "a.h5") as file:
        file.write(0, maps=torch.from_numpy(MAPS), score=torch.from_numpy(SCORES))
        file.finish()
    np.testing.assert_array_equal(open_frames(tmp_path / "a.h5", dataset="/result/maps")[:], MAPS)


# --- the CXI layout that is written ---

FRAMES = np.random.default_rng(3).integers(0, 9, size=(8, 1, 12, 10)).astype(np.uint16)
LABEL_ROWS = np.random.default_rng(4).integers(0, 2, size=(8, 11), dtype=np.uint8)


def test_cxi_follows_the_format(tmp_path: Path) -> None:
    energy = np.linspace(3e-18, 5e-18, 8)
    path = write_cxi(
        tmp_path / "a.cxi",
        torch.from_numpy(FRAMES),
        labels=LABEL_ROWS,
        mask=np.eye(12, 10, dtype=bool),
        energy=energy,
        detector_distance=0.065,
        pixel_size=(75e-6, 80e-6),
    )
    with h5py.File(path) as file:
        assert file["cxi_version"][()] == 150
        assert isinstance(file.get(DATA, getlink=True), h5py.SoftLink)
        assert file[DATA] == file[f"{DETECTOR}/data"]
        assert file["entry_1/data_1/mask"] == file[f"{DETECTOR}/mask"]
        np.testing.assert_array_equal(file[DATA][()], FRAMES[:, 0])
        np.testing.assert_array_equal(file[f"{DETECTOR}/mask"][()] == 0, np.eye(12, 10, dtype=bool))
        np.testing.assert_array_equal(file[ENERGY][()], energy)
        np.testing.assert_array_equal(file[LABELS][()], LABEL_ROWS)
        assert tuple(texts_attribute(file[LABELS], "classes")) == CLASSES
        for name, value, unit in [
            (f"{DETECTOR}/distance", 0.065, "m"),
            (f"{DETECTOR}/y_pixel_size", 75e-6, "m"),
            (f"{DETECTOR}/x_pixel_size", 80e-6, "m"),
            (ENERGY, energy, "J"),
        ]:
            np.testing.assert_array_equal(file[name][()], value)
            assert file[name].attrs["units"] == unit.encode()
        # What a NeXus viewer follows: file -> entry -> NXdata -> signal.
        entry = file[file.attrs["default"]]
        plot = entry[entry.attrs["default"]]
        assert (entry.attrs["NX_class"], plot.attrs["NX_class"]) == (b"NXentry", b"NXdata")
        assert plot[plot.attrs["signal"]].shape == (8, 12, 10)


def test_cxi_writer_streams_and_resumes(tmp_path: Path) -> None:
    path = tmp_path / "a.cxi"
    images = FRAMES[:, 0]
    arguments: dict = {"labels": True, "energy": True, "compression": "gzip", "fingerprint": {"seed": 3}}
    energy = np.linspace(3e-18, 5e-18, 8)
    with CxiWriter(path, images.shape, images.dtype, **arguments) as writer:
        writer.write(0, images[:3], labels=LABEL_ROWS[:3], energy=energy[:3])
    assert [item.name for item in tmp_path.iterdir()] == ["a.cxi.partial"]
    with CxiWriter(path, images.shape, images.dtype, **arguments) as writer:
        assert writer.done == 3
        writer.write(3, images[3:], labels=LABEL_ROWS[3:], energy=energy[3:])
        writer.finish()
    opened = open_frames(path)
    np.testing.assert_array_equal(opened[:], images)
    np.testing.assert_array_equal(opened.labels, LABEL_ROWS)
    np.testing.assert_array_equal(opened.energy, energy)
    assert list(tmp_path.iterdir()) == [path]


def test_big_endian_frames_are_written_native(tmp_path: Path) -> None:
    images = FRAMES[:, 0].astype(">u2")
    with h5py.File(write_cxi(tmp_path / "a.cxi", images)) as file:
        assert file[DATA].dtype.isnative
        np.testing.assert_array_equal(file[DATA][()], images)
