"""Objects in the files of a GIS, read back with GDAL, geopandas and tifffile."""

import json
import os
import sqlite3
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

rasterio = pytest.importorskip("rasterio")
geopandas = pytest.importorskip("geopandas")
pyogrio = pytest.importorskip("pyogrio")
shapely = pytest.importorskip("shapely")
pyproj = pytest.importorskip("pyproj")

import tifffile  # noqa: E402
from rasterio.features import rasterize  # noqa: E402

from napari_sam.errors import InputError  # noqa: E402
from napari_sam.files.formats import find_writer  # noqa: E402
from napari_sam.files.geo import vector_writing  # noqa: E402
from napari_sam.files.geo.features import features  # noqa: E402
from napari_sam.files.labelled import Labelled  # noqa: E402
from napari_sam.provenance import provenance  # noqa: E402
from napari_sam.scene import open_scene  # noqa: E402
from tests.napari_sam.geo_files import write_raster  # noqa: E402

UTM = ("EPSG:32633", (0.5, 0.0, 500_000.0, 0.0, -0.5, 4_000_000.0))
PLACES = {
    "utm": UTM,
    "rotated": ("EPSG:32633", (0.4, 0.3, 500_000.0, 0.3, -0.4, 4_000_000.0)),
    "degrees": ("EPSG:4326", (1e-4, 0.0, 11.5, 0.0, -1e-4, 48.2)),
    "feet": ("EPSG:2236", (2.0, 0.0, 700_000.0, 0.0, -2.0, 500_000.0)),
    "mercator": ("EPSG:3857", (3.0, 0.0, 1_200_000.0, 0.0, -3.0, 8_400_000.0)),
    "own": ("+proj=laea +lat_0=52 +lon_0=10 +ellps=GRS80", (1.0, 0, 5e3, 0, -1.0, 9e3)),
}
ENDINGS = ("gpkg", "fgb", "parquet", "geojson", "cog.tif")
VECTORS = ENDINGS[:4]


def blobs(shape=(90, 110), seed=1):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    return ndimage.label(noise > np.quantile(noise, 0.6))[0].astype(np.uint32)


def labelled(folder, labels, place=UTM, rows=None):
    path = folder / "map.tif"
    if place is None:
        tifffile.imwrite(path, np.zeros(labels.shape, np.uint8))
    else:
        crs, affine = place
        pixels = np.zeros((1, *labels.shape), np.uint8)
        write_raster(path, pixels, crs=crs, transform=rasterio.Affine(*affine))
    if rows is None:
        rows = [{"id": int(n), "predicted_iou": n / 1000} for n in np.unique(labels[labels > 0])]
    scene = open_scene(path)
    return Labelled(scene, labels, "YX", tuple(rows), provenance(str(path), "vit_nano", "abc"))


def write(path, given, **options):
    writer = find_writer(path, "cog" if path.name.endswith(".tif") else None)
    writer.write(path, given, **options)


def read(path):
    if path.suffix == ".parquet":
        return geopandas.read_parquet(path)
    return geopandas.read_file(path, layer="objects" if path.suffix == ".gpkg" else None)


def told(path):
    """Return what a file says of where its objects come from, as others read it."""
    if path.suffix == ".gpkg":
        table = pyogrio.read_dataframe(path, layer="provenance")
        return dict(zip(table["key"], table["value"], strict=True))
    if path.suffix == ".fgb":
        return json.loads(pyogrio.read_info(path)["layer_metadata"]["DESCRIPTION"])
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return json.loads(pq.read_metadata(path).metadata[b"provenance"])
    if path.suffix == ".geojson":
        return json.loads(path.read_text())["provenance"]
    with rasterio.open(path) as file:
        return file.tags()


