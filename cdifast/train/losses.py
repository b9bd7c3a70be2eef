"""The classification loss of P1: sigmoid cross-entropy and an elastic-net penalty (equations 6 and 10)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import nn
from torch.nn import functional

Penalty = Literal["p1", "p1-code"]


class LossTerms(NamedTuple):
    """The loss and its parts, scalars.

    Attributes
    ----------
    total
        What is minimised: `cross_entropy` + `penalty`.
    cross_entropy
        Mean sigmoid cross-entropy over batch and classes.
    penalty
        Elastic-net penalty of the kernels.
    """

    total: torch.Tensor
    cross_entropy: torch.Tensor
    penalty: torch.Tensor


class ClassificationLoss(nn.Module):
    """Sigmoid cross-entropy, mean over batch and classes, plus a penalty on all kernels.

    Parameters
    ----------
    l1, l2
        Coefficients of the two norms (P1: 1e-5 both).
    penalty
        How the kernels of several layers are combined, see `kernel_penalty`.
    positive_weights
        (C,) float32, factor on the terms of the positive labels of each class (`positive_weights`); None: 1.

    Raises
    ------
    ValueError
        A negative coefficient or an unknown penalty.
    """

    positive_weights: torch.Tensor | None

    def __init__(
        self,
        l1: float = 1e-5,
        l2: float = 1e-5,
        penalty: Penalty = "p1",
        positive_weights: torch.Tensor | None = None,
    ) -> None:
        super().__init__()
        if not (l1 >= 0 and l2 >= 0):
            raise ValueError(f"l1, l2: found {l1}, {l2}, expected numbers >= 0")
        if penalty not in ("p1", "p1-code"):
            raise ValueError(f"penalty: found {penalty!r}, expected 'p1' or 'p1-code'")
        self.l1, self.l2 = l1, l2
        self.penalty: Penalty = penalty
        self.register_buffer("positive_weights", positive_weights, persistent=False)

    def forward(self, logits: torch.Tensor, targets: torch.Tensor, kernels: Sequence[torch.Tensor]) -> LossTerms:
        """Return the loss of one batch.

        Parameters
        ----------
        logits
            (N, C), floating point.
        targets
            (N, C), 0 or 1, any dtype.
        kernels
            The penalised weights, from `conv_and_linear_kernels`.

        Raises
        ------
        ValueError
            Targets of another shape than the logits.
        """
        if logits.shape != targets.shape:
            raise ValueError(f"targets: found shape {tuple(targets.shape)}, the logits have {tuple(logits.shape)}")
        cross_entropy = functional.binary_cross_entropy_with_logits(
            logits, targets.to(logits.dtype), pos_weight=self.positive_weights
        )
        if self.l1 == 0 and self.l2 == 0:
            penalty = cross_entropy.new_zeros(())
        else:
            penalty = kernel_penalty(kernels, self.l1, self.l2, self.penalty)
        return LossTerms(cross_entropy + penalty, cross_entropy, penalty)

    def extra_repr(self) -> str:
        return f"l1={self.l1:g}, l2={self.l2:g}, penalty={self.penalty!r}"


def positive_weights(labels: torch.Tensor, exponent: float = 1.0, bound: float = 10.0) -> torch.Tensor:
    """Weights of the positive labels of each class that make up for their rarity.

    ``(negatives / positives) ** exponent``, kept within 1 / bound and bound: with exponent 1, positives and negatives
    of a class weigh the same in sum, with less, rare classes gain less. A network trained so says 0.5 where the data
    have odds of 1 to the weight; thresholds chosen on a validation split make up for that. A class without a
    positive gets the bound.

    Parameters
    ----------
    labels
        (N, C), 0 or 1: the training split's.
    exponent
        From 0 (all weights 1) to 1.
    bound
        At least 1.

    Returns
    -------
    torch.Tensor
        (C,) float32.
    """
    positives = labels.sum(0, dtype=torch.float64)
    odds = (len(labels) - positives) / positives.clamp_min(0.5)
    return odds.pow(exponent).clamp(1 / bound, bound).float()


def conv_and_linear_kernels(model: nn.Module) -> list[torch.Tensor]:
    """The weights of all convolutions and linear layers, in module order; no biases, no normalisation."""
    return [
        module.weight for module in model.modules() if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear))
    ]


def kernel_penalty(
    kernels: Sequence[torch.Tensor], l1: float = 1e-5, l2: float = 1e-5, variant: Penalty = "p1"
) -> torch.Tensor:
    """Elastic-net penalty of a network's kernels.

    - ``"p1"`` (P1, equation 10): l1 ||w||_1 + l2 ||w||_2, w all kernels as one vector. The L2 norm is not
      squared.
    - ``"p1-code"`` (P1's published code): the mean over layers of l1 sum|w| + l2 (sum w^2) / 2.

    Parameters
    ----------
    kernels
        At least one tensor, all of one dtype and device.
    l1, l2
        Coefficients.
    variant
        See above.

    Returns
    -------
    torch.Tensor
        Scalar. Where all weights are 0, the gradient of both norms is taken as 0.

    Raises
    ------
    ValueError
        No kernels, or another variant.
    """
    if not kernels:
        raise ValueError("kernels: found none, expected at least one")
    absolute = torch.stack([kernel.abs().sum() for kernel in kernels])
    norms = torch.stack([torch.linalg.vector_norm(kernel) for kernel in kernels])
    if variant == "p1":
        return l1 * absolute.sum() + l2 * torch.linalg.vector_norm(norms)
    if variant == "p1-code":
        return (l1 * absolute + l2 * norms.square() / 2).mean()
    raise ValueError(f"variant: found {variant!r}, expected 'p1' or 'p1-code'")
