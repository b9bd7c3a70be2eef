"""Runs every contract case against its float64 reference, forward and backward, sampling in tiles, maps of
many sizes and rings of many lengths; prints the instruction set.

A script of its own because the instruction set is chosen when cdifast is imported.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))

from contract import (
    CASES,
    check_angular_lengths,
    check_angular_pairs,
    check_fused_tiles,
    check_map_blocks,
    check_tiles,
)

from cdifast import _C

torch.manual_seed(1)  # the gradient of alpha is a sum, which other cotangents may leave next to nothing of
for case in CASES:
    for dtype, tolerance in ((torch.float32, 2e-6), (torch.float64, 1e-13)):
        first, *rest = case.inputs()
        ours = tuple(t.requires_grad_() for t in (first.to(dtype), *rest))
        theirs = tuple(t.detach().clone().requires_grad_() for t in (first.to(dtype).double(), *rest))
        pairs = [(case.operator(*ours), case.reference(*theirs))]
        result = pairs[0][1]
        cotangent = torch.rand_like(result).to(result.dtype if dtype == torch.float64 else pairs[0][0].dtype)
        found = torch.autograd.grad(pairs[0][0], ours, cotangent)
        expected = torch.autograd.grad(pairs[0][1], theirs, cotangent.double())
        for f, e in [*pairs, *zip(found, expected, strict=True)]:
            error = float((f.double() - e.double()).norm() / e.double().norm())
            assert error < 4 * tolerance, (case.name, dtype, error)
for dtype in (torch.float32, torch.uint16, torch.uint8, torch.float64):
    for masked in (False, True):
        check_tiles(dtype, masked=masked)
for dtype in (torch.float32, torch.float64):
    for weighted in (False, True):
        check_map_blocks(dtype, weighted=weighted)
        check_angular_lengths(dtype, weighted=weighted)
        check_angular_pairs(dtype, weighted=weighted)
for dtype in (torch.float32, torch.uint16, torch.float64):
    check_fused_tiles(dtype)
print(_C.cpu_capability())
