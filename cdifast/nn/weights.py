"""Trained weights on disk: one safetensors file whose metadata carry a JSON card.

The card lives inside the file, so that weights and their description cannot part. Nothing is pickled:
reading a file from a stranger runs no code.
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from cdifast import __version__
from cdifast._atomic import whole_file

from .contrastive import contrastive_model
from .preact_resnet import preact_resnet
from .resnet_d import resnet_d
from .vgg import vgg

_FORMAT: Final = "cdifast-weights-1"

ARCHITECTURES: Final[dict[str, Callable[..., nn.Module]]] = {
    "contrastive": contrastive_model,
    "preact_resnet": preact_resnet,
    "resnet_d": resnet_d,
    "vgg": vgg,
}
"""Constructors of the networks that `load_classifier` can rebuild, by the name on the card."""


@dataclass(frozen=True)
class ModelCard:
    """What one must know to use a file of weights.

    Attributes
    ----------
    architecture
        Key of `ARCHITECTURES`.
    arguments
        Arguments of the constructor.
    classes
        Class names in the order of the logits.
    thresholds
        Probability from which on each class counts as present, in the order of `classes`.
    input
        How frames became network input (`cdifast.data.prepare.InputPreparation.to_dict`), or empty.
    preset
        Name of the training recipe.
    training
        The training configuration and position (epoch) of these weights.
    data_sha256
        Fingerprint of the training data.
    metrics
        Metrics on the validation split.
    package_version
        Version of cdifast that wrote the file.
    """

    architecture: str
    arguments: dict[str, Any]
    classes: tuple[str, ...]
    thresholds: tuple[float, ...]
    input: dict[str, Any] = field(default_factory=dict)
    preset: str = ""
    training: dict[str, Any] = field(default_factory=dict)
    data_sha256: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    package_version: str = __version__

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "thresholds", tuple(float(value) for value in self.thresholds))
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(f"card: class names occur twice in {self.classes}")
        if len(self.thresholds) != len(self.classes):
            raise ValueError(f"card: found {len(self.thresholds)} thresholds for {len(self.classes)} classes")

    def to_json(self) -> str:
        """The card as JSON text."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str, source: str = "card") -> ModelCard:
        """The card from JSON text; a ValueError names `source` if the text is no card."""
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"{source}: the card is not valid JSON ({error})") from error
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            found = content.get("format") if isinstance(content, dict) else type(content).__name__
            raise ValueError(f"{source}: found card format {found!r}, expected {_FORMAT!r}")
        known = {entry.name for entry in fields(cls)}
        missing = {"architecture", "arguments", "classes", "thresholds"} - content.keys()
        if missing:
            raise ValueError(f"{source}: the card lacks {', '.join(sorted(missing))}")
        return cls(**{key: value for key, value in content.items() if key in known})


def save_weights(path: str | os.PathLike[str], model: nn.Module, card: ModelCard) -> None:
    """Write a network's parameters and buffers with their card; the file appears whole or not at all.

    Parameters
    ----------
    path
        File to write, by habit ``*.safetensors``.
    model
        The network. If it has `architecture` and `arguments` attributes, they must be the card's.
    card
        Its description.

    Raises
    ------
    ValueError
        The card describes another network, or names more or fewer classes than it has logits.
    """
    from safetensors.torch import save_file

    _check_architecture(model, card, f"{path}: not written")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with whole_file(path) as temporary:
        save_file(tensors, temporary, metadata={"card": card.to_json()})


def read_card(path: str | os.PathLike[str]) -> ModelCard:
    """Read the card of a file of weights without reading the weights.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        Not a safetensors file, or one without a card.
    """
    with _open(path) as file:
        metadata = file.metadata() or {}
    if "card" not in metadata:
        raise ValueError(f"{path}: a safetensors file without cdifast's card, not weights saved by cdifast")
    return ModelCard.from_json(metadata["card"], source=str(path))


