"""`napari-sam convert`, as a person uses it."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sam.cli import main
from napari_sam.files.formats import WRITERS, find_writer
from napari_sam.scene import open_scene
from napari_sam.segment.scribbles import MaskRegion
from napari_sam.session import Session

LABELS = np.zeros((40, 60), np.uint32)
LABELS[5:15, 10:30] = 1
LABELS[20:35, 40:55] = 2


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "cells.png"
    Image.fromarray((LABELS > 0).astype(np.uint8) * 200).save(path)
    return path


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "cells_labels.tif"
    tifffile.imwrite(path, LABELS)
    return path


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["convert", *map(str, arguments)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    return err


def test_labels_become_several_files_at_once(
    picture: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cells_objects.csv").write_text(
        "id,class,predicted_iou\n1,cell,0.9\n2,debris,0.4\n"
    )
    png, coco = tmp_path / "out" / "cells.png", tmp_path / "out" / "cells.json"
    told = ["convert", labels, "--image", picture, "--model", "vit_nano", "-o", png, "-o", coco]
    assert main(list(map(str, told))) == 0
    assert str(png) in capsys.readouterr().out
    np.testing.assert_array_equal(np.asarray(Image.open(png)), LABELS)
    written = json.loads(coco.read_text())
    names = {category["id"]: category["name"] for category in written["categories"]}
    assert [names[one["category_id"]] for one in written["annotations"]] == ["cell", "debris"]
    assert "vit_nano" in coco.read_text()
    assert "Apache-2.0" in coco.read_text()


def test_a_session_knows_its_image(picture: Path, tmp_path: Path) -> None:
    folder = picture.with_name(picture.name + ".napari-sam") / "session"
    with Session.create(folder, open_scene(picture)) as session:
        session.add_object(MaskRegion(5, 10, np.ones((10, 20), bool)), class_name="cell")
    assert main(["convert", str(folder.parent), "-o", str(tmp_path / "a.tif")]) == 0
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), LABELS == 1)


def test_what_is_wrong_is_said(
    picture: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.png"
    assert "--image" in refused(capsys, labels, "-o", out)
    assert "a.xyz ends in none of" in refused(
        capsys, labels, "--image", picture, "-o", tmp_path / "a.xyz"
    )
    assert "no format 'shp2'" in refused(
        capsys, labels, "--image", picture, "--to", "shp2", "-o", out
    )
    tifffile.imwrite(tmp_path / "small.tif", LABELS[:20])
    assert "where the image has (40, 60)" in refused(
        capsys, tmp_path / "small.tif", "--image", picture, "-o", out
    )
    tifffile.imwrite(tmp_path / "fractions.tif", LABELS.astype(np.float32))
    assert "whole numbers" in refused(
        capsys, tmp_path / "fractions.tif", "--image", picture, "-o", out
    )
    assert "option simplify means nothing to png" in refused(
        capsys, labels, "--image", picture, "--simplify", "1", "-o", out
    )
    assert not out.exists()
    (tmp_path / "table.csv").write_text("name\ncell\n")
    assert "no column id" in refused(
        capsys, labels, "--image", picture, "--table", tmp_path / "table.csv", "-o", out
    )


def test_a_tolerance_may_be_in_metres(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rasterio = pytest.importorskip("rasterio")
    image = tmp_path / "map.tif"
    place = rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)
    size = {"height": LABELS.shape[0], "width": LABELS.shape[1], "count": 1, "dtype": "uint8"}
    with rasterio.open(image, "w", "GTiff", crs="EPSG:32617", transform=place, **size) as written:
        written.write(LABELS.astype(np.uint8), 1)
    for name, length in (("px", "3"), ("m", "1.5m")):
        out = tmp_path / f"{name}.geojson"
        told = ["convert", labels, "--image", image, "--simplify", length, "-o", out]
        assert main([str(part) for part in told]) == 0
    one, other = (json.loads((tmp_path / f"{n}.geojson").read_text()) for n in ("px", "m"))
    assert one["features"] == other["features"]
    out = tmp_path / "a.geojson"
    assert "cannot be turned into pixels" in refused(
        capsys, labels, "--image", image, "--simplify", "2miles", "-o", out
    )


def test_all_formats_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "--formats"]) == 0
    out = capsys.readouterr().out
    assert all(writer.name in out and writer.endings[0] in out for writer in WRITERS)


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.name)
def test_each_format_is_found_and_has_its_writer(writer) -> None:
    assert find_writer(Path("a.any"), writer.name) is writer
    assert writer.known_options({}) == {}
