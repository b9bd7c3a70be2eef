"""The loader against frame-by-frame preparation; resumed, killed, interrupted, and over damaged files."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from cdifast.data import (
    Augmentation,
    FrameDataset,
    FrameError,
    FrameLoader,
    FrameOrder,
    FramePipeline,
    InputPreparation,
    open_frames,
    prepare_batch,
    prepare_frames,
)
from cdifast.data.augment import DRAWS, P1, P2
from cdifast.data.augment_torch import apply_changes
from cdifast.data.draws import frame_uniforms

COUNT, HEIGHT, WIDTH, SIZE = 45, 24, 20, 12
PIPELINES = {
    "plain": FramePipeline(InputPreparation(SIZE)),
    "p1": FramePipeline(InputPreparation(SIZE), P1, log=True),
    "p2": FramePipeline(InputPreparation(SIZE, "minmax", filter="triangle"), P2, standardise=True),
}


def raw_frames(dtype: str = "uint16", count: int = COUNT) -> NDArray[Any]:
    return np.random.default_rng(0).poisson(40, (count, HEIGHT, WIDTH)).astype(dtype)


def good_pixels() -> NDArray[np.bool_]:
    good = np.random.default_rng(1).random((HEIGHT, WIDTH)) > 0.1
    good[:5, :5] = False
    return good


class Source:
    """Frames with chunks that counts what is read, may fail, and notices two readers at once."""

    def __init__(self, frames: NDArray[Any], chunk: int = 1, bad: tuple[int, ...] = (), delay: float = 0) -> None:
        self._frames, self._bad, self._delay = frames, bad, delay
        self.shape, self.dtype = frames.shape, frames.dtype
        self.mask, self.labels = good_pixels(), np.arange(2 * len(frames), dtype=np.uint8).reshape(-1, 2)
        self.chunks = np.arange(len(frames)) // chunk
        self.decoded: list[int] = []
        self._busy = threading.Lock()

    def read(self, indices: NDArray[np.int64], out: NDArray[Any]) -> NDArray[Any]:
        assert self._busy.acquire(blocking=False), "two threads read at once"
        try:
            time.sleep(self._delay)
            for index in indices.tolist():
                if index in self._bad:
                    out[:] = 0  # what a reader may leave behind
                    raise FrameError("cannot be decoded", path="run.cxi", dataset="/data", index=index)
            self.decoded += np.unique(self.chunks[indices]).tolist()
            out[...] = self._frames[indices]
            return out
        finally:
            self._busy.release()


def equal(first: Any, second: Any) -> bool:
    """Whether two batches have the same bits."""
    if (first.epoch, first.step) != (second.epoch, second.step):
        return False
    pairs = [(first.images, second.images), (first.indices, second.indices), (first.labels, second.labels)]
    pairs.append((first.mask, second.mask))
    return all(a is b is None or torch.equal(a, b) for a, b in pairs)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("cdifast")]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert threads() == []


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("dtype", ["uint16", "float32", ">i4", "float64"])
def test_batches_are_the_frames_prepared_one_by_one(name: str, dtype: str) -> None:
    """Not of the batch, its size, the rank or the place in it: only of frame, seed and epoch."""
    frames, mask, pipeline = raw_frames(dtype), good_pixels(), PIPELINES[name]
    if frames.dtype.kind == "f":
        frames[:, ~mask] = np.nan
    by_frame: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    for batch_size, ranks in ((8, 1), (45, 1), (7, 2)):
        for rank in range(ranks):
            loader = FrameLoader(
                frames,
                batch_size=batch_size,
                pipeline=pipeline,
                mask=mask,
                labels=np.arange(COUNT),
                seed=3,
                rank=rank,
                world_size=ranks,
            )
            loader.set_epoch(5)
            for batch in loader:
                assert batch.images.shape == (len(batch), 1, SIZE, SIZE)
                assert batch.mask is not None
                assert torch.equal(batch.labels, batch.indices)
                for number, index in enumerate(batch.indices.tolist()):
                    image, valid = batch.images[number], batch.mask[number]
                    assert torch.count_nonzero(image[~valid]) == 0
                    first_image, first_valid = by_frame.setdefault(index, (image, valid))
                    torch.testing.assert_close(image, first_image, rtol=1e-5, atol=1e-5)
                    assert torch.equal(valid, first_valid)
    assert sorted(by_frame) == list(range(COUNT))
    for index, (image, _) in by_frame.items():
        expected = prepare_batch(frames[index : index + 1], mask, pipeline.preparation)
        if pipeline.augmentation is not None:
            changes = pipeline.augmentation.changes(frame_uniforms([index], DRAWS, 3, 5), SIZE, SIZE)
            unscaled = dataclasses.replace(pipeline.preparation, scaling="none")
            ones = prepare_batch(np.ones((1, HEIGHT, WIDTH)), mask, unscaled) > 0
            expected, valid = apply_changes(expected, pipeline.augmentation, changes, ones)
        if pipeline.log:
            expected = expected.sign() * torch.log1p(torch.e * expected.abs())
        if pipeline.standardise:
            inside = expected[valid]
            expected = torch.where(valid, (expected - inside.mean()) / inside.std(correction=0), 0)
        torch.testing.assert_close(image, expected[0], rtol=1e-4, atol=1e-4)


def test_epochs_move_on_by_themselves() -> None:
    loader = FrameLoader(raw_frames(), batch_size=10, pipeline=PIPELINES["p1"], seed=1)
    first, second = list(loader), list(loader)
    assert [batch.epoch for batch in first + second] == [0] * 5 + [1] * 5
    assert [len(batch) for batch in first] == [10, 10, 10, 10, 5]
    assert len(loader) == 5
    assert not torch.equal(first[0].indices, second[0].indices)
    loader.set_epoch(0)
    assert all(equal(*pair) for pair in zip(first, loader, strict=True))
    # Left early, an epoch begins anew.
    loader.set_epoch(1)
    for _ in loader:
        break
    assert all(equal(*pair) for pair in zip(second, loader, strict=True))


@pytest.mark.parametrize("chunk", [1, 4])
@pytest.mark.parametrize("stop", [1, 3, 7])
def test_a_killed_epoch_goes_on_bit_for_bit(chunk: int, stop: int) -> None:
    def loader() -> FrameLoader:
        source = Source(raw_frames(), chunk)
        return FrameLoader(source, batch_size=7, pipeline=PIPELINES["p2"], seed=2, window=15)

    whole = loader()
    whole.set_epoch(3)
    expected = list(whole) + list(whole)
    begun = loader()
    begun.set_epoch(3)
    received = []
    for batch in begun:
        received.append(batch)
        if len(received) == stop:
            state = json.loads(json.dumps(begun.state_dict()))
            break
    resumed = loader()
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    received += list(resumed) + list(resumed)
    assert len(received) == len(expected) == 14
    assert all(equal(*pair) for pair in zip(received, expected, strict=True))


def test_the_state_of_another_loader_is_refused() -> None:
    frames, pipeline = raw_frames(), PIPELINES["p1"]
    state = FrameLoader(frames, batch_size=8, pipeline=pipeline, seed=1).state_dict()
    for arguments, message in [
        ({"seed": 2}, "seed 1, here 2"),
        ({"batch_size": 9}, "batch_size 8, here 9"),
        ({"indices": np.arange(COUNT - 1)}, f"frames {COUNT}, here {COUNT - 1}"),
        ({"indices": np.arange(COUNT)[::-1]}, "definition"),
        ({"pipeline": PIPELINES["p2"]}, "definition"),
        ({"world_size": 2}, "world_size 1, here 2"),
        ({"shuffle": False}, "shuffle 'chunks', here 'none'"),
    ]:
        other = FrameLoader(frames, **{"batch_size": 8, "pipeline": pipeline, "seed": 1, **arguments})  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=message):
            other.load_state_dict(state)
    loader = FrameLoader(frames, batch_size=8, pipeline=pipeline, seed=1)
    with pytest.raises(ValueError, match=r"lacks batch_size, .* what state_dict"):
        loader.load_state_dict({})
    with pytest.raises(ValueError, match="step 99; there are 6 steps"):
        loader.load_state_dict({**state, "step": 99})


def test_each_chunk_is_decoded_once() -> None:
    source = Source(raw_frames(), chunk=4)
    loader = FrameLoader(source, batch_size=4, pipeline=PIPELINES["plain"], window=16)
    for _ in range(2):
        source.decoded.clear()
        frames = torch.cat([batch.indices for batch in loader])
        assert sorted(frames.tolist()) == list(range(COUNT))
        assert sorted(source.decoded) == list(range(12))
    # A full shuffle decodes most of them for each batch.
    FrameLoader(source, batch_size=4, shuffle="frames", pipeline=PIPELINES["plain"])
    source.decoded.clear()
    assert len(list(FrameLoader(source, batch_size=4, shuffle="frames", pipeline=PIPELINES["plain"]))) == 12
    assert len(source.decoded) > 30


def test_two_loaders_share_one_stack() -> None:
    """As a training and a validation loader do: their threads take turns."""
    source = Source(raw_frames(), delay=0.002)
    pipeline = PIPELINES["plain"]
    loaders = [FrameLoader(source, batch_size=4, pipeline=pipeline, seed=seed) for seed in (0, 1, 2)]
    assert sum(len(batches) for batches in zip(*loaders, strict=True)) == 3 * 12


@pytest.mark.parametrize("chunk", [1, 5])
def test_a_faulty_frame_is_named(chunk: int) -> None:
    source = Source(raw_frames(), chunk, bad=(17,))
    loader = FrameLoader(source, batch_size=8, pipeline=PIPELINES["plain"], shuffle=False)
    received = []
    with pytest.raises(FrameError, match=r"run.cxi, data set '/data', frame 17: cannot be decoded") as error:
        received.extend(loader)
    assert error.value.index == 17
    assert loader.state_dict()["step"] == 2  # what came before it was handed out
    with pytest.raises(FrameError):
        list(FrameLoader(source, batch_size=8, pipeline=PIPELINES["plain"]))


@pytest.mark.parametrize("chunk", [1, 5])
def test_faulty_frames_are_skipped_and_told(chunk: int) -> None:
    bad = (3, 17, 18, 44)
    source = Source(raw_frames(), chunk, bad)
    whole = Source(raw_frames(), chunk)
    arguments: dict[str, Any] = {"batch_size": 8, "pipeline": PIPELINES["p1"], "seed": 4, "window": 20}
    loader = FrameLoader(source, on_error="skip", **arguments)
    with pytest.warns(UserWarning, match=r"frame \d+: cannot be decoded \(frame \d+ of the stack is left out") as told:
        batches = list(loader)
    assert len(told) == 1
    assert {frame.index: frame.message for frame in loader.skipped} == {
        index: f"run.cxi, data set '/data', frame {index}: cannot be decoded" for index in bad
    }
    for batch, complete in zip(batches, FrameLoader(whole, **arguments), strict=True):
        kept = ~torch.isin(complete.indices, torch.tensor(bad))
        assert torch.equal(batch.indices, complete.indices[kept])
        # What is left is what it would have been, and nothing is zero.
        torch.testing.assert_close(batch.images, complete.images[kept], rtol=1e-5, atol=1e-6)
        assert torch.equal(batch.labels, complete.labels[kept])
        assert (batch.images.flatten(1).abs().amax(1) > 0).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sum(map(len, loader)) == COUNT - len(bad)  # the next epoch tells nothing twice
    assert len(loader.skipped) == 4


def test_a_batch_without_a_readable_frame_is_left_out() -> None:
    source = Source(raw_frames(), bad=tuple(range(8, 16)))
    loader = FrameLoader(source, batch_size=8, shuffle=False, on_error="skip", pipeline=PIPELINES["plain"])
    with pytest.warns(UserWarning, match="left out"):
        assert [batch.step for batch in loader] == [0, 2, 3, 4, 5]
    nothing = FrameLoader(
        Source(raw_frames(), bad=tuple(range(COUNT))), batch_size=8, on_error="skip", pipeline=PIPELINES["plain"]
    )
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(FrameError, match="no frame of the epoch could be read"),
    ):
        list(nothing)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_infinite_pixels_are_faults_outside_the_mask(dtype: str, value: float) -> None:
    frames, mask = raw_frames(dtype), good_pixels()
    frames[:, ~mask] = np.nan
    y, x = np.argwhere(mask)[-1]
    frames[20, y, x] = value
    arguments: dict[str, Any] = {"batch_size": 8, "mask": mask, "shuffle": False, "pipeline": PIPELINES["p2"]}
    with pytest.raises(FrameError, match=rf"frame 20: 1 pixels are NaN or infinite.*\({y}, {x}\)"):
        list(FrameLoader(frames, **arguments))
    loader = FrameLoader(frames, on_error="skip", **arguments)
    with pytest.warns(UserWarning, match="frame 20"):
        batches = list(loader)
    assert sum(map(len, batches)) == COUNT - 1
    assert all(torch.isfinite(batch.images).all() for batch in batches)


def test_large_finite_pixels_are_no_faults() -> None:
    """The quick check sums; where sums overflow the pixels are looked at."""
    frames = np.full((3, HEIGHT, WIDTH), 2e38, np.float32)
    loader = FrameLoader(frames, pipeline=FramePipeline(InputPreparation(SIZE, "none")), batch_size=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [len(batch) for batch in loader] == [3]
    assert loader.skipped == []


def test_a_removed_file_is_named_or_skipped(tmp_path: Path) -> None:
    for number in range(4):
        np.save(tmp_path / f"{number}.npy", raw_frames(count=5))
    arguments: dict[str, Any] = {"batch_size": 5, "shuffle": False, "pipeline": PIPELINES["plain"]}
    with open_frames(str(tmp_path / "*.npy")) as frames:
        (tmp_path / "2.npy").unlink()
        with pytest.raises(FileNotFoundError, match=r"2\.npy"):
            list(FrameLoader(frames, **arguments))
        loader = FrameLoader(frames, on_error="skip", **arguments)
        with pytest.warns(UserWarning, match=r"2\.npy"):
            assert torch.cat([batch.indices for batch in loader]).tolist() == [*range(10), *range(15, 20)]
        assert [frame.index for frame in loader.skipped] == list(range(10, 15))


def test_a_truncated_file_is_named_or_skipped(tmp_path: Path) -> None:
    path = tmp_path / "run.npy"
    np.save(path, raw_frames())
    with open_frames(path) as frames:
        frames.read([0])
        size = path.stat().st_size
        os.truncate(path, size - 3 * HEIGHT * WIDTH * 2 + 10)
        with pytest.raises(FrameError, match=r"run\.npy, data set 'array', frame 42: .*too early"):
            list(FrameLoader(frames, batch_size=8, shuffle=False, pipeline=PIPELINES["plain"]))
        loader = FrameLoader(frames, batch_size=8, on_error="skip", pipeline=PIPELINES["plain"])
        with pytest.warns(UserWarning, match="too early"):
            assert sum(map(len, loader)) == 42
        assert sorted(frame.index for frame in loader.skipped) == [42, 43, 44]


def test_a_consumers_error_ends_the_thread() -> None:
    loader = FrameLoader(raw_frames(), batch_size=4, pipeline=PIPELINES["plain"], prefetch=1)

    def consume() -> None:
        for _ in loader:
            raise RuntimeError("the consumer's")

    with pytest.raises(RuntimeError, match="the consumer's") as error:
        consume()
    del error
    iterator = iter(loader)
    next(iterator)
    assert len(threads()) == 1
    del iterator  # dropped without being finished


def run_program(code: str, **arguments: Any) -> subprocess.Popen[str]:
    root = Path(__file__).resolve().parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **arguments
    )


PROGRAM = """
import time
import numpy as np
from cdifast.data import FrameLoader
loader = FrameLoader(np.ones((4000, 16, 16), np.uint16), batch_size=1, prefetch=1)
iterator = iter(loader)
next(iterator)
print("reading", flush=True)
"""


def test_a_program_ends_with_an_unfinished_loop() -> None:
    process = run_program(PROGRAM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "reading\n", "")


def test_ctrl_c_reaches_the_consumer() -> None:
    """Also while it waits for a batch: here the reader never delivers one."""
    waiting = PROGRAM + (
        "class Slow:\n"
        "    shape, dtype = (4, 8, 8), np.dtype('u2')\n"
        "    def read(self, indices, out):\n"
        "        print('waiting', flush=True)\n"
        "        time.sleep(1.0)\n"
        "        return out\n"
        "try:\n"
        "    for _ in FrameLoader(Slow(), batch_size=4): time.sleep(60)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    process = run_program(waiting)
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["reading\n", "waiting\n"]
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "interrupted\n", "")


def test_bad_arguments() -> None:
    frames = raw_frames()
    for arguments, error, message in [
        ({"backend": "jax"}, ValueError, "backend: found 'jax'"),
        ({"on_error": "ignore"}, ValueError, "on_error: found 'ignore'"),
        ({"prefetch": 0}, ValueError, "prefetch: found 0"),
        ({"labels": np.zeros(3)}, ValueError, r"labels: found shape \(3,\), expected 45 rows"),
        ({"indices": [50]}, ValueError, "indices: found 50, but there are 45 frames"),
        ({"mask": np.ones((3, 3), bool)}, ValueError, r"mask: found shape \(3, 3\)"),
        ({"mask": np.ones((HEIGHT, WIDTH))}, TypeError, "mask: found dtype float64"),
        ({"batch_size": 0}, ValueError, "batch_size: found 0"),
    ]:
        with pytest.raises(error, match=message):
            FrameLoader(frames, **arguments)  # type: ignore[arg-type]
    with pytest.raises(FrameError, match="found complex128"):
        FrameLoader(frames.astype(complex))
    with pytest.raises(ValueError, match="epoch: found -1"):
        FrameLoader(frames).set_epoch(-1)


def test_the_pipeline_is_json() -> None:
    for pipeline in (*PIPELINES.values(), FramePipeline.p1(96), FramePipeline.p2(), FramePipeline()):
        assert FramePipeline.from_dict(json.loads(json.dumps(pipeline.to_dict()))) == pipeline
    with pytest.raises(ValueError, match="unknown entries blur"):
        FramePipeline.from_dict({"blur": 1})
    assert FramePipeline.p1().augmentation == Augmentation()
    assert FramePipeline.p2().preparation.scaling == "minmax"


class OwnMasks(Source):
    """Each frame has its own good pixels; NaN elsewhere, as of a module that was not recorded."""

    masks_differ = True

    def __init__(self, frames: NDArray[Any], chunk: int = 1, bad: tuple[int, ...] = ()) -> None:
        self.good = np.random.default_rng(2).random(frames.shape) > 0.2
        self.good[::3, : HEIGHT // 2] = False
        self.good[:, -1, -1] = True
        super().__init__(np.where(self.good, frames, np.nan).astype(np.float32), chunk, bad)

    def read_mask(self, indices: NDArray[np.int64], images: NDArray[Any]) -> NDArray[np.bool_]:
        np.testing.assert_array_equal(~np.isnan(images), self.good[indices])  # what was read for these
        return self.good[indices]


@pytest.mark.parametrize("backend", ["torch", "dali"])
@pytest.mark.parametrize("chunk", [1, 4])
def test_each_frame_has_its_own_mask(backend: Any, chunk: int) -> None:
    if backend == "dali":
        pytest.importorskip("nvidia.dali")
    source = OwnMasks(raw_frames(), chunk, bad=(7, 30))
    arguments: dict[str, Any] = {"batch_size": 8, "backend": backend, "window": 16}
    for scaling in ("mean", "minmax", "none"):
        preparation = InputPreparation(SIZE, scaling, filter="triangle")  # type: ignore[arg-type]
        expected = prepare_batch(source._frames, source.good, preparation)
        unscaled = dataclasses.replace(preparation, scaling="none")
        valid = prepare_batch(np.ones_like(source._frames), source.good, unscaled) > 0
        loader = FrameLoader(source, pipeline=FramePipeline(preparation), on_error="skip", **arguments)
        with pytest.warns(UserWarning, match="left out"):
            batches = list(loader)
        assert sum(map(len, batches)) == COUNT - 2
        for batch in batches:
            torch.testing.assert_close(batch.images, expected[batch.indices], rtol=1e-4, atol=1e-4)
            assert batch.mask is not None
            assert torch.equal(batch.mask, valid[batch.indices])
    source = OwnMasks(raw_frames(), chunk)
    source._frames[5, -1, -1] = np.inf
    pipeline = FramePipeline(preparation, P2)
    with pytest.raises(FrameError, match="frame 5: 1 pixels are NaN or infinite outside the mask"):
        list(FrameLoader(source, pipeline=pipeline, **arguments))
    # One mask for all, when it is given: then the others' NaN are faults.
    with pytest.raises(FrameError, match="NaN or infinite"):
        list(FrameLoader(source, pipeline=pipeline, mask=np.ones((HEIGHT, WIDTH), bool), **arguments))


def test_real_frames(shared_data: Path) -> None:
    """Detector frames with a central hole and bad pixels: every one, as `prepare_batch` has it, with its mask."""
    with open_frames(shared_data / "lcls_frames.npz") as frames:
        expected = prepare_batch(frames[:], frames.mask, InputPreparation(96))
        seen = []
        for batch in FrameLoader(frames, batch_size=2, pipeline=FramePipeline(InputPreparation(96))):
            seen += batch.indices.tolist()
            torch.testing.assert_close(batch.images, expected[batch.indices], rtol=1e-5, atol=1e-4)
            assert batch.mask is not None
            assert 0.5 < batch.mask.float().mean() < 1
        assert sorted(seen) == list(range(len(frames)))


@pytest.fixture
def cxi(tmp_path: Path) -> Path:
    from cdifast.data import write_cxi

    pytest.importorskip("h5py")
    path = tmp_path / "run.cxi"
    labels = np.eye(11, dtype=np.uint8)[np.arange(COUNT) % 11]
    write_cxi(path, raw_frames(), mask=good_pixels(), labels=labels)
    return path


@pytest.mark.parametrize("storage", [{}, {"chunks": (4, HEIGHT, WIDTH), "compression": "gzip"}])
def test_frames_of_a_file(tmp_path: Path, storage: dict[str, Any]) -> None:
    """Also where chunks hold several frames: the reader says which, and the windows use it."""
    h5py = pytest.importorskip("h5py")
    path, expected = tmp_path / "run.h5", raw_frames()
    with h5py.File(path, "w") as file:
        file.create_dataset("frames", data=expected, **storage)
    with open_frames(path) as frames:
        loader = FrameLoader(frames, batch_size=8, window=16, pipeline=PIPELINES["p1"])
        in_memory = FrameLoader(expected, batch_size=8, window=16, pipeline=PIPELINES["p1"])
        assert loader.order.windowed == bool(storage)
        images = {int(i): image for batch in in_memory for i, image in zip(batch.indices, batch.images, strict=True)}
        seen = []
        for batch in loader:
            seen += batch.indices.tolist()
            torch.testing.assert_close(
                batch.images, torch.stack([images[index] for index in seen[-len(batch) :]]), rtol=1e-5, atol=1e-5
            )
        assert sorted(seen) == list(range(COUNT))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_pytorchs_dataloader_with_workers(method: str, cxi: Path) -> None:
    """The same images as our loader's, whatever the workers; epochs reach workers that live on."""
    with open_frames(cxi) as frames:
        frames.read([0])  # a handle that a forked worker must not use
        dataset = FrameDataset(frames, PIPELINES["p2"], seed=6)
        order = FrameOrder(COUNT, 8, seed=6)
        loader: DataLoader[Any] = DataLoader(
            dataset,
            batch_sampler=order,  # type: ignore[arg-type]
            num_workers=2 if method == "fork" else 1,  # a spawned one imports everything anew
            multiprocessing_context=method,
            persistent_workers=True,
        )
        ours = FrameLoader(frames, batch_size=8, pipeline=PIPELINES["p2"], seed=6)
        for epoch in range(2):
            dataset.set_epoch(epoch)
            for theirs, batch in zip(loader, ours, strict=True):
                assert torch.equal(theirs["index"], batch.indices)
                torch.testing.assert_close(theirs["image"], batch.images, rtol=1e-5, atol=1e-5)
                assert torch.equal(theirs["mask"], batch.mask)
                assert torch.equal(theirs["label"], batch.labels)
        del loader


