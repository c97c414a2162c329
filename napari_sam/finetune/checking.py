"""What is wrong with training data, all of it, before time is spent."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_sam.errors import InputError
from napari_sam.finetune.data import open_pictures
from napari_sam.finetune.label_maps import Instances
from napari_sam.finetune.stored import StoredPictures, size_mismatch
from src_model.training.pictures import ObjectMasks

__all__ = [
    "Problem",
    "check_pictures",
    "describe_problems",
    "open_checked_pictures",
    "refuse_bad_pictures",
]

# So many pictures are named after a warning; of errors all are.
_NAMES = 10


@dataclass(frozen=True)
class Problem:
    """Something that a person should know about one picture, or about all.

    Parameters
    ----------
    what : str
        One sentence, the same for all pictures with this problem.
    picture : str
        The picture's name, perhaps with a number in brackets; empty for all.
    fatal : bool
        Whether training would fail or be wrong; else it is only worth a look.
    """

    what: str
    picture: str
    fatal: bool


def open_checked_pictures(
    images: Path,
    labels: Path | None = None,
    instances: Instances = "ids",
    axis: str | int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[StoredPictures, str]:
    """Open pictures, refuse what cannot be used, and describe what is worth a look.

    Parameters
    ----------
    images, labels, instances, axis
        As `open_pictures` takes them.
    on_progress : callable, optional
        As `check_pictures` takes it.

    Returns
    -------
    pictures : StoredPictures
        Those that were opened.
    warnings : str
        A list to show; empty if nothing is odd.

    Raises
    ------
    InputError
        If something in them cannot be used; everything that cannot is named.
    """
    pictures = open_pictures(images, labels, instances, axis)
    problems = check_pictures(pictures, on_progress)
    refuse_bad_pictures(problems)
    return pictures, describe_problems(problems)


def check_pictures(
    pictures: StoredPictures, on_progress: Callable[[int, int], None] | None = None
) -> list[Problem]:
    """Look for pictures that cannot be used, or hardly mean what they say.

    Labels are read; of images the headers, and as much as tells that the file is whole.

    Parameters
    ----------
    pictures : StoredPictures
        What is to be trained or evaluated on.
    on_progress : callable, optional
        Called with the number of pictures done and of all.

    Returns
    -------
    list of Problem
        Fatal: a missing partner, a damaged file, another size, labels that are floats, stacks or
        negative, an object that is the whole picture or the background, and no object at all in
        any picture. Else: pictures without objects, without background, objects of one pixel or
        touching all four borders, and unconnected objects with the same number.
    """
    problems = [Problem(note, "", fatal=False) for note in pictures.notes]
    outlined, scattered = 0, 0
    for index in range(len(pictures)):
        name = pictures.name(index)
        try:
            size = pictures.image_size(index)
            objects = pictures.read_objects(index)
        except InputError as error:
            problems.append(Problem(str(error), "", fatal=True))
            outlined += 1  # not known: nothing is said about the collection
        else:
            if objects.shape != size:
                problems.append(Problem(f"{name}: {size_mismatch(size, objects.shape)}.", "", True))
            else:
                problems.extend(_problems_of(objects, name))
            outlined += any(item.area > 1 for item in objects.items)
            scattered += len(objects) == 1 and _pieces(objects) > 1
        if on_progress is not None:
            on_progress(index + 1, len(pictures))
    if not outlined:
        problems = [p for p in problems if p.what != _EMPTY]
        problems.append(
            Problem(
                "No object of more than one pixel is outlined in any picture: add labels.", "", True
            )
        )
    if scattered > len(pictures) / 2:
        problems.append(Problem(_SCATTERED, "", fatal=False))
    return problems


def describe_problems(problems: Sequence[Problem]) -> str:
    """Write problems as one list: errors first, pictures with the same warning in one line.

    Examples
    --------
    >>> print(describe_problems([
    ...     Problem("No object is outlined.", "a.png", fatal=False),
    ...     Problem("b.png: there is no label map of this name.", "", fatal=True),
    ...     Problem("No object is outlined.", "c.png", fatal=False),
    ... ]))
    1 error:
      b.png: there is no label map of this name.
    2 warnings:
      a.png, c.png: No object is outlined.
    """
    lines = []
    for fatal, word in ((True, "error"), (False, "warning")):
        chosen = [problem for problem in problems if problem.fatal == fatal]
        if chosen:
            lines.append(f"{len(chosen)} {word}{'s' if len(chosen) > 1 else ''}:")
            lines.extend(f"  {line}" for line in _grouped(chosen))
    return "\n".join(lines)


def refuse_bad_pictures(problems: Sequence[Problem]) -> None:
    """Raise if a problem is fatal.

    Raises
    ------
    InputError
        With all problems, in one list.
    """
    if any(problem.fatal for problem in problems):
        raise InputError(f"The pictures cannot be used as they are.\n{describe_problems(problems)}")


_EMPTY = "No object is outlined; it teaches nothing and is left aside."
_SCATTERED = (
    "In most pictures all objects have the same number, as in a semantic mask: to take each "
    "connected region for an object, set instances to components."
)


def _problems_of(objects: ObjectMasks, name: str) -> Iterator[Problem]:
    """Look at one picture whose sizes agree."""
    if not objects.items:
        yield Problem(_EMPTY, name, fatal=False)
        return
    covered = np.zeros(objects.shape, bool)
    for item in objects.items:
        covered[item.window] |= item.mask
    pixels = covered.size
    around = [item for item in objects.items if item.mask.shape == objects.shape]
    if any(item.area == pixels for item in objects.items):
        yield Problem("One object is the whole picture: set background to 0.", name, fatal=True)
    elif covered.all() and any(item.area > pixels / 2 for item in around):
        yield Problem(
            "There is no background, and one object touches all four borders and covers more than "
            "half: if that is the background, set it to 0.",
            name,
            fatal=True,
        )
    elif covered.all():
        yield Problem("There is no background (0): is that meant?", name, fatal=False)
    elif around:
        yield Problem("An object touches all four borders: is that meant?", name, fatal=False)
    tiny = sum(item.area == 1 for item in objects.items)
    if tiny:
        yield Problem(
            "Objects of one pixel are outlined; they are left out.", f"{name} ({tiny})", fatal=False
        )


def _pieces(objects: ObjectMasks) -> int:
    from scipy import ndimage

    _, count = ndimage.label(objects.items[0].mask, np.ones((3, 3)))
    return int(count)


def _grouped(problems: Sequence[Problem]) -> Iterator[str]:
    """One line for each sentence, with the pictures it is about."""
    by_sentence: dict[str, list[str]] = {}
    for problem in problems:
        by_sentence.setdefault(problem.what, []).append(problem.picture)
    fatal = {problem.what for problem in problems if problem.fatal}
    for what, names in by_sentence.items():
        shown = names if what in fatal else names[:_NAMES]
        more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
        about = ", ".join(shown) + more
        yield f"{about}: {what}" if about else what
