"""The encoder that comes with the package: its file, its card, and that it does what it is there for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from cdifast.data import InputPreparation, prepare_frames
from cdifast.evaluate import overlap
from cdifast.nn import contrastive_preset, load_encoder, package_weights
from cdifast.simulate import PRESETS, shots


def test_one_small_file_with_a_whole_card() -> None:
    path = package_weights()
    assert path.stat().st_size <= 8e6
    encoder, card = load_encoder()
    assert card.preset == "cplr-small"
    assert InputPreparation.from_dict(card.input).size == 64
    assert card.training["data"]["simulated"]["images"] > 1000
    assert len(card.training["limits"]) > 0
    assert 0 < card.metrics["scores"]["package encoder"]["overlap"] < 1
    assert encoder.num_embedding == 192


def test_unseen_shots_with_common_labels_are_near() -> None:
    """On balanced shots of a seed of their own: ahead of chance, and of the network before training."""
    made = shots(200, 64, "helium-balanced", seed=77)
    preset = PRESETS["helium-balanced"]
    good = preset.response.good(preset.detector(64)).numpy()
    encoder, card = load_encoder()
    images = prepare_frames(made.images.numpy(), good, InputPreparation.from_dict(card.input))
    untrained = contrastive_preset("small")
    with torch.no_grad():
        untrained(images)  # statistics of its batch normalisations
        found = [model(images) for model in (encoder, untrained.eval().embed)]
    labels = made.labels.numpy()
    trained, before = (overlap(vectors, labels, 5).macro for vectors in found)
    chance = overlap(np.ones((200, 200)), labels, 5, "precomputed").macro
    assert trained > before + 0.05
    assert trained > chance + 0.2


def test_real_shots_find_their_unwrapped_views(shared_data: Path) -> None:
    """The seven published pairs: better than chance, whose mean rank is 4, beyond what a lucky pairing gives."""
    from benchmarks.reproduce.helium_pairs import partner_ranks, read_pairs

    encoder, card = load_encoder()
    detector, unwrapped, _ = read_pairs(shared_data / "helium_examples.npz", InputPreparation.from_dict(card.input))

    def embed(images: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return encoder(images)

    found = partner_ranks(embed, detector, unwrapped)
    assert found["mean_rank"] < 4
    assert found["p"] < 0.05
