"""`napari-sam propagate`: an object outlined in one plane, followed through the others."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_sam.commands.convert import check_export, write_all
from napari_sam.commands.running import progress_bar, stopping
from napari_sam.commands.segment import gather_prompts
from napari_sam.errors import InputError
from napari_sam.loading import check_model, load
from napari_sam.scenes.lazy import Lazy
from napari_sam.segment.objects import Candidate
from napari_sam.segment.prompts import Box, Point, Prompt, check_prompt
from napari_sam.tiles.regions import Region

if TYPE_CHECKING:
    from napari_sam.scene import Scene
    from napari_sam.segment.propagation import Plane, PlaneSegmenters, Propagation

Found = Mapping["Plane", Sequence[tuple[int, Candidate]]]
"""In each plane the numbers of objects and their masks."""


def run(
    image: str,
    outputs: Sequence[Path],
    *,
    points: Sequence[Point],
    boxes: Sequence[Box],
    plane: tuple[int, int | None],
    through: Literal["z", "t"] | None,
    most: int | None,
    along: Literal["z", "y", "x"],
    part: str | None,
    model_name: str,
    where: Path | None,
) -> None:
    """Follow objects, and write the labels of all planes.

    Parameters
    ----------
    image : str
        Path or URL.
    outputs : sequence of Path
        One file for each format.
    points, boxes : sequence of Point, of Box
        As `gather_prompts` takes them.
    plane : (int, int or None)
        (t, z) in which they are; z may be left out where there is one plane.
    through : {"z", "t"} or None
        By default along the axis that there is.
    most : int or None
        Planes each way.
    along, part
        As `napari_sam.scene.open_scene` takes them.
    model_name : str
        As `loading.load` takes it.
    where : Path or None
        Folder of embeddings to keep.

    Raises
    ------
    InputError
        If something cannot be used, or nothing was found where an object was pointed at.
    """
    from napari_sam.files.labelled import Labelled
    from napari_sam.provenance import provenance
    from napari_sam.scene import open_scene
    from napari_sam.segment.propagation import PlaneSegmenters
    from napari_sam.tiles.subjects import ModelInfo

    prompts = gather_prompts(points, boxes, False)
    if most is not None and most < 1:
        raise InputError(f"--planes must be 1 or more, not {most}.")
    for path in outputs:
        check_export(path)
    scene = open_scene(image, t=plane[0], z=plane[1] or 0, along=along, part=part)
    axis = _axis(scene, through)
    if plane[1] is None and scene.planes > 1:
        raise InputError(
            f"{image} has {scene.planes} planes: say with --z in which one the object is outlined."
        )
    for prompt in prompts:
        check_prompt(prompt, scene.shape)
    planes = _planes(scene, axis, most)
    check_model(model_name, "auto", "auto")
    sam = load(model_name)
    # What is followed one after another visits the same planes.
    several = where is None and len(prompts) > 1
    with tempfile.TemporaryDirectory() if several else nullcontext() as folder:
        kept = Path(folder) if folder is not None else where
        segmenters = PlaneSegmenters(scene, sam, kept)
        found, rows = _follow_all(segmenters, scene, prompts, planes, axis)
    axes = "ZYX" if axis == "z" else "TYX"
    labels = painted(found, planes_along(scene, axis), scene.shape)
    said = provenance(image, model_name, ModelInfo.of(sam).hash)
    labelled = Labelled(scene, labels, axes, tuple(rows), said)
    write_all(labelled, outputs)


def painted(found: Found, planes: Sequence[Plane], shape: tuple[int, int]) -> Lazy:
    """Return masks as a label image that is painted where it is read: uint32, (plane, row, col).

    Where objects overlap the first one lies on top.
    """

    def window(parts: tuple[slice, ...]) -> np.ndarray:
        depth, rows, cols = parts
        region = Region(rows.start, cols.start, rows.stop, cols.stop)
        stack = np.zeros((depth.stop - depth.start, *region.shape), np.uint32)
        for picture, plane in zip(stack, planes[depth], strict=True):
            for number, mask in reversed(found.get(plane, ())):
                _paint(picture, region, number, mask)
        return stack

    return Lazy((len(planes), *shape), np.dtype(np.uint32), window)


def planes_along(scene: Scene, axis: Literal["z", "t"]) -> list[Plane]:
    """Return all planes through that of a scene."""
    if axis == "z":
        return [(scene.t, z) for z in range(scene.planes)]
    return [(t, scene.z) for t in range(scene.times)]


def _paint(picture: np.ndarray, region: Region, number: int, mask: Candidate) -> None:
    from napari_sam.segment.propagation.shapes import pasted

    picture[pasted(mask, region)] = number


def _follow_all(
    segmenters: PlaneSegmenters,
    scene: Scene,
    prompts: Sequence[Prompt],
    planes: Sequence[Plane],
    axis: Literal["z", "t"],
) -> tuple[Found, list[dict[str, Any]]]:
    """Follow one object after another; returns masks, and a row for each."""
    from napari_sam.segment.prompted import prompt_scene
    from napari_sam.segment.propagation import Settings, propagate

    settings = Settings.through_depth(scene) if axis == "z" else Settings.through_time()
    start = scene.t, scene.z
    found: dict[Plane, list[tuple[int, Candidate]]] = {}
    rows = []
    masks = prompt_scene(segmenters(start), prompts)
    with stopping() as should_stop, progress_bar("planes") as show:
        for number, mask in enumerate(masks, start=1):
            if not mask.mask.any():
                raise InputError(
                    f"Nothing was found where object {number} was pointed at: draw a box around it."
                )
            done = _counter(show, (number - 1) * len(planes), len(prompts) * len(planes))
            result = propagate(
                segmenters,
                start,
                mask,
                planes,
                settings=settings,
                on_slice=done,
                should_stop=should_stop,
            )
            for plane, one in {**result.masks(), start: mask}.items():
                found.setdefault(plane, []).append((number, one))
            rows.append(_row(number, mask, result, start, axis))
            _tell(rows[-1], result)
    return found, rows


def _counter(show: Callable[[int, int], None], before: int, total: int) -> Callable[[object], None]:
    done = before

    def one(_: object) -> None:
        nonlocal done
        done += 1
        show(min(done, total), total)

    return one


def _row(
    number: int, mask: Candidate, result: Propagation, start: Plane, axis: str
) -> dict[str, Any]:
    masks = {**result.masks(), start: mask}
    seen = [one for one in result.followed if not one.interpolated]
    places = [plane[1 if axis == "z" else 0] for plane in masks]
    asked = [mask, *(one.mask for one in seen)]
    row = {
        "id": number,
        "source": mask.prompt,
        "planes": len(masks),
        f"{axis}0": min(places),
        f"{axis}1": max(places),
        "volume_px": sum(one.area for one in masks.values()),
        "predicted_iou": float(np.mean([one.predicted_iou for one in asked])),
        "stability": float(np.mean([one.stability for one in asked])),
    }
    if result.followed:
        row["confidence"] = min(one.confidence for one in result.followed)
    return row


def _tell(row: Mapping[str, Any], result: Propagation) -> None:
    axis = "z" if "z0" in row else "t"
    sure = f", confidence from {row['confidence']:.2f}" if "confidence" in row else ""
    print(
        f"object {row['id']}: {row['planes']} plane{'s'[: row['planes'] != 1]}, "
        f"{axis} = {row[f'{axis}0']} to {row[f'{axis}1']}, {row['volume_px']} pixels{sure}"
    )
    for direction, reason in result.stops.items():
        print(f"  {direction}: {reason}")
    for _, reason in sorted(result.skipped.items()):
        print(f"  looked across {reason}")


def _axis(scene: Scene, through: Literal["z", "t"] | None) -> Literal["z", "t"]:
    there: list[Literal["z", "t"]] = []
    if scene.planes > 1:
        there.append("z")
    if scene.times > 1:
        there.append("t")
    if through is None and there:
        return there[0]
    if through is None or through not in there:
        what = "planes" if through != "t" else "times"
        raise InputError(
            f"{scene.name} has no several {what} through which an object could be followed: give a "
            f"stack or a film."
        )
    return through


def _planes(scene: Scene, axis: Literal["z", "t"], most: int | None) -> list[Plane]:
    every = planes_along(scene, axis)
    here = every.index((scene.t, scene.z))
    far = len(every) if most is None else most
    return every[max(0, here - far) : here + far + 1]
