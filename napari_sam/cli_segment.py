"""The options of `napari-sam segment`."""

import argparse
import math
from pathlib import Path
from typing import Any

from napari_sam.cli_options import add_model, add_plane, add_view, view_of
from napari_sam.cli_segment_volume import add_volume, refuse_without_volume, run_volume
from napari_sam.cli_segmenting import add_places, add_scheduler, add_sizes, add_store
from napari_sam.errors import InputError
from napari_sam.segment.prompts import Box, Point

__all__ = ["add_prompts", "add_segment", "parse_box", "parse_point"]

_SEGMENT = """\
Outline objects in an image of any size: PNG, JPEG, TIFF (BigTIFF, COG, OME), OME-Zarr,
.npy. Coordinates are rows and columns in pixels, counted from 0 at the upper left, as
napari shows them.
"""

_SEGMENT_EXAMPLES = """\
results, for IMAGE cells.png:
  cells_labels.tif    the number of the object at each pixel, 0 where there is none
                      (uint32); the smaller of two nested objects lies on top
  cells_objects.csv   area, bounding box (row1, col1 exclusive), centre, predicted IoU
                      and stability of each object, as it is in the label image
  cells_overlay.png   the objects drawn over the image
... and for an image of more than 1024 rows or columns, or with --store or --sizes:
  cells_labels.zarr   as OME-Zarr with coarser levels
  cells_objects.parquet   ... and the whole mask of each (run lengths)
  cells_overlay.png   the objects over the image, reduced; tiles that failed are hatched
  cells.embeddings    what was computed of the image: the next call is fast, and after
                      ctrl-C it goes on where it was (--store puts it elsewhere)

examples:
  one object, by a click:           napari-sam segment cells.png --point 120,85 -o out
  ... but not the one beside it:    napari-sam segment cells.png --point 120,85 \\
                                        --point 140,90,0 -o out
  two objects, a box around each:   napari-sam segment cells.png --box 10,20,60,80 \\
                                        --box 90,15,130,70 -o out
  a detector's boxes:               napari-sam segment map.tif --boxes trees.csv -o out
  places on a map:                  napari-sam segment map.tif --prompts p.gpkg -o out
  everything:                       napari-sam segment cells.png --everything -o out
  ... in a large image, 8 to 60 µm: napari-sam segment slide.ome.tif --everything \\
                                        --sizes 8um,60um -o out
  ... in 3-D:                       napari-sam segment stack.tif --everything --volume \\
                                        --volumes 50um3, -o out

With --boxes an image may have any size: larger than a tile (1024 pixels), or no plain
picture, it gets labels as OME-Zarr and a table as parquet.

8-bit images are taken as they are; others are stretched from the 1st to the 99th
percentile, all channels alike. A fourth channel is left out.
"""


def add_segment(commands: Any) -> None:
    """Describe the command to the parser of `napari-sam`."""
    parser = commands.add_parser(
        "segment",
        usage="napari-sam segment IMAGE (--point|--box|--boxes|--prompts|--everything) -o FOLDER",
        description=_SEGMENT,
        epilog=_SEGMENT_EXAMPLES,
    )
    parser.set_defaults(run=_run_segment)
    parser.add_argument(
        "image", metavar="IMAGE", help="an image file, or an OME-Zarr's folder or URL"
    )
    what = parser.add_argument_group("what to segment")
    add_prompts(what, "; points refine a single box")
    what.add_argument(
        "--boxes",
        metavar="FILE",
        type=Path,
        help="boxes that a detector found, one object each: .csv, .geojson, or COCO's .json; the "
        "image may have any size",
    )
    what.add_argument("--everything", action="store_true", help="find all objects")
    add_places(what)
    add_sizes(what)
    which = parser.add_argument_group("which plane of which image")
    add_view(which)
    add_plane(which)
    add_volume(parser)
    how = parser.add_argument_group("with what, and where to")
    add_model(how)
    add_store(how)
    add_scheduler(how)
    how.add_argument(
        "-o",
        "--output",
        metavar="FOLDER",
        type=Path,
        required=True,
        help="folder for the results; created if absent, earlier results are replaced",
    )
    how.add_argument(
        "--export",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="write the objects to this file too, in the format that its ending tells (see "
        "`napari-sam convert --formats`); may be given several times",
    )


