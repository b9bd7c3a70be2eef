"""The state of a training run in one safetensors file: nothing is pickled, nothing is half-written.

The order of the images, their augmentation and the learning rate are pure functions of the configuration and the
position, so the state is small: parameters and buffers, the optimizer's, the loss scaling, the position.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from cdifast._atomic import whole_file

_FORMAT: Final = "cdifast-checkpoint-2"


def save_checkpoint(
    path: Path,
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    position: Mapping[str, Any],
    *,
    config: Mapping[str, Any],
    data_sha256: str,
    scaler: torch.amp.GradScaler | None = None,
) -> None:
    """Write the state of a run; an older checkpoint of that name is replaced only by a whole new one.

    Parameters
    ----------
    path
        File to write.
    modules
        Networks by name; their parameters and buffers are stored.
    optimizer
        Any whose state for a parameter is a flat dictionary of tensors and numbers (all of torch's but LBFGS). The
        parameters must be those of `modules`; learning rates are not stored.
    position
        How far the run has come, JSON-serialisable.
    config, data_sha256
        What the run is a run of; `load_checkpoint` refuses another.
    scaler
        The loss scaling, if there is one.
    """
    from safetensors.torch import save_file

    tensors = {f"{key}/{name}": value for key, module in modules.items() for name, value in module.state_dict().items()}
    numbers: dict[str, Any] = {}
    for name, parameter in _parameters(modules).items():
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, torch.Tensor):
                tensors[f"optimizer/{key}/{name}"] = value
            else:
                numbers[f"{key}/{name}"] = value
    # JSON writes the shortest digits that give the same float64 back, so sums survive bit by bit.
    state = {
        "format": _FORMAT,
        "config": config,
        "data_sha256": data_sha256,
        "position": position,
        "optimizer": numbers,
        "scaler": scaler.state_dict() if scaler else {},
    }
    with whole_file(path) as temporary:
        save_file(
            # Clones: tensors that share memory (tied weights) are refused otherwise.
            {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()},
            temporary,
            metadata={"checkpoint": json.dumps(state)},
        )


def load_checkpoint(
    path: Path,
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    *,
    config: Mapping[str, Any],
    data_sha256: str,
    scaler: torch.amp.GradScaler | None = None,
) -> dict[str, Any]:
    """Put networks, optimizer and loss scaling into the state of a checkpoint.

    Returns
    -------
    dict
        The position.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        Not a checkpoint, or one of a run with another configuration, other data or other networks; everything is
        then left as it was.
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
    parts = {key: _with_prefix(tensors, f"{key}/") for key in modules}
    parameters = _parameters(modules)
    _check_tensors(path, modules, parts)
    of_optimizer = [name.split("/", 2)[1:] for name in tensors if name.startswith("optimizer/")]
    of_optimizer += [name.split("/", 1) for name in state["optimizer"]]
    unknown = sorted({name for _, name in of_optimizer} - parameters.keys())
    if unknown:
        raise ValueError(f"{path}: found the optimizer's state for {unknown[0]!r}, which no network here has")
    for key, module in modules.items():
        module.load_state_dict(parts[key])
    optimizer.state.clear()
    for key, name in of_optimizer:
        parameter = parameters[name]
        value = state["optimizer"].get(f"{key}/{name}")
        tensor = tensors.get(f"optimizer/{key}/{name}")
        optimizer.state[parameter][key] = value if tensor is None else _placed(key, tensor, parameter)
    if scaler is not None and state["scaler"]:
        scaler.load_state_dict(state["scaler"])
    position: dict[str, Any] = state["position"]
    return position


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


def _parameters(modules: Mapping[str, nn.Module]) -> dict[str, nn.Parameter]:
    return {
        f"{key}/{name}": parameter for key, module in modules.items() for name, parameter in module.named_parameters()
    }


def _placed(key: str, tensor: torch.Tensor, parameter: nn.Parameter) -> torch.Tensor:
    """A state beside its parameter, in its layout, which decides the order of summation in some kernels."""
    if key == "step" or tensor.shape != parameter.shape:  # torch's optimizers count their steps on the CPU
        return tensor.clone()
    return torch.empty_like(parameter, dtype=tensor.dtype).detach_().copy_(tensor)


def _check_tensors(path: Path, modules: Mapping[str, nn.Module], parts: Mapping[str, dict[str, torch.Tensor]]) -> None:
    for key, module in modules.items():
        expected = {name: tuple(value.shape) for name, value in module.state_dict().items()}
        found = {name: tuple(value.shape) for name, value in parts[key].items()}
        for name in sorted(expected.keys() | found.keys()):
            if expected.get(name) != found.get(name):
                raise ValueError(
                    f"{path}: found {key}/{name} of shape {found.get(name)}, the network has {expected.get(name)}"
                )


def _check_same_run(path: Path, state: dict[str, Any], config: Mapping[str, Any], data_sha256: str) -> None:
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
