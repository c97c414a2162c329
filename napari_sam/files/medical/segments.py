"""Which objects become one segment of a DICOM file, its name, code, colour and lasting identity."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from napari_sam.files.labelled import Labelled
from napari_sam.files.medical.codes import Coded, coded
from napari_sam.overlay import PALETTE

__all__ = [
    "Segment",
    "colour_of",
    "in_segments",
    "lasting_uid",
    "plain_text",
    "segments_of",
]


@dataclass(frozen=True)
class Segment:
    """One thing of a file: an object, or all objects of a class.

    Parameters
    ----------
    number : int
        In the file, from 1 on without gaps.
    ids : tuple of int
        Of the objects that it consists of.
    name : str
        Its class, or its class and id, or its id.
    coded : Coded
        What it is.
    colour : (int, int, int)
        Red, green, blue, 0 to 255.
    rows : tuple of mapping
        What is known of the objects.
    """

    number: int
    ids: tuple[int, ...]
    name: str
    coded: Coded
    colour: tuple[int, int, int]
    rows: tuple[Mapping[str, Any], ...]

    @property
    def automatic(self) -> bool:
        """Whether nobody drew it or pointed at it."""
        return all(row.get("source") in ("found", "propagated") for row in self.rows)

    @property
    def drawn(self) -> bool:
        """Whether a person drew all of it."""
        return all(row.get("source") == "drawn" for row in self.rows)

    @property
    def said(self) -> str:
        """The scores and the origin of its objects, in a line."""
        return "; ".join(
            ", ".join(
                [f"object {number}"]
                + [
                    f"{name.replace('_', ' ')} {row[name]:.3g}"
                    if isinstance(row[name], float)
                    else f"{name} {row[name]}"
                    for name in ("source", "predicted_iou", "stability")
                    if row.get(name) is not None
                ]
            )
            for number, row in zip(self.ids, self.rows, strict=True)
        )


def segments_of(
    labelled: Labelled, ids: list[int], by: Literal["object", "class"] = "object"
) -> list[Segment]:
    """Decide what becomes a segment.

    Parameters
    ----------
    labelled : Labelled
        Tells classes.
    ids : list of int
        Of the objects that there are, ascending.
    by : {"object", "class"}
        One segment for each object; or one for all objects of a class, in the order of their first
        objects, those without a class together.

    Returns
    -------
    list of Segment
    """
    groups: dict[Any, list[int]] = {}
    for number in ids:
        name = labelled.row(number).get("class") or ""
        groups.setdefault(number if by == "object" else name, []).append(number)
    names = _names(labelled, list(groups.values()), by)
    segments = []
    for number, (group, name) in enumerate(zip(groups.values(), names, strict=True), 1):
        rows = tuple(labelled.row(one) for one in group)
        kind = rows[0].get("class")
        what = coded(None if kind is None else str(kind))
        segments.append(Segment(number, tuple(group), name, what, colour_of(number), rows))
    return segments


def in_segments(labels: np.ndarray, segments: list[Segment]) -> np.ndarray:
    """Turn ids into numbers of segments: uint32, 0 stays 0.

    Examples
    --------
    >>> one = Segment(1, (7, 4_000_000_000), "cells", coded("cell"), (0, 0, 0), ({}, {}))
    >>> in_segments(np.array([[0, 7, 4_000_000_000]], np.uint32), [one])
    array([[0, 1, 1]], dtype=uint32)
    """
    pairs = sorted((number, one.number) for one in segments for number in one.ids)
    ids, numbers = np.array([(0, 0), *pairs]).T
    found: np.ndarray = numbers.astype(np.uint32)[np.searchsorted(ids, labels)]
    return found


def colour_of(number: int) -> tuple[int, int, int]:
    """Return the colour of an object or a class by its number, from 1 on.

    Examples
    --------
    >>> colour_of(1), colour_of(1) == colour_of(2)
    ((255, 190, 11), False)
    """
    red, green, blue = PALETTE[(number - 1) % len(PALETTE)].tolist()
    return red, green, blue


def lasting_uid(segment: Segment, series: str) -> str:
    """Return what names an object of a series in every file that it is ever written to.

    A new one, where nothing is known of when it was made: another object may have its id then.
    """
    from pydicom.uid import generate_uid

    times = [row.get("time") for row in segment.rows]
    if not series or None in times:
        return str(generate_uid())
    said = [f"{number} {time}" for number, time in zip(segment.ids, times, strict=True)]
    return str(generate_uid(entropy_srcs=[series, *said]))


def plain_text(text: object, length: int) -> str:
    r"""Return text that DICOM can hold: one line of so many characters, no backslashes.

    Examples
    --------
    >>> plain_text("left\\right\n kidney", 12)
    'left right k'
    """
    return re.sub(r"[\\\s\x00-\x1f\x7f]+", " ", str(text)).strip()[:length].rstrip()


def _names(labelled: Labelled, groups: list[list[int]], by: str) -> list[str]:
    kinds = [plain_text(labelled.row(group[0]).get("class") or "", 48) for group in groups]
    names = []
    for kind, group in zip(kinds, groups, strict=True):
        if by == "class":
            names.append(kind or "objects")
        elif not kind:
            names.append(f"object {group[0]}")
        else:
            names.append(kind if kinds.count(kind) == 1 else f"{kind} {group[0]}")
    return names