@pytest.mark.parametrize(
    ("ending", "place"),
    [
        *((ending, place) for ending in ("gpkg", "geojson", "cog.tif") for place in PLACES),
        *((ending, place) for ending in ("fgb", "parquet") for place in ("rotated", "own")),
    ],
)
def test_rasterised_again_the_labels_are_the_same(tmp_path, ending, place):
    labels = blobs()
    path = tmp_path / f"objects.{ending}"
    given = labelled(tmp_path, labels, PLACES[place])
    write(path, given)
    crs, affine = PLACES[place]
    if path.suffix == ".tif":
        with rasterio.open(path) as file:
            assert file.crs == rasterio.crs.CRS.from_user_input(crs)
            assert tuple(file.transform)[:6] == affine
            assert np.array_equal(file.read(1), labels)
        return
    found = read(path)
    assert found.is_valid.all()
    if ending == "geojson":
        found = found.to_crs(crs)
    assert pyproj.CRS(found.crs).equals(pyproj.CRS(crs), ignore_axis_order=True)
    pairs = zip(found.geometry, found["id"], strict=True)
    transform = rasterio.Affine(*affine)
    drawn = rasterize(pairs, out_shape=labels.shape, transform=transform, dtype="uint32")
    assert np.array_equal(drawn, labels)
    assert found["area_px"].sum() == np.count_nonzero(labels)


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_file_says_where_its_objects_come_from(tmp_path, ending):
    path = tmp_path / f"objects.{ending}"
    given = labelled(tmp_path, blobs())
    write(path, given)
    said = told(path)
    assert {key: said[key] for key in given.provenance} == dict(given.provenance)
    assert said["model_licence"] == "Apache-2.0"


@pytest.mark.parametrize("ending", VECTORS)
def test_the_table_comes_with_the_shapes(tmp_path, ending):
    labels = np.zeros((20, 20), np.uint32)
    labels[2:5, 2:5], labels[9:12, 9:14], labels[15:, 15:] = 3, 2**32 - 1, 9
    rows = [
        {"id": 3, "class": "roof", "score": 1, "sure": True, "words": ["a", "ä"], "geom": "x"},
        {"id": 9, "class": None, "score": 0.5, "sure": None, "words": None},
    ]
    path = tmp_path / f"objects.{ending}"
    write(path, labelled(tmp_path, labels, rows=rows))
    found = read(path).set_index("id").sort_index()
    assert found.index.tolist() == [3, 9, 2**32 - 1]
    assert found["class"].tolist()[0] == "roof"
    assert found["class"].isna().tolist() == [False, True, True]
    assert found["score"].tolist()[:2] == [1.0, 0.5]
    assert bool(found["sure"].tolist()[0]) is True
    assert json.loads(found["words"].iloc[0]) == ["a", "ä"]
    assert found["area_px"].tolist() == [9, 25, 15]
    assert found["area_m2"].iloc[0] == pytest.approx(9 * 0.25, rel=2e-3)
    assert found["perimeter_m"].iloc[0] == pytest.approx(6, rel=2e-3)


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_objects_are_a_file_too(tmp_path, ending):
    path = tmp_path / f"objects.{ending}"
    write(path, labelled(tmp_path, np.zeros((30, 20), np.uint32)))
    if path.suffix == ".tif":
        with rasterio.open(path) as file:
            assert not file.read(1).any()
    else:
        assert len(read(path)) == 0


@pytest.mark.parametrize("ending", VECTORS)
def test_simpler_outlines_leave_no_gaps(tmp_path, ending):
    noise = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(80, 80)), 4)
    labels = (np.digitize(noise, np.quantile(noise, [0.3, 0.6])) + 1).astype(np.uint32)
    path = tmp_path / f"objects.{ending}"
    given = labelled(tmp_path, labels)
    write(path, given, simplify=0.75, unit="map")  # 1.5 pixels
    found = read(path)
    if ending == "geojson":
        found = found.to_crs("EPSG:32633")
    assert len(shapely.get_coordinates(found.geometry)) < 500
    assert found.is_valid.all()
    assert found.union_all().area == pytest.approx(found.area.sum(), rel=1e-6)
    assert found.area.sum() == pytest.approx(80 * 80 * 0.25, rel=1e-2)


