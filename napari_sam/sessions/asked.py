"""What a session asks for masks."""

from __future__ import annotations

from typing import Protocol

from numpy.typing import ArrayLike

from napari_sam.segment.objects import Candidate, MaskLike

__all__ = ["Asked"]


class Asked(Protocol):
    """Whatever answers prompts, as `napari_sam.segment.segmenter.Segmenter` does."""

    def prompt(
        self,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask: MaskLike | None = None,
        scribble: ArrayLike | None = None,
    ) -> list[Candidate]:
        """Return candidates, the best first."""
