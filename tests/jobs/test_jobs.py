"""Jobs over frames: what their files hold, that they resume, and what they refuse."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import cdifast
from cdifast import ops, simulate
from cdifast.data import FrameError, check_finite, open_frames, write_cxi
from cdifast.data.hdf5_text import texts_attribute
from cdifast.jobs import MapMaker, MapSettings, unwrapped_and_maps, write_maps, write_predictions, write_shots
from cdifast.jobs import rows as rows_module
from tests.data.layouts import modules

SMALL = MapSettings(n_radial=12, n_angular=40, order=4)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Ten frames with a mask; what is under the mask is NaN."""
    generator = np.random.default_rng(0)
    images = generator.poisson(5.0, (10, 33, 35)).astype(np.float32)
    good = generator.random((33, 35)) > 0.1
    images[:, ~good] = np.nan
    return write_cxi(tmp_path / "run.cxi", images, mask=good)


def test_maps_are_those_of_the_operators_in_stack_order_keyed_by_event(run: Path, tmp_path: Path) -> None:
    again = write_cxi(tmp_path / "second.cxi", np.ones((3, 33, 35), np.float32), mask=open_frames(run).mask)
    with open_frames([run, again]) as frames:
        path = write_maps(frames, tmp_path / "maps.h5", SMALL, batch=4)
        images, mask = torch.from_numpy(frames[:]), torch.from_numpy(frames.mask)
    unwrapped, weight = ops.polar_resample(images, 12, 40, mask=mask, return_weight=True)
    expected, cells = ops.correlation_map(unwrapped, order=4, weight=weight, return_weight=True)
    assert torch.isfinite(expected).all()
    with h5py.File(path) as file:
        group = file["/entry_1/maps"]
        np.testing.assert_allclose(group["data"][:], expected.numpy(), rtol=1e-6)
        np.testing.assert_allclose(group["weight"][:], cells[0].numpy(), rtol=1e-6)
        np.testing.assert_allclose(group["radius"][:], np.linspace(0, 16, 12))
        assert group["radius"].attrs["units"] == b"pixel"
        assert (group.attrs["NX_class"], group.attrs["signal"]) == (b"NXdata", b"data")
        assert (group.attrs["order"], group.attrs["normalize"]) == (4, b"none")
        events = file["/entry_1/events"]
        assert events["file"][:].tolist() == [0] * 10 + [1] * 3
        assert events["index"][:].tolist() == [*range(10), *range(3)]
        assert [Path(p.decode()).name for p in events["paths"][:]] == ["run.cxi", "second.cxi"]
    assert not list(tmp_path.glob("*.partial*"))


