"""An object that is known in one plane or several, found in the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

from napari_sam.errors import InputError
from napari_sam.segment.objects import MaskLike
from napari_sam.segment.scribbles import MaskRegion

from .asking import learn
from .followed import Followed, Plane, Propagation
from .following import Segmenters, Trail, Way
from .settings import Settings
from .shapes import without_specks
from .spans import blend

__all__ = ["propagate"]


def propagate(
    segmenters: Segmenters,
    start: Plane,
    mask: MaskLike,
    planes: Sequence[Plane],
    *,
    fixed: Mapping[Plane, MaskLike] | None = None,
    settings: Settings | None = None,
    on_slice: Callable[[Followed], object] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Propagation:
    """Follow an object through the planes of a stack, or the frames of a film.

    From plane to plane the last mask, moved and grown as the object did before, says where to look:
    its box, points well inside, and the mask itself are prompts, and of the answers the one that
    fits the expected place best and of which the model is surest is taken. What cannot be the
    object is refused; a few planes are looked across, then it ends.

    Parameters
    ----------
    segmenters : callable
        Takes a plane, returns the `Segmenter` that answers there: made when it is asked for, so
        that only planes that are visited are encoded. One plane is asked at a time, and no more
        after it was left, but for the planes in which the object is known.
    start : (int, int)
        (t, z) of the plane where the object is known.
    mask : MaskLike
        The object there, in pixels of level 0.
    planes : sequence of (int, int)
        All planes to look at, in order, `start` among them; either t or z is the same in all.
    fixed : mapping, optional
        The object's masks in further planes where it is known, as after corrections. Between two
        known planes it is followed from both, and what was found is blended. A plane that is not
        in `planes` is left out.
    settings : Settings, optional
        How it may change: see `Settings.through_depth` and `Settings.through_time`.
    on_slice : callable, optional
        Called with each `Followed` as soon as it is sure to be in the result.
    should_stop : callable, optional
        Asked before each plane. What was found until then is returned, but for a span between two
        known planes that is not complete.

    Returns
    -------
    Propagation
        Masks of planes where the object was not known.

    Raises
    ------
    InputError
        If the planes are not in order or `start` is not among them, a known mask is empty, or the
        object cannot be asked for in a plane where it is known.

    Examples
    --------
    A model that sees a bright bar, two columns farther to the right in each plane:

    >>> import numpy as np
    >>> from napari_sam.segment.objects import Candidate
    >>> from napari_sam.segment.scribbles import MaskRegion
    >>> class Sees:
    ...     shape = (100, 100)
    ...     def __init__(self, plane):
    ...         self.col = 30 + 2 * plane[1]
    ...     def prompt(self, points=None, labels=None, box=None, mask=None):
    ...         return [Candidate(40, self.col, np.ones((20, 10), bool), 0.9, 0.8, "box")]
    >>> bar = MaskRegion(40, 34, np.ones((20, 10), bool))
    >>> found = propagate(Sees, (0, 2), bar, [(0, z) for z in range(5)])
    >>> [(one.plane[1], one.mask.col) for one in found.followed]
    [(0, 30), (1, 32), (3, 36), (4, 38)]
    >>> found.stops["forward"]
    'the last plane was reached'
    """
    settings = Settings() if settings is None else settings
    way = _way(planes, start)
    known = {}
    for plane, there in {**(fixed or {}), start: mask}.items():
        cut = without_specks(there)
        if cut is None:
            raise InputError(f"The mask in {way.name(plane)} is empty: give one with the object.")
        if plane in set(planes):
            known[plane] = cut
    work = _Work(segmenters, way, known, settings, should_stop or _never)
    followed = []
    for one in work.run():
        followed.append(one)
        if on_slice is not None:
            on_slice(one)
    order = {plane: number for number, plane in enumerate(planes)}
    followed.sort(key=lambda one: order[one.plane])
    return Propagation(tuple(followed), work.stops, work.skipped)


class _Work:
    """What is done in parts: spans between known planes, and beyond the outermost."""

    def __init__(
        self,
        segmenters: Segmenters,
        way: Way,
        known: Mapping[Plane, MaskRegion],
        settings: Settings,
        should_stop: Callable[[], bool],
    ) -> None:
        self.segmenters, self.way, self.known = segmenters, way, known
        self.settings, self.should_stop = settings, should_stop
        self.stops: dict[str, str] = {}
        self.skipped: dict[Plane, str] = {}

    def run(self) -> Iterator[Followed]:
        """Give what is found, part by part."""
        planes = list(self.way.planes)
        places = sorted(planes.index(plane) for plane in self.known)
        for first, last in pairwise(places):
            if last - first > 1 and not self.should_stop():
                yield from self._between(planes[first : last + 1])
        yield from self._beyond("forward", planes[places[-1] :])
        yield from self._beyond("backward", planes[places[0] :: -1])

    def _beyond(self, direction: str, planes: Sequence[Plane]) -> Iterator[Followed]:
        trail = self._trail(planes)
        yield from trail.walk()
        self.skipped |= trail.skipped
        self.stops[direction] = trail.stop

    def _between(self, planes: Sequence[Plane]) -> Iterator[Followed]:
        found = []
        trails = [self._trail(way) for way in (planes[:-1], planes[:0:-1])]
        for trail in trails:
            found.append({one.plane: one for one in trail.walk()})
            if trail.stopped_early:
                return
        ends = [(plane, self.known[plane]) for plane in (planes[0], planes[-1])]
        way = Way(planes[1:-1], self.way.word, self.way.along)
        blended = blend(way, (ends[0], ends[1]), (found[0], found[1]), trails[0].shape)
        for one in blended:
            if one.interpolated:
                whys = [trail.why(one.plane) for trail in trails]
                self.skipped[one.plane] = next(filter(None, whys), "")
        yield from blended

    def _trail(self, planes: Sequence[Plane]) -> Trail:
        """Return the walk from the first of some planes, where the object is known."""
        start = planes[0]
        segmenter = self.segmenters(start)
        way = Way(planes[1:], self.way.word, self.way.along)
        mask = self.known[start]
        return Trail(
            self.segmenters,
            start,
            mask,
            way,
            learn(segmenter, mask),
            self.settings,
            self.should_stop,
            segmenter.shape,
            segmenter,
        )


def _way(planes: Sequence[Plane], start: Plane) -> Way:
    """Return planes of which either t or z is the same, in order."""
    if start not in planes:
        raise InputError(
            f"The plane t = {start[0]}, z = {start[1]}, in which the object is known, is not among "
            f"those to look at."
        )
    times, depths = ({plane[axis] for plane in planes} for axis in (0, 1))
    if len(times) > 1 and len(depths) > 1:
        raise InputError(
            "The planes differ in both t and z: follow an object through the depth of one time, "
            "or through the times of one depth."
        )
    along = 0 if len(times) > 1 else 1
    numbers = [plane[along] for plane in planes]
    steps = [b - a for a, b in pairwise(numbers)]
    if not (all(step > 0 for step in steps) or all(step < 0 for step in steps)):
        raise InputError("The planes are not in order: give each once, ascending or descending.")
    return Way(planes, "frame" if along == 0 else "plane", along)


def _never() -> bool:
    return False
