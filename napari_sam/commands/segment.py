"""`napari-sam segment`: one image file, prompts or everything, three files of results."""

import time
from collections.abc import Sequence
from pathlib import Path

from napari_sam.commands.running import count, describe, progress_bar
from napari_sam.errors import InputError
from napari_sam.files.images import read_image, to_rgb_uint8
from napari_sam.files.outputs import check_output_folder, write_results
from napari_sam.loading import load
from napari_sam.overlay import draw_overlay
from napari_sam.segment.image import segment_everything, segment_prompts
from napari_sam.segment.objects import paint_labels
from napari_sam.segment.prompts import Box, Point, Prompt, check_prompt


def run(
    image_path: Path,
    *,
    points: Sequence[Point],
    boxes: Sequence[Box],
    everything: bool,
    model_name: str,
    folder: Path,
) -> None:
    """Segment an image file and write labels, table and overlay.

    Everything that can be wrong is checked before the network is loaded and before anything is
    written.

    Parameters
    ----------
    image_path : Path
        Of the image.
    points, boxes : sequence of Point, of Box
        As `gather_prompts` takes them.
    everything : bool
        Find all objects instead.
    model_name : str
        Name of a known checkpoint, or path of a file of weights.
    folder : Path
        For the results.

    Raises
    ------
    InputError
        For an image, a prompt, a model or a folder that cannot be used.
    """
    prompts = gather_prompts(points, boxes, everything)
    image = to_rgb_uint8(read_image(image_path))
    for prompt in prompts:
        check_prompt(prompt, image.shape[:2])
    check_output_folder(folder)
    model = load(model_name)
    start = time.perf_counter()
    if everything:
        with progress_bar("clicks") as progress:
            candidates = segment_everything(model, image, progress)
    else:
        candidates = segment_prompts(model, image, prompts)
    seconds = time.perf_counter() - start
    labels, objects = paint_labels(candidates, image.shape[:2])
    overlay = draw_overlay(image, labels, prompts)
    paths = write_results(folder, image_path.stem, labels, objects, overlay)
    rows, cols = labels.shape
    print(
        f"{image_path.name} ({rows} rows, {cols} columns): {count(objects)} in {seconds:.1f} s "
        f"with {model_name}"
    )
    if objects:
        print(describe(objects))
    for path in paths:
        print(path)


def gather_prompts(points: Sequence[Point], boxes: Sequence[Box], everything: bool) -> list[Prompt]:
    """Make one prompt for each object that the command line asks for.

    Parameters
    ----------
    points : sequence of Point
        All of one object.
    boxes : sequence of Box
        One object each; a single box and the points belong together.
    everything : bool
        Whether no prompt is wanted.

    Returns
    -------
    list of Prompt
        Empty for everything.

    Raises
    ------
    InputError
        If nothing is asked for, or what is asked for is ambiguous.

    Examples
    --------
    >>> [prompt.kind for prompt in gather_prompts([Point(1, 2)], [Box(0, 0, 5, 5)], False)]
    ['box+points']
    """
    if everything:
        if points or boxes:
            raise InputError(
                "--everything finds the objects by itself: leave out --point and --box."
            )
        return []
    if not points and not boxes:
        raise InputError("Say what to segment: --point ROW,COL, --box R0,C0,R1,C1 or --everything.")
    if not boxes:
        return [Prompt(tuple(points))]
    if points and len(boxes) > 1:
        raise InputError(
            "Points refine one box, and here are several: segment the objects one by one, "
            "or leave out --point."
        )
    return [Prompt(tuple(points), box) for box in boxes]
