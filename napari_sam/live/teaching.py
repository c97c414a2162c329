"""From what a person outlined to a dataset: sources, where it goes, what of it lies on the map.

IMAGE.napari-sam/teaching/dataset-001   datasets, each as it was when it was made
IMAGE.napari-sam/teaching/run-001       training runs, with their reports
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_sam.errors import InputError
from napari_sam.sessions.opening import open_session, sessions_in
from napari_sam.tiles.regions import Region

from .finished import read_finished

if TYPE_CHECKING:
    from napari_sam.finetune.datasets import Dataset, Health, Source, Suspicion
    from napari_sam.scene import Scene
    from napari_sam.session import Session

__all__ = [
    "PARTS",
    "Block",
    "Part",
    "Prepared",
    "Wanted",
    "blocks_on_map",
    "described",
    "from_folders",
    "from_labels_layer",
    "from_own_objects",
    "from_session_folder",
    "health_said",
    "is_of_session",
    "new_folder",
    "opened_again",
    "prepare",
    "teaching_folder",
    "worth_a_look",
]

Plane = tuple[int, int]
Part = Literal["train", "validation", "hold-out"]

PARTS: dict[Part, str] = {
    "train": "training",
    "validation": "validation",
    "hold-out": "hold-out",
}
"""The parts of a dataset, and what people call them."""


@dataclass(frozen=True)
class Wanted:
    """Something to learn from, opened when the dataset is made.

    Parameters
    ----------
    name : str
        What people call it.
    open : callable
        Returns the source; what is to be closed afterwards is entered into the given stack.
    """

    name: str
    open: Callable[[ExitStack], Source]


@dataclass(frozen=True)
class Prepared:
    """A dataset, and what is odd about it."""

    dataset: Dataset
    health: Health


@dataclass(frozen=True)
class Block:
    """Where something is learned from, or measured, in one plane.

    Parameters
    ----------
    part : {"train", "validation", "hold-out"}
        Which of these.
    name : str
        Of the picture in the dataset.
    region : Region
        In pixels of level 0.
    """

    part: Part
    name: str
    region: Region


def teaching_folder(folder: Path) -> Path:
    """Return where the datasets and runs of an image lie.

    Parameters
    ----------
    folder : Path
        Of the image's workplace.
    """
    return folder / "teaching"


def new_folder(folder: Path, kind: str) -> Path:
    """Return a name that is free, with the next number; nothing is made.

    Examples
    --------
    >>> new_folder(Path("nowhere"), "dataset").name
    'dataset-001'
    """
    return folder / f"{kind}-{max(_numbers(folder, kind), default=0) + 1:03d}"


def from_own_objects(session: Session, finished: Mapping[Plane, Sequence[np.ndarray]]) -> Wanted:
    """Want the objects of the session that is open."""

    def open_source(stack: ExitStack) -> Source:
        from napari_sam.finetune.datasets import from_session

        return from_session(session, finished=finished)

    return Wanted("the objects of this image", open_source)


def from_session_folder(folder: Path) -> Wanted:
    """Want the objects of another image, as they were kept beside it.

    Parameters
    ----------
    folder : Path
        ``IMAGE.napari-sam``, or the session in it. It is opened, and closed again, when the
        dataset is made.

    Raises
    ------
    InputError
        If there is no session.
    """
    found = sessions_in(folder)
    if not found:
        raise InputError(f"{folder} holds no session: choose a folder IMAGE.napari-sam.")
    path = found[0]

    def open_source(stack: ExitStack) -> Source:
        from napari_sam.finetune.datasets import from_session

        session = stack.enter_context(open_session(path))
        return from_session(session, finished=read_finished(path))

    image = path.parent.name.removesuffix(".napari-sam") or path.name
    return Wanted(f"The objects of {image}", open_source)


def from_labels_layer(scene: Scene, labels: Any, name: str) -> Wanted:
    """Want labels that lie on a scene, pixel by pixel; all objects in them are outlined."""

    def open_source(stack: ExitStack) -> Source:
        from napari_sam.finetune.datasets import from_labels

        return from_labels(scene, labels)

    return Wanted(f"The labels in {name}", open_source)


def from_folders(images: Path, labels: Path | None = None) -> Wanted:
    """Want pictures on disk, as `napari_sam.finetune.data.open_pictures` finds them.

    Raises
    ------
    InputError
        If there are none, or nothing says where their objects are.
    """
    from napari_sam.finetune.data import open_pictures

    pictures = open_pictures(images, labels)

    def open_source(stack: ExitStack) -> Source:
        from napari_sam.finetune.datasets import from_pictures

        return from_pictures(pictures)

    return Wanted(f"{len(pictures)} pictures in {images.name}", open_source)


def prepare(
    wanted: Sequence[Wanted],
    folder: Path,
    base: str,
    report: Callable[[object], None],
    should_stop: Callable[[], bool],
    hold_out_of: Dataset | None = None,
) -> Prepared | None:
    """Make a dataset, and look at it; None if it was asked to stop.

    Parameters
    ----------
    wanted : sequence of Wanted
        What to learn from.
    folder : Path
        As `teaching_folder` returns it; the dataset gets a name of its own in it.
    base : str
        The model whose training data are compared.
    report : callable
        Given (pictures written, of all).
    should_stop : callable
        Asked before every picture.
    hold_out_of : Dataset, optional
        An earlier one, of which the same is held out.

    Raises
    ------
    InputError
        If there is too little to learn from, something cannot be read, or the disk is full.
    """
    from napari_sam.finetune.datasets import BuildStopped, build_dataset, check_health

    place = new_folder(folder, "dataset")
    try:
        with ExitStack() as stack:
            sources = [one.open(stack) for one in wanted]
            dataset = build_dataset(
                sources,
                place,
                hold_out_of=hold_out_of,
                on_progress=lambda done, of: report((done, of)),
                should_stop=should_stop,
            )
        return Prepared(dataset, check_health(dataset, base))
    except BuildStopped:
        return None


def opened_again(folder: Path, base: str) -> Prepared | None:
    """Open the last dataset that was made of an image, and look at it; None if there is none.

    Parameters
    ----------
    folder : Path
        As `teaching_folder` returns it.
    base : str
        The model whose training data are compared.
    """
    from napari_sam.finetune.datasets import Dataset, check_health

    for number in sorted(_numbers(folder, "dataset"), reverse=True):
        try:
            dataset = Dataset.open(folder / f"dataset-{number:03d}")
            return Prepared(dataset, check_health(dataset, base))
        except InputError:
            continue  # it was not finished, or is of a later version
    return None


def described(dataset: Dataset) -> str:
    """Say what a dataset holds, and what a person should know of it."""
    counts = {part: dataset.objects(part) for part in PARTS}
    parts = ", ".join(
        f"{counts[part]:,} for {name}" if part != "hold-out" else f"{counts[part]:,} held out"
        for part, name in PARTS.items()
        if counts[part]
    )
    objects = sum(counts.values())
    first = f"{dataset.path.name}: {objects:,} object{'s'[: objects != 1]} ({parts})."
    return "\n".join([first, *dataset.notes])


def health_said(health: Health) -> str:
    """Say what the objects of a dataset are like, in sentences."""
    sentences = []
    for size in health.sizes:
        unit = "pixels" if size.unit == "px" else size.unit
        sentences.append(
            f"Objects are as large as discs of {size.median:.3g} {unit} across; most between "
            f"{size.low:.3g} and {size.high:.3g}."
        )
    if health.classes:
        told = ", ".join(f"{name} ({count})" for name, count in sorted(health.classes.items()))
        sentences.append(f"Classes: {told}.")
    counts = {
        "sharing pixels with another": health.overlapping,
        "touching another": health.touching,
        "ending at the image's border": health.at_border,
        "cut by a picture": health.cut,
    }
    found = [f"{count:,} {what}" for what, count in counts.items() if count]
    if found:
        sentences.append(f"Of them: {', '.join(found)}.")
    sentences += health.appearance
    odd = len(worth_a_look(health))
    if odd:
        sentences.append(
            "One is worth a look before training:"
            if odd == 1
            else f"{odd:,} are worth a look before training:"
        )
    else:
        sentences.append("None looks like a slip.")
    return "\n".join(sentences)


def worth_a_look(health: Health) -> list[Suspicion]:
    """Return the suspicious objects, each once, with all that is odd about it."""
    found: dict[tuple[object, ...], Suspicion] = {}
    for one in health.suspicious:
        key = one.source, one.plane, one.id
        known = found.get(key)
        found[key] = one if known is None else replace(known, why=f"{known.why}; {one.why}")
    return list(found.values())


def blocks_on_map(dataset: Dataset, session: Session) -> list[Block]:
    """Return where the parts of a dataset lie in the plane that a session works on."""
    height, width = session.scene.shape
    found = []
    for crop in dataset.crops:
        if not is_of_session(dataset, crop.source, session):
            continue
        if crop.plane is not None and crop.plane != session.plane:
            continue
        part, scale = crop.region, 1 << crop.level
        corners = part.row0 * scale, part.col0 * scale, part.row1 * scale, part.col1 * scale
        region = Region(*corners) & Region(0, 0, height, width)
        found.append(Block(crop.part, crop.name, region))
    return found


def is_of_session(dataset: Dataset, source: int, session: Session) -> bool:
    """Tell whether a source of a dataset is the image of a session."""
    told = dataset.sources[source]
    same = told["name"] == session.scene.name and told["shape"] == list(session.scene.shape)
    return same and told["kind"] != "picture"


def _numbers(folder: Path, kind: str) -> list[int]:
    """Return the numbers of the folders of a kind that there are, whole or not."""
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError:
        return []
    return [int(found[1]) for name in names if (found := re.fullmatch(rf"{kind}-(\d{{3,}})", name))]
