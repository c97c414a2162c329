"""A layer in which prompts are drawn: what is done in it goes into the session, and comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, QTimer

from napari_sam.errors import InputError
from napari_sam.session import Session

if TYPE_CHECKING:
    from napari.layers import Layer

    from .intent import Intent

__all__ = ["BACKGROUND", "FOREGROUND", "DrawnLayer"]

FOREGROUND, BACKGROUND = "foreground", "background"
"""Values of the feature `label` of prompts."""

_DRAGGING = 120
"""Milliseconds without a change after which a drag is over: one step to undo, not a hundred."""


class DrawnLayer(QObject):
    """What the layers of points and of shapes have in common.

    The session is the truth. A change in the layer is brought to the session a moment later, out of
    napari's own callbacks; then, as after any change of the session, the layer is drawn again if it
    shows something else.
    """

    def __init__(
        self,
        parent: QObject,
        layer: Layer,
        session: Session,
        intent: Intent,
        say: Callable[[str, str], None],
    ) -> None:
        super().__init__(parent)
        self.layer, self.session, self.intent, self._say = layer, session, intent, say
        self._drawing = self._dirty = False
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self.flush)
        layer.events.data.connect(self._edited)
        layer.events.features.connect(self._edited)
        intent.changed.connect(self._mean)
        self._mean()

    def close(self) -> None:
        """Let go of the layer, which stays as it is."""
        self._soon.stop()
        self.layer.events.data.disconnect(self._edited)
        self.layer.events.features.disconnect(self._edited)
        self.intent.changed.disconnect(self._mean)

    def flush(self) -> None:
        """Bring what was done in the layer to the session, and draw what is there then."""
        if self._dirty and not self._busy():
            self._soon.stop()
            self._dirty = False
            try:
                self._bring()
            except InputError as error:
                self._say(str(error), "warning")
            self._draw_if_other()

    def redraw(self) -> None:
        """Draw what the session has, after bringing it what was done in the layer."""
        if self._dirty:
            self.flush()
        elif not self._busy():
            self._draw_if_other()

    def _bring(self) -> None:
        """Change the session so that it has what the layer has."""
        raise NotImplementedError

    def _draw_if_other(self) -> None:
        """Draw what the session has, if that is not what is shown."""
        raise NotImplementedError

    def _busy(self) -> bool:
        """Tell whether something is just being drawn or dragged, which must not be disturbed."""
        return False

    def _mean(self) -> None:
        """Let what is drawn next be for the object, and of the polarity, that is meant."""
        chosen = self.intent.object_id
        number = self.session.current_id if chosen is None else chosen
        label = FOREGROUND if self.intent.foreground else BACKGROUND
        with self._quietly():
            self.layer.feature_defaults = {"label": label, "object": number}

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        was, self._drawing = self._drawing, True
        try:
            yield
        finally:
            self._drawing = was

    def _edited(self, event: Any) -> None:
        if self._drawing:
            return
        action = str(getattr(event, "action", "changed")).lower().rsplit(".", 1)[-1]
        if action in ("adding", "removing", "changing"):
            return
        self._dirty = True
        self._soon.start(_DRAGGING if action == "changed" else 0)

    def _objects_of_rows(self) -> list[tuple[int, bool]]:
        """Return of each row the object, and whether it lies on it; what is unknown is as meant."""
        # napari keeps the features of what was taken away by `layer.data = []`.
        count = len(self.layer.data)
        features = self.layer.features[:count]
        meant = self.layer.feature_defaults
        numbers = features.get("object", [None] * count)
        labels = features.get("label", [None] * count)
        rows = []
        for given, told in zip(numbers, labels, strict=True):
            known = _is_number(given) and int(given) > 0
            number = int(given) if known else int(meant["object"].iloc[0])
            label = told if told in (FOREGROUND, BACKGROUND) else meant["label"].iloc[0]
            rows.append((number, label == FOREGROUND))
        return rows


def _is_number(value: Any) -> bool:
    try:
        return bool(np.isfinite(float(value)))
    except (TypeError, ValueError):
        return False
