"""DICOM: a folder or any file of a series -> a Source, laid out as radiologists expect."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_sam.errors import InputError, SeveralParts
from napari_sam.files.medical.dicom_files import dicom_files, is_dicom
from napari_sam.files.medical.dicom_headers import DicomFile, Frame, NoImage, read_header
from napari_sam.files.medical.dicom_pixels import decode_frame
from napari_sam.files.medical.dicom_series import Arrangement, arrange, same_kind
from napari_sam.files.medical.dicom_stack import FrameStack, empty_of
from napari_sam.files.medical.dicom_windows import with_ct_windows
from napari_sam.files.medical.laid_out import LaidOut
from napari_sam.scenes.axes import LazyArray
from napari_sam.scenes.sources import PixelSize, Source, colour_names
from napari_sam.scenes.volume_grid import VolumeGrid

__all__ = ["dicom_frames", "dicom_parts", "is_dicom", "open_dicom"]

_LISTED = 12
"""Parts that a message lists."""


@dataclass(frozen=True)
class Part:
    """The frames of one volume, before they are in order.

    Parameters
    ----------
    name : str
        What it is called in ``part=``.
    files : tuple of DicomFile
        That its frames are in.
    frames : tuple of Frame
        Of one kind.
    """

    name: str
    files: tuple[DicomFile, ...]
    frames: tuple[Frame, ...]

    def __str__(self) -> str:
        head, form = self.files[0], self.frames[0].form
        words = [word for word in (head.modality, head.description) if word]
        size = f"{form.cols} x {form.rows}, {len(self.frames)} slice"
        return f"part={self.name!r} ({', '.join([*words, size])}{'s'[: len(self.frames) != 1]})"


def open_dicom(path: Path | str, part: str | None = None) -> Source:
    """Open a volume of DICOM files; only headers are read.

    Parameters
    ----------
    path : path
        A folder, whose files and those one level below are looked through; or a file, which brings
        all files of its series that lie beside it.
    part : str, optional
        Which of several volumes, see `dicom_parts`.

    Returns
    -------
    Source
        Axes ``ZYX``, ``TZYX`` where several lie at each place, ``YX`` or ``TYX`` where nothing
        tells a place, and ``S`` behind for colours. Slices are decoded when they are read.
        Nothing in it names the patient.

    Raises
    ------
    InputError
        If there is no image, there are several and none is chosen, or the slices are of no regular
        grid.
    """
    path = Path(path)
    parts, damaged = _parts(path)
    chosen = _choose(parts, part, path)
    return _source(str(path), chosen, damaged)


def dicom_parts(path: Path | str) -> tuple[str, ...]:
    """Name the volumes in a folder, or in the series of a file.

    Raises
    ------
    InputError
        If there is none.
    """
    return tuple(part.name for part in _parts(Path(path))[0])


def dicom_frames(path: Path | str, part: str | None = None) -> Arrangement:
    """Find the frames of a volume in order, with their places, as `open_dicom` has them.

    Raises
    ------
    InputError
        As `open_dicom`.
    """
    path = Path(path)
    return _arranged(str(path), _choose(_parts(path)[0], part, path))


def _parts(path: Path) -> tuple[list[Part], int]:
    """Return all volumes, and how many files are damaged."""
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder.")
    if path.is_dir():
        files, damaged = _read(list(dicom_files(path)))
        if not files:
            raise InputError(f"{path} holds no DICOM images, nor does a folder in it.")
        return _named(files), damaged
    try:
        head = read_header(path)
    except NoImage:
        raise InputError(
            f"{path} is DICOM and no image (an index, a report, a plan or a segmentation): give "
            "the folder of a series."
        ) from None
    if len(head.frames) > 1:
        return _named([head]), 0
    beside = [file for file in dicom_files(path.parent) if file.parent == path.parent]
    files, damaged = _read([file for file in beside if file != path])
    series = [file for file in files if file.series == head.series and len(file.frames) == 1]
    return _named([head, *series]), damaged


def _read(paths: Sequence[Path]) -> tuple[list[DicomFile], int]:
    files, damaged = [], 0
    for path in paths:
        try:
            files.append(read_header(path))
        except NoImage:
            continue
        except InputError:
            damaged += 1
    return files, damaged


def _named(files: Sequence[DicomFile]) -> list[Part]:
    """Put the frames of one kind of one series together, and call them by the series' number."""
    series: dict[tuple[str, ...], list[DicomFile]] = {}
    for file in files:
        # A file of many frames is a volume of its own.
        own = (str(file.path),) if len(file.frames) > 1 else ()
        series.setdefault((*file.series, *own), []).append(file)
    kinds = [
        (members[0].series_number, frames)
        for members in sorted(series.values(), key=_by_number)
        for frames in _kinds(members)
    ]
    numbers = [number for number, _ in kinds]
    by_path = {file.path: file for file in files}
    parts = []
    for place, (number, frames) in enumerate(kinds):
        name = number or "series"
        if numbers.count(number) > 1 or not number:
            name = f"{name}.{numbers[: place + 1].count(number)}"
        holders = tuple(by_path[path] for path in dict.fromkeys(f.form.path for f in frames))
        parts.append(Part(name, holders, tuple(frames)))
    return parts


def _kinds(files: Sequence[DicomFile]) -> list[list[Frame]]:
    """Part the frames of a series where one grid cannot hold them."""
    kinds: list[list[Frame]] = []
    for frame in (frame for file in files for frame in file.frames):
        for kind in kinds:
            if same_kind(kind[0], frame):
                kind.append(frame)
                break
        else:
            kinds.append([frame])
    return kinds


