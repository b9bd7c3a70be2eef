"""Embedding: the package's encoder on 64 x 64 images, and exact nearest neighbours among 200,000 embeddings."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pytest
import torch
from torch import Tensor

from cdifast.data import prepare_batch
from cdifast.data.view_recipe import ViewRecipe
from cdifast.data.views import plain_view
from cdifast.jobs import Embedder
from cdifast.nn import load_encoder
from cdifast.search import nearest
from cdifast.search.distances import pair_distances, prepared

from .call import Call, EntryTimer, exact_result
from .inputs import FEW, frames
from .peers import search as peers

# Published for SpeckleNN's embedding of an image on a GTX 1080 Ti: another network on another machine.
SPECKLENN_PER_SECOND = 450

SIDE, BATCH = 64, 256
ROWS, DIMENSION, QUERIES, NEAREST = 200_000, 1024, 256, 10


@lru_cache(maxsize=1)
def embedder() -> Embedder:
    """The package's encoder, as `cdifast embed` uses it."""
    return Embedder()


@lru_cache(maxsize=1)
def images() -> Tensor:
    """Prepared images (BATCH, 1, S, S)."""
    return prepare_batch(frames(SIDE, "uint16", BATCH), None, embedder().preparation)


def recipe() -> ViewRecipe:
    return ViewRecipe.from_dict(embedder().card.training["config"]["views"])


def plain() -> Call:
    """View and network as anybody would call them."""
    network, batch, views = load_encoder()[0], images(), recipe()

    def run() -> Tensor:
        with torch.inference_mode():
            return network(plain_view(batch, views))

    return Call(run, BATCH)


def from_images() -> Call:
    return Call(lambda: embedder().prepared(images()), BATCH)


def from_frames() -> Call:
    """From raw frames, with their preparation."""
    raw = frames(SIDE, "uint16", BATCH).numpy()
    embed = embedder().for_frames((SIDE, SIDE), None)
    return Call(lambda: embed(raw, None), BATCH)


@exact_result
def exact_embedding() -> Tensor:
    network: Any = load_encoder()[0].double()
    with torch.no_grad():
        return network(plain_view(images()[:FEW].double(), recipe()))


ENCODERS: dict[str, Callable[[], Call]] = {
    "ours": from_images,
    f"ours, from uint16 frames {SIDE}x{SIDE}": from_frames,
    "the same network, eager": plain,
}


@pytest.mark.parametrize("name", ENCODERS)
def test_encoder(name: str, entry: EntryTimer) -> None:
    entry(
        f"the package's encoder (SpeckleNN publishes {SPECKLENN_PER_SECOND} images/s, GTX 1080 Ti)",
        name,
        ENCODERS[name],
        exact_embedding(),
        size=SIDE,
    )


@lru_cache(maxsize=1)
def vectors() -> tuple[Tensor, Tensor]:
    """Queries and rows: positive features, as an encoder's pooled output has them."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(ROWS, DIMENSION, generator=generator).abs_()
    return torch.randn(QUERIES, DIMENSION, generator=generator).abs_(), rows


def ours(queries: Tensor, rows: Tensor, k: int) -> Call:
    """Exact to float64, lengths taken on the way: nothing is prepared beforehand."""
    return Call(lambda: nearest(queries, rows, k, "cosine").distances, len(queries))


@exact_result
def exact_distances() -> Tensor:
    """Distances of the nearest to the first queries, by measuring every pair in float64."""
    queries, rows = vectors()
    found = []
    for number in range(FEW):
        every = torch.arange(ROWS)
        pairs = torch.full_like(every, number), every
        measured = pair_distances(prepared(queries[:FEW], "cosine"), rows, *pairs, "cosine")
        found.append(measured.sort().values[:NEAREST])
    return torch.stack(found)


SEARCHES: dict[str, Callable[[Tensor, Tensor, int], Call]] = {
    "ours": ours,
    "torch.mm + topk": peers.mm_topk,
    "faiss IndexFlatIP": peers.faiss_flat,
}


@pytest.mark.parametrize("name", SEARCHES)
def test_search(name: str, entry: EntryTimer) -> None:
    entry(
        f"{NEAREST} nearest of {ROWS:,}, {QUERIES} queries at once",
        name,
        lambda: SEARCHES[name](*vectors(), NEAREST),
        exact_distances(),
        size=DIMENSION,
    )
