"""Places of vector files, in whatever system, land on the pixels where GDAL would put them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from geo_files import write_raster
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam.cli import main
from napari_sam.errors import InputError
from napari_sam.scene import Scene, open_scene
from napari_sam.segment.prompts import Box, Point, Prompt

pytest.importorskip("pyogrio")
geopandas = pytest.importorskip("geopandas")
shapely = pytest.importorskip("shapely")
rasterio = pytest.importorskip("rasterio")

from napari_sam.files.geo.placing import place_areas  # noqa: E402
from napari_sam.files.geo.prompts import PlacedPrompts, place_prompts  # noqa: E402

AFFINE = (0.4, 0.1, 404_211.9, -0.1, -0.5, 3_285_102.9)  # turned and sheared a little
SYSTEMS = ("EPSG:4326", "EPSG:3857", "EPSG:26917", "EPSG:32617")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("geo") / "scene.tif"
    pixels = np.random.default_rng(0).integers(0, 255, (3, 300, 400)).astype(np.uint8)
    write_raster(path, pixels, crs="EPSG:32617", transform=rasterio.Affine(*AFFINE))
    return path


@pytest.fixture(scope="module")
def scene(image: Path) -> Scene:
    return open_scene(image)


def on_the_map(scene: Scene, shapes: list[Any], crs: str, **columns: list[Any]) -> Any:
    """Shapes in (col, row) of pixels, centres at integers, as a table in some system."""
    assert scene.georeference is not None
    place = scene.georeference.to_map
    moved = [
        shapely.transform(shapely.segmentize(shape, 1.0), lambda xy: place(xy[:, ::-1]))
        for shape in shapes
    ]
    return geopandas.GeoDataFrame(columns, geometry=moved, crs="EPSG:32617").to_crs(crs)


def write(table: Any, path: Path) -> None:
    if path.suffix == ".parquet":
        table.to_parquet(path)
    else:  # with an index a FlatGeobuf has an order of its own
        table.to_file(path, **({"SPATIAL_INDEX": "NO"} if path.suffix == ".fgb" else {}))


def near(found: Prompt, wanted: Prompt, within: float = 0.02) -> None:
    assert found.box is None or wanted.box is not None
    assert [p.foreground for p in found.points] == [p.foreground for p in wanted.points]
    for one, other in zip(found.points, wanted.points, strict=True):
        assert (one.row, one.col) == pytest.approx((other.row, other.col), abs=within)
    if wanted.box is not None:
        assert found.box is not None
        corners = [(b.row0, b.col0, b.row1, b.col1) for b in (found.box, wanted.box)]
        assert corners[0] == pytest.approx(corners[1], abs=within)


@pytest.mark.parametrize("crs", SYSTEMS)
@pytest.mark.parametrize("ending", ["gpkg", "geojson", "shp", "fgb", "parquet"])
def test_points_and_boxes(tmp_path: Path, scene: Scene, ending: str, crs: str) -> None:
    if ending == "geojson" and crs != "EPSG:4326":
        pytest.skip("a GeoJSON is in degrees")
    path = tmp_path / f"places.{ending}"
    boxes = [(20, 30, 60, 90), (200, 100, 250, 160)]
    table = on_the_map(
        scene,
        [shapely.box(col0, row0, col1, row1) for row0, col0, row1, col1 in boxes],
        crs,
        **{"id": [7, 8], "class": ["tree", None]},
    )
    write(table, path)
    placed = place_prompts(path, scene)
    assert [(one.id, one.label) for one in placed.prompts] == [("7", "tree"), ("8", None)]
    for one, box in zip(placed.prompts, boxes, strict=True):
        near(one.prompt, Prompt((), Box(*box)))
    assert (placed.outside, placed.notes) == (0, ())
    points = on_the_map(scene, [shapely.Point(30, 20), shapely.Point(399.4, -0.4)], crs)
    write(points, path)
    found = [one.prompt for one in place_prompts(path, scene).prompts]
    near(found[0], Prompt((Point(20, 30),)))
    near(found[1], Prompt((Point(-0.4, 399.4),)))


def test_points_that_belong_together(tmp_path: Path, scene: Scene) -> None:
    shapes = [shapely.Point(30, 20), shapely.Point(40, 20), shapely.Point(99, 99)]
    shapes += [shapely.box(10, 10, 50, 50), shapely.MultiPoint([(1, 2), (3, 4)])]
    table = on_the_map(
        scene,
        shapes,
        "EPSG:4326",
        object=["a", "a", "b", "a", None],
        foreground=[1, 0, 1, 1, 1],
        label=["roof", "roof", "lawn", "roof", "car"],
    )
    table.to_file(tmp_path / "places.gpkg")
    placed = place_prompts(tmp_path / "places.gpkg", scene)
    assert [one.label for one in placed.prompts] == ["roof", "lawn", "car", "car"]
    assert placed.prompts[0].id == "a"
    near(
        placed.prompts[0].prompt, Prompt((Point(20, 30), Point(20, 40, False)), Box(10, 10, 50, 50))
    )
    near(placed.prompts[1].prompt, Prompt((Point(99, 99),)))
    near(placed.prompts[3].prompt, Prompt((Point(4, 3),)))
    table[1:2].to_file(tmp_path / "beside.gpkg")
    with pytest.raises(InputError, match="only points beside it"):
        place_prompts(tmp_path / "beside.gpkg", scene)


@given(
    corners=st.tuples(
        *(st.floats(-500, 900) for _ in range(4)),
    ),
    crs=st.sampled_from(SYSTEMS),
)
def test_what_is_outside_is_counted(
    scene: Scene, tmp_path_factory: pytest.TempPathFactory, corners: tuple[float, ...], crs: str
) -> None:
    row0, row1 = sorted(corners[:2])
    col0, col1 = sorted(corners[2:])
    if row1 - row0 < 1 or col1 - col0 < 1:
        return
    path = tmp_path_factory.mktemp("outside") / "places.fgb"
    inside_box, anywhere = shapely.box(5, 5, 9, 9), shapely.box(col0, row0, col1, row1)
    on_the_map(scene, [inside_box, anywhere], crs, id=[1, 2]).to_file(path)
    placed = place_prompts(path, scene)
    whole = shapely.box(-0.5, -0.5, 399.5, 299.5)
    shared = anywhere.intersection(whole).bounds if anywhere.intersects(whole) else ()
    if shared and min(shared[2] - shared[0], shared[3] - shared[1]) < 0.1:
        return
    assert (placed.total, placed.outside) == (2, 0 if shared else 1)
    found = {one.id: one.prompt for one in placed.prompts}
    near(found["1"], Prompt((), Box(5, 5, 9, 9)))
    if shared:
        near(found["2"], Prompt((), Box(shared[1], shared[0], shared[3], shared[2])))


def test_csv(tmp_path: Path, scene: Scene) -> None:
    assert scene.georeference is not None
    path = tmp_path / "places.csv"
    (x, y), (far_x, far_y) = scene.georeference.to_map([(20, 30), (-99, 0)]).tolist()
    path.write_text(f"x,y,class\n{x!r},{y!r},tree\n{far_x!r},{far_y!r},tree\n")
    placed = place_prompts(path, scene)
    near(placed.prompts[0].prompt, Prompt((Point(20, 30),)))
    assert (placed.outside, placed.prompts[0].label) == (1, "tree")
    assert placed.notes == (f"{path} is taken to be in EPSG:32617, as the image.",)
    degrees = on_the_map(scene, [shapely.Point(30, 20)], "EPSG:4326").geometry[0]
    for header, options in (
        ("lon;lat", {}),
        ("x;y", {"crs": "EPSG:4326"}),
        ("x;y;crs", {}),
    ):
        path.write_text(f"{header}\n{degrees.x!r};{degrees.y!r};EPSG:4326\n")
        placed = place_prompts(path, scene, **options)
        near(placed.prompts[0].prompt, Prompt((Point(20, 30),)))
        assert placed.notes == ()
    path.write_text(f"xmin,ymin,xmax,ymax\n{x - 1},{y - 1},{x + 1},{y + 1}\n")
    assert place_prompts(path, scene).prompts[0].prompt.box is not None


def test_an_image_that_lies_nowhere(tmp_path: Path, scene: Scene) -> None:
    plain = open_scene(np.zeros((50, 60), np.uint8))
    (tmp_path / "a.csv").write_text("x,y\n10.5,20.5\n")
    placed = place_prompts(tmp_path / "a.csv", plain)
    near(placed.prompts[0].prompt, Prompt((Point(20, 10),)))
    assert "pixels" in placed.notes[0]
    feature = {"type": "Point", "coordinates": [10.5, 20.5]}
    content = {"type": "Feature", "properties": {}, "geometry": feature}
    (tmp_path / "a.geojson").write_text(json.dumps(content))
    placed = place_prompts(tmp_path / "a.geojson", plain)
    near(placed.prompts[0].prompt, Prompt((Point(20, 10),)))
    on_the_map(scene, [shapely.Point(3, 3)], "EPSG:4326").to_file(tmp_path / "a.gpkg")
    with pytest.raises(InputError, match="does not say where it lies"):
        place_prompts(tmp_path / "a.gpkg", plain)


def test_a_geojson_of_other_units_is_taken_as_the_image(tmp_path: Path, scene: Scene) -> None:
    assert scene.georeference is not None
    (xy,) = scene.georeference.to_map([(20, 30)]).tolist()
    content = {
        "type": "Feature",
        "properties": {},
        "geometry": {"type": "Point", "coordinates": xy},
    }
    (tmp_path / "a.geojson").write_text(json.dumps(content))
    placed = place_prompts(tmp_path / "a.geojson", scene)
    near(placed.prompts[0].prompt, Prompt((Point(20, 30),)))
    assert "as the image" in placed.notes[0]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "x,y\n", "no features"),
        ("a.csv", "x,y\n1,what\n", "Y in line 2"),
        ("a.csv", "row,col\n1,2\n", "no header"),
        ("a.csv", "x,y,crs\n1,2,EPSG:4326\n1,2,EPSG:3857\n", "several coordinate systems"),
        ("a.csv", "x,y,crs\n1,2,EPSG:99999999\n", "unknown here"),
        ("a.csv", "x,y,crs\n1,2,EPSG:3857\n", "None of the 1 points"),
        ("a.geojson", "{", "cannot be read"),
        ("a.geojson", '{"type": "FeatureCollection", "features": []}', "no features"),
        ("a.gpkg", "no database", "cannot be read"),
        ("a.shp", "", "cannot be read"),
        ("a.kmz", "", "no vector file that is read here"),
        ("a.parquet", "", "cannot be read"),
    ],
)
def test_what_is_wrong_is_told(
    tmp_path: Path, scene: Scene, name: str, text: str, words: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=words) as told:
        place_prompts(tmp_path / name, scene)
    assert str(told.value).endswith(".")
    assert "\n" not in str(told.value)


@pytest.fixture(scope="module")
def good_files(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("good")
    table = on_the_map(scene, [shapely.box(30, 20, 90, 60)], "EPSG:4326", id=[7])
    contents = {}
    for ending in ("gpkg", "geojson", "fgb", "parquet", "shp"):
        write(table, folder / f"a.{ending}")
        contents[ending] = (folder / f"a.{ending}").read_bytes()
    contents["csv"] = b"x,y,label\n404251.2,3285090.1,1\n"
    return contents


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=60)
@given(data=st.data())
def test_damaged_files_are_refused_or_read(
    scene: Scene,
    good_files: dict[str, bytes],
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
) -> None:
    ending = data.draw(st.sampled_from(sorted(good_files)))
    content = bytearray(good_files[ending])
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    for _ in range(data.draw(st.integers(0, 6))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("bad") / f"a.{ending}"
    path.write_bytes(content)
    try:
        place_prompts(path, scene)
    except InputError as error:
        told = str(error)
    else:
        told = "."
    assert "\n" not in told
    assert told.endswith(".")


def test_layers_are_chosen(tmp_path: Path, scene: Scene) -> None:
    path = tmp_path / "places.gpkg"
    for layer in ("trees", "roofs"):
        on_the_map(scene, [shapely.Point(30, 20)], "EPSG:4326").to_file(path, layer=layer)
    with pytest.raises(InputError, match=r"layers trees, roofs: choose one, as .*\.gpkg:trees"):
        place_prompts(path, scene)
    with pytest.raises(InputError, match="no layer cars: choose from trees, roofs"):
        place_prompts(f"{path}:cars", scene)
    assert len(place_prompts(f"{path}:roofs", scene).prompts) == 1
    with pytest.raises(InputError, match="no such file"):
        place_prompts(tmp_path / "other.gpkg", scene)


def test_areas(tmp_path: Path, scene: Scene) -> None:
    hole = shapely.box(50, 50, 80, 80)
    ring = shapely.Polygon(shapely.box(20, 20, 100, 100).exterior, [hole.exterior])
    shapes = [ring, shapely.box(90, 90, 150, 150), shapely.box(-900, 0, -800, 9)]
    on_the_map(scene, [*shapes, shapely.Point(0, 0)], "EPSG:4326").to_file(tmp_path / "areas.gpkg")
    placed = place_areas(tmp_path / "areas.gpkg", scene)
    assert (placed.outside, placed.total) == (1, 3)
    found = shapely.Polygon(placed.rings[0][:, ::-1], [ring[:, ::-1] for ring in placed.rings[1:]])
    wanted = shapely.union_all(shapes[:2])
    assert found.symmetric_difference(wanted).area < 1e-3 * wanted.area
    on_the_map(scene, [shapely.Point(0, 0)], "EPSG:4326").to_file(tmp_path / "points.gpkg")
    with pytest.raises(InputError, match="no polygons"):
        place_areas(tmp_path / "points.gpkg", scene)
    on_the_map(scene, shapes[2:], "EPSG:4326").to_file(tmp_path / "far.gpkg")
    with pytest.raises(InputError, match="None of the 1 polygons"):
        place_areas(tmp_path / "far.gpkg", scene)


def test_encode_only_areas(
    tmp_path: Path,
    image: Path,
    scene: Scene,
    tiny_weights: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from napari_sam.tiles.store import EmbeddingStore

    areas, where = tmp_path / "areas.gpkg", tmp_path / "store"
    on_the_map(scene, [shapely.box(0, 0, 30, 30)], "EPSG:3857").to_file(areas)
    command = [
        "encode",
        str(image),
        "-o",
        str(where),
        "--model",
        str(tiny_weights),
        "--levels",
        "0",
    ]
    assert main([*command, "--aoi", str(areas)]) == 0
    progress = EmbeddingStore.open(where).progress()
    assert (progress.done, progress.missing > 0) == (1, True)
    capsys.readouterr()
    assert main([*command[:3], str(tmp_path / "b"), "--aoi", str(areas), "--roi", "0,0,9,9"]) == 2
    assert "--aoi and --roi" in capsys.readouterr().err


def test_australias_tree(shared: Path) -> None:
    folder = shared / "devdata" / "geo"
    scene = open_scene(folder / "australia.tif")
    placed = place_prompts(folder / "australia.shp", scene)
    (tree,) = placed.prompts
    assert (tree.label, placed.outside, placed.notes) == ("EM", 0, ())
    with rasterio.open(folder / "australia.tif") as dataset:
        bounds = geopandas.read_file(folder / "australia.shp").total_bounds
        window = dataset.window(*bounds)
    row0, col0 = window.row_off - 0.5, window.col_off - 0.5
    near(tree.prompt, Prompt((), Box(row0, col0, row0 + window.height, col0 + window.width)))
    assert isinstance(placed, PlacedPrompts)


def test_segment_from_places(
    tmp_path: Path,
    image: Path,
    scene: Scene,
    tiny_weights: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import pyarrow.parquet as pq

    command = ["segment", str(image), "--model", str(tiny_weights), "-o", str(tmp_path / "out")]
    shapes = [
        shapely.box(30, 20, 90, 60),
        shapely.box(100, 200, 160, 250),
        shapely.box(-9, -9, -5, -5),
    ]
    columns = {"id": [7, 8, 9], "class": ["tree", "roof", "tree"]}
    on_the_map(scene, shapes, "EPSG:3857", **columns).to_file(tmp_path / "boxes.gpkg")
    assert main([*command, "--prompts", str(tmp_path / "boxes.gpkg")]) == 0
    out = capsys.readouterr().out
    assert "for 2 prompts" in out
    assert "1 of 3 points and boxes lie outside" in out
    table = (tmp_path / "out" / "scene_objects.csv").read_text().splitlines()
    assert table[0].endswith("prompt_id,class")
    assert {line.rpartition(",")[2] for line in table[1:]} <= {"tree", "roof"}

    assert (
        main([*command, "--prompts", str(tmp_path / "boxes.gpkg"), "--store", f"{tmp_path}/s"]) == 0
    )
    boxes = pq.read_table(tmp_path / "out" / "scene_objects.parquet").to_pydict()
    assert set(boxes["prompt_id"]) <= {"7", "8"}
    points = on_the_map(scene, [shapely.Point(30, 20)], "EPSG:4326", id=["here"])
    points.to_file(tmp_path / "points.geojson")
    capsys.readouterr()
    assert (
        main([*command, "--prompts", str(tmp_path / "points.geojson"), "--store", f"{tmp_path}/s"])
        == 0
    )
    assert "for 1 prompt in" in capsys.readouterr().out
    assert set(
        pq.read_table(tmp_path / "out" / "scene_objects.parquet")["prompt_id"].to_pylist()
    ) <= {"here"}
    for wrong in (
        ["--prompts", "a.csv", "--everything"],
        ["--prompts", "a.csv", "--sizes", "3,9"],
        ["--everything", "--prompts-crs", "EPSG:4326"],
        ["--point", "3,4", "--aoi", "a.gpkg"],
        ["--prompts", str(tmp_path / "boxes.gpkg"), "--prompts-crs", "nonsense"],
    ):
        assert main([*command, *wrong]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_everything_in_areas(
    tmp_path: Path,
    image: Path,
    scene: Scene,
    sees: Any,
    tiny_weights: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import pyarrow.parquet as pq
    from everything_scenes import THRESHOLDS

    from napari_sam.segment.everything import everything

    monkeypatch.setattr(everything, "thresholds_of", lambda *_: THRESHOLDS)
    labels = np.zeros((300, 400), np.uint32)
    for number, (row, col) in enumerate([(20, 20), (100, 300), (250, 60), (260, 350)], 1):
        labels[row : row + 20, col : col + 20] = number
    sees(labels)
    areas = [shapely.box(0, 0, 100, 100), shapely.box(300, 200, 399, 299)]
    on_the_map(scene, areas, "EPSG:4326").to_file(tmp_path / "areas.fgb")
    command = ["segment", str(image), "--model", str(tiny_weights), "-o", str(tmp_path / "out")]
    assert main([*command, "--everything", "--aoi", str(tmp_path / "areas.fgb")]) == 0
    found = pq.read_table(tmp_path / "out" / "scene_objects.parquet").to_pydict()
    centres = sorted(zip(found["centroid_row"], found["centroid_col"], strict=True))
    assert centres == [(29.5, 29.5), (269.5, 359.5)]