def test_an_interrupted_job_goes_on_where_it_stopped(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_frames(run) as frames:
        whole = write_maps(frames, tmp_path / "whole.h5", SMALL, batch=3)

        calls = []

        def interrupted(images: Any, mask: Any, first_index: int, source: Any) -> None:
            calls.append(first_index)
            if len(calls) == 3:
                raise KeyboardInterrupt
            check_finite(images, mask, first_index, source)

        monkeypatch.setattr(rows_module, "check_finite", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_maps(frames, tmp_path / "maps.h5", SMALL, batch=3)
        assert not (tmp_path / "maps.h5").exists()
        assert (tmp_path / "maps.h5.partial").exists()
        with pytest.raises(FrameError, match="map order: 4 there, 5 now"):
            write_maps(frames, tmp_path / "maps.h5", MapSettings(n_radial=12, n_angular=40, order=5), batch=3)
        path = write_maps(frames, tmp_path / "maps.h5", SMALL, batch=3)
    assert calls == [0, 3, 6, 6, 9]
    with h5py.File(whole) as a, h5py.File(path) as b:
        assert np.array_equal(a["/entry_1/maps/data"][:], b["/entry_1/maps/data"][:])
        assert np.array_equal(a["/entry_1/events/index"][:], b["/entry_1/events/index"][:])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", ">u2", ">f4", "uint32", "int64", "float64"])
def test_frames_of_every_dtype(dtype: str, tmp_path: Path) -> None:
    images = (np.arange(2 * 20 * 20) % 251).reshape(2, 20, 20)
    np.save(tmp_path / "frames.npy", images.astype(dtype))
    settings = MapSettings(n_radial=8, n_angular=24, order=2)
    with open_frames(tmp_path / "frames.npy") as frames:
        path = write_maps(frames, tmp_path / "maps.h5", settings)
    _, expected = unwrapped_and_maps(torch.from_numpy(images).double(), None, settings)
    with h5py.File(path) as file:
        maps = file["/entry_1/maps/data"][:]
    assert np.linalg.norm(maps - expected.numpy()) < 2e-6 * np.linalg.norm(expected.numpy())


def test_nan_outside_the_mask_is_named_and_nothing_looks_whole(tmp_path: Path) -> None:
    images = np.ones((6, 20, 20), np.float32)
    images[4, 7, 8] = np.nan
    path = write_cxi(tmp_path / "run.cxi", images)
    with open_frames(path) as frames, pytest.raises(FrameError, match=r"run\.cxi, .*frame 4: 1 pixels are NaN"):
        write_maps(frames, tmp_path / "maps.h5", MapSettings(n_radial=6, n_angular=24, order=2), batch=2)
    assert list(tmp_path.iterdir()) == [path]


def test_doing_what_the_message_over_nan_says_works(tmp_path: Path) -> None:
    """Nothing of the first attempt stands in the way of the second, whose mask makes it another job."""
    images = np.ones((6, 20, 20), np.float32)
    images[4, 7, 8] = np.nan
    np.save(tmp_path / "run.npy", images)
    settings = MapSettings(n_radial=6, n_angular=24, order=2)
    with open_frames(tmp_path / "run.npy") as frames, pytest.raises(FrameError, match="pass a mask"):
        write_maps(frames, tmp_path / "maps.h5", settings, batch=2)
    with open_frames(tmp_path / "run.npy", mask=np.isfinite(images[4])) as frames:
        write_maps(frames, tmp_path / "maps.h5", settings, batch=2)
    assert {path.name for path in tmp_path.iterdir()} == {"run.npy", "maps.h5"}


@pytest.mark.parametrize(
    ("error", "rows_before", "kept"),
    [
        (ValueError("x"), 0, False),
        (ValueError("x"), 2, False),
        (TypeError("x"), 2, False),
        (RuntimeError("x"), 0, False),
        (RuntimeError("x"), 2, True),
        (OSError("x"), 0, True),
        (MemoryError("x"), 2, True),
        (KeyboardInterrupt(), 0, True),
    ],
)
def test_what_a_failed_job_leaves(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, rows_before: int, kept: bool
) -> None:
    """What can be continued stays; what never can is gone, and so is an empty file."""

    def failing(images: Any, mask: Any, first_index: int, source: Any) -> None:
        if first_index == rows_before:
            raise error

    monkeypatch.setattr(rows_module, "check_finite", failing)
    with open_frames(run) as frames, pytest.raises(type(error)):
        write_maps(frames, tmp_path / "maps.h5", SMALL, batch=2)
    assert (tmp_path / "maps.h5.partial").exists() == kept
    assert not (tmp_path / "maps.h5").exists()


def test_rows_of_an_earlier_call_and_of_a_passing_read_fault_are_kept(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(images: Any, mask: Any, first_index: int, source: Any) -> None:
        if first_index == 4:
            raise FrameError("cannot be read") from OSError("stale handle")

    def wrong(images: Any, mask: Any, first_index: int, source: Any) -> None:
        raise FrameError("NaN")

    for fault in (unreadable, wrong):
        monkeypatch.setattr(rows_module, "check_finite", fault)
        with open_frames(run) as frames, pytest.raises(FrameError):
            write_maps(frames, tmp_path / "maps.h5", SMALL, batch=2)
        with h5py.File(tmp_path / "maps.h5.partial") as file:
            assert file["/cdifast/rows_done"][()] == 4


@pytest.mark.parametrize("link", [None, "symbolic", "hard"])
def test_an_input_is_never_the_output(run: Path, tmp_path: Path, link: str | None) -> None:
    np.save(tmp_path / "mask.npy", open_frames(run).mask)
    (tmp_path / "weights.safetensors").write_bytes(b"precious")
    (tmp_path / "run.h5.partial").write_bytes(run.read_bytes())
    content = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def named(path: Path) -> Path:
        other = tmp_path / "other.h5"
        other.unlink(missing_ok=True)
        if link is None:
            return path
        other.symlink_to(path.name) if link == "symbolic" else other.hardlink_to(path)
        return other

    with open_frames(run, mask=tmp_path / "mask.npy") as frames:
        for victim in (run, tmp_path / "mask.npy"):
            with pytest.raises(FrameError, match=f"would destroy the input .*{victim.name}; choose another output"):
                write_maps(frames, named(victim), SMALL, overwrite=True)
        weights = tmp_path / "weights.safetensors"
        with pytest.raises(FrameError, match=r"would destroy the input .*weights\.safetensors"):
            write_predictions(frames, weights, named(weights), overwrite=True)
    with open_frames(tmp_path / "run.h5.partial") as frames, pytest.raises(FrameError, match="would destroy the input"):
        write_maps(frames, tmp_path / "run.h5", SMALL, overwrite=True)
    (tmp_path / "other.h5").unlink(missing_ok=True)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == content


def test_an_existing_output_is_kept_unless_told(run: Path, tmp_path: Path) -> None:
    output = tmp_path / "maps.h5"
    output.write_text("precious")
    with open_frames(run) as frames:
        with pytest.raises(FileExistsError, match=r"maps\.h5"):
            write_maps(frames, output, SMALL)
        assert output.read_text() == "precious"
        write_maps(frames, output, SMALL, overwrite=True)
    assert h5py.is_hdf5(output)


def test_settings_without_any_valid_cell_are_refused_before_anything_is_written(run: Path, tmp_path: Path) -> None:
    with (
        open_frames(run) as frames,
        pytest.raises(ValueError, match="no cell of the correlation map would have a value"),
    ):
        write_maps(frames, tmp_path / "maps.h5", MapSettings(r_min=60.0, r_max=80.0))
    assert list(tmp_path.iterdir()) == [run]


def test_map_maker_refuses_frames_of_another_shape() -> None:
    maker = MapMaker((20, 20), None, MapSettings(n_radial=6, n_angular=24, order=2))
    with pytest.raises(ValueError, match=r"found shape \(1, 21, 20\), expected \(n, 20, 20\)"):
        maker(torch.ones(1, 21, 20))


def test_shots_file_holds_the_simulators_shots(tmp_path: Path) -> None:
    path = write_shots(tmp_path / "shots.cxi", 5, size=32, seed=3, start=2, batch=2)
    expected = simulate.shots(5, size=32, seed=3, start=2)
    with open_frames(path) as frames:
        assert frames.dtype == np.uint16
        assert np.array_equal(frames[:], expected.images.numpy())
        assert frames.labels is not None
        assert np.array_equal(frames.labels, expected.labels.numpy())
        assert frames.energy is not None
        np.testing.assert_allclose(frames.energy * expected.parameters["wavelength"], 1.98644586e-25, rtol=1e-8)
        assert frames.mask is not None
        preset = simulate.PRESETS["helium"]
        assert np.array_equal(frames.mask, preset.response.good(preset.detector(32)).numpy())
        assert (frames[:][:, ~preset.detector(32).lit().numpy()] == 0).all()
    with h5py.File(path) as file:
        assert np.array_equal(
            file["/entry_1/simulation_1/parameters"][:]["tilt"], expected.parameters["tilt"], equal_nan=True
        )
        detector = file["/entry_1/instrument_1/detector_1"]
        # 32 pixels reach 30 degrees on either side of the axis, 65 mm behind the particle.
        assert detector["distance"][()] == 0.065
        np.testing.assert_allclose(detector["x_pixel_size"][()] * 16, 0.065 * np.tan(np.radians(30)))


def test_processes_write_the_same_file_and_take_over_from_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three of seven shots by this process, interrupted; the rest by two others."""
    from cdifast.jobs import shots as shots_module

    original = shots_module.iter_shots

    def stopping(*arguments: Any, **options: Any) -> Any:
        for number, batch in enumerate(original(*arguments, **options)):
            if number == 1:
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr(shots_module, "iter_shots", stopping)
    with pytest.raises(KeyboardInterrupt):
        write_shots(tmp_path / "a.cxi", 7, size=32, preset="cxidb10", batch=3)
    monkeypatch.undo()
    path = write_shots(tmp_path / "a.cxi", 7, size=32, preset="cxidb10", batch=2, jobs=2)
    expected = simulate.shots(7, size=32, preset="cxidb10")
    with open_frames(path) as frames:
        assert np.array_equal(frames[:], expected.images.numpy())
        assert frames.labels is None  # these are not the eleven classes
        assert frames.mask is not None
        assert not frames.mask[15:17].any()  # the gap
    with h5py.File(path) as file:
        species = file["/entry_1/simulation_1/labels"]
        assert np.array_equal(species[:], expected.labels.numpy())
        assert tuple(texts_attribute(species, "classes")) == expected.classes
        assert file["/entry_1/simulation_1/parameters"][:].tobytes() == expected.parameters.tobytes()


def test_ordered_map_keeps_order_and_raises() -> None:
    from cdifast.jobs.processes import ordered_map

    assert list(ordered_map(pow, [], 2)) == []
    results = ordered_map(divmod, [(7, 2), (9, 4), (1, 0)], 2)
    assert [next(results), next(results)] == [(3, 1), (2, 1)]
    with pytest.raises(ZeroDivisionError):
        next(results)


def wait_for(path: Path) -> bool:
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return path.exists()


def touch_or_wait(path: Path, touches: bool) -> bool:
    if touches:
        path.touch()
        return True
    return wait_for(path)


def test_a_slow_call_keeps_no_process_waiting(tmp_path: Path) -> None:
    """The first call ends only once the sixth has run: with the default, that would not be given out before."""
    from cdifast.jobs.processes import ordered_map

    calls = [(tmp_path / "sixth", False), *((tmp_path / str(number), True) for number in range(4))]
    assert all(ordered_map(touch_or_wait, [*calls, (tmp_path / "sixth", True)], 2, ahead=6))


def test_processes_end_with_a_killed_parent(tmp_path: Path) -> None:
    """SIGKILL leaves the parent no time to end anything."""
    code = (
        "import os, time\n"
        "from cdifast.jobs.processes import ordered_map\n"
        "if __name__ == '__main__':\n"
        "    results = ordered_map(os.getpid, [(), (), (), ()], 1)\n"
        "    print(next(results), flush=True)\n"
        "    time.sleep(60)\n"
    )
    (tmp_path / "parent.py").write_text(code)
    root = str(Path(cdifast.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen(
        [sys.executable, tmp_path / "parent.py"], env=environment, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(child, 0)
        parent.kill()
    deadline = time.monotonic() + 20
    while _runs(child):
        assert time.monotonic() < deadline, f"process {child} outlived its parent"
        time.sleep(0.05)


def _runs(process: int) -> bool:
    """Whether a process exists and is no zombie (its new parent may not reap it)."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_interrupted_shots_continue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cdifast.jobs import shots as shots_module

    original = shots_module.iter_shots

    def stopping(*arguments: Any, **options: Any) -> Any:
        for number, batch in enumerate(original(*arguments, **options)):
            if number == 2:
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr(shots_module, "iter_shots", stopping)
    with pytest.raises(KeyboardInterrupt):
        write_shots(tmp_path / "a.cxi", 7, size=16, batch=2)
    monkeypatch.undo()
    path = write_shots(tmp_path / "a.cxi", 7, size=16, batch=2)
    with open_frames(path) as frames:
        assert np.array_equal(frames[:], simulate.shots(7, size=16).images.numpy())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "count must be at least 1"),
        ({"count": 3, "size": 4}, "size"),
        ({"count": 3, "preset": "x"}, "x"),
        ({"count": 3, "jobs": 0}, "jobs"),
    ],
)
def test_wrong_simulation_arguments_leave_no_file(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_shots(tmp_path / "a.cxi", **arguments)
    assert not list(tmp_path.iterdir())


def test_predictions_are_the_networks(run: Path, tmp_path: Path) -> None:
    from cdifast.data.prepare import InputPreparation, prepare_frames
    from cdifast.evaluate import predict_probabilities, rule_violations
    from cdifast.nn import ModelCard, preact_resnet, save_weights

    torch.manual_seed(1)
    model = preact_resnet(18, 11, width=0.125).eval()
    from cdifast.labels import CLASSES

    preparation = InputPreparation(size=32)
    card = ModelCard("preact_resnet", model.arguments, CLASSES, (0.3,) * 11, input=preparation.to_dict())
    save_weights(tmp_path / "weights.safetensors", model, card)
    with open_frames(run) as frames:
        path = write_predictions(frames, tmp_path / "weights.safetensors", tmp_path / "p.h5", batch=4)
        expected = predict_probabilities(model, prepare_frames(frames, frames.mask, preparation)).numpy()
    with h5py.File(path) as file:
        group = file["/entry_1/predictions"]
        np.testing.assert_allclose(group["probability"][:], expected, rtol=1e-5, atol=1e-6)
        labels = group["label"][:]
        assert np.array_equal(labels, group["probability"][:] >= 0.3)
        assert np.array_equal(group["broken_rules"][:], rule_violations(labels).counts)
        broken = rule_violations(labels)
        assert tuple(texts_attribute(group, "rules")) == tuple(broken.by_rule)
        for column, rows in enumerate(broken.by_rule.values()):
            assert np.flatnonzero(group["rule_broken"][:, column]).tolist() == rows.tolist()
        assert tuple(texts_attribute(group, "classes")) == CLASSES
        assert len(group.attrs["weights_sha256"]) == 64


def test_three_real_lcls_frames(shared_data: Path, tmp_path: Path) -> None:
    """The bad-pixel mask of the file is found and used; the maps are finite; the mask's value does not matter."""
    with open_frames(shared_data / "lcls_frames.npz") as frames:
        assert frames.shape == (3, 260, 257)
        assert frames.mask is not None
        assert int((~frames.mask).sum()) == 1455
        maker = MapMaker(frames.shape[1:], frames.mask)
        images = frames[:]
        path = write_maps(frames, tmp_path / "maps.h5")
        spoiled = np.where(frames.mask, images, np.nan)
    with h5py.File(path) as file:
        maps = file["/entry_1/maps/data"][:]
        weight = file["/entry_1/maps/weight"][:]
    assert np.isfinite(maps).all()
    assert (maps[:, weight == 0] == 0).all()
    assert np.array_equal(maker(spoiled)[1].numpy(), maps)
    zero_lag, order = np.tril(maps), np.triu(maps, 1)
    assert (np.abs(zero_lag).max(axis=(1, 2)) > np.abs(order).max(axis=(1, 2))).all()


def test_maps_of_frames_with_masks_of_their_own(tmp_path: Path) -> None:
    """Modules that are missing in some frames only: each map as if it were computed alone, with its own mask."""
    settings = MapSettings(n_radial=6, n_angular=32, order=2)
    with open_frames(modules(tmp_path, size=(6, 24)).paths) as frames:
        assert frames.masks_differ
        path = write_maps(frames, tmp_path / "maps.h5", settings)
        good = frames.read_mask(slice(None))
        images = np.nan_to_num(frames[:])  # what is under a mask does not count
    assert len({mask.tobytes() for mask in good}) > 1
    with h5py.File(path) as file:
        found, weights = file["/entry_1/maps/data"][:], file["/entry_1/maps/weight"][:]
    for image, mask, values, weight in zip(images, good, found, weights, strict=True):
        maker = MapMaker(image.shape, mask, settings)
        np.testing.assert_allclose(values, maker(image[None])[1][0], rtol=2e-6, atol=1e-6)
        np.testing.assert_allclose(weight, maker.cell_weight, rtol=2e-6)
