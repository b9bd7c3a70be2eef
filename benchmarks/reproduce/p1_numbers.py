"""What paper 1 printed: its tables, as rows beside which ours are set. Accuracy, precision, recall; then hours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from benchmarks.reproduce.p1_data import Kind
from benchmarks.reproduce.p1_trainings import Training
from cdifast.simulate.noise import Level


@dataclass(frozen=True)
class Row:
    """A configuration and the numbers that P1 prints for it.

    Attributes
    ----------
    label
        Its name in P1's table.
    training
        Ours.
    metrics
        Accuracy, precision, recall: each the maximum over P1's training.
    hours
        Of P1's training, to the highest accuracy and in full; None where not printed.
    """

    label: str
    training: Training
    metrics: tuple[float, float, float]
    hours: tuple[float, float] | None = None


@dataclass(frozen=True)
class Table:
    """One of P1's tables.

    Attributes
    ----------
    key
        Name on the command line.
    title
        What it shows.
    rows
        Its configurations.
    """

    key: str
    title: str
    rows: tuple[Row, ...]

    def trainings(self) -> Iterator[Training]:
        """The table's configurations."""
        return (row.training for row in self.rows)


def _plain(dataset: str, network: str) -> Training:
    """P1's unmodified networks (table 3, appendix A): no log activation."""
    first = "leaky" if network.startswith("vgg") else "none"
    return Training(dataset, network, first)  # type: ignore[arg-type]


TABLE3: Final = Table(
    "table3",
    "Table 3: ResNet18 as it is, both data sets",
    (
        Row("CXIDB", _plain("cxidb10", "resnet18"), (0.967, 0.932, 0.933), (0.278, 0.668)),
        Row("Helium", _plain("helium", "resnet18"), (0.955, 0.918, 0.866), (0.231, 0.694)),
    ),
)
TABLE4: Final = Table(
    "table4",
    "Table 4: the log activation's alpha",
    (
        Row("alpha 0.2", Training(first="0.2"), (0.965, 0.922, 0.870)),
        Row("alpha 0.5", Training(first="0.5"), (0.960, 0.920, 0.870)),
        Row("alpha 1.0", Training(first="1.0"), (0.959, 0.922, 0.868)),
        Row("unmodified", _plain("helium", "resnet18"), (0.955, 0.918, 0.867)),
    ),
)
TABLE5: Final = Table(
    "table5",
    "Table 5: size of the training set",
    (
        Row("100 % (P1: 6174 images)", Training(share=100), (0.965, 0.922, 0.870)),
        Row("75 % (4631)", Training(share=75), (0.915, 0.821, 0.771)),
        Row("50 % (3088)", Training(share=50), (0.829, 0.740, 0.679)),
        Row("25 % (1544)", Training(share=25), (0.797, 0.673, 0.593)),
    ),
)
TABLE6: Final = Table(
    "table6",
    "Table 6: noise, correlation maps and images",
    (
        Row("none, maps", Training(kind="maps"), (0.950, 0.901, 0.838)),
        Row("none, images", Training(), (0.965, 0.922, 0.870)),
        Row("mean, maps", Training(kind="maps", noise="mean"), (0.948, 0.897, 0.833)),
        Row("mean, images", Training(noise="mean"), (0.954, 0.910, 0.853)),
        Row("mean + std, maps", Training(kind="maps", noise="mean+std"), (0.946, 0.893, 0.823)),
        Row("mean + std, images", Training(noise="mean+std"), (0.944, 0.887, 0.815)),
        Row("max, maps", Training(kind="maps", noise="max"), (0.944, 0.905, 0.814)),
        Row("max, images", Training(noise="max"), (0.926, 0.865, 0.808)),
    ),
)


KINDS: Final[dict[Kind, str]] = {
    "maps": "maps",
    "images": "images that average",
    "points": "images that interpolate",
}

FINER_LEVELS: Final[tuple[Level, ...]] = ("none", "max")


