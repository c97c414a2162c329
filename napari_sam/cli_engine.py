"""The options of `napari-sam engine`."""

import argparse
from pathlib import Path
from typing import Any

from napari_sam.cli_options import DEFAULT_MODEL, add_device

_ENGINE = """\
Annotate images in rounds, each with a better model: the data engine. A project is a
folder; its images are annotated in napari, one person or several.

steps:
  init      begin a project with images and a base model, or add images
  propose   choose the regions that are worth annotating next
  fill      let the network go first: sure masks become objects, or pseudo-labels
  import    note what people made of the round, and what it took them
  train     teach the base model all that is annotated; compare both on a fixed hold-out
  status    the rounds as a table and a picture
  export    write all objects in SA-1B's layout or as COCO
  classes   propose classes for the objects of an image, learned from those that have one
"""

_EXAMPLES = """\
a round:
  napari-sam engine init crowns --images flights/*.tif --base vit_nano
  napari-sam engine propose crowns
  napari-sam engine fill crowns             # and now in napari: correct, add what is missing
  napari-sam engine import crowns --finished regions
  napari-sam engine train crowns
  napari-sam engine status crowns

docs/data_engine.md explains what happens.
"""


def add_engine(commands: Any) -> None:
    """Describe the command to the parser of `napari-sam`."""
    parser = commands.add_parser(
        "engine",
        usage="napari-sam engine STEP PROJECT ...",
        description=_ENGINE,
        epilog=_EXAMPLES,
    )
    steps = parser.add_subparsers(
        dest="step",
        metavar="STEP",
        required=True,
        prog="napari-sam engine",
        help=argparse.SUPPRESS,
    )
    for add in (_init, _propose, _fill, _import, _train, _status, _export, _classes):
        add(steps)


def _step(steps: Any, name: str, description: str, run: Any) -> Any:
    parser = steps.add_parser(name, description=description)
    parser.add_argument("project", metavar="PROJECT", type=Path, help="folder of the project")
    parser.set_defaults(run=run)
    return parser


def _add_model(parser: Any) -> None:
    parser.add_argument(
        "--model",
        metavar="M",
        help="default: that of the last round that made a better one, else the base",
    )


def _add_thresholds(parser: Any) -> None:
    for name, what in (("predicted-iou", "predicted IoU"), ("stability", "stability")):
        parser.add_argument(
            f"--{name}",
            metavar="X",
            type=float,
            help=f"least {what} of a sure mask, 0 to 1 (default: what suits the model)",
        )


def _init(steps: Any) -> None:
    parser = _step(steps, "init", "Begin a project, or add images to one.", _run_init)
    parser.add_argument(
        "--images",
        metavar="PATH",
        nargs="+",
        required=True,
        help="folders of images, image files, OME-Zarr folders, or URLs",
    )
    parser.add_argument(
        "--base",
        metavar="M",
        help="what every round is trained from: a name from `napari-sam models`, or a file "
        f"(default: {DEFAULT_MODEL}, or what the project has)",
    )


def _propose(steps: Any) -> None:
    parser = _step(
        steps, "propose", "Choose the regions that are worth annotating next.", _run_propose
    )
    parser.add_argument(
        "-n", "--number", metavar="N", type=int, default=8, help="how many (default: 8)"
    )
    parser.add_argument(
        "--size",
        metavar="PX",
        type=int,
        help="side of a region, at most (default: 512; never more than a tile)",
    )
    parser.add_argument(
        "--tiles",
        metavar="N",
        type=int,
        help="tiles that are looked at of a large image, other ones in each round (default: 64)",
    )
    _add_model(parser)


