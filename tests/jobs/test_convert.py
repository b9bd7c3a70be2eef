"""Converted files open to the frames of the ones that they were made of, and to all that came with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from cdifast.cli import app
from cdifast.data import CxiWriter, FrameError, Frames, open_frames
from cdifast.data.cxi import DATA, DETECTOR, EVENTS
from cdifast.jobs import MapSettings, convert_frames, write_maps
from tests.data.layouts import WRITERS, cheetah, cxidb_94, modules, random_frames

BITSHUFFLE = "32008"


def same(converted: Frames, source: Frames) -> None:
    """All that a stack has but its files."""
    assert (converted.layout, converted.shape, converted.dtype) == ("cxi", source.shape, source.dtype)
    assert converted[:].tobytes() == source[:].tobytes()
    for name in ("mask", "labels", "energy"):
        found, expected = getattr(converted, name), getattr(source, name)
        assert (found is None) == (expected is None), name
        if found is not None:
            np.testing.assert_array_equal(found, expected, err_msg=name)
    np.testing.assert_array_equal(converted.read_mask(slice(None)), source.read_mask(slice(None)))
    here, there = converted.events, source.events
    for name in there.dtype.names:
        np.testing.assert_array_equal(
            here[{"file": "origin_file", "index": "origin_index"}.get(name, name)], there[name]
        )


@pytest.mark.parametrize("name", list(WRITERS))
def test_everything_of_every_layout_is_kept(tmp_path: Path, name: str) -> None:
    source = open_frames(WRITERS[name](tmp_path).paths)
    path = convert_frames(source, tmp_path / "out.cxi", batch=3)
    with open_frames(path) as converted:
        same(converted, source)
    with h5py.File(path) as file:
        stored = file[DATA]
        assert stored.chunks == (1, *source.shape[1:])
        assert BITSHUFFLE in stored._filters
        assert stored == file[f"{DETECTOR}/data"]
        assert [Path(p.decode()) for p in file[f"{EVENTS}/paths"][:]] == list(source.paths)
    assert not list(tmp_path.glob("out.cxi.*"))


@pytest.mark.parametrize("dtype", ["int8", ">u4", "int64", "uint64", "float16", ">f8"])
def test_element_types_stay(tmp_path: Path, dtype: str) -> None:
    frames = random_frames(dtype)
    np.save(tmp_path / "a.npy", frames)
    path = convert_frames(open_frames(tmp_path / "a.npy"), tmp_path / "out.cxi", compression="gzip")
    with open_frames(path) as converted:
        assert converted.dtype == frames.dtype.newbyteorder("=")
        np.testing.assert_array_equal(converted[:], frames)


@pytest.mark.parametrize("compression", ["gzip", None])
def test_other_compressions(tmp_path: Path, compression: Any) -> None:
    source = open_frames(cheetah(tmp_path).paths)
    path = convert_frames(source, tmp_path / "out.cxi", compression=compression)
    same(open_frames(path), source)
    with h5py.File(path) as file:
        assert file[DATA].compression == compression
        assert file[DATA].chunks == (None if compression is None else (1, 12, 10))


def test_what_the_user_gives_takes_the_place_of_the_files_own(tmp_path: Path) -> None:
    written = cxidb_94(tmp_path)
    mask, labels = np.eye(12, 10, dtype=bool), 1 - written.labels
    source = open_frames(written.paths, mask=mask, labels=labels)
    same(open_frames(convert_frames(source, tmp_path / "out.cxi")), source)
    stack = open_frames(cheetah(tmp_path).paths, mask=mask)
    assert not stack.masks_differ  # the file's own do not count then
    same(open_frames(convert_frames(stack, tmp_path / "cheetah-out.cxi")), stack)
    (tmp_path / "m").mkdir()
    virtual = modules(tmp_path / "m")
    given = np.random.default_rng(0).random(virtual.frames.shape[1:]) > 0.2
    source = open_frames(virtual.paths, mask=given)
    converted = open_frames(convert_frames(source, tmp_path / "modules.cxi"))
    np.testing.assert_array_equal(converted.read_mask([1, 0]), source.read_mask([1, 0]))
    np.testing.assert_array_equal(converted.mask, given)


def test_energies_that_files_do_not_have(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    a, b = cxidb_94(tmp_path), cxidb_94(tmp_path / "b")
    with h5py.File(b.paths, "r+") as file:
        for number in b.events["entry"]:
            del file[f"entry_{number}/instrument_1/source_1/energy"]
    source = open_frames([a.paths, b.paths])
    assert np.isnan(source.energy).sum() == 7
    same(open_frames(convert_frames(source, tmp_path / "out.cxi")), source)


def test_converting_what_was_converted(tmp_path: Path) -> None:
    source = open_frames(WRITERS["CXIDB 10"](tmp_path).paths)
    first = open_frames(convert_frames(source, tmp_path / "first.cxi"))
    second = open_frames(convert_frames(first, tmp_path / "second.cxi", compression="gzip"))
    assert second[:].tobytes() == source[:].tobytes()
    np.testing.assert_array_equal(second.events["identifier"], source.events["identifier"])
    assert second.events["origin_index"].tolist() == list(range(5))
    assert second.events.dtype.names == first.events.dtype.names


def test_an_interrupted_conversion_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_frames(cheetah(tmp_path).paths)
    starts = []
    read = Frames.read

    def interrupted(self: Frames, indices: Any, out: Any = None) -> Any:
        if isinstance(indices, slice):
            starts.append(indices.start)
            if len(starts) == 3:
                raise KeyboardInterrupt
        return read(self, indices, out)

    monkeypatch.setattr(Frames, "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert_frames(source, tmp_path / "out.cxi", batch=2)
    assert not (tmp_path / "out.cxi").exists()
    with pytest.raises(FrameError, match="begun by another job"):
        convert_frames(source, tmp_path / "out.cxi", batch=2, compression="gzip")
    labelled = open_frames(source.paths, labels=np.zeros((6, 11), np.uint8))
    with pytest.raises(FrameError, match=r"begun by another job: .*labels"):
        convert_frames(labelled, tmp_path / "out.cxi", batch=2)
    path = convert_frames(source, tmp_path / "out.cxi", batch=2)
    assert starts == [0, 2, 4, 4]
    same(open_frames(path), source)


def test_interrupted_while_it_compresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_frames(cheetah(tmp_path).paths)

    def interrupted(self: CxiWriter, progress: Any = None) -> Path:
        raise KeyboardInterrupt

    finish = CxiWriter.finish
    monkeypatch.setattr(CxiWriter, "finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert_frames(source, tmp_path / "out.cxi")
    done: list[int] = []
    monkeypatch.setattr(CxiWriter, "finish", lambda self, progress: finish(self, done.append))
    same(open_frames(convert_frames(source, tmp_path / "out.cxi")), source)
    assert done == [6, 12]  # six frames and their six masks, compressed


def test_refusals(tmp_path: Path) -> None:
    written = modules(tmp_path)
    source = open_frames(written.paths)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for path in before:
        with pytest.raises(FrameError, match="would destroy the input"):
            convert_frames(source, path, overwrite=True)
    with pytest.raises(ValueError, match="batch must be at least 1, got 0"):
        convert_frames(source, tmp_path / "out.cxi", batch=0)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    convert_frames(source, tmp_path / "out.cxi")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        convert_frames(source, tmp_path / "out.cxi")
    same(open_frames(convert_frames(source, tmp_path / "out.cxi", overwrite=True)), source)


def test_a_frame_that_cannot_be_read_is_named_and_the_rest_kept_for_later(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    frames = random_frames("uint16", 6)
    with h5py.File(path, "w") as file:
        item = file.create_dataset("frames", data=frames, chunks=(1, 12, 10), compression="gzip")
        place = next(c for i in range(6) if (c := item.id.get_chunk_info(i)).chunk_offset[0] == 4)
    raw = bytearray(path.read_bytes())
    raw[place.byte_offset + 20 : place.byte_offset + 40] = b"\xff" * 20
    path.write_bytes(raw)
    with pytest.raises(FrameError, match=r"a\.h5, data set '/frames', frame 4"):
        convert_frames(open_frames(path), tmp_path / "out.cxi", batch=2)
    assert not (tmp_path / "out.cxi").exists()
    with h5py.File(tmp_path / "out.cxi.partial") as file:
        np.testing.assert_array_equal(file[DATA][:4], frames[:4])


def test_convert_and_info_on_the_command_line(tmp_path: Path) -> None:
    for name in ("Cheetah", "CXIDB 10"):
        folder = tmp_path / name.replace(" ", "-")
        folder.mkdir()
        written = WRITERS[name](folder)
        result = CliRunner().invoke(app, ["convert", str(folder), "-o", str(tmp_path / f"{folder.name}.cxi"), "-q"])
        assert result.exit_code == 0, result.output
        with open_frames(tmp_path / f"{folder.name}.cxi") as converted:
            assert converted[:].tobytes() == written.frames.tobytes()
    result = CliRunner().invoke(app, ["info", str(tmp_path / "Cheetah.cxi")], env={"COLUMNS": "200"})
    text = " ".join(result.output.split())
    assert "each frame has its own" in text
    assert "fiducial 4000 to 4015" in text
    assert "identifier LCLS_2015_Mar21_r0000 to LCLS_2015_Mar21_r0005" in text
    result = CliRunner().invoke(app, ["info", str(tmp_path / "CXIDB-10")], env={"COLUMNS": "200"})
    assert "cxi-halves" in result.output
    result = CliRunner().invoke(app, ["convert", str(tmp_path / "no.cxi"), "-o", str(tmp_path / "x.cxi")])
    assert result.exit_code == 1
    assert "no.cxi: no such file" in result.output


def test_sidecars_have_the_keys_of_the_layout(tmp_path: Path) -> None:
    source = open_frames(cxidb_94(tmp_path).paths)
    settings = MapSettings(n_radial=6, n_angular=24, order=2)
    with h5py.File(write_maps(source, tmp_path / "maps.h5", settings)) as file:
        for name in ("file", "index", "entry", "bunchId"):
            np.testing.assert_array_equal(file[f"{EVENTS}/{name}"][:], source.events[name])


def test_a_changed_source_of_a_virtual_data_set_changes_the_fingerprint(tmp_path: Path) -> None:
    written = modules(tmp_path)
    before = open_frames(written.paths).fingerprint()
    assert open_frames(written.paths).fingerprint() == before
    with h5py.File(tmp_path / "CORR-R0001-AGIPD02-S00000.h5", "r+") as file:
        file["note"] = 1
    after = open_frames(written.paths).fingerprint()
    assert {key for key in before if before[key] != after[key]} >= {"bytes", "changed_ns", "files_digest"}
