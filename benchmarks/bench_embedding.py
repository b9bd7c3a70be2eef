"""Embedding: the small encoder on 64 x 64 images, and exact nearest neighbours among 200,000 embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cdifast.data import InputPreparation, prepare_batch
from cdifast.jobs import Embedder
from cdifast.nn import ContrastiveModel, ModelCard, contrastive_preset, save_weights
from cdifast.search import nearest
from cdifast.search.distances import pair_distances, prepared

from .call import Call, EntryTimer, exact_result
from .inputs import FEW, frames
from .peers import search as peers

# Published for SpeckleNN's embedding of an image on a GTX 1080 Ti: another network on another machine.
SPECKLENN_PER_SECOND = 450

SIDE, SIZE, BATCH = 128, 64, 256
ROWS, DIMENSION, QUERIES, NEAREST = 200_000, 1024, 256, 10
PREPARATION = InputPreparation(size=SIZE)


@lru_cache(maxsize=1)
def model() -> ContrastiveModel:
    """The small encoder with random weights and settled statistics."""
    torch.manual_seed(0)
    network = contrastive_preset("small")
    with torch.no_grad():
        network(images()[:64])
    return network.eval()


@lru_cache(maxsize=1)
def images() -> Tensor:
    """Prepared images (BATCH, 1, SIZE, SIZE)."""
    return prepare_batch(frames(SIDE, "uint16", BATCH), None, PREPARATION)


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedder]:
    """What `cdifast embed` uses."""
    path: Path = tmp_path_factory.mktemp("embedding") / "weights.safetensors"
    network = model()
    save_weights(path, network, ModelCard("contrastive", network.arguments, (), (), input=PREPARATION.to_dict()))
    yield Embedder(path)
    path.unlink()


def plain(_: Embedder) -> Call:
    """The network as anybody would call it."""
    network, batch = model(), images()

    def run() -> Tensor:
        with torch.inference_mode():
            return network.embed(batch)

    return Call(run, BATCH)


def from_images(embedder: Embedder) -> Call:
    return Call(lambda: embedder.prepared(images()), BATCH)


def from_frames(embedder: Embedder) -> Call:
    """From raw frames, with their preparation."""
    raw = frames(SIDE, "uint16", BATCH).numpy()
    embed = embedder.for_frames((SIDE, SIDE), None)
    return Call(lambda: embed(raw, None), BATCH)


@exact_result
def exact_embedding() -> Tensor:
    network = contrastive_preset("small")
    network.load_state_dict(model().state_dict())
    with torch.no_grad():
        return network.double().eval().embed(images()[:FEW].double())


ENCODERS: dict[str, Callable[[Embedder], Call]] = {
    "ours": from_images,
    f"ours, from uint16 {SIDE}x{SIDE}": from_frames,
    "the same network, eager": plain,
}


@pytest.mark.parametrize("name", ENCODERS)
def test_encoder(name: str, embedder: Embedder, entry: EntryTimer) -> None:
    entry(
        f"small encoder (SpeckleNN publishes {SPECKLENN_PER_SECOND} images/s, GTX 1080 Ti)",
        name,
        lambda: ENCODERS[name](embedder),
        exact_embedding(),
        size=SIZE,
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
