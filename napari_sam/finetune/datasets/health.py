"""What a dataset is like, and what in it may be a slip of the hand; looked at before training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from .appearance import Look, compare_looks, look_of, mean_look
from .reading import PARTS, Crop, Dataset, Part

if TYPE_CHECKING:
    from src_model.training.pictures import ObjectMask, ObjectMasks

__all__ = ["Health", "Sizes", "Suspicion", "check_health"]

_TINY = 16
"""Pixels of a crop below which an object is hardly to be seen."""

_HOLE = 0.02
"""Part of an object that its holes have to cover to be told."""

_TIMES = 8.0
"""How many times the usual area is odd, where areas do not differ so much anyway."""

_ENOUGH = 8
"""Objects of a class without which nothing is known about its usual size."""

_SHOWN = 20
"""Suspicious objects in the text."""


@dataclass(frozen=True)
class Suspicion:
    """An object that a person should look at.

    Parameters
    ----------
    source : int
        Its place in `Dataset.sources`.
    name : str
        What people call that source.
    plane : (int, int) or None
        (t, z), where the source has several.
    id : int
        In the source.
    row, col : float
        Its middle, in pixels of level 0.
    why : str
        In words.
    part : str
        In which it is.
    crop : str
        Likewise.
    """

    source: int
    name: str
    plane: tuple[int, int] | None
    id: int
    row: float
    col: float
    why: str
    part: Part
    crop: str


@dataclass(frozen=True)
class Sizes:
    """Diameters of the discs that have the objects' areas.

    Parameters
    ----------
    unit : str
        "px" of level 0, or a unit of length.
    objects : int
        How many were measured.
    least, low, median, high, most : float
        The smallest, a twentieth that are smaller, a half, a twentieth that are larger, the
        largest.
    """

    unit: str
    objects: int
    least: float
    low: float
    median: float
    high: float
    most: float


@dataclass(frozen=True)
class Health:
    """What a dataset is like.

    Parameters
    ----------
    version : str
        Of the dataset.
    crops, objects : dict of str to int
        By part.
    classes : dict of str to int
        Objects of each; those of which nobody said it are left out.
    sizes : tuple of Sizes
        In pixels, and in each unit that is known.
    levels : dict of int to int
        Objects at each level.
    overlapping, touching : int
        Objects that share pixels with another, or lie directly beside one.
    at_border : int
        Objects that end where the image does.
    cut : int
        Objects of which a crop does not show all.
    suspicious : tuple of Suspicion
        Worth a look.
    appearance : tuple of str
        How the pictures differ from what the base model saw.
    notes : tuple of str
        Those of the dataset.
    """

    version: str
    crops: dict[str, int]
    objects: dict[str, int]
    classes: dict[str, int]
    sizes: tuple[Sizes, ...]
    levels: dict[int, int]
    overlapping: int
    touching: int
    at_border: int
    cut: int
    suspicious: tuple[Suspicion, ...]
    appearance: tuple[str, ...]
    notes: tuple[str, ...]

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each suspicious object: image, plane, id, row, col, why, part, crop."""
        return [
            {
                "image": one.name,
                "plane": one.plane,
                "id": one.id,
                "row": one.row,
                "col": one.col,
                "why": one.why,
                "part": one.part,
                "crop": one.crop,
            }
            for one in self.suspicious
        ]

    def to_text(self) -> str:
        """Write it as lines for a terminal."""
        return "\n".join(_lines(self))


@dataclass(frozen=True)
class _Measured:
    """An object, as far as sizes matter."""

    crop: Crop
    id: int
    area: float
    length: dict[str, float]
    middle: tuple[float, float]


