"""What is known of many objects, by columns: fast to sort, and changed by what changed."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.errors import InputError
from napari_sam.tiles.regions import Region

if TYPE_CHECKING:
    from napari_sam.segment.everything import FoundObjects
    from napari_sam.session import Session

__all__ = ["ObjectRows", "doubt_of"]

_AT_BORDER = 0.9
"""What the scene's border leaves of the trust in a mask: part of the object may not be seen."""


@dataclass(frozen=True, eq=False)
class ObjectRows:
    """Objects; all arrays have one entry for each.

    Parameters
    ----------
    ids : (n,) ndarray
        int64.
    classes : (n,) ndarray
        object: what each is, "" where nobody said.
    areas : (n,) ndarray
        int64, pixels of level 0.
    predicted_ious, stabilities, doubts : (n,) ndarray
        float64, 0 to 1; NaN where unknown, as of objects drawn by hand.
    levels : (n,) ndarray
        int64, at which each was found; -1 where unknown.
    boxes : (n, 4) ndarray
        int64, (row0, col0, row1, col1) in pixels of level 0, the ends exclusive.

    Examples
    --------
    >>> rows = ObjectRows.none()
    >>> len(rows), rows.boxes.shape
    (0, (0, 4))
    """

    ids: np.ndarray
    classes: np.ndarray
    areas: np.ndarray
    predicted_ious: np.ndarray
    stabilities: np.ndarray
    doubts: np.ndarray
    levels: np.ndarray
    boxes: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def none(cls) -> ObjectRows:
        """Return no objects."""
        return cls(
            ids=np.zeros(0, np.int64),
            classes=np.zeros(0, object),
            areas=np.zeros(0, np.int64),
            predicted_ious=np.zeros(0),
            stabilities=np.zeros(0),
            doubts=np.zeros(0),
            levels=np.zeros(0, np.int64),
            boxes=np.zeros((0, 4), np.int64),
        )

    @classmethod
    def of_found(cls, found: FoundObjects) -> ObjectRows:
        """Describe what was found in a scene; ids are its own, 1 to n."""
        return cls(
            ids=found.ids,
            classes=np.full(len(found), "", object),
            areas=found.areas,
            predicted_ious=found.predicted_ious.astype(np.float64),
            stabilities=found.stabilities.astype(np.float64),
            doubts=found.doubts,
            levels=found.levels,
            boxes=np.minimum(found.boxes, [*found.shape, *found.shape]),
        )

    @classmethod
    def of_session(cls, session: Session, ids: Iterable[int] | None = None) -> ObjectRows:
        """Describe objects of a session, those of the plane that is worked on.

        Parameters
        ----------
        session : Session
            Where they are.
        ids : iterable of int, optional
            Which, by default all; those that there are not are left out.
        """
        found = []
        for number in session.ids if ids is None else ids:
            try:
                info, runs = session.info(number), session.mask(number)
            except InputError:
                continue  # it is gone, perhaps since a moment ago
            if info.plane != session.plane:
                continue
            origin, box = info.provenance, runs.box
            found.append(
                (
                    number,
                    info.class_name or "",
                    runs.area,
                    np.nan if origin.predicted_iou is None else origin.predicted_iou,
                    np.nan if origin.stability is None else origin.stability,
                    doubt_of(origin.predicted_iou, origin.stability, box, session.scene.shape),
                    -1 if origin.level is None else origin.level,
                    (box.row0, box.col0, box.row1, box.col1),
                )
            )
        empty = cls.none()
        if not found:
            return empty
        columns = {}
        for field, values in zip(fields(cls), zip(*found, strict=True), strict=True):
            columns[field.name] = np.array(values, getattr(empty, field.name).dtype)
        return cls(**columns)

    def where(self, chosen: np.ndarray) -> ObjectRows:
        """Return some of them: by places, or by a bool array."""
        return ObjectRows(
            **{field.name: getattr(self, field.name)[chosen] for field in fields(self)}
        )

    def replaced(self, ids: Collection[int], new: ObjectRows) -> ObjectRows:
        """Return them without some ids, and with others instead, which come last."""
        kept = self.where(~np.isin(self.ids, np.fromiter(ids, np.int64, len(ids))))
        return ObjectRows(
            **{
                field.name: np.concatenate([getattr(kept, field.name), getattr(new, field.name)])
                for field in fields(self)
            }
        )

    def region(self, index: int) -> Region:
        """Return the box of one, by its place."""
        return Region(*self.boxes[index].tolist())

    def by_doubt(self) -> np.ndarray:
        """Return the ids, the most doubtful first, those of which nothing is known last."""
        return self.ids[np.lexsort((self.ids, -self.doubts, np.isnan(self.doubts)))]


def doubt_of(
    predicted_iou: float | None, stability: float | None, box: Region, shape: tuple[int, int]
) -> float:
    """Say how little a mask can be trusted: 1 - predicted IoU × stability, 0 to 1.

    At the border of the scene it is a little more, as the object may go on there.

    Parameters
    ----------
    predicted_iou, stability : float or None
        Of its candidate; without them nothing is known, and NaN is returned.
    box : Region
        Around the object, in pixels of level 0.
    shape : (int, int)
        Of level 0.

    Examples
    --------
    >>> round(doubt_of(0.9, 0.8, Region(5, 5, 9, 9), (20, 20)), 3)
    0.28
    >>> round(doubt_of(0.9, 0.8, Region(0, 5, 9, 9), (20, 20)), 3)
    0.352
    """
    if predicted_iou is None or stability is None:
        return float("nan")
    trust = predicted_iou * stability
    if min(box.row0, box.col0) == 0 or box.row1 == shape[0] or box.col1 == shape[1]:
        trust *= _AT_BORDER
    return float(np.clip(1 - trust, 0, 1))
