"""SSIM, CW-SSIM and SIFT against independent implementations and against what they promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from cdifast.evaluate import cw_ssim, cw_ssim_matrix, sift_distances, ssim, ssim_matrix
from cdifast.evaluate.sift import match_counts, sift_descriptors
from cdifast.evaluate.steerable import SteerablePyramid


def textures(count: int = 4, size: int = 32, seed: int = 0) -> Tensor:
    """Smooth random images in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    spectrum = torch.fft.fft2(torch.randn(count, size, size, generator=generator, dtype=torch.float64))
    frequency = torch.fft.fftfreq(size, dtype=torch.float64)
    spectrum = spectrum * torch.exp(-(frequency[:, None] ** 2 + frequency**2) * 60)
    images = torch.fft.ifft2(spectrum).real
    low, high = images.amin((1, 2), keepdim=True), images.amax((1, 2), keepdim=True)
    return ((images - low) / (high - low))[:, None]


def test_ssim_equals_scikit_image() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    a, b = textures()[:, :, :, :27], textures(seed=1)[:, :, :, :27]
    b[0] = a[0] + 0.01
    expected = [
        [
            metrics.structural_similarity(
                x[0].numpy(), y[0].numpy(), gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=2
            )
            for y in b
        ]
        for x in a
    ]
    np.testing.assert_allclose(ssim_matrix(a, b, data_range=2), expected, atol=1e-10)
    np.testing.assert_allclose(ssim(a, b, data_range=2), np.diagonal(expected), atol=1e-10)
    # Single precision keeps its digits where a variance is small beside the mean.
    np.testing.assert_allclose(ssim(a.float(), b.float(), data_range=2), np.diagonal(expected), atol=1e-5)


def test_all_pairs_within_equal_all_pairs_between() -> None:
    images = textures(70, 16)  # more than a block
    np.testing.assert_allclose(ssim_matrix(images), ssim_matrix(images, images), atol=1e-12)
    within = cw_ssim_matrix(images, levels=2, orientations=2)
    np.testing.assert_allclose(within, cw_ssim_matrix(images, images, levels=2, orientations=2), atol=1e-12)
    paired = cw_ssim(images[:5], images[5:10], levels=2, orientations=2)
    np.testing.assert_allclose(within[range(5), range(5, 10)], paired, atol=1e-12)


@pytest.mark.parametrize("orientations", [4, 16])
def test_pyramid_equals_pyrtools(orientations: int) -> None:
    pyrtools = pytest.importorskip("pyrtools")
    image = np.random.default_rng(0).normal(size=(32, 48))
    theirs = pyrtools.pyramids.SteerablePyramidFreq(image, height=3, order=orientations - 1, is_complex=True)
    ours = SteerablePyramid(32, 48, 3, orientations, dtype=torch.float64)
    spectrum = ours.spectrum(torch.from_numpy(image))
    for level in range(3):
        for band in range(orientations):
            # Their shorter transforms divide by fewer samples; their filters come from tables.
            expected = theirs.pyr_coeffs[(level, band)] / 4**level
            found = ours.band(spectrum, level, band).numpy()
            np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_pyramid_keeps_the_power_between_its_residues() -> None:
    """The squared filters of all levels and orientations, both half planes together, are flat: nothing is lost."""
    pyramid = SteerablePyramid(64, 64, 4, 6, dtype=torch.float64)
    total = torch.zeros(64, 64, dtype=torch.float64)
    for level in range(4):
        side = 64 >> level
        rows = torch.fft.fftfreq(side, 1 / side).long()
        for band in range(6):
            total[rows[:, None], rows] += pyramid.filter(level, band).abs() ** 2
    mirrored = total.flip(0, 1).roll((1, 1), (0, 1))
    frequency = 2 * torch.fft.fftfreq(64, dtype=torch.float64)
    radius = (frequency[:, None] ** 2 + frequency**2).sqrt()
    inside = (radius > 2**-4) & (radius <= 0.5)
    # A complex filter is twice the real one on its half: power 4 on one side is 1 + 1 on both.
    np.testing.assert_allclose((total + mirrored)[inside] / 4, 1, atol=1e-12)
    band = pyramid.band(pyramid.spectrum(torch.ones(1, 64, 64)), 3, 0)
    assert band.abs().max() < 1e-12  # a constant has no band


