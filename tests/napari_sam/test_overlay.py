"""The drawing: where things are in it, and that colours tell neighbours apart."""

import numpy as np
import pytest

from napari_sam import overlay
from napari_sam.overlay import assign_colours, draw_overlay
from napari_sam.segment.prompts import Box, Point, Prompt


def grid_of_squares(cells: int = 6, size: int = 20) -> np.ndarray:
    """Squares that touch on all sides."""
    numbers = np.arange(1, cells * cells + 1, dtype=np.uint32).reshape(cells, cells)
    return numbers.repeat(size, axis=0).repeat(size, axis=1)


def test_neighbours_differ_and_colours_are_the_same_every_time() -> None:
    labels = grid_of_squares()
    image = np.zeros((*labels.shape, 3), np.uint8)
    colours = assign_colours(labels, image, distance=1)
    for first, second in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        border = first != second
        assert (colours[first[border]] != colours[second[border]]).any(axis=1).all()
    np.testing.assert_array_equal(colours, assign_colours(labels, image, distance=1))
    assert len(np.unique(colours[1:], axis=0)) >= 4


@pytest.mark.parametrize("colour", overlay.PALETTE.tolist())
def test_an_object_is_not_drawn_in_its_own_colour(colour: list[int]) -> None:
    labels = np.ones((5, 5), np.uint32)
    image = np.broadcast_to(np.array(colour, np.uint8), (5, 5, 3))
    assert assign_colours(labels, image)[1].tolist() != colour


def test_small_pictures_are_enlarged_by_a_whole_factor() -> None:
    picture = np.zeros((100, 256, 3), np.uint8)
    assert draw_overlay(picture, np.zeros((100, 256), np.uint32)).shape == (300, 768, 3)
    same = np.full((10, 1000, 3), 7, np.uint8)
    np.testing.assert_array_equal(draw_overlay(same, np.zeros((10, 1000), np.uint32)), same)


def test_large_pictures_are_reduced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlay, "LONGEST_SIDE", 800)
    labels = np.zeros((100, 2000), np.uint32)
    labels[:, 1000:] = 1
    drawn = draw_overlay(np.zeros((100, 2000, 3), np.uint8), labels)
    assert drawn.shape == (40, 800, 3)
    assert not drawn[:, :395].any()
    assert drawn[:, 405:].any(axis=2).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (3, 2)])
def test_any_shape_can_be_drawn(shape: tuple[int, int]) -> None:
    drawn = draw_overlay(np.zeros((*shape, 3), np.uint8), np.ones(shape, np.uint32))
    assert drawn.any(axis=2).all()
    assert max(drawn.shape) >= overlay.SHORTEST_LONG_SIDE


def test_the_object_is_tinted_outlined_and_the_rest_untouched() -> None:
    labels = np.zeros((200, 768), np.uint32)
    labels[50:150, 100:300] = 7
    drawn = draw_overlay(np.full((200, 768, 3), 90, np.uint8), labels).astype(int)
    colour = assign_colours(labels, np.full((200, 768, 3), 90, np.uint8))[7].astype(int)
    far = np.ones(labels.shape, bool)
    far[47:153, 97:303] = False
    assert (drawn[far] == 90).all()
    assert np.abs(drawn[50, 200] - colour).max() < 80  # the outline, softened at its outer edge
    assert np.abs(drawn[51, 200] - colour).max() < 5
    assert np.abs(drawn[100, 200] - (0.7 * 90 + 0.3 * colour)).max() <= 1


@pytest.mark.parametrize("factor", [1, 3, 50])
def test_a_single_pixel_is_seen_where_it_is(factor: int) -> None:
    side = 768 // factor
    labels = np.zeros((side, side), np.uint32)
    labels[5, 9] = 1
    drawn = draw_overlay(np.zeros((side, side, 3), np.uint8), labels)
    scale = drawn.shape[0] // side
    assert drawn[int(5.5 * scale), int(9.5 * scale)].max() > 60


def test_prompts_are_drawn_at_pixel_centres() -> None:
    image = np.zeros((96, 96, 3), np.uint8)
    none = np.zeros((96, 96), np.uint32)
    points = (Point(20, 30), Point(60, 70, foreground=False))
    drawn = draw_overlay(image, none, [Prompt(points, Box(10, 10, 80, 90))])
    scale = drawn.shape[0] // 96
    at = [int((p.row + 0.5) * scale) for p in points], [int((p.col + 0.5) * scale) for p in points]
    assert drawn[at].tolist() == [
        list(overlay.FOREGROUND_COLOUR),
        list(overlay.BACKGROUND_COLOUR),
    ]
    green = np.argwhere((drawn == overlay.FOREGROUND_COLOUR).all(axis=2)).mean(axis=0)
    assert green == pytest.approx([20.5 * scale - 0.5, 30.5 * scale - 0.5], abs=0.01)
    assert drawn[int(10.5 * scale), 400].tolist() == [255, 255, 255]
    assert drawn[400, int(90.5 * scale)].tolist() == [255, 255, 255]
    assert not drawn[: 10 * scale].any()


def test_prompts_may_reach_over_the_border() -> None:
    image = np.zeros((96, 96, 3), np.uint8)
    prompt = Prompt((Point(0, 0), Point(95, 95, False), Point(0, 95)), Box(0, 0, 96, 96))
    drawn = draw_overlay(image, np.zeros((96, 96), np.uint32), [prompt])
    assert drawn[0, 0].tolist() == list(overlay.FOREGROUND_COLOUR)
    assert drawn[-1, -1].tolist() == list(overlay.BACKGROUND_COLOUR)
