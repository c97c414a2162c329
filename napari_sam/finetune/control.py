"""How whoever starts a run follows it and stops it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Control", "Progress"]

# Between two looks whether a pause is over.
_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Parameters
    ----------
    step, steps : int
        Made, and to be made.
    figures : dict of float
        Of the last step.
    validation, held_out : dict of float
        Measured after this step; mostly nothing was, and they are empty.
    seconds_left : float
        Estimated from the steps made by this process.
    """

    step: int
    steps: int
    figures: dict[str, float]
    validation: dict[str, float]
    seconds_left: float
    held_out: dict[str, float] = field(default_factory=dict)


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
    should_pause : callable
        Before every step; on True the state is saved, and the run waits until it is False or the
        run is to stop.
    """

    on_progress: Callable[[Progress], None] = lambda progress: None
    should_stop: Callable[[], bool] = lambda: False
    on_warning: Callable[[str], None] = lambda text: None
    should_pause: Callable[[], bool] = lambda: False

    def wait(self, save: Callable[[], None]) -> float:
        """Wait while there is a pause.

        Parameters
        ----------
        save : callable
            Called if there is one, before waiting.

        Returns
        -------
        float
            Seconds waited.
        """
        if not self.should_pause():
            return 0.0
        save()
        began = time.monotonic()
        while self.should_pause() and not self.should_stop():
            time.sleep(_LOOK_SECONDS)
        return time.monotonic() - began
