"""Objects, and the steps that make and change them: each holds what it changed, both ways."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from napari_sam.tiles.geometry import TileId
from napari_sam.tiles.regions import Region

from .prompts import Plane, Prompts
from .runs import NOTHING, Runs

__all__ = ["ObjectChange", "ObjectInfo", "PromptChange", "Provenance", "Step", "default_colour"]

_FOLLOWED = ("confidence", "stopped", "skipped")


@dataclass(frozen=True)
class Provenance:
    """Where an object comes from.

    Parameters
    ----------
    source : str
        "accepted", "corrected", "found" (everything), "imported", "drawn", "split", "merged" or
        "propagated": followed from another plane, and not looked at by anybody since.
    time : float
        Seconds since 1970.
    user : str
        Who.
    prompts : Prompts, optional
        That it was found with.
    model : str, optional
        Hash of the network that found it.
    predicted_iou, stability : float, optional
        As in `Candidate`.
    level : int, optional
        At which it was found.
    tiles : tuple of TileId
        Whose answers are in it.
    confidence : float, optional
        Of one that was propagated: how sure it is the same thing, 0 to 1.
    stopped : str, optional
        Of one that was propagated: why it was followed no further, in a sentence.
    skipped : str, optional
        Of one that was propagated: why it has the shape between those of its neighbours, likewise.
    """

    source: str
    time: float
    user: str = ""
    prompts: Prompts | None = None
    model: str | None = None
    predicted_iou: float | None = None
    stability: float | None = None
    level: int | None = None
    tiles: tuple[TileId, ...] = ()
    confidence: float | None = None
    stopped: str | None = None
    skipped: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what is saved of most; what is unknown is left out."""
        saved = {
            name: getattr(self, name)
            for name in ("source", "time", "user", "model", "predicted_iou", "stability", "level")
            if getattr(self, name) is not None
        }
        if self.prompts is not None:
            saved["prompts"] = self.prompts.to_json()
        if self.tiles:
            saved["tiles"] = [[tile.level, tile.row, tile.col] for tile in self.tiles]
        return saved

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Provenance:
        """Read what `to_json` gave."""
        given = dict(saved)
        if "prompts" in given:
            given["prompts"] = Prompts.from_json(given["prompts"])
        given["tiles"] = tuple(TileId(*tile) for tile in given.get("tiles", ()))
        return cls(**given)


@dataclass(frozen=True)
class ObjectInfo:
    """All that is known of an object but its pixels.

    Parameters
    ----------
    id : int
        Its value in the labels, 1 to 2**32 - 1.
    plane : (int, int)
        (t, z) of the plane it lies in.
    provenance : Provenance
        Where it comes from.
    class_name : str, optional
        What it is.
    colour : str
        ``#rrggbb``.
    track : int, optional
        Which thing it is a slice of: the objects of several planes that are one thing through
        depth or time share it. It is the id of the one that it began with.
    parent : int, optional
        The track that this one divided from.
    """

    id: int
    plane: Plane
    provenance: Provenance
    class_name: str | None = None
    colour: str = "#ffffff"
    track: int | None = None
    parent: int | None = None

    @property
    def is_fixed(self) -> bool:
        """Whether a person answers for it, so that no propagation replaces it."""
        return self.provenance.source != "propagated"

    def to_json(self) -> dict[str, Any]:
        """Return what is saved; what belongs to one plane only is saved as it ever was."""
        saved: dict[str, Any] = {
            "id": self.id,
            "plane": list(self.plane),
            "class": self.class_name,
            "colour": self.colour,
            "provenance": self.provenance.to_json(),
        }
        # Programs from before there were tracks read a session with this, and leave it out.
        saved |= {key: n for key in ("track", "parent") if (n := getattr(self, key)) is not None}
        origin = self.provenance
        followed = {
            key: getattr(origin, key) for key in _FOLLOWED if getattr(origin, key) is not None
        }
        return {**saved, "followed": followed} if followed else saved

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> ObjectInfo:
        """Read what `to_json` gave."""
        t, z = saved["plane"]
        return cls(
            saved["id"],
            (t, z),
            Provenance.from_json({**saved["provenance"], **saved.get("followed", {})}),
            saved["class"],
            saved["colour"],
            saved.get("track"),
            saved.get("parent"),
        )


def default_colour(number: int) -> str:
    """Return a colour for an id: those of neighbouring ids are far apart.

    Examples
    --------
    >>> default_colour(1), default_colour(2)
    ('#4175f2', '#a9f241')
    """
    red, green, blue = colorsys.hsv_to_rgb(number * 0.6180339887498949 % 1, 0.73, 0.95)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