def test_dataset_by_index(cxi: Path) -> None:
    with open_frames(cxi) as frames:
        dataset = FrameDataset(frames)
        assert len(dataset) == COUNT
        assert dataset[-1]["index"] == COUNT - 1
        expected = prepare_batch(frames[COUNT - 1 :], frames.mask, InputPreparation())
        torch.testing.assert_close(dataset[-1]["image"], expected[0])
        with pytest.raises(ValueError, match="epoch: found -1"):
            dataset.set_epoch(-1)


def test_dataset_and_loader_with_a_file_of_masks(tmp_path: Path) -> None:
    """Cheetah's layout: a mask for each frame."""
    h5py = pytest.importorskip("h5py")
    path, frames_in = tmp_path / "run.cxi", raw_frames("float32")
    good = np.random.default_rng(3).random(frames_in.shape) > 0.3
    with h5py.File(path, "w") as file:
        file["cxi_version"] = 140
        file["entry_1/data_1/data"] = np.where(good, frames_in, np.nan)
        file["entry_1/data_1/mask"] = np.where(good, 0, 8).astype(np.uint16)
    expected = prepare_batch(np.where(good, frames_in, 0), good, PIPELINES["plain"].preparation)
    with open_frames(path) as frames:
        assert frames.masks_differ
        for mask in (None, frames.mask):
            torch.testing.assert_close(prepare_frames(frames, mask, PIPELINES["plain"].preparation, chunk=7), expected)
        items = FrameDataset(frames, PIPELINES["plain"]).__getitems__([3, 40, 1])
        torch.testing.assert_close(torch.stack([item["image"] for item in items]), expected[[3, 40, 1]])
        assert not torch.equal(items[0]["mask"], items[1]["mask"])
        for batch in FrameLoader(frames, batch_size=8, pipeline=PIPELINES["plain"]):
            torch.testing.assert_close(batch.images, expected[batch.indices])