def test_buildings_have_right_angles_on_the_ground(tmp_path):
    rows, cols = np.mgrid[:100, :100] + 0.5
    # Pixels in degrees are half as wide as they are high here.
    house = shapely.affinity.rotate(shapely.box(10, 30, 35, 70), 30, origin=(25, 50))
    labels = shapely.contains_xy(house, cols / 2, rows).astype(np.uint32)
    place = ("EPSG:4326", (1e-5, 0.0, 10.0, 0.0, -1e-5, 60.0))
    found = features(labelled(tmp_path, labels, place), regularise=True)
    assert found.columns["regularised_iou"][0] > 0.95
    ground = geopandas.GeoSeries(found.shapes, crs=4326).to_crs(32632)
    edges = np.diff(shapely.get_coordinates(ground), axis=0)
    turns = np.diff(np.rad2deg(np.arctan2(*edges.T[::-1]))) % 180
    assert len(edges) == 4
    assert turns == pytest.approx(90, abs=0.5)


class TestAreas:
    def test_of_degrees_are_those_of_the_ellipsoid(self, tmp_path):
        # A cell of one degree between 59 and 60 degrees north, by the formula for zones.
        a, e = 6378137.0, np.sqrt(2 / 298.257223563 - 1 / 298.257223563**2)

        def zone(latitude):
            s = np.sin(np.deg2rad(latitude))
            return s / (2 * (1 - (e * s) ** 2)) + np.log((1 + e * s) / (1 - e * s)) / (4 * e)

        truth = a**2 * (1 - e**2) * np.deg2rad(1) * (zone(60) - zone(59))
        place = ("EPSG:4326", (0.1, 0.0, 20.0, 0.0, -0.1, 60.0))
        found = features(labelled(tmp_path, np.ones((10, 10), np.uint32), place))
        assert found.columns["area_m2"][0] == pytest.approx(truth, rel=1e-5)

    def test_are_those_of_the_ground_in_any_projection(self, tmp_path):
        # The same square of 200 m, at 60 degrees north.
        x, y = pyproj.Transformer.from_crs(4326, 3857, always_xy=True).transform(15, 60)
        stretch = 1 / np.cos(np.deg2rad(60))
        square = np.ones((20, 20), np.uint32)
        mercator = ("EPSG:3857", (10 * stretch, 0, x, 0, -10 * stretch, y))
        x, y = pyproj.Transformer.from_crs(4326, 32633, always_xy=True).transform(15, 60)
        utm = ("EPSG:32633", (10 / 0.9996, 0, x, 0, -10 / 0.9996, y))
        for place in (mercator, utm):
            found = features(labelled(tmp_path, square, place))
            # Web Mercator is that of a sphere: its scale is off by 0.5 % and less.
            assert found.columns["area_m2"][0] == pytest.approx(40_000 * 0.9996**2, rel=0.01)
            assert found.columns["perimeter_m"][0] == pytest.approx(800, rel=0.01)

    def test_of_feet_are_in_metres(self, tmp_path):
        found = features(labelled(tmp_path, np.ones((10, 10), np.uint32), PLACES["feet"]))
        assert found.columns["area_m2"][0] == pytest.approx(400 * 0.3048006**2, rel=1e-3)

    def test_of_grads_are_those_of_degrees(self, tmp_path):
        square = np.ones((10, 10), np.uint32)
        grads = features(
            labelled(tmp_path, square, ("EPSG:4807", (1e-3, 0.0, 1.0, 0.0, -1e-3, 50.0)))
        )
        degrees = features(
            labelled(tmp_path, square, ("EPSG:4275", (9e-4, 0.0, 3.0, 0.0, -9e-4, 45.0)))
        )
        for name in ("area_m2", "perimeter_m"):
            assert grads.columns[name] == pytest.approx(degrees.columns[name], rel=1e-6)

    def test_of_no_map_are_unknown(self, tmp_path):
        found = features(labelled(tmp_path, np.ones((10, 10), np.uint32), None))
        assert found.columns["area_px"] == [100]
        assert found.columns["area_m2"] == [None]


