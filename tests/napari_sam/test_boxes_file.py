"""Boxes of a detector: three formats, one place in the image."""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam.errors import InputError
from napari_sam.files.boxes import DetectedBox, clip_boxes, read_boxes
from napari_sam.scene import open_scene
from napari_sam.scenes.georeference import Georeference

UTM = Georeference("EPSG:32617", (0.1, 0.0, 404211.9, 0.0, -0.1, 3285142.9), "metre")
TURNED = Georeference("EPSG:32617", (0.3, 0.4, 1000.0, 0.4, -0.3, 2000.0), "metre")

corners = st.tuples(*[st.integers(-4000, 40_000).map(lambda value: value / 4)] * 4).map(
    lambda c: (min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3]))
)
detected = st.builds(
    DetectedBox,
    corners,
    id=st.integers(0, 10**9).map(str),
    label=st.sampled_from(["tree", "car; red", 'a "quoted", one', "Zürich"]),
    score=st.sampled_from([0.0, 0.25, 1.0]),
)
boxes = st.lists(detected, min_size=1, max_size=5)


def from_corner(box: DetectedBox) -> tuple[float, float, float, float]:
    """Return (x0, y0, x1, y1) as COCO and GIS count."""
    row0, col0, row1, col1 = box.corners
    return col0 + 0.5, row0 + 0.5, col1 + 0.5, row1 + 0.5


def to_map(x: float, y: float, where: Georeference | None) -> list[float]:
    if where is None:
        return [x, y]
    a, b, c, d, e, f = where.affine
    return [a * x + b * y + c, d * x + e * y + f]


def polygon(box: DetectedBox, where: Georeference | None) -> list[list[float]]:
    x0, y0, x1, y1 = from_corner(box)
    return [to_map(x, y, where) for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0))]


def as_csv(boxes: list[DetectedBox], path: Path, columns: str, delimiter: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter=delimiter)
        table.writerow([*columns.split(), "ID", "label", "confidence"])
        for box in boxes:
            places = box.corners if columns.startswith("row0") else from_corner(box)
            table.writerow([*places, box.id, box.label, box.score])


def as_geojson(
    boxes: list[DetectedBox], path: Path, where: Georeference | None, bbox: bool
) -> None:
    features = []
    for box in boxes:
        ring = polygon(box, where)
        xs, ys = zip(*ring, strict=True)
        features.append(
            {
                "type": "Feature",
                "id": box.id,
                "properties": {"label": box.label, "score": box.score},
                "geometry": None if bbox else {"type": "MultiPolygon", "coordinates": [[ring]]},
                **({"bbox": [min(xs), min(ys), max(xs), max(ys)]} if bbox else {}),
            }
        )
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), "utf-8")


def as_coco(boxes: list[DetectedBox], path: Path) -> None:
    annotations = [{"id": 10**10, "image_id": 8, "bbox": [0, 0, 1, 1], "category_id": 1}]
    names = sorted({str(box.label) for box in boxes})
    for box in boxes:
        x0, y0, x1, y1 = from_corner(box)
        annotations.append(
            {
                "id": box.id,
                "image_id": 7,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "category_id": names.index(str(box.label)),
                "score": box.score,
            }
        )
    content = {
        "images": [{"id": 7, "file_name": "a/scene.tif"}, {"id": 8, "file_name": "b.tif"}],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in enumerate(names)],
    }
    path.write_text(json.dumps(content), "utf-8")