def _fill(steps: Any) -> None:
    parser = _step(
        steps,
        "fill",
        "Let sure masks become objects in the proposed regions, for people to complete; or keep "
        "them as pseudo-labels.",
        _run_fill,
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--everywhere", action="store_true", help="in whole images")
    what.add_argument(
        "--automatic",
        action="store_true",
        help="keep pseudo-labels of all images, with their scores; sessions are not changed",
    )
    _add_thresholds(parser)
    _add_model(parser)


def _import(steps: Any) -> None:
    parser = _step(
        steps,
        "import",
        "Note the objects of the sessions, who made them, and what each took.",
        _run_import,
    )
    parser.add_argument(
        "sessions",
        metavar="SESSION",
        nargs="*",
        type=Path,
        help="folders of sessions, or IMAGE.napari-sam (default: those beside the images)",
    )
    parser.add_argument(
        "--finished",
        choices=("none", "regions", "images"),
        default="none",
        help="where every object is outlined now: what is not outlined elsewhere is unknown, and "
        "no background to learn from (default: none)",
    )


def _train(steps: Any) -> None:
    parser = _step(
        steps,
        "train",
        "Teach the base model all that is annotated, and compare both on the hold-out. Stopped, "
        "it goes on when it is called again.",
        _run_train,
    )
    parser.add_argument(
        "--method", choices=("decoder", "lora", "full"), help="default: decoder, minutes on a CPU"
    )
    parser.add_argument("--steps", metavar="N", type=int, help="steps to make")
    add_device(parser)


def _status(steps: Any) -> None:
    parser = _step(steps, "status", "Show the rounds.", _run_status)
    parser.add_argument(
        "-o", "--output", metavar="PNG", type=Path, help="default: rounds.png in the project"
    )


def _export(steps: Any) -> None:
    parser = _step(steps, "export", "Write pictures with all objects in them.", _run_export)
    parser.add_argument(
        "-o", "--output", metavar="FOLDER", type=Path, required=True, help="new, or an earlier one"
    )
    parser.add_argument(
        "--format",
        choices=("sa1b", "coco"),
        default="sa1b",
        help="sa_N.jpg with sa_N.json; or images with annotations.json (default: sa1b)",
    )
    parser.add_argument(
        "--automatic",
        action="store_true",
        help="also what nobody looked at: objects that the network found, and pseudo-labels",
    )


def _classes(steps: Any) -> None:
    parser = _step(
        steps,
        "classes",
        "Propose classes for objects without one, learned from those that have one.",
        _run_classes,
    )
    parser.add_argument(
        "--image",
        metavar="KEY",
        help="only this image of the project (default: all that have classes)",
    )
    parser.add_argument(
        "--apply",
        metavar="X",
        type=float,
        nargs="?",
        const=0.0,
        help="give them to the objects, in one step that can be undone; with a number those of at "
        "least this confidence",
    )
    _add_model(parser)


def _run_init(options: argparse.Namespace) -> None:
    from napari_sam.commands import engine

    engine.init(options.project, options.images, options.base)


def _run_propose(options: argparse.Namespace) -> None:
    from napari_sam.commands import engine

    engine.propose(
        options.project, options.number, options.size, options.tiles, model=options.model
    )


def _run_fill(options: argparse.Namespace) -> None:
    from napari_sam.commands import engine

    engine.fill(
        options.project,
        everywhere=options.everywhere,
        automatic=options.automatic,
        predicted_iou=options.predicted_iou,
        stability=options.stability,
        model=options.model,
    )


def _run_import(options: argparse.Namespace) -> None:
    from napari_sam.commands import engine

    engine.import_sessions(options.project, options.sessions, options.finished)


def _run_train(options: argparse.Namespace) -> None:
    from napari_sam.commands import engine

    engine.train(options.project, options.method, options.steps, options.device)


def _run_status(options: argparse.Namespace) -> None:
    from napari_sam.commands import engine

    engine.status(options.project, options.output)


def _run_export(options: argparse.Namespace) -> None:
    from napari_sam.commands import engine

    engine.export(options.project, options.output, options.format, automatic=options.automatic)


def _run_classes(options: argparse.Namespace) -> None:
    from napari_sam.commands import engine

    engine.classes(options.project, options.image, options.apply, model=options.model)
