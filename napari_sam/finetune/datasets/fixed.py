"""A hold-out that stays: what one dataset holds out, none of those after it learns from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam.errors import InputError
from napari_sam.files.outputs import written_together
from napari_sam.tiles.regions import Region

from .blocks import HOLD_OUT, TRAIN, Blocks
from .reading import HEAD, Dataset

__all__ = ["blocks_to_json", "copy_hold_out", "fixed_blocks", "held_out_regions", "still_held_out"]


def blocks_to_json(blocks: Blocks) -> dict[str, Any]:
    """Return what a dataset remembers of the blocks of a source."""
    return {
        "rows": blocks.rows.tolist(),
        "cols": blocks.cols.tolist(),
        "gap": blocks.gap,
        "parts": blocks.parts.tolist(),
    }


def fixed_blocks(dataset: Dataset) -> dict[str, Blocks]:
    """Return which blocks of its sources a dataset holds out, by the sources' names.

    Blocks for choosing weights may be trained on another time.

    Raises
    ------
    InputError
        If the dataset does not say it.
    """
    found = {}
    for source in dataset.sources:
        try:
            saved = source["blocks"]
            blocks = Blocks(
                np.array(saved["rows"], np.int64),
                np.array(saved["cols"], np.int64),
                int(saved["gap"]),
                np.array(saved["parts"], np.int8),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{dataset.path / HEAD} does not say what of {source.get('name')} is held out "
                f"({error}): build the dataset again."
            ) from error
        parts = np.where(blocks.parts == HOLD_OUT, HOLD_OUT, TRAIN)
        found[str(source["name"])] = blocks.with_parts(parts)
    return found


def still_held_out(blocks: Blocks, extent: Region) -> Blocks:
    """Return blocks that reach as far as more objects do: the outer ones are larger.

    Examples
    --------
    >>> blocks = Blocks(np.array([4, 8]), np.array([0, 5, 9]), 2, np.array([[0, 2]], np.int8))
    >>> still_held_out(blocks, Region(0, 2, 6, 20)).extent
    Region(row0=0, col0=0, row1=8, col1=20)
    """
    rows, cols = blocks.rows.copy(), blocks.cols.copy()
    rows[0], cols[0] = min(rows[0], extent.row0), min(cols[0], extent.col0)
    rows[-1], cols[-1] = max(rows[-1], extent.row1), max(cols[-1], extent.col1)
    return Blocks(rows, cols, blocks.gap, blocks.parts)


def held_out_regions(dataset: Dataset) -> dict[str, list[Region]]:
    """Return where nothing is learned from, by the sources' names, in pixels of level 0."""
    return {
        name: [
            blocks.block(row, col) for row, col in np.argwhere(blocks.parts == HOLD_OUT).tolist()
        ]
        for name, blocks in fixed_blocks(dataset).items()
    }


def copy_hold_out(dataset: Dataset, folder: Path) -> Dataset:
    """Write a dataset that is nothing but the hold-out of another.

    Parameters
    ----------
    dataset : Dataset
        With a hold-out.
    folder : Path
        That does not exist.

    Raises
    ------
    InputError
        If it exists, or cannot be written.
    """
    try:
        folder.mkdir(parents=True)
        shutil.copytree(dataset.path / "hold-out", folder / "hold-out")
        head = json.loads((dataset.path / HEAD).read_bytes())
        crops: Sequence[Mapping[str, Any]] = head["crops"]
        head["crops"] = [crop for crop in crops if crop["part"] == "hold-out"]
        head["notes"] = []
        with written_together(folder / HEAD) as (temporary,):
            temporary.write_text(json.dumps(head, indent=1), encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"The hold-out cannot be written to {folder} ({error.strerror or error})."
        ) from error
    return Dataset.open(folder)
