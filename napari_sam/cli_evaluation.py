"""The options of `napari-sam evaluate` and `napari-sam compare`."""

import argparse
from pathlib import Path
from typing import Any

from napari_sam.cli_options import add_device, add_precision

_EVALUATE = """\
Measure how well a model outlines objects that are known: mean IoU after 1, 2, 3, 5
and 8 simulated clicks and with boxes, clicks needed, and whether the model knows how
good its masks are. Beside every score stands what the best disc around the click and
the filled box reach, which need no model.
"""

_EVALUATE_EXAMPLES = """\
Label maps have the names of their images, with 0 for background and a number for each
object. Pictures of a kind (H&E-like, fluorescence-like) are also reported apart.

results, in FOLDER:
  evaluation.json   every figure, with 95 % intervals
  evaluation.html   the same to read, and the ten worst outlined objects as pictures

examples:
  napari-sam evaluate vit_nano --images val/images --labels val/labels
  napari-sam evaluate run/best.safetensors --images val/images --labels val/labels \\
      --automatic -o report
"""

_COMPARE = """\
Tell whether a model is better than the one it was made from: every figure of
`napari-sam evaluate` for both, on the same objects, with the interval of their
difference, and a verdict. "Better" is said only where the interval says so. What may
have been forgotten is measured on twelve pictures that come with the program.
"""

_COMPARE_EXAMPLES = """\
Neither model may have been trained on these pictures. Images and label maps are as
`napari-sam evaluate` takes them, and outlined completely. Of a dataset the hold-out is
taken, and what is found without prompts counts only where everything is outlined.

results, in FOLDER:
  before_after.json   every figure, with 95 % intervals, by class and by size
  before_after.html   the same to read, and the objects that changed most as pictures

examples:
  napari-sam compare vit_nano run/best.safetensors --images val/images \\
      --labels val/labels -o report
  napari-sam compare vit_nano run/best.safetensors --dataset cells -o report
"""


def add_evaluate(commands: Any) -> None:
    """Describe the command to the parser of `napari-sam`."""
    parser = commands.add_parser(
        "evaluate",
        usage="napari-sam evaluate MODEL --images FOLDER --labels FOLDER [-o FOLDER]",
        description=_EVALUATE,
        epilog=_EVALUATE_EXAMPLES,
    )
    parser.set_defaults(run=_run)
    parser.add_argument(
        "model", metavar="MODEL", help="a name from `napari-sam models`, or a file of weights"
    )
    what = parser.add_argument_group("on what")
    what.add_argument(
        "--images",
        metavar="PATH",
        type=Path,
        required=True,
        help="folder of images, COCO or SA-1B data, or a zarr volume",
    )
    what.add_argument(
        "--labels", metavar="PATH", type=Path, help="folder of label maps, COCO JSON, or zarr"
    )
    what.add_argument(
        "--objects",
        metavar="N",
        type=parse_count,
        default=12,
        help="objects prompted for in each image, at most (default: %(default)s)",
    )
    what.add_argument("--limit", metavar="N", type=parse_count, help="only the first N images")
    what.add_argument(
        "--groups",
        metavar="CSV",
        type=Path,
        help="a file with an image's name and its group in each line, for figures by group "
        "(default: groups are guessed from colours)",
    )
    how = parser.add_argument_group("how, and where to")
    how.add_argument(
        "--automatic",
        action="store_true",
        help="also find all objects without prompts and score them, which takes longer",
    )
    add_device(how)
    add_precision(how)
    how.add_argument(
        "-o",
        "--output",
        metavar="FOLDER",
        type=Path,
        help="folder for the report; created if absent, an earlier report is replaced",
    )


def _run(options: argparse.Namespace) -> None:
    from napari_sam.commands import evaluate

    evaluate.run(
        options.model,
        images=options.images,
        labels=options.labels,
        output=options.output,
        objects=options.objects,
        limit=options.limit,
        automatic=options.automatic,
        groups=options.groups,
        device=options.device,
        precision=options.precision,
    )


def add_compare(commands: Any) -> None:
    """Describe the command to the parser of `napari-sam`."""
    parser = commands.add_parser(
        "compare",
        usage="napari-sam compare BASE NEW --images FOLDER --labels FOLDER -o FOLDER",
        description=_COMPARE,
        epilog=_COMPARE_EXAMPLES,
    )
    parser.set_defaults(run=_run_compare)
    for name, said in (("base", "the model before"), ("new", "the model after")):
        parser.add_argument(
            name,
            metavar=name.upper(),
            help=f"{said}: a name from `napari-sam models`, or a file of weights",
        )
    what = parser.add_argument_group("on what")
    either = what.add_mutually_exclusive_group(required=True)
    either.add_argument(
        "--images",
        metavar="PATH",
        type=Path,
        help="folder of images, COCO or SA-1B data, or a zarr volume",
    )
    either.add_argument(
        "--dataset", metavar="FOLDER", type=Path, help="a dataset, of which the hold-out is taken"
    )
    what.add_argument(
        "--labels", metavar="PATH", type=Path, help="folder of label maps, COCO JSON, or zarr"
    )
    what.add_argument(
        "--objects",
        metavar="N",
        type=parse_count,
        default=24,
        help="objects prompted for in each image, at most (default: %(default)s)",
    )
    how = parser.add_argument_group("how, and where to")
    how.add_argument(
        "--no-automatic",
        dest="automatic",
        action="store_false",
        help="do not find all objects without prompts, which takes most of the time",
    )
    how.add_argument(
        "--no-forgetting",
        dest="forgetting",
        action="store_false",
        help="do not compare on the pictures that come with the program",
    )
    add_device(how)
    add_precision(how)
    how.add_argument(
        "-o",
        "--output",
        metavar="FOLDER",
        type=Path,
        required=True,
        help="folder for the report; created if absent, an earlier report is replaced",
    )


def _run_compare(options: argparse.Namespace) -> None:
    from napari_sam.commands import compare

    compare.run(
        options.base,
        options.new,
        images=options.images,
        labels=options.labels,
        dataset=options.dataset,
        output=options.output,
        objects=options.objects,
        automatic=options.automatic,
        forgetting=options.forgetting,
        device=options.device,
        precision=options.precision,
    )


def parse_count(text: str) -> int:
    """Read a whole number of at least 1.

    Parameters
    ----------
    text : str
        Its digits.

    Returns
    -------
    int

    Raises
    ------
    argparse.ArgumentTypeError
        If it is none.

    Examples
    --------
    >>> parse_count("12")
    12
    """
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return number