class TestGeoJSON:
    def written(self, folder, labels, place=UTM):
        path = folder / "objects.geojson"
        write(path, labelled(folder, labels, place))
        return json.loads(path.read_text())

    def test_is_what_the_standard_wants(self, tmp_path):
        labels = blobs()
        labels[20:40, 20:40] = 500
        labels[25:30, 25:30] = 0
        found = self.written(tmp_path, labels)
        assert "crs" not in found
        for feature in found["features"]:
            shape = shapely.from_geojson(json.dumps(feature["geometry"]))
            for part in shapely.get_parts(shape):
                assert part.exterior.is_ccw
                assert not any(ring.is_ccw for ring in part.interiors)
        numbers = shapely.get_coordinates(
            [shapely.from_geojson(json.dumps(one["geometry"])) for one in found["features"]]
        )
        assert np.array_equal(numbers, numbers.round(7))
        assert np.abs(numbers[:, 0] - 15).max() < 0.01

    def test_is_divided_at_the_antimeridian(self, tmp_path):
        labels = np.zeros((10, 40), np.uint32)
        labels[2:8, 5:35] = 1
        labels[4:6, 12:28] = 0  # a hole across it
        # Fiji's own grid crosses it; its map is one piece.
        x, y = pyproj.Transformer.from_crs(4326, 3460, always_xy=True).transform(180.0, -17.0)
        place = ("EPSG:3460", (100.0, 0.0, x - 2000, 0.0, -100.0, y))
        (feature,) = self.written(tmp_path, labels, place)["features"]
        shape = shapely.from_geojson(json.dumps(feature["geometry"]))
        assert shape.is_valid
        west, east = sorted(shape.geoms, key=lambda part: part.centroid.x)
        assert (west.bounds[0], east.bounds[2]) == (-180.0, 180.0)
        assert east.bounds[0] > 179.9
        assert west.bounds[2] < -179.9
        ground = sum(
            abs(pyproj.Geod(ellps="WGS84").geometry_area_perimeter(part)[0]) for part in shape.geoms
        )
        assert ground == pytest.approx(feature["properties"]["area_m2"], rel=1e-3)

    def test_what_is_wide_without_crossing_the_antimeridian_stays_whole(self, tmp_path):
        labels = np.zeros((18, 36), np.uint32)
        labels[4:8, 1:35] = 1
        labels[5:7, 3:33] = 0  # a hole nearly as wide
        place = ("EPSG:4326", (10.0, 0.0, -180.0, 0.0, -10.0, 90.0))
        (feature,) = self.written(tmp_path, labels, place)["features"]
        shape = shapely.from_geojson(json.dumps(feature["geometry"]))
        assert shape.bounds == (-170.0, 10.0, 170.0, 50.0)
        assert shape.area == pytest.approx(100 * np.count_nonzero(labels))

    def test_from_0_to_360_degrees_is_brought_to_180(self, tmp_path):
        labels = np.zeros((18, 36), np.uint32)
        labels[4:8, 10:30] = 1
        place = ("EPSG:4326", (10.0, 0.0, 0.0, 0.0, -10.0, 90.0))
        (feature,) = self.written(tmp_path, labels, place)["features"]
        shape = shapely.from_geojson(json.dumps(feature["geometry"]))
        assert sorted(part.bounds[::2] for part in shape.geoms) == [(-180, -60), (100, 180)]

    def test_what_lies_around_a_pole_is_refused(self, tmp_path):
        place = ("EPSG:3995", (1e5, 0.0, -1e6, 0.0, -1e5, 1e6))
        with pytest.raises(InputError, match="around a pole"):
            self.written(tmp_path, np.ones((20, 20), np.uint32), place)

    def test_of_a_building_site_is_refused(self, tmp_path):
        given = labelled(tmp_path, np.ones((20, 20), np.uint32))
        place = replace(given.scene.georeference, crs='LOCAL_CS["site",UNIT["metre",1]]')
        given = replace(given, scene=replace(given.scene, georeference=place))
        with pytest.raises(InputError, match="without longitude and latitude"):
            write(tmp_path / "objects.geojson", given)
        write(tmp_path / "objects.fgb", given)
        assert read(tmp_path / "objects.fgb")["area_m2"].tolist() == [100.0]

    def test_of_pixels_says_so(self, tmp_path):
        labels = np.zeros((10, 20), np.uint32)
        labels[2:5, 6:8] = 4
        found = self.written(tmp_path, labels, None)
        assert found["coordinates"].startswith("pixels")
        (feature,) = found["features"]
        shape = shapely.from_geojson(json.dumps(feature["geometry"]))
        assert shape.bounds == (6.0, 2.0, 8.0, 5.0)
        assert feature["properties"]["area_m2"] is None

    def test_tiny_pixels_get_more_decimals(self, tmp_path):
        place = ("EPSG:32633", (0.001, 0.0, 500_000.0, 0.0, -0.001, 4_000_000.0))
        found = self.written(tmp_path, blobs((30, 30)), place)
        for feature in found["features"]:
            assert shapely.from_geojson(json.dumps(feature["geometry"])).is_valid


