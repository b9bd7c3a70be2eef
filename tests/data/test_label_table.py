"""Label tables: what a spreadsheet may write, and every slip of it."""

from __future__ import annotations

import csv
from pathlib import Path

import h5py
import numpy as np
import pytest

from cdifast.data import FrameError, Frames, open_frames, read_label_table, write_cxi, write_label_table
from cdifast.labels import CLASSES


@pytest.fixture
def frames(tmp_path: Path) -> Frames:
    """Two runs of four frames with train identifiers 100, 101, ... and 200, 201, ..."""
    paths = []
    for run in (1, 2):
        path = tmp_path / f"run{run}" / "shots.cxi"
        path.parent.mkdir()
        write_cxi(path, np.ones((4, 6, 6), np.uint16))
        with h5py.File(path, "r+") as file:
            file["/entry_1/events/trainId"] = np.arange(100 * run, 100 * run + 4)
        paths.append(path)
    return open_frames(paths)


def table(folder: Path, text: str) -> Path:
    path = folder / "labels.csv"
    path.write_text(text)
    return path


def test_written_tables_are_read_back(frames: Frames, tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 2, (3, 11))
    path = write_label_table(tmp_path / "a.csv", frames, [6, 0, 3], labels, hints={"p, Round": [0.5, 0.25, 1]})
    found = read_label_table(path, frames, CLASSES)
    assert found.indices.tolist() == [0, 3, 6]
    np.testing.assert_array_equal(found.labels, labels[[1, 2, 0]])
    assert found.labels.dtype == np.uint8
    assert (found.classes, found.unlabelled) == (CLASSES, 0)
    assert read_label_table(path, frames).classes == CLASSES
    rows = list(csv.DictReader(path.open()))
    assert rows[0]["hint: p, Round"] == "0.5"
    # Both files are called shots.cxi, so that their folders are needed.
    assert rows[0]["file"] == str(frames.paths[1])
    assert (rows[0]["frame"], rows[0]["index"]) == ("6", "2")


def test_empty_sheets_are_filled_in(frames: Frames, tmp_path: Path) -> None:
    path = write_label_table(tmp_path / "a.csv", frames, [1, 5, 7], classes=("virus", "empty"), keys=("trainId",))
    with pytest.raises(FrameError, match=r"a\.csv: none of its 3 rows is labelled"):
        read_label_table(path, frames)
    lines = path.read_text().splitlines()
    assert lines[1].endswith(",101,,")
    lines[1] += "1"  # the last column
    lines[3] = lines[3][:-2] + ",0,"
    path.write_text("\n".join(lines))
    found = read_label_table(path, frames)
    assert found.indices.tolist() == [1, 7]
    assert found.labels.tolist() == [[0, 1], [0, 0]]
    assert (found.classes, found.unlabelled) == (("virus", "empty"), 1)
    with pytest.raises(FileExistsError, match=r"a\.csv: exists already"):
        write_label_table(path, frames, [1])


@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_spreadsheets_write(frames: Frames, tmp_path: Path, start: str, separator: str, end: str) -> None:
    rows = [
        ["trainId", "Round", "hint: Round", "Empty", "note"],
        ["201", "TRUE", "7", "FALSE", '"not sure; ask"'],
        ["", "", "", "", ""],
        ["102", "0", "8", "1", ""],
    ]
    path = tmp_path / "labels.csv"
    path.write_bytes((start + end.join(separator.join(row) for row in rows)).encode())
    found = read_label_table(path, frames)
    assert found.indices.tolist() == [2, 5]
    assert found.labels.tolist() == [[0, 1], [1, 0]]
    assert found.classes == ("Round", "Empty")


def test_files_and_keys_count_and_the_frame_is_for_people(frames: Frames, tmp_path: Path) -> None:
    path = table(tmp_path, "frame,file,index,Round\n0,run2/shots.cxi,3,1\n")
    assert read_label_table(path, frames).indices.tolist() == [7]
    with open_frames(frames.paths[1]) as alone:
        assert read_label_table(path, alone).indices.tolist() == [3]
        short = table(tmp_path, "file,index,Round\nshots.cxi,3,1\n")
        assert read_label_table(short, alone).indices.tolist() == [3]
    with pytest.raises(FrameError, match=r"line 2: file: found 'shots.cxi', 2 files of the stack end in it"):
        read_label_table(short, frames)
    assert read_label_table(table(tmp_path, "frame,trainId,Round\n0,203,1"), frames).indices.tolist() == [7]


