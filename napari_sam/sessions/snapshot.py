"""All that a session is at one moment, as the lines of a snapshot, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from napari_sam.tiles.subjects import SceneInfo

from .history import History, Location
from .prompts import Plane, Prompts
from .records import ObjectChange, ObjectInfo, PromptChange
from .runs import Runs
from .state import Placed, State
from .subject import SessionModel

__all__ = ["Restored", "restore", "snapshot_lines"]


@dataclass
class Restored:
    """What a snapshot says.

    Parameters
    ----------
    state : State
        Objects and prompts.
    planes : dict
        All planes that were worked on.
    model : SessionModel or None
        The network.
    locations : list of Location
        Where all steps are on disk.
    position : int
        How many of them are done.
    """

    state: State = field(default_factory=State)
    planes: dict[Plane, SceneInfo] = field(default_factory=dict)
    model: SessionModel | None = None
    locations: list[Location] = field(default_factory=list)
    position: int = 0


def snapshot_lines(
    state: State,
    history: History,
    planes: Mapping[Plane, SceneInfo],
    model: SessionModel | None,
) -> Iterator[dict[str, Any]]:
    """Return the lines of a snapshot of now; they may be taken later, in another thread."""
    first = {
        "highest": state.highest,
        "model": None if model is None else model.to_json(),
        "planes": [info.to_dict() for info in planes.values()],
        "position": history.position,
        "history": [[place.journal, place.offset] for place in history.locations],
    }
    return _lines(first, list(state.objects.values()), list(state.prompts.items()))


def restore(lines: Sequence[Mapping[str, Any]]) -> Restored:
    """Read the lines of a snapshot."""
    found = Restored()
    first, *others = lines
    for line in others:
        if "object" in line:
            info = ObjectInfo.from_json(line["object"])
            runs = Runs.from_json(line["mask"])
            found.state.change_object(ObjectChange(info.id, info.plane, (None, info), runs))
        else:
            prompts = Prompts.from_json(line["prompts"])
            found.state.change_prompts(PromptChange(line["id"], None, prompts))
    found.state.highest = first["highest"]
    for saved in first["planes"]:
        scene = SceneInfo.from_dict(saved)
        found.planes[scene.t, scene.z] = scene
    if first["model"] is not None:
        found.model = SessionModel.from_json(first["model"])
    found.locations = [Location(*place) for place in first["history"]]
    found.position = first["position"]
    return found


def _lines(
    first: dict[str, Any], objects: list[Placed], prompts: list[tuple[int, Prompts]]
) -> Iterator[dict[str, Any]]:
    yield first
    for placed in objects:
        yield {"object": placed.info.to_json(), "mask": placed.runs.to_json()}
    for number, given in prompts:
        yield {"prompts": given.to_json(), "id": number}
