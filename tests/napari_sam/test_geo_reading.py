"""Rasters of geographers are read as GDAL reads them, and lie where GDAL says."""

from __future__ import annotations

import pickle
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from geo_files import served, write_raster
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from napari_sam.errors import InputError
from napari_sam.scene import Scene, open_scene
from napari_sam.scenes.georeference import is_usable

rasterio = pytest.importorskip("rasterio")
pytest.importorskip("rasterio.shutil")
pyproj = pytest.importorskip("pyproj")
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

ALL = slice(None)
STEPS = st.floats(-1e3, 1e3).filter(lambda step: abs(step) > 1e-3)


def bands(count: int, shape: tuple[int, int] = (200, 301), dtype: Any = np.uint16) -> np.ndarray:
    return np.random.default_rng(count).integers(1, 200, (count, *shape)).astype(dtype)


def pixels(scene: Scene, level: int = 0) -> np.ndarray:
    return np.moveaxis(scene.read(level, ALL, ALL), -1, 0)


def lies_as_gdal_says(scene: Scene, path: Path) -> None:
    with rasterio.open(path) as dataset:
        assert scene.georeference is not None
        assert scene.georeference.affine == pytest.approx(tuple(dataset.transform)[:6])
        told = pyproj.CRS.from_user_input(scene.georeference.crs)
        assert told.equals(pyproj.CRS.from_wkt(dataset.crs.to_wkt()), ignore_axis_order=True)
        places = np.array([(0.0, 0.0), (5.5, 3.0)])
        xy = np.transpose(dataset.xy(*places.T))
        np.testing.assert_allclose(scene.georeference.to_map(places), xy)
        np.testing.assert_allclose(scene.georeference.to_pixels(xy), places, atol=1e-6)


@pytest.mark.parametrize(
    ("count", "dtype", "how"),
    [
        (1, np.float32, {"nodata": -9999.0, "BIGTIFF": "YES"}),
        (3, np.uint16, {"tiled": True, "blockxsize": 64, "blockysize": 64, "overviews": (2, 4)}),
        (6, np.int16, {"tiled": True, "interleave": "band", "compress": "deflate"}),
        (6, np.uint8, {"tiled": True, "interleave": "pixel", "overviews": (2, 4)}),
        (2, np.float64, {"descriptions": ("NDVI", "height < 5 m")}),
    ],
)
def test_geotiffs(tmp_path: Path, count: int, dtype: Any, how: dict[str, Any]) -> None:
    path, made = tmp_path / "scene.tif", bands(count, dtype=dtype)
    write_raster(path, made, **how)
    chosen = range(3) if count > 2 else range(1)
    scene = open_scene(path, channels=list(chosen))
    np.testing.assert_array_equal(pixels(scene), made[list(chosen)])
    np.testing.assert_array_equal(pixels(open_scene(path, channels=count - 1)), made[-1:])
    lies_as_gdal_says(scene, path)
    with rasterio.open(path) as dataset:
        assert scene.nodata == dataset.nodata
        if any(dataset.descriptions):
            assert scene.channel_names == dataset.descriptions
    if "overviews" in how:
        assert [level.stored for level in scene.levels[:4]] == [True, True, True, False]
        with rasterio.open(path, overview_level=0) as coarse:
            np.testing.assert_array_equal(pixels(scene, 1), coarse.read([1, 2, 3]))


@pytest.mark.parametrize(
    "crs",
    [
        *("EPSG:4326", "EPSG:2263", "EPSG:3857", "ESRI:102003"),
        "+proj=laea +lat_0=48 +lon_0=9 +ellps=GRS80 +units=m",
        "+proj=tmerc +lat_0=0 +lon_0=12.5 +k=0.9998 +x_0=7000 +datum=WGS84 +units=us-ft",
    ],
)
def test_any_system(tmp_path: Path, crs: str) -> None:
    write_raster(tmp_path / "scene.tif", bands(1), crs=crs)
    lies_as_gdal_says(open_scene(tmp_path / "scene.tif"), tmp_path / "scene.tif")


