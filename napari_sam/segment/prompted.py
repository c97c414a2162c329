"""Several prompts on a Scene: an object for each, in the form that results are written from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .everything.found import FoundObjects
from .objects import Candidate
from .prompts import Prompt
from .segmenter import Segmenter

__all__ = ["as_found", "prompt_scene"]


def prompt_scene(
    segmenter: Segmenter,
    prompts: Sequence[Prompt],
    on_progress: Callable[[int, int], object] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> list[Candidate]:
    """Find the object that each prompt means.

    Parameters
    ----------
    segmenter : Segmenter
        Of the Scene.
    prompts : sequence of Prompt
        In the Scene: see `check_prompt`.
    on_progress : callable, optional
        Called with the number of prompts that are done, and of all.
    should_stop : callable, optional
        Asked before every prompt.

    Returns
    -------
    list of Candidate
        The best one for each prompt; fewer than prompts if it was asked to stop.

    Raises
    ------
    InputError
        As `Segmenter.prompt`.
    """
    found: list[Candidate] = []
    for prompt in prompts:
        if should_stop is not None and should_stop():
            break
        box = prompt.box
        candidates = segmenter.prompt(
            points=[(point.row, point.col) for point in prompt.points] or None,
            labels=[int(point.foreground) for point in prompt.points] or None,
            box=None if box is None else (box.row0, box.col0, box.row1, box.col1),
        )
        found.append(candidates[0])
        if on_progress is not None:
            on_progress(len(found), len(prompts))
    return found


def as_found(candidates: Sequence[Candidate], shape: tuple[int, int]) -> FoundObjects:
    """Make objects 1, 2, … of candidates in their order; empty masks are left out.

    Parameters
    ----------
    candidates : sequence of Candidate
        With masks in pixels of level 0.
    shape : (int, int)
        Rows and columns of the Scene.

    Examples
    --------
    >>> bar = Candidate(2, 3, np.ones((1, 4), bool), 0.9, 0.8, "point", level=1)
    >>> nothing = Candidate(0, 0, np.zeros((0, 0), bool), 0.1, 0.0, "point")
    >>> found = as_found([nothing, bar], (10, 10))
    >>> len(found), found.boxes.tolist(), found.centroids.tolist()
    (1, [[2, 3, 3, 7]], [[2.0, 4.5]])
    """
    seen = [one for one in candidates if one.mask.any()]
    centroids = [np.argwhere(one.mask).mean(0) + np.array([one.row, one.col]) for one in seen]
    corners = [(o.row, o.col, o.row + o.mask.shape[0], o.col + o.mask.shape[1]) for o in seen]
    return FoundObjects(
        shape=shape,
        levels=np.zeros(len(seen), np.int32),  # that of the masks, wherever they were found
        boxes=np.array(corners, np.int64).reshape(-1, 4),
        areas=np.array([one.area for one in seen], np.int64),
        centroids=np.array(centroids, np.float64).reshape(-1, 2),
        predicted_ious=np.array([one.predicted_iou for one in seen], np.float32),
        stabilities=np.array([one.stability for one in seen], np.float32),
        cuts=np.zeros(len(seen), bool),
        pieces=np.ones(len(seen), np.int64),
        _mask=lambda index: seen[index].mask,
    )
