"""The options of `napari-sam propagate`."""

import argparse
from pathlib import Path
from typing import Any

from napari_sam.cli_options import add_model, add_view
from napari_sam.cli_segment import add_prompts

_PROPAGATE = """\
Outline an object in one plane of a stack, and follow it through the others, or through the
frames of a film, until it is lost. A few planes that show nothing are looked across.
"""

_EXAMPLES = """\
Only planes and tiles that are visited are encoded. Planes and frames are counted from 0.

examples:
  an organ, by a box around it:  napari-sam propagate ct/ --z 40 --box 80,120,160,210 \\
                                     -o liver.nii.gz
  ... 20 planes each way:        napari-sam propagate ct/ --z 40 --box 80,120,160,210 \\
                                     --planes 20 -o liver.nii.gz
  ... seen from the front:       napari-sam propagate ct.nii.gz --along y --z 200 \\
                                     --point 30,190 -o vertebra.nii.gz
  two cells through time:        napari-sam propagate film.tif --through t --box 10,20,60,80 \\
                                     --box 90,15,130,70 -o cells.zarr
"""


def add_propagate(commands: Any) -> None:
    """Describe the command to the parser of `napari-sam`."""
    parser = commands.add_parser(
        "propagate",
        usage="napari-sam propagate IMAGE --z N (--point|--box) -o FILE",
        description=_PROPAGATE,
        epilog=_EXAMPLES,
    )
    parser.set_defaults(run=_run)
    parser.add_argument("image", metavar="IMAGE", help="a stack or a film: file, folder or URL")
    what = parser.add_argument_group("the object, and where it is outlined")
    add_prompts(what)
    what.add_argument("--z", metavar="N", type=int, help="in which plane")
    what.add_argument("--t", metavar="N", type=int, default=0, help="at which time (default: 0)")
    add_view(what)
    far = parser.add_argument_group("how far")
    far.add_argument(
        "--through",
        choices=("z", "t"),
        help="through depth or time (default: z, if there are several planes)",
    )
    far.add_argument(
        "--planes",
        metavar="N",
        type=int,
        help="at most so many each way (default: until it is lost)",
    )
    how = parser.add_argument_group("with what, and where to")
    add_model(how)
    how.add_argument(
        "--store",
        metavar="FOLDER",
        type=Path,
        help="keep the embeddings of the planes that were visited here, and use those there are",
    )
    how.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=Path,
        action="append",
        required=True,
        help="labels of all planes: .nii.gz, .tif, .zarr or another of `napari-sam convert "
        "--formats`; may be given several times",
    )


def _run(options: argparse.Namespace) -> None:
    from napari_sam.commands import propagate

    propagate.run(
        options.image,
        options.output,
        points=options.point,
        boxes=options.box,
        plane=(options.t, options.z),
        through=options.through,
        most=options.planes,
        along=options.along,
        part=options.part,
        model_name=options.model,
        where=options.store,
    )
