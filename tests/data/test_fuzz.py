"""Thousands of damaged files: an error of ours or frames, never a crash, a hang or all of the memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from layouts import HDF5_WRITERS, WRITERS, random_frames, random_labels

from cdifast.data import write_cxi

WORKER = Path(__file__).with_name("fuzz_worker.py")
TRIALS = 2400


def fuzz(root: Path, count: int) -> list[tuple[str, int, str]]:
    """What became of each of `count` trials over the layouts in a folder, by two workers."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(WORKER), str(root)]
    workers = [
        subprocess.Popen([*command, str(seed), str(count // 2)], stdout=subprocess.PIPE, env=environment, text=True)
        for seed in (1, 2)
    ]
    outputs = [worker.communicate(timeout=600)[0] for worker in workers]
    assert all(worker.returncode == 0 for worker in workers)
    return [tuple(entry) for output in outputs for entry in json.loads(output)]


def test_damaged_files_of_every_layout(tmp_path: Path) -> None:
    """Those of others, with HDF5's global heap in some (virtual data sets, texts of variable length), and ours."""
    for name in HDF5_WRITERS:
        (tmp_path / name).mkdir()
        WRITERS[name](tmp_path / name, **({"count": 2} if name in ("CXIDB 10", "Cheetah before CXI") else {}))
    (tmp_path / "ours").mkdir()
    good = np.ones((12, 10), bool)
    write_cxi(tmp_path / "ours" / "a.cxi", random_frames(), labels=random_labels(7), mask=good, compression="gzip")
    found = fuzz(tmp_path, TRIALS)
    assert len(found) == TRIALS
    strange = [entry for entry in found if entry[2] not in ("frames", "error")]
    assert not strange, strange[0]
    counts = Counter((name, outcome) for name, _, outcome in found)
    assert len(counts) == 2 * (len(HDF5_WRITERS) + 1)
    assert min(counts.values()) > TRIALS // 100, counts


def test_a_worker_that_dies_is_noticed(tmp_path: Path) -> None:
    """The test of the tests: a bug of ours, a hang and a lack of memory all come back as what they are."""
    folder = tmp_path / "files" / "one"
    folder.mkdir(parents=True)
    WRITERS["stacked CXI"](folder)
    planted = tmp_path / "planted.py"
    planted.write_text(
        "import sys, time\n"
        f"sys.path.insert(0, {str(WORKER.parent)!r})\n"
        "import fuzz_worker\n"
        "fuzz_worker.TRIAL_SECONDS = 1\n"
        "def trial(folder, scratch, generator):\n"
        "    kind = generator.integers(3)\n"
        "    if kind == 0: raise KeyError('ours')\n"
        "    if kind == 1: time.sleep(20)\n"
        "    bytearray(1 << 30)\n"
        "fuzz_worker.trial = trial\n"
        "fuzz_worker.main(*sys.argv[1:])\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, str(planted), str(folder.parent), "5", "6"],
        capture_output=True,
        env=environment,
        text=True,
        timeout=120,
        check=True,
    )
    kinds = {0: "KeyError: 'ours'", 1: "Timeout", 2: "MemoryError"}
    expected = [kinds[int(np.random.default_rng([5, number]).integers(3))] for number in range(6)]
    assert len(set(expected)) == 3
    for (_, _, words), kind in zip(json.loads(done.stdout), expected, strict=True):
        assert kind in words
