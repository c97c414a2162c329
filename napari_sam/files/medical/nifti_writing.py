"""Labels as NIfTI, voxel for voxel on the grid of the image they belong to."""

from __future__ import annotations

import gzip
import json
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np

from napari_sam.errors import InputError
from napari_sam.extras import need
from napari_sam.files.labelled import Labelled
from napari_sam.files.medical.label_volume import grid_of, laid_out
from napari_sam.files.medical.segments import colour_of
from napari_sam.files.outputs import written_together
from napari_sam.provenance import provenance_said
from napari_sam.scenes.volume_grid import VolumeGrid

__all__ = ["write_nifti"]

_COMMENT, _CARET = 6, 30
"""NIfTI's numbers of extensions: plain text, and the table of labels of Connectome Workbench."""

_GEOMETRY = (
    "pixdim",
    "xyzt_units",
    "qform_code",
    "sform_code",
    "quatern_b",
    "quatern_c",
    "quatern_d",
    "qoffset_x",
    "qoffset_y",
    "qoffset_z",
    "srow_x",
    "srow_y",
    "srow_z",
)
_SCANNER, _MILLIMETRES = 1, 2
_LONGEST = 32767
"""Of an axis in NIfTI-1."""

_TURN = np.diag((-1.0, -1.0, 1.0, 1.0))
"""From DICOM's coordinates (left, posterior, superior) to NIfTI's (right, anterior, superior)."""


def write_nifti(path: Path, labelled: Labelled) -> None:
    """Write labels as NIfTI; a file of that name is replaced when it is whole.

    The voxels are those of the image: of a NIfTI with its shape, order of axes, affine, both forms
    with their codes, and units; of other volumes in the order of the file's own axes. Voxels of
    planes without labels are 0. Labels of one time are a volume, those of several have a fourth
    axis. Names, colours and what is known of the objects and of their origin lie in two extensions:
    JSON as a comment, and a table of labels as Connectome Workbench has it.

    Parameters
    ----------
    path : Path
        Ending in .nii or .nii.gz.
    labelled : Labelled
        Of a scene with a grid, along any axis.

    Raises
    ------
    InputError
        If the image has no place in a patient, is gone or another one by now, or the file cannot
        be written.
    """
    need("nibabel", "medical")
    name = path.name.lower()
    if not name.endswith((".nii", ".nii.gz")):
        raise InputError(f"{path} does not end in .nii or .nii.gz: choose a name that does.")
    grid = grid_of(labelled).as_stored()
    source = _source_header(labelled, grid)
    times = sorted({t for t, _ in labelled.planes})
    volumes = [grid_of(labelled).to_stored(laid_out(labelled, time)) for time in times]
    dtype = np.result_type(*volumes)
    data = np.stack(volumes, axis=-1) if len(times) > 1 else volumes[0]
    image = _image(data.astype(dtype, copy=False), grid, source)
    image.header["descrip"] = provenance_said(labelled.provenance).encode("ascii", "replace")[:79]
    _add_extensions(image.header, labelled, volumes)
    try:
        with written_together(path) as (part,), ExitStack() as stack:
            stream: IO[bytes] = stack.enter_context(part.open("wb"))
            if name.endswith(".gz"):
                # Neither name nor time, so that the same labels are the same file.
                packed = gzip.GzipFile("", "wb", 6, stream, mtime=0)
                stream = stack.enter_context(packed)  # type: ignore[assignment]
            image.to_stream(stream)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}).") from error


def _source_header(labelled: Labelled, grid: VolumeGrid) -> Any:
    """Read the header of the image again, if it is a NIfTI; else None."""
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    file = labelled.scene._file
    if file is None or not file.name.lower().endswith((".nii", ".nii.gz", ".hdr", ".img")):
        return None
    labelled.scene.check_there()
    try:
        source = nibabel.load(file)
        shape = (*source.shape[:3], 1, 1)[:3]
        same = shape == grid.shape and np.allclose(
            _TURN @ source.affine, grid.matrix, rtol=1e-5, atol=1e-4
        )
    except (OSError, ValueError, ImageFileError) as error:
        raise InputError(
            f"{labelled.scene.name} cannot be read any more: look whether it was damaged or "
            f"replaced since it was opened."
        ) from error
    if not same:
        raise InputError(
            f"{labelled.scene.name} has another size or place than when it was opened: open it "
            f"again, and look whether its objects still fit."
        )
    return source.header


def _image(data: np.ndarray, grid: VolumeGrid, source: Any) -> Any:
    """Make an image without anything of the source but where its voxels lie."""
    import nibabel

    large = max(data.shape) > _LONGEST or isinstance(source, nibabel.Nifti2Header)
    kind = nibabel.Nifti2Image if large else nibabel.Nifti1Image
    image = kind(data, _TURN @ grid.matrix, dtype=data.dtype)
    header = image.header
    if isinstance(source, nibabel.Nifti1Header):  # Nifti2Header is one of them
        for name in _GEOMETRY:
            header[name] = source[name]
    else:
        header.set_sform(_TURN @ grid.matrix, _SCANNER)
        header.set_qform(_TURN @ grid.matrix, _SCANNER, strip_shears=True)
        header["xyzt_units"] = _MILLIMETRES
    header["cal_max"] = float(data.max(initial=0))
    header.set_intent("label")
    return image


def _add_extensions(header: Any, labelled: Labelled, volumes: list[np.ndarray]) -> None:
    from nibabel.nifti1 import Nifti1Extension

    ids = sorted(set().union(*(np.unique(volume).tolist() for volume in volumes)) - {0})
    said = {
        "provenance": dict(labelled.provenance),
        "labels": {str(number): dict(labelled.row(number)) for number in ids},
    }
    text = json.dumps(said, default=str, separators=(",", ":"))
    header.extensions.append(Nifti1Extension(_COMMENT, text.encode()))
    header.extensions.append(Nifti1Extension(_CARET, _label_table(labelled, ids).encode()))


def _label_table(labelled: Labelled, ids: list[int]) -> str:
    from xml.etree import ElementTree

    root = ElementTree.Element("CaretExtension")
    table = ElementTree.SubElement(
        ElementTree.SubElement(root, "VolumeInformation", Index="0"), "LabelTable"
    )
    for number in ids:
        red, green, blue = (f"{part / 255:.4f}" for part in colour_of(number))
        label = ElementTree.SubElement(
            table, "Label", Key=str(number), Red=red, Green=green, Blue=blue, Alpha="1"
        )
        label.text = str(labelled.row(number).get("class") or f"object {number}")
    return ElementTree.tostring(root, encoding="unicode")
