"""The options of `napari-sam encode`, `info` and `verify`."""

import argparse
from typing import Any

from napari_sam.cli_options import (
    add_device,
    add_model,
    add_plane,
    add_precision,
    add_view,
    view_of,
)
from napari_sam.tiles.regions import Region

_ENCODE = """\
Prepare an image of any size: cut it into tiles at every resolution, encode each, and
keep the embeddings in a store, from which prompts are answered at once.
"""

_ENCODE_EXAMPLES = """\
It may be stopped, or killed, at any moment; --resume goes on where it was. Tiles that
show nothing are left out. A tile that cannot be read or encoded three times is listed
and left out too; --retry-failed tries it again.

examples:
  napari-sam encode slide.tif -o slide.embeddings --dry-run
  napari-sam encode slide.tif -o slide.embeddings
  napari-sam encode slide.tif -o slide.embeddings --resume
  napari-sam encode slide.tif -o s3://bucket/slide --model vit_b --levels 1,2,3
  napari-sam encode /disk/slide.tif -o /disk/store --scheduler tcp://node7:8786
"""

_INFO = """\
Tell what a store of embeddings was made from, and which tiles are in it.
"""

_VERIFY = """\
Read every embedding of a store. Damaged ones are never used: they count as missing
from then on, and --repair encodes them again.
"""


def add_encode(commands: Any) -> None:
    """Describe `encode` to the parser of `napari-sam`."""
    parser = commands.add_parser(
        "encode",
        usage="napari-sam encode IMAGE -o STORE [--model M] [--dry-run | --resume]",
        description=_ENCODE,
        epilog=_ENCODE_EXAMPLES,
    )
    parser.set_defaults(run=_run_encode)
    parser.add_argument(
        "image", metavar="IMAGE", help="an image file, or an OME-Zarr's folder or URL"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="STORE",
        required=True,
        help="folder or URL of the store; made if absent",
    )
    what = parser.add_argument_group("what to encode")
    what.add_argument(
        "--levels",
        metavar="N,N",
        type=parse_levels,
        help="resolutions: 0 is the finest, each next is half as fine (default: all)",
    )
    what.add_argument(
        "--roi",
        metavar="R0,C0,R1,C1",
        type=parse_region,
        help="two opposite corners, in pixels of level 0: only tiles with a part in it",
    )
    what.add_argument(
        "--aoi",
        metavar="FILE",
        help="polygons in a vector file, in any coordinate system: only tiles with a part in them",
    )
    what.add_argument(
        "--retry-failed", action="store_true", help="also try tiles again that failed before"
    )
    which = parser.add_argument_group("which plane of which image")
    add_view(which)
    add_plane(which)
    how = parser.add_argument_group("how")
    _add_model(how)
    how.add_argument(
        "--halo",
        metavar="N",
        type=parse_halo,
        help="pixels that a tile sees around what it answers for (default: an eighth of a tile)",
    )
    how.add_argument(
        "--dtype",
        choices=("float16", "bfloat16"),
        help="of the embeddings (default: float16, which is more exact)",
    )
    how.add_argument(
        "--dry-run", action="store_true", help="only tell how many tiles, how long, how large"
    )
    how.add_argument("--resume", action="store_true", help="go on with a store that is there")
    how.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="of a dask scheduler, whose workers encode; all must reach image and store",
    )


def add_info(commands: Any) -> None:
    """Describe `info` likewise."""
    parser = commands.add_parser("info", usage="napari-sam info STORE", description=_INFO)
    parser.set_defaults(run=_run_info)
    parser.add_argument("store", metavar="STORE", help="folder, .zip file or URL of a store")


def add_verify(commands: Any) -> None:
    """Describe `verify` likewise."""
    parser = commands.add_parser(
        "verify", usage="napari-sam verify STORE [--repair [IMAGE]]", description=_VERIFY
    )
    parser.set_defaults(run=_run_verify)
    parser.add_argument("store", metavar="STORE", help="folder, .zip file or URL of a store")
    how = parser.add_argument_group("repair")
    how.add_argument(
        "--repair",
        metavar="IMAGE",
        nargs="?",
        const="",
        help="encode damaged tiles again, from the image that the store names; give it if that "
        "has moved",
    )
    _add_model(how)


def _add_model(group: Any) -> None:
    add_model(group)
    add_device(group)
    add_precision(group)


def parse_levels(text: str) -> tuple[int, ...]:
    """Read levels.

    Parameters
    ----------
    text : str
        "N,N": whole numbers from 0.

    Returns
    -------
    tuple of int

    Raises
    ------
    argparse.ArgumentTypeError
        If it is something else.

    Examples
    --------
    >>> parse_levels("0,2")
    (0, 2)
    """
    levels = _whole_numbers(text)
    if not levels or min(levels) < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of levels such as 0,1")
    return tuple(levels)


def parse_region(text: str) -> Region:
    """Read a region.

    Parameters
    ----------
    text : str
        "R0,C0,R1,C1": two opposite corners in whole pixels, in any order; the ends are exclusive.

    Returns
    -------
    Region

    Raises
    ------
    argparse.ArgumentTypeError
        If it is something else.

    Examples
    --------
    >>> parse_region("300,40,10,200")
    Region(row0=10, col0=40, row1=300, col1=200)
    """
    numbers = _whole_numbers(text)
    if len(numbers) != 4:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not R0,C0,R1,C1 in whole pixels such as 0,0,4000,6000"
        )
    rows, cols = sorted(numbers[::2]), sorted(numbers[1::2])
    return Region(rows[0], cols[0], rows[1], cols[1])


def parse_halo(text: str) -> int:
    """Read a whole number from 0.

    Raises
    ------
    argparse.ArgumentTypeError
        If it is something else.
    """
    numbers = _whole_numbers(text)
    if len(numbers) != 1 or numbers[0] < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of pixels such as 128")
    return numbers[0]


def _whole_numbers(text: str) -> list[int]:
    """Read whole numbers with commas between them; none if anything else is there."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        return []


def _run_encode(options: argparse.Namespace) -> None:
    from napari_sam.commands import encode

    encode.run(
        options.image,
        options.output,
        model_name=options.model,
        levels=options.levels,
        roi=options.roi,
        aoi=options.aoi,
        halo=options.halo,
        dtype=options.dtype,
        dry_run=options.dry_run,
        resume=options.resume,
        retry_failed=options.retry_failed,
        device=options.device,
        precision=options.precision,
        scheduler=options.scheduler,
        view=view_of(options),
    )


def _run_info(options: argparse.Namespace) -> None:
    from napari_sam.commands import store_info

    store_info.info(options.store)


def _run_verify(options: argparse.Namespace) -> None:
    from napari_sam.commands import store_info

    store_info.verify(
        options.store,
        repair=options.repair,
        model_name=options.model,
        device=options.device,
        precision=options.precision,
    )
