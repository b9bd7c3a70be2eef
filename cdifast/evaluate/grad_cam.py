"""Where a network looks: Grad-CAM++ heat maps (P1, section 6 and appendix D)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

Score = Literal["exponential", "probability"]


def grad_cam_plus_plus(
    model: nn.Module,
    images: Tensor,
    classes: Sequence[int] | Tensor | None = None,
    *,
    layer: nn.Module | None = None,
    negative_slope: float = 0.2,
    score: Score = "exponential",
    normalize: bool = True,
    size: tuple[int, int] | None = None,
    batch_size: int = 16,
    device: str | torch.device | None = None,
) -> Tensor:
    """Heat maps of what speaks for a class, by Grad-CAM++ (P1, appendix D; Chattopadhyay et al. 2018).

    With A the feature maps of the last convolutional stage and Y a class's score, ::

        a_ij^k = Y''_ij / (2 Y''_ij + sum_ab A_ab^k Y'''_ij)     derivatives with respect to A_ij^k
        w^k    = sum_ij a_ij^k LeakyReLU(Y'_ij)                  (D1)
        L_ij   = LeakyReLU(sum_k w^k A_ij^k)                     (D2)

    The derivatives are exact wherever the logit S is piecewise linear in A, as it is behind the last stage of every
    network here: Y is a function of S alone, so that its derivatives are those by S times powers of g = dS/dA, and one
    backward pass gives them all. Where g is zero, or both terms of the denominator cancel, a is zero.

    Parameters
    ----------
    model
        Network from images (n, channels, H, W) to logits (n, C). It is run in evaluation mode and left as it was;
        no gradient reaches its parameters.
    images
        Prepared images (N, channels, H, W), floating, on any device.
    classes
        Indices of the classes to explain: one list for all images, or an integer Tensor (N, M) with each image's own.
        None: all C.
    layer
        Module whose output is A, (n, K, h, w); used once in a forward pass. None: ``model.stages[-1]``, which gives
        maps of a 32nd of the image's sides for `preact_resnet` and a 16th for `vgg`. ``model.stages[-2]`` gives finer
        maps of less specific features; where maps have values below zero, as in `preact_resnet`, large gradients may
        there bring the denominator near zero, and a few places then outshine the rest.
    negative_slope
        Slope of both LeakyReLUs for negative values: 0.2 as "used throughout" P1; 0 is the ReLU of the original.
    score
        What Y is: ``"exponential"``, exp(S), for which Grad-CAM++ was derived: then a = 1 / (2 + g sum A).
        ``"probability"``: sigmoid(S), the letter of P1's text. It gives the same for improbable classes; for probable
        ones Y'' is negative and vanishes at probability 1/2, and so does the map.
    normalize
        Divide each map by its largest magnitude ("normalized", P1 section 6); a map of zeros stays. Otherwise maps
        have the scale of ``Y'(S) = 1``: a factor common to a map is left out.
    size
        (height, width) of the maps, resampled bilinearly; None: that of the images. P1 interpolates likewise.
    batch_size
        Images at once; results do not depend on it but for rounding. Memory beside the result: one forward pass
        without gradients of so many images, and a backward pass from the logits to the layer.
    device
        Where the network lives; None: where its first parameter is.

    Returns
    -------
    Tensor
        (N, M, height, width) on the CPU: float64 if the network is, else float32; M = C without `classes`. Computed
        with deterministic convolutions: on one machine, two calls give the same bits.

    Raises
    ------
    ValueError
        No images, classes that do not exist or do not fit, a network without `stages`, a layer that is not used once
        or gives no feature maps, or a number out of range.
    TypeError
        Classes that are no integers.

    Examples
    --------
    >>> heat = grad_cam_plus_plus(model, inputs, classes=[4, 5])  # doctest: +SKIP
    """
    _check(images, negative_slope, score, size, batch_size)
    device = next(model.parameters()).device if device is None else torch.device(device)
    layer = _last_stage(model) if layer is None else layer
    size = (images.shape[2], images.shape[3]) if size is None else size
    chosen = None if classes is None else _as_classes(classes, len(images))
    # Detached, so that nothing before the layer records a graph; the module itself is left alone.
    state = {name: tensor.detach() for name, tensor in (*model.named_parameters(), *model.named_buffers())}
    heat: list[Tensor] = []
    deterministic = torch.backends.cudnn.flags(deterministic=True, benchmark=False)
    # The caller may have switched gradients off, in either of torch's ways.
    with _evaluating(model), torch.inference_mode(False), torch.enable_grad(), deterministic:
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size].to(device)
            maps, logits = _maps_and_logits(model, state, batch, layer)
            own = _own_classes(chosen, start, logits)
            rows = torch.stack(
                [
                    _heat(maps.detach(), gradient, logit, negative_slope, score)
                    for gradient, logit in _gradients(maps, logits, own)
                ],
                dim=1,
            )
            if normalize:
                largest = rows.abs().amax(dim=(2, 3), keepdim=True)
                rows = rows / torch.where(largest > 0, largest, 1)
            heat.append(functional.interpolate(rows, size, mode="bilinear", align_corners=False).cpu())
    return torch.cat(heat)


def _heat(maps: Tensor, gradient: Tensor, logit: Tensor, negative_slope: float, score: Score) -> Tensor:
    """One class's map (n, h, w) from A and dS/dA (n, K, h, w) and S (n,), not normalised."""
    maps, gradient = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (maps, gradient))
    total = maps.sum(dim=(2, 3), keepdim=True)
    # Y'' = second g² and Y''' = third g³, with Y' = g: the common factor Y'(S) > 0 cancels in a, and scales w alone.
    if score == "exponential":
        second = third = torch.ones_like(total[:, :1])
    else:
        p = logit.to(maps.dtype).sigmoid()[:, None, None, None]
        second, third = 1 - 2 * p, 1 - 6 * p * (1 - p)
    # g² is taken out of numerator and denominator: squares and cubes of small gradients would vanish.
    denominator = 2 * second + third * gradient * total
    usable = (gradient != 0) & (denominator != 0)
    share = torch.where(usable, second / torch.where(usable, denominator, 1), 0)
    weight = (share * functional.leaky_relu(gradient, negative_slope)).sum(dim=(2, 3), keepdim=True)
    return functional.leaky_relu((weight * maps).sum(dim=1), negative_slope)


def _maps_and_logits(
    model: nn.Module, state: dict[str, Tensor], images: Tensor, layer: nn.Module
) -> tuple[Tensor, Tensor]:
    """The layer's output as a leaf that requires gradients, and the logits as a function of it."""
    seen: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> Tensor:
        if not isinstance(output, Tensor) or output.dim() != 4:
            found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(f"layer: found output {found}, expected feature maps (n, K, h, w)")
        seen.append(output.detach().requires_grad_())
        # What follows may work in place, on a leaf it must not.
        return seen[-1].clone()

    handle = layer.register_forward_hook(keep)
    try:
        logits = functional_call(model, state, (images,))
    finally:
        handle.remove()
    if len(seen) != 1:
        raise ValueError(f"layer: used {len(seen)} times in a forward pass of the network, expected once")
    if logits.dim() != 2:
        raise ValueError(f"model: found output {tuple(logits.shape)}, expected logits (n, C)")
    return seen[0], logits


def _gradients(maps: Tensor, logits: Tensor, classes: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """dS/dA and S of each column of `classes` (n, M): images do not mix, so their sum is differentiated at once."""
    if not logits.requires_grad:
        raise ValueError("layer: the logits do not depend on its output")
    for column in classes.unbind(dim=1):
        logit = logits.gather(1, column[:, None])[:, 0]
        (gradient,) = torch.autograd.grad(logit.sum(), maps, retain_graph=True)
        yield gradient, logit.detach()


def _own_classes(chosen: Tensor | None, start: int, logits: Tensor) -> Tensor:
    """Class indices (n, M) of the images of one batch."""
    count = logits.shape[1]
    if chosen is None:
        return torch.arange(count, device=logits.device).expand(len(logits), count)
    own = chosen[start : start + len(logits)].to(logits.device)
    if int(own.min()) < 0 or int(own.max()) >= count:
        raise ValueError(f"classes: found {int(own.min())} to {int(own.max())}, the network has {count}, from 0 on")
    return own


def _as_classes(classes: Sequence[int] | Tensor, count: int) -> Tensor:
    chosen = torch.as_tensor(classes)
    if chosen.numel() == 0:
        raise ValueError("classes: found none, expected at least one")
    if chosen.is_floating_point() or chosen.is_complex() or chosen.dtype == torch.bool:
        raise TypeError(f"classes: found {chosen.dtype}, expected integers")
    if chosen.dim() == 1:
        return chosen.long().expand(count, len(chosen))
    if chosen.dim() != 2 or len(chosen) != count:
        raise ValueError(f"classes: found shape {tuple(chosen.shape)}, expected (M,) or ({count}, M)")
    return chosen.long()


def _last_stage(model: nn.Module) -> nn.Module:
    stages = getattr(model, "stages", None)
    if not isinstance(stages, nn.Sequential) or not len(stages):
        raise ValueError(f"layer: {type(model).__name__} has no `stages`; name the module whose maps to look at")
    return stages[-1]


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _check(images: Tensor, negative_slope: float, score: str, size: tuple[int, int] | None, batch_size: int) -> None:
    if images.dim() != 4 or len(images) == 0:
        raise ValueError(f"images: found shape {tuple(images.shape)}, expected (N, channels, H, W) with N at least 1")
    if not 0 <= negative_slope <= 1:
        raise ValueError(f"negative_slope: found {negative_slope}, expected 0 to 1")
    if score not in ("exponential", "probability"):
        raise ValueError(f"score: found {score!r}, expected 'exponential' or 'probability'")
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise ValueError(f"size: found {size}, expected (height, width) of at least 1")
    if batch_size < 1:
        raise ValueError(f"batch_size: found {batch_size}, expected at least 1")
