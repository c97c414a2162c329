"""Labels as NIfTI, voxel for voxel on the grid of the image they belong to."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam.errors import InputError
from napari_sam.extras import need
from napari_sam.files.labelled import Labelled
from napari_sam.files.medical.label_volume import grid_of, laid_out
from napari_sam.files.medical.nifti import nifti_header, open_nifti
from napari_sam.files.medical.segments import colour_of
from napari_sam.files.outputs import written_together
from napari_sam.provenance import provenance_said

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
    with their codes, and units; of DICOM and others with the columns, rows and slices of their
    files. Voxels of planes without labels are 0. Labels of one time are a volume, those of several
    have a fourth axis. Names, colours and what is known of the objects and of their origin lie in
    two extensions: JSON as a comment, and a table of labels as Connectome Workbench has it.

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
    grid = grid_of(labelled)
    source = _source_header(labelled)
    times = sorted({t for t, _ in labelled.planes})
    volumes = [grid.to_stored(laid_out(labelled, time)) for time in times]
    affine = _TURN @ grid.as_stored().matrix
    if source is None:
        # Files have their slices first, rows second: NIfTI's first axis runs along the rows.
        volumes = [volume.transpose(2, 1, 0) for volume in volumes]
        affine = affine[:, [2, 1, 0, 3]]
    data = np.stack(volumes, axis=-1) if len(times) > 1 else volumes[0]
    image = _image(data, affine, source)
    image.header["descrip"] = provenance_said(labelled.provenance).encode("ascii", "replace")[:79]
    _add_extensions(image.header, labelled, data)
    try:
        with written_together(path) as (part,), part.open("wb") as file:
            if name.endswith(".gz"):
                # Neither name nor time, so that the same labels are the same file.
                with gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
                    image.to_stream(packed)
            else:
                image.to_stream(file)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}).") from error


def _source_header(labelled: Labelled) -> Any:
    """Read the header of the image again, if it is a NIfTI; else None."""
    scene, file = labelled.scene, labelled.scene._file
    if file is None or not file.name.lower().endswith((".nii", ".nii.gz")):
        return None
    scene.check_there()
    if open_nifti(file).grid != scene.grid:
        raise InputError(
            f"{scene.name} has another size or place than when it was opened: open it again, and "
            f"look whether its objects still fit."
        )
    return nifti_header(file)


def _image(data: np.ndarray, affine: np.ndarray, source: Any) -> Any:
    """Make an image that has nothing of the source but where its voxels lie."""
    import nibabel

    large = max(data.shape) > _LONGEST or isinstance(source, nibabel.Nifti2Header)
    header = nibabel.Nifti2Header() if large else nibabel.Nifti1Header()
    header.set_data_dtype(data.dtype)
    header.set_data_shape(data.shape)
    if source is None:
        header.set_zooms([*np.linalg.norm(affine[:3, :3], axis=0), 1.0][: data.ndim])
        header.set_sform(affine, _SCANNER)
        header.set_qform(affine, _SCANNER, strip_shears=True)
        header["xyzt_units"] = _MILLIMETRES
    else:
        for name in _GEOMETRY:
            header[name] = source[name]
    header["cal_max"] = float(data.max(initial=0))
    header.set_intent("label")
    # Without an affine of its own nothing in the header is changed by it.
    kind = nibabel.Nifti2Image if large else nibabel.Nifti1Image
    return kind(data, None, header)


def _add_extensions(header: Any, labelled: Labelled, data: np.ndarray) -> None:
    from nibabel.nifti1 import Nifti1Extension

    ids = [number for number in np.unique(data).tolist() if number]
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