def _by_number(files: Sequence[DicomFile]) -> tuple[int, str]:
    number = files[0].series_number
    return (int(number) if number.isdigit() else 1 << 31, str(files[0].path))


def _choose(parts: Sequence[Part], part: str | None, path: Path) -> Part:
    listed = ", ".join(map(str, parts[:_LISTED]))
    if len(parts) > _LISTED:
        listed += f" and {len(parts) - _LISTED} more"
    if part is not None:
        for candidate in parts:
            if candidate.name == part:
                return candidate
        raise InputError(f"{path} has no part={part!r}; it has {listed}.")
    if path.is_file():
        parts = [one for one in parts if any(file.path == path for file in one.files)]
    if len(parts) > 1:
        raise SeveralParts(
            f"{path} holds {len(parts)} volumes; choose one, or open one of its files: {listed}.",
            [one.name for one in parts],
        )
    return parts[0]


def _arranged(name: str, part: Part) -> Arrangement:
    files = {file.path: file for file in part.files}
    thickness = part.files[0].thickness
    return arrange(part.frames, name, thickness, lambda a, b: _are_equal(files, a, b))


def _source(name: str, part: Part, damaged: int) -> Source:
    files = {file.path: file for file in part.files}
    thickness = part.files[0].thickness
    arranged = _arranged(name, part)
    has_place = arranged.affine is not None
    head = files[_middle(arranged).form.path]
    stack = FrameStack(
        arranged.frames, arranged.has_times, has_place, None if _colour(part) else head.padding
    )
    first = _middle(arranged)
    array: LazyArray = stack
    axes = "T" * arranged.has_times + "Z" * has_place + "YX" + "S" * first.form.in_colour
    grid, depth = None, None
    size = None if first.spacing is None else PixelSize(*first.spacing, "millimeter")
    if arranged.affine is not None:
        start = int(arranged.has_times)
        try:
            grid = VolumeGrid.lay_out(
                arranged.affine, stack.shape[start : start + 3], head.frame_of_reference
            )
        except ValueError:
            raise InputError(f"{name} is damaged: it says of no volume where it lies.") from None
        array = LaidOut(stack, grid, start)
        size = PixelSize(grid.spacing[1], grid.spacing[2], "millimeter")
        depth = grid.plane_distance if arranged.has_depth else thickness
    missing = any(frame is None for time in arranged.frames for frame in time)
    nodata = None if _colour(part) else head.padding
    if nodata is None and missing and not np.isnan(empty := empty_of(stack.dtype)):
        nodata = empty
    windows = () if _colour(part) else head.windows
    return Source(
        name,
        (array,),
        axes,
        colour_names(3) if _colour(part) else (),
        size,
        nodata=nodata,
        depth=depth,
        grid=grid,
        windows=with_ct_windows(windows) if head.hounsfield else windows,
        notes=(*arranged.notes, *_notes(part, head, damaged, grid)),
    )


def _colour(part: Part) -> bool:
    return part.frames[0].form.in_colour


def _middle(arranged: Arrangement) -> Frame:
    """Return a frame in the middle, whose header speaks for all."""
    frames = [frame for time in arranged.frames for frame in time if frame is not None]
    return frames[len(frames) // 2]


def _are_equal(files: dict[Path, DicomFile], one: Frame, other: Frame) -> bool:
    """Tell whether two frames are the same: by the name of the instance, else by their pixels."""
    names = [files[frame.form.path].instance for frame in (one, other)]
    if one.form.path != other.form.path and names[0] and names[0] == names[1]:
        return True
    if (one.slope, one.intercept) != (other.slope, other.intercept):
        return False
    return np.array_equal(
        decode_frame(one.form, one.number), decode_frame(other.form, other.number)
    )


def _notes(part: Part, head: DicomFile, damaged: int, grid: VolumeGrid | None) -> list[str]:
    notes = []
    if damaged:
        files = "1 file beside it is" if damaged == 1 else f"{damaged} files beside it are"
        notes.append(f"{files} damaged, and left out.")
    if grid is not None and (plane := _plane_made(grid)) is not None:
        notes.append(
            f"Its slices were made {plane[0]}: they are seen when it is looked along {plane[1]}."
        )
    if head.frames[0].form.photometric == "MONOCHROME1":
        notes.append("Its values are stored as a negative and are turned round (MONOCHROME1).")
    if head.sigmoid:
        notes.append("Its windows are curves (SIGMOID), and are taken as straight.")
    if head.magnified:
        notes.append("Sizes are those on the detector, which are larger than those in the patient.")
    if all(file.identity_removed for file in part.files):
        notes.append("The files say that the patient's identity was removed.")
    else:
        notes.append("The files do not say that the patient's identity was removed.")
    if any(file.burned_in for file in part.files):
        notes.append("The files say that the patient's data is written into the pixels.")
    return notes


def _plane_made(grid: VolumeGrid) -> tuple[str, str] | None:
    """Return the plane that slices were made in and the axis to look along; None for axial."""
    axis = [stored for stored, _ in grid.stored].index(0)
    if axis == 0:
        return None
    across = "".join(grid.ends(axis))
    plane = {"A": "coronal", "P": "coronal", "R": "sagittal", "L": "sagittal"}.get(across[0])
    return None if plane is None else (plane, "zyx"[axis])
