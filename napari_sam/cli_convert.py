"""The options of `napari-sam convert`."""

import argparse
import re
from pathlib import Path
from typing import Any

from napari_sam.cli_options import add_view

_CONVERT = """\
Write objects in the format that a GIS, a PACS or a lab takes: from labels, or from
a session, on the grid of the image that they are of.
"""

_EXAMPLES = """\
The ending of the output tells the format; --formats lists all, and --to chooses where
an ending means several. Model, licence and date are written into every file.

examples:
  napari-sam convert out/map_labels.zarr --image map.tif -o fields.gpkg
  napari-sam convert out/map_labels.zarr --image map.tif -o roofs.gpkg --regularise
  napari-sam convert liver.nii.gz --image series/ -o liver.dcm -o liver.nii.gz
  napari-sam convert cells.tif.napari-sam -o cells.ome.zarr -o cells.json
  napari-sam convert out/s_labels.zarr --image s.svs --to qupath -o cells.geojson
"""


def add_convert(commands: Any) -> None:
    """Describe the command to the parser of `napari-sam`."""
    parser = commands.add_parser(
        "convert",
        usage="napari-sam convert OBJECTS [--image IMAGE] -o FILE [-o FILE] [--to FORMAT]",
        description=_CONVERT,
        epilog=_EXAMPLES,
    )
    parser.set_defaults(run=_run)
    parser.add_argument(
        "objects",
        metavar="OBJECTS",
        nargs="?",
        help="a label image (0 is none), or the folder of a session, IMAGE.napari-sam",
    )
    parser.add_argument("--formats", action="store_true", help="list the formats, and do no more")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="what to write; may be given several times",
    )
    parser.add_argument("--to", metavar="FORMAT", help="the format, if not as FILE ends")
    about = parser.add_argument_group("what a label image does not say")
    about.add_argument("--image", metavar="IMAGE", help="the image that it is of")
    add_view(about)
    about.add_argument(
        "--table",
        metavar="TABLE",
        type=Path,
        help="classes and scores: .parquet or .csv with a column id (default: the one that "
        "`napari-sam segment` wrote beside it)",
    )
    about.add_argument("--model", metavar="M", help="which model found the objects")
    shapes = parser.add_argument_group("shapes of polygons")
    add_shapes(shapes)
    segments = parser.add_argument_group("segments of DICOM SEG")
    segments.add_argument(
        "--by-class", action="store_true", help="a segment for each class, not for each object"
    )
    segments.add_argument(
        "--labelmap",
        action="store_true",
        help="as a label map, which newer programs read, and which holds far more segments",
    )


def add_shapes(group: Any) -> None:
    """Let it be said what becomes of outlines."""
    group.add_argument(
        "--simplify",
        metavar="LENGTH",
        type=parse_length,
        help="leave out vertices that move an outline by no more than this, in pixels or with a "
        "unit (0.5m); borders that two objects share stay shared",
    )
    group.add_argument(
        "--regularise", action="store_true", help="straighten outlines to right angles: buildings"
    )


def parse_length(text: str) -> tuple[float, str]:
    """Read a length.

    Raises
    ------
    argparse.ArgumentTypeError
        If it is none.

    Examples
    --------
    >>> parse_length("1.5"), parse_length("0.75 m")
    ((1.5, 'px'), (0.75, 'm'))
    """
    found = re.fullmatch(r"([\d.]+)\s*([^\W\d]*)", text.strip())
    try:
        number = float(found[1]) if found else 0.0
    except ValueError:
        number = 0.0
    if found is None or not number > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a length such as 1.5 (pixels) or 0.5m")
    return number, found[2] or "px"


def _run(options: argparse.Namespace) -> None:
    from napari_sam.commands import convert
    from napari_sam.errors import InputError
    from napari_sam.files.formats import WRITERS

    if options.formats:
        for writer in WRITERS:
            print(f"{writer.name:<10} {', '.join(writer.endings):<24} {writer.says}")
        return
    if options.objects is None or not options.output:
        raise InputError(
            "Objects and a file for them are needed: napari-sam convert OBJECTS -o FILE."
        )
    convert.run(
        options.objects,
        options.image,
        options.output,
        to=options.to,
        table=options.table,
        model=options.model,
        along=options.along,
        part=options.part,
        options={
            "simplify": options.simplify,
            "regularise": options.regularise,
            "by": "class" if options.by_class else None,
            "labelmap": options.labelmap,
        },
    )