def check_health(
    dataset: Dataset,
    base_name: str,
    on_progress: Callable[[int, int], object] | None = None,
) -> Health:
    """Measure a dataset.

    Parameters
    ----------
    dataset : Dataset
        All its parts are read.
    base_name : str
        The model that is to be trained.
    on_progress : callable, optional
        Called with the number of crops done and of all.

    Raises
    ------
    InputError
        If files of it are damaged.
    """
    measured: list[_Measured] = []
    suspicious: list[Suspicion] = []
    looks: dict[int, list[Look]] = {}
    overlapping = touching = at_border = cut = done = 0
    for part in PARTS:
        pictures = dataset.part(part)
        for index in range(len(pictures or ())):
            assert pictures is not None
            crop = dataset.crop(part, pictures.name(index))
            objects = pictures.read_objects(index)
            looks.setdefault(crop.source, []).append(look_of(pictures.read_image(index)))
            shared, beside = _neighbours(objects)
            overlapping, touching = overlapping + shared, touching + beside
            for number, item in zip(crop.ids, objects.items, strict=True):
                one = _measure(dataset, crop, number, item)
                measured.append(one)
                ends, inside = _ends(dataset, crop, item)
                at_border, cut = at_border + ends, cut + inside
                for why in _odd_shape(item, inside):
                    suspicious.append(_suspicion(dataset, one, why))
            done += 1
            if on_progress is not None:
                on_progress(done, len(dataset.crops))
    suspicious += [_suspicion(dataset, one, why) for one, why in _odd_sizes(measured)]
    units = sorted({unit for one in measured for unit in one.length}, key=lambda u: (u != "px", u))
    return Health(
        version=dataset.version,
        crops={part: sum(crop.part == part for crop in dataset.crops) for part in PARTS},
        objects={part: dataset.objects(part) for part in PARTS},
        classes=dict(Counter(n for crop in dataset.crops for n in crop.classes.values())),
        sizes=tuple(_sizes(unit, measured) for unit in units),
        levels=dict(sorted(Counter(one.crop.level for one in measured).items())),
        overlapping=overlapping,
        touching=touching,
        at_border=at_border,
        cut=cut,
        suspicious=tuple(suspicious),
        appearance=tuple(compare_looks([mean_look(one) for one in looks.values()], base_name)),
        notes=dataset.notes,
    )


def _measure(dataset: Dataset, crop: Crop, number: int, item: ObjectMask) -> _Measured:
    """Measure an object in pixels of level 0, and in units if the pixels' size is known."""
    step = 1 << crop.level
    area = float(item.area * step**2)
    length = {"px": 2 * float(np.sqrt(area / np.pi))}
    if size := dataset.sources[crop.source]["pixel_size"]:
        rows, cols, unit = size
        length[unit] = length["px"] * float(np.sqrt(rows * cols))
    rows_, cols_ = np.nonzero(item.mask)
    row = (crop.region.row0 + item.top + rows_.mean() + 0.5) * step - 0.5
    col = (crop.region.col0 + item.left + cols_.mean() + 0.5) * step - 0.5
    return _Measured(crop, number, area, length, (float(row), float(col)))


def _suspicion(dataset: Dataset, one: _Measured, why: str) -> Suspicion:
    crop = one.crop
    name = str(dataset.sources[crop.source]["name"])
    return Suspicion(crop.source, name, crop.plane, one.id, *one.middle, why, crop.part, crop.name)


def _neighbours(objects: ObjectMasks) -> tuple[int, int]:
    """Count the objects that share pixels with another, and those directly beside one."""
    count = np.zeros(objects.shape, np.uint16)
    labels = np.zeros(objects.shape, np.int64)
    for number, item in enumerate(objects.items, start=1):
        count[item.window] += item.mask
        labels[item.window][item.mask] = number
    shared = sum(bool((count[i.window][i.mask] > 1).any()) for i in objects.items)
    beside: set[int] = set()
    for one, other in ((labels[:-1], labels[1:]), (labels[:, :-1], labels[:, 1:])):
        met = (one != other) & (one > 0) & (other > 0)
        beside.update(one[met].tolist(), other[met].tolist())
    return shared, len(beside)