def _finer(level: Level, kind: Kind) -> Row:
    """A row of table 6 from finer frames."""
    coarse = next(
        row for row in TABLE6.rows if row.training.noise == level and (row.training.kind == "maps") == (kind == "maps")
    )
    label = f"{level.replace('+', ' + ')}, {KINDS[kind]}"
    return Row(label, Training("helium-fine", kind=kind, noise=level), coarse.metrics)


TABLE6_FINE: Final = Table(
    "table6-fine",
    "Table 6 once more, from finer frames",
    tuple(_finer(level, kind) for level in FINER_LEVELS for kind in KINDS),
)
"""P1's frames have 4.6 pixels for one of the network's along each side, and P1 does not say how they were reduced."""

TABLE9: Final = Table(
    "table9",
    "Table 9: architectures, both data sets",
    (
        Row("Helium, ResNet 18", _plain("helium", "resnet18"), (0.955, 0.918, 0.866), (0.231, 0.694)),
        Row("Helium, ResNet 50", _plain("helium", "resnet50"), (0.958, 0.917, 0.864), (0.605, 1.814)),
        Row("Helium, ResNet 101", _plain("helium", "resnet101"), (0.964, 0.925, 0.878), (0.940, 2.820)),
        Row("Helium, VGG 16", _plain("helium", "vgg16"), (0.958, 0.923, 0.867), (3.271, 6.541)),
        Row("Helium, VGG 19", _plain("helium", "vgg19"), (0.959, 0.920, 0.867), (6.615, 6.726)),
        Row("CXIDB, ResNet 18", _plain("cxidb10", "resnet18"), (0.967, 0.932, 0.933), (0.278, 0.668)),
        Row("CXIDB, ResNet 50", _plain("cxidb10", "resnet50"), (0.973, 0.937, 0.937), (1.205, 1.807)),
        Row("CXIDB, ResNet 101", _plain("cxidb10", "resnet101"), (0.978, 0.949, 0.941), (1.093, 2.623)),
        Row("CXIDB, VGG 16", _plain("cxidb10", "vgg16"), (0.970, 0.944, 0.904), (4.374, 6.562)),
        Row("CXIDB, VGG 19", _plain("cxidb10", "vgg19"), (0.970, 0.943, 0.904), (4.480, 6.720)),
    ),
)


def _turned(first: str, row: Row) -> Row:
    """A row's network trained with the recipe `fast` as it is."""
    training = replace(row.training, first=first, recipe="fast")
    return Row(row.label.removeprefix("Helium, "), training, row.metrics)


TURNED: Final = Table(
    "turned",
    "The helium networks once more, images turned by any angle",
    (
        _turned("0.2", Row("ResNet 18 (log)", TABLE4.rows[0].training, TABLE4.rows[0].metrics)),
        *(_turned(row.training.first, row) for row in TABLE9.rows if row.training.dataset == "helium"),
    ),
)
"""The recipe `fast` as it is."""

TABLES: Final = {table.key: table for table in (TABLE3, TABLE4, TABLE5, TABLE6, TABLE6_FINE, TABLE9, TURNED)}
"""Those whose rows are trainings."""

TABLE10_NETWORK: Final = _plain("helium", "resnet101")
"""The network of table 10."""

TABLE10: Final[dict[str, tuple[float, float, float, int]]] = {
    "Spherical/Oblate": (0.9681, 0.9770, 0.9965, 988),
    "Round": (0.9166, 0.9247, 0.9849, 869),
    "Elliptical": (0.9231, 0.8054, 0.4836, 119),
    "Newton rings": (0.9352, 0.6325, 0.2282, 69),
    "Prolate": (0.9690, 0.9274, 0.6777, 68),
    "Bent": (0.9657, 0.8161, 0.6487, 59),
    "Asymmetric": (0.9458, 0.6044, 0.2207, 55),
    "Streak": (0.9898, 0.9372, 0.9876, 36),
    "Double rings": (0.9768, 0.7708, 0.6788, 33),
    "Layered": (0.9896, 0.9062, 0.6170, 7),
    "Empty": (0.9904, 0.9537, 0.9763, 32),
}
"""Table 10 by our names of the classes: accuracy, precision, recall, positives among P1's validation images. P1 prints
"Oblate" and "Spherical"; by their counts they are Spherical/Oblate and Round."""
