"""The options of `napari-sam edges` and `proposals`, and those of `segment` for large images."""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam.cli_options import add_device, add_model

if TYPE_CHECKING:
    from napari_sam.commands.segment_scene import Sizes

_EDGES = """\
Find edges in an image of any size: the outlines of all that the model sees from a grid
of clicks, with how clear each is, from 0 to 1. It needs no training and no choice of
objects.
"""

_EDGES_EXAMPLES = """\
The result is float32 of the image's size: a tiled TIFF, or an OME-Zarr with coarser
levels. Without --store each tile is encoded, used and forgotten.

examples:
  napari-sam edges slide.tif -o edges.tif
  napari-sam edges slide.tif -o edges.zarr --store slide.embeddings --level 1
"""


_PROPOSALS = """\
Propose objects in an image of any size, the surest first. Unlike objects they may
overlap and contradict each other: each true object is to be among the first.
"""

_PROPOSALS_EXAMPLES = """\
The score is predicted IoU × stability. What a .csv holds `napari-sam segment --boxes`
takes. Embeddings and what was found are kept: the next call needs no network.

examples:
  napari-sam proposals slide.tif -o proposals.csv --most 1000
  napari-sam proposals slide.tif -o proposals.parquet --sizes 8um,60um
"""


def add_edges(commands: Any) -> None:
    """Describe the command to the parser of `napari-sam`."""
    parser = commands.add_parser(
        "edges",
        usage="napari-sam edges IMAGE -o EDGES.tif [--store STORE] [--level N] [--no-thin]",
        description=_EDGES,
        epilog=_EDGES_EXAMPLES,
    )
    parser.set_defaults(run=_run_edges)
    parser.add_argument(
        "image", metavar="IMAGE", help="an image file, or an OME-Zarr's folder or URL"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="EDGES",
        type=Path,
        required=True,
        help="ends in .tif, which is replaced, or in .zarr, which must be new",
    )
    parser.add_argument(
        "--store",
        metavar="STORE",
        help="embeddings made by `napari-sam encode`; those that are missing are added",
    )
    parser.add_argument(
        "--level",
        metavar="N",
        type=int,
        default=0,
        help="resolution to look at and to write: 0 is the finest, each next half as fine "
        "(default: 0)",
    )
    parser.add_argument(
        "--no-thin", dest="thin", action="store_false", help="leave lines as wide as they are"
    )
    add_model(parser)
    add_device(parser)


def add_proposals(commands: Any) -> None:
    """Describe the command to the parser of `napari-sam`."""
    parser = commands.add_parser(
        "proposals",
        usage="napari-sam proposals IMAGE -o PROPOSALS.csv [--most N] [--sizes MIN,MAX]",
        description=_PROPOSALS,
        epilog=_PROPOSALS_EXAMPLES,
    )
    parser.set_defaults(run=_run_proposals)
    parser.add_argument(
        "image", metavar="IMAGE", help="an image file, or an OME-Zarr's folder or URL"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="PROPOSALS",
        type=Path,
        required=True,
        help="ends in .csv (boxes) or .parquet (masks too); replaced if it is there",
    )
    parser.add_argument("--most", metavar="N", type=int, help="only so many, the surest")
    add_sizes(parser)
    add_model(parser)
    add_store(parser)
    add_scheduler(parser)


def add_places(group: Any) -> None:
    """Let places on a map be given."""
    group.add_argument(
        "--prompts",
        metavar="FILE",
        help="points, boxes and polygons on a map, one object each: GeoPackage, GeoJSON, "
        "shapefile, FlatGeobuf, GeoParquet, or CSV with x,y; in any coordinate system "
        "(FILE:LAYER for one of several layers)",
    )
    group.add_argument(
        "--prompts-crs",
        metavar="CRS",
        help="the coordinate system of --prompts, such as EPSG:4326, whatever the file says",
    )
    group.add_argument(
        "--aoi",
        metavar="FILE",
        help="polygons in such a file: of everything, only objects whose centre lies in them",
    )


def add_sizes(group: Any) -> None:
    """Let it be said how large the objects are."""
    group.add_argument(
        "--sizes",
        metavar="MIN,MAX",
        type=parse_sizes,
        help="of everything: only objects of these sizes, sides of squares of the same area, "
        "in pixels or with a unit (8um,60um); one of them may be left out (8,)",
    )


def add_store(group: Any) -> None:
    """Let it be said where the embeddings of a large image are."""
    group.add_argument(
        "--store",
        metavar="STORE",
        help="embeddings of the image, by `napari-sam encode` or an earlier call; made if absent "
        "(default: IMAGE.embeddings beside the results)",
    )


def add_scheduler(group: Any) -> None:
    """Let a cluster do the work."""
    group.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="for everything: of a dask scheduler, whose workers look at the tiles; all must "
        "reach image and store",
    )


def parse_sizes(text: str) -> "Sizes":
    """Read the sizes of objects.

    Parameters
    ----------
    text : str
        "MIN,MAX", each a number that a unit may follow; one may be empty.

    Returns
    -------
    Sizes

    Raises
    ------
    argparse.ArgumentTypeError
        If it is not.

    Examples
    --------
    >>> parse_sizes("8um,60um")
    Sizes(smallest=8.0, largest=60.0, unit='um')
    >>> parse_sizes("12,")
    Sizes(smallest=12.0, largest=None, unit='px')
    """
    from napari_sam.commands.segment_scene import Sizes

    found = re.fullmatch(r"([\d.]*)\s*([^\W\d]*)\s*,\s*([\d.]*)\s*([^\W\d]*)", text.strip())
    try:
        smallest, largest = (
            float(found[number]) if found and found[number] else None for number in (1, 3)
        )
    except ValueError:
        smallest = largest = None
    units = {found[number + 1] or "px" for number in (1, 3) if found is not None and found[number]}
    ordered = smallest is None or largest is None or smallest < largest
    if (smallest is None and largest is None) or len(units) != 1 or not ordered:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not MIN,MAX in one unit such as 8,60 or 8um,60um or 8,"
        )
    return Sizes(smallest, largest, units.pop())


def _run_edges(options: argparse.Namespace) -> None:
    from napari_sam.commands import edges

    edges.run(
        options.image,
        options.output,
        where=options.store,
        level=options.level,
        model_name=options.model,
        device=options.device,
        thinned=options.thin,
    )


def _run_proposals(options: argparse.Namespace) -> None:
    from napari_sam.commands import proposals
    from napari_sam.commands.segment_scene import Sizes

    proposals.run(
        options.image,
        options.output,
        most=options.most,
        sizes=Sizes() if options.sizes is None else options.sizes,
        where=options.store,
        scheduler=options.scheduler,
        model_name=options.model,
    )
