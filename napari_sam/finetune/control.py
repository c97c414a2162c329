"""How whoever starts a run follows it and stops it."""

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Control", "Progress"]


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Parameters
    ----------
    step, steps : int
        Made, and to be made.
    figures : dict of float
        Of the last step.
    validation : dict of float
        Of a validation after this step; mostly there was none, and it is empty.
    seconds_left : float
        Estimated from the steps made by this process.
    """

    step: int
    steps: int
    figures: dict[str, float]
    validation: dict[str, float]
    seconds_left: float


@dataclass(frozen=True)
class Control:
    """What a run calls; by default nobody looks and nobody stops it.

    Parameters
    ----------
    on_progress : callable
        After every step.
    should_stop : callable
        Before every step; on True the state is saved and the run ends.
    on_warning : callable
        Given what is odd about the pictures, if anything is, before the first step.
    """

    on_progress: Callable[[Progress], None] = lambda progress: None
    should_stop: Callable[[], bool] = lambda: False
    on_warning: Callable[[str], None] = lambda text: None
