"""A session as a Python script that repeats it without a window."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_sam.errors import InputError
from napari_sam.files.outputs import written_together
from napari_sam.tiles.subjects import SceneInfo

from .prompts import Plane, Prompts
from .records import Step
from .runs import NOTHING, Runs
from .script_text import script_text
from .subject import SessionModel

__all__ = ["write_script"]


@dataclass
class _Writer:
    """Lines of a script, and the masks that they need."""

    model: str | None
    plane: Plane
    lines: list[str] = field(default_factory=list)
    masks: dict[str, dict[str, Any]] = field(default_factory=dict)

    def call(self, method: str, *arguments: str, **named: object) -> None:
        """Add the call of a method; what is None is left out."""
        said = [*arguments, *(f"{k}={v!r}" for k, v in named.items() if v is not None)]
        line = f"    session.{method}({', '.join(said)})"
        if len(line) <= 100:
            self.lines.append(line)
            return
        self.lines.append(f"    session.{method}(")
        self.lines += [f"        {part}," for part in said]
        self.lines.append("    )")

    def keep(self, masks: Mapping[int, Runs]) -> str:
        """Keep masks, and return how the script names them."""
        name = str(len(self.masks) + 1)
        self.masks[name] = {str(number): runs.to_json() for number, runs in masks.items()}
        return f"masks[{name!r}]"

    def go_to(self, plane: Plane) -> None:
        """Change the plane, if it is another one."""
        if plane != self.plane:
            self.lines.append(f"    session.go_to(*plane({plane[0]}, {plane[1]}))")
            self.plane = plane


def write_script(
    path: Path,
    steps: Iterable[Step],
    planes: Mapping[Plane, SceneInfo],
    model: SessionModel | None,
    digest: str,
) -> None:
    """Write a script, and beside it the masks that were drawn or imported, if there are any.

    Parameters
    ----------
    path : Path
        Ends in .py; the masks go to the same name with .masks.json.
    steps : iterable of Step
        Those that are done.
    planes : mapping
        All planes, the first one first.
    model : SessionModel, optional
        The network that answers now; what others found is repeated by its mask.
    digest : str
        What `Session.digest` gives now.

    Raises
    ------
    InputError
        If the ending is another one, or it cannot be written.
    """
    if path.suffix != ".py":
        raise InputError(f"{path} does not end in .py: choose a name that does.")
    first = next(iter(planes))
    writer = _Writer(model.hash if model else None, first)
    for step in steps:
        _write_step(writer, step)
    text = script_text(path, writer.lines, planes, model, digest)
    saved = path.with_suffix(".masks.json")
    try:
        with written_together(path, saved) as (script, masks):
            script.write_text(text, encoding="utf-8")
            masks.write_text(json.dumps(writer.masks), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}).") from error


def _write_step(writer: _Writer, step: Step) -> None:
    if not step.objects:
        return
    given = dict(step.arguments)
    number = given.pop("id", None)
    if step.name == "accept" and given.pop("model", None) == writer.model:
        _write_accept(writer, step, number, given)
    elif step.name == "split" and given["way"] != "labels":
        writer.call("split", str(number), line=given.get("line"), new_ids=given["new_ids"])
    elif step.name == "merge":
        writer.call("merge", str(number), str(given["others"]))
    elif step.name == "delete":
        writer.call("delete", *map(str, given["ids"]))
    elif step.name == "relabel":
        writer.call("relabel", str(number), **given)
    elif step.name == "join_track":
        writer.call("join_track", str(number), str(given["others"]))
    elif step.name == "set_parent":
        writer.call("set_parent", str(given["track"]), str(given["parent"]))
    elif step.name == "forget_propagated":
        writer.call("delete", *map(str, given["ids"]))
    elif step.name == "propagate":
        _write_propagate(writer, step, number)
    elif step.name == "classify":
        writer.call("classify", str(dict(map(tuple, given["classes"]))))
    else:
        _write_pixels(writer, step)


def _write_accept(writer: _Writer, step: Step, number: int, given: dict[str, Any]) -> None:
    prompts = step.prompts[-1].before
    info = next(change.info[1] for change in step.objects if change.info and change.info[1])
    assert prompts is not None
    writer.go_to(prompts.plane)
    said = [str(number), *_said(writer, prompts)]
    writer.call("prompt", *said)
    writer.call("accept", str(number), **given)
    origin = info.provenance
    writer.lines[-1] += f"  # predicted IoU {origin.predicted_iou:.3f}, level {origin.level}"


def _said(writer: _Writer, prompts: Prompts) -> list[str]:
    said = []
    if prompts.points:
        said.append(f"points={[list(point[:2]) for point in prompts.points]}")
        if not all(point[2] for point in prompts.points):
            said.append(f"labels={[int(point[2]) for point in prompts.points]}")
    if prompts.box is not None:
        said.append(f"box={list(prompts.box)}")
    if prompts.scribbles:
        said.append(f"scribbles={list(prompts.scribbles)}")
    if isinstance(prompts.mask, Runs):
        said.append(f"mask={writer.keep({0: prompts.mask})}[0]")
    elif prompts.mask is not None:
        said.append(f"mask={prompts.mask!r}")
    return said


def _write_pixels(writer: _Writer, step: Step) -> None:
    """Repeat a step by the pixels that it changed: it was drawn, or comes from elsewhere.

    What other objects lost to them follows from `take_new`.
    """
    own = step.arguments.get("id", 0)
    made: dict[int, Runs] = {}
    classes: dict[int, str | None] = {}
    plane, added, removed = writer.plane, NOTHING, NOTHING
    for change in step.objects:
        number = change.id
        before, after = change.info or (None, None)
        if before is None and after is not None:
            made[number], classes[number], plane = change.added, after.class_name, change.plane
        elif number in made:
            made[number] = (made[number] | change.added) - change.removed
        elif number == own:
            added, removed = added | change.added, removed | change.removed
    if step.name not in ("paint", "erase"):
        writer.lines.append(f"    # {step.name}")
    if added:
        kept = f"{writer.keep({own: added})}[{own}]"
        writer.call("paint", str(own), kept, overlap="take_new")
    if removed:
        writer.call("erase", str(own), f"{writer.keep({own: removed})}[{own}]")
    for name in dict.fromkeys(classes.values()):
        some = {number: runs for number, runs in made.items() if runs and classes[number] == name}
        if some:
            writer.go_to(plane)
            writer.call("add_masks", writer.keep(some), class_name=name, overlap="take_new")


def _write_propagate(writer: _Writer, step: Step, number: int) -> None:
    """Repeat by their pixels what was found in other planes, and say that it is one thing."""
    writer.lines.append("    # propagate")
    made: dict[Plane, dict[int, Runs]] = {}
    for change in step.objects:
        before, after = change.info or (None, None)
        if after is None:
            writer.call("delete", str(change.id))
        elif before is None:
            made.setdefault(change.plane, {})[change.id] = change.added
            continue
        for method, runs in (("paint", change.added), ("erase", change.removed)):
            if runs and after is not None:
                kept = f"{writer.keep({change.id: runs})}[{change.id}]"
                writer.call(
                    method, str(change.id), kept, overlap="take_new" if method == "paint" else None
                )
    for plane, masks in made.items():
        writer.go_to(plane)
        writer.call("add_masks", writer.keep(masks), overlap="take_new")
    if made:
        ids = [made_id for masks in made.values() for made_id in masks]
        writer.call("join_track", str(number), str(ids))
