"""Outlines for QuPath and ImageJ cover exactly the pixels of their objects."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from made_labels import PLANE, PROVENANCE, SLOW, labelled, stacks
from skimage.draw import polygon2mask

from napari_sam.files.microscopy.imagej_rois import write_imagej_rois
from napari_sam.files.microscopy.qupath import write_qupath


def filled(rings: list[Any], shape: tuple[int, int]) -> np.ndarray:
    """Fill rings of (x, y) corners, holes left out."""
    mask = np.zeros(shape, bool)
    for ring in rings:
        # Corners lie half a pixel before centres, which polygon2mask counts from.
        mask ^= polygon2mask(shape, np.asarray(ring, float)[:, ::-1] - 0.5)
    return mask


@SLOW
@given(labels=stacks(2))
def test_qupath_covers_the_same_pixels(tmp_path: Path, labels: np.ndarray) -> None:
    shapely = pytest.importorskip("shapely")
    from shapely.geometry import shape

    write_qupath(tmp_path / "cells.geojson", labelled(labels, "TZYX", ()))
    content = json.loads((tmp_path / "cells.geojson").read_text())
    again = np.zeros_like(labels)
    for feature in content["features"]:
        geometry = feature["geometry"]
        assert shapely.is_valid(shape(geometry))
        parts = geometry["coordinates"]
        parts = [parts] if geometry["type"] == "Polygon" else parts
        plane = again[geometry["plane"]["t"], geometry["plane"]["z"]]
        mask = filled([ring for part in parts for ring in part], plane.shape)
        plane[mask] = int(feature["properties"]["name"])
        assert mask.sum() == shape(geometry).area
    np.testing.assert_array_equal(again, labels)


def test_qupath_is_told_classes_measurements_and_provenance(tmp_path: Path) -> None:
    path = tmp_path / "cells.geojson"
    write_qupath(path, labelled(PLANE), kind="detection")
    content = json.loads(path.read_text())
    assert content["provenance"] == PROVENANCE
    one, other = content["features"]
    assert one["properties"]["objectType"] == "detection"
    assert one["properties"]["classification"]["name"] == "cell"
    assert one["properties"]["measurements"] == {"predicted_iou": 0.9, "stability": 0.5}
    assert one["properties"]["metadata"] == {"id": "1", "source": "click"}
    assert "classification" not in other["properties"]
    assert len(one["geometry"]["coordinates"]) == 2  # around object 300 is a hole
    assert other["geometry"]["type"] == "MultiPolygon"
    first = one["id"]
    write_qupath(path, labelled(PLANE))
    assert json.loads(path.read_text())["features"][0]["id"] == first


@SLOW
@given(labels=stacks(2))
def test_imagej_regions_cover_the_same_pixels(tmp_path: Path, labels: np.ndarray) -> None:
    roifile = pytest.importorskip("roifile")
    path = tmp_path / "cells.zip"
    write_imagej_rois(path, labelled(labels, "TZYX", ()))
    again = np.zeros_like(labels)
    for roi in roifile.roiread(path) if labels.any() else []:
        plane = again[roi.t_position - 1, roi.z_position - 1]
        plane[filled(roi.coordinates(multi=True), plane.shape)] = int(roi.name.split()[0])
    np.testing.assert_array_equal(again, labels)


def test_imagej_regions_have_names_and_properties(tmp_path: Path) -> None:
    roifile = pytest.importorskip("roifile")
    path = tmp_path / "cells.zip"
    table = ({"id": 1, "class": "../cell/µ𝛼", "predicted_iou": 0.9},)
    write_imagej_rois(path, labelled(PLANE, table=table))
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["1 .._cell_µ_.roi", "300.roi"]
        assert b"Apache-2.0" in archive.comment
    one, other = roifile.roiread(path)
    assert one.name == "1 .._cell_µ_"
    assert one.properties["predicted_iou"] == 0.9
    assert one.properties["model"] == "vit_nano"
    assert (one.position, one.z_position, one.t_position) == (0, 0, 0)
    assert other.composite


def test_imagej_regions_of_a_plain_stack(tmp_path: Path) -> None:
    roifile = pytest.importorskip("roifile")
    path = tmp_path / "cells.zip"
    write_imagej_rois(path, labelled(np.stack([PLANE * 0, PLANE]), "ZYX"))
    one = roifile.roiread(path)[0]
    assert (one.position, one.z_position, one.name) == (2, 0, "1 cell z1")


def test_imagej_regions_beyond_what_it_counts(tmp_path: Path) -> None:
    roifile = pytest.importorskip("roifile")
    labels = np.zeros((2, 70_000), np.uint32)
    labels[:, 69_990:] = 4
    write_imagej_rois(tmp_path / "wide.zip", labelled(labels))
    (roi,) = roifile.roiread(tmp_path / "wide.zip")
    (ring,) = roi.coordinates(multi=True)
    assert (ring[:, 0].min(), ring[:, 0].max(), ring[:, 1].max()) == (69_990, 70_000, 2)
