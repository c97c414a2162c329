"""What scripts and notebooks say to an attachment: one thing after the other, each done on return.

The event loop goes on meanwhile, so that the window answers and shows what happens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from numpy.typing import ArrayLike
from qtpy.QtCore import QCoreApplication

from napari_sam.errors import InputError
from napari_sam.live.propagating import (
    Axis,
    Direction,
    Outcome,
    Reach,
    first_axis,
    propagate_object,
)
from napari_sam.live.search import Search, Wanted
from napari_sam.live.workplace import Workplace
from napari_sam.segment.objects import Candidate, MaskLike
from napari_sam.session import Scribble

from . import commands
from .jobs import run_job

if TYPE_CHECKING:
    from napari_sam.segment.everything import FoundObjects, Thresholds
    from napari_sam.tiles.roi import Roi

    from .attached import Attachment

__all__ = ["accept", "choose", "everything", "prompt", "propagate", "ready"]


T = TypeVar("T")


def ready(attachment: Attachment, timeout: float | None = None) -> Workplace:
    """Wait until the image is open; see `Attachment.ready`."""
    if not _wait(lambda: not attachment.busy, timeout):
        raise InputError(f"The image is not open after {timeout:g} seconds.")
    if attachment.workplace is None or attachment.problem is not None:
        raise InputError(attachment.problem or "No image is open: call use() first.")
    return attachment.workplace


def prompt(
    attachment: Attachment,
    points: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    box: ArrayLike | None = None,
    scribbles: Sequence[Scribble] = (),
    mask: MaskLike | Literal["object"] | None = None,
    object_id: int | None = None,
) -> list[Candidate]:
    """Ask for an object with these prompts, in place of those it had.

    Parameters
    ----------
    attachment : Attachment
        Where an image is open.
    points : (n, 2) array, optional
        Clicks, (row, col) in pixels of level 0.
    labels : (n,) array, optional
        Whether each is on the object, 1 or 0; all are by default.
    box : (4,) array, optional
        (row0, col0, row1, col1).
    scribbles : sequence of Scribble
        Lines on the object, and on what is not.
    mask : MaskLike or "object", optional
        A region; "object" is the object's own mask.
    object_id : int, optional
        Which; one that exists is corrected. By default the one that is meant.

    Returns
    -------
    list of Candidate
        The best first; they are shown as well.

    Raises
    ------
    InputError
        If the prompts cannot be used, or nothing is found.
    """
    session = ready(attachment).session
    number = commands.target(attachment) if object_id is None else object_id
    session.prompt(number, points, labels, box, scribbles, mask)
    attachment.intent.set(object_id=number)
    return _candidates(attachment, number)


def choose(attachment: Attachment, choice: int) -> Candidate:
    """Choose one of the candidates of the object that is meant, counted from 0."""
    ready(attachment)
    number = commands.target(attachment)
    attachment.offers.choose(number, choice)
    return attachment.offers.chosen()[number]


def accept(attachment: Attachment, object_id: int | None = None, **options: Any) -> int:
    """Make the chosen candidate an object.

    Parameters
    ----------
    attachment : Attachment
        Where an image is open.
    object_id : int, optional
        By default the one that is meant.
    **options
        As `Session.accept` takes them: `choice`, `class_name`, `colour`, `overlap`.

    Returns
    -------
    int
        Its id.

    Raises
    ------
    InputError
        If there are no prompts, or nothing of the candidate is left.
    """
    session = ready(attachment).session
    number = commands.target(attachment) if object_id is None else object_id
    if number not in session.prompts:
        raise InputError(f"Object {number} has no prompts: prompt it first.")
    _candidates(attachment, number)
    options.setdefault("choice", attachment.offers.choices.get(number, 0))
    session.accept(number, **options)
    attachment.intent.set(object_id=None)
    QCoreApplication.processEvents()  # and it is shown
    return number


def everything(
    attachment: Attachment,
    roi: Roi | None = None,
    sizes: tuple[float | None, float | None] = (None, None),
    unit: str = "px",
    thresholds: Thresholds | None = None,
) -> FoundObjects:
    """Find everything; ``workplace.session.add_objects(found)`` makes objects of it.

    Parameters
    ----------
    attachment : Attachment
        Where an image is open.
    roi : Roi, optional
        Where; by default everywhere.
    sizes : (float or None, float or None)
        Smallest and largest objects: sides of squares of the same area.
    unit : str
        Of `sizes`: "px" of level 0, or a unit of length.
    thresholds : Thresholds, optional
        What makes an object; by default what suits the model.

    Returns
    -------
    FoundObjects

    Raises
    ------
    InputError
        If something of this cannot be used, or the image cannot be read.
    """
    workplace = ready(attachment)
    search = Search(workplace.scene, workplace.store, workplace.sam)
    wanted = Wanted(sizes, unit, roi)
    return _done(
        attachment,
        lambda stop: search.run(wanted, thresholds, should_stop=stop)[1].found,
        "finding everything",
    )


def propagate(
    attachment: Attachment,
    object_id: int | None = None,
    planes: int | None = None,
    axis: Axis | None = None,
    direction: Direction = "both",
) -> Outcome:
    """Follow an object through depth or time; what is found is one step.

    Parameters
    ----------
    attachment : Attachment
        Where an image is open.
    object_id : int, optional
        The slice to begin with; by default the one that is picked, else the newest one in the plane
        that is worked on.
    planes : int, optional
        How many each way; by default until it is lost.
    axis : {"z", "t"}, optional
        By default depth, if there are several planes, else time.
    direction : {"both", "forward", "backward"}
        To higher numbers, to lower ones, or both.

    Returns
    -------
    Outcome
        ``made`` are the objects in other planes, ``lost`` says where it ends and why.

    Raises
    ------
    InputError
        If there is no such object, or the image has one plane only.
    """
    workplace = ready(attachment)
    number = _newest(attachment) if object_id is None else object_id
    reach = Reach(first_axis(workplace.scene) if axis is None else axis, planes, direction)
    return _done(
        attachment,
        lambda stop: propagate_object(workplace, number, reach, should_stop=stop),
        f"following object {number}",
    )


def _newest(attachment: Attachment) -> int:
    """Return the object that is picked, or else the newest of the plane that is worked on."""
    if len(attachment.intent.picked) == 1:
        return attachment.intent.picked[0]
    session = ready(attachment).session
    here = [number for number in session.ids if session.info(number).plane == session.plane]
    if not here:
        raise InputError("There is no object in this plane: accept one first.")
    return max(here, key=lambda number: (session.info(number).provenance.time, number))


def _done(attachment: Attachment, work: Callable[[Callable[[], bool]], T], name: str) -> T:
    """Do work in a thread, out of the way of the background, and wait for it."""
    results: list[T] = []
    problems: list[str] = []
    embedder = attachment.embedder

    def aside(report: object, stop: Callable[[], bool]) -> T:
        with nullcontext() if embedder is None else embedder.aside():
            return work(stop)

    job = run_job(attachment, aside, name)
    job.finished.connect(results.append)
    job.failed.connect(problems.append)
    _wait(lambda: not job.running)
    if problems:
        raise InputError(problems[0])
    return results[0]


def _candidates(attachment: Attachment, number: int) -> list[Candidate]:
    """Wait for the answer to the prompts that an object has now."""
    offers, problems = attachment.offers, []

    def tell(about: object, sentence: str) -> None:
        if about == number:
            problems.append(sentence)

    offers.problem.connect(tell)
    try:
        offers.ask()
        _wait(lambda: problems or attachment.workplace is None or offers.is_fresh(number))
    finally:
        offers.problem.disconnect(tell)
    if attachment.workplace is None:
        raise InputError("The image was closed meanwhile.")
    if problems:
        raise InputError(problems[0])
    return list(offers.candidates[number])


def _wait(there: Callable[[], object], timeout: float | None = None) -> bool:
    """Run the event loop until something is so; False if it is not after so many seconds."""
    end = None if timeout is None else time.monotonic() + timeout
    while not there():
        if end is not None and time.monotonic() > end:
            return False
        QCoreApplication.processEvents()
        time.sleep(0.002)
    return True
