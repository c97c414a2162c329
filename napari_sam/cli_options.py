"""Options that several commands take."""

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_sam.commands.views import View

DEFAULT_MODEL = "vit_nano"


def add_model(group: Any) -> None:
    """Let a model be chosen that has a default."""
    group.add_argument(
        "--model",
        metavar="M",
        default=DEFAULT_MODEL,
        help="a name from `napari-sam models`, or a file of weights (default: %(default)s)",
    )


def add_device(group: Any) -> None:
    """Let the device be chosen."""
    group.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")


def add_precision(group: Any) -> None:
    """Let the precision be chosen."""
    group.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16", "openvino"),
        default="auto",
        help="default: auto, the fastest that this machine has",
    )


def add_view(group: Any) -> None:
    """Let it be said which image of a file, and from which side a volume is looked at."""
    group.add_argument(
        "--part", metavar="NAME", help="which image of a file or folder that holds several"
    )
    group.add_argument(
        "--along",
        choices=("z", "y", "x"),
        default="z",
        help="look along this axis of a volume (default: z)",
    )


def add_plane(group: Any) -> None:
    """Let a plane and a time be chosen."""
    group.add_argument("--z", metavar="N", type=int, default=0, help="plane (default: 0)")
    group.add_argument("--t", metavar="N", type=int, default=0, help="time (default: 0)")
    group.add_argument(
        "--window",
        metavar="NAME",
        help="of DICOM and NIfTI: what is black and white, such as lung or bone (default: the "
        "file's first window)",
    )


def view_of(options: argparse.Namespace) -> "View":
    """Return what `add_view` and `add_plane` were told."""
    from napari_sam.commands.views import View

    return View(options.part, options.along, options.t, options.z, options.window)
