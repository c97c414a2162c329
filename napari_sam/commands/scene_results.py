"""What `napari-sam segment` leaves of an image of any size: labels, table, overview, failures."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam.commands.running import progress_bar
from napari_sam.errors import InputError
from napari_sam.provenance import provenance
from napari_sam.segment.everything import write_labels, write_overview, write_table
from napari_sam.tiles.geometry import TileGeometry
from napari_sam.tiles.store import Failure, ModelInfo
from napari_sam.tiles.store_errors import called

if TYPE_CHECKING:
    import pyarrow as pa

    from napari_sam.scene import Scene
    from napari_sam.segment.everything import FoundObjects
    from src_model import Sam

__all__ = ["found_with", "refuse_failures", "write_scene"]

_SHOWN = 20
"""Tiles that failed and are listed."""


def found_with(image: str, model_name: str, sam: Sam) -> dict[str, str]:
    """Say where objects come from that a model found in an image."""
    return provenance(image, model_name, ModelInfo.of(sam).hash)


def write_scene(
    folder: Path,
    stem: str,
    scene: Scene,
    objects: FoundObjects,
    geometry: TileGeometry,
    failed: Sequence[Failure] = (),
    more: pa.Table | None = None,
    told: Mapping[str, str] | None = None,
) -> tuple[Path, Path, Path]:
    """Write labels (OME-Zarr), table (parquet) and overview (PNG); earlier ones are replaced.

    Parameters
    ----------
    folder : Path
        Created if absent.
    stem : str
        What the names begin with.
    scene, objects, geometry
        As `write_overview` takes them.
    failed : sequence of Failure
        Tiles that are hatched.
    more : pyarrow.Table, optional
        Further columns of the table.
    told : mapping of str to str, optional
        Where they come from: see `found_with`; by default from the scene, and no model.

    Returns
    -------
    (labels, table, overview) : tuple of Path

    Raises
    ------
    InputError
        If they cannot be written.
    """
    endings = ("labels.zarr", "objects.parquet", "overlay.png")
    labels, table, overview = (folder / f"{stem}_{ending}" for ending in endings)
    told = told or provenance(scene.name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{labels.name}.", dir=folder) as beside:
            new = Path(beside) / labels.name
            with progress_bar("blocks") as show:
                write_labels(objects, new, scene.pixel_size, show, told)
            if labels.exists():
                shutil.rmtree(labels)
            new.rename(labels)
    except OSError as error:
        raise InputError(
            f"The results cannot be written to {folder}: {error.strerror or error}."
        ) from error
    write_table(objects, table, scene.pixel_size, more, told)
    write_overview(overview, scene, objects, geometry, [failure.tile for failure in failed])
    return labels, table, overview


def refuse_failures(failed: Sequence[Failure]) -> None:
    """List tiles that failed, if any, and end the command with a sentence.

    Raises
    ------
    InputError
        If there are any.
    """
    if not failed:
        return
    for failure in failed[:_SHOWN]:
        print(
            f"  {called(failure.tile)} failed {failure.times} times: {failure.reason}",
            file=sys.stderr,
        )
    tiles = f"{len(failed)} tile{'' if len(failed) == 1 else 's'}"
    raise InputError(
        f"{tiles} could not be looked at, first {called(failed[0].tile)} "
        f"({failed[0].reason.rstrip('.')}): their objects are missing and they are hatched in the "
        f"overlay; mend the image, and the same command does only these."
    )
