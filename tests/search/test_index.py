"""Embedding files as one stack."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cdifast.data import FrameError, RowDataset, RowFile
from cdifast.search import Index, nearest

h5py = pytest.importorskip("h5py")


def write(path: Path, rows: NDArray[np.float32], first_train: int = 100, weights: str = "ab") -> Path:
    """A file as `write_embeddings` lays it out: every second row from either of two files of frames."""
    count = len(rows)
    with RowFile.open_or_resume(
        path,
        count,
        [
            RowDataset("embedding", (rows.shape[1],), "float32", path="/entry_1/embeddings/embedding"),
            RowDataset("file", (), "int32", path="/entry_1/events/file"),
            RowDataset("index", (), "int64", path="/entry_1/events/index"),
            RowDataset("trainId", (), "uint64", path="/entry_1/events/trainId"),
        ],
        fingerprint={},
        attrs={"/entry_1/embeddings": {"weights": "model/weights.safetensors", "weights_sha256": weights}},
        constants={"/entry_1/events/paths": np.array([f"{path.stem}-{i}.cxi".encode() for i in range(2)])},
    ) as file:
        number = np.arange(count)
        file.write(0, embedding=rows, file=number % 2, index=number // 2, trainId=(number + first_train).astype("u8"))
        return file.finish()


@pytest.fixture
def rows() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)


def test_rows_count_through_all_files(rows: NDArray[np.float32], tmp_path: Path) -> None:
    paths = [write(tmp_path / "a.h5", rows[:20]), write(tmp_path / "b.h5", rows[20:], 500)]
    with Index(paths) as index:
        assert (len(index), index.dimension, index.weights_sha256) == (50, 6, "ab")
        found = index.similar([3, 25], 5, "euclidean")
        expected = nearest(rows[[3, 25]], rows, 5, "euclidean", exclude_self=[3, 25])
        np.testing.assert_array_equal(found.indices, expected.indices)
        np.testing.assert_array_equal(found.distances, expected.distances)
        np.testing.assert_array_equal(index.rows([30, 0, 30]), rows[[30, 0, 30]])
        assert index.event(25) == {"path": Path("b-1.cxi"), "index": 2, "trainId": 505}
        keys = index.events()
        assert keys["trainId"][[0, 19, 20]].tolist() == [100, 119, 500]
        assert index.event_paths()[keys["file"][25]] == b"b-1.cxi"
        starts, parts = zip(*index.blocks(15), strict=True)
        assert starts == (0, 15, 20, 35)
        np.testing.assert_array_equal(np.concatenate(parts), rows)
        with pytest.raises(IndexError, match="found row 50, expected 0 to 49"):
            index.rows([50])


def test_only_blocks_are_read(rows: NDArray[np.float32], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.h5", rows)
    read: list[slice] = []
    whole = h5py.Dataset.__getitem__

    def watched(dataset: object, key: object, *rest: object) -> object:
        if isinstance(key, slice):
            read.append(key)
        return whole(dataset, key, *rest)

    monkeypatch.setattr(h5py.Dataset, "__getitem__", watched)
    with Index(path) as index:
        assert not read
        nearest(rows[:2], index._shards, 3, block=16)
    assert [(key.start, key.stop) for key in read] == [(0, 16), (16, 32), (32, 48), (48, 64)]


def test_what_does_not_belong_together_is_refused(rows: NDArray[np.float32], tmp_path: Path) -> None:
    first = write(tmp_path / "a.h5", rows)
    with pytest.raises(FrameError, match=r"b\.h5: found embeddings of length 4; expected 6, as in .*a\.h5"):
        Index([first, write(tmp_path / "b.h5", rows[:, :4].copy())])
    with pytest.raises(FrameError, match=r"c\.h5: its embeddings come from other weights \(sha256 cd\)"):
        Index([first, write(tmp_path / "c.h5", rows, weights="cd")])
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["data"] = rows
    with pytest.raises(FrameError, match=r"d\.h5: found no /entry_1/embeddings/embedding"):
        Index(tmp_path / "d.h5")
    (tmp_path / "e.h5").write_text("no HDF5")
    with pytest.raises(FrameError, match=r"e\.h5: not readable as HDF5"):
        Index(tmp_path / "e.h5")
    with pytest.raises(FileNotFoundError, match=r"f\.h5"):
        Index(tmp_path / "f.h5")
    with pytest.raises(ValueError, match="paths: found none"):
        Index([])
