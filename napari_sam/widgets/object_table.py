"""A table of objects: sorted by any column, as fast with ten thousand as with ten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from napari_sam.live.object_rows import ObjectRows
from napari_sam.scene import PixelSize

__all__ = ["ObjectTable", "ObjectTableModel", "unit_symbol"]

Index = QModelIndex | QPersistentModelIndex
_NOWHERE = QModelIndex()

_SYMBOLS = {
    "nanometer": "nm",
    "nanometre": "nm",
    "um": "µm",
    "micron": "µm",
    "micrometer": "µm",
    "micrometre": "µm",
    "millimeter": "mm",
    "millimetre": "mm",
    "centimeter": "cm",
    "centimetre": "cm",
    "meter": "m",
    "metre": "m",
    "kilometer": "km",
    "kilometre": "km",
}


def unit_symbol(unit: str) -> str:
    """Return how a unit of length is written; the unit itself if nobody knows.

    Examples
    --------
    >>> unit_symbol("micrometer"), unit_symbol("parsec")
    ('µm', 'parsec')
    """
    return _SYMBOLS.get(unit, unit)


@dataclass(frozen=True)
class _Column:
    """What stands at its head, what that means, and how its values are written."""

    head: str
    tip: str
    form: str = "{}"


_ID = _Column("Id", "The object's value in the labels")
_CLASS = _Column("Class", "What it is")
_AREA = _Column("Area, px", "In pixels of full resolution", "{:,}")
_IOU = _Column("Pred. IoU", "How well the network thinks its mask fits, 0 to 1", "{:.3f}")
_STABILITY = _Column("Stability", "How little its mask depends on the threshold, 0 to 1", "{:.3f}")
_LEVEL = _Column("Level", "At which it was found; 0 is full resolution, each next half as fine")
_DOUBT = _Column(
    "Doubt",
    "1 − predicted IoU × stability, a little more at the image's border; empty where no network "
    "was asked",
    "{:.3f}",
)
_ALIKE = _Column("Alike", "How much it is like the object asked for, −1 to 1", "{:.3f}")


class ObjectTableModel(QAbstractTableModel):
    """Objects, one row for each, in an order that is kept when they change.

    Parameters
    ----------
    parent : QWidget
        With whom it goes.
    """

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._rows, self._values = ObjectRows.none(), [np.zeros(0)] * 7
        self._columns = [_ID, _DOUBT, _CLASS, _AREA, _IOU, _STABILITY, _LEVEL]
        self._pixel_size: PixelSize | None = None
        self._alike: dict[int, float] | None = None
        self._sorted = _DOUBT.head, Qt.SortOrder.DescendingOrder

    def set_rows(self, rows: ObjectRows, pixel_size: PixelSize | None = None) -> None:
        """Show these objects.

        Parameters
        ----------
        rows : ObjectRows
            In any order.
        pixel_size : PixelSize, optional
            Of level 0: areas are shown in its unit as well.
        """
        same = pixel_size == self._pixel_size and self._alike is None
        if same and np.array_equal(np.sort(rows.ids), np.sort(self._rows.ids)):
            self._rearrange(rows)
            return
        self.beginResetModel()
        if self._sorted[0] == _ALIKE.head:
            self._sorted = _DOUBT.head, Qt.SortOrder.DescendingOrder
        self._pixel_size, self._alike = pixel_size, None
        self._take(rows)
        self.endResetModel()

    def set_alike(self, rows: ObjectRows, alike: Mapping[int, float]) -> None:
        """Show objects by how much they are like one, until `set_rows`.

        Parameters
        ----------
        rows : ObjectRows
            Those that are not named in `alike` are left out.
        alike : mapping of int to float
            How much, by id.
        """
        self.beginResetModel()
        if self._alike is None:
            self._sorted = _ALIKE.head, Qt.SortOrder.DescendingOrder
        self._alike = dict(alike)
        self._take(rows.where(np.isin(rows.ids, np.fromiter(alike, np.int64, len(alike)))))
        self.endResetModel()

    @property
    def rows(self) -> ObjectRows:
        """The objects, in the order in which they are shown."""
        return self._rows

    @property
    def sorted_by(self) -> tuple[int, Qt.SortOrder]:
        """Column and direction."""
        heads = [column.head for column in self._columns]
        name, order = self._sorted
        return (heads.index(name) if name in heads else 0), order

    def place_of(self, object_id: int) -> int | None:
        """Return the row of an object, or None."""
        found = np.flatnonzero(self._rows.ids == object_id)
        return int(found[0]) if len(found) else None

    def rowCount(self, parent: Index = _NOWHERE) -> int:
        """Return how many objects there are."""
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: Index = _NOWHERE) -> int:
        """Return how many columns there are."""
        return 0 if parent.isValid() else len(self._columns)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Return what stands at the head of a column."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return self._columns[section].head
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._columns[section].tip
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what stands in a cell."""
        column = self._columns[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            value = self._values[index.column()][index.row()]
            if column is _CLASS:
                return str(value)
            unknown = value == -1 if column is _LEVEL else np.isnan(value)
            return "" if unknown else column.form.format(value)
        if role == Qt.ItemDataRole.TextAlignmentRole and column is not _CLASS:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.UserRole:
            return int(self._rows.ids[index.row()])
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; what is unknown comes last, and ids decide a tie."""
        self._sorted = self._columns[column].head, order
        self._rearrange(self._rows)

    def _rearrange(self, rows: ObjectRows) -> None:
        """Show the same objects, which may have changed, in the order that is theirs now."""
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        ids = [int(self._rows.ids[index.row()]) for index in before]
        self._take(rows)
        places = {int(number): place for place, number in enumerate(self._rows.ids.tolist())}
        after = [
            self.index(places[number], index.column())
            for number, index in zip(ids, before, strict=True)
        ]
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

    def _take(self, rows: ObjectRows) -> None:
        self._columns, values = _described(rows, self._pixel_size, self._alike)
        column, order = self.sorted_by
        by = values[column]
        if by.dtype == object:
            by = np.unique(by.astype(str), return_inverse=True)[1]
        unknown = np.isnan(by) if by.dtype.kind == "f" else np.zeros(len(by), bool)
        keys = -by if order == Qt.SortOrder.DescendingOrder else by
        place = np.lexsort((rows.ids, keys, unknown))
        self._rows, self._values = rows.where(place), [column[place] for column in values]


def _described(
    rows: ObjectRows, pixel_size: PixelSize | None, alike: Mapping[int, float] | None
) -> tuple[list[_Column], list[np.ndarray]]:
    """Return the columns and their values."""
    shown = [
        (_ID, rows.ids),
        (_DOUBT, rows.doubts),
        (_CLASS, rows.classes),
        (_AREA, rows.areas),
    ]
    if pixel_size is not None:
        unit = unit_symbol(pixel_size.unit)
        column = _Column(f"Area, {unit}²", "By the pixel size of the image", "{:,.5g}")
        shown.append((column, rows.areas * (pixel_size.rows * pixel_size.cols)))
    shown += [
        (_IOU, rows.predicted_ious),
        (_STABILITY, rows.stabilities),
        (_LEVEL, rows.levels),
    ]
    if alike is not None:
        values = np.array([alike[number] for number in rows.ids.tolist()], np.float64)
        shown.insert(1, (_ALIKE, values))
    return [column for column, _ in shown], [values for _, values in shown]


class ObjectTable(QTableView):
    """The table; a click, or the arrow keys, choose an object.

    Parameters
    ----------
    parent : QWidget
        With whom it goes.
    """

    chosen = Signal(int)
    """The id of the object that a person chose."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.objects = ObjectTableModel(self)
        self._current: int | None = None
        self._scrolled = 0
        self.objects.modelAboutToBeReset.connect(self._before_reset)
        self.setModel(self.objects)
        self.objects.modelReset.connect(self._after_reset)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)  # Tab goes on to the next control
        rows, columns = self.verticalHeader(), self.horizontalHeader()
        rows.hide()
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        rows.setDefaultSectionSize(self.fontMetrics().height() + 6)
        columns.setHighlightSections(False)
        self._show_order()
        self.setSortingEnabled(True)
        self.clicked.connect(self._click)
        self.setToolTip("A click goes to the object; a click on a head sorts")

    def select(self, object_id: int | None) -> None:
        """Mark an object's row and bring it into view, as if nobody had clicked."""
        self._current = object_id
        place = None if object_id is None else self.objects.place_of(object_id)
        model = self.selectionModel()
        if place is None:
            model.clear()
            return
        index = self.objects.index(place, 0)
        flags = model.SelectionFlag.ClearAndSelect | model.SelectionFlag.Rows
        model.setCurrentIndex(index, flags)
        self.scrollTo(index)

    @property
    def current(self) -> int | None:
        """The id of the object whose row is marked."""
        return self._current

    def fit_columns(self) -> None:
        """Make columns as wide as what is seen of them."""
        self.resizeColumnsToContents()

    def keyPressEvent(self, event: Any) -> None:
        """Go up and down with the keys, and tell where that leads."""
        super().keyPressEvent(event)
        index = self.currentIndex()
        if index.isValid() and self.objects.data(index, Qt.ItemDataRole.UserRole) != self._current:
            self._click(index)

    def _click(self, index: QModelIndex) -> None:
        self._current = self.objects.data(index, Qt.ItemDataRole.UserRole)
        self.chosen.emit(self._current)

    def _before_reset(self) -> None:
        self._scrolled = self.verticalScrollBar().value()

    def _after_reset(self) -> None:
        self._show_order()
        place = None if self._current is None else self.objects.place_of(self._current)
        if place is None:
            self._current = None
        else:
            model = self.selectionModel()
            flags = model.SelectionFlag.ClearAndSelect | model.SelectionFlag.Rows
            model.setCurrentIndex(self.objects.index(place, 0), flags)
        self.verticalScrollBar().setValue(self._scrolled)

    def _show_order(self) -> None:
        header = self.horizontalHeader()
        header.blockSignals(True)  # it is sorted already
        header.setSortIndicator(*self.objects.sorted_by)
        header.blockSignals(False)
