"""Outlines along the edges of pixels, shared borders, right angles."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

shapely = pytest.importorskip("shapely")

from napari_sam.files.geo.outlines import trace, trace_blocks  # noqa: E402
from napari_sam.files.geo.polygons import polygons  # noqa: E402
from napari_sam.files.geo.right_angles import right_angled  # noqa: E402
from napari_sam.files.geo.shared_borders import simplified  # noqa: E402

MAPS = hnp.arrays(
    np.uint32,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14),
    elements=st.sampled_from([0, 1, 2, 7, 2**32 - 1]),
    fill=st.nothing(),
)


def shapes_of(labels):
    return polygons(trace(labels))


def drawn(ids, shapes, shape):
    """Draw shapes as a GIS does."""
    features = pytest.importorskip("rasterio.features")
    return features.rasterize(
        zip(shapes, ids.tolist(), strict=True), out_shape=shape, dtype="uint32"
    )


def smooth_map(seed, shape=(60, 70), sigma=3.0, levels=4):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma)
    return np.digitize(noise, np.quantile(noise, np.linspace(0, 1, levels + 1)[1:-1]))


class TestTracing:
    @given(labels=MAPS)
    @settings(max_examples=50)
    def test_follows_the_edges_of_pixels(self, labels):
        ids, shapes = shapes_of(labels)
        assert ids.tolist() == np.unique(labels[labels > 0]).tolist()
        assert shapely.is_valid(shapes).all()
        assert shapely.area(shapes).tolist() == [np.sum(labels == number) for number in ids]
        if len(ids):
            assert np.array_equal(drawn(ids, shapes, labels.shape), labels)

    @given(labels=MAPS, side=st.integers(1, 9))
    @settings(max_examples=40)
    def test_blocks_make_no_difference(self, labels, side):
        asked = np.zeros(labels.shape, int)

        def paint(part):
            asked[part.rows, part.cols] += 1
            return labels[part.rows, part.cols]

        blocks, whole = trace_blocks(paint, labels.shape, side), trace(labels)
        assert (asked == 1).all()
        for name in ("nodes", "branching", "visits", "starts", "owners", "holes"):
            assert np.array_equal(getattr(blocks, name), getattr(whole, name))

    def test_parts_that_touch_at_a_corner_are_two(self):
        _, (shape,) = shapes_of(np.eye(3, dtype=int))
        assert len(shape.geoms) == 3
        assert shape.is_valid

    def test_a_hole_that_touches_the_outside_at_a_corner_is_a_hole(self):
        _, (shape,) = shapes_of(np.array([[1, 1, 0], [1, 0, 1], [1, 1, 1]]))
        assert len(shape.geoms) == 1
        assert len(shape.geoms[0].interiors) == 1
        assert (shape.is_valid, shape.area) == (True, 7)

    def test_an_island_in_a_lake_is_a_part_and_the_lake_a_hole(self):
        labels = np.ones((9, 9), int)
        labels[1:8, 1:8] = 0
        labels[3:6, 3:6] = 1
        labels[4, 4] = 0
        _, (shape,) = shapes_of(labels)
        assert sorted((part.area, len(part.interiors)) for part in shape.geoms) == [(8, 1), (32, 1)]

    def test_noise_has_valid_shapes(self):
        labels = np.random.default_rng(5).integers(0, 3, (150, 150))
        ids, shapes = shapes_of(labels)
        assert shapely.is_valid(shapes).all()
        assert shapely.area(shapes).tolist() == [np.sum(labels == number) for number in ids]

    def test_nothing_has_no_outlines(self):
        ids, shapes = shapes_of(np.zeros((4, 5), int))
        assert (len(ids), len(shapes)) == (0, 0)
        assert len(simplified(trace(np.zeros((4, 5), int)), 1.0).visits) == 0


def segments(outlines):
    """Return all edges as walked, with the object on the right."""
    found = []
    for index, owner in enumerate(outlines.owners.tolist()):
        ring = outlines.visits[outlines.starts[index] : outlines.starts[index + 1]].tolist()
        found += [(owner, *edge) for edge in zip(ring, [*ring[1:], ring[0]], strict=True)]
    return found


def check_simplified(labels, tolerance):
    """Every promise of `simplified`, on a map without background."""
    before, after = trace(labels), simplified(trace(labels), tolerance)
    ids, shapes = polygons(after)
    old_ids, old = polygons(before)
    assert np.array_equal(ids, old_ids)
    assert shapely.is_valid(shapes).all()
    assert (shapely.area(shapes) > 0).all()
    parts = [[len(shape.geoms) for shape in each] for each in (shapes, old)]
    assert parts[0] == parts[1]
    union = shapely.union_all(shapes)
    assert union.is_valid
    assert union.area == pytest.approx(shapely.area(shapes).sum(), abs=1e-6)
    # Without background, each border is walked from both sides or is the edge of the map.
    walked = segments(after)
    assert len({edge[1:] for edge in walked}) == len(walked)
    there = {edge[1:] for edge in walked}
    alone = [edge for edge in walked if (edge[2], edge[1]) not in there]
    rim = shapely.box(0, 0, *labels.shape[::-1]).boundary
    for _, begin, end in alone:
        line = shapely.LineString(after.nodes[[begin, end]][:, ::-1])
        assert line.within(rim) or not line.disjoint(rim)
    # No node strays further than it may.
    for shape, other in zip(shapes, old, strict=True):
        away = shapely.distance(shapely.points(shapely.get_coordinates(other)), shape.boundary)
        assert away.max() <= tolerance + 1e-9


class TestSharedBorders:
    @given(labels=MAPS, tolerance=st.sampled_from([0.5, 0.8, 1.0, 1.7, 3.0, 40.0]))
    @settings(max_examples=50)
    def test_noise_stays_apart(self, labels, tolerance):
        check_simplified(np.where(labels == 0, 3, labels), tolerance)

    @pytest.mark.parametrize("tolerance", [0.75, 1.5, 4.0, 100.0])
    @pytest.mark.parametrize("seed", range(4))
    def test_fields_stay_apart(self, seed, tolerance):
        check_simplified(smooth_map(seed) + 1, tolerance)

    def test_steps_of_a_slanted_edge_vanish(self):
        rows, cols = np.mgrid[:200, :200]
        outlines = trace(cols > 0.37 * rows + 20)
        after = simplified(outlines, 1.5)
        assert len(outlines.visits) > 140
        assert len(after.visits) < 10

    def test_small_objects_survive_any_tolerance(self):
        labels = np.zeros((30, 30), int)
        labels[::3, ::3] = np.arange(1, 101).reshape(10, 10)
        ids, shapes = polygons(simplified(trace(labels), 1000.0))
        assert len(ids) == 100
        assert (shapely.area(shapes) >= 0.5).all()

    def test_an_island_stays_in_its_bay(self):
        # A line straight across the bay would leave the island on the wrong side.
        labels = np.ones((40, 40), int)
        labels[:30, 15:25] = 0
        labels[2:4, 18:22] = 2
        _, (land, island) = polygons(simplified(trace(labels), 50.0))
        assert land.intersection(island).area == 0
        assert land.is_valid


def rotated(shape, degrees):
    return shapely.affinity.rotate(shape, degrees, origin=(60, 60))


def pixels_of(shape, noise=0.0, stretch=1.0, size=120):
    rows, cols = np.mgrid[:size, :size] + 0.5
    mask = shapely.contains_xy(shape, cols * stretch, rows)
    rng = np.random.default_rng(0)
    mask &= ~((mask ^ ndimage.binary_erosion(mask)) & (rng.random(mask.shape) < noise))
    mask |= (mask ^ ndimage.binary_dilation(mask)) & (rng.random(mask.shape) < noise)
    return mask


def straightened(mask, metric=None):
    outlines = trace(mask)
    _, originals = polygons(outlines)
    _, shapes = polygons(simplified(outlines, 1.0))
    found, ious = right_angled(shapes, originals, metric)
    return found[0], ious[0], shapes[0]


def iou(one, other):
    return one.intersection(other).area / one.union(other).area


def angles(ring):
    edges = np.diff(shapely.get_coordinates(ring), axis=0)
    turns = np.rad2deg(np.arctan2(edges[:, 1], edges[:, 0]))
    return (np.diff(turns) % 360).round(6)


RECTANGLE = shapely.box(25, 35, 95, 85)
L_SHAPE = shapely.Polygon([(25, 25), (95, 25), (95, 55), (60, 55), (60, 95), (25, 95)])


class TestRightAngles:
    @pytest.mark.parametrize("noise", [0.0, 0.3])
    @pytest.mark.parametrize("degrees", [0, 7, 20, 45, 64, 83])
    @pytest.mark.parametrize("building", [RECTANGLE, L_SHAPE], ids=["rectangle", "L"])
    def test_a_noisy_building_has_its_corners_back(self, building, degrees, noise):
        truth = rotated(building, degrees)
        found, measured, _ = straightened(pixels_of(truth, noise))
        ring = found.geoms[0].exterior
        assert len(ring.coords) == len(truth.exterior.coords)
        assert set(angles(ring)) <= {90.0, 270.0}
        assert measured > 0.93
        assert iou(found, truth) > 0.98

    @pytest.mark.parametrize(
        "shape",
        [shapely.Point(60, 60).buffer(30), shapely.Polygon([(20, 20), (100, 20), (20, 100)])],
        ids=["disc", "triangle"],
    )
    def test_what_has_no_right_angles_stays_as_it_was(self, shape):
        found, measured, before = straightened(pixels_of(shape))
        assert np.isnan(measured)
        assert found.equals(before)

    def test_angles_are_right_on_the_ground_where_pixels_are_not_square(self):
        metric = np.array([[2.0, 0.0], [0.0, -1.0]])
        truth = rotated(RECTANGLE, 30)
        found, _, _ = straightened(pixels_of(truth, stretch=2.0), metric)
        ground = shapely.transform(found, lambda places: places @ metric.T)
        assert set(angles(ground.geoms[0].exterior)) <= {90.0, 270.0}
        assert iou(shapely.affinity.scale(ground, 1, -1, origin=(0, 0)), truth) > 0.97

    def test_a_courtyard_stays(self):
        court = RECTANGLE.difference(shapely.box(45, 50, 75, 70))
        found, _, _ = straightened(pixels_of(rotated(court, 25)))
        (part,) = found.geoms
        assert [len(ring.coords) for ring in (part.exterior, *part.interiors)] == [5, 5]
