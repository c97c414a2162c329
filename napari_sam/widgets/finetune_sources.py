"""What a model is to learn from: the objects of the image, and what a person adds to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_sam.errors import InputError
from napari_sam.live.teaching import (
    Wanted,
    from_folders,
    from_labels_layer,
    from_own_objects,
    from_session_folder,
)

from .controls import button, in_a_row
from .layer_prompts import labels_on_scene

if TYPE_CHECKING:
    from napari.layers import Layer

    from .attached import Attachment

__all__ = ["Sources"]

_ROLE = Qt.ItemDataRole.UserRole
_ROWS = 3
"""Of the list; the others are scrolled to."""

Finished = Mapping[tuple[int, int], list[np.ndarray]]


class Sources(QWidget):
    """A list of what is learned from; what is ticked counts.

    Parameters
    ----------
    attachment : Attachment
        Of the viewer.
    """

    changed = Signal()
    """Something was added, removed or ticked."""

    def __init__(self, attachment: Attachment) -> None:
        super().__init__()
        self._attachment = attachment
        self._added: list[Callable[[], Wanted]] = []
        self.list = QListWidget()
        self.list.setToolTip("What is ticked is learned from")
        self.list.setAccessibleName("what is learned from")
        self.add = QPushButton("Add ...")
        self.add.setToolTip("Add the objects of another image, a labels layer, or pictures")
        self.menu = QMenu(self)
        self.menu.aboutToShow.connect(self.offer)
        self.add.setMenu(self.menu)
        self.remove = button("Remove", "Remove what is selected from the list", self._remove)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.list)
        layout.addWidget(in_a_row(self.add, self.remove))
        height = self.fontMetrics().height() * 3 // 2 * _ROWS
        self.list.setFixedHeight(height + 2 * self.list.frameWidth())
        self.list.currentRowChanged.connect(lambda row: self.remove.setEnabled(row > 0))
        self.list.itemChanged.connect(lambda _: self.changed.emit())
        self.remove.setEnabled(False)
        self._put("The objects of this image", None)

    def wanted(self, finished: Finished) -> list[Wanted]:
        """Return what is ticked.

        Parameters
        ----------
        finished : mapping
            Regions in which all objects of this image are outlined, by plane.

        Raises
        ------
        InputError
            If nothing is, or something of it is gone.
        """
        found = []
        for row in range(self.list.count()):
            item = self.list.item(row)
            if item is None or item.checkState() != Qt.CheckState.Checked:
                continue
            number = item.data(_ROLE)
            if number is not None:
                found.append(self._added[number]())
            elif self._attachment.workplace is None:
                raise InputError("No image is open: open it in Segment first, or take its tick.")
            else:
                found.append(from_own_objects(self._attachment.workplace.session, finished))
        if not found:
            raise InputError("Nothing is ticked to learn from: tick the objects of this image.")
        return found

    def offer(self) -> None:
        """List what can be added at this moment."""
        self.menu.clear()
        for text, add in (
            ("The objects of another image ...", self._choose_session),
            ("A folder of pictures ...", self._choose_folder),
        ):
            self.menu.addAction(text, add)
        attachment = self._attachment
        layers = [
            layer
            for layer in attachment.viewer.layers
            if isinstance(layer, Labels) and layer is not attachment.objects_layer
        ]
        for layer in layers if attachment.workplace is not None else ():
            self.menu.addAction(f"The labels in {layer.name}", partial(self.add_labels, layer))

    def add_session(self, folder: Path) -> None:
        """Learn from the objects that were kept of another image."""
        wanted = from_session_folder(folder)
        self._put(wanted.name, lambda: wanted)

    def add_pictures(self, images: Path, labels: Path | None) -> None:
        """Learn from a folder of pictures, with label maps or what else says where objects are."""
        wanted = from_folders(images, labels)
        self._put(wanted.name, lambda: wanted)

    def add_labels(self, layer: Layer) -> None:
        """Learn from the labels of a layer, as they lie on the image that is open."""
        image = self._attachment.workplace

        def want() -> Wanted:
            workplace = self._attachment.workplace
            if layer not in self._attachment.viewer.layers:
                raise InputError(f"The layer {layer.name} is gone: remove it from the list.")
            if workplace is None or workplace is not image:
                raise InputError(
                    f"The labels in {layer.name} are of another image: open that, or remove them "
                    f"from the list."
                )
            assert isinstance(layer, Labels)
            labels = labels_on_scene(self._attachment, layer)
            return from_labels_layer(workplace.scene, labels, layer.name)

        self._put(f"The labels in {layer.name}", want)

    def _choose_session(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "The folder IMAGE.napari-sam")
        if folder:
            self._try(lambda: self.add_session(Path(folder)))

    def _choose_folder(self) -> None:
        images = QFileDialog.getExistingDirectory(self, "The folder of images")
        if not images:
            return
        try:
            self.add_pictures(Path(images), None)
        except InputError:  # what is outlined lies elsewhere
            labels = QFileDialog.getExistingDirectory(self, "The folder of their label maps")
            if labels:
                self._try(lambda: self.add_pictures(Path(images), Path(labels)))

    def _try(self, do: Callable[[], None]) -> None:
        try:
            do()
        except InputError as error:
            self._attachment.say(str(error), "warning")

    def _put(self, name: str, want: Callable[[], Wanted] | None) -> None:
        item = QListWidgetItem(name)
        item.setToolTip(name)
        if want is not None:
            item.setData(_ROLE, len(self._added))
            self._added.append(want)
        item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
        item.setCheckState(Qt.CheckState.Checked)
        self.list.addItem(item)

    def _remove(self) -> None:
        row = self.list.currentRow()
        if row > 0:
            self.list.takeItem(row)
            self.changed.emit()
