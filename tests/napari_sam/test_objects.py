"""Prompts, and candidates painted into one label map."""

import numpy as np
import pytest
from skimage.measure import regionprops

from napari_sam.errors import InputError
from napari_sam.segment.objects import Candidate, cut_candidate, paint_labels
from napari_sam.segment.prompts import Box, Point, Prompt, check_prompt

SHAPE = (40, 60)


def disc(row: float, col: float, radius: float, score: float = 0.9) -> Candidate:
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]]
    mask = np.hypot(rows - row, cols - col) <= radius
    return cut_candidate(mask, score, 0.8, "grid")


def test_smaller_objects_lie_on_top_whatever_the_order() -> None:
    cell, nucleus = disc(20, 20, 15), disc(22, 18, 4)
    for candidates in ([cell, nucleus], [nucleus, cell]):
        labels, objects = paint_labels(candidates, SHAPE)
        assert labels[22, 18] == candidates.index(nucleus) + 1
        assert labels[20, 30] == candidates.index(cell) + 1
        assert sum(found.area for found in objects) == cell.area


def test_the_table_agrees_with_the_label_map() -> None:
    rng = np.random.default_rng(0)
    candidates = [disc(*rng.uniform((0, 0, 2), (40, 60, 12))) for _ in range(15)]
    labels, objects = paint_labels(candidates, SHAPE)
    assert labels.dtype == np.uint32
    properties = regionprops(labels.astype(int))
    assert [found.id for found in objects] == [found.label for found in properties]
    for found, expected in zip(objects, properties, strict=True):
        assert found.area == expected.area
        assert found.bbox == expected.bbox
        assert found.centroid == pytest.approx(expected.centroid)


def test_hidden_and_empty_candidates_get_no_number() -> None:
    empty = cut_candidate(np.zeros(SHAPE, bool), 0.99, 0.9, "grid")
    twin, again, other = disc(9, 9, 5, 0.9), disc(9, 9, 5, 0.8), disc(30, 40, 5, 0.7)
    labels, objects = paint_labels([empty, twin, again, other], SHAPE)
    assert [found.id for found in objects] == [1, 2]
    assert [found.predicted_iou for found in objects] == [0.8, 0.7]
    assert set(np.unique(labels)) == {0, 1, 2}


def test_nothing_to_paint() -> None:
    labels, objects = paint_labels([], SHAPE)
    assert labels.shape == SHAPE
    assert not labels.any()
    assert objects == []


def test_kinds_of_prompts() -> None:
    point, box = Point(1, 1), Box(0, 0, 5, 5)
    assert Prompt((point, Point(2, 2, False))).kind == "points"
    assert Prompt(box=box).kind == "box"
    assert Prompt((point,), box).kind == "box+points"
    assert Box(5, 1, 2, 8) == Box(2, 8, 5, 1) == Box(2, 1, 5, 8)


@pytest.mark.parametrize("position", [(-1, 3), (3, -1), (40, 3), (3, 60), (1e9, 3)])
def test_a_point_outside_is_told_with_the_size_of_the_image(position: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="40 rows and 60 columns"):
        check_prompt(Prompt((Point(*position),)), SHAPE)


def test_prompts_at_the_very_edge_are_inside() -> None:
    for row, col in [(0, 0), (39, 59), (-0.5, 59.5)]:
        check_prompt(Prompt((Point(row, col),)), SHAPE)
    check_prompt(Prompt(box=Box(0, 0, 40, 60)), SHAPE)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (Prompt(box=Box(3, 4, 3, 9)), "no area"),
        (Prompt(box=Box(3, 9, 7, 9)), "no area"),
        (Prompt(box=Box(3, 9, 7, 61)), "outside the image"),
        (Prompt(box=Box(-7, 9, 7, 20)), "outside the image"),
        (Prompt((Point(3, 3, False),)), "background point alone"),
        (Prompt(), "foreground"),
    ],
)
def test_prompts_that_mean_no_object(prompt: Prompt, words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_prompt(prompt, SHAPE)
