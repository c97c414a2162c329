"""The options of `napari-sam dataset`."""

import argparse
from pathlib import Path
from typing import Any

from napari_sam.cli_options import DEFAULT_MODEL

_DATASET = """\
Make training data of what you outlined: crops around the objects, of which a part is
kept away from training, to tell afterwards whether the model is better.
"""

_DATASET_EXAMPLES = """\
sources, one or several:
  IMAGE.napari-sam    a session: what you accepted, corrected or drew, in all planes
  FOLDER              images and labels, COCO, or SA-1B's layout
  --images, --labels  an image of any size with its label image, or folders of them

results, in FOLDER:
  dataset.json        the version, where each crop is from, notes
  train               images, labels, and known: where all objects are outlined
  validation          to choose the best weights; only where there is enough
  hold-out            elsewhere in the images: never trained on

examples:
  napari-sam dataset slide.tif.napari-sam -o data
  napari-sam dataset --images cells --labels outlines --groups "(patient\\d+)" -o data
"""


def add_dataset(commands: Any) -> None:
    """Describe the command to the parser of `napari-sam`."""
    parser = commands.add_parser(
        "dataset",
        usage="napari-sam dataset [SOURCE ...] [--images ... --labels ...] -o FOLDER",
        description=_DATASET,
        epilog=_DATASET_EXAMPLES,
    )
    parser.set_defaults(run=_run)
    what = parser.add_argument_group("what was outlined")
    what.add_argument("sources", metavar="SOURCE", nargs="*", type=Path, help="see below")
    what.add_argument("--images", metavar="PATH", type=Path, help="an image, or a folder of them")
    what.add_argument("--labels", metavar="PATH", type=Path, help="their labels")
    how = parser.add_argument_group("how")
    how.add_argument(
        "--groups",
        metavar="REGEX",
        help="pictures in whose names it matches the same text are of one patient or site, which "
        "is held out as a whole",
    )
    how.add_argument(
        "--held-out",
        metavar="SHARE",
        type=float,
        default=0.25,
        help="of the objects (default: %(default)s)",
    )
    how.add_argument(
        "--seed", metavar="N", type=int, default=0, help="of what is held out (default: 0)"
    )
    how.add_argument(
        "--base",
        metavar="M",
        default=DEFAULT_MODEL,
        help="model to compare intensities with (default: %(default)s)",
    )
    how.add_argument("-o", "--output", metavar="FOLDER", type=Path, required=True, help="a new one")


def _run(options: argparse.Namespace) -> None:
    from napari_sam.commands import dataset

    dataset.run(
        options.sources,
        images=options.images,
        labels=options.labels,
        groups=options.groups,
        held_out=options.held_out,
        seed=options.seed,
        base=options.base,
        folder=options.output,
    )
