"""Predictions of a network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cdifast.evaluate import labels_from_probabilities, predict_logits, predict_probabilities
from cdifast.nn import preact_resnet


def test_batches_and_mode_do_not_matter() -> None:
    torch.manual_seed(0)
    model = preact_resnet(18, 3, width=0.125).train()
    inputs = torch.randn(7, 1, 32, 32)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    logits = predict_logits(model, inputs, batch_size=3)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    model.eval()
    with torch.no_grad():
        expected = torch.stack([model(image[None])[0] for image in inputs])
    torch.testing.assert_close(logits, expected)
    probabilities = predict_probabilities(model, inputs)
    np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-expected.double().numpy())), rtol=1e-5)
    with pytest.raises(ValueError, match=r"found no images"):
        predict_logits(model, inputs[:0])


def test_thresholds() -> None:
    probabilities = torch.tensor([[0.5, 0.2, 0.9], [0.49, 0.3, 0.95]])
    np.testing.assert_array_equal(labels_from_probabilities(probabilities), [[1, 0, 1], [0, 0, 1]])
    labels = labels_from_probabilities(probabilities, (0.4, 0.25, 0.92))
    np.testing.assert_array_equal(labels, [[1, 0, 0], [1, 1, 1]])
    assert labels.dtype == np.uint8
    with pytest.raises(ValueError, match=r"thresholds: found 2, expected 1 or 3"):
        labels_from_probabilities(probabilities, (0.5, 0.5))
