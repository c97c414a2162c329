"""The options of `napari-sam train`."""

import argparse
from pathlib import Path
from typing import Any

from napari_sam.cli_options import add_device

_TRAIN = """\
Teach a model from images whose objects are outlined, or (mae, distill) from images
alone. Some of the pictures are held out, and progress is measured on them.
"""

_TRAIN_EXAMPLES = """\
methods:
  full      all weights
  decoder   prompt encoder and mask decoder, on embeddings computed once: minutes
  lora      small additions to the attention, also saved as an adapter of a few MB
  mae       pre-train the encoder on images without labels
  distill   bring the encoder to a teacher's embeddings, take over its decoder

results, in FOLDER:
  best.safetensors    the weights that were best on the pictures held out
  curves.png          how it went; metrics.jsonl and TensorBoard events say the same
  last.pt             the state to go on from after ctrl-C or a crash

examples:
  napari-sam train --images cells --labels outlines --method lora -o run
  napari-sam train config.yaml -o run
  napari-sam train --resume -o run
  torchrun --nproc-per-node 4 -m napari_sam.cli train config.yaml -o run

A config file holds the same names, and all other settings, one per line: steps: 500.
"""


def add_train(commands: Any) -> None:
    """Describe the command to the parser of `napari-sam`."""
    parser = commands.add_parser(
        "train",
        usage="napari-sam train [CONFIG.yaml] [--images ... --labels ...] -o FOLDER",
        description=_TRAIN,
        epilog=_TRAIN_EXAMPLES,
    )
    parser.set_defaults(run=_run)
    parser.add_argument("config", metavar="CONFIG.yaml", nargs="?", type=Path, help="settings")
    what = parser.add_argument_group("what to learn from")
    what.add_argument(
        "--images", metavar="PATH", help="folder of images, COCO or SA-1B data, or a zarr volume"
    )
    what.add_argument("--labels", metavar="PATH", help="folder of label maps, COCO JSON, or zarr")
    what.add_argument(
        "--validation-images", metavar="PATH", help="images to measure on, instead of held-out ones"
    )
    what.add_argument("--validation-labels", metavar="PATH", help="their truth")
    what.add_argument(
        "--watched-images", metavar="PATH", help="a hold-out, measured but never learned from"
    )
    what.add_argument("--watched-labels", metavar="PATH", help="its truth")
    how = parser.add_argument_group("how")
    how.add_argument("--base", metavar="M", help="model to start from (default: vit_nano)")
    how.add_argument("--method", metavar="NAME", help="see below (default: full)")
    how.add_argument("--teacher", metavar="M", help="model to imitate, for --method distill")
    how.add_argument("--steps", metavar="N", type=int, help="steps to make (default: 1000)")
    how.add_argument("--lr", metavar="X", type=float, help="peak learning rate (default: 2e-4)")
    how.add_argument(
        "--lora-rank", metavar="N", type=int, help="rank of the additions (default: 8)"
    )
    how.add_argument("--seed", metavar="N", type=int, help="of all randomness (default: 0)")
    add_device(how)
    run = parser.add_argument_group("the run")
    run.add_argument(
        "-o", "--output", metavar="FOLDER", type=Path, required=True, help="folder of the run"
    )
    run.add_argument("--resume", action="store_true", help="go on with the run in the folder")


_PATHS = (
    "images",
    "labels",
    "validation_images",
    "validation_labels",
    "watched_images",
    "watched_labels",
)

SETTINGS = (
    *_PATHS,
    "base",
    "method",
    "teacher",
    "steps",
    "lr",
    "lora_rank",
    "seed",
)


def given_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that were given as flags; paths start where the command was called."""
    given = {n: getattr(options, n) for n in SETTINGS if getattr(options, n) is not None}
    return {n: str(Path(v).absolute()) if n in _PATHS else v for n, v in given.items()}


def _run(options: argparse.Namespace) -> None:
    from napari_sam.commands import train

    train.run(
        options.config,
        given_settings(options),
        folder=options.output,
        resume=options.resume,
        device=options.device,
    )
