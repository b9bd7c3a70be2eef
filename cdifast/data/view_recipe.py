"""What the two views of a shot are (P2, "Contrastive projection learning"): kinds, changes, presets."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Final, Literal

from .augment import P2, Augmentation

ViewKind = Literal["detector", "unwrapped"]
Unwrapping = Literal["polar", "p2-code"]
MaskGuard = Literal["fill", "none"]

TEMPERATURES: Final[dict[tuple[ViewKind, ViewKind], float]] = {
    ("detector", "detector"): 0.2,
    ("unwrapped", "unwrapped"): 0.2,
    ("unwrapped", "detector"): 0.075,
    ("detector", "unwrapped"): 0.1,
}
"""NT-Xent temperatures of P2's four modes (Methods). P2 calls the detector image "Polar", the unwrapped map
"Cartesian"; two views of one kind are its baseline CLR, one of each its method CPLR."""


@dataclass(frozen=True)
class ViewRecipe:
    """How the two views of a shot are made; the defaults are P2's best mode.

    Attributes
    ----------
    first, second
        What they show: ``"detector"``, the image as recorded, or ``"unwrapped"``, its (radius, angle) map. The first is
        what inference sees.
    augmentation
        Random changes, drawn for each view on its own; None: none. P2's jitter clips to [0, 1], so it wants images of
        that range (`InputPreparation(scaling="minmax")`).
    unwrapping
        ``"polar"``: `cdifast.ops.polar_resample`, with centre and mask of each shot. ``"p2-code"``: both views as P2's
        code cuts them (`cdifast.data.p2_code`), the centre in the middle, for images with a helium detector's hole.
    n_radial, n_angular
        Size of the map; None: the image's side. ``"p2-code"`` makes all views as large as the image.
    r_min, r_max
        First and last radius of the map, as a share of the largest circle round the middle of the image.
    mask_guard
        ``"fill"``: no view shows the mask of its shot (see `PairViews`). ``"none"``: bad pixels are 0.
    """

    first: ViewKind = "detector"
    second: ViewKind = "unwrapped"
    augmentation: Augmentation | None = P2
    unwrapping: Unwrapping = "polar"
    n_radial: int | None = None
    n_angular: int | None = None
    r_min: float = 0.0
    r_max: float = 1.0
    mask_guard: MaskGuard = "fill"

    def __post_init__(self) -> None:
        for name in ("first", "second"):
            if getattr(self, name) not in ("detector", "unwrapped"):
                raise ValueError(f"{name}: found {getattr(self, name)!r}, expected 'detector' or 'unwrapped'")
        if self.unwrapping not in ("polar", "p2-code"):
            raise ValueError(f"unwrapping: found {self.unwrapping!r}, expected 'polar' or 'p2-code'")
        if self.mask_guard not in ("fill", "none"):
            raise ValueError(f"mask_guard: found {self.mask_guard!r}, expected 'fill' or 'none'")
        for name in ("n_radial", "n_angular"):
            if getattr(self, name) is not None and getattr(self, name) < 2:
                raise ValueError(f"{name}: found {getattr(self, name)}, expected at least 2")
        if not 0 <= self.r_min < self.r_max:
            raise ValueError(f"r_min, r_max: found {self.r_min}, {self.r_max}, expected 0 <= r_min < r_max")

    @property
    def mode(self) -> str:
        """Both kinds in one word, as ``"detector-unwrapped"``."""
        return f"{self.first}-{self.second}"

    @property
    def temperature(self) -> float:
        """P2's NT-Xent temperature of this mode."""
        return TEMPERATURES[self.first, self.second]

    def with_mode(self, mode: str) -> ViewRecipe:
        """The same recipe for another mode, such as ``"unwrapped-detector"``."""
        for first, second in TEMPERATURES:
            if mode == f"{first}-{second}":
                return dataclasses.replace(self, first=first, second=second)
        raise ValueError(
            f"mode: found {mode!r}, expected one of {', '.join('-'.join(kinds) for kinds in TEMPERATURES)}"
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON-serialisable dictionary."""
        content = dataclasses.asdict(self)
        content["augmentation"] = self.augmentation and self.augmentation.to_dict()
        return content

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> ViewRecipe:
        """Inverse of `to_dict`; a ValueError names entries that this version does not know."""
        unknown = content.keys() - {entry.name for entry in dataclasses.fields(cls)}
        if unknown:
            raise ValueError(f"views: unknown entries {', '.join(sorted(unknown))}")
        content = dict(content)
        if isinstance(content.get("augmentation"), dict):
            content["augmentation"] = Augmentation.from_dict(content["augmentation"])
        return cls(**content)


VIEW_PRESETS: Final[dict[str, ViewRecipe]] = {
    "p2": ViewRecipe(),
    "p2-code": ViewRecipe(augmentation=dataclasses.replace(P2, probability=1.0), unwrapping="p2-code"),
    "counts": ViewRecipe(augmentation=dataclasses.replace(P2, jitter="power", brightness=0.3, contrast=0.1)),
}
"""Recipes by name. ``"p2"``: P2, each change with probability 1/2. ``"p2-code"``: its code, all changes but the flip
always, and its own unwrapping. ``"counts"``: P2 with P1's jitter (`Augmentation`), for images that span decades and
meet a logarithm in the network (`InputPreparation()`)."""
