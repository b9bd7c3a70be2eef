"""Weights on disk: bit-exact, described, and refused where they do not belong."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cdifast.nn import ModelCard, load_classifier, load_weights, preact_resnet, read_card, save_weights, vgg

CLASSES = ("ring", "streak", "empty")


@pytest.fixture
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    model = preact_resnet(18, 3, width=0.125, alpha=0.25)
    model(torch.randn(4, 1, 32, 32))
    return model.eval()


@pytest.fixture
def card(model: torch.nn.Module) -> ModelCard:
    return ModelCard(
        architecture="preact_resnet",
        arguments=model.arguments,
        classes=CLASSES,
        thresholds=(0.5, 0.25, 0.125),
        input={"size": 32},
        preset="p1",
        data_sha256="ab" * 32,
        metrics={"accuracy": 0.5, "recall": None},
    )


def test_round_trip(model: torch.nn.Module, card: ModelCard, tmp_path: Path) -> None:
    path = tmp_path / "new" / "weights.safetensors"
    save_weights(path, model, card)
    loaded, loaded_card = load_classifier(path, classes=CLASSES)
    assert loaded_card == card == read_card(path)
    assert not loaded.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    x = torch.randn(2, 1, 32, 32)
    assert torch.equal(loaded(x), model(x))
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_other_architecture_is_refused(model: torch.nn.Module, card: ModelCard, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(path, model, card)
    other = preact_resnet(34, 3, width=0.125, alpha=0.25)
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(ValueError, match=r"weights.safetensors: .*depth 18 \(weights\), 34 \(network\)"):
        load_weights(path, other)
    assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())
    with pytest.raises(ValueError, match=r"not written.*alpha"):
        save_weights(tmp_path / "wrong.safetensors", preact_resnet(18, 3, width=0.125), card)
    assert not (tmp_path / "wrong.safetensors").exists()


def test_vgg_comes_back_and_its_relatives_are_refused(card: ModelCard, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    network = vgg(16, 3, width=0.03, first_activation="log", learnable_alpha=True).eval()
    described = dataclasses.replace(card, architecture="vgg", arguments=network.arguments)
    save_weights(path, network, described)
    loaded, _ = load_classifier(path, classes=CLASSES)
    x = torch.randn(2, 1, 32, 32)
    assert torch.equal(loaded(x), network(x))
    # The same tensors, another function: shapes alone would not tell.
    with pytest.raises(ValueError, match=r"another vgg: negative_slope 0\.2 \(weights\), 0\.1 \(network\)"):
        load_weights(path, vgg(16, 3, width=0.03, first_activation="log", learnable_alpha=True, negative_slope=0.1))
    with pytest.raises(ValueError, match=r"depth 16 \(weights\), 19 \(network\)"):
        load_weights(path, vgg(19, 3, width=0.03, first_activation="log", learnable_alpha=True))
    with pytest.raises(ValueError, match=r"weights of 'vgg', but the network is 'preact_resnet'"):
        load_weights(path, preact_resnet(18, 3, width=0.125))
    with pytest.raises(ValueError, match=r"not written: weights of 'preact_resnet', but the network is 'vgg'"):
        save_weights(tmp_path / "wrong.safetensors", network, card)
    with pytest.raises(ValueError, match=r"classes ring, streak, empty, expected ring, streak"):
        load_classifier(path, classes=("ring", "streak"))


def test_card_from_before_an_argument_means_its_default(
    model: torch.nn.Module, card: ModelCard, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    old = {name: value for name, value in model.arguments.items() if name != "pool_padding"}
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, path, metadata={"card": dataclasses.replace(card, arguments=old).to_json()})
    loaded, _ = load_classifier(path)
    assert loaded.arguments["pool_padding"] == "both"
    with pytest.raises(ValueError, match=r"pool_padding 'both' \(weights\), 'tensorflow' \(network\)"):
        load_weights(path, preact_resnet(18, 3, width=0.125, alpha=0.25, pool_padding="tensorflow"))


def test_other_classes_are_refused(model: torch.nn.Module, card: ModelCard, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(path, model, card)
    with pytest.raises(ValueError, match=r"classes ring, streak, empty, expected streak, ring"):
        load_classifier(path, classes=("streak", "ring", "empty"))


def test_class_list_that_does_not_fit_the_logits_is_refused(
    model: torch.nn.Module, card: ModelCard, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    other = dataclasses.replace(card, classes=("ring", "streak"), thresholds=(0.5, 0.5))
    message = r"weights.safetensors: .*the card names 2 classes, but its network has 3 logits"
    with pytest.raises(ValueError, match=message):
        save_weights(path, model, other)
    assert not path.exists()
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, path, metadata={"card": other.to_json()})
    for load in (load_classifier, lambda name: load_weights(name, model)):
        with pytest.raises(ValueError, match=message):
            load(path)


def test_other_tensors_are_refused(model: torch.nn.Module, card: ModelCard, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    bias = tensors.pop("classifier.bias")
    save_file(tensors, path, metadata={"card": card.to_json()})
    with pytest.raises(ValueError, match=r"classifier.bias"):
        load_classifier(path)
    save_file({**tensors, "classifier.bias": bias[:2].clone()}, path, metadata={"card": card.to_json()})
    with pytest.raises(ValueError, match=r"classifier.bias has shape \(2,\), the network expects \(3,\)"):
        load_classifier(path)


def test_files_that_are_no_weights(card: ModelCard, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with pytest.raises(FileNotFoundError, match=r"weights.safetensors"):
        read_card(path)
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ValueError, match=r"weights.safetensors: not a safetensors file"):
        load_classifier(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"without cdifast's card"):
        read_card(path)
    for text, message in [
        ("{", "not valid JSON"),
        ("[]", "found card format"),
        (json.dumps({"format": "cdifast-weights-1"}), "lacks architecture, arguments, classes, thresholds"),
        (dataclasses.replace(card, architecture="alexnet").to_json(), "found architecture 'alexnet'"),
        (dataclasses.replace(card, arguments={"depht": 18}).to_json(), "refuses the card's arguments"),
    ]:
        save_file({"a": torch.zeros(1)}, path, metadata={"card": text})
        with pytest.raises(ValueError, match=message):
            load_classifier(path)


def test_truncated_file_is_refused(model: torch.nn.Module, card: ModelCard, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(path, model, card)
    content = path.read_bytes()
    for length in (0, 4, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"not a safetensors file, or a damaged one"):
            load_classifier(path)


def test_failed_write_keeps_the_old_file(
    model: torch.nn.Module, card: ModelCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(path, model, card)
    content = path.read_bytes()

    def half(tensors: object, name: Path, metadata: object) -> None:
        Path(name).write_bytes(content[:100])
        raise OSError("disk full")

    monkeypatch.setattr("safetensors.torch.save_file", half)
    with pytest.raises(OSError, match=r"disk full"):
        save_weights(path, model, card)
    assert path.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_card_is_checked() -> None:
    with pytest.raises(ValueError, match=r"found 1 thresholds for 2 classes"):
        ModelCard("preact_resnet", {}, ("a", "b"), (0.5,))
    with pytest.raises(ValueError, match=r"class names occur twice"):
        ModelCard("preact_resnet", {}, ("a", "a"), (0.5, 0.5))
