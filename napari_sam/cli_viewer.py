"""The options of `napari-sam open` and `demo`, which open napari."""

import argparse
from pathlib import Path
from typing import Any

from napari_sam.cli_options import add_model

_OPEN = """\
Open an image in napari with the Segment widget, ready to click. Objects and embeddings
are kept beside the image, in IMAGE.napari-sam: opened again, it goes on where it was.
"""

_OPEN_EXAMPLES = """\
examples:
  napari-sam open cells.png
  napari-sam open slide.ome.tif --model vit_b
  napari-sam open slide.ome.tif.napari-sam    # a session, with its image
"""

_DEMO = """\
Open napari with a bundled microscopy picture, ready to click. Where there is no display
or no napari, and with -o or --headless, segment it with the bundled model and draw
pictures instead: one click, one box, everything; then everything, and an object where
tiles meet, in a mosaic of it that is looked at in tiles. Nothing is downloaded.
"""


def add_open(commands: Any) -> None:
    """Describe the command to the parser of `napari-sam`."""
    parser = commands.add_parser("open", description=_OPEN, epilog=_OPEN_EXAMPLES)
    parser.set_defaults(run=_run_open)
    parser.add_argument(
        "image",
        metavar="IMAGE",
        help="an image file, an OME-Zarr's folder or URL, a session, or a store of embeddings",
    )
    parser.add_argument(
        "--part", metavar="NAME", help="which image of a file or folder that holds several"
    )
    add_model(parser)


def add_demo(commands: Any) -> None:
    """Likewise."""
    parser = commands.add_parser("demo", description=_DEMO)
    parser.set_defaults(run=_run_demo)
    parser.add_argument(
        "-o",
        "--output",
        metavar="FOLDER",
        type=Path,
        help="folder for the pictures (default: napari-sam-demo)",
    )
    parser.add_argument(
        "--headless", action="store_true", help="draw pictures even where napari could be opened"
    )


def _run_open(options: argparse.Namespace) -> None:
    from napari_sam.commands import open as open_command

    open_command.run(options.image, options.model, options.part)


def _run_demo(options: argparse.Namespace) -> None:
    from napari_sam.commands import demo

    demo.run(options.output, options.headless)
