"""`napari-sam convert`: objects from one format to another, on the grid of their image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari_sam.errors import InputError
from napari_sam.files.formats import Writer, check_options, find_writer, write_objects
from napari_sam.files.outputs import check_output_folder

if TYPE_CHECKING:
    from napari_sam.files.labelled import Labelled
    from napari_sam.scene import Scene

__all__ = ["check_export", "run", "write_all", "write_exports"]


def run(
    objects: str,
    image: str | None,
    outputs: Sequence[Path],
    *,
    to: str | None = None,
    table: Path | None = None,
    model: str | None = None,
    along: Literal["z", "y", "x"] = "z",
    part: str | None = None,
    options: Mapping[str, Any],
) -> None:
    """Read objects and write them again.

    Parameters
    ----------
    objects : str
        A label image, or a session's folder.
    image : str or None
        That they are of; a session knows its own.
    outputs : sequence of Path
        One file for each format.
    to : str or None
        The format, where the ending is not enough.
    table : Path or None
        What is known of the objects of a label image.
    model : str or None
        Which model found them, where nothing else tells.
    along, part
        As `napari_sam.scene.open_scene` takes them.
    options : mapping
        Of the writers; ``simplify``, if it is not None, as a length and its unit.

    Raises
    ------
    InputError
        If something cannot be read, or a format cannot hold the objects.
    """
    from napari_sam.files.reading_labels import read_labelled
    from napari_sam.scene import open_scene
    from napari_sam.sessions.opening import open_session, sessions_in

    check_options([check_export(path, to) for path in outputs], options)
    sessions = sessions_in(Path(objects)) if "://" not in objects else []
    if sessions:
        from napari_sam.sessions.volumes import labelled as of_session

        if len(sessions) > 1:
            raise InputError(
                f"{objects} holds several sessions ({', '.join(one.name for one in sessions)}): "
                f"give the folder of one of them."
            )
        with open_session(sessions[0]) as session:
            found = of_session(session)
            write_all(found, outputs, to, _in_pixels(options, found.scene))
        return
    if image is None:
        raise InputError(
            f"{objects} is a label image, and its image is not named: give it with --image, as it "
            f"says where the objects lie."
        )
    scene = open_scene(image, along=along, part=part)
    found = read_labelled(objects, scene, table, model)
    write_all(found, outputs, to, _in_pixels(options, scene))


def _in_pixels(options: Mapping[str, Any], scene: Scene) -> dict[str, Any]:
    """Turn the length that is among a command's options into pixels of the scene."""
    if options["simplify"] is None:
        return dict(options)
    from napari_sam.segment.everything.grid import sizes_in_pixels

    length, unit = options["simplify"]
    pixels, _ = sizes_in_pixels((length, None), unit, scene.pixel_size)
    return {**options, "simplify": pixels}


def check_export(path: Path, to: str | None = None) -> Writer:
    """Make sure, before any work is done, that a file can be written in a known format: which.

    Raises
    ------
    InputError
        If not.
    """
    check_output_folder(path.parent)
    return find_writer(path, to)


def write_exports(exports: Sequence[Path], scene: Scene, labels: Path, table: Path) -> None:
    """Write results once more, in other formats.

    Raises
    ------
    InputError
        If a format cannot hold them; the results themselves stay.
    """
    from napari_sam.files.reading_labels import read_labelled

    if exports:
        write_all(read_labelled(labels, scene, table), exports)


def write_all(
    labelled: Labelled,
    outputs: Sequence[Path],
    to: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Write objects to several files, whose folders are made, and say which.

    Parameters
    ----------
    labelled : Labelled
        The objects.
    outputs, to, options
        As `napari_sam.files.formats.write_objects` takes them, of each.

    Raises
    ------
    InputError
        As there.
    """
    for path in outputs:
        path.parent.mkdir(parents=True, exist_ok=True)
        print(f"{path} ({write_objects(path, labelled, to, options).says})")
