"""`napari-sam segment --prompts`: points, boxes and polygons of a map to masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam.commands.asked import Asked, segment_asked
from napari_sam.commands.views import View
from napari_sam.files.geo.prompts import place_prompts

if TYPE_CHECKING:
    from napari_sam.scene import Scene

_FIRST = View()


def run(
    image: str,
    file: str,
    *,
    crs: str | None,
    where: str | None,
    model_name: str,
    folder: Path,
    view: View = _FIRST,
    exports: Sequence[Path] = (),
) -> None:
    """Find the object of each prompt in a vector file.

    Parameters
    ----------
    image : str
        Path or URL.
    file : str
        As `place_prompts` takes it.
    crs : str or None
        The system of its coordinates, whatever it says.
    where, model_name, folder, view, exports
        As `segment_asked` takes them.

    Raises
    ------
    InputError
        For an image, prompts, a model or a folder that cannot be used.
    """

    def read(scene: Scene) -> Asked:
        placed = place_prompts(file, scene, crs)
        asked, notes = placed.prompts, list(placed.notes)
        if placed.outside:
            notes.append(
                f"{placed.outside} of {placed.total} points and boxes lie outside of the image and "
                f"are left out"
            )
        return Asked(
            "prompt",
            [one.prompt for one in asked],
            [one.id for one in asked],
            {"prompt_id": [one.id for one in asked], "class": [one.label for one in asked]},
            notes,
        )

    segment_asked(
        image, view, read, where=where, model_name=model_name, folder=folder, exports=exports
    )