def load_weights(path: str | os.PathLike[str], model: nn.Module, *, classes: Sequence[str] | None = None) -> ModelCard:
    """Load weights into a network of the same architecture; the network is left untouched on any error.

    Parameters
    ----------
    path
        File written by `save_weights`.
    model
        The network that receives them.
    classes
        Class names that the caller works with, in order; weights for another list are refused.

    Returns
    -------
    ModelCard
        The card of the weights.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        Not weights of cdifast, or weights of another architecture, class list or shape.
    """
    card = read_card(path)
    _check_architecture(model, card, str(path))
    if classes is not None:
        _check_classes(card, classes, path)
    with _open(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    _check_tensors(model, tensors, path)
    model.load_state_dict(tensors)
    return card


def load_classifier(
    path: str | os.PathLike[str],
    *,
    classes: Sequence[str] | None = None,
    device: str | torch.device = "cpu",
) -> tuple[nn.Module, ModelCard]:
    """Rebuild the network that a file of weights describes.

    Parameters
    ----------
    path
        File written by `save_weights`.
    classes
        As in `load_weights`.
    device
        Where the network goes.

    Returns
    -------
    model : torch.nn.Module
        The network in evaluation mode.
    card : ModelCard
        Its card, with class names, thresholds and input preparation.

    Raises
    ------
    FileNotFoundError, ValueError
        As in `load_weights`; also an architecture that this version does not know.
    """
    card = read_card(path)
    if card.architecture not in ARCHITECTURES:
        raise ValueError(
            f"{path}: found architecture {card.architecture!r}, this version of cdifast knows "
            f"{', '.join(ARCHITECTURES)}"
        )
    try:
        model = ARCHITECTURES[card.architecture](**card.arguments)
    except TypeError as error:
        raise ValueError(f"{path}: {card.architecture} refuses the card's arguments: {error}") from error
    load_weights(path, model, classes=classes)
    return model.to(device).eval(), card


def _open(path: str | os.PathLike[str]) -> Any:
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        return safe_open(path, framework="pt")
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file, or a damaged one ({error})") from error


def _check_architecture(model: nn.Module, card: ModelCard, source: str) -> None:
    logits = card.arguments.get("num_classes")
    if logits is not None and logits != len(card.classes):
        raise ValueError(
            f"{source}: the card names {len(card.classes)} classes, but its network has {logits} logits; "
            "expected one for each class"
        )
    architecture = getattr(model, "architecture", None)
    if architecture is not None and architecture != card.architecture:
        raise ValueError(f"{source}: weights of {card.architecture!r}, but the network is {architecture!r}")
    arguments = getattr(model, "arguments", None)
    described = _defaults(card.architecture) | card.arguments
    if arguments is not None and arguments != described:
        differing = [
            f"{name} {described.get(name)!r} (weights), {arguments.get(name)!r} (network)"
            for name in sorted(arguments.keys() | described.keys())
            if arguments.get(name) != described.get(name)
        ]
        raise ValueError(f"{source}: weights of another {card.architecture}: {'; '.join(differing)}")


def _defaults(architecture: str) -> dict[str, Any]:
    """Defaults of a constructor: what a card means that was written before the constructor had the argument."""
    if architecture not in ARCHITECTURES:
        return {}
    parameters = inspect.signature(ARCHITECTURES[architecture]).parameters.values()
    return {entry.name: entry.default for entry in parameters if entry.default is not entry.empty}


def _check_classes(card: ModelCard, classes: Sequence[str], path: str | os.PathLike[str]) -> None:
    if tuple(classes) != card.classes:
        raise ValueError(
            f"{path}: weights for the classes {', '.join(card.classes)}, expected {', '.join(classes)} in this order"
        )


def _check_tensors(model: nn.Module, tensors: dict[str, torch.Tensor], path: str | os.PathLike[str]) -> None:
    expected = model.state_dict()
    missing, surplus = expected.keys() - tensors.keys(), tensors.keys() - expected.keys()
    if missing or surplus:
        raise ValueError(
            f"{path}: weights of another network: lacks {sorted(missing)[:3]}, has {sorted(surplus)[:3]} besides"
        )
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise ValueError(
                f"{path}: {name} has shape {tuple(tensor.shape)}, the network expects {tuple(expected[name].shape)}"
            )