@settings(max_examples=15)
@given(
    affine=st.tuples(
        *(STEPS, STEPS | st.just(0.0), st.floats(-1e7, 1e7)),
        *(STEPS | st.just(0.0), STEPS, st.floats(-1e7, 1e7)),
    ).filter(is_usable),
    point=st.booleans(),
)
def test_any_affine(affine: tuple[float, ...], point: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.tif"
        write_raster(path, bands(1, (3, 4)), transform=rasterio.Affine(*affine))
        if point:
            with rasterio.open(path, "r+") as dataset:
                dataset.update_tags(AREA_OR_POINT="Point")
        place, scene = rasterio.open(path), open_scene(path)
        with place:
            if place.transform == rasterio.Affine.identity():
                return
            assert scene.georeference is not None
            assert scene.georeference.affine == pytest.approx(tuple(place.transform)[:6], rel=1e-9)


def test_overviews_and_masks_beside_the_file(tmp_path: Path) -> None:
    path, made = tmp_path / "scene.tif", bands(3)
    with rasterio.Env(TIFF_USE_OVR=True):
        write_raster(path, made, overviews=(2, 4))
    assert (tmp_path / "scene.tif.ovr").is_file()
    scene = open_scene(path)
    assert [level.stored for level in scene.levels[:4]] == [True, True, True, False]
    with rasterio.open(path, overview_level=1) as coarse:
        np.testing.assert_array_equal(pixels(scene, 2), coarse.read())


@pytest.mark.parametrize("ending", ["vrt", "jp2", "img", "dat", "ers"])
def test_other_rasters(tmp_path: Path, ending: str) -> None:
    shape = (600, 701) if ending == "vrt" else (200, 301)  # small ones have no overviews
    path, made = tmp_path / f"scene.{ending}", bands(5, shape, np.uint8)
    drivers = {"jp2": "JP2OpenJPEG", "img": "HFA", "dat": "ENVI", "ers": "ERS"}
    if ending == "vrt":
        source = tmp_path / "scene.tif"
        write_raster(source, made, overviews=(2, 4), descriptions=tuple("abcde"))
        rasterio.shutil.copy(source, path, driver="VRT")
    else:
        lossless = {"QUALITY": 100, "REVERSIBLE": "YES"} if ending == "jp2" else {}
        write_raster(path, made, driver=drivers[ending], **lossless)
    scene = open_scene(path, channels=[4, 0, 2])
    np.testing.assert_array_equal(pixels(scene), made[[4, 0, 2]])
    if ending != "ers":  # which GDAL reads as a system without a code, though it has one
        lies_as_gdal_says(scene, path)
    assert scene.pixel_size is not None
    assert (scene.pixel_size.rows, scene.pixel_size.unit) == (2.0, "metre")
    if ending == "vrt":
        assert scene.channel_names == tuple("abcde")
        assert [level.stored for level in scene.levels[:4]] == [True, True, True, False]
    # It is sent to other processes, and read by many threads at once.
    sent = pickle.loads(pickle.dumps(scene))
    windows = [(slice(row, row + 20), slice(3, 200)) for row in range(0, 180, 9)]
    with ThreadPoolExecutor(6) as pool:
        for (rows, cols), block in zip(
            windows, pool.map(lambda window: sent.read(0, *window), windows), strict=True
        ):
            np.testing.assert_array_equal(np.moveaxis(block, -1, 0), made[[4, 0, 2], rows, cols])


def test_where_gdal_has_no_data_there_is_none(tmp_path: Path) -> None:
    made, valid = bands(3, dtype=np.uint8), np.ones((200, 301), bool)
    valid[50:90, 20:40] = False
    tiff, path = tmp_path / "scene.tif", tmp_path / "scene.vrt"
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        write_raster(tiff, made)
        with rasterio.open(tiff, "r+") as dataset:
            dataset.write_mask(valid)
    rasterio.shutil.copy(tiff, path, driver="VRT")
    for image in (tiff, path):
        scene = open_scene(image)
        assert scene.masked
        assert ((scene.read(0, ALL, ALL) != scene.nodata).any(-1) == valid).all()
    write_raster(tiff, made, nodata=7)
    rasterio.shutil.copy(tiff, path, driver="VRT")
    assert (open_scene(path).nodata, open_scene(path).masked) == (7, False)


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    tiff, path = tmp_path / "scene.tif", tmp_path / "scene.vrt"
    made = bands(1, dtype=np.uint8) % 3
    write_raster(tiff, made, photometric="palette")
    colours = {0: (9, 8, 7, 255), 1: (200, 0, 0, 255), 2: (0, 0, 255, 255)}
    with rasterio.open(tiff, "r+") as dataset:
        dataset.write_colormap(1, colours)
    rasterio.shutil.copy(tiff, path, driver="VRT")
    wanted = np.array([colours[value][:3] for value in range(3)])[made[0]]
    for image in (tiff, path):
        scene = open_scene(image)
        np.testing.assert_array_equal(scene.read(0, ALL, ALL), wanted)
        lies_as_gdal_says(scene, image)


@pytest.mark.parametrize(
    ("name", "world"),
    [("a.png", "a.pgw"), ("a.jpg", "a.JGW"), ("a.tif", "a.tifw"), ("a.png", "a.wld")],
)
def test_world_files(tmp_path: Path, name: str, world: str) -> None:
    Image.fromarray(bands(1, (30, 40), np.uint8)[0]).save(tmp_path / name)
    (tmp_path / world).write_text("0.5\n0.1\n-0.1\n-0.5\n278966.57\n8597743.9\n")
    prj = pyproj.CRS.from_epsg(32753).to_wkt("WKT1_ESRI")
    (tmp_path / "a.prj").write_text(prj)
    found = open_scene(tmp_path / name).georeference
    assert found is not None
    assert (found.crs, found.unit) == ("EPSG:32753", "metre")
    if world != "a.JGW":  # GDAL knows it only where file names have no cases
        with rasterio.open(tmp_path / name) as dataset:
            assert found.affine == pytest.approx(tuple(dataset.transform)[:6])


def test_real_images_lie_where_gdal_says(shared: Path) -> None:
    for name in ("naip_2018", "OSBS_029", "australia"):
        path = shared / "devdata" / "geo" / f"{name}.tif"
        scene = open_scene(path)
        lies_as_gdal_says(scene, path)
        with rasterio.open(path) as dataset:
            np.testing.assert_array_equal(pixels(scene), dataset.read([1, 2, 3]))


def test_http(tmp_path: Path) -> None:
    made = bands(4, (700, 900))
    write_raster(tmp_path / "scene.tif", made, tiled=True, compress="deflate", overviews=(2, 4))
    with served(tmp_path) as address:
        for image in (f"{address}/scene.tif?key=1", f"/vsicurl/{address}/scene.tif"):
            scene = open_scene(image, channels=3)
            assert scene.georeference is not None
            window = scene.read(0, slice(600, 640), slice(10, 50))
            np.testing.assert_array_equal(window[..., 0], made[3, 600:640, 10:50])
            assert scene.levels[1].stored
        asked = (tmp_path / "asked.txt").read_text().split()
        assert {path.partition("?")[0] for path in asked} == {"/scene.tif"}
        with pytest.raises(InputError, match=r"missing\.tif cannot be opened"):
            open_scene(f"{address}/missing.tif")


def test_a_silent_server_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDAL_HTTP_TIMEOUT", "1")
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    with (
        served(tmp_path, silent=True) as address,
        pytest.raises(InputError, match="cannot be opened"),
    ):
        open_scene(f"{address}/scene.tif")


def test_a_server_that_dies_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    write_raster(tmp_path / "large.tif", bands(1, (1500, 1500), np.uint8), tiled=True)
    with served(tmp_path) as address:
        scene = open_scene(f"{address}/large.tif")
    with pytest.raises(InputError, match="out of reach"):
        pixels(scene)


def test_a_bucket(bucket: str, tmp_path: Path) -> None:
    import s3fs

    made = bands(3)
    write_raster(tmp_path / "scene.tif", made)
    s3fs.S3FileSystem().put(str(tmp_path / "scene.tif"), "bucket/some/scene.tif")
    for image in (f"{bucket}/some/scene.tif", "/vsis3/bucket/some/scene.tif"):
        scene = open_scene(image)
        np.testing.assert_array_equal(pixels(scene), made)
        assert scene.name == image
    with pytest.raises(InputError, match="cannot be opened"):
        open_scene(f"{bucket}/some/other.tif")


@pytest.mark.parametrize(
    "name",
    [
        *("/vsizip/a.zip/x.tif", "/vsimem/x.tif", "/vsis3/", "/vsicurl/ftp://there/x.tif"),
        *("/vsicurl//vsizip/a.zip/x.tif", "/vsis3//vsitar/a/x.tif", "/vsisubprocess/x"),
        "/vsicurl/https://there//vsizip/x.tif",
    ],
)
def test_other_names_of_gdal_are_not_opened(name: str) -> None:
    with pytest.raises(InputError, match="is not opened"):
        open_scene(name)


def test_a_virtual_raster_runs_no_code(tmp_path: Path) -> None:
    write_raster(tmp_path / "scene.tif", bands(1))
    trace = tmp_path / "ran"
    (tmp_path / "scene.vrt").write_text(
        f"""<VRTDataset rasterXSize="301" rasterYSize="200">
        <VRTRasterBand dataType="UInt16" band="1" subClass="VRTDerivedRasterBand">
        <PixelFunctionType>run</PixelFunctionType>
        <PixelFunctionLanguage>Python</PixelFunctionLanguage>
        <PixelFunctionCode><![CDATA[
def run(inputs, out, *others, **named):
    open({str(trace)!r}, "w")
]]></PixelFunctionCode>
        <SimpleSource><SourceFilename relativeToVRT="1">scene.tif</SourceFilename></SimpleSource>
        </VRTRasterBand></VRTDataset>"""
    )
    with pytest.raises(InputError):
        open_scene(tmp_path / "scene.vrt").read(0, ALL, ALL)
    assert not trace.exists()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of rasterio's log
@settings(max_examples=40)
@given(data=st.data())
def test_damaged_rasters_are_refused_or_read(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["vrt", "tif", "jp2"]))
    content = bytearray(_CONTENTS[kind])
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    for _ in range(data.draw(st.integers(0, 4))):
        if content:
            content[data.draw(st.integers(0, min(len(content), 600) - 1))] = data.draw(
                st.integers(0, 255)
            )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"scene.{kind}"
        path.write_bytes(content)
        try:
            scene = open_scene(path)
            scene.read(0, slice(0, 1), slice(0, 1))
        except InputError as error:
            told = str(error)
        else:
            told = ""
        assert "\n" not in told


def _content(ending: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        tiff, path = Path(folder) / "made.tif", Path(folder) / f"scene.{ending}"
        write_raster(tiff, bands(1, (20, 30), np.uint8))
        drivers = {"vrt": "VRT", "tif": "GTiff", "jp2": "JP2OpenJPEG"}
        rasterio.shutil.copy(tiff, path, driver=drivers[ending])
        return path.read_bytes()


_CONTENTS = {ending: _content(ending) for ending in ("vrt", "tif", "jp2")}
