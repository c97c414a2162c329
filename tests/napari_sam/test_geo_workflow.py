"""From an image on the map to objects on the map, on real images, with the shipped model."""

import csv

import numpy as np
import pytest
from zarr.storage import MemoryStore

rasterio = pytest.importorskip("rasterio")
geopandas = pytest.importorskip("geopandas")
pyogrio = pytest.importorskip("pyogrio")

from rasterio.features import rasterize  # noqa: E402
from rasterio.windows import Window  # noqa: E402

from napari_sam.cli import main  # noqa: E402
from napari_sam.files.geo.prompts import place_prompts  # noqa: E402
from napari_sam.files.geo.vector_writing import write_geopackage  # noqa: E402
from napari_sam.files.labelled import Labelled  # noqa: E402
from napari_sam.loading import load  # noqa: E402
from napari_sam.provenance import provenance  # noqa: E402
from napari_sam.scene import open_scene  # noqa: E402
from napari_sam.segment.everything import (  # noqa: E402
    Thresholds,
    segment_everything,
    write_labels,
    write_table,
)
from napari_sam.segment.everything.label_pyramid import paint  # noqa: E402
from napari_sam.segment.prompted import as_found, prompt_scene  # noqa: E402
from napari_sam.segment.segmenter import Segmenter  # noqa: E402
from napari_sam.tiles.geometry import TileGeometry  # noqa: E402
from napari_sam.tiles.regions import Region  # noqa: E402
from napari_sam.tiles.store import EmbeddingStore, ModelInfo, SceneInfo  # noqa: E402

MODEL = "vit_nano"


@pytest.fixture(scope="module")
def sam():
    return load(MODEL)


def store_of(scene, sam):
    size = sam.variant.image_size
    geometry = TileGeometry(scene.shape, size, size // 8)
    return EmbeddingStore.create(MemoryStore(), SceneInfo.of(scene), ModelInfo.of(sam), geometry)


def check_same(labels_file, polygons_file):
    """Hold labels and polygons against each other, as GDAL reads both."""
    found = geopandas.read_file(polygons_file, layer="objects")
    with rasterio.open(labels_file) as file:
        labels, transform = file.read(1), file.transform
        assert found.crs == file.crs
    pairs = zip(found.geometry, found["id"], strict=True)
    drawn = rasterize(pairs, out_shape=labels.shape, transform=transform, dtype="uint32")
    assert np.array_equal(drawn, labels)
    return found


def test_everything_in_an_aerial_image(shared, tmp_path, sam):
    image = tmp_path / "fields.tif"
    window = Window(300, 200, 200, 200)
    with rasterio.open(shared / "devdata/geo/naip_2018.tif") as file:
        profile = {**file.profile, "width": 200, "height": 200}
        profile["transform"] = file.window_transform(window)
        pixels = file.read(window=window)
    with rasterio.open(image, "w", **profile) as file:
        file.write(pixels)
    scene = open_scene(image)
    # Few clicks, and all that they find.
    found = segment_everything(
        scene, store_of(scene, sam), sam, sizes=(40, None), thresholds=Thresholds(0.4, 0.5)
    )
    assert len(found.objects) > 5
    labels, table = tmp_path / "fields_labels.zarr", tmp_path / "fields_objects.parquet"
    write_labels(found.objects, labels, scene.pixel_size)
    write_table(found.objects, table, scene.pixel_size)
    outputs = ["-o", str(tmp_path / "fields.gpkg"), "-o", str(tmp_path / "fields.cog.tif")]
    assert main(["convert", str(labels), "--image", str(image), "--model", MODEL, *outputs]) == 0
    on_map = check_same(tmp_path / "fields.cog.tif", tmp_path / "fields.gpkg")
    assert on_map.crs.to_epsg() == 26914
    assert on_map["area_m2"].to_numpy() == pytest.approx(on_map["area_px"] * 25, rel=2e-3)
    assert on_map["predicted_iou"].min() >= 0.4
    told = pyogrio.read_dataframe(tmp_path / "fields.gpkg", layer="provenance")
    assert dict(zip(told["key"], told["value"], strict=True))["model_licence"] == "Apache-2.0"


def test_boxes_around_trees_become_crowns(shared, tmp_path):
    image, boxes = (shared / f"devdata/geo/OSBS_029.{ending}" for ending in ("tif", "csv"))
    crowns, labels = tmp_path / "crowns.gpkg", tmp_path / "crowns.cog.tif"
    assert main(["segment", str(image), "--boxes", str(boxes), "-o", str(tmp_path)]) == 0
    small = str(tmp_path / "OSBS_029_labels.tif")
    outputs = ["-o", str(crowns), "-o", str(labels)]
    assert main(["convert", small, "--image", str(image), *outputs]) == 0
    found = check_same(labels, crowns)
    with boxes.open() as file:
        rows = list(csv.DictReader(file))
    drawn = np.array(
        [[float(row[name]) for name in ("xmin", "ymin", "xmax", "ymax")] for row in rows]
    )
    # In pixels from the corner, as the drawn boxes are.
    with rasterio.open(image) as file:
        back = ~file.transform
    bounds = found.geometry.bounds.to_numpy()
    left, top = back * (bounds[:, 0], bounds[:, 3])
    right, bottom = back * (bounds[:, 2], bounds[:, 1])
    boxed = np.stack([left, top, right, bottom], axis=1)
    ious = box_ious(boxed, drawn[found["box_id"].astype(int) - 1])
    recall = np.count_nonzero(ious >= 0.4) / len(drawn)
    print(
        f"{len(found)} crowns of {len(drawn)} boxes, mean IoU {ious.mean():.2f}, "
        f"recall at 0.4 {recall:.2f}"
    )
    assert recall >= 0.9
    assert ious.mean() > 0.65
    # Crowns are no boxes.
    filled = found["area_px"] / (boxed[:, 2:] - boxed[:, :2]).prod(axis=1)
    assert filled.median() < 0.85


def box_ious(ones, others):
    low, high = np.maximum(ones[:, :2], others[:, :2]), np.minimum(ones[:, 2:], others[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (ones, others)]
    return shared / (areas[0] + areas[1] - shared)


def test_a_shapefile_in_map_units_becomes_objects(shared, tmp_path, sam):
    folder = shared / "devdata/geo"
    scene = open_scene(folder / "australia.tif")
    placed = place_prompts(folder / "australia.shp", scene)
    found = prompt_scene(
        Segmenter(scene, store_of(scene, sam), sam), [one.prompt for one in placed.prompts]
    )
    objects = as_found(found, scene.shape)
    labels = paint(objects, Region(0, 0, *scene.shape))
    said = provenance(scene.name, MODEL)
    path = tmp_path / "birds.gpkg"
    write_geopackage(path, Labelled(scene, labels, "YX", (), said))
    birds = geopandas.read_file(path, layer="objects")
    drawn = geopandas.read_file(folder / "australia.shp")
    assert birds.crs == drawn.crs
    assert len(birds) == len(drawn)
    # A bird of 18 mm pixels lies where its box was drawn in metres.
    inside = birds.intersection(drawn, align=False).area / birds.area
    assert (inside > 0.75).all()
