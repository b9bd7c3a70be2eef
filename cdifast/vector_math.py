"""One call of each elementary function that torch leaves to MKL, before several threads make the first one together.

MKL's vector mathematics (``vmdCos`` and the like) chooses the code for this processor in a function's first call. In
oneMKL 2024.2, which torch's wheels contain, one of several threads that make this call together can get a variant with
about half the bits for its share, and only in that call (https://github.com/pytorch/pytorch/issues/188792). It has been
seen in this project's tests: in the harmonics of ``torch.cos`` of 65,535 numbers in double precision, which were off by
5.567e-11, to five digits what comes out where ``vmdCos`` computes the second half in its "enhanced performance" mode.
Simulated shots and the reference implementations would be off likewise, once in many runs.
"""

from __future__ import annotations

import torch

# Those of torch's ATen/cpu/vml.h.
FUNCTIONS = (
    torch.acos,
    torch.asin,
    torch.atan,
    torch.cos,
    torch.erf,
    torch.erfc,
    torch.erfinv,
    torch.exp,
    torch.log,
    torch.log2,
    torch.log10,
    torch.sin,
    torch.sqrt,
    torch.tan,
    torch.tanh,
    torch.trunc,
)


def settle() -> None:
    """Call each of `FUNCTIONS` once in float32 and float64, by this thread alone: of one number, about 1 ms in all."""
    for dtype in (torch.float32, torch.float64):
        number = torch.full((1,), 0.5, dtype=dtype, device="cpu")
        for function in FUNCTIONS:
            function(number)
