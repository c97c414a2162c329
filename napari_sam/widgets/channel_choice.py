"""Which of an image's channels the network sees: one, or three as its red, green and blue."""

from __future__ import annotations

import re

from napari.layers import Image
from qtpy.QtWidgets import QComboBox

from napari_sam.errors import InputError

from .pictures import upright_of
from .pointer import axes_of

__all__ = ["ChannelChoice", "channel_count"]

_BEFORE = "as before, or the first ones"


class ChannelChoice(QComboBox):
    """Offers the channels of an image that has several; others than those listed can be typed."""

    def __init__(self) -> None:
        super().__init__()
        self.setEditable(True)
        self._count = 1
        self.setToolTip(
            "What the network sees: a channel, or three as red, green and blue, such as 3, 1, 0; "
            "counted from 0. Objects of other channels are kept apart"
        )

    def offer(self, layer: Image | None, axes: str | None = None) -> bool:
        """List the channels of a layer's image; return whether there are several.

        Parameters
        ----------
        layer : Image or None
            Which.
        axes : str, optional
            Of its pixels, where its file told what they are.
        """
        before, count = self._count, 1 if layer is None else channel_count(layer, axes)
        self._count = count
        if count != before:
            self.clear()
            self.addItems([_BEFORE, *map(str, range(count))])
            if count >= 3:
                self.addItem("0, 1, 2")
        return count > 1

    def channels(self) -> int | tuple[int, ...] | None:
        """Return what is chosen; None for those of before, or the first ones.

        Raises
        ------
        InputError
            If it is not one or three of the channels.
        """
        text = self.currentText().strip()
        if self._count == 1 or text in ("", _BEFORE):
            return None
        numbers = tuple(map(int, re.findall(r"\d+", text)))
        if not re.fullmatch(r"\d+(\s*[,;\s]\s*\d+)*", text) or len(numbers) not in (1, 3):
            raise InputError(f"{text!r} are not one or three channels: give numbers, as 3, 1, 0.")
        if max(numbers) >= self._count:
            raise InputError(
                f"There is no channel {max(numbers)}: there are {self._count}, counted from 0."
            )
        return numbers[0] if len(numbers) == 1 else numbers


def channel_count(layer: Image, axes: str | None = None) -> int:
    """Return how many channels there are to choose from in the image that a layer shows."""
    layer = upright_of(layer)
    read = layer.metadata
    if read.get("image_data") is layer.data_raw and layer.data_raw is not None:
        return int(read["image_channel_count"])  # of this package's own reader
    shape = layer.data.shape
    known = axes if axes is not None and len(axes) == len(shape) else axes_of(layer)
    return int(shape[known.index("C")]) if known is not None and "C" in known else 1
