"""The options of `napari-sam models`."""

import argparse
from pathlib import Path
from typing import Any

_MODELS = """\
List the models that --model knows by name, their sizes and licences, and what is
on this disk already; look after those of your own.
"""

_MODELS_EXAMPLES = """\
your own models:
  napari-sam models register run cells-1      give what a training run learned a name
  napari-sam models show cells-1              what it came from, and what it is worth
  napari-sam segment cells.png --model cells-1 --everything -o out
  napari-sam models export cells-1 -o cells-1.pth     for other SAM tools
  napari-sam models remove cells-1

They are kept in the user's data folder, or in that of NAPARI_SAM_DATA.
"""


def add_models(commands: Any) -> None:
    """Describe the command to the parser of `napari-sam`."""
    parser = commands.add_parser(
        "models",
        usage="napari-sam models [show|export|remove|register] ...",
        description=_MODELS,
        epilog=_MODELS_EXAMPLES,
    )
    parser.set_defaults(run=_list)
    actions = parser.add_subparsers(
        metavar="ACTION", prog="napari-sam models", help=argparse.SUPPRESS
    )
    show = actions.add_parser("show", description="Show the card of a model of your own.")
    export = actions.add_parser(
        "export",
        description="Write a model as plain SAM weights, which other tools load.",
    )
    remove = actions.add_parser("remove", description="Remove a model of your own for good.")
    for action, run in ((show, _show), (export, _export), (remove, _remove)):
        action.set_defaults(run=run)
        action.add_argument("name", metavar="NAME", help="of the model")
    export.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=Path,
        required=True,
        help="ends in .pth, as most tools want it, or in .safetensors",
    )
    register = actions.add_parser(
        "register",
        description="Give a model a name, by which it is offered wherever models are chosen.",
    )
    register.set_defaults(run=_register)
    register.add_argument(
        "what",
        metavar="RUN",
        type=Path,
        help="folder of a training run, or a file of weights, or an adapter",
    )
    register.add_argument("name", metavar="NAME", help="letters, digits, '.', '_' and '-'")
    register.add_argument(
        "--report", metavar="FOLDER", type=Path, help="report before/after, to be kept with it"
    )
    register.add_argument("--note", metavar="TEXT", default="", help="for its card")
    register.add_argument(
        "--replace", action="store_true", help="replace the model that has this name"
    )


def _list(options: argparse.Namespace) -> None:
    from napari_sam.commands import models

    models.run()


def _show(options: argparse.Namespace) -> None:
    from napari_sam.commands import own_models

    own_models.show(options.name)


def _export(options: argparse.Namespace) -> None:
    from napari_sam.commands import own_models

    own_models.export(options.name, options.output)


def _remove(options: argparse.Namespace) -> None:
    from napari_sam.commands import own_models

    own_models.remove(options.name)


def _register(options: argparse.Namespace) -> None:
    from napari_sam.commands import own_models

    own_models.register(
        options.what,
        options.name,
        report=options.report,
        note=options.note,
        replace=options.replace,
    )
