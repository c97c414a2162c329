"""The command line: what may be asked for. What is done is in `napari_sam.commands`.

Nothing heavy is imported before a command runs, so that help appears at once.
"""

import argparse
import logging
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from napari_sam import __version__
from napari_sam.allocator import keep_freed_memory
from napari_sam.cli_convert import add_convert
from napari_sam.cli_dataset import add_dataset
from napari_sam.cli_engine import add_engine
from napari_sam.cli_evaluation import add_compare, add_evaluate
from napari_sam.cli_models import add_models
from napari_sam.cli_segment import add_segment
from napari_sam.cli_segmenting import add_edges, add_proposals
from napari_sam.cli_tiles import add_encode, add_info, add_verify
from napari_sam.cli_training import add_train
from napari_sam.cli_viewer import add_demo, add_open
from napari_sam.cli_volumes import add_propagate
from napari_sam.errors import InputError

_OVERVIEW = """\
Find objects in images with Segment Anything: point at one, draw a box around it,
or let it find everything.

commands:
  open      open an image in napari, ready to click
  segment   outline objects in an image
  propagate follow an object through the planes of a stack, or the frames of a film
  convert   write objects as your GIS, PACS or lab takes them
  edges     find edges in an image of any size
  proposals propose objects, the surest first
  dataset   make training data of what you outlined, with a part kept away to measure on
  train     teach a model from images whose objects are outlined
  evaluate  measure a model on images whose objects are known
  compare   tell whether a model is better than the one it was made from
  engine    annotate images in rounds, each with a better model
  encode    prepare a large image, tile by tile, so that prompts are answered at once
  info      tell what has been prepared;  verify: read all of it, mend what is damaged
  demo      see it work on a bundled picture, in napari or without
  models    list the models: sizes, licences, what is on disk; look after your own
"""

_OVERVIEW_EXAMPLES = """\
examples:
  napari-sam demo
  napari-sam open cells.png
  napari-sam segment cells.png --point 120,85 -o results
  napari-sam segment cells.png --everything -o results

napari-sam COMMAND --help explains a command.
"""


class _Parser(argparse.ArgumentParser):
    """A parser that keeps line breaks and raises `InputError`, and so speaks in one sentence."""

    def __init__(self, **settings: Any) -> None:
        defaults: dict[str, Any] = {
            "formatter_class": argparse.RawDescriptionHelpFormatter,
            "allow_abbrev": False,
        }
        super().__init__(**defaults | settings)

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see {self.prog} --help).")


def build_parser() -> argparse.ArgumentParser:
    """Describe the commands and their options."""
    parser = _Parser(
        prog="napari-sam",
        usage="napari-sam COMMAND ...",
        description=_OVERVIEW,
        epilog=_OVERVIEW_EXAMPLES,
        add_help=False,
    )
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", prog="napari-sam", help=argparse.SUPPRESS
    )
    options = parser.add_argument_group("options")
    options.add_argument("-h", "--help", action="help", help="show this")
    options.add_argument(
        "--version",
        action="version",
        version=f"napari-sam {__version__}",
        help="show the version",
    )
    add_segment(commands)
    add_propagate(commands)
    add_convert(commands)
    add_edges(commands)
    add_proposals(commands)
    add_demo(commands)
    add_open(commands)
    add_dataset(commands)
    add_train(commands)
    add_evaluate(commands)
    add_engine(commands)
    add_compare(commands)
    for add in (add_encode, add_info, add_verify):
        add(commands)
    add_models(commands)
    return parser


def _attach_negative(arguments: Sequence[str]) -> list[str]:
    """Join "--point -3,5" to "--point=-3,5", which argparse would take for two options."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] in ("--point", "--box", "--roi") and re.match(r"-[\d.]", argument):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        As on the command line, without the program's name; by default those of this process.

    Returns
    -------
    int
        0 if all went well, 2 for bad input (told on stderr, in one sentence or, for pictures, as a
        list), 130 if interrupted, 141 if nobody reads the output any more.
        A bug shows its traceback.
    """
    parser = build_parser()
    try:
        options = parser.parse_args(
            _attach_negative(sys.argv[1:] if arguments is None else arguments)
        )
        if options.command is None:
            parser.print_help()
            return 2
        # tifffile logs what it also raises; with a handler, logging does not print it.
        logging.getLogger("tifffile").addHandler(logging.NullHandler())
        options.run(options)
        sys.stdout.flush()  # here, where it can be told that nobody reads
    except InputError as error:
        print(f"napari-sam: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Who read the output has had enough, as `head` does. What is still to be flushed at the end
        # of the process must not raise again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt as stop:  # some say how to go on
        print(f"\nnapari-sam: {str(stop) or 'stopped.'}", file=sys.stderr)
        return 130
    except SystemExit as done:  # how argparse ends after --help and --version
        return int(done.code or 0)
    return 0


def run() -> NoReturn:
    """Run the command of this process's command line, and end the process."""
    keep_freed_memory()
    sys.exit(main())


if __name__ == "__main__":
    run()
