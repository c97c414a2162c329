"""COCO's JSON: objects as boxes and compressed run lengths."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import napari_sam
from napari_sam.errors import InputError
from napari_sam.files.labelled import Labelled, LabelledWindow, windows
from napari_sam.files.outputs import written_together
from napari_sam.files.rasters import told
from napari_sam.provenance import provenance_said
from src_model.rle import coco_encode_rle, rle_from_window

__all__ = ["coco_content", "write_coco"]

_LARGEST = (1 << 32) - 1
"""Pixels of an image: readers of COCO count them in 32 bits."""

_OTHER = "object"
"""The category of what has no class."""


def coco_content(
    images: Sequence[Mapping[str, Any]],
    annotations: Sequence[Mapping[str, Any]],
    provenance: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return what a COCO file holds.

    Parameters
    ----------
    images : sequence of mapping
        With `id`, `file_name`, `height` and `width`.
    annotations : sequence of mapping
        With `id`, `image_id`, `segmentation`, and the name of their ``"class"`` or None.
    provenance : mapping, optional
        Where the objects come from.

    Returns
    -------
    dict
        Categories are numbered from 1, "object" first, then the classes by name.

    References
    ----------
    .. [1] https://cocodataset.org/#format-data

    Examples
    --------
    >>> content = coco_content([], [{"id": 5, "class": "cell"}, {"id": 6, "class": None}])
    >>> content["annotations"]
    [{'id': 5, 'category_id': 2}, {'id': 6, 'category_id': 1}]
    """
    known = dict(provenance or {})
    names = sorted({str(one["class"]) for one in annotations if one["class"]} - {_OTHER})
    numbers = {name: number for number, name in enumerate((_OTHER, *names), 1)}
    info: dict[str, Any] = {"description": "napari-sam-tiled", "version": napari_sam.__version__}
    licences = []
    if known:
        info |= {"description": provenance_said(known), "date_created": known.get("created", "")}
        info["provenance"] = known
        licences = [{"id": 1, "name": f"of the model: {known.get('model_licence', '')}", "url": ""}]
    return {
        "info": info,
        "licenses": licences,
        "images": list(images),
        "annotations": [
            {name: value for name, value in one.items() if name != "class"}
            | {"category_id": numbers[str(one["class"] or _OTHER)]}
            for one in annotations
        ],
        "categories": [{"id": number, "name": name} for name, number in numbers.items()],
    }


def write_coco(path: Path, labelled: Labelled) -> None:
    """Write objects as COCO's JSON, with compressed run lengths.

    Each plane of a volume or a film is an image of its own, and an object in several planes has an
    annotation in each, all with its number as `object_id`.

    Parameters
    ----------
    path : Path
        Of the .json file; replaced when the new one is whole.
    labelled : Labelled
        The objects.

    Raises
    ------
    InputError
        If the image has more pixels than COCO's readers count, or the file cannot be written.
    """
    rows, cols = labelled.scene.shape
    if rows * cols > _LARGEST:
        raise InputError(
            f"{path}: COCO holds images of up to 2^32 pixels, and this one has {rows} x {cols}: "
            "write a TIFF, OME-Zarr or polygons."
        )
    numbers = {plane: number for number, plane in enumerate(labelled.planes, 1)}
    name = labelled.provenance.get("image") or Path(labelled.scene.name).name
    images = [
        {"id": number, "file_name": name, "width": cols, "height": rows, "t": t, "z": z}
        for (t, z), number in numbers.items()
    ]
    annotations = [
        {"id": number, "image_id": numbers[one.t, one.z], **_annotation(labelled, one)}
        for number, one in enumerate(windows(labelled), 1)
    ]
    content = coco_content(images, annotations, labelled.provenance)
    with told(path), written_together(path) as (partial,):
        partial.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")


def _annotation(labelled: Labelled, one: LabelledWindow) -> dict[str, Any]:
    mask = labelled.plane(one.region, one.t, one.z) == one.id
    columns = np.ascontiguousarray(mask.T)
    corner = one.region.row0, one.region.col0
    known = labelled.row(one.id)
    scores = {
        there: round(float(known[here]), 6)
        for here, there in (("predicted_iou", "predicted_iou"), ("stability", "stability_score"))
        if known.get(here) is not None
    }
    if len(scores) == 2:
        scores["score"] = round(scores["predicted_iou"] * scores["stability_score"], 6)
    more = {
        key: value
        for key, value in known.items()
        if key not in ("id", "class", "predicted_iou", "stability", "area_px")
        and isinstance(value, str | int | bool | None)
    }
    return {
        "segmentation": coco_encode_rle(rle_from_window(columns, corner, labelled.scene.shape)),
        "bbox": [one.region.col0, one.region.row0, one.region.shape[1], one.region.shape[0]],
        "area": one.area,
        "iscrowd": 0,
        "class": known.get("class"),
        "object_id": one.id,
        **scores,
        **{key: value for key, value in more.items() if value is not None},
    }
