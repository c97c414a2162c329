"""The frames of a volume as one array, each decoded when it is first looked at."""

import threading
from collections import OrderedDict
from typing import Any

import numpy as np

from napari_sam.files.medical.dicom_headers import Frame
from napari_sam.files.medical.dicom_pixels import decode_frame
from napari_sam.files.medical.rescaling import rescaled, rescaled_type

__all__ = ["FrameStack"]

_KEPT = 640 << 20
"""Bytes of decoded frames that are kept: 1000 slices of 512 x 512 and 16 bits. Planes across the
slices need all of them, and would decode all of them again and again."""


class FrameStack:
    """An array of frames, (time, slice, row, col) and samples; times and slices may be left out.

    It can be read from several threads, and pickled: without what it has decoded.

    Parameters
    ----------
    frames : tuple of tuple of (Frame or None)
        For each time, for each slice; missing ones are filled with `empty`.
    has_times, has_depth : bool
        Whether these are axes.
    empty : float or None
        By default what `empty_of` says.
    """

    def __init__(
        self,
        frames: tuple[tuple[Frame | None, ...], ...],
        has_times: bool,
        has_depth: bool,
        empty: float | None,
    ) -> None:
        given = [frame for time in frames for frame in time if frame is not None]
        self._frames, self._front = frames, (has_times, has_depth)
        form = given[0].form
        self._samples = (3,) if form.in_colour else ()
        self.dtype = np.dtype(np.uint8) if form.in_colour else _type_of(given)
        self._empty = empty_of(self.dtype) if empty is None else empty
        sizes = (len(frames), len(frames[0]))
        front = [size for size, there in zip(sizes, self._front, strict=True) if there]
        self.shape: tuple[int, ...] = (*front, form.rows, form.cols, *self._samples)
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._decoded: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        """Leave what was decoded behind."""
        left = ("_lock", "_decoded")
        return {key: value for key, value in vars(self).items() if key not in left}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._start()

    def __getitem__(self, selection: Any) -> np.ndarray:
        """Read a part, by integers and slices.

        Raises
        ------
        InputError
            If a file is damaged or gone.
        """
        given = selection if isinstance(selection, tuple) else (selection,)
        given = (*given, *(slice(None),) * (len(self.shape) - len(given)))
        count = sum(self._front)
        front, window = list(given[:count]), given[count:]
        times = front.pop(0) if self._front[0] else 0
        slices = front.pop(0) if self._front[1] else 0
        numbers = [
            list(range(length)[part]) if isinstance(part, slice) else [range(length)[part]]
            for part, length in ((times, len(self._frames)), (slices, len(self._frames[0])))
        ]
        blocks = [[self._frame(t, z)[window] for z in numbers[1]] for t in numbers[0]]
        if blocks and blocks[0]:
            result = np.array(blocks, self.dtype)
        else:
            inner = np.empty(self.shape[count:], self.dtype)[window]
            result = np.empty((len(numbers[0]), len(numbers[1]), *inner.shape), self.dtype)
        chosen = [slice(None) if isinstance(part, slice) else 0 for part in (times, slices)]
        part: np.ndarray = result[tuple(chosen)]
        return part

    def _frame(self, time: int, number: int) -> np.ndarray:
        key = (time, number)
        with self._lock:
            if (kept := self._decoded.get(key)) is not None:
                self._decoded.move_to_end(key)
                return kept
        frame = self._frames[time][number]
        if frame is None:
            values = np.full(self.shape[sum(self._front) :], self._empty, self.dtype)
        else:
            values = self._values(frame)
        with self._lock:
            self._decoded[key] = values
            while len(self._decoded) > 1 and len(self._decoded) * values.nbytes > _KEPT:
                self._decoded.popitem(last=False)
        return values

    def _values(self, frame: Frame) -> np.ndarray:
        stored = decode_frame(frame.form, frame.number)
        if self._samples:
            return stored
        if frame.form.photometric == "MONOCHROME1":
            low, high = frame.form.limits
            stored = stored.dtype.type(low + high) - stored
        return rescaled(stored, frame.slope, frame.intercept, self.dtype)


def _type_of(frames: list[Frame]) -> np.dtype:
    forms = {frame.form.dtype for frame in frames}
    stored = np.result_type(*forms)
    limits = [frame.form.limits for frame in frames]
    low, high = min(low for low, _ in limits), max(high for _, high in limits)
    return rescaled_type(stored, low, high, {(f.slope, f.intercept) for f in frames})


def empty_of(dtype: np.dtype) -> float:
    """Return what stands where there is no slice: the smallest value, or NaN."""
    return float("nan") if dtype.kind == "f" else float(np.iinfo(dtype).min)
