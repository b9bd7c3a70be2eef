"""The DALI backend gives torch's batches, by operators that have GPU kernels, to our operators."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cdifast import ops
from cdifast.data import Augmentation, FrameBatch, FrameError, FrameLoader, FramePipeline, InputPreparation
from cdifast.data.augment import P1, P2

TRIANGLE = InputPreparation(28, filter="triangle")
EVERYTHING = Augmentation(rotation=30, crop_area=0.5, erase_area=(0.1, 0.2), translation=0.2, probability=0.7)
PIPELINES = {
    "plain": FramePipeline(TRIANGLE),
    "raw": FramePipeline(dataclasses.replace(TRIANGLE, scaling="none"), log=True),
    "p1": FramePipeline(TRIANGLE, P1, log=True),
    "p2": FramePipeline(dataclasses.replace(TRIANGLE, scaling="minmax"), P2),
    "everything": FramePipeline(TRIANGLE, EVERYTHING, log=True, standardise=True),
    "brightness": FramePipeline(TRIANGLE, Augmentation(0, 0, 0.5, 0), standardise=True),
}
COUNT = 37


@pytest.fixture(scope="module")
def dali() -> Any:
    return pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is not installed: pip install 'cdifast[dali]'")


def raw_frames(shape: tuple[int, int], dtype: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Frames whose bad pixels hold the worst that their type has."""
    rng = np.random.default_rng(0)
    frames = rng.poisson(50, (COUNT, *shape)).astype(dtype)
    good = rng.random(shape) > 0.2
    good[: shape[0] // 4, 5:] = False
    frames[:, ~good] = np.nan if frames.dtype.kind == "f" else np.iinfo(frames.dtype).max
    return frames, good


def both(frames: Any, **arguments: Any) -> list[tuple[FrameBatch, FrameBatch]]:
    """Batches of DALI and of torch."""
    arguments = {"batch_size": 16, "seed": 3, **arguments}
    loaders = [FrameLoader(frames, backend=backend, **arguments) for backend in ("dali", "torch")]  # type: ignore[arg-type]
    return list(zip(*loaders, strict=True))


def assert_same(found: FrameBatch, expected: FrameBatch) -> None:
    """Up to rounding: float32 coordinates of the resampling are worth 1e-5 of the largest value."""
    assert torch.equal(found.indices, expected.indices)
    assert (found.epoch, found.step) == (expected.epoch, expected.step)
    assert found.images.shape == expected.images.shape
    assert found.images.dtype == torch.float32
    tolerance = 1e-4 * float(expected.images.abs().max())
    assert (found.mask is None) == (expected.mask is None)
    if found.mask is not None and expected.mask is not None:
        # A weight of one half exactly may round to either side.
        differing = found.mask != expected.mask
        assert differing.float().mean() < 1e-4
        found_images, expected_images = (batch.images.masked_fill(differing, 0) for batch in (found, expected))
    else:
        found_images, expected_images = found.images, expected.images
    torch.testing.assert_close(found_images, expected_images, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize(
    ("shape", "dtype", "masked"),
    [
        ((64, 64), "uint16", False),
        ((64, 64), "float32", True),
        ((60, 47), "uint16", True),  # padded to a square, by half a pixel
        ((47, 61), "int32", True),
        ((20, 20), "uint8", False),  # magnified
    ],
)
def test_the_same_batches_as_torch(dali: Any, name: str, shape: tuple[int, int], dtype: str, masked: bool) -> None:
    frames, mask = raw_frames(shape, dtype)
    pairs = both(frames if masked else np.nan_to_num(frames), mask=mask if masked else None, pipeline=PIPELINES[name])
    assert [len(found) for found, _ in pairs] == [16, 16, 5]
    assert len({found.images.data_ptr() for found, _ in pairs}) == 3  # each batch keeps its memory
    for found, expected in pairs:
        assert_same(found, expected)
        if expected.mask is None:
            assert torch.count_nonzero(expected.images) > 0


@pytest.mark.parametrize("dtype", [">u2", "float64", "float16", "uint32", "int64"])
def test_every_type_of_frames(dali: Any, dtype: str) -> None:
    frames, mask = raw_frames((32, 32), dtype)
    for found, expected in both(np.where(mask, frames, 0).astype(dtype), pipeline=PIPELINES["plain"]):
        assert_same(found, expected)


@pytest.mark.parametrize("device", ["cpu", "gpu"], ids=["for-cpu", "for-gpu"])  # "gpu" alone would be a mark
def test_every_operator_has_a_gpu_kernel(dali: Any, device: str) -> None:
    """Without a driver a GPU graph can be described, not built: the names must be in DALI's register."""
    from nvidia.dali import backend, fn

    from cdifast.data.dali_graph import Graph, input_names
    from cdifast.data.prepare import Preparer

    used = set()
    mask = np.ones((47, 60), bool)
    mask[10:20] = False
    for pipeline in PIPELINES.values():
        preparer = Preparer((47, 60), mask, pipeline.preparation)
        names = input_names(pipeline.augmentation)
        described = dali.Pipeline(batch_size=4, num_threads=1, device_id=None, exec_dynamic=True)
        with described:
            nodes = [fn.external_source(name=name) for name in ("frames", *names)]
            outputs = Graph(pipeline, preparer, device)(nodes[0], nodes[1:])
            described.set_outputs(*outputs)
        assert {output.device for output in outputs} == {device}
        pending = list(outputs)
        while pending:
            source = pending.pop().source
            if source is not None:
                used.add(type(source._op).schema_name if hasattr(type(source._op), "schema_name") else "ExternalSource")
                pending += [node for node in _inputs_of(source) if node is not None]
    assert {"Resize", "WarpAffine", "Erase", "Flip", "Slice"} <= used
    assert used - {"ExternalSource", "_Copy"} <= set(backend.RegisteredGPUOps())


def _inputs_of(source: Any) -> list[Any]:
    nodes = []
    for node in source.inputs:
        nodes += list(node) if isinstance(node, list | tuple) else [node]
    return nodes


def test_shards_and_epochs_are_exact(dali: Any) -> None:
    frames = np.random.default_rng(0).poisson(9, (COUNT, 16, 16)).astype(np.uint16)
    seen: list[int] = []
    for rank in range(3):
        loader = FrameLoader(
            frames, batch_size=5, pipeline=PIPELINES["plain"], backend="dali", rank=rank, world_size=3, seed=1
        )
        loader.set_epoch(2)
        batches = list(loader)
        assert [batch.epoch for batch in batches] == [2, 2, 2]
        seen += torch.cat([batch.indices for batch in batches]).tolist()
    assert sorted(seen) == list(range(COUNT))


def test_a_killed_epoch_goes_on_bit_for_bit(dali: Any) -> None:
    frames, mask = raw_frames((24, 24), "uint16")

    def loader() -> FrameLoader:
        return FrameLoader(frames, batch_size=6, pipeline=PIPELINES["p2"], backend="dali", mask=mask, seed=2)

    whole = list(loader())
    begun = loader()
    received = []
    for batch in begun:
        received.append(batch)
        if len(received) == 3:
            break
    resumed = loader()
    resumed.load_state_dict(json.loads(json.dumps(begun.state_dict())))
    received += list(resumed)
    assert len(received) == len(whole) == 7
    for first, second in zip(received, whole, strict=True):
        assert torch.equal(first.indices, second.indices)
        assert torch.equal(first.images, second.images)
        assert torch.equal(first.mask, second.mask)  # type: ignore[arg-type]
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("cdifast")] == []


class Faulty:
    """Frames of which some cannot be read."""

    shape, dtype = (20, 16, 16), np.dtype(np.uint16)

    def read(self, indices: NDArray[np.int64], out: NDArray[Any]) -> NDArray[Any]:
        for index in indices.tolist():
            if index in (2, 4, 5, 6, 7):
                raise FrameError("cannot be decoded", path="run.cxi", index=index)
        out[...] = 1 + indices[:, None, None]
        return out


def test_faults_reach_the_consumer(dali: Any) -> None:
    arguments: dict[str, Any] = {"batch_size": 4, "pipeline": PIPELINES["raw"], "shuffle": False, "backend": "dali"}
    with pytest.raises(FrameError, match=r"run.cxi, frame 2: cannot be decoded"):
        list(FrameLoader(Faulty(), **arguments))
    loader = FrameLoader(Faulty(), on_error="skip", **arguments)
    with pytest.warns(UserWarning, match="left out"):
        batches = list(loader)
    # The second batch has no frame left, the first is short of one.
    assert [batch.indices.tolist() for batch in batches] == [
        [0, 1, 3],
        [*range(8, 12)],
        [*range(12, 16)],
        [*range(16, 20)],
    ]
    for batch in batches:
        expected = torch.log1p(torch.e * (1 + batch.indices.float()))[:, None, None, None]
        torch.testing.assert_close(batch.images, expected.expand_as(batch.images))
    assert [frame.index for frame in loader.skipped] == [2, 4, 5, 6, 7]


def test_its_batches_go_straight_into_our_operators(dali: Any) -> None:
    """DLPack -> torch -> correlation maps, with the mask of the batch."""
    frames, mask = raw_frames((64, 64), "uint16")
    for found, expected in both(frames, mask=mask, pipeline=PIPELINES["p2"]):
        maps, reference = (
            ops.polar_correlation_map(batch.images, 12, 32, mask=batch.mask, r_max=13.0) for batch in (found, expected)
        )
        assert maps.shape == (len(found), 1, 12, 12)
        torch.testing.assert_close(maps, reference, rtol=1e-3, atol=1e-3 * float(reference.abs().max()))
        assert torch.count_nonzero(maps) > 0


def test_the_box_filter_is_refused(dali: Any) -> None:
    with pytest.raises(ValueError, match=r"filter: found 'box', but DALI .* InputPreparation\(filter='triangle'\)"):
        FrameLoader(np.ones((4, 8, 8)), backend="dali")
    with pytest.raises(ValueError, match="device: found meta"):
        FrameLoader(np.ones((4, 8, 8)), backend="dali", device="meta", pipeline=PIPELINES["plain"])


def test_without_dali_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['nvidia.dali'] = None\n"
        "import numpy as np\n"
        "from cdifast.data import FrameLoader\n"
        "list(FrameLoader(np.ones((4, 8, 8))))\n"
        "try: FrameLoader(np.ones((4, 8, 8)), backend='dali')\n"
        "except ImportError as error: print(error)\n"
    )
    root = Path(__file__).resolve().parents[2]
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert result.stdout == "the DALI backend needs NVIDIA DALI: pip install 'cdifast[dali]'\n"


@pytest.mark.gpu
@pytest.mark.parametrize("name", PIPELINES)
def test_on_a_gpu_the_same_batches_as_torch(dali: Any, name: str) -> None:
    frames, mask = raw_frames((60, 47), "uint16")
    loader = FrameLoader(
        frames, backend="dali", device="cuda", mask=mask, pipeline=PIPELINES[name], batch_size=16, seed=3
    )
    torch_loader = FrameLoader(frames, mask=mask, pipeline=PIPELINES[name], batch_size=16, seed=3)
    for found, expected in zip(loader, torch_loader, strict=True):
        assert found.images.is_cuda
        on_cpu = dataclasses.replace(found, images=found.images.cpu(), mask=found.mask.cpu())  # type: ignore[union-attr]
        assert_same(on_cpu, expected)
