"""Several prompts on a picture that is looked at as a whole, and its results as plain files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.errors import InputError
from napari_sam.files.outputs import (
    output_paths,
    write_labels,
    write_png,
    write_table,
    written_together,
)
from napari_sam.overlay import draw_overlay
from napari_sam.segment.image import segment_prompts
from napari_sam.segment.objects import SegmentedObject, paint_labels
from napari_sam.segment.prompts import Prompt

if TYPE_CHECKING:
    from src_model import Sam

__all__ = ["NOTHING_SEEN", "segment_picture"]

NOTHING_SEEN = "no object, or all of it lies under others"


def segment_picture(
    pixels: np.ndarray,
    model: Sam,
    prompts: Sequence[Prompt],
    columns: Mapping[str, Sequence[str]],
    folder: Path,
    stem: str,
    provenance: Mapping[str, str],
) -> tuple[list[SegmentedObject], list[int], tuple[Path, Path, Path]]:
    """Find the object that each prompt means, and write labels, table and overlay.

    Parameters
    ----------
    pixels : ndarray
        uint8, shape (row, col, 3).
    model : Sam
        The network.
    prompts : sequence of Prompt
        One for each object.
    columns : mapping of str to sequence of str
        Further columns of the table, with a value for each prompt.
    folder : Path
        For the results; created if absent.
    stem : str
        What their names begin with.
    provenance : mapping of str to str
        What `napari_sam.provenance.provenance` gives.

    Returns
    -------
    objects : list of SegmentedObject
        As they are in the labels.
    hidden : list of int
        Prompts of whose objects nothing is seen.
    paths : (labels, table, overlay)

    Raises
    ------
    InputError
        If they cannot be written.
    """
    candidates = segment_prompts(model, pixels, prompts)
    # Objects of which nothing is visible get no number: the kind of prompt carries whose they are.
    numbered = [replace(found, prompt=str(i)) for i, found in enumerate(candidates)]
    labels, painted = paint_labels(numbered, pixels.shape[:2])
    own = [int(found.prompt) for found in painted]
    objects = [
        replace(found, prompt=prompts[i].kind) for i, found in zip(own, painted, strict=True)
    ]
    more = {name: [values[i] for i in own] for name, values in columns.items()}
    overlay = draw_overlay(pixels, labels, prompts)
    paths = output_paths(folder, stem)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with written_together(*paths) as (labels_path, table_path, overlay_path):
            write_labels(labels_path, labels, provenance)
            write_table(table_path, objects, more)
            write_png(overlay_path, overlay)
    except OSError as error:
        raise InputError(
            f"The results cannot be written to {folder}: {error.strerror or error}."
        ) from error
    return objects, sorted(set(range(len(prompts))) - set(own)), paths
