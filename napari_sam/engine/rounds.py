"""What became of a round, in files that are written when a part of it is done.

proposed.json     the regions worth annotating, and why
prefilled/        the objects that were filled in; pseudo-labels with their scores
imported.json     the objects that people made, with seconds and clicks
dataset/  run/    what was learned from, and the training
report/           before and after
figures.json      the round in numbers
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from napari_sam.tiles.regions import Region

from .saved import damaged, read_saved, write_saved

__all__ = ["Imported", "ImportedObject", "Kind", "Proposed", "ProposedRegion", "Round"]

Kind = Literal["person", "imported", "changed", "checked", "automatic"]
"""Who is behind an object: a person made it; it came from elsewhere as labels; the network found it
and a person changed it, or looked at it and left it as it is; nobody looked at it."""


@dataclass(frozen=True)
class ProposedRegion:
    """A rectangle that is worth annotating.

    Parameters
    ----------
    image : str
        Key of the image.
    region : Region
        Pixels of level 0.
    objects : int
        Candidates that the network found there.
    doubt : float or None
        The mean of theirs, 0 to 1; None without any.
    distance : float or None
        From what is annotated or was proposed before it; None for the first one.
    score : float
        By which it was chosen, 0 to 1.
    reason : str
        The same in words.
    """

    image: str
    region: Region
    objects: int
    doubt: float | None
    distance: float | None
    score: float
    reason: str


@dataclass(frozen=True)
class Proposed:
    """What a round proposes.

    Parameters
    ----------
    model : str
        Whose candidates and embeddings it comes from.
    looked_at : int
        Regions that were compared.
    regions : tuple of ProposedRegion
        The best first.
    """

    model: str
    looked_at: int
    regions: tuple[ProposedRegion, ...]


@dataclass(frozen=True)
class ImportedObject:
    """An object of a session at the time of an import.

    Parameters
    ----------
    id : int
        In the session.
    plane : (int, int)
        (t, z).
    class_name : str or None
        What it is.
    kind : Kind
        Who is behind it.
    user : str
        Who made or changed it last.
    time : float
        When, in seconds since 1970.
    clicks : int
        Prompts, strokes and other changes since the import before.
    seconds : float or None
        A person spent on it since then; None where that is not known.
    """

    id: int
    plane: tuple[int, int]
    class_name: str | None
    kind: Kind
    user: str
    time: float
    clicks: int
    seconds: float | None


@dataclass(frozen=True)
class Imported:
    """What a round imported.

    Parameters
    ----------
    time : float
        When, in seconds since 1970.
    sessions : mapping of str to str
        The session of each image, by its key: a path from the project.
    objects : mapping of str to tuple of ImportedObject
        All objects of each session.
    finished : mapping of str to tuple of Region
        Where everything was outlined, as the person said.
    """

    time: float
    sessions: Mapping[str, str]
    objects: Mapping[str, tuple[ImportedObject, ...]]
    finished: Mapping[str, tuple[Region, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Round:
    """A round and its folder.

    Parameters
    ----------
    number : int
        From 1.
    folder : Path
        Which need not exist.
    """

    number: int
    folder: Path

    @property
    def proposed(self) -> Proposed | None:
        """The regions worth annotating.

        Raises
        ------
        InputError
            If the file is damaged.
        """
        path = self.folder / "proposed.json"
        saved = read_saved(path)
        if saved is None:
            return None
        try:
            return Proposed(
                str(saved["model"]),
                int(saved["looked_at"]),
                tuple(
                    ProposedRegion(**{**one, "region": Region(*one["region"])})
                    for one in saved["regions"]
                ),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(path, error) from error

    def note_proposed(self, proposed: Proposed) -> None:
        """Write the regions; those of an earlier try are replaced."""
        regions = [{**asdict(one), "region": _corners(one.region)} for one in proposed.regions]
        content = {"model": proposed.model, "looked_at": proposed.looked_at, "regions": regions}
        write_saved(self.folder / "proposed.json", content)

    @property
    def imported(self) -> Imported | None:
        """What was imported.

        Raises
        ------
        InputError
            If the file is damaged.
        """
        path = self.folder / "imported.json"
        saved = read_saved(path)
        if saved is None:
            return None
        try:
            return Imported(
                float(saved["time"]),
                {str(key): str(where) for key, where in saved["sessions"].items()},
                {
                    str(key): tuple(map(_read_object, some))
                    for key, some in saved["objects"].items()
                },
                {
                    str(key): tuple(Region(*corners) for corners in regions)
                    for key, regions in saved["finished"].items()
                },
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise damaged(path, error) from error

    def note_imported(self, imported: Imported) -> None:
        """Write what was imported."""
        content = {
            "time": imported.time,
            "sessions": dict(imported.sessions),
            "objects": {
                key: [asdict(one) for one in some] for key, some in imported.objects.items()
            },
            "finished": {
                key: [_corners(region) for region in regions]
                for key, regions in imported.finished.items()
            },
        }
        write_saved(self.folder / "imported.json", content)

    @property
    def figures(self) -> dict[str, Any] | None:
        """The round in numbers, once it was trained."""
        return read_saved(self.folder / "figures.json")


def _corners(region: Region) -> list[int]:
    return [region.row0, region.col0, region.row1, region.col1]


def _read_object(saved: Mapping[str, Any]) -> ImportedObject:
    t, z = saved["plane"]
    return ImportedObject(**{**saved, "plane": (int(t), int(z))})
