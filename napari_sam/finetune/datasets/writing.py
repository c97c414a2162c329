"""Build a dataset: crops on disk, and last of all the file that makes a dataset of them."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.errors import InputError
from napari_sam.files.outputs import (
    check_output_folder,
    write_labels,
    write_png,
    written_together,
)
from src_model.rle import coco_encode_rle, rle_from_window

from .crops import Planned
from .cutting import Cut, cut_objects
from .fixed import blocks_to_json, fixed_blocks
from .places import Place
from .planning import Surveyed, plan_dataset
from .reading import FORMAT_VERSION, HEAD, PARTS, Crop, Dataset, Part, part_paths
from .sources import Source

if TYPE_CHECKING:
    from src_model.training.pictures import ObjectMask

__all__ = ["BuildStopped", "build_dataset"]

_MARK = "unfinished"
"""Lies in the folder while it is written; what is beside it then is taken for a leftover."""

_LONGEST = 60
"""Characters of an image's name in the names of its crops."""


class BuildStopped(Exception):
    """Somebody stopped it; nothing of it is left."""


def build_dataset(
    sources: Sequence[Source],
    folder: Path,
    *,
    held_out: float = 0.25,
    seed: int = 0,
    hold_out_of: Dataset | None = None,
    on_progress: Callable[[int, int], object] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Dataset:
    """Cut crops around objects, keep a part of them away from training, and write all of it.

    With four groups or more (of patients, folders, scenes) whole ones are held out; else with four
    pictures or more whole pictures; else blocks of each scene, with a gap around them. The same
    objects give the same crops and the same version.

    Parameters
    ----------
    sources : sequence of Source
        What people outlined.
    folder : Path
        That does not exist, is empty, or holds what is left of a build that was cut off.
    held_out : float
        Share of the objects to be held out, above 0 and at most 0.5.
    seed : int
        Of the choice.
    hold_out_of : Dataset, optional
        An earlier dataset, whose hold-out this one gets too: nothing else is held out, and its
        pixels are not learned from. Sources that both have are those of the same name.
    on_progress : callable, optional
        Called with the number of crops done and of all.
    should_stop : callable, optional
        Asked before every picture.

    Raises
    ------
    InputError
        If there are no objects, nothing can be held out, something cannot be read, or the folder is
        taken or cannot be written. Nothing of the dataset is left then.
    BuildStopped
        If it was stopped; likewise.
    """
    folder, stop = Path(folder), should_stop or (lambda: False)
    if not 0 < held_out <= 0.5:
        raise InputError(f"The share to be held out must lie between 0 and 0.5, not {held_out}.")
    found, overlapping, empty = _survey(sources, stop)
    fixed = None if hold_out_of is None else fixed_blocks(hold_out_of)
    plan = plan_dataset(found, held_out, seed, fixed)
    with _writing(folder):
        writer = _Writer(folder, overlapping)
        places = [one.place for one in found]
        sources_told = [
            {**place.to_json(), "blocks": blocks_to_json(blocks)}
            for place, blocks in zip(places, plan.blocks, strict=True)
        ]
        if hold_out_of is not None:
            writer.copy_hold_out(hold_out_of, len(places))
            sources_told += hold_out_of.sources
        for index, crops in _by_place(plan.crops):
            writer.write_place(index, places[index], crops, stop)
            if on_progress is not None:
                on_progress(writer.seen, len(plan.crops))
        notes = [*plan.notes, *_empty_note(empty), *_known_note(places)]
        writer.finish(sources_told, notes)
    return Dataset.open(folder)


def _survey(
    sources: Sequence[Source], stop: Callable[[], bool]
) -> tuple[list[Surveyed], bool, int]:
    """Look where objects lie, whether any overlap, and how many places have none."""
    found, overlapping, empty = [], False, 0
    for place in [place for source in sources for place in source.places]:
        if stop():
            raise BuildStopped
        outlined = place.outlined()
        if not len(outlined):
            empty += 1
            continue
        found.append(Surveyed(place, outlined.boxes))
        overlapping = overlapping or outlined.overlapping
    if not found:
        raise InputError("There are no objects to learn from: outline some first.")
    return found, overlapping, empty


def _by_place(crops: Sequence[tuple[int, Planned]]) -> Iterator[tuple[int, list[Planned]]]:
    by_place: dict[int, list[Planned]] = {}
    for index, crop in crops:
        by_place.setdefault(index, []).append(crop)
    yield from by_place.items()


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Prepare the folder, and leave nothing behind if the block raises."""
    check_output_folder(folder)
    if (folder / HEAD).exists():
        raise InputError(f"{folder} holds a dataset already: choose another folder.")
    there = folder.exists()
    if there and any(folder.iterdir()) and not (folder / _MARK).exists():
        raise InputError(f"{folder} has other files in it: choose an empty folder.")
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / _MARK).touch()
            _clear(folder)
            yield
            (folder / _MARK).unlink()
        except BaseException:
            if not (folder / HEAD).exists():
                _clear(folder)
                (folder / _MARK).unlink(missing_ok=True)
                if not there:
                    folder.rmdir()
            raise
    except OSError as error:
        raise InputError(
            f"The dataset cannot be written to {folder} ({error.strerror or error}): make room or "
            f"choose another folder, and build it again."
        ) from error


def _clear(folder: Path) -> None:
    for part in PARTS:
        if (folder / part).exists():
            shutil.rmtree(folder / part)


class _Writer:
    """Crops as they are written, and what is to be remembered of them."""

    def __init__(self, folder: Path, coco: bool) -> None:
        self.folder, self.coco = folder, coco
        self.crops: list[Crop] = []
        self.seen = self.tiny = self.filled = 0
        self._digests: list[str] = []
        self._names: set[str] = set()
        self._entries: dict[Part, list[tuple[Crop, Cut]]] = {}

    def write_place(
        self, source: int, place: Place, crops: Sequence[Planned], stop: Callable[[], bool]
    ) -> None:
        """Write the crops of one place."""
        scene, outlined = place.open(), place.outlined()
        for planned in crops:
            if stop():
                raise BuildStopped
            self.seen += 1
            cut = cut_objects(outlined, planned, place.finished)
            self.tiny += cut.tiny
            if cut.is_filled:
                self.filled += 1
                continue
            if not cut.objects:
                continue
            region = planned.region
            image = scene.read_rgb(planned.level, region.rows, region.cols)
            crop = Crop(
                name=self._name(place, planned),
                part=PARTS[planned.part],
                source=source,
                plane=place.plane,
                level=planned.level,
                region=region,
                objects=len(cut.objects),
                ids=tuple(cut.objects),
                classes={n: name for n, name in outlined.classes.items() if n in cut.objects},
                whole=bool(cut.known.all()),
            )
            self._write(crop, image, cut)

    def copy_hold_out(self, other: Dataset, first_source: int) -> None:
        """Write the hold-out of another dataset, whose sources follow those of this one."""
        pictures = other.part("hold-out")
        for index in range(0 if pictures is None else len(pictures)):
            assert pictures is not None
            old = other.crop("hold-out", pictures.name(index))
            image, objects = pictures.read_image(index), pictures.read_objects(index)
            known = other.known("hold-out", old.name)
            cut = Cut(
                dict(zip(old.ids, objects.items, strict=True)),
                np.ones(objects.shape, bool) if known is None else known,
                0,
            )
            self._names.add(old.name.lower())
            self._write(replace(old, source=first_source + old.source), image, cut)

    def finish(self, sources: Sequence[dict[str, Any]], notes: Sequence[str]) -> None:
        """Write what makes a dataset of the crops."""
        parts = {crop.part for crop in self.crops}
        if "train" not in parts or "hold-out" not in parts:
            raise InputError(
                "The objects are too small, or fill the whole picture, so that nothing is left to "
                "train on or to hold out: outline others too."
            )
        for part, entries in self._entries.items():
            path = part_paths(self.folder, part, self.coco)[1]
            content = _coco(entries)
            with written_together(path) as (temporary,):
                temporary.write_text(json.dumps(content), encoding="utf-8")
        head = {
            "format_version": FORMAT_VERSION,
            "version": hashlib.sha256("".join(self._digests).encode()).hexdigest()[:16],
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "overlapping": self.coco,
            "sources": list(sources),
            "crops": [crop.to_json() for crop in self.crops],
            "notes": [*notes, *self._notes()],
        }
        with written_together(self.folder / HEAD) as (temporary,):
            temporary.write_text(json.dumps(head, indent=1), encoding="utf-8")

    def _write(self, crop: Crop, image: np.ndarray, cut: Cut) -> None:
        folder = self.folder / crop.part
        paths, contents = [folder / "images" / f"{crop.name}.png"], [image]
        if not crop.whole:
            paths.append(folder / "known" / f"{crop.name}.png")
            contents.append(np.where(cut.known, np.uint8(255), np.uint8(0)))
        if self.coco:
            self._entries.setdefault(crop.part, []).append((crop, cut))
        else:
            paths.append(folder / "labels" / f"{crop.name}.tif")
            contents.append(_label_map(cut))
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        with written_together(*paths) as temporary:
            for path, part, content in zip(paths, temporary, contents, strict=True):
                (write_labels if path.suffix == ".tif" else write_png)(part, content)
        self.crops.append(crop)
        self._digests.append(_digest(crop, image, cut))

    def _name(self, place: Place, planned: Planned) -> str:
        """Name a crop by its image, its plane, and where it lies."""
        stem = re.sub(r"[^\w-]+", "_", Path(place.name).stem).strip("_")[:_LONGEST] or "image"
        words = [stem]
        if place.plane is not None:
            words += [f"t{place.plane[0]}", f"z{place.plane[1]}"]
        region = planned.region
        if region.shape != place.shape:
            words += map(str, (planned.level, region.row0, region.col0))
        name, number = "-".join(words), 2
        while name.lower() in self._names:
            name = f"{'-'.join(words)}-{number}"
            number += 1
        self._names.add(name.lower())
        return name

    def _notes(self) -> Iterator[str]:
        if self.tiny:
            yield f"{self.tiny} objects have no more than one pixel, and are left out."
        if self.filled:
            yield (
                f"{self.filled} crops are filled by objects, one of which looks like a background; "
                f"they are left out: set the background to 0."
            )


def _label_map(cut: Cut) -> np.ndarray:
    labels = np.zeros(cut.known.shape, np.uint32)
    for number, item in cut.objects.items():
        labels[item.window][item.mask] = number
    return labels


def _digest(crop: Crop, image: np.ndarray, cut: Cut) -> str:
    """Hash all that is in a crop."""
    told = crop.to_json()
    del told["source"]
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for array in (image, cut.known, *(item.mask for item in cut.objects.values())):
        digest.update(np.ascontiguousarray(array).tobytes())
    places = [(item.top, item.left, *item.mask.shape) for item in cut.objects.values()]
    digest.update(json.dumps(places).encode())
    return digest.hexdigest()


def _coco(entries: Sequence[tuple[Crop, Cut]]) -> dict[str, Any]:
    """Return crops as COCO has them; ``object`` is the id in the source."""
    names = sorted({name for crop, _ in entries for name in crop.classes.values()})
    numbers = {name: number for number, name in enumerate(names, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (crop, cut) in enumerate(entries, start=1):
        height, width = cut.known.shape
        images.append(
            {"id": number, "file_name": f"{crop.name}.png", "height": height, "width": width}
        )
        for own, item in cut.objects.items():
            rle = _rle(item, (height, width))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "object": own,
                    "category_id": numbers.get(crop.classes.get(own, ""), 0),
                    "segmentation": rle,
                    "area": item.area,
                    "bbox": [item.left, item.top, item.mask.shape[1], item.mask.shape[0]],
                    "iscrowd": 0,
                }
            )
    categories = [{"id": 0, "name": "object"}, *({"id": i, "name": n} for n, i in numbers.items())]
    return {"images": images, "annotations": annotations, "categories": categories}


def _rle(item: ObjectMask, shape: tuple[int, int]) -> dict[str, Any]:
    columns = np.ascontiguousarray(item.mask.T)
    return dict(coco_encode_rle(rle_from_window(columns, (item.top, item.left), shape)))


def _empty_note(empty: int) -> Iterator[str]:
    if empty:
        yield f"{empty} pictures have no objects; they teach nothing and are left out."


def _known_note(places: Sequence[Place]) -> Iterator[str]:
    count = sum(place.finished is not None and not len(place.finished) for place in places)
    if count:
        yield (
            f"In {count} of {len(places)} images or planes no region is said to be finished: what "
            f"a model finds there by itself is not measured, only what it does with prompts."
        )
