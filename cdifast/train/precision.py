"""Mixed precision: in which type a machine multiplies fast."""

from __future__ import annotations

from typing import Literal

import torch

MixedPrecision = Literal["none", "auto", "bfloat16", "float16"]


def autocast_dtype(precision: MixedPrecision, device: torch.device) -> torch.dtype | None:
    """The type of convolutions and products in a forward pass; None: that of the weights, float32.

    Parameters
    ----------
    precision
        ``"auto"``: bfloat16 where the device multiplies it faster than float32 (CUDA from compute capability 8.0
        on; CPUs with AMX or AVX-512 BF16), otherwise none.
    device
        Where it is computed.

    Raises
    ------
    ValueError
        Another name.
    """
    if precision == "none":
        return None
    if precision == "bfloat16":
        return torch.bfloat16
    if precision == "float16":
        return torch.float16
    if precision == "auto":
        return torch.bfloat16 if _multiplies_bfloat16_fast(device) else None
    raise ValueError(f"mixed_precision: found {precision!r}, expected 'none', 'auto', 'bfloat16' or 'float16'")


def loss_scaler(dtype: torch.dtype | None, device: torch.device) -> torch.amp.GradScaler:
    """The loss scaling that float16 needs, whose gradients would vanish without; one that does nothing otherwise."""
    return torch.amp.GradScaler(device.type, enabled=dtype is torch.float16)


def _multiplies_bfloat16_fast(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # Emulated, bfloat16 takes longer than float32: asked for is the processor's own.
        found = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        return bool(found.get("amx_bf16") or found.get("avx512_bf16"))
    return False