def test_a_column_of_names(frames: Frames, tmp_path: Path) -> None:
    path = table(tmp_path, 'frame,labels\n3,Round; Spherical/Oblate\n1,\n0,none\n2,"Prolate;Newton rings;"\n')
    found = read_label_table(path, frames)
    assert found.classes == CLASSES
    assert found.indices.tolist() == [0, 2, 3]
    assert [[CLASSES[k] for k in np.flatnonzero(row)] for row in found.labels] == [
        [],
        ["Prolate", "Newton rings"],
        ["Spherical/Oblate", "Round"],
    ]
    assert found.unlabelled == 1
    own = read_label_table(table(tmp_path, "frame,labels\n3,virus\n1,rice;dirt\n"), frames)
    assert own.classes == ("dirt", "rice", "virus")
    assert own.labels.tolist() == [[1, 1, 0], [0, 0, 1]]
    ordered = read_label_table(table(tmp_path, "frame,labels\n3,virus\n"), frames, ("virus", "rice"))
    assert (ordered.classes, ordered.labels.tolist()) == (("virus", "rice"), [[1, 0]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"labels\.csv: is empty"),
        ("Round,Empty\n1,0\n", r"line 1: no column says which frame"),
        ("index,Round\n1,0\n", r"line 1: found one of the columns 'file' and 'index'"),
        ("frame,note\n1,x\n", r"line 1: found no column of labels"),
        ("frame,Round,Round\n1,0,1\n", r"line 1: two columns are called 'Round'"),
        ("frame,labels,Round\n1,Round,1\n", r"line 1: found a column 'labels' and also 'Round'"),
        ("frame,Round\n1,1\n2,2\n", r"line 3: Round: found '2', expected 0, 1 or nothing"),
        ("frame,Round\n8,1\n", r"line 2: frame: found 8, expected 0 to 7"),
        ("frame,Round\n-1,1\n", r"line 2: frame: found -1"),
        ("frame,Round\n1.5,1\n", r"line 2: frame: found '1.5', expected a whole number"),
        ("frame,Round\n\n1,1\n2,0\n1,1\n", r"line 5: frame 1 has labels on line 3 already"),
        ("frame,Round\n1,1,1\n", r"line 2: found 3 cells, the first row names 2 columns"),
        ("trainId,Round\n99,1\n", r"line 2: no frame has trainId 99; expected one of the 8 frames"),
        ("trainId,Round\n1.00E+02,1\n", r"line 2: trainId: found '1.00E\+02', expected a whole number"),
        ("file,index,Round\nrun3.cxi,1,1\n", r"line 2: file: found 'run3.cxi', no file of the stack is called so"),
        ("frame,labels\n1,Round\n2,Ruond\n", r"line 3: labels: found 'Ruond', expected names among Spherical/Oblate"),
        ("frame,labels\n1,Round; none\n", r"line 2: labels: found 'none'"),
        ('frame,labels\n1,"Round\n', r"is not readable as CSV"),
    ],
)
def test_slips_are_named_with_their_line(frames: Frames, tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FrameError, match=message):
        read_label_table(table(tmp_path, text), frames)


def test_other_classes_than_asked_for_and_no_such_file(frames: Frames, tmp_path: Path) -> None:
    path = table(tmp_path, "frame,Round,Rond\n1,1,0\n")
    with pytest.raises(FrameError, match=r"found no column for 'Empty' and 'Rond', which is no class"):
        read_label_table(path, frames, ("Round", "Empty"))
    with pytest.raises(FrameError, match=r"line 2: labels: found 'virus', expected names among Round, Empty"):
        read_label_table(table(tmp_path, "frame,labels\n1,virus\n"), frames, ("Round", "Empty"))
    path.write_bytes("frame,R\xf6nd\n".encode("latin-1"))
    with pytest.raises(FrameError, match=r"is not UTF-8 text.*save it as CSV in UTF-8"):
        read_label_table(path, frames)
    with pytest.raises(FileNotFoundError, match=r"no\.csv: no such file"):
        read_label_table(tmp_path / "no.csv", frames)


def test_what_cannot_be_written(frames: Frames, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for name in ("frame", "labels", "hint: x", "Note", " Round", ""):
        with pytest.raises(ValueError, match="which a table keeps for another column"):
            write_label_table(path, frames, [0], classes=(name,))
    with pytest.raises(ValueError, match=r"labels: found shape \(1, 2\), expected \(1, 11\)"):
        write_label_table(path, frames, [0], np.zeros((1, 2)))
    with pytest.raises(ValueError, match=r"hint: p: found 2 values for 1 frames"):
        write_label_table(path, frames, [0], hints={"p": [1, 2]})
    with pytest.raises(ValueError, match=r"keys: found 'pulseId', the frames have file, index, trainId"):
        write_label_table(path, frames, [0], keys=("pulseId",))
    with pytest.raises(IndexError):
        write_label_table(path, frames, [8])
    assert not path.exists()