class TestCog:
    def test_is_laid_out_for_reading_over_a_network(self, tmp_path):
        labels = np.kron(blobs((300, 280)), np.ones((5, 5), np.uint32))
        path = tmp_path / "labels.cog.tif"
        write(path, labelled(tmp_path, labels))
        with rasterio.open(path) as file:
            assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert (file.nodata, file.dtypes) == (0, ("uint32",))
            assert file.overviews(1) == [2, 4]
        with tifffile.TiffFile(path) as file:
            pages = list(file.pages)
            assert [page.shape for page in pages] == [(1500, 1400), (750, 700), (375, 350)]
            assert all(page.is_tiled and page.tilewidth == 512 for page in pages)
            # What is described comes first, and the coarsest pixels before the finer ones.
            data = [[offset for offset in page.dataoffsets if offset] for page in pages]
            assert max(page.offset for page in pages) < min(map(min, data))
            assert all(max(coarse) < min(fine) for fine, coarse in pairwise(data))
            ids = np.unique(labels)
            assert all(np.isin(page.asarray(), ids).all() for page in pages)

    def test_blocks_are_asked_for_one_at_a_time(self, tmp_path):
        given = labelled(tmp_path, np.ones((2100, 2200), np.uint32))
        asked = []

        class Counting:
            shape, dtype = given.labels.shape, given.labels.dtype

            def __getitem__(self, key):
                block = given.labels[key]
                asked.append(block.size)
                return block

        write(tmp_path / "labels.cog.tif", Labelled(given.scene, Counting(), "YX"))
        assert max(asked) <= 2048**2
        assert sum(asked) == 2100 * 2200


