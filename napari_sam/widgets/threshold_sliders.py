"""Sliders for what makes an object of what was found."""

from __future__ import annotations

import math
from dataclasses import replace

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFormLayout, QLabel, QWidget
from superqt import QLabeledDoubleRangeSlider, QLabeledDoubleSlider

from napari_sam.segment.everything import Thresholds

__all__ = ["ThresholdSliders"]

_LEAST_OVERLAP = 0.2
"""Pairs that overlap less are not known."""


class ThresholdSliders(QWidget):
    """Sliders; sizes are in pixels times `scale`, as a person reads them.

    Parameters
    ----------
    parent : QWidget
        With whom it goes.
    """

    changed = Signal()
    """A person moved one."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._thresholds = Thresholds(0, 0)
        self._scale, self._most = 1.0, 1.0
        self.predicted_iou = _slider(
            "How well the network thinks a mask fits, 0 to 1: only better ones are objects"
        )
        self.stability = _slider(
            "How little a mask depends on the threshold, 0 to 1: only steadier ones are objects"
        )
        self.overlap = _slider(
            "How much two objects may overlap, as the share of what both cover, 0 to 1: of more, "
            "one goes"
        )
        self.sizes = QLabeledDoubleRangeSlider(Qt.Orientation.Horizontal)
        self.sizes.setDecimals(1)
        self.sizes.setHandleLabelPosition(QLabeledDoubleRangeSlider.LabelPosition.NoLabel)
        self.sizes.setToolTip("An object's size is the side of a square of the same area")
        self._sizes = QLabel("Sizes")
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.addRow("Predicted IoU from", self.predicted_iou)
        form.addRow("Stability from", self.stability)
        form.addRow("Overlap up to", self.overlap)
        form.addRow(self._sizes, self.sizes)
        for slider in (self.predicted_iou, self.stability, self.overlap, self.sizes):
            slider.valueChanged.connect(self._moved)

    def set_limits(self, predicted_iou: float, stability: float) -> None:
        """Say from which values on candidates are known."""
        self._quietly(self.predicted_iou.setRange, predicted_iou, 1.0)
        self._quietly(self.stability.setRange, stability, 1.0)
        self._quietly(self.overlap.setRange, _LEAST_OVERLAP, 1.0)

    def set_sizes(self, most: float, scale: float, unit: str) -> None:
        """Say how large objects are.

        Parameters
        ----------
        most : float
            The largest size, in pixels.
        scale : float
            Units for each pixel.
        unit : str
            In which sizes are shown.
        """
        self._scale, self._most = scale, max(1.0, math.ceil(most))
        self._sizes.setText(f"Sizes, {unit}")
        self._quietly(self.sizes.setRange, 0.0, self._most * scale)
        self.show_thresholds(self._thresholds)

    def show_thresholds(self, thresholds: Thresholds) -> None:
        """Put the sliders where these are."""
        self._thresholds = thresholds
        self._quietly(self.predicted_iou.setValue, thresholds.predicted_iou)
        self._quietly(self.stability.setValue, thresholds.stability)
        self._quietly(self.overlap.setValue, thresholds.overlap)
        low = 0.0 if thresholds.smallest is None else thresholds.smallest
        high = self._most if thresholds.largest is None else thresholds.largest
        self._quietly(self.sizes.setValue, (low * self._scale, min(high, self._most) * self._scale))
        self._say_sizes()

    @property
    def thresholds(self) -> Thresholds:
        """What is chosen; a size at its end is none."""
        return self._thresholds

    def _quietly(self, change: object, *values: object) -> None:
        sliders = self.predicted_iou, self.stability, self.overlap, self.sizes
        for slider in sliders:
            slider.blockSignals(True)
        change(*values)  # type: ignore[operator]
        for slider in sliders:
            slider.blockSignals(False)

    def _moved(self) -> None:
        low, high = (value / self._scale for value in self.sizes.value())
        slack = self._most / 1e4
        self._thresholds = replace(
            self._thresholds,
            predicted_iou=self.predicted_iou.value(),
            stability=self.stability.value(),
            overlap=self.overlap.value(),
            smallest=None if low < slack else low,
            largest=None if high > self._most - slack else high,
        )
        self._say_sizes()
        self.changed.emit()

    def _say_sizes(self) -> None:
        low, high = self.sizes.value()
        self.sizes.setToolTip(
            f"{low:.5g} to {high:.5g}: an object's size is the side of a square of the same area"
        )


def _slider(tip: str) -> QLabeledDoubleSlider:
    slider = QLabeledDoubleSlider(Qt.Orientation.Horizontal)
    slider.setRange(0.0, 1.0)
    slider.setDecimals(2)
    slider.setSingleStep(0.01)  # type: ignore[arg-type]  # superqt's slider takes fractions
    slider.setToolTip(tip)
    return slider
