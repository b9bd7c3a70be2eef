"""The ratios that matter: what against what, and the least that is asked for."""

from __future__ import annotations

from dataclasses import dataclass

# P1, section 5.3: 39,879 maps in three days on four cores.
PUBLISHED_SECONDS_A_MAP = 6.5


@dataclass(frozen=True)
class Row:
    """A ratio: time of the fastest of the peers / our time, per item, from rounds taken in turn.

    Attributes
    ----------
    id
        What ``compare`` in a benchmark file calls it.
    work, against
        For the table.
    target
        Least ratio; 0.5 allows us twice the peer's time.
    published_of
        Id of a measured row whose time is set against a published figure instead of a peer. Such a ratio depends on
        the machine as a time does: ``make bench-check`` leaves it out.
    """

    id: str
    work: str
    against: str
    target: float
    published_of: str | None = None


ROWS = (
    Row("activation", "log activation, 12.8 M float32, `out=`", "copy into an existing tensor", 0.85),
    Row("activation-compile", "log activation, forward + backward", "`torch.compile(sign * log1p)`", 3),
    Row("activation-eager", "log activation, forward + backward", "eager `sign * log1p`", 10),
    Row("polar-224", "polar 224x224 to 112x224, 256 float32 images, `out=`", "`cv2.remap`, float maps", 4),
    Row("polar-1024", "polar 1024x1024 to 512x720, 8 float32 images, `out=`", "`cv2.warpPolar`", 4),
    Row("polar-uint16", "polar 224x224 from uint16", "the same from float32", 1),
    Row("polar-backward", "polar backward, 224x224", "`grid_sample` backward", 5),
    Row("polar-one-image", "polar, one 224x224 image", "`cv2.remap`", 0.5),
    Row("correlation", "correlation map, 112x224, `out=`", "`torch.bmm` + DFT bin as a product", 3),
    Row("angular", "angular correlation, 112x224, all lags, all pairs", "`scipy.fft`, rfft and irfft", 15),
    Row(
        "loader",
        "loader, bitshuffle-LZ4 uint16 512x512 to 224x224 float32, random order",
        "PyTorch's DataLoader, 2 workers, h5py",
        2,
    ),
    Row("fused", "uint16 512x512 frames to 112x112 maps, `out=`", "`cv2.remap` + `torch.bmm` + DFT bin", 4),
    Row("read-gzip", "reading 512x512 uint16 frames, gzip, random order", "h5py `d[i]`", 5),
    Row("read-gzip-shuffle", "the same, gzip with shuffle", "h5py `d[i]`", 4),
    Row("read-bitshuffle", "the same, bitshuffle-LZ4", "h5py `d[i]`", 1.5),
    Row("read-scattered", "reading 10,000 scattered frames of a chunked stack", "h5py `d[sorted_indices]`", 30),
    Row("read-virtual", "reading a slice of a virtual data set of 16 modules", "h5py `d[a:b]`", 5),
    Row("simulate", "simulated 256x256 pattern on a flat detector", "NumPy loop over 64 slices", 5),
    Row("fused-published", "uint16 512x512 frames to 112x112 maps", "P1's 6.5 s a map", 30_000, published_of="fused"),
)
BY_ID = {row.id: row for row in ROWS}
MEASURED = tuple(row for row in ROWS if row.published_of is None)
