"""Nearest neighbours against a float64 measurement of every pair, SciPy's distances and scikit-learn's search."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cdifast.search import METRICS, Neighbours, nearest
from cdifast.search.distances import pair_distances, prepared

distance = pytest.importorskip("scipy.spatial.distance")


def brute(
    queries: NDArray[Any], rows: NDArray[Any], k: int, metric: str, own: NDArray[Any] | None = None
) -> Neighbours:
    """Every pair by SciPy in float64, sorted by distance, then row; differences of rounding count as ties."""
    measured = distance.cdist(queries.astype(np.float64), rows.astype(np.float64), metric)
    if own is not None:
        measured[np.arange(len(queries)), own] = np.inf
    rounded = np.round(measured, 10)
    order = np.lexsort((np.broadcast_to(np.arange(len(rows)), rounded.shape), rounded), axis=1)[:, :k]
    return Neighbours(order, np.take_along_axis(measured, order, axis=1))


@pytest.fixture(scope="module")
def rows() -> NDArray[np.float32]:
    """Embeddings of positive features around a common offset, a fifth of them copies of one."""
    generator = np.random.default_rng(0)
    rows = generator.gamma(2.0, size=(1500, 40)).astype(np.float32) + np.float32(20)
    rows[200:500] = rows[7]
    return rows


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("block", "query_block"), [(64, 7), (700, 64), (8192, 1024)])
def test_equals_measuring_every_pair(rows: NDArray[np.float32], metric: Any, block: int, query_block: int) -> None:
    own = np.arange(0, 1500, 25)
    shards = [rows[:600], torch.from_numpy(rows[600:601]), rows[601:]]
    found = nearest(rows[own], shards, 12, metric, exclude_self=own, block=block, query_block=query_block)
    expected = brute(rows[own], rows, 12, metric, own)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_allclose(found.distances, expected.distances, atol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_copies_come_in_the_order_in_which_they_are_stored_at_distance_zero(
    rows: NDArray[np.float32], metric: Any
) -> None:
    found = nearest(rows[[300]], rows, 20, metric, exclude_self=[300], block=128)
    assert found.indices[0].tolist() == [7, *range(200, 219)]
    assert (found.distances == 0).all()


@pytest.mark.parametrize("metric", METRICS)
def test_nothing_depends_on_blocks_or_on_the_company(rows: NDArray[np.float32], metric: Any) -> None:
    """Bit for bit: a distance comes from its two vectors alone."""
    whole = nearest(rows[:50], rows, 30, metric)
    one = [nearest(rows[i : i + 1], [rows[:3], rows[3:]], 30, metric, block=41) for i in range(0, 50, 10)]
    for place, found in enumerate(one):
        np.testing.assert_array_equal(found.indices[0], whole.indices[10 * place])
        np.testing.assert_array_equal(found.distances[0], whole.distances[10 * place])


@pytest.mark.parametrize("metric", METRICS)
def test_rows_that_float32_cannot_order_are_ordered(metric: Any) -> None:
    """Neighbours whose distances differ in the ninth digit, in float64: a float32 product sees them all alike."""
    generator = np.random.default_rng(1)
    query = generator.normal(size=64) + 3
    side = generator.normal(size=64)
    side -= side.mean() + query * ((side @ query) / (query @ query))
    steps = 1 + 1e-9 * generator.permutation(400)
    rows = query + 0.1 * steps[:, None] * side
    found = nearest(query[None], rows, 50, metric, block=90)
    assert found.indices[0].tolist() == np.argsort(steps)[:50].tolist()
    scores = (torch.from_numpy(rows).float() @ torch.from_numpy(query).float()).numpy()
    assert len(np.unique(scores)) < 100  # what the filter alone could tell apart


@pytest.mark.parametrize("order", [1, -1])
def test_rows_sorted_by_distance_either_way(order: int) -> None:
    """Every block nearer than all before, or none: the filter's best and worst case."""
    rows = np.linspace(1, 2, 1000, dtype=np.float32)[::order, None] * np.ones((1, 3), np.float32)
    found = nearest(np.zeros((4, 3), np.float32), rows, 5, "euclidean", block=50)
    assert found.indices[3].tolist() == (list(range(5)) if order == 1 else list(range(999, 994, -1)))


def test_equals_scikit_learn() -> None:
    neighbors = pytest.importorskip("sklearn.neighbors")
    rows = np.random.default_rng(2).normal(size=(400, 16)).astype(np.float32)
    for metric in METRICS:
        model = neighbors.NearestNeighbors(n_neighbors=6, metric=metric, algorithm="brute").fit(rows.astype(np.float64))
        distances, indices = model.kneighbors(rows[:30].astype(np.float64))
        found = nearest(rows[:30], rows, 6, metric)
        np.testing.assert_array_equal(found.indices, indices)
        np.testing.assert_allclose(found.distances, distances, atol=1e-7)  # theirs cancels near zero


