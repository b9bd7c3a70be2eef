"""Heat maps of whole runs: those of Grad-CAM++, in stack order, resumable, and on the frames' pixels."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from cdifast.data import (
    FrameError,
    Frames,
    InputPreparation,
    MapPreparation,
    open_frames,
    prepare_batch,
    prepare_frames,
    write_cxi,
)
from cdifast.data.selection import SelectedFrames
from cdifast.evaluate import grad_cam_plus_plus, predict_probabilities
from cdifast.jobs import Explainer, explain_frames, write_explanations
from cdifast.jobs import rows as rows_module
from cdifast.nn import ModelCard, preact_resnet, resnet_d, save_weights, vgg
from tests.data.layouts import modules

CLASSES = ("ring", "streak", "bent", "empty")
PREPARATION = InputPreparation(size=64)


@pytest.fixture
def frames(tmp_path: Path) -> Frames:
    """Seven frames with a mask; what is under the mask is NaN."""
    generator = np.random.default_rng(0)
    images = generator.poisson(5.0, (7, 33, 38)).astype(np.float32)
    good = generator.random((33, 38)) > 0.1
    images[:, ~good] = np.nan
    return open_frames(write_cxi(tmp_path / "run.cxi", images, mask=good))


def saved(path: Path, architecture: str = "preact_resnet") -> tuple[Path, torch.nn.Module]:
    torch.manual_seed(1)
    model = preact_resnet(18, 4, width=0.125) if architecture == "preact_resnet" else vgg(16, 4, width=0.03)
    card = ModelCard(architecture, model.arguments, CLASSES, (0.5,) * 4, input=PREPARATION.to_dict())
    save_weights(path / "weights.safetensors", model, card)
    return path / "weights.safetensors", model.eval()


@pytest.mark.parametrize("architecture", ["preact_resnet", "vgg"])
def test_rows_are_those_of_grad_cam_for_the_most_probable_classes(
    frames: Frames, tmp_path: Path, architecture: str
) -> None:
    weights, model = saved(tmp_path, architecture)
    path = write_explanations(frames, weights, tmp_path / "e.h5", count=2, batch=3)
    inputs = prepare_frames(frames, frames.mask, PREPARATION)
    probability = predict_probabilities(model, inputs)
    order = probability.argsort(dim=1, descending=True)[:, :2]
    heat = grad_cam_plus_plus(model, inputs, order)
    with h5py.File(path) as file:
        group = file["/entry_1/explanations"]
        np.testing.assert_allclose(group["probability"][:], probability.numpy(), rtol=1e-5)
        assert np.array_equal(group["class"][:], order.numpy())
        assert group["heat"].shape == (7, 2, 64, 64)
        np.testing.assert_allclose(group["heat"][:].astype(np.float32), heat.numpy(), atol=2e-3)
        assert tuple(group.attrs["classes"]) == CLASSES
        assert (group.attrs["NX_class"], group.attrs["signal"], group.attrs["method"]) == (
            "NXdata",
            "heat",
            "Grad-CAM++",
        )
        assert file["/entry_1/events/index"][:].tolist() == list(range(7))


def test_classes_stage_and_some_shots(frames: Frames, tmp_path: Path) -> None:
    weights, model = saved(tmp_path)
    chosen = SelectedFrames(frames, [5, 2])
    path = write_explanations(chosen, weights, tmp_path / "e.h5", classes=["empty", "ring"], stage=2)
    inputs = prepare_frames(frames, frames.mask, PREPARATION)[[5, 2]]
    expected = grad_cam_plus_plus(model, inputs, [3, 0], layer=model.stages[1])
    images, found = explain_frames(Explainer(weights, chosen, classes=["empty", "ring"], stage=2), chosen, batch=1)
    assert np.array_equal(images, frames[[5, 2]], equal_nan=True)
    torch.testing.assert_close(found.heat, expected, rtol=1e-3, atol=1e-3)
    assert found.classes.tolist() == [[3, 0], [3, 0]]
    with h5py.File(path) as file:
        assert file["/entry_1/explanations/class"][:].tolist() == [[3, 0], [3, 0]]
        assert file["/entry_1/events/index"][:].tolist() == [5, 2]
        np.testing.assert_allclose(file["/entry_1/explanations/heat"][:], expected.numpy(), atol=2e-3)


def test_an_interrupted_run_goes_on_and_another_question_is_another_job(
    frames: Frames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, _ = saved(tmp_path)
    whole = write_explanations(frames, weights, tmp_path / "whole.h5", batch=3)
    original, calls = rows_module.check_finite, []

    def interrupted(*arguments: object) -> None:
        calls.append(arguments[2])
        if len(calls) == 2:
            raise KeyboardInterrupt
        original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(rows_module, "check_finite", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_explanations(frames, weights, tmp_path / "e.h5", batch=3)
    for arguments, message in [
        ({"stage": 2}, "stage: 'last' there, 2 now"),
        ({"classes": ["ring"]}, "classes: 'most probable' there, 'ring' now"),
        ({"negative_slope": 0.0}, "negative slope: 0.2 there, 0.0 now"),
    ]:
        with pytest.raises(FrameError, match=message):
            write_explanations(frames, weights, tmp_path / "e.h5", **arguments)  # type: ignore[arg-type]
    path = write_explanations(frames, weights, tmp_path / "e.h5", batch=3)
    assert calls == [0, 3, 3, 6]
    with h5py.File(whole) as a, h5py.File(path) as b:
        place = "/entry_1/explanations/heat"
        assert np.array_equal(a[place][:], b[place][:])


def test_frames_with_masks_of_their_own(tmp_path: Path) -> None:
    weights, model = saved(tmp_path)
    with open_frames(modules(tmp_path, size=(6, 24)).paths) as frames:
        assert frames.masks_differ
        _, found = explain_frames(Explainer(weights, frames, classes=["bent"]), frames, batch=2)
        expected = grad_cam_plus_plus(model, prepare_frames(frames, None, PREPARATION), [2])
    torch.testing.assert_close(found.heat, expected, rtol=1e-3, atol=1e-3)


def test_maps_on_frames_lie_where_the_network_saw_them(frames: Frames, tmp_path: Path) -> None:
    """33 x 38 pixels in a square of 38: a map that is its own row, in the square's pixels, must give the frame's."""
    weights, _ = saved(tmp_path)
    explainer = Explainer(weights, frames)
    centres = (torch.arange(64) + 0.5) * 38 / 64 - 0.5  # of the input's pixels, in the square's
    heat = torch.stack([centres[:, None].expand(64, 64), centres.expand(64, 64)])[None]
    on_frames = explainer.on_frames(heat)
    assert on_frames.shape == (1, 2, 33, 38)
    inner = slice(2, -2)  # half an input pixel at the rim is level
    np.testing.assert_allclose(on_frames[0, 0, :, 0], np.arange(33) + 2, atol=1e-4)
    np.testing.assert_allclose(on_frames[0, 1, 0, inner], np.arange(38)[inner], atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": ["Ring"]}, r"classes: found Ring; .*weights.safetensors knows ring, streak, bent, empty"),
        ({"classes": ["ring", "ring"]}, "classes: found a name twice in ring, ring"),
        ({"classes": []}, "classes: found none"),
        ({"count": 5}, "count: found 5, expected 1 to 4"),
        ({"stage": 0}, "stage: found 0, expected 1 to 4"),
        ({"stage": 5}, "stage: found 5, expected 1 to 4"),
    ],
)
def test_bad_questions_leave_nothing_behind(
    frames: Frames, tmp_path: Path, arguments: dict[str, object], message: str
) -> None:
    weights, _ = saved(tmp_path)
    with pytest.raises(ValueError, match=message):
        write_explanations(frames, weights, tmp_path / "e.h5", **arguments)  # type: ignore[arg-type]
    assert not list(tmp_path.glob("e.h5*"))


def test_weights_without_a_preparation_and_outputs_that_are_inputs(frames: Frames, tmp_path: Path) -> None:
    weights, model = saved(tmp_path)
    with pytest.raises(FrameError, match="would destroy the input"):
        write_explanations(frames, weights, weights, overwrite=True)
    save_weights(weights, model, ModelCard("preact_resnet", model.arguments, CLASSES, (0.5,) * 4))
    with pytest.raises(ValueError, match="the card does not say how frames were prepared"):
        write_explanations(frames, weights, tmp_path / "e.h5")
    encoder = resnet_d(18, width=0.0625)
    save_weights(weights, encoder, ModelCard("resnet_d", encoder.arguments, (), ()))
    with pytest.raises(ValueError, match="found a resnet_d network, expected a classifier with stages"):
        write_explanations(frames, weights, tmp_path / "e.h5")


def test_a_network_that_sees_correlation_maps_is_explained_on_them(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).poisson(3.0, (6, 24, 20)).astype(np.uint16)
    path = write_cxi(tmp_path / "run.cxi", frames)
    model = preact_resnet(18, 2, width=0.0625)
    preparation = MapPreparation(size=16)
    card = ModelCard(model.architecture, model.arguments, ("a", "b"), (0.5, 0.5), input=preparation.to_dict())
    save_weights(tmp_path / "w.safetensors", model, card)
    with open_frames(str(path)) as stack:
        explainer = Explainer(tmp_path / "w.safetensors", stack, count=2)
        seen, found = explain_frames(explainer, stack, batch=4)
        expected = prepare_batch(frames, None, preparation)
    assert not explainer.sees_frames
    np.testing.assert_allclose(seen, expected[:, 0].numpy(), rtol=1e-6)
    assert explainer.on_frames(found.heat).shape == (6, 2, 16, 16)
