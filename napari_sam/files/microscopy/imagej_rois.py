"""A zip of ImageJ's regions of interest, which its ROI Manager opens."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam.extras import need
from napari_sam.files.labelled import Labelled
from napari_sam.files.microscopy.rings import Outlined, outlined
from napari_sam.files.outputs import written_together
from napari_sam.files.rasters import told
from napari_sam.provenance import provenance_said

__all__ = ["write_imagej_rois"]

_FURTHEST = 60535
"""The largest coordinate that ImageJ reads as a whole number; larger ones are fractions."""

_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0
"""Steps of a path."""


def write_imagej_rois(path: Path, labelled: Labelled) -> None:
    """Write outlines along the edges of pixels: polygons, or paths where there are holes or parts.

    A region is named by id and class, and by its plane where there are several. What is known of
    it, and where it comes from, are its properties.

    Parameters
    ----------
    path : Path
        Of the .zip file; replaced when the new one is whole.
    labelled : Labelled
        The objects.

    Raises
    ------
    InputError
        If roifile is missing, or it cannot be written.

    References
    ----------
    .. [1] https://imagej.net/ij/developer/source/ij/io/RoiEncoder.java.html
    """
    roifile = need("roifile", "microscopy")
    said = provenance_said(labelled.provenance)
    with (
        told(path),
        written_together(path) as (partial,),
        zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        archive.comment = said.encode("utf-8", "replace")[:65535]
        for one in outlined(labelled):
            roi = _region(roifile, one)
            roi.name = _name(labelled, one)
            roi.props = _properties(labelled.row(one.id), labelled.provenance)
            _put_in_stack(roi, labelled, one)
            archive.writestr(f"{roi.name}.roi", roi.tobytes())


def _region(roifile: Any, one: Outlined) -> Any:
    """Return the outline: a polygon where one ring with small coordinates is all there is."""
    rings = [ring for polygon in one.polygons for ring in polygon]
    every = np.concatenate(rings)
    (left, top), (right, bottom) = every.min(0).tolist(), every.max(0).tolist()
    roi = roifile.ImagejRoi()
    roi.left, roi.top, roi.right, roi.bottom = left, top, right, bottom
    if len(rings) == 1 and max(right, bottom) <= _FURTHEST and len(every) <= _FURTHEST:
        roi.roitype = roifile.ROI_TYPE.POLYGON
        roi.n_coordinates = len(every)
        roi.integer_coordinates = every.astype(np.int32) - [left, top]
        return roi
    path = np.concatenate([_path(ring) for ring in rings]).astype(np.float32)
    roi.roitype = roifile.ROI_TYPE.RECT
    roi.shape_roi_size = len(path)
    roi.multi_coordinates = path
    return roi


def _path(ring: np.ndarray) -> np.ndarray:
    steps = np.column_stack([np.full(len(ring), _LINE), ring])
    steps[0, 0] = _MOVE
    return np.append(steps.ravel(), _CLOSE)


def _put_in_stack(roi: Any, labelled: Labelled, one: Outlined) -> None:
    """Tell the plane: ImageJ counts from 1, and planes of stacks with a single axis differently."""
    stacked = {"T": one.t, "Z": one.z}
    shown = [axis for axis in "TZ" if axis in labelled.axes]
    several = "C" in labelled.scene.axes and len(labelled.scene.channel_names) > 1
    if len(shown) == 1 and not several:
        roi.position = stacked[shown[0]] + 1
    elif shown:
        roi.t_position = one.t + 1 if "T" in shown else 0
        roi.z_position = one.z + 1 if "Z" in shown else 0


def _name(labelled: Labelled, one: Outlined) -> str:
    """Name a region: also the name of its file in the archive, which must lead nowhere."""
    label = labelled.row(one.id).get("class")
    place = {"T": f"t{one.t}", "Z": f"z{one.z}"}
    plane = [place[axis] for axis in labelled.axes[:-2]]
    words = " ".join([str(one.id), *([str(label)] if label else []), *plane])
    return re.sub(r"[^\w .+-]|[^\u0020-\uffff]", "_", words)


def _properties(row: Mapping[str, Any], provenance: Mapping[str, str]) -> str:
    """Return lines of "key: value", as ImageJ keeps them."""
    known = {key: value for key, value in row.items() if value is not None}
    lines = []
    for key, value in {**known, **provenance}.items():
        text = re.sub(r"[^\u0020-\uffff]", " ", f"{key}: {value}")
        lines.append(text)
    return "\n".join(lines) + "\n"
