"""Orders of an epoch: exact, in shards, resumable, and as random as the formula says."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from torch.utils.data import DataLoader

from cdifast.data.draws import Purpose, epoch_keys, frame_uniforms
from cdifast.data.order import FrameOrder


def chunk_ids(frames: int, size: int | None, seed: int = 0) -> NDArray[np.int64] | None:
    """Chunks of ``size`` consecutive frames under arbitrary names; None: no chunks."""
    if size is None:
        return None
    names = np.random.default_rng(seed).permutation(10 * frames)
    return names[np.arange(frames) // size]


@pytest.mark.parametrize("chunk", [None, 1, 3, 16, 5000])
@pytest.mark.parametrize("shuffle", ["chunks", "frames", "none"])
def test_every_frame_once_in_equal_shards(chunk: int | None, shuffle: str) -> None:
    for count, batch, ranks, drop_last in itertools.product(
        (1, 2, 63, 64, 65, 129, 500), (1, 2, 7, 64), (1, 2, 3, 8), (False, True)
    ):
        if count < ranks or (drop_last and count // ranks < batch):
            continue
        orders = [
            FrameOrder(
                count,
                batch,
                shuffle=shuffle,  # type: ignore[arg-type]
                chunks=chunk_ids(count, chunk),
                window=20,
                rank=rank,
                world_size=ranks,
                drop_last=drop_last,
            )
            for rank in range(ranks)
        ]
        plans = [order.plan(3) for order in orders]
        seen = np.sort(np.concatenate([plan.indices for plan in plans]))
        if drop_last:
            assert len(np.unique(seen)) == len(seen) == (count // ranks // batch) * batch * ranks
        else:
            np.testing.assert_array_equal(seen, np.arange(count))
        assert max(len(plan.indices) for plan in plans) - min(len(plan.indices) for plan in plans) <= 1
        if batch > 1:
            assert len({len(order) for order in orders}) == 1
        for order, plan in zip(orders, plans, strict=True):
            sizes = np.diff(plan.batches)
            assert len(sizes) == len(order)
            assert plan.batches[0] == 0
            assert plan.batches[-1] == len(plan.indices)
            assert (sizes[:-2] == batch).all()
            # Where another rank needs one more batch, one frame is taken from the last full one.
            assert sizes.min() >= 1
            assert sizes.max() <= batch
            assert len(sizes) < 2 or sizes[-2] >= batch - 1


def test_no_shuffle_is_the_order_given() -> None:
    chosen = [7, 3, 11, 2, 5]
    batches = list(FrameOrder(chosen, 2, shuffle="none", chunks=np.arange(20) // 4))
    assert batches == [[7, 3], [11, 2], [5]]


def test_a_subset_is_the_whole_of_the_order() -> None:
    chosen = np.random.default_rng(0).permutation(200)[:70]
    order = FrameOrder(chosen, 16, chunks=np.arange(200) // 10, window=32)
    np.testing.assert_array_equal(np.sort(order.plan(0).indices), np.sort(chosen))


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_window_shares_no_chunk_with_another(ranks: int) -> None:
    chunks = chunk_ids(1000, 7)
    assert chunks is not None
    decoded = 0
    for rank in range(ranks):
        plan = FrameOrder(1000, 16, chunks=chunks, window=100, rank=rank, world_size=ranks).plan(0)
        windows = [plan.indices[a:b] for a, b in itertools.pairwise(plan.windows)]
        assert max(map(len, windows)) <= 100
        assert min(map(len, windows)) > 50  # evenly cut: no small rest that would be badly mixed
        decoded += sum(len(np.unique(chunks[window])) for window in windows)
    # Each once, but for the one at each border between shards.
    assert decoded <= len(np.unique(chunks)) + ranks - 1


def test_a_chunk_larger_than_a_window_is_cut() -> None:
    plan = FrameOrder(1000, 10, chunks=np.zeros(1000, int), window=100).plan(0)
    assert np.diff(plan.windows).max() <= 100
    np.testing.assert_array_equal(np.sort(plan.indices), np.arange(1000))
    # Each window is a random sample of it, not a run of neighbours.
    assert np.std(plan.indices[:100]) == pytest.approx(1000 / math.sqrt(12), rel=0.2)


@pytest.mark.parametrize(("chunk", "window"), [(8, 64), (8, 512), (32, 256), (1, 64)])
def test_batches_are_as_mixed_as_the_formula_says(chunk: int, window: int) -> None:
    """Probability of a common chunk (k - 1)/(W - 1), and the variance of a batch's mean that follows."""
    count, batch, epochs = 4096, 32, 24
    chunks = np.arange(count) // chunk
    values = np.random.default_rng(0).normal(size=count // chunk)[chunks]  # all frames of a chunk are alike
    values = (values - values.mean()) / values.std()
    order = FrameOrder(count, batch, chunks=chunks, window=window, seed=5)
    pairs, means = [], []
    for epoch in range(epochs):
        for frames in order.plan(epoch).indices.reshape(-1, batch):
            _, sizes = np.unique(chunks[frames], return_counts=True)
            pairs.append((sizes * (sizes - 1)).sum() / (batch * (batch - 1)))
            means.append(values[frames].mean())
    # A full shuffle is one window of all frames, where a common chunk is as likely as chance has it.
    mixed = window if chunk > 1 else count
    expected = (chunk - 1) / (mixed - 1)
    error = np.std(pairs) / math.sqrt(len(pairs))
    assert np.mean(pairs) == pytest.approx(expected, abs=4 * error + 1e-12)
    # Without putting back, frames of different chunks are correlated by -1 / (chunks - 1).
    correlation = expected - (1 - expected) / (count / chunk - 1)
    assert batch * np.var(means) == pytest.approx(1 + (batch - 1) * correlation, rel=0.1)


def test_every_frame_comes_at_any_time() -> None:
    """Places of a frame over many epochs are uniform, by chunks as by frames."""
    count = 60
    for chunks in (None, np.arange(count) // 5):
        order = FrameOrder(count, 4, chunks=chunks, window=15, seed=1)
        places = np.array([np.flatnonzero(order.plan(epoch).indices == 17)[0] for epoch in range(1200)])
        assert stats.chisquare(np.bincount(places, minlength=count)).pvalue > 1e-3


def test_all_permutations_are_equally_likely() -> None:
    order = FrameOrder(4, 4, seed=2)
    found = [tuple(order.plan(epoch).indices.tolist()) for epoch in range(2400)]
    counts = [found.count(permutation) for permutation in itertools.permutations(range(4))]
    assert sum(counts) == 2400
    assert stats.chisquare(counts).pvalue > 1e-3


def test_seeds_and_epochs_are_independent() -> None:
    orders = [FrameOrder(2000, 10, seed=seed, chunks=np.arange(2000) // 4, window=200) for seed in (0, 1)]
    plans = [order.plan(epoch).indices for order in orders for epoch in (0, 1)]
    for first, second in itertools.combinations(plans, 2):
        assert abs(stats.spearmanr(np.argsort(first), np.argsort(second)).statistic) < 4 / math.sqrt(2000)
    again = FrameOrder(2000, 10, seed=1, chunks=np.arange(2000) // 4, window=200).plan(1).indices
    np.testing.assert_array_equal(again, plans[3])


def test_the_order_never_changes() -> None:
    """Pinned: another release of cdifast, NumPy or torch must resume an epoch that this one began."""
    plan = FrameOrder(12, 5, seed=3, chunks=np.arange(12) // 3, window=6)
    assert plan.plan(1).indices.tolist() == [4, 10, 3, 5, 11, 9, 1, 0, 7, 8, 2, 6]
    assert FrameOrder(8, 8, seed=3).plan(2).indices.tolist() == [7, 5, 6, 3, 1, 2, 4, 0]
    assert epoch_keys(1, 3, Purpose.FRAMES, 2).tolist() == [14354166098763297617]


def test_uniforms_are_those_of_numpy_and_belong_to_the_frame() -> None:
    indices = [5, 0, 123_456_789_012]
    found = frame_uniforms(indices, 6, seed=4, epoch=9)
    key = np.random.SeedSequence([4, int(Purpose.AUGMENTATION), 9]).generate_state(2, np.uint64)
    for row, index in zip(found, indices, strict=True):
        bits = np.random.Philox(key=key, counter=np.array([0, 0, index, 0], np.uint64))
        np.testing.assert_array_equal(row, np.random.Generator(bits).random(6))
    np.testing.assert_array_equal(frame_uniforms(indices[::-1], 3, 4, 9), found[::-1, :3])
    many = frame_uniforms(np.arange(2000), 2, seed=0)
    assert stats.kstest(many.ravel(), "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(many.T)[0, 1]) < 4 / math.sqrt(2000)
    assert abs(np.corrcoef(many[1:, 0], many[:-1, 0])[0, 1]) < 4 / math.sqrt(2000)
    for other in ({"seed": 1}, {"epoch": 1}):
        assert not np.isin(frame_uniforms(np.arange(50), 2, **{"seed": 0, **other}), many).any()


def test_resumes_from_two_numbers() -> None:
    order = FrameOrder(100, 8, seed=1, chunks=np.arange(100) // 4, window=24)
    whole = [list(order), list(order)]
    for stop in (0, 1, 5, len(order)):
        order.set_epoch(1)
        begun = list(itertools.islice(order, stop))
        state = json.loads(json.dumps(order.state_dict()))
        assert set(state) == {"epoch", "step"}
        other = FrameOrder(100, 8, seed=1, chunks=np.arange(100) // 4, window=24)
        other.load_state_dict(state)
        assert begun + list(other) == whole[1]
        assert other.epoch == 2
    with pytest.raises(ValueError, match="step 14; there are 13 steps"):
        order.load_state_dict({"epoch": 0, "step": 14})


def test_is_a_batch_sampler() -> None:
    order = FrameOrder(50, 8, seed=1)
    expected = [order.plan(epoch).indices.tolist() for epoch in (0, 1)]
    loader: DataLoader[int] = DataLoader(range(50), batch_sampler=order, collate_fn=list)  # type: ignore[arg-type]
    assert len(loader) == 7
    assert [[frame for batch in loader for frame in batch] for _ in range(2)] == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size: found 0"),
        ({"seed": -1}, "seed: found -1"),
        ({"window": 0}, "window: found 0"),
        ({"rank": 2, "world_size": 2}, "rank: found 2, expected 0 to 1"),
        ({"world_size": 11}, "found 10, expected at least one for each of 11 ranks"),
        ({"frames": [1, 1]}, "an index twice"),
        ({"frames": [-1, 1]}, "a negative one"),
        ({"frames": [0.5]}, "found float64"),
        ({"shuffle": "window"}, "shuffle: found 'window'"),
        ({"chunks": [0] * 9}, "chunks: found 9, but there is a frame 9"),
        ({"chunks": [0.0] * 10}, "chunks: found float64"),
        ({"batch_size": 11, "drop_last": True}, "fill no batch of 11"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FrameOrder(**{"frames": 10, "batch_size": 4, **arguments})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="epoch: found -1"):
        FrameOrder(10, 2).plan(-1)
