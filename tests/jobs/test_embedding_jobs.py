"""Embeddings of a run, its nearest shots, and labels from a few."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from cdifast.data import FrameError, InputPreparation, check_finite, open_frames, prepare_frames, write_cxi
from cdifast.data.hdf5_text import texts_attribute
from cdifast.data.prepare import Preparer
from cdifast.data.view_recipe import ViewRecipe
from cdifast.jobs import Embedder, embed_frames, similar_shots, write_embeddings, write_few_shot
from cdifast.jobs import rows as rows_module
from cdifast.jobs.few_shot import FewShotClassifier
from cdifast.jobs.neighbours import event_texts
from cdifast.jobs.prediction_files import read_predictions
from cdifast.nn import ContrastiveModel, ModelCard, contrastive_preset, preact_resnet, save_weights
from cdifast.ops import polar_resample
from tests.data.layouts import modules

SIZE = 24


def save(path: Path, **options: Any) -> ContrastiveModel:
    """An untrained small encoder with settled statistics; returns it in evaluation mode."""
    model = contrastive_preset("small", encoder={"width": 0.125}, **options)
    with torch.no_grad():
        model(10 * torch.rand(32, 1, SIZE, SIZE))
    card = ModelCard("contrastive", model.arguments, (), (), input=InputPreparation(size=SIZE).to_dict(), preset="x")
    save_weights(path, model, card)
    return model.eval()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Thirty frames of which 20 to 29 are the first ten again, noisier, and 7 and 8 are one; a mask over NaN."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:33, :35] - 16.0
    rings = [1 + np.cos(np.hypot(y, x * (1 + 0.1 * (i % 5))) * (0.5 + 0.08 * i)) for i in range(20)]
    rates = np.stack([*rings, *rings[:10]]) * 200
    images = generator.poisson(rates).astype(np.float32)
    images[8] = images[7]
    good = generator.random((33, 35)) > 0.05
    images[:, ~good] = np.nan
    return write_cxi(tmp_path / "run.cxi", images, mask=good)


def test_embeddings_are_the_networks_in_stack_order(run: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    model = save(weights, embedding="head")
    with open_frames(run) as frames:
        path = write_embeddings(frames, tmp_path / "e.h5", weights, batch=7)
        inputs = prepare_frames(frames, frames.mask, InputPreparation(size=SIZE))
        in_memory = embed_frames(frames, Embedder(weights), batch=11)
        write_embeddings(frames, tmp_path / "features.h5", weights, embedding="features")
    with torch.inference_mode():
        expected, features = model.embed(inputs).numpy(), model.features(inputs).numpy()
    with h5py.File(path) as file, h5py.File(tmp_path / "features.h5") as other:
        group = file["/entry_1/embeddings"]
        np.testing.assert_allclose(group["embedding"][:], expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(in_memory, group["embedding"][:], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(other["/entry_1/embeddings/embedding"][:], features, rtol=1e-4, atol=1e-5)
        assert dict(group.attrs)["layer"] == b"head"
        assert (group.attrs["view"], len(group.attrs["weights_sha256"])) == (b"detector", 64)
        assert file["/entry_1/events/index"][:].tolist() == list(range(30))


def test_an_interrupted_job_goes_on(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "weights.safetensors")
    calls = []

    def interrupted(images: Any, mask: Any, first_index: int, source: Any) -> None:
        calls.append(first_index)
        if len(calls) == 2:
            raise KeyboardInterrupt
        check_finite(images, mask, first_index, source)

    with open_frames(run) as frames:
        monkeypatch.setattr(rows_module, "check_finite", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_embeddings(frames, tmp_path / "e.h5", tmp_path / "weights.safetensors", batch=10)
        with pytest.raises(FrameError, match="embedding: 'features' there, 'head' now"):
            write_embeddings(frames, tmp_path / "e.h5", tmp_path / "weights.safetensors", embedding="head")
        write_embeddings(frames, tmp_path / "e.h5", tmp_path / "weights.safetensors", batch=10)
    assert calls == [0, 10, 10, 20]


def test_frames_with_masks_of_their_own(tmp_path: Path) -> None:
    """Each frame as if it were prepared alone, with its own mask."""
    weights = tmp_path / "weights.safetensors"
    model = save(weights)
    with open_frames(modules(tmp_path, size=(6, 24)).paths) as frames:
        assert frames.masks_differ
        path = write_embeddings(frames, tmp_path / "e.h5", weights, batch=4)
        good = frames.read_mask(slice(None))
        images = np.nan_to_num(frames[:])  # what is under a mask does not count
        found = embed_frames(frames, Embedder(weights), batch=5)
    assert len({mask.tobytes() for mask in good}) > 1
    inputs = prepare_frames(images, good, InputPreparation(size=SIZE))
    with torch.inference_mode():
        expected = model.embed(inputs).numpy()
    with h5py.File(path) as file:
        np.testing.assert_allclose(file["/entry_1/embeddings/embedding"][:], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_encoders_of_unwrapped_views_see_these(run: Path, tmp_path: Path) -> None:
    """The card's recipe names the view; centre and bad pixels go with the frames into the prepared image."""
    model = save(tmp_path / "weights.safetensors")
    training = {"epoch": 1, "config": {"views": ViewRecipe(first="unwrapped", n_angular=30).to_dict()}}
    how = InputPreparation(size=SIZE)
    card = ModelCard("contrastive", model.arguments, (), (), input=how.to_dict(), training=training)
    save_weights(tmp_path / "weights.safetensors", model, card)
    with open_frames(run) as frames:
        embedder = Embedder(tmp_path / "weights.safetensors")
        found = embed_frames(frames, embedder, center=(15.0, 17.5))
        inputs = prepare_frames(frames, frames.mask, how)
        valid = Preparer(frames.shape[1:], frames.mask, how).valid[0]
    # 33 x 35 in a square of 35: one row before, cells of 35 / 24 pixels.
    center = ((15.0 + 0.5 + 1) * 24 / 35 - 0.5, (17.5 + 0.5) * 24 / 35 - 0.5)
    views = polar_resample(inputs[:, 0], SIZE, 30, r_max=(SIZE - 1) / 2, center=center, mask=valid)
    with torch.inference_mode():
        expected = model.embed(views[:, None]).numpy()
    assert embedder.view == "unwrapped"
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_classifiers_embed_and_cards_without_preparation_are_refused(run: Path, tmp_path: Path) -> None:
    network = preact_resnet(18, 2, width=0.125)
    card = ModelCard("preact_resnet", network.arguments, ("a", "b"), (0.5, 0.5), input={"size": SIZE})
    save_weights(tmp_path / "classifier.safetensors", network, card)
    embedder = Embedder(tmp_path / "classifier.safetensors")
    with open_frames(run) as frames:
        assert embed_frames(frames, embedder).shape == (30, 64)
    assert (embedder.embedding, embedder.view) == ("classifier", "detector")
    bare = ModelCard("preact_resnet", network.arguments, ("a", "b"), (0.5, 0.5))
    save_weights(tmp_path / "bare.safetensors", network, bare)
    with pytest.raises(ValueError, match=r"bare\.safetensors: the card does not say how frames were prepared"):
        Embedder(tmp_path / "bare.safetensors")


