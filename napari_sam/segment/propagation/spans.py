"""The planes between two in which the object is fixed: followed from both ends and blended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from napari_sam.segment.objects import MaskLike

from .followed import Followed, Plane
from .following import Way, interpolated
from .shapes import blended, iou

__all__ = ["affected", "blend"]

_ALIKE = 0.7
"""IoU from which two masks are the same object, seen a little differently: they are averaged."""


def affected(planes: Sequence[Plane], known: Sequence[Plane], changed: Plane) -> tuple[Plane, ...]:
    """Return the planes whose masks depend on one that the user changed.

    From the plane known before it to the one known after it, both included; to the first or the
    last plane where there is none.

    Parameters
    ----------
    planes : sequence of Plane
        All that were followed through, in order.
    known : sequence of Plane
        Those in which the object is fixed.
    changed : Plane
        One of them, or one that was.

    Examples
    --------
    >>> planes = [(0, z) for z in range(10)]
    >>> span = affected(planes, [(0, 2), (0, 5), (0, 7)], (0, 5))
    >>> span[0], span[-1]
    ((0, 2), (0, 7))
    """
    place, fixed = planes.index(changed), set(known)
    before = [i for i in range(place) if planes[i] in fixed]
    after = [i for i in range(place + 1, len(planes)) if planes[i] in fixed]
    return tuple(planes[before[-1] if before else 0 : after[0] + 1 if after else len(planes)])


def blend(
    way: Way,
    ends: tuple[tuple[Plane, MaskLike], tuple[Plane, MaskLike]],
    found: tuple[Mapping[Plane, Followed], Mapping[Plane, Followed]],
    shape: tuple[int, int],
) -> list[Followed]:
    """Make one mask of each plane between two ends of what was followed from both.

    Where both found about the same, its mean, nearer ends counting more. Where they differ, the one
    that fits better between its neighbours in the shapes between both ends, and in which there is
    more confidence. Where neither found it, the shape between the nearest planes.

    Parameters
    ----------
    way : Way
        The planes between, in order.
    ends : two of (Plane, MaskLike)
        Where the object is fixed.
    found : two mappings
        What was followed from the first end, and from the last.
    shape : (int, int)
        Rows and columns of a plane.
    """
    first, last = ((way.number(plane), mask) for plane, mask in ends)
    chosen: dict[Plane, Followed] = {}
    for plane in way.planes:
        share = (way.number(plane) - first[0]) / (last[0] - first[0])
        prior = interpolated(plane, way.number(plane), first, last, shape)
        both = [each[plane] for each in found if plane in each and not each[plane].interpolated]
        if len(both) == 2 and iou(both[0].mask, both[1].mask) >= _ALIKE:
            chosen[plane] = _mean(both[0], both[1], share)
        elif both:
            weights = {0: 1 - share, 1: share}
            sides = [side for side, each in enumerate(found) if each.get(plane) in both]
            fits = [
                one.confidence
                * (0.5 + weights[side])
                * (1.0 if prior is None else iou(one.mask, prior.mask))
                for side, one in zip(sides, both, strict=True)
            ]
            chosen[plane] = both[fits.index(max(fits))]
    return _filled(way, (first, last), chosen, shape)


def _mean(one: Followed, other: Followed, share: float) -> Followed:
    mask = blended([(one.mask, 1 - share), (other.mask, share)])
    near = one if share <= 0.5 else other
    if mask is None:  # thin ones may have nothing in common
        return near
    drawn = replace(near.mask, row=mask.row, col=mask.col, mask=mask.mask)
    return replace(near, mask=drawn, confidence=max(one.confidence, other.confidence))


def _filled(
    way: Way,
    ends: tuple[tuple[int, MaskLike], tuple[int, MaskLike]],
    chosen: dict[Plane, Followed],
    shape: tuple[int, int],
) -> list[Followed]:
    """Put shapes between where nothing was found."""
    numbers = [way.number(plane) for plane in way.planes]
    masks = [chosen[plane].mask if plane in chosen else None for plane in way.planes]
    result = []
    for index, plane in enumerate(way.planes):
        if plane in chosen:
            result.append(chosen[plane])
            continue
        before = next(
            ((numbers[i], m) for i in reversed(range(index)) if (m := masks[i]) is not None),
            ends[0],
        )
        after = next(
            ((numbers[i], m) for i in range(index + 1, len(masks)) if (m := masks[i]) is not None),
            ends[1],
        )
        guess = interpolated(plane, numbers[index], before, after, shape)
        if guess is not None:
            result.append(guess)
    return result
