"""`napari-sam models`: what there is, what it costs, what is here."""

from dataclasses import dataclass
from functools import cache
from textwrap import shorten

import torch

from napari_sam.own_models import OwnModel, own_models
from src_model import build_sam
from src_model.checkpoints import CheckpointStatus, cache_directory, list_checkpoints


@dataclass(frozen=True)
class ModelRow:
    """What a person wants to know of a model.

    Parameters
    ----------
    name : str
        By which it is chosen.
    size : str
        Of its file; with ~ where it is only estimated.
    whereabouts : str
        Whether it is bundled, on disk, in part or not.
    description, licence : str
        As in `src_model.checkpoints.Checkpoint`.
    here : bool
        Whether it can be used without downloading.
    own : OwnModel or None
        What else is known of a model of one's own; None for a published one.
    """

    name: str
    size: str
    whereabouts: str
    description: str
    licence: str
    here: bool
    own: OwnModel | None = None


def model_rows() -> list[ModelRow]:
    """Return all known models, those of one's own last; no file of weights is opened."""
    return [
        *(_row(status) for status in list_checkpoints()),
        *(_row_of_own(model) for model in own_models()),
    ]


def run() -> None:
    """Print a table of all known models."""
    known = model_rows()
    rows = [("NAME", "SIZE", "ON DISK", "WHAT IT IS", "LICENCE")]
    rows += [(row.name, row.size, row.whereabouts, row.description, row.licence) for row in known]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  ".join([*cells, row[-1]]))
    print()
    print(f"Models are downloaded on first use, to {cache_directory()}.")
    print("Any other file of weights is used with --model PATH.")
    if any(row.own for row in known):
        print("Your own: napari-sam models show|export|remove NAME.")


def readable_size(size: float) -> str:
    """Write a number of bytes as a person reads it.

    Examples
    --------
    >>> readable_size(375_042_383), readable_size(2.56e9)
    ('375 MB', '2.6 GB')
    """
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _row(status: CheckpointStatus) -> ModelRow:
    checkpoint = status.checkpoint
    size = status.bytes_on_disk or checkpoint.size
    return ModelRow(
        checkpoint.name,
        readable_size(size) if size else f"~{readable_size(_expected(checkpoint.variant))}",
        _whereabouts(checkpoint.url is None, status.bytes_on_disk, status.bytes_partial),
        checkpoint.description,
        checkpoint.licence,
        status.bytes_on_disk > 0,
    )


def _row_of_own(model: OwnModel) -> ModelRow:
    card = model.card
    # A verdict may be a whole sentence: 'napari-sam models show' has all of it.
    worth = f": {shorten(card.verdict, 40, placeholder=' ...')}" if card.verdict else ""
    taught = f" ({card.method})" if card.method else ""
    return ModelRow(
        model.name,
        readable_size(model.size) if model.size else "?",
        "yes" if model.size else "missing",
        f"your own, from {card.base}{taught}{worth}",
        card.licence or "as its base",
        model.size > 0,
        model,
    )


def _whereabouts(bundled: bool, on_disk: int, partial: int) -> str:
    if on_disk:
        return "bundled" if bundled else "yes"
    if partial:
        return f"{readable_size(partial)} of it"
    return "missing" if bundled else "no"


@cache
def _expected(variant: str) -> int:
    """Bytes of a variant's weights in float32, as the published files hold them."""
    with torch.device("meta"):
        return sum(4 * weights.numel() for weights in build_sam(variant).parameters())
