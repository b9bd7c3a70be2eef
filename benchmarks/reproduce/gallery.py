"""The figure of docs/simulator.md: simulated shots beside real ones.

    PYTHONPATH=. python -m benchmarks.reproduce.gallery --examples ../shared/data/helium_examples.npz

Nothing is picked: each column shows the first shots of the preset, at one seed, that carry the column's class.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.reproduce.display import CLASS_OF_EXAMPLE, SIMULATED_SIZE, crop, display_scaled
from cdifast.simulate import PRESETS, classes_of, parameters, shots

ROWS = 3
SEED = 1
OTHERS = ("Round", "Prolate", "Empty")


def first_shots(preset: str, name: str, count: int, search: int = 8000) -> list[int]:
    """Indices of the first shots with a class."""
    classes = PRESETS[preset].classes
    found: list[int] = []
    for start in range(0, search, 500):
        labels = classes_of(parameters(500, preset, SEED, start), len(classes))
        found += (start + np.flatnonzero(labels[:, classes.index(name)])).tolist()
        if len(found) >= count:
            break
    return found[:count]


def helium_pictures(name: str) -> Tensor:
    """``(ROWS, 88, 88)`` display-scaled."""
    images = [shots(1, SIMULATED_SIZE, "helium", SEED, k).images for k in first_shots("helium", name, ROWS)]
    return display_scaled(crop(torch.cat(images)))


def species_pictures(name: str) -> NDArray[np.float64]:
    """``(ROWS, 124, 124)`` on a logarithmic scale."""
    indices = first_shots("cxidb10", name, ROWS)
    images = torch.cat([shots(1, SIMULATED_SIZE, "cxidb10", SEED, k).images for k in indices]).double()
    scaled = torch.log1p(images)
    return (scaled / scaled.amax((1, 2), keepdim=True)).numpy()


def draw(examples: Path, output: Path) -> None:
    """Draw the figure as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    with np.load(examples) as file:
        real = dict(zip((str(name) for name in file["classes"]), file["detector"], strict=True))
    species = PRESETS["cxidb10"].classes
    columns = len(CLASS_OF_EXAMPLE) + len(OTHERS) + len(species)
    figure = Figure(figsize=(columns * 0.95, (ROWS + 1) * 1.0 + 0.25), dpi=78)
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(ROWS + 1, columns)
    for axis in axes.flat:
        axis.set_axis_off()
    titles = [*CLASS_OF_EXAMPLE.values(), *OTHERS, *species]
    for column, title in enumerate(titles):
        axes[0, column].set_title(title, fontsize=8)
        if column < len(CLASS_OF_EXAMPLE):
            shown = display_scaled(torch.from_numpy(real[list(CLASS_OF_EXAMPLE)[column]])[None])[0]
            axes[0, column].imshow(shown, cmap="magma", vmin=0, vmax=1)
        pictures = species_pictures(title) if title in species else helium_pictures(title)
        for row, picture in enumerate(pictures, start=1):
            axes[row, column].imshow(picture, cmap="magma", vmin=0, vmax=1)
    axes[0, len(CLASS_OF_EXAMPLE)].text(0, 0.5, "left: real shots,\nbelow all: simulated", fontsize=7, va="center")
    figure.subplots_adjust(left=0.005, right=0.995, bottom=0.005, top=0.94, wspace=0.04, hspace=0.04)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    picture.quantize(256).save(output, optimize=True)  # a colour map has no more colours


def main() -> None:
    """Parse the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=Path, required=True, help="helium_examples.npz: detector, classes")
    parser.add_argument("--output", type=Path, default=Path("docs/images/simulator.png"))
    arguments = parser.parse_args()
    draw(arguments.examples, arguments.output)


if __name__ == "__main__":
    main()