class TestFaults:
    @pytest.mark.parametrize("ending", [end for end in ENDINGS if end != "geojson"])
    def test_an_image_without_a_place_is_refused(self, tmp_path, ending):
        given = labelled(tmp_path, blobs(), None)
        with pytest.raises(InputError, match=r"map\.tif has no place on a map"):
            write(tmp_path / f"objects.{ending}", given)
        assert [path.name for path in tmp_path.iterdir()] == ["map.tif"]

    @pytest.mark.parametrize("ending", ENDINGS)
    def test_several_planes_are_refused(self, tmp_path, ending):
        path = tmp_path / "stack.tif"
        tifffile.imwrite(path, np.zeros((3, 20, 30), np.uint8), metadata={"axes": "ZYX"}, ome=True)
        scene = open_scene(path)
        given = Labelled(scene, np.zeros((3, 20, 30), np.uint8), "ZYX")
        with pytest.raises(InputError, match=r"place on a map|3 planes"):
            write(tmp_path / f"objects.{ending}", given)

    @pytest.mark.parametrize("ending", ENDINGS)
    def test_a_full_disk_leaves_the_old_file_and_no_litter(self, tmp_path, ending):
        resource = pytest.importorskip("resource")
        labels = blobs((200, 200))
        if ending == "cog.tif":  # nothing to compress
            labels = np.random.default_rng(0).integers(1, 2**32, (200, 200), np.uint32)
        given = labelled(tmp_path, labels)
        path = tmp_path / f"objects.{ending}"
        write(path, given)
        whole = path.stat().st_size
        path.write_bytes(b"old")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        # The last of these hit GDAL when it closes a file, of which it tells nobody. A GeoPackage
        # is whole before that: it can do without an index.
        sizes = (whole // 2, whole - 9000, whole - 50, whole - 1)
        try:
            for size in sizes[: 1 if ending == "gpkg" else 4]:
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
                with pytest.raises(InputError, match="cannot be written"):
                    write(path, given)
                assert path.read_bytes() == b"old"
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert {one.name for one in tmp_path.iterdir()} == {"map.tif", path.name}

    @pytest.mark.parametrize("ending", ["gpkg", "fgb", "cog.tif"])
    def test_an_interrupted_write_leaves_the_old_file(self, tmp_path, ending, monkeypatch):
        given = labelled(tmp_path, blobs())
        path = tmp_path / f"objects.{ending}"
        path.write_bytes(b"old")

        def stop(*_args, **_options):
            raise KeyboardInterrupt

        monkeypatch.setattr(pyogrio.raw, "read", stop)  # when all is written, and looked at again
        monkeypatch.setattr("rasterio.shutil.copy", stop)
        with pytest.raises(KeyboardInterrupt):
            write(path, given)
        assert path.read_bytes() == b"old"
        assert {one.name for one in tmp_path.iterdir()} == {"map.tif", path.name}

    @pytest.mark.parametrize("ending", ENDINGS)
    def test_a_file_is_replaced(self, tmp_path, ending):
        given = labelled(tmp_path, blobs())
        path = tmp_path / f"objects.{ending}"
        write(path, given)
        inode = path.stat().st_ino
        write(path, labelled(tmp_path, np.zeros((9, 9), np.uint32)))
        assert path.stat().st_ino != inode
        assert {one.name for one in tmp_path.iterdir()} == {"map.tif", path.name}
        if ending != "cog.tif":
            assert len(read(path)) == 0

    def test_a_package_that_is_open_elsewhere_is_left_alone(self, tmp_path):
        given = labelled(tmp_path, blobs())
        path = tmp_path / "objects.gpkg"
        write(path, given)
        # As QGIS has it open.
        other = sqlite3.connect(path)
        other.execute("pragma journal_mode=wal")
        other.execute("create table more (x)")
        try:
            with pytest.raises(InputError, match="open in another program"):
                write(path, given)
        finally:
            other.close()

    @pytest.mark.parametrize("ending", ENDINGS)
    def test_a_folder_in_the_way_is_told(self, tmp_path, ending):
        given = labelled(tmp_path, blobs())
        path = tmp_path / f"objects.{ending}"
        path.mkdir()
        with pytest.raises(InputError, match="is a folder"):
            write(path, given)

    @pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="this user may write anywhere")
    def test_a_locked_folder_is_told(self, tmp_path):
        given = labelled(tmp_path, blobs())
        locked = tmp_path / "locked"
        locked.mkdir(0o500)
        with pytest.raises(InputError, match="cannot be written"):
            write(locked / "objects.gpkg", given)

    @pytest.mark.parametrize("options", [{"simplify": -1}, {"simplify": 1, "unit": "miles"}])
    def test_a_tolerance_that_is_none_is_refused(self, tmp_path, options):
        given = labelled(tmp_path, blobs())
        with pytest.raises(InputError, match="tolerance"):
            vector_writing.write_geopackage(tmp_path / "objects.gpkg", given, **options)
