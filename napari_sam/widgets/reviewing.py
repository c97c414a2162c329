"""What the keys of a review do: as its buttons, while its widget is to be seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .window import main_window

if TYPE_CHECKING:
    from .attached import Attachment
    from .review import ReviewWidget

__all__ = ["STEPS", "Step"]


@dataclass(frozen=True)
class Step:
    """One of the things that a person does in a review.

    Parameters
    ----------
    name, description : str
        For napari's list of keys.
    key : str
        By default.
    run : callable
        Takes the attachment.
    is_due : callable
        Takes the attachment; False leaves the key to napari.
    """

    name: str
    description: str
    key: str
    run: Callable[[Attachment], object]
    is_due: Callable[[Attachment], bool]


def _reviewer(attachment: Attachment) -> ReviewWidget | None:
    """Return the review of a window, if it is to be seen."""
    from .review import ReviewWidget  # which needs the keys itself

    found: list[ReviewWidget] = main_window(attachment.viewer).findChildren(ReviewWidget)
    return next((one for one in found if one.isVisible()), None)


def _step(name: str, description: str, key: str, run: Callable[[ReviewWidget], object]) -> Step:
    def on(attachment: Attachment) -> None:
        reviewer = _reviewer(attachment)
        if reviewer is not None:
            run(reviewer)

    def is_due(attachment: Attachment) -> bool:
        reviewer = _reviewer(attachment)
        active = attachment.viewer.layers.selection.active
        # A layer that is drawn in needs its letters.
        free = active is None or str(active.mode) == "pan_zoom"
        return free and reviewer is not None and (reviewer.current is not None or name == "next")

    return Step(f"review_{name}", description, key, on, is_due)


STEPS = (
    _step("right", "Review: it is right as it is", "A", lambda review: review.accept()),
    _step("correct", "Review: correct it by clicks", "F", lambda review: review.fix()),
    _step("delete", "Review: delete it", "X", lambda review: review.delete()),
    _step("next", "Review: go to the next one", "J", lambda review: review.next()),
    _step("back", "Review: go to the one before", "K", lambda review: review.back()),
)
"""In the order in which the help lists them."""
