"""How a model is taught: the ways, what each takes on this machine, and their settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QGridLayout,
    QLabel,
    QLineEdit,
    QRadioButton,
    QSpinBox,
    QWidget,
)

from napari_sam.errors import InputError
from napari_sam.live.lessons import METHODS, Advanced

from .controls import labelled

__all__ = ["AdvancedControls", "MethodChoice"]


class MethodChoice(QWidget):
    """The ways to teach, one of which is chosen, with what was measured of each."""

    def __init__(self) -> None:
        super().__init__()
        self._buttons, self._told = QButtonGroup(self), [QLabel() for _ in METHODS]
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        for row, (way, told) in enumerate(zip(METHODS, self._told, strict=True)):
            choice = QRadioButton(way.title)
            choice.setToolTip(way.explained)
            told.setToolTip("Time and memory on this machine, as Estimate measured them")
            told.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            self._buttons.addButton(choice, row)
            grid.addWidget(choice, row, 0)
            grid.addWidget(told, row, 1)
        grid.setColumnStretch(1, 1)
        self.mae = QCheckBox("First look at all of the image, without outlines (MAE)")
        self.mae.setToolTip(
            "The encoder learns what such images look like from parts that nobody outlined; it "
            "takes long, and helps where the images are unlike anything the model knows"
        )
        grid.addWidget(self.mae, len(METHODS), 0, 1, 2)
        self.choose("decoder")

    @property
    def method(self) -> str:
        """What is chosen."""
        return METHODS[self._buttons.checkedId()].method

    @property
    def mae_first(self) -> bool:
        """Whether the encoder is taught without outlines before."""
        return self.mae.isChecked()

    def choose(self, method: str) -> None:
        """Choose a way by its name."""
        row = [way.method for way in METHODS].index(method)
        found = self._buttons.button(row)
        assert found is not None
        found.setChecked(True)

    def tell(self, said: Mapping[str, str]) -> None:
        """Show what is known of the ways, by their names; nothing of the others."""
        for way, label in zip(METHODS, self._told, strict=True):
            label.setText(said.get(way.method, ""))


class AdvancedControls(QWidget):
    """Settings that are left empty, and then are what suits the data."""

    def __init__(self) -> None:
        super().__init__()
        self.steps, self.rank = _number(100_000), _number(256)
        self.steps.setToolTip("How often the weights are changed; more takes longer")
        self.rank.setToolTip("Of LoRA: how much the encoder can learn; more takes more memory")
        self.rate, self.seed = QLineEdit(), _number(2**31 - 1)
        self.rate.setPlaceholderText("what suits the method")
        self.rate.setToolTip("By how much weights change in a step, such as 1e-4")
        self.seed.setSpecialValueText("0")
        self.seed.setToolTip("Another number draws other crops and clicks")
        form = labelled(
            ("Steps", self.steps), ("Rate", self.rate), ("Rank", self.rank), ("Seed", self.seed)
        )
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(form)

    def chosen(self) -> Advanced:
        """Return what a person chose; None where it is left to the program.

        Raises
        ------
        InputError
            If the rate is no number above 0.
        """
        text = self.rate.text().strip()
        try:
            rate: Any = float(text) if text else None
        except ValueError:
            rate = 0.0
        if rate is not None and not 0 < rate < 1:
            raise InputError(f"The rate must be a number between 0 and 1, not {text!r}.")
        return Advanced(
            self.steps.value() or None, rate, self.rank.value() or None, self.seed.value()
        )


def _number(most: int) -> QSpinBox:
    box = QSpinBox()
    box.setRange(0, most)
    box.setSpecialValueText("what suits the data")
    return box