@pytest.mark.parametrize("scale", [1e-25, 1e-15, 1.0, 1e15])
@pytest.mark.parametrize("metric", METRICS)
def test_any_scale_of_float32(scale: float, metric: Any) -> None:
    rows = (scale * np.random.default_rng(3).normal(size=(300, 8))).astype(np.float32)
    found = nearest(rows[:20], rows, 5, metric, block=77)
    measured = distance.cdist(rows[:20].astype(np.float64) / scale, rows.astype(np.float64) / scale, metric)
    np.testing.assert_array_equal(found.indices, np.argsort(measured, axis=1)[:, :5])


def test_vectors_without_direction_are_at_distance_one() -> None:
    rows = np.array([[0, 0, 0], [2, 2, 2], [1, 0, 0], [-1, 0, 0]], np.float32)
    found = nearest(rows, rows, 4, "cosine")
    assert found.distances[0].tolist() == [1, 1, 1, 1]
    assert found.indices[0].tolist() == [0, 1, 2, 3]
    assert found.distances[2].tolist() == [0, pytest.approx(1 - 3**-0.5), 1, 2]
    assert nearest(rows, rows, 4, "correlation").distances[1].tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("dtype", ["float16", "float64", "int32", ">f4"])
def test_other_types(dtype: str) -> None:
    rows = (100 * np.random.default_rng(4).normal(size=(200, 6))).astype(dtype)
    found = nearest(rows[:9], rows, 4, "euclidean", block=30)
    np.testing.assert_array_equal(found.indices, brute(rows[:9], rows, 4, "euclidean").indices)


def test_reduced_precision_of_products_changes_nothing(rows: NDArray[np.float32]) -> None:
    expected = nearest(rows[:20], rows, 9, "cosine")
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        found = nearest(rows[:20], rows, 9, "cosine")
    finally:
        torch.set_float32_matmul_precision(before)
    np.testing.assert_array_equal(found.indices, expected.indices)


def test_rows_are_read_in_blocks_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "rows.dat"
    rows = np.random.default_rng(5).normal(size=(1000, 4)).astype(np.float32)
    rows.tofile(path)

    class Watched(np.memmap):  # type: ignore[type-arg]
        longest = 0

        def __getitem__(self, index: Any) -> Any:
            Watched.longest = max(Watched.longest, index.stop - index.start)
            return super().__getitem__(index)

    mapped = Watched(path, np.float32, "r", shape=(1000, 4))
    seen: list[int] = []
    nearest(rows[:30], mapped, 2, block=64, query_block=20, progress=seen.append)
    assert Watched.longest == 64
    assert seen[-1] == 2000
    assert all(a < b for a, b in pairwise(seen))


def test_faiss_finds_the_same(rows: NDArray[np.float32]) -> None:
    pytest.importorskip("faiss")
    own = np.arange(0, 200, 5)
    for metric in METRICS:
        ours = nearest(rows[own], [rows[:200], rows[500:]], 8, metric, exclude_self=own)
        theirs = nearest(rows[own], [rows[:200], rows[500:]], 8, metric, exclude_self=own, block=500, backend="faiss")
        np.testing.assert_array_equal(theirs.indices, ours.indices)
        np.testing.assert_array_equal(theirs.distances, ours.distances)


def test_what_is_wrong_is_named() -> None:
    rows = np.ones((10, 3), np.float32)
    with pytest.raises(ValueError, match="metric: found 'manhattan', expected one of cosine"):
        nearest(rows, rows, 1, "manhattan")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="k: found 10, expected 1 to 9, as many as there are rows besides"):
        nearest(rows[:1], rows, 10, exclude_self=[0])
    with pytest.raises(ValueError, match="shard 1: found embeddings of length 4, the queries' is 3"):
        nearest(rows, [rows, np.ones((2, 4))], 1)
    bad = rows.copy()
    bad[7, 1] = np.nan
    with pytest.raises(ValueError, match=r"shard 1: found NaN.* in row 7"):
        nearest(rows, [rows, bad], 1, block=4)
    with pytest.raises(ValueError, match=r"queries: found NaN.* in row 7"):
        nearest(bad, rows, 1)
    with pytest.raises(ValueError, match=r"queries: found shape \(3,\)"):
        nearest(rows[0], rows, 1)
    with pytest.raises(ValueError, match="expected a row number for each of 10 queries"):
        nearest(rows, rows, 1, exclude_self=[1, 2])
    with pytest.raises(ValueError, match="expected -1 to 9"):
        nearest(rows[:1], rows, 1, exclude_self=[10])
    with pytest.raises(ValueError, match="shards: found none"):
        nearest(rows, [], 1)
    with pytest.raises(TypeError, match="complex64"):
        nearest(rows, rows.astype(np.complex64), 1)


def test_a_distance_is_that_of_its_pair() -> None:
    rows = torch.randn(100, 5)
    queries = prepared(rows, "correlation")
    pairs = torch.randint(100, (2, 500))
    found = pair_distances(queries, rows, pairs[0], pairs[1], "correlation")
    expected = [distance.correlation(rows[a].double().numpy(), rows[b].double().numpy()) for a, b in pairs.T.tolist()]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-14)
