"""TIFF: one gray image, or a stack of pages."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from .errors import FrameError, describe, describe_all
from .source import FrameSource

# Little and big endian; 42 is TIFF and 43 BigTIFF.
_SIGNATURES: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class TiffSource(FrameSource):
    """Frames of one TIFF file: a page each, of integers or floats, in any compression that tifffile knows.

    Values are those of the file; nothing is scaled to a display range.
    """

    layout: ClassVar[str] = "tiff"

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: Any, pages: int) -> None:
        why = "a page for each frame" if len(shape) == 3 else "one page"
        super().__init__(path, "pages", shape, dtype, why)
        self._pages = pages
        self._file: Any = None
        self._process = 0

    @classmethod
    def recognise(cls, path: Path, dataset: str | None, file: Any) -> Self | None:
        """By its first bytes; pages of one shape and type are the frames, so ``dataset`` must be None."""
        with path.open("rb") as raw:
            if raw.read(4) not in _SIGNATURES:
                return None
        if dataset is not None:
            raise FrameError(
                f"the pages of a TIFF file are the frames; expected no dataset, found '{dataset}'", path=path
            )
        tifffile = import_tifffile()
        with _tiff_faults(path), tifffile.TiffFile(path) as tiff:
            series = {f"series {i}": (tuple(s.shape), s.dtype) for i, s in enumerate(tiff.series)}
            if len(series) != 1:
                listing = describe_all(series) or "no page"
                raise FrameError(f"found {listing}; expected pages of one shape and type", path=path)
            only = tiff.series[0]
            if "S" in only.axes:
                raise FrameError(
                    f"found {describe(tuple(only.shape), only.dtype)} with {only.axes} as axes: colours; expected gray",
                    path=path,
                )
            if only.dtype is None:
                raise FrameError("found pages of an unknown type; expected integers or floats", path=path)
            # Axes of length 1, such as ImageJ's channels, are none.
            leading = tuple(n for n in only.shape[:-2] if n != 1)
            return cls(path, (*leading, *only.shape[-2:]), only.dtype, len(only.pages))

    def read_run(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Decode the pages, or read the block that ImageJ writes behind its one page."""
        import_tifffile()
        with _tiff_faults(self.path, as_read=True):
            series = self._open().series[0]
            if len(series.pages) != self._pages or series.dtype != self.dtype or series.shape[-2:] != self.shape[1:]:
                raise FrameError(
                    f"changed since it was opened: {describe(self.shape, self.dtype)} then, "
                    f"{describe(tuple(series.shape), series.dtype)} now",
                    path=self.path,
                )
            if (self._pages == 1 and self.shape[0] > 1) or None in series.pages[: self._pages]:
                out[...] = self._block(series, start, stop)
                return
            for index in range(start, stop):
                page = series.pages[index]
                if not all(page.databytecounts):
                    raise OSError("a part of it was never written")
                out[index - start] = page.asarray(maxworkers=1).reshape(self.shape[1:])

    def _block(self, series: Any, start: int, stop: int) -> NDArray[Any]:
        """Frames of a series whose pages after the first are not in the file's directory."""
        if series.dataoffset is None:
            raise OSError("its pages have no directory and do not lie in one block")
        kind = self.dtype.newbyteorder(self._file.byteorder)
        size = self.shape[1] * self.shape[2] * self.dtype.itemsize
        with self.path.open("rb") as raw:
            raw.seek(series.dataoffset + start * size)
            data = raw.read((stop - start) * size)
        if len(data) != (stop - start) * size:
            raise OSError("the file ends too early")
        return np.frombuffer(data, kind).reshape(stop - start, *self.shape[1:])

    def _open(self) -> Any:
        if self._process != os.getpid():
            # A handle inherited over fork shares the parent's file position: let it go, open our own.
            self._file = None
            self._process = os.getpid()
        if self._file is None:
            self._file = import_tifffile().TiffFile(self.path)
        return self._file

    def close(self) -> None:
        """Close this process's handle; the next read opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_process": 0}


def import_tifffile() -> ModuleType:
    """`tifffile`.

    Raises
    ------
    ImportError
        It is missing; names the extra that brings it.
    """
    try:
        import tifffile
    except ImportError as error:
        raise ImportError("TIFF files need tifffile: pip install 'cdifast[images]'") from error
    return tifffile


@contextlib.contextmanager
def _tiff_faults(path: Path, *, as_read: bool = False) -> Iterator[None]:
    """Turn whatever tifffile and its codecs raise over a damaged file into one error that names it.

    So too what tifffile only writes into its log before it goes on with part of the file: a page that the file
    should have, but lies beyond its end.
    """
    log, complaints = logging.getLogger("tifffile"), _Complaints()
    log.addHandler(complaints)
    try:
        yield
        if complaints.texts:
            raise ValueError("; ".join(complaints.texts[:3]))
    except (FrameError, FileNotFoundError, ImportError):
        raise
    except Exception as error:  # parsers of damaged bytes raise anything: struct.error, TypeError, zlib.error, ...
        problem = f"{type(error).__name__}: {error}"
        if as_read:
            raise OSError(problem) from error
        raise FrameError(f"not readable as TIFF: truncated or damaged ({problem})", path=path) from error
    finally:
        log.removeHandler(complaints)


class _Complaints(logging.Handler):
    """The errors that one thread logs."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if threading.get_ident() == self._thread:
            self.texts.append(record.getMessage())
