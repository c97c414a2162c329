"""`napari-sam demo`: napari with a sample, or one click, one box, everything without a window.

Then everything in a mosaic of it, in tiles: demo_mosaic.py.
"""

import json
import time
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.commands.demo_mosaic import segment_mosaic
from napari_sam.commands.running import count, progress_bar
from napari_sam.commands.windows import why_no_windows
from napari_sam.files.images import read_image, to_rgb_uint8
from napari_sam.files.outputs import check_output_folder, write_results
from napari_sam.loading import load
from napari_sam.overlay import draw_overlay
from napari_sam.segment.image import segment_everything, segment_prompts
from napari_sam.segment.objects import paint_labels
from napari_sam.segment.prompts import Box, Point, Prompt

if TYPE_CHECKING:
    from src_model import Sam

MODEL = "vit_nano"

FOLDER = Path("napari-sam-demo")
"""Where pictures go if nobody says."""


@dataclass(frozen=True)
class Sample:
    """A bundled picture and prompts that go with it.

    Attributes
    ----------
    title : str
        What is to be seen, in a few words.
    image : ndarray
        uint8 RGB, shape (row, col, 3).
    click : Point
        A point on an object.
    box : Box
        Around another.
    """

    title: str
    image: np.ndarray
    click: Point
    box: Box


def load_sample() -> Sample:
    """Read the bundled picture and its prompts."""
    folder = files("napari_sam") / "samples"
    facts = json.loads((folder / "sample.json").read_text(encoding="utf-8"))
    with as_file(folder / facts["image"]) as path:
        image = to_rgb_uint8(read_image(path))
    return Sample(facts["title"], image, Point(*facts["click"]), Box(*facts["box"]))


def run(folder: Path | None, headless: bool) -> None:
    """Show the sample in napari, or segment it without a window.

    Parameters
    ----------
    folder : Path, optional
        For pictures, which are wanted instead of a window.
    headless : bool
        Draw pictures even without a folder.

    Raises
    ------
    InputError
        If nothing can be written there.
    """
    if folder is None and not headless:
        why_not = why_no_windows()
        if why_not is None:
            show()
            return
        print(f"Pictures instead of napari: {why_not}")
    draw(FOLDER if folder is None else folder)


def show() -> None:
    """Open napari with the sample, and wait until its window is closed."""
    from napari_sam.widgets import launch

    print("Opening napari (`napari-sam demo --headless` draws pictures instead).")
    launch.show_sample("nuclei", MODEL)
    launch.wait()


def draw(folder: Path) -> None:
    """Load the small model, segment the sample and a mosaic of it, and say where the pictures are.

    Parameters
    ----------
    folder : Path
        For the results; created if absent.

    Raises
    ------
    InputError
        If nothing can be written there.
    """
    check_output_folder(folder)
    start = time.perf_counter()
    model = load(MODEL)
    print(f"Loaded {MODEL} in {time.perf_counter() - start:.1f} s.")
    sample = load_sample()
    overlays = segment_sample(model, sample, folder)
    overlays += segment_mosaic(model, sample.image, folder)
    print("Look at the pictures (labels and tables of objects lie beside them):")
    for overlay in overlays:
        print(f"  {overlay}")


def segment_sample(model: "Sam", sample: Sample, folder: Path) -> list[Path]:
    """Segment a sample with its click, with its box, and everything.

    Parameters
    ----------
    model : Sam
        The network.
    sample : Sample
        Picture and prompts.
    folder : Path
        For labels, table and overlay of each.

    Returns
    -------
    list of Path
        The overlays.
    """
    rows, cols = sample.image.shape[:2]
    print(f"The picture: {sample.title} ({rows} rows, {cols} columns).")
    click, box = sample.click, sample.box
    tasks = {
        "click": (f"one click at row {click.row:g}, column {click.col:g}", [Prompt((click,))]),
        "box": (
            f"one box from {box.row0:g},{box.col0:g} to {box.row1:g},{box.col1:g}",
            [Prompt(box=box)],
        ),
        "everything": ("everything, no prompt at all", []),
    }
    overlays = []
    for name, (what, prompts) in tasks.items():
        start = time.perf_counter()
        if prompts:
            candidates = segment_prompts(model, sample.image, prompts)
        else:
            with progress_bar("clicks") as progress:
                candidates = segment_everything(model, sample.image, progress)
        seconds = time.perf_counter() - start
        labels, objects = paint_labels(candidates, (rows, cols))
        overlay = draw_overlay(sample.image, labels, prompts)
        overlays.append(write_results(folder, name, labels, objects, overlay)[2])
        print(f"  {what}: {count(objects)} in {seconds:.1f} s")
    return overlays
