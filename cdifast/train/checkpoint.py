"""The state of a training run in one safetensors file: nothing is pickled, nothing is half-written.

The order of the images, their augmentation and the learning rate are pure functions of the configuration
and the position, so the state is small: parameters and buffers, momentum, position, running sums, history.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import nn

from cdifast._atomic import whole_file

from .history import EpochRecord

_FORMAT: Final = "cdifast-checkpoint-1"


@dataclass
class RunPosition:
    """How far a run has come.

    Attributes
    ----------
    epoch
        Epochs completed.
    step
        Steps completed in the epoch that follows.
    loss_sum, cross_entropy_sum
        Sums over those steps.
    seconds
        Wall time spent on those steps.
    best_epoch, best_accuracy
        The first epoch (from 1) with the highest validation accuracy; 0 and None before any.
    history
        Records of the epochs completed.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    cross_entropy_sum: float = 0.0
    seconds: float = 0.0
    best_epoch: int = 0
    best_accuracy: float | None = None
    history: list[EpochRecord] = field(default_factory=list)


def save_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.SGD,
    position: RunPosition,
    *,
    config: dict[str, object],
    data_sha256: str,
) -> None:
    """Write the state of a run; an older checkpoint of that name is replaced only by a whole new one.

    Parameters
    ----------
    path
        File to write.
    model, optimizer
        The network and its SGD; momentum is stored under the parameter's name.
    position
        The position.
    config, data_sha256
        What the run is a run of; `load_checkpoint` refuses another.
    """
    from safetensors.torch import save_file

    tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        momentum = optimizer.state[parameter].get("momentum_buffer")
        if momentum is not None:
            tensors[f"momentum/{name}"] = momentum
    # JSON writes the shortest digits that give the same float64 back, so the sums survive bit by bit.
    state = {
        "format": _FORMAT,
        "config": config,
        "data_sha256": data_sha256,
        "position": dataclasses.asdict(position),
    }
    with whole_file(path) as temporary:
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            temporary,
            metadata={"checkpoint": json.dumps(state)},
        )


def load_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.SGD,
    *,
    config: dict[str, object],
    data_sha256: str,
) -> RunPosition:
    """Put network and optimizer into the state of a checkpoint.

    Returns
    -------
    RunPosition

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        Not a checkpoint, or one of a run with another configuration or other data; network and optimizer
        are then left as they were.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no checkpoint to resume from")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file, or a damaged one ({error})") from error
    state = json.loads(metadata.get("checkpoint", "{}"))
    if state.get("format") != _FORMAT:
        raise ValueError(f"{path}: found checkpoint format {state.get('format')!r}, expected {_FORMAT!r}")
    _check_same_run(path, state, config, data_sha256)
    model.load_state_dict(_with_prefix(tensors, "model/"))
    parameters = dict(model.named_parameters())
    for name, momentum in _with_prefix(tensors, "momentum/").items():
        # In the layout of its parameter, which decides the order of summation in some kernels.
        buffer = torch.empty_like(parameters[name]).detach_()
        optimizer.state[parameters[name]]["momentum_buffer"] = buffer.copy_(momentum)
    entries = state["position"]
    entries["history"] = [EpochRecord(**record) for record in entries["history"]]
    return RunPosition(**entries)


def data_fingerprint(
    inputs: torch.Tensor, labels: torch.Tensor, indices: tuple[torch.Tensor, ...], classes: tuple[str, ...]
) -> str:
    """SHA-256 of images, labels, split and class names, as hexadecimal digits.

    Parameters
    ----------
    inputs, labels
        The data, any shape.
    indices
        The split.
    classes
        Class names.
    """
    digest = hashlib.sha256()
    for tensor in (inputs, labels, *indices):
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    digest.update(json.dumps(classes).encode())
    return digest.hexdigest()


def _check_same_run(path: Path, state: dict, config: dict[str, object], data_sha256: str) -> None:
    # Through JSON, so that tuples and lists compare equal.
    config = json.loads(json.dumps(config))
    if state["config"] != config:
        differing = [
            f"{name} {state['config'].get(name)!r} (checkpoint), {config.get(name)!r} (now)"
            for name in sorted(state["config"].keys() | config.keys())
            if state["config"].get(name) != config.get(name)
        ]
        raise ValueError(f"{path}: a run with another configuration: {'; '.join(differing)}")
    if state["data_sha256"] != data_sha256:
        raise ValueError(
            f"{path}: a run on other data (images, labels, split or classes): "
            f"found SHA-256 {state['data_sha256'][:12]}..., expected {data_sha256[:12]}..."
        )


def _with_prefix(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
