"""An object followed from plane to plane in one direction, until the evidence ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from napari_sam.errors import InputError
from napari_sam.segment.objects import Candidate, MaskLike
from napari_sam.segment.scribbles import MaskRegion

from .asking import Learnt, PlaneSegmenter, ask
from .flow import carry
from .followed import Evidence, Followed, Plane
from .judging import confidence, verdict
from .motion import REMEMBERED, expected
from .settings import Settings
from .shapes import Shape, area, between, blended, iou, without_specks

__all__ = ["Segmenters", "Trail", "Way", "interpolated"]

Segmenters = Callable[[Plane], PlaneSegmenter]

GUESSED = 0.25
"""Greatest confidence in a mask that was interpolated."""

MOST_TRUST, LEAST_TRUST = 0.5, 0.7
"""Weight of a model that draws the object exactly where it is known, beside the mask that was
carried along with the motion seen in the pictures; and the IoU at which it has none. vit_nano knows
nothing of organs: whatever weight it had made their masks worse; on bright bodies it makes them
better."""


@dataclass(frozen=True)
class Way:
    """Planes in the order in which they are looked at, and their numbers.

    Parameters
    ----------
    planes : sequence of Plane
        Beginning after the one where the object is known.
    word : str
        What a plane is called: "plane" or "frame".
    along : int
        Which number of a plane counts: 0 is t, 1 is z.
    """

    planes: Sequence[Plane]
    word: str
    along: int

    def number(self, plane: Plane) -> int:
        """Return the number that counts."""
        return plane[self.along]

    def name(self, plane: Plane) -> str:
        """Return what messages call a plane."""
        return f"{self.word} {self.number(plane)}"


@dataclass
class Trail:
    """The walk along a way; `walk` gives what is found, `stop` tells afterwards why it ended.

    Parameters
    ----------
    segmenters : callable
        Gives what answers in a plane.
    start, mask
        Where the object is known; the mask is tight.
    way : Way
        Where to.
    learnt : mapping
        What came of asking where it is known.
    settings : Settings
        What is allowed.
    should_stop : callable
        Asked before each plane.
    shape : (int, int)
        Rows and columns of the planes.
    last : PlaneSegmenter
        Of the plane where the object was seen last: that of `start`, before the walk.
    """

    segmenters: Segmenters
    start: Plane
    mask: MaskRegion
    way: Way
    learnt: Learnt
    settings: Settings
    should_stop: Callable[[], bool]
    shape: Shape
    last: PlaneSegmenter
    stop: str = ""
    stopped_early: bool = False
    skipped: dict[Plane, str] = field(default_factory=dict)

    def walk(self) -> Iterator[Followed]:
        """Follow the object; what is found comes in the order of the way."""
        known = [(self.way.number(self.start), self.mask)]
        across: list[tuple[Plane, str, bool]] = []  # planes looked across, why, whether seen
        for plane in self.way.planes:
            if self.should_stop():
                self.stop, self.stopped_early = "it was asked to stop", True
                return
            found, why, seen = self._look(plane, known)
            if found is None:
                across.append((plane, f"{self.way.name(plane)}: {why}", seen))
                if len(across) > self.settings.gap:
                    break
                continue
            yield from self._bridge(across, known[-1], found)
            across = []
            known.append(
                (
                    self.way.number(plane),
                    MaskRegion(found.mask.row, found.mask.col, found.mask.mask),
                )
            )
            del known[:-REMEMBERED]
            yield found
        self.stop = across[0][1] if across else "the last plane was reached"

    def why(self, plane: Plane) -> str:
        """Say why there is no mask of a plane; nothing if there is none to say."""
        return self.skipped.get(plane, self.stop)

    def _look(
        self, plane: Plane, known: Sequence[tuple[int, MaskRegion]]
    ) -> tuple[Followed | None, str, bool]:
        """Look for the object in a plane: what is found, else why not, and whether one can see."""
        number, mask = known[-1]
        steps = abs(self.way.number(plane) - number)
        try:
            segmenter = self.segmenters(plane)
            wanted, seen = self._wanted(segmenter, plane, known)
            if wanted is None:
                return None, "the object is expected to have left the image", False
            asked = ask(segmenter, wanted, self.learnt, self.settings.change * (steps - 1))
        except InputError as error:  # told as the reason
            return None, str(error), False
        if asked is None:
            return None, "the model finds nothing there", True
        answer, trust = asked
        ratio = answer.growth * area(wanted) / area(mask)
        evidence = Evidence(answer.score, answer.overlap, ratio)
        why = verdict(evidence, area(mask), steps, self.settings)
        if why:
            return None, why, True
        drawn = drawn_from(wanted, answer.mask, trust, answer.overlap) if seen else None
        body = without_specks(drawn or answer.mask)
        assert body is not None  # an answer is not empty
        self.last = segmenter
        mask_here = named(answer.mask, body)
        return Followed(plane, mask_here, confidence(evidence), evidence), "", True

    def _wanted(
        self, segmenter: PlaneSegmenter, plane: Plane, known: Sequence[tuple[int, MaskRegion]]
    ) -> tuple[MaskRegion | None, bool]:
        """Return where the object is expected, and whether its motion was seen."""
        guess = expected(known, self.way.number(plane), self.shape)
        before, after = (getattr(each, "scene", None) for each in (self.last, segmenter))
        if before is None or after is None:
            return guess, False
        mask = known[-1][1]
        warp = carry(before, after, mask, guess, self.shape)
        if warp is None:
            return guess, False
        carried = warp.carried(mask, self.shape)
        return (None if carried is None else without_specks(carried)), True

    def _bridge(
        self,
        across: Sequence[tuple[Plane, str, bool]],
        before: tuple[int, MaskLike],
        after: Followed,
    ) -> Iterator[Followed]:
        """Give the shapes between two masks, for planes in which something could be seen."""
        for plane, why, seen in across:
            self.skipped[plane] = why
            if seen:
                end = self.way.number(after.plane), after.mask
                found = interpolated(plane, self.way.number(plane), before, end, self.shape)
                if found is not None:
                    yield found


def interpolated(
    plane: Plane,
    number: int,
    before: tuple[int, MaskLike],
    after: tuple[int, MaskLike],
    shape: Shape,
) -> Followed | None:
    """Return the shape that lies between two masks; None if there is none.

    Its evidence is how much it is like the nearer one.
    """
    share = (number - before[0]) / (after[0] - before[0])
    found = between(before[1], after[1], share, shape)
    if found is None:
        return None
    near = (before if share <= 0.5 else after)[1]
    overlap = iou(found, near)
    evidence = Evidence(0.0, overlap, area(found) / area(near))
    mask = as_candidate(found)
    return Followed(plane, mask, GUESSED * overlap, evidence, interpolated=True)


def drawn_from(
    wanted: MaskRegion, answer: Candidate, trust: float, overlap: float
) -> MaskRegion | None:
    """Draw the mask that was carried here, corrected by the model as far as it is to be trusted."""
    sure = [max(0.0, (one - LEAST_TRUST) / (1 - LEAST_TRUST)) for one in (trust, overlap)]
    weight = MOST_TRUST * sure[0] * sure[1]
    return blended([(wanted, 1 - weight), (answer, weight)])


def as_candidate(mask: MaskRegion) -> Candidate:
    """Return a mask that no model gave."""
    return Candidate(mask.row, mask.col, mask.mask, 0.0, 0.0, "propagated")


def named(answer: Candidate, drawn: MaskRegion) -> Candidate:
    """Return a mask with the scores of a model's answer, which says how it came about."""
    return replace(answer, row=drawn.row, col=drawn.col, mask=drawn.mask, prompt="propagated")
