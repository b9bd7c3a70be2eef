"""Shots as users ask for them: reproducible, bounded, whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from cdifast.simulate import (
    PARAMETERS,
    PRESETS,
    FlatDetector,
    Response,
    far_field,
    iter_shots,
    parameters,
    render,
    shape_of,
    shots,
)


@pytest.fixture(scope="module")
def some() -> Any:
    return shots(8, 48, seed=1)


def test_types_and_shapes(some: Any) -> None:
    assert len(some) == 8
    assert some.images.shape == (8, 48, 48)
    assert some.images.dtype == torch.int32
    assert some.labels.shape == (8, 11)
    assert some.labels.dtype == torch.uint8
    assert some.parameters.dtype == PARAMETERS
    assert some.parameters["index"].tolist() == list(range(8))
    assert 0 <= int(some.images.min()) <= int(some.images.max()) <= 65535


def test_a_shot_does_not_depend_on_its_batch(some: Any) -> None:
    for k in range(8):
        alone = shots(1, 48, seed=1, start=k)
        assert torch.equal(alone.images[0], some.images[k])
        assert torch.equal(alone.labels[0], some.labels[k])
        assert alone.parameters.tobytes() == some.parameters[k : k + 1].tobytes()


def test_render_makes_the_images_of_chosen_shots(some: Any) -> None:
    records = parameters(8, seed=1)[[6, 2]]
    assert torch.equal(render(records, 48, seed=1), some.images[[6, 2]])
    other = render(records, 48, seed=2)  # the same particles, other photons
    assert not torch.equal(other, some.images[[6, 2]])
    with pytest.raises(ValueError, match="of PARAMETERS"):
        render(np.zeros(2), 48)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_shot_does_not_depend_on_threads_or_order(preset: str) -> None:
    """One thread or three, forwards or alone: the same bits. Seed 2 has two droplets, layers, pills and waves."""
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        serial = shots(12, 64, preset, seed=2)
        torch.set_num_threads(3)
        parallel = shots(12, 64, preset, seed=2)
        backwards = [shots(1, 64, preset, seed=2, start=k).images[0] for k in (11, 4, 0)]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(serial.images, parallel.images)
    assert torch.equal(torch.stack(backwards), serial.images[[11, 4, 0]])
    assert int((serial.images.flatten(1).amax(1) > 0).sum()) == 12


def test_another_response_sees_the_same_particles() -> None:
    ideal, full = shots(6, 48, seed=1, response=Response()), shots(6, 48, seed=1)
    assert ideal.parameters.tobytes() == full.parameters.tobytes()
    assert not torch.equal(ideal.images, full.images)
    expected = ideal.parameters["photons"] + ideal.parameters["background"]
    unsaturated = (ideal.images.flatten(1).amax(1) < 65535).numpy()
    score = (ideal.images.flatten(1).sum(1).numpy() - expected) / np.sqrt(expected)
    assert np.abs(score[unsaturated]).max() < 4.5


def test_errors_of_a_thread_reach_the_caller() -> None:
    from cdifast.simulate.threads import one_thread_each

    done: list[int] = []

    def work(k: int) -> None:
        if k == 2:
            raise KeyError("two")
        done.append(k)

    threads = torch.get_num_threads()
    for count in (1, 3):
        torch.set_num_threads(count)
        try:
            with pytest.raises(KeyError, match="two"):
                one_thread_each(work, 5)
            assert torch.get_num_threads() == count
        finally:
            torch.set_num_threads(threads)
    assert {0, 1} <= set(done)


def test_iterating_and_resuming_give_the_same_shots(some: Any) -> None:
    parts = list(iter_shots(8, 48, seed=1, batch=3))
    assert [len(part) for part in parts] == [3, 3, 2]
    assert torch.equal(torch.cat([part.images for part in parts]), some.images)
    resumed = torch.cat([part.images for part in iter_shots(3, 48, seed=1, start=5, batch=2)])
    assert torch.equal(resumed, some.images[5:])


def test_seeds_differ(some: Any) -> None:
    other = shots(8, 48, seed=2)
    assert (other.parameters["wavelength"] != some.parameters["wavelength"]).all()
    assert not torch.equal(other.images, some.images)


def test_hole_and_corners_count_nothing() -> None:
    detector = PRESETS["helium"].detector(64)
    many = shots(8, 64, seed=3)
    assert int(many.images[:, ~detector.lit()].sum()) == 0
    assert (many.images[:, detector.lit()].sum(-1) > 0).all()


def test_photons_follow_their_expectation() -> None:
    # total counts over sqrt(expected) is standard normal but for saturation, which takes only from the bright
    # shots
    many = shots(24, 32, "helium-balanced", seed=4)
    expected = torch.from_numpy(many.parameters["photons"] + many.parameters["background"])
    unsaturated = many.images.flatten(1).amax(1) < 65535
    score = ((many.images.flatten(1).sum(1) - expected) / expected.sqrt())[unsaturated]
    assert len(score) > 15
    assert float(score.abs().max()) < 4.5
    assert 0.5 < float(score.std()) < 1.5


def test_counts_scatter_round_the_far_field() -> None:
    """One image rebuilt from its parameters in float64, compared pixel by pixel by chi-squared."""
    candidates = (shots(1, 64, "helium-balanced", seed=6, start=k) for k in range(80))
    first = next(s for s in candidates if s.labels[0].tolist() == [0, 0, 0, 1, 1] + 6 * [0] and s.images.max() < 65535)
    record = first.parameters
    detector = FlatDetector(64, distance=0.065, max_angle=np.radians(30), hole=155 / 517)
    shape = shape_of(record)
    wavelength, absorption = (
        torch.tensor(record[name].tolist()).double() for name in ("wavelength", "absorption_length")
    )
    grid = detector.direction_grid(2 * float(shape.reach() / wavelength))  # twice as fine as needed
    field = far_field(shape, wavelength, grid, absorption_length=absorption, dtype=torch.float64)
    lit = detector.lit()
    s_x, s_y = detector.direction_cosines()
    pattern = (detector.resample(field)[0].abs() ** 2 * (1 - s_x**2 - s_y**2) ** 1.5)[lit]
    mean = pattern * float(record["photons"][0]) / pattern.sum() + float(record["background"][0]) / lit.sum()
    counts = first.images[0][lit].double()
    chi = float(((counts - mean) ** 2 / mean).mean())
    # variance of (n - m)^2 / m is 2 + 1/m
    assert abs(chi - 1) < 5 * float(((2 + 1 / mean).sum()).sqrt()) / len(mean)


def test_single_and_double_precision_expect_the_same() -> None:
    one, two = (shots(6, 32, "helium-balanced", seed=8, dtype=kind) for kind in (torch.float32, torch.float64))
    assert one.parameters.tobytes() == two.parameters.tobytes()
    a, b = one.images.double(), two.images.double()
    # different draws of the same means: totals agree within the noise
    total = torch.maximum(a.flatten(1).sum(1), b.flatten(1).sum(1))
    assert ((a.flatten(1).sum(1) - b.flatten(1).sum(1)).abs() < 6 * (2 * total).sqrt()).all()


def test_no_shots() -> None:
    none = shots(0, 32)
    assert none.images.shape == (0, 32, 32)
    assert none.labels.shape == (0, 11)
    assert list(iter_shots(0, 32)) == []


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"count": -1}, ValueError, "count must not be negative, not -1"),
        ({"count": 1.5}, TypeError, "count must be an integer, not float"),
        ({"count": True}, TypeError, "count must be an integer, not a bool"),
        ({"count": 1, "size": 8}, ValueError, "size must be at least 16 pixels, not 8"),
        ({"count": 1, "seed": -3}, ValueError, "seed must not be negative"),
        ({"count": 1, "start": -3}, ValueError, "start must not be negative"),
        (
            {"count": 1, "preset": "argon"},
            ValueError,
            "unknown preset 'argon'; known: cxidb10, helium, helium-balanced",
        ),
        ({"count": 1, "dtype": torch.float16}, TypeError, r"not torch\.float16"),
    ],
)
@pytest.mark.parametrize("function", [shots, iter_shots])
def test_bad_arguments_are_named(
    function: Any, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        function(**arguments)


def test_bad_batch_is_named() -> None:
    with pytest.raises(ValueError, match="batch must be at least 1"):
        iter_shots(3, batch=0)


def test_mixed_shapes_are_refused(some: Any) -> None:
    with pytest.raises(ValueError, match="of one kind, for example all pills or all spheroids"):
        shape_of(some.parameters)


@pytest.mark.gpu
def test_cuda_shots_match_in_expectation() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    one, two = (shots(6, 32, "helium-balanced", seed=8, device=device) for device in ("cpu", "cuda"))
    assert two.images.is_cuda
    assert torch.equal(one.labels, two.labels.cpu())
    a, b = one.images.double().flatten(1), two.images.cpu().double().flatten(1)
    assert ((a.sum(1) - b.sum(1)).abs() < 6 * (2 * a.sum(1)).sqrt()).all()
