"""The options of `napari-sam segment` for volumes."""

import argparse
import re
from typing import TYPE_CHECKING, Any

from napari_sam.errors import InputError

if TYPE_CHECKING:
    from napari_sam.segment.volumes import Volumes

__all__ = ["add_volume", "parse_volumes", "refuse_without_volume", "run_volume"]


def add_volume(parser: Any) -> None:
    """Describe them to the parser of the command."""
    group = parser.add_argument_group("everything in a volume")
    group.add_argument(
        "--volume",
        action="store_true",
        help="with --everything: in all slices, which are joined to objects in 3-D; --sizes then "
        "are those of an object's largest slice",
    )
    group.add_argument(
        "--volumes",
        metavar="MIN,MAX",
        type=parse_volumes,
        help="only objects of these volumes, in voxels or with a unit (50mm3,5000mm3); one of them "
        "may be left out (50mm3,)",
    )
    group.add_argument(
        "--gap",
        metavar="N",
        type=int,
        help="slices in which an object may be missing (default: 2)",
    )
    group.add_argument(
        "--consensus",
        action="store_true",
        help="look along y and x too, and keep what two directions agree about; takes as much for "
        "each plane there",
    )


def parse_volumes(text: str) -> "Volumes":
    """Read the volumes of objects.

    Parameters
    ----------
    text : str
        "MIN,MAX", each a number that the cube of a unit may follow; one may be empty.

    Raises
    ------
    argparse.ArgumentTypeError
        If it is not.

    Examples
    --------
    >>> parse_volumes("50mm3,5000mm3")
    Volumes(smallest=50.0, largest=5000.0, unit='mm')
    >>> parse_volumes(",2000")
    Volumes(smallest=None, largest=2000.0, unit='voxel')
    """
    from napari_sam.segment.volumes import Volumes

    one = r"(?:(\d+(?:\.\d*)?|\.\d+)\s*(?:([^\W\d]+)[3³])?)?"
    found = re.fullmatch(rf"{one}\s*,\s*{one}", text.strip())
    numbers = [] if found is None else [found[1], found[3]]
    smallest, largest = (float(n) if n else None for n in numbers or (None, None))
    units = {found[place + 1] or "voxel" for place in (1, 3) if found is not None and found[place]}
    ordered = smallest is None or largest is None or smallest < largest
    if len(units) != 1 or not ordered:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not MIN,MAX in voxels or one unit such as 100,5000 or 50mm3,5000mm3 or "
            f"50mm3,"
        )
    return Volumes(smallest, largest, units.pop())


def run_volume(options: argparse.Namespace) -> None:
    """Run `napari-sam segment --volume`."""
    from napari_sam.commands import segment_volume
    from napari_sam.commands.segment_scene import Sizes

    if not options.everything:
        raise InputError("--volume finds everything in all slices: give --everything too.")
    for name in ("point", "box", "boxes", "prompts", "aoi", "scheduler", "z"):
        if getattr(options, name, None):
            raise InputError(f"--{name} does not go with --volume: leave one of them out.")
    if options.along != "z":
        raise InputError(
            "--volume looks at all slices along z: leave out --along, or add --consensus, which "
            "looks along y and x too."
        )
    segment_volume.run(
        options.image,
        sizes=Sizes() if options.sizes is None else options.sizes,
        volumes=options.volumes,
        gap=options.gap,
        consensus=options.consensus,
        t=options.t,
        part=options.part,
        where=options.store,
        model_name=options.model,
        folder=options.output,
        exports=options.export,
    )


def refuse_without_volume(options: argparse.Namespace) -> None:
    """Refuse options that mean nothing for a single plane.

    Raises
    ------
    InputError
        If there is one.
    """
    for name in ("volumes", "gap", "consensus"):
        if getattr(options, name):
            raise InputError(f"--{name} is for objects in 3-D: give --volume too, or leave it out.")
