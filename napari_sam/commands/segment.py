"""`napari-sam segment`: an image, prompts or everything, three results."""

import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.commands.convert import check_export, write_exports
from napari_sam.commands.encode import placed_areas
from napari_sam.commands.running import count, describe, progress_bar
from napari_sam.commands.scene_results import found_with
from napari_sam.commands.views import View
from napari_sam.errors import InputError
from napari_sam.files.images import read_image, to_rgb_uint8
from napari_sam.files.outputs import check_output_folder, write_results
from napari_sam.loading import load
from napari_sam.overlay import draw_overlay
from napari_sam.scenes.formats import find_format
from napari_sam.segment.image import segment_everything, segment_prompts
from napari_sam.segment.objects import paint_labels
from napari_sam.segment.prompts import Box, Point, Prompt, check_prompt

if TYPE_CHECKING:
    from napari_sam.commands.segment_scene import Sizes
    from napari_sam.scene import Scene

_FIRST = View()

WHOLE = 1024
"""An image of at most so many rows and columns, the frame of the published models, is looked at as
a whole and its results are plain files; a larger one tile by tile."""


def run(
    image: str,
    *,
    points: Sequence[Point],
    boxes: Sequence[Box],
    everything: bool,
    sizes: "Sizes | None",
    aoi: str | None = None,
    where: str | None,
    scheduler: str | None,
    model_name: str,
    folder: Path,
    view: View = _FIRST,
    exports: Sequence[Path] = (),
) -> None:
    """Segment an image and write labels, table and overlay.

    All that can be wrong with what was asked for is told before the network is loaded and before
    anything is written.

    Parameters
    ----------
    image : str
        Path or URL.
    points, boxes : sequence of Point, of Box
        As `gather_prompts` takes them.
    everything : bool
        Find all objects instead.
    sizes : Sizes or None
        Of the objects, for everything; by default all.
    aoi : str or None
        A vector file of polygons, for everything: only objects whose centre lies in them.
    where : str or None
        Of the store of embeddings of a large image; by default beside the results.
    scheduler : str or None
        Address of a dask scheduler whose workers find everything.
    model_name : str
        Name of a known checkpoint, or path of a file of weights.
    folder : Path
        For the results.
    view : View
        Which plane of which image.
    exports : sequence of Path
        Files to write the objects to besides, in the formats that their endings tell.

    Raises
    ------
    InputError
        For an image, a prompt, a model or a folder that cannot be used; after writing, if tiles
        failed.
    """
    from napari_sam.commands import segment_scene

    prompts = gather_prompts(points, boxes, everything)
    if sizes is not None and not everything:
        raise InputError("--sizes says what --everything looks for: give both, or neither.")
    if aoi is not None and not everything:
        raise InputError("--aoi says where --everything looks: give both, or neither.")
    if scheduler is not None and not everything:
        raise InputError("--scheduler is for --everything: give both, or neither.")
    scene = open_image(image, view)
    for prompt in prompts:
        check_prompt(prompt, scene.shape)
    for path in exports:
        check_export(path)
    stem = segment_scene.stem_of(image) + view.mark
    if is_small(scene) and where is sizes is scheduler is aoi is None:
        paths = _segment_whole(read_whole(image, scene), prompts, image, stem, model_name, folder)
        write_exports(exports, scene, paths[0], paths[1])
        return
    segment_scene.run(
        image,
        scene,
        prompts,
        sizes=segment_scene.Sizes() if sizes is None else sizes,
        roi=None if aoi is None else placed_areas(aoi, scene),
        where=where,
        scheduler=scheduler,
        model_name=model_name,
        folder=folder,
        stem=stem,
        exports=exports,
    )


def open_image(image: str, view: View = _FIRST) -> "Scene":
    """Open an image, or say in its own words what a picture is to be like.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    try:
        return view.open(image)
    except InputError:
        if view == _FIRST and _may_be_picture(image):
            read_image(image)  # which says what a picture is to be like, without talk of axes
        raise


def is_small(scene: "Scene") -> bool:
    """Tell whether an image is looked at as a whole, if nothing asked for needs tiles."""
    return max(scene.shape) <= WHOLE


def _may_be_picture(image: str) -> bool:
    path = Path(image)
    return path.is_file() and path.suffix.lower() != ".npy" and find_format(path) is None


def read_whole(image: str, scene: "Scene") -> np.ndarray:
    """Return a small image as uint8 RGB: a picture as it is, anything else as tiles would be."""
    if _may_be_picture(image) and scene.times == scene.planes == 1:
        return to_rgb_uint8(read_image(image))
    return scene.read_rgb(0, slice(None), slice(None))


def _segment_whole(
    image: np.ndarray,
    prompts: Sequence[Prompt],
    name: str,
    stem: str,
    model_name: str,
    folder: Path,
) -> tuple[Path, Path, Path]:
    check_output_folder(folder)
    model = load(model_name)
    start = time.perf_counter()
    if not prompts:
        with progress_bar("clicks") as progress:
            candidates = segment_everything(model, image, progress)
    else:
        candidates = segment_prompts(model, image, prompts)
    seconds = time.perf_counter() - start
    place = PurePosixPath(name.rstrip("/").replace("\\", "/"))
    labels, objects = paint_labels(candidates, image.shape[:2])
    overlay = draw_overlay(image, labels, prompts)
    told = found_with(name, model_name, model)
    paths = write_results(folder, stem, labels, objects, overlay, told)
    rows, cols = labels.shape
    print(
        f"{place.name} ({rows} rows, {cols} columns): {count(objects)} in {seconds:.1f} s "
        f"with {model_name}"
    )
    if objects:
        print(describe(objects))
    for path in paths:
        print(path)
    return paths


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
        raise InputError(
            "Say what to segment: --point ROW,COL, --box R0,C0,R1,C1, --boxes FILE, "
            "--prompts FILE or --everything."
        )
    if not boxes:
        return [Prompt(tuple(points))]
    if points and len(boxes) > 1:
        raise InputError(
            "Points refine one box, and here are several: segment the objects one by one, "
            "or leave out --point."
        )
    return [Prompt(tuple(points), box) for box in boxes]
