"""The options of `napari-sam edges`."""

import argparse
from pathlib import Path
from typing import Any

from napari_sam.cli_options import add_device, add_model

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
