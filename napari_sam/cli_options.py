"""Options that several commands take."""

from typing import Any

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
