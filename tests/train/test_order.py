"""Split and order are pure functions of the seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cdifast.train import Split, shuffled_split
from cdifast.train.order import Stream, check_split, epoch_order, steps_per_epoch, stream_seed


def test_papers_split() -> None:
    split = shuffled_split(7264)
    assert (len(split.train), len(split.validation)) == (6174, 1090)
    np.testing.assert_array_equal(np.sort(np.concatenate(split)), np.arange(7264))
    again, other = shuffled_split(7264), shuffled_split(7264, seed=1)
    np.testing.assert_array_equal(split.train, again.train)
    assert not np.array_equal(split.train, other.train)
    # Shuffled: the validation share of the first half is near a half (six standard deviations).
    assert abs((split.validation < 3632).mean() - 0.5) < 6 * np.sqrt(0.25 / 1090)


@pytest.mark.parametrize(("count", "fraction", "size"), [(100, 0.29, 29), (2, 0.99, 1), (2, 0.01, 1), (20, 0.85, 17)])
def test_split_sizes(count: int, fraction: float, size: int) -> None:
    assert len(shuffled_split(count, fraction).train) == size


def test_epochs_are_different_permutations() -> None:
    train = np.arange(100, 150)
    first, second = epoch_order(train, 0, 0), epoch_order(train, 0, 1)
    assert torch.equal(first, epoch_order(train, 0, 0))
    assert not torch.equal(first, second)
    for order in (first, second):
        assert sorted(order.tolist()) == list(range(100, 150))


def test_streams_do_not_meet() -> None:
    seeds = {
        stream_seed(seed, stream, epoch, step)
        for seed in range(3)
        for stream in Stream
        for epoch in range(5)
        for step in range(5)
    }
    assert len(seeds) == 3 * len(Stream) * 25


def test_steps() -> None:
    assert steps_per_epoch(6174, 48) == 128
    assert steps_per_epoch(48, 48) == 1
    assert steps_per_epoch(5, 48) == 1


def test_bad_splits() -> None:
    for train, validation, message in [
        ([], [1], "the train part is empty"),
        ([0, 5], [1], "indices from 0 to 5, expected 0 to 3"),
        ([0, 0], [1], "the train part holds an image twice"),
        ([0, 1], [1, 2], "image 1 and 0 others are in both parts"),
    ]:
        with pytest.raises(ValueError, match=message):
            check_split(Split(np.array(train, int), np.array(validation, int)), 4)
    with pytest.raises(ValueError, match=r"found 1 images"):
        shuffled_split(1)
    with pytest.raises(ValueError, match=r"train_fraction: found 1"):
        shuffled_split(10, 1)