def test_cw_ssim_equals_its_formula_window_by_window() -> None:
    a, b = textures(1, 16)[0, 0], textures(1, 16, seed=1)[0, 0]
    pyramid = SteerablePyramid(16, 16, 2, 3, dtype=torch.float64)
    scores = []
    for level in range(2):
        for orientation in range(3):
            x, y = (pyramid.band(pyramid.spectrum(image), level, orientation).numpy() for image in (a, b))
            side = len(x)
            total = weight = 0.0
            for i in range(side - 6):
                for j in range(side - 6):
                    p, q = x[i : i + 7, j : j + 7], y[i : i + 7, j : j + 7]
                    constant = 49 * 0.01**2
                    local = (2 * abs((p * q.conj()).sum()) + constant) / (
                        (abs(p) ** 2).sum() + (abs(q) ** 2).sum() + constant
                    )
                    from_middle = (i + 3 - (side - 1) / 2) ** 2 + (j + 3 - (side - 1) / 2) ** 2
                    w = np.exp(-from_middle / (2 * (side / 4) ** 2))
                    total, weight = total + w * local, weight + w
            scores.append(total / weight)
    found = cw_ssim(a[None, None], b[None, None], levels=2, orientations=3)
    assert float(found) == pytest.approx(np.mean(scores), rel=1e-9)


def test_cw_ssim_is_1_for_equal_images_and_forgives_a_small_shift() -> None:
    images = textures(3, 64).float()
    np.testing.assert_allclose(cw_ssim(images, images, orientations=6), 1, atol=1e-6)
    shifted = images.roll((1, 1), (2, 3))
    others = images.roll(1, 0)
    moved, unlike = (cw_ssim(images, other, orientations=6) for other in (shifted, others))
    assert moved.min() > unlike.max()
    # SSIM loses more of what separates equal from unlike images.
    lost = (1 - ssim(images, shifted)) / (1 - ssim(images, others))
    lost_by_cw = (1 - moved) / (1 - unlike)
    assert (lost_by_cw < lost).all()


def test_windows_without_signal_agree() -> None:
    dark = torch.zeros(1, 1, 16, 16)
    assert float(cw_ssim(dark, dark)) == 1
    assert float(cw_ssim(dark, dark, k=0)) == 1
    assert float(ssim(dark, dark)) == pytest.approx(1)


def test_matches_equal_scikit_image() -> None:
    feature = pytest.importorskip("skimage.feature")
    images = textures(3, 64).clamp(0, 1)
    descriptors = sift_descriptors(torch.cat([images, torch.zeros(1, 1, 64, 64)]))
    assert [len(found) >= 2 for found in descriptors] == [True, True, True, False]
    counts = match_counts(descriptors, descriptors, max_ratio=0.9)
    for i in range(3):
        for j in range(3):
            expected = feature.match_descriptors(
                descriptors[i], descriptors[j], max_ratio=0.9, cross_check=False, metric="euclidean"
            )
            assert counts[i, j] == len(expected)
    assert counts[3].tolist() == counts[:, 3].tolist() == [0, 0, 0, 0]
    distances = sift_distances(torch.cat([images, torch.zeros(1, 1, 64, 64)]))
    np.testing.assert_allclose(distances, distances.T)
    # An image finds itself, all but twin keypoints; an image without keypoints is far from all.
    assert (np.argmin(distances[:3], axis=1) == [0, 1, 2]).all()
    assert (distances[3] == 1).all()


def test_errors() -> None:
    images = textures(2, 16)
    with pytest.raises(ValueError, match=r"a: found images of \(8, 8\), expected at least 11"):
        ssim(images[:, :, :8, :8], images[:, :, :8, :8])
    with pytest.raises(ValueError, match="b: found shape"):
        ssim(images, images[:1])
    with pytest.raises(ValueError, match=r"a: found shape \(16, 16\)"):
        ssim(images[0, 0], images[0, 0])
    with pytest.raises(ValueError, match="b: image 1 holds NaN"):
        cw_ssim(images, torch.stack([images[0], images[1] * torch.nan]))
    with pytest.raises(ValueError, match="levels: found 3 for 16 x 16, which leave less than 7"):
        cw_ssim(images, images, levels=3)
    with pytest.raises(ValueError, match="sides must divide by 2"):
        SteerablePyramid(15, 16, 2)
    with pytest.raises(ValueError, match="k, data_range"):
        cw_ssim(images, images, k=-1)
    with pytest.raises(ValueError, match="max_ratio: found 0"):
        sift_distances(images, max_ratio=0)
    with pytest.raises(ValueError, match=r"expected \[0, 1\]"):
        sift_distances(images * 2)
