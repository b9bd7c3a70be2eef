"""PNG: one gray image, of 8 or 16 bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from .errors import FrameError
from .source import FrameSource

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_COLOURS: Final = {2: "RGB", 3: "a palette", 4: "gray with alpha", 6: "RGB with alpha"}


class PngSource(FrameSource):
    """The frame of one PNG file, decoded when it is read; bits are those of the file (8 or 16)."""

    layout: ClassVar[str] = "png"

    @classmethod
    def recognise(cls, path: Path, dataset: str | None, file: Any) -> Self | None:
        """By its first bytes; there is one image, so ``dataset`` must be None."""
        with path.open("rb") as raw:
            start = raw.read(26)
        if not start.startswith(_SIGNATURE):
            return None
        if dataset is not None:
            raise FrameError(f"a PNG file holds one image; expected no dataset, found '{dataset}'", path=path)
        if len(start) < 26 or start[12:16] != b"IHDR":
            raise FrameError("not readable as PNG: truncated or damaged (no header)", path=path)
        width, height = (int.from_bytes(start[i : i + 4], "big") for i in (16, 20))
        bits, colour = start[24], start[25]
        if colour != 0 or bits not in (8, 16):
            found = _COLOURS.get(colour, "gray" if colour == 0 else f"colour type {colour}")
            raise FrameError(f"found {found} of {bits} bits; expected gray of 8 or 16 bits", path=path)
        return cls(path, "image", (height, width), np.dtype(f"u{bits // 8}"), f"a gray image of {bits} bits")

    def read_run(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Decode the image."""
        image = import_pillow()
        try:
            with image.open(self.path, formats=["PNG"]) as png:
                found = np.asarray(png)
        except FileNotFoundError:
            raise
        except (OSError, SyntaxError, ValueError, image.DecompressionBombError) as error:
            raise OSError(str(error)) from error
        if found.shape != self.shape[1:] or found.dtype.itemsize != self.dtype.itemsize:
            raise FrameError(
                f"changed since it was opened: {self.shape[1:]} {self.dtype} then, {found.shape} {found.dtype} now",
                path=self.path,
            )
        out[...] = found

    def close(self) -> None:
        """Nothing stays open."""


def import_pillow() -> Any:
    """Pillow's ``Image`` module.

    Raises
    ------
    ImportError
        Pillow is missing; names the extra that brings it.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("PNG files need Pillow: pip install 'cdifast[images]'") from error
    return Image