def _ends(dataset: Dataset, crop: Crop, item: ObjectMask) -> tuple[bool, bool]:
    """Tell whether an object ends where the image does, and whether the crop cuts it."""
    shape = dataset.sources[crop.source]["shape"]
    window, height, width = item.window, *crop.region.shape
    region, step = crop.region, 1 << crop.level
    sides = (
        (window[0].start == 0, region.row0 == 0),
        (window[1].start == 0, region.col0 == 0),
        (window[0].stop == height, region.row1 * step >= shape[0]),
        (window[1].stop == width, region.col1 * step >= shape[1]),
    )
    at_border = any(touches and last for touches, last in sides)
    return at_border, any(touches and not last for touches, last in sides)


def _odd_shape(item: ObjectMask, cut: bool) -> Iterator[str]:
    if item.area < _TINY:
        yield f"it has only {item.area} pixels"
    hole = int(np.count_nonzero(ndimage.binary_fill_holes(item.mask))) - item.area
    if hole > _HOLE * item.area:
        yield f"it has a hole ({hole} of {hole + item.area} pixels)"
    if not cut:
        pieces = int(ndimage.label(item.mask, np.ones((3, 3)))[1])
        if pieces > 1:
            yield f"it is in {pieces} parts"


def _odd_sizes(measured: Sequence[_Measured]) -> Iterator[tuple[_Measured, str]]:
    """Find objects much larger or smaller than the others of their class."""
    by_class: dict[str, list[_Measured]] = {}
    for one in measured:
        by_class.setdefault(one.crop.classes.get(one.id, ""), []).append(one)
    for group in by_class.values():
        if len(group) < _ENOUGH:
            continue
        areas = np.log([one.area for one in group])
        middle = np.median(areas)
        spread = 1.4826 * float(np.median(np.abs(areas - middle)))
        limit = max(float(np.log(_TIMES)), 3 * spread)
        for one, area in zip(group, (areas - middle).tolist(), strict=True):
            if abs(area) > limit:
                times = f"{np.exp(abs(area)):.0f} times as {'large' if area > 0 else 'small'}"
                yield one, f"it is {times} as is usual"


def _sizes(unit: str, measured: Sequence[_Measured]) -> Sizes:
    lengths = [one.length[unit] for one in measured if unit in one.length]
    found = np.quantile(lengths, (0, 0.05, 0.5, 0.95, 1)).tolist()
    return Sizes(unit, len(lengths), *found)


def _lines(health: Health) -> Iterator[str]:
    yield f"dataset {health.version}"
    for part in PARTS:
        if health.crops[part]:
            yield f"  {part:10} {health.crops[part]:6} crops {health.objects[part]:8} objects"
    if health.classes:
        told = ", ".join(f"{name} {count}" for name, count in sorted(health.classes.items()))
        yield f"  classes: {told}"
    for one in health.sizes:
        yield (
            f"  diameters in {one.unit}: median {one.median:.3g}, most {one.low:.3g} to "
            f"{one.high:.3g}, all {one.least:.3g} to {one.most:.3g}"
        )
    if len(health.levels) > 1 or 0 not in health.levels:
        told = ", ".join(f"{count} at {level}" for level, count in health.levels.items())
        yield f"  levels: {told}"
    yield (
        f"  overlapping {health.overlapping}, touching another {health.touching}, at the image's "
        f"border {health.at_border}, cut by a crop {health.cut}"
    )
    for sentence in (*health.appearance, *health.notes):
        yield f"  {sentence}"
    if health.suspicious:
        yield f"worth a look ({len(health.suspicious)}):"
        for odd in health.suspicious[:_SHOWN]:
            plane = "" if odd.plane is None else f", t = {odd.plane[0]}, z = {odd.plane[1]}"
            yield (
                f"  {odd.name}{plane}: object {odd.id} at row {odd.row:.0f}, column "
                f"{odd.col:.0f}: {odd.why}"
            )
        if len(health.suspicious) > _SHOWN:
            yield f"  ... and {len(health.suspicious) - _SHOWN} more"
