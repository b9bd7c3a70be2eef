from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

def build_info() -> dict[str, Any]: ...
def cpu_capability() -> str: ...
def plan_cache_info() -> dict[str, int]: ...
def clear_plan_cache() -> None: ...
def read_chunks(
    jobs: NDArray[np.int64],
    copies: NDArray[np.int64],
    blocks: NDArray[np.int64],
    output: NDArray[np.uint8],
    filters: Sequence[tuple[int, int, int, bool]],
    chunk_bytes: int,
    threads: int,
) -> list[tuple[int, int, int]]: ...
def place_chunk(
    stored: NDArray[np.uint8] | bytes,
    job: NDArray[np.int64],
    copies: NDArray[np.int64],
    blocks: NDArray[np.int64],
    output: NDArray[np.uint8],
    filters: Sequence[tuple[int, int, int, bool]],
    chunk_bytes: int,
) -> int: ...
def reduce_frames(
    frames: NDArray[Any],
    bad: NDArray[np.bool_] | None,
    first_row: NDArray[np.int32],
    row_weights: NDArray[np.float32],
    first_column: NDArray[np.int32],
    column_weights: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None: ...