@dataclass(frozen=True)
class ObjectChange:
    """What became of one object.

    Parameters
    ----------
    id : int
        Its id before, or after if there was none.
    info : (ObjectInfo or None, ObjectInfo or None), optional
        What was known before and after, None where it did not exist; left out if that stays.
    added, removed : Runs
        Pixels that it did not have before and those that it has no longer.
    plane : (int, int)
        Where.
    """

    id: int
    plane: Plane
    info: tuple[ObjectInfo | None, ObjectInfo | None] | None = None
    added: Runs = NOTHING
    removed: Runs = NOTHING

    @property
    def inverse(self) -> ObjectChange:
        """What takes it back."""
        if self.info is None:
            return replace(self, added=self.removed, removed=self.added)
        before, after = self.info
        return replace(
            self,
            id=self.id if after is None else after.id,
            info=(after, before),
            added=self.removed,
            removed=self.added,
        )

    def to_json(self) -> dict[str, Any]:
        """Return what is saved."""
        saved: dict[str, Any] = {"id": self.id, "plane": list(self.plane)}
        if self.info is not None:
            saved["info"] = [None if info is None else info.to_json() for info in self.info]
        for name, runs in (("added", self.added), ("removed", self.removed)):
            if runs:
                saved[name] = runs.to_json()
        return saved

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> ObjectChange:
        """Read what `to_json` gave."""
        info = None
        if "info" in saved:
            before, after = (
                None if info is None else ObjectInfo.from_json(info) for info in saved["info"]
            )
            info = (before, after)
        added, removed = (
            Runs.from_json(saved[name]) if name in saved else NOTHING
            for name in ("added", "removed")
        )
        t, z = saved["plane"]
        return cls(saved["id"], (t, z), info, added, removed)


@dataclass(frozen=True)
class PromptChange:
    """What became of the prompts of one object; None: there are none.

    Parameters
    ----------
    id : int
        The object's, which need not exist yet.
    before, after : Prompts, optional
        All of them.
    """

    id: int
    before: Prompts | None
    after: Prompts | None

    @property
    def inverse(self) -> PromptChange:
        """What takes it back."""
        return PromptChange(self.id, self.after, self.before)

    def to_json(self) -> dict[str, Any]:
        """Return what is saved."""
        both = (self.before, self.after)
        return {"id": self.id, "prompts": [None if one is None else one.to_json() for one in both]}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> PromptChange:
        """Read what `to_json` gave."""
        before, after = (
            None if one is None else Prompts.from_json(one) for one in saved["prompts"]
        )
        return cls(saved["id"], before, after)


@dataclass(frozen=True)
class Step:
    """What one undo takes back.

    Parameters
    ----------
    name : str
        The method of `Session` that was called.
    arguments : mapping
        With which, for a script; masks are not among them.
    objects : tuple of ObjectChange
        In the order in which they happened.
    prompts : tuple of PromptChange
        Likewise.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    objects: tuple[ObjectChange, ...] = ()
    prompts: tuple[PromptChange, ...] = ()

    @property
    def inverse(self) -> Step:
        """What takes it back."""
        return replace(
            self,
            objects=tuple(change.inverse for change in reversed(self.objects)),
            prompts=tuple(change.inverse for change in reversed(self.prompts)),
        )

    @property
    def ids(self) -> frozenset[int]:
        """All objects that it is about, by their ids before and after."""
        found = {change.id for change in self.objects}
        found |= {prompted.id for prompted in self.prompts}
        for change in self.objects:
            found |= {info.id for info in change.info or () if info is not None}
        return frozenset(found)

    @property
    def regions(self) -> dict[Plane, Region]:
        """Where pixels changed owner: a rectangle in each plane."""
        found: dict[Plane, Region] = {}
        for change in self.objects:
            for runs in (change.added, change.removed):
                if runs:
                    box, old = runs.box, found.get(change.plane, runs.box)
                    found[change.plane] = Region(
                        min(box.row0, old.row0),
                        min(box.col0, old.col0),
                        max(box.row1, old.row1),
                        max(box.col1, old.col1),
                    )
        return found

    def to_json(self) -> dict[str, Any]:
        """Return what is saved."""
        saved: dict[str, Any] = {"name": self.name, "arguments": dict(self.arguments)}
        for name in ("objects", "prompts"):
            if getattr(self, name):
                saved[name] = [change.to_json() for change in getattr(self, name)]
        return saved

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Step:
        """Read what `to_json` gave."""
        return cls(
            saved["name"],
            saved["arguments"],
            tuple(ObjectChange.from_json(change) for change in saved.get("objects", ())),
            tuple(PromptChange.from_json(change) for change in saved.get("prompts", ())),
        )
