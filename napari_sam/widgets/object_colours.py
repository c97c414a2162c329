"""The colours of a session's objects, whose cost is that of the pixels that are looked at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from napari.utils.colormaps import CyclicLabelColormap
from pydantic import PrivateAttr

from napari_sam.errors import InputError
from napari_sam.session import Session
from napari_sam.sessions.records import default_colour

__all__ = ["ObjectColours", "Palette"]

_BITS = 12
_HUES = 1 << _BITS
"""Default colours differ in hue only: so many are told apart."""

_GOLDEN = round((5**0.5 - 1) / 2 * 2**64)
"""By how much of a turn, of 2**64, the hue of an id differs from that of the one before."""

_SMALL = 1 << (32 - _BITS)
"""Ids below this are brought to a hue with 32 bits, which is several times faster."""

_ALL = 65_534
"""The highest slot: napari draws more with floats."""

_LISTED = 1 << 24
"""Above this id an object has its default colour: labels from elsewhere may have huge ones."""


class Palette:
    """Which colour each object has: a slot of a table for each colour.

    The default colour follows from the id. Objects with a colour of their own are listed.
    """

    def __init__(self) -> None:
        self.colours = np.zeros((_ALL + 1, 4), np.float32)
        """RGBA of each slot; 0 is transparent."""
        self.colours[1 : _HUES + 1] = _of_hues((np.arange(_HUES) + 0.5) / _HUES)
        self._slots: dict[str, int] = {}
        self._own = np.zeros(1, np.uint16)  # of each id up to the highest that has one

    def set(self, session: Session, ids: Iterable[int]) -> bool:
        """Take the colours of objects over; True if one is new."""
        known = len(self._slots)
        for number in ids:
            try:
                colour = session.info(number).colour
            except InputError:
                continue  # it is gone
            own = colour is not None and colour.lower() != default_colour(number)
            if own or (number < len(self._own) and self._own[number]):
                self._list(number, self._slot(str(colour)) if own else 0)
        return len(self._slots) > known

    def slots(self, ids: np.ndarray) -> np.ndarray:
        """Return the slot of each id.

        Parameters
        ----------
        ids : integer array
            0 for nothing.

        Returns
        -------
        ndarray
            uint16, of the same shape.
        """
        numbers = np.asarray(ids)
        bits: type[np.unsignedinteger[Any]] = np.uint64
        if not numbers.size or numbers.max() < _SMALL:
            bits = np.uint32
        width = 8 * np.dtype(bits).itemsize
        # What is more than whole turns falls off at the upper end of the number.
        turn = numbers.astype(bits) * bits(_GOLDEN >> (64 - width))
        slots = (turn >> bits(width - _BITS)).astype(np.uint16)
        slots += 1
        slots *= numbers > 0
        if len(self._own) > 1:
            own = self._own[np.where(numbers < len(self._own), numbers, 0)]
            slots = np.where(own, own, slots)
        return slots

    def _slot(self, colour: str) -> int:
        colour = colour.lower()
        if colour not in self._slots:
            slot = _HUES + 1 + len(self._slots) % (_ALL - _HUES)
            rgb = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
            self.colours[slot] = (*rgb, 1.0)
            self._slots[colour] = slot
        return self._slots[colour]

    def _list(self, number: int, slot: int) -> None:
        if number >= _LISTED:
            return
        if number >= len(self._own):
            longer = np.zeros(max(number + 1, 2 * len(self._own)), np.uint16)
            longer[: len(self._own)] = self._own
            self._own = longer
        self._own[number] = slot


class ObjectColours(CyclicLabelColormap):
    """napari's map from labels to colours, with a palette in between."""

    _palette: Palette = PrivateAttr()

    @classmethod
    def of(cls, palette: Palette) -> ObjectColours:
        """Make one with the colours that a palette has now."""
        made = cls(colors=palette.colours)
        made._palette = palette
        return made

    def _data_to_texture(self, values: np.ndarray) -> np.ndarray:
        """Return what is drawn for labels: napari calls this for all that is visible."""
        slots = self._palette.slots(values)
        if self.use_selection:
            slots = np.where(values == self.selection, slots, np.uint16(0))
        return slots

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """Describe it as a plain map of slots, which is what napari makes of it to draw."""
        described = super().model_dump(**options)
        return {**described, "selection": int(self._palette.slots(np.array(self.selection)))}

    def map(self, values: np.ndarray | int) -> np.ndarray:
        """Return the colours of labels, RGBA along a further axis."""
        colours = self.colors[self._palette.slots(np.asarray(values))]
        if self.use_selection:
            colours = np.where(np.not_equal(values, self.selection)[..., None], 0, colours)
        return np.array(colours)


def _of_hues(hues: np.ndarray) -> np.ndarray:
    """Return RGBA of hues, as bright as `default_colour` has them."""
    place = hues[:, None] * 6 + np.array([0.0, 4.0, 2.0])
    ramp = np.clip(np.abs(place % 6 - 3) - 1, 0, 1)
    rgb = 0.95 * (1 - 0.73 * (1 - ramp))
    return np.concatenate([rgb, np.ones((len(hues), 1))], axis=1)
