"""cdifast: X-ray diffraction images of single particles, from detector frames to meaning.

Importing the package loads the compiled operators (:mod:`cdifast.ops`) and needs only torch. Everything else is
imported when it is first used: :mod:`cdifast.nn`, :mod:`cdifast.data`, :mod:`cdifast.calibrate`,
:mod:`cdifast.simulate`, :mod:`cdifast.train`, :mod:`cdifast.evaluate`, :mod:`cdifast.jobs`, :mod:`cdifast.report`,
:mod:`cdifast.quickstart`, :mod:`cdifast.reference`.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

__version__ = "0.1.0"

_MINIMUM_TORCH = (2, 10)
_LAZY_MODULES = frozenset(
    {"calibrate", "data", "evaluate", "jobs", "nn", "quickstart", "reference", "report", "simulate", "train"}
)


def _load_extension() -> None:
    """Load ``cdifast._C``, which registers the operators, and say plainly what is wrong where that fails."""
    import torch  # first: the extension finds torch's library by name among those already loaded

    found = torch.__version__.split("+")[0]
    if tuple(int(part) for part in found.split(".")[:2]) < _MINIMUM_TORCH:
        minimum = ".".join(map(str, _MINIMUM_TORCH))
        raise ImportError(f"cdifast {__version__} needs torch >= {minimum}, but torch {torch.__version__} is installed")
    try:
        from . import _C
    except ImportError as error:
        message = f"cdifast's compiled operators cannot be used under torch {torch.__version__}: {error}."
        if not os.environ.get("CDIFAST_CPU_CAPABILITY") and not os.environ.get("CDIFAST_CPU_GATHER"):
            message += " Install the package again; a source tree is not importable in place without `pip install`."
        raise ImportError(message) from error
    built = _C.build_info()["version"]
    if built != __version__:
        raise ImportError(
            f"cdifast's Python files are version {__version__}, but its compiled operators are version {built}: "
            "two installations are mixed. Uninstall cdifast and install it again."
        )


_load_extension()

from . import ops, vector_math  # noqa: E402 - needs the operators that the line above registers

vector_math.settle()


def __getattr__(name: str) -> Any:
    if name in _LAZY_MODULES:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY_MODULES})


__all__ = ["__version__", "ops", *sorted(_LAZY_MODULES)]
