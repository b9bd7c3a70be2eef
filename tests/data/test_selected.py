"""Some frames prepared as all are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cdifast.data import open_frames, write_cxi
from cdifast.data.prepare import InputPreparation, prepare_frames
from cdifast.data.selected import prepare_selected


def test_selected_frames_are_prepared_as_all_are_and_named_by_their_place(tmp_path: Path) -> None:
    images = np.random.default_rng(0).poisson(4.0, (9, 20, 24)).astype(np.float32)
    images[6, 3, 5] = np.nan
    preparation = InputPreparation(size=8)
    with open_frames(write_cxi(tmp_path / "a.cxi", images)) as frames:
        seen: list[int] = []
        found = prepare_selected(
            frames, [7, 0, 3], preparation, chunk=2, progress=lambda done, total: seen.append(done)
        )
        whole = prepare_frames(images[[7, 0, 3]], None, preparation)
        assert torch.equal(found, whole)
        assert seen == [2, 3]
        with pytest.raises(ValueError, match=r"a\.cxi.*frame 6"):
            prepare_selected(frames, [1, 6], preparation)
        with pytest.raises(IndexError):
            prepare_selected(frames, [9], preparation)
