"""Projection head, model and presets: sizes, what an embedding is, and weights that rebuild it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cdifast.nn import (
    ContrastiveModel,
    Encoder,
    ModelCard,
    ProjectionHead,
    contrastive_preset,
    load_classifier,
    load_encoder,
    package_weights,
    preact_resnet,
    resnet_d,
    save_weights,
)


def small(**options: object) -> ContrastiveModel:
    return contrastive_preset("small", encoder={"width": 0.125}, **options)  # type: ignore[arg-type]


def test_head_is_d_d_128() -> None:
    head = ProjectionHead(48)
    assert sum(p.numel() for p in head.parameters()) == 48 * 48 + 96 + 48 * 48 + 96 + 48 * 128
    assert head(torch.randn(5, 48)).shape == (5, 128)
    assert (head.num_embedding, head.arguments["layers"]) == (48, 3)


def test_head_is_its_formula() -> None:
    head = ProjectionHead(6, hidden=4, out=3, final_norm=True).double()
    head(3 * torch.randn(20, 6, dtype=torch.float64) + 1)
    head.eval()
    x = torch.randn(5, 6, dtype=torch.float64)
    weights = head.state_dict()
    y = x
    for layer in range(3):
        y = y @ weights[f"layers.{layer}.0.weight"].T
        mean, variance = weights[f"layers.{layer}.1.running_mean"], weights[f"layers.{layer}.1.running_var"]
        y = (y - mean) / torch.sqrt(variance + 1e-5)
        if layer < 2:
            y = torch.clamp(y, min=0)
        if layer == 0:
            assert torch.allclose(head.embedding(x), y, rtol=1e-12)
    assert torch.allclose(head(x), y, rtol=1e-10)


def test_presets_have_the_papers_sizes() -> None:
    with torch.device("meta"):
        p2, code, cpu = (contrastive_preset(name) for name in ("p2", "p2-code", "small"))
    assert (p2.num_embedding, p2.embedding) == (4096, "head")
    assert p2.arguments["head"]["hidden"] == 4096
    encoder = p2.arguments["encoder"]["arguments"]
    assert (encoder["depth"], encoder["width"], encoder["squeeze_excitation"]) == (50, 2, 0.25)
    assert (encoder["selective_kernels"], encoder["selective_ratio"]) == (True, 0.0625)
    assert (code.num_embedding, code.embedding) == (1024, "features")
    assert sum(4 * tensor.numel() for tensor in cpu.state_dict().values()) <= 8e6
    assert cpu.encoder.arguments["first_activation"] == "log"


@pytest.mark.parametrize("embedding", ["head", "features"])
def test_embedding_is_what_it_says(embedding: str) -> None:
    model = small(embedding=embedding).eval()
    x = torch.rand(3, 1, 64, 64)
    features = model.encoder.features(x)
    expected = model.head.layers[0](features) if embedding == "head" else features
    assert torch.equal(model.embed(x), expected)
    assert expected.shape == (3, model.num_embedding)
    assert torch.equal(model(x), model.head(features))


def test_weights_rebuild_the_model(tmp_path: Path) -> None:
    model = small(head={"hidden": 40, "out": 16}, embedding="head")
    model(torch.rand(4, 1, 32, 32))
    card = ModelCard(model.architecture, model.arguments, (), (), input={"size": 32})
    path = tmp_path / "weights.safetensors"
    save_weights(path, model, card)
    loaded, loaded_card = load_classifier(path)
    assert loaded_card == card
    x = torch.rand(2, 1, 32, 32)
    assert torch.equal(loaded(x), model.eval()(x))
    encoder, _ = load_encoder(path)
    assert torch.equal(encoder(x), model.embed(x))
    features, _ = load_encoder(path, embedding="features")
    assert torch.equal(features(x), model.features(x))
    assert (encoder.num_embedding, features.num_embedding) == (40, 64)


def test_a_classifier_is_an_encoder_too() -> None:
    classifier = preact_resnet(18, 3, width=0.125).eval()
    x = torch.rand(2, 1, 32, 32)
    assert torch.equal(Encoder(classifier)(x), classifier.features(x))
    with pytest.raises(ValueError, match="no projection head"):
        Encoder(classifier, "head")
    model = ContrastiveModel(classifier, embedding="features")
    assert model.arguments["encoder"]["architecture"] == "preact_resnet"
    with pytest.raises(ValueError, match="expected one with features"):
        Encoder(torch.nn.Linear(2, 2))


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="preset 'large', expected one of p2, p2-code, small"):
        contrastive_preset("large")
    with pytest.raises(ValueError, match="one for 3 features, the encoder gives 64"):
        ContrastiveModel(resnet_d(18, width=0.125), ProjectionHead(3))
    with pytest.raises(ValueError, match="embedding: found 'pooled'"):
        ContrastiveModel(resnet_d(18, width=0.125), embedding="pooled")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="layers: found 0"):
        ProjectionHead(3, layers=0)
    with pytest.raises(FileNotFoundError, match="found 0 pretrained encoders"):
        package_weights(tmp_path)
    (tmp_path / "one.safetensors").touch()
    assert package_weights(tmp_path) == tmp_path / "one.safetensors"