@settings(max_examples=40)
@given(boxes, st.sampled_from(",;\t"))
def test_all_formats_say_the_same(wanted: list[DetectedBox], delimiter: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        as_csv(wanted, path / "rows.csv", "row0 col0 row1 col1", delimiter)
        as_csv(wanted, path / "xy.csv", "xmin ymin xmax ymax", delimiter)
        as_geojson(wanted, path / "pixels.geojson", None, False)
        as_geojson(wanted, path / "bbox.json", None, True)
        as_coco(wanted, path / "coco.json")
        for name in ("rows.csv", "xy.csv", "pixels.geojson", "bbox.json", "coco.json"):
            assert read_boxes(path / name, "folder/scene.tif") == wanted, name


@settings(max_examples=40)
@given(boxes, st.sampled_from([UTM, TURNED]))
def test_map_units(wanted: list[DetectedBox], where: Georeference) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "boxes.geojson"
        as_geojson(wanted, path, where, False)
        found = read_boxes(path, "scene.tif", where)
        assert [box.id for box in found] == [box.id for box in wanted]
        np.testing.assert_allclose(
            [box.corners for box in found], [box.corners for box in wanted], atol=1e-4
        )


@given(detected, st.integers(1, 500), st.integers(1, 500))
def test_clipped_boxes_are_in_the_image(box: DetectedBox, rows: int, cols: int) -> None:
    inside, outside = clip_boxes([box], (rows, cols))
    assert len(inside) + outside == 1
    row0, col0, row1, col1 = box.corners
    shares = row0 < row1 and col0 < col1 and row1 > -0.5 and col1 > -0.5
    assert bool(inside) == (shares and row0 < rows - 0.5 and col0 < cols - 0.5)
    for found in inside:
        top, left, bottom, right = found.corners
        assert -0.5 <= top < bottom <= rows
        assert -0.5 <= left < right <= cols
        assert (found.id, found.label, found.score) == (box.id, box.label, box.score)


def test_trees_of_a_georeferenced_picture(shared: Path, tmp_path: Path) -> None:
    """The same trees from their table in pixels, and as a map layer in metres."""
    picture = shared / "devdata/geo/OSBS_029.tif"
    scene = open_scene(picture)
    trees = read_boxes(shared / "devdata/geo/OSBS_029.csv", str(picture), scene.georeference)
    assert len(trees) == 61
    assert {tree.label for tree in trees} == {"Tree"}
    assert trees[0].corners == (66.5, 202.5, 89.5, 226.5)
    assert clip_boxes(trees, scene.shape)[1] == 0
    as_geojson(trees, tmp_path / "trees.geojson", scene.georeference, True)
    layer = read_boxes(tmp_path / "trees.geojson", str(picture), scene.georeference)
    np.testing.assert_allclose(
        [box.corners for box in layer], [box.corners for box in trees], atol=1e-4
    )


def test_rows_of_other_images_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text(
        "image_path,row0,col0,row1,col1\nx/a.tif,1,2,3,4\nx\\b.tif,5,6,7,8\n\nx/a.tif,2,2,9,9\n"
    )
    assert [box.id for box in read_boxes(path, "/data/a.tif")] == ["1", "2"]
    assert read_boxes(path, "b.tif")[0].corners == (5, 6, 7, 8)
    with pytest.raises(InputError, match=r"boxes of 2 images, none of which is called c\.tif"):
        read_boxes(path, "c.tif")
    # A file about one image is about this one, whatever it was called.
    path.write_text("image_path,row0,col0,row1,col1\nold.tif,1,2,3,4\n")
    assert len(read_boxes(path, "new.tif")) == 1


def test_results_of_coco(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    results = [{"image_id": "a", "category_id": 3, "bbox": [1, 2, 10, 20], "score": 0.5}]
    path.write_text(json.dumps([*results, {"image_id": "b", "bbox": [0, 0, 1, 1]}]))
    assert read_boxes(path, "a.png") == [DetectedBox((1.5, 0.5, 21.5, 10.5), "1", "3", 0.5)]


def feature(**more: Any) -> str:
    return json.dumps({"type": "FeatureCollection", "features": [{"type": "Feature", **more}]})


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("boxes.txt", "", "does not end in .csv, .geojson or .json"),
        ("boxes.csv", "", "no header with row0, col0, row1, col1 or xmin"),
        ("boxes.csv", "a,b,c,d\n1,2,3,4\n", "no header with"),
        ("boxes.csv", "row0,col0,row1,col1\n", "has no boxes"),
        ("boxes.csv", "row0,col0,row1,col1\n1,2,3\n", "Col1 in line 2 of"),
        ("boxes.csv", "row0,col0,row1,col1\n1,2,three,4\n", "is 'three' and no finite number"),
        ("boxes.csv", "row0,col0,row1,col1\n1,2,nan,4\n", "is 'nan' and no finite number"),
        ("boxes.csv", 'row0,col0,row1,col1\n1,2,"3,4\n', "is no CSV"),
        ("boxes.csv", "row0,col0,row1,col1,score\n1,2,3,4,high\n", "The score in line 2"),
        ("boxes.json", "{", "is no JSON"),
        ("boxes.json", "{}", "is neither GeoJSON"),
        ("boxes.json", "7", "is neither GeoJSON"),
        ("boxes.json", "[]", "has no boxes"),
        ("boxes.json", "[3]", "annotation 1 of"),
        ("boxes.json", '[{"image_id": 1, "bbox": [1, 2, 3]}]', "no bbox of four numbers"),
        ("boxes.json", '[{"image_id": 1, "bbox": [1, 2, 3, null]}]', "no finite number"),
        ("boxes.json", '{"annotations": [], "images": 3}', "images in"),
        ("boxes.geojson", '{"type": "FeatureCollection"}', "without a list of features"),
        ("boxes.geojson", feature(geometry=None), "feature 1 of"),
        ("boxes.geojson", feature(bbox=[1, 2, 3]), "must have 4 numbers"),
        ("boxes.geojson", feature(geometry={"coordinates": [[1], [2]]}), "fewer than two"),
        ("boxes.geojson", feature(geometry={"coordinates": [["a", 2]]}), "no finite number"),
        ("boxes.geojson", feature(geometry={"coordinates": {"a": 2}}), "are no list"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(
    tmp_path: Path, name: str, content: str, words: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(InputError) as told:
        read_boxes(path, "scene.tif")
    assert words in str(told.value)
    assert "\n" not in str(told.value)
    assert str(told.value).endswith(".")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_boxes(tmp_path / "none.csv", "scene.tif")
    (tmp_path / "latin.csv").write_bytes(
        "row0,col0,row1,col1,label\n1,2,3,4,Zürich".encode("latin1")
    )
    with pytest.raises(InputError, match="no text in UTF-8"):
        read_boxes(tmp_path / "latin.csv", "scene.tif")


def test_another_coordinate_system_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "boxes.geojson"
    as_geojson([DetectedBox((1, 2, 3, 4), "1")], path, UTM, False)
    content = json.loads(path.read_text())
    content["crs"] = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::4326"}}
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="is in EPSG:4326 and the image in EPSG:32617"):
        read_boxes(path, "scene.tif", UTM)
    content["crs"]["properties"]["name"] = "urn:ogc:def:crs:EPSG::32617"
    path.write_text(json.dumps(content))
    assert len(read_boxes(path, "scene.tif", UTM)) == 1