def test_a_fork_while_the_loader_reads(cxi: Path) -> None:
    """The child has neither the thread nor a lock that it held."""
    with open_frames(cxi) as frames:
        loader = FrameLoader(frames, batch_size=2, pipeline=PIPELINES["plain"], prefetch=1)
        iterator = iter(loader)
        next(iterator)
        child = os.fork()
        if child == 0:
            torch.set_num_threads(1)
            try:
                again = FrameLoader(frames, batch_size=2, pipeline=PIPELINES["plain"], seed=1)
                os._exit(0 if sum(map(len, again)) == COUNT else 1)
            except BaseException:
                os._exit(2)
        deadline = time.monotonic() + 30
        while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
            time.sleep(0.02)
        if ended == (0, 0):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        assert ended == (child, 0)
        assert sum(map(len, iterator)) == COUNT - 2


@pytest.mark.gpu
@pytest.mark.parametrize("name", PIPELINES)
def test_cuda_gives_the_cpus_batches(name: str) -> None:
    source = Source(raw_frames("float32"), chunk=4)
    arguments: dict[str, Any] = {"batch_size": 8, "pipeline": PIPELINES[name], "seed": 3, "window": 16}
    for batch, expected in zip(
        FrameLoader(source, device="cuda", **arguments), FrameLoader(source, **arguments), strict=True
    ):
        assert batch.images.is_cuda
        torch.testing.assert_close(batch.images.cpu(), expected.images, rtol=1e-4, atol=1e-4)
        assert batch.mask is not None
        assert torch.equal(batch.mask.cpu(), expected.mask)
        assert torch.equal(batch.labels.cpu(), expected.labels)