def test_similar_shots_with_and_without_a_file(run: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    save(weights)
    with open_frames(run) as frames:
        path = write_embeddings(frames, tmp_path / "e.h5", weights)
        stored = similar_shots(frames, 5, shot=7, embeddings=path)
        fresh = similar_shots(frames, 5, shot=7, weights=weights)
        assert stored.indices.tolist() == fresh.indices.tolist()
        assert (stored.indices[0], stored.query) == (8, "frame 7")
        assert stored.distances[0] < 1e-9
        assert np.isnan(stored.image).sum() == (~frames.mask).sum()
        np.save(tmp_path / "like.npy", np.nan_to_num(frames.read([3]))[0])
        np.save(tmp_path / "like-good.npy", frames.mask)
        # An image is compared as a frame without a mask: bad pixels are zeros here, which moves it a little.
        like = similar_shots(frames, 4, like=tmp_path / "like.npy", embeddings=path)
        assert 3 in like.indices
        assert like.query == "like.npy"
        assert event_texts(frames, [3, 29]) == ["run.cxi 3", "run.cxi 29"]
        with pytest.raises(ValueError, match="shot, like: found both or neither"):
            similar_shots(frames, 5, embeddings=path)
        with pytest.raises(IndexError, match="shot: found 30, expected 0 to 29"):
            similar_shots(frames, 5, shot=30, embeddings=path)
        other = tmp_path / "other.safetensors"
        save(other)
        with pytest.raises(ValueError, match=r"found .*other\.safetensors .*but .*e\.h5 was made by"):
            similar_shots(frames, 5, like=tmp_path / "like.npy", embeddings=path, weights=other)
        np.save(tmp_path / "two.npy", np.ones((2, 9, 9)))
        with pytest.raises(FrameError, match=r"two\.npy: found 2 images; expected one"):
            similar_shots(frames, 5, like=tmp_path / "two.npy", weights=weights)


def test_embeddings_of_other_frames_are_refused(run: Path, tmp_path: Path) -> None:
    save(tmp_path / "weights.safetensors")
    np.save(tmp_path / "a.npy", np.ones((3, 9, 9)))
    np.save(tmp_path / "b.npy", np.ones((2, 9, 9)))
    with open_frames([tmp_path / "a.npy", tmp_path / "b.npy"]) as frames:
        path = write_embeddings(frames, tmp_path / "e.h5", tmp_path / "weights.safetensors")
    with (
        open_frames([tmp_path / "b.npy", tmp_path / "a.npy"]) as frames,
        pytest.raises(FrameError, match=r"row 2: found index 2, but frame 2 has 0"),
    ):
        similar_shots(frames, 1, shot=0, embeddings=path)
    with open_frames(run) as frames, pytest.raises(FrameError, match=r"found 5 embeddings for 30 frames"):
        similar_shots(frames, 1, shot=0, embeddings=path)


def test_few_shot_equals_scikit_learns_pipeline(run: Path, tmp_path: Path) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    save(tmp_path / "weights.safetensors")
    with open_frames(run) as frames:
        path = write_embeddings(frames, tmp_path / "e.h5", tmp_path / "weights.safetensors")
    with h5py.File(path) as file:
        rows = file["/entry_1/embeddings/embedding"][:].astype(np.float64)
    indices = [0, 3, 5, 9, 12, 28]
    labels = np.array([[1, 0, 0], [0, 0, 1], [1, 0, 1], [0, 0, 1], [1, 0, 0], [0, 0, 1]])
    labelled, unlearnt = write_few_shot(path, indices, labels, ["a", "b", "c"], tmp_path / "l.h5")
    assert unlearnt == ("b",)
    rows = preprocessing.StandardScaler().fit_transform(rows)
    with h5py.File(labelled) as file:
        group = file["/entry_1/predictions"]
        found = group["probability"][:]
        for column in (0, 2):
            model = linear_model.LogisticRegression(max_iter=2000).fit(rows[indices], labels[:, column])
            np.testing.assert_allclose(found[:, column], model.predict_proba(rows)[:, 1], atol=1e-3)
        np.testing.assert_allclose(found[:, 1], 1 / 8)  # none of six: (0 + 1) / (6 + 2)
        np.testing.assert_array_equal(group["label"][:], found >= 0.5)
        assert np.flatnonzero(group["given"][:]).tolist() == indices
        assert list(group.attrs["classes"]) == [b"a", b"b", b"c"]
        assert file["/entry_1/events/index"][:].tolist() == list(range(30))
        assert Path(file["/entry_1/events/paths"][0].decode()).name == "run.cxi"
    # Laid out as predictions are: the commands that read those read these.
    classes = ["Round", "Elliptical", "Empty"]
    path_of_rules, _ = write_few_shot(path, indices, labels, classes, tmp_path / "rules.h5")
    predictions = read_predictions(path_of_rules)
    with open_frames(run) as frames:
        predictions.check_frames(frames, path_of_rules)
    with h5py.File(path_of_rules) as file:
        np.testing.assert_array_equal(file["/entry_1/predictions/rule_broken"][:], predictions.rule_broken)
        assert tuple(texts_attribute(file["/entry_1/predictions"], "rules")) == predictions.rules
    with pytest.raises(FileExistsError):
        write_few_shot(path, indices, labels, ["a", "b", "c"], tmp_path / "l.h5")
    with pytest.raises(ValueError, match=r"labels: found shape \(6, 3\), expected \(6, 2\)"):
        write_few_shot(path, indices, labels, ["a", "b"], tmp_path / "m.h5")
    with pytest.raises(FrameError, match="would destroy the input"):
        write_few_shot(path, indices, labels, ["a", "b", "c"], path, overwrite=True)


def test_few_labels_separate_what_the_embedding_separates() -> None:
    generator = np.random.default_rng(3)
    truth = generator.integers(0, 2, (500, 2))
    rows = generator.normal(size=(500, 30)) * 7 + 100
    rows[:, 4] = 5.0  # says nothing
    rows[:, :2] += 40 * truth
    chosen = np.arange(40)
    model = FewShotClassifier().fit(rows[chosen], truth[chosen], rows.mean(axis=0), np.ptp(rows, axis=0) / 4)
    right = (model.probabilities(rows[40:]) >= 0.5) == truth[40:]
    assert right.mean() > 0.9
    with pytest.raises(ValueError, match="strength: found 0"):
        FewShotClassifier(0)