def add_prompts(group: Any, more: str = "") -> None:
    """Let objects be pointed at; `more` is said of boxes."""
    group.add_argument(
        "--point",
        metavar="ROW,COL[,0]",
        type=parse_point,
        action="append",
        default=[],
        help="a point on the object, or with ,0 one beside it; all points describe one object",
    )
    group.add_argument(
        "--box",
        metavar="R0,C0,R1,C1",
        type=parse_box,
        action="append",
        default=[],
        help="two opposite corners of a box around an object; several boxes give several "
        f"objects{more}",
    )


def parse_point(text: str) -> Point:
    """Read a point.

    Parameters
    ----------
    text : str
        "ROW,COL" for foreground (or "ROW,COL,1"), "ROW,COL,0" for background.

    Returns
    -------
    Point

    Raises
    ------
    argparse.ArgumentTypeError
        If it is neither.

    Examples
    --------
    >>> parse_point("12,34.5,0")
    Point(row=12.0, col=34.5, foreground=False)
    """
    numbers = _numbers(text)
    if len(numbers) not in (2, 3) or (len(numbers) == 3 and numbers[2] not in (0, 1)):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not ROW,COL or ROW,COL,0 such as 120,85 or 120,85,0"
        )
    return Point(numbers[0], numbers[1], foreground=numbers[2:] != [0.0])


def parse_box(text: str) -> Box:
    """Read a box.

    Parameters
    ----------
    text : str
        "R0,C0,R1,C1": two opposite corners, in any order.

    Returns
    -------
    Box

    Raises
    ------
    argparse.ArgumentTypeError
        If it is not.

    Examples
    --------
    >>> parse_box("30,40,10,20")
    Box(row0=10.0, col0=20.0, row1=30.0, col1=40.0)
    """
    numbers = _numbers(text)
    if len(numbers) != 4:
        raise argparse.ArgumentTypeError(f"{text!r} is not R0,C0,R1,C1 such as 10,20,60,80")
    return Box(*numbers)


def _numbers(text: str) -> list[float]:
    """Read finite numbers with commas between them; none if anything else is there."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        return []
    return numbers if all(map(math.isfinite, numbers)) else []


def _run_segment(options: argparse.Namespace) -> None:
    from napari_sam.commands import boxes, segment

    if options.volume:
        run_volume(options)
        return
    refuse_without_volume(options)
    if options.prompts is not None:
        _run_prompts(options)
        return
    if options.prompts_crs is not None:
        raise InputError("--prompts-crs is about --prompts: give both, or neither.")
    if options.boxes is not None:
        if options.point or options.box or options.everything:
            raise InputError("--boxes says what to segment: leave out the other prompts.")
        _refuse_for_everything(options)
        boxes.run(
            options.image,
            options.boxes,
            where=options.store,
            model_name=options.model,
            folder=options.output,
            view=view_of(options),
            exports=options.export,
        )
        return
    segment.run(
        options.image,
        points=options.point,
        boxes=options.box,
        everything=options.everything,
        sizes=options.sizes,
        aoi=options.aoi,
        where=options.store,
        scheduler=options.scheduler,
        model_name=options.model,
        folder=options.output,
        view=view_of(options),
        exports=options.export,
    )


def _run_prompts(options: argparse.Namespace) -> None:
    from napari_sam.commands import places

    if options.point or options.box or options.boxes or options.everything:
        raise InputError("--prompts says what to segment: leave out the other prompts.")
    _refuse_for_everything(options)
    places.run(
        options.image,
        options.prompts,
        crs=options.prompts_crs,
        where=options.store,
        model_name=options.model,
        folder=options.output,
        view=view_of(options),
        exports=options.export,
    )


def _refuse_for_everything(options: argparse.Namespace) -> None:
    if options.sizes is not None or options.scheduler is not None or options.aoi is not None:
        raise InputError("--sizes, --aoi and --scheduler are for --everything: leave them out.")
