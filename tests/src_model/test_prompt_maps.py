"""Prompts drawn onto the embedding's grid: what every cell is told about them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from src_model import Sam, Variant, build_sam
from src_model.prompt_maps import PromptMaps
from src_model.variant_from_weights import find_variant

CELL = 16
GRID = range(6), range(8)
VARIANT = Variant(
    image_size=128,
    depth=1,
    embed_dim=32,
    num_heads=2,
    out_chans=16,
    decoder_heads=2,
    decoder_mlp_dim=32,
    iou_head_hidden_dim=16,
    global_attn_indexes=(0,),
    prompt_map_dim=8,
)


@pytest.fixture
def maps() -> PromptMaps:
    """A network that says something."""
    torch.manual_seed(0)
    made = PromptMaps(hidden=8, dim=16, cell=CELL)
    torch.nn.init.normal_(made.layers[2].weight)
    return made.eval()


@pytest.fixture
def sam() -> Sam:
    torch.manual_seed(0)
    made = build_sam(VARIANT)
    assert made.prompt_encoder.prompt_maps is not None
    torch.nn.init.normal_(made.prompt_encoder.prompt_maps.layers[2].weight)
    return made.eval()


def draw(
    maps: PromptMaps,
    points: list[tuple[float, float]] | None = None,
    labels: list[int] | None = None,
    box: tuple[float, float, float, float] | None = None,
    rows: range = GRID[0],
    cols: range = GRID[1],
) -> Tensor:
    """Draw one prompt on nothing; returns (dim, h, w)."""
    clicks = None
    if points is not None:
        clicks = torch.tensor([points]), torch.tensor([labels or [1] * len(points)])
    boxes = None if box is None else torch.tensor([box])
    with torch.no_grad():
        return maps(torch.zeros(1, 16, 1, 1), clicks, boxes, rows, cols)[0]


coordinate = st.floats(0, 127, width=32)
click = st.tuples(coordinate, coordinate)


@settings(deadline=None, max_examples=30)
@given(points=st.lists(click, min_size=2, max_size=5), data=st.data())
def test_the_order_of_points_does_not_matter(
    points: list[tuple[float, float]], data: st.DataObject
) -> None:
    torch.manual_seed(0)
    maps = PromptMaps(hidden=8, dim=16, cell=CELL)
    torch.nn.init.normal_(maps.layers[2].weight)
    labels = data.draw(st.lists(st.integers(-1, 1), min_size=len(points), max_size=len(points)))
    order = data.draw(st.permutations(range(len(points))))
    drawn = draw(maps, points, labels)
    again = draw(maps, [points[i] for i in order], [labels[i] for i in order])
    # Cells that are as far from two points may follow either; then only the offsets differ.
    places = [(x, y) for (x, y), label in zip(points, labels, strict=True) if label >= 0]
    if len(set(places)) == len(places) and not _equidistant(points, labels):
        torch.testing.assert_close(drawn, again)


def _equidistant(points: list[tuple[float, float]], labels: list[int]) -> bool:
    """Tell whether the centre of some cell is about as far from two points of a kind."""
    y, x = np.meshgrid(*(np.arange(len(r)) * CELL + 7.5 for r in GRID), indexing="ij")
    for kind in (0, 1):
        chosen = [p for p, label in zip(points, labels, strict=True) if label == kind]
        far = np.sort([np.hypot(x - a, y - b) for a, b in chosen], axis=0)
        if len(far) > 1 and (np.diff(far, axis=0) < 1e-3).any():
            return True
    return False


@settings(deadline=None, max_examples=30)
@given(point=click, corner=click, rows=st.integers(0, 3), cols=st.integers(0, 3))
def test_a_cell_is_told_the_same_wherever_the_prompt_and_it_lie(
    point: tuple[float, float], corner: tuple[float, float], rows: int, cols: int
) -> None:
    torch.manual_seed(0)
    maps = PromptMaps(hidden=8, dim=16, cell=CELL)
    torch.nn.init.normal_(maps.layers[2].weight)
    box = (*corner, corner[0] + 30, corner[1] + 50)
    dx, dy = cols * CELL, rows * CELL
    here = draw(maps, [point], [1], box)
    there = draw(
        maps,
        [(point[0] + dx, point[1] + dy)],
        [1],
        (box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy),
        range(rows, 6 + rows),
        range(cols, 8 + cols),
    )
    torch.testing.assert_close(here, there, atol=1e-3, rtol=1e-3)


def test_the_nearest_point_of_each_kind_counts(maps: PromptMaps) -> None:
    near, far = (20.0, 20.0), (120.0, 90.0)
    both = draw(maps, [near, far])
    torch.testing.assert_close(both[:, :2, :2], draw(maps, [near])[:, :2, :2])
    torch.testing.assert_close(both[:, 4:, 6:], draw(maps, [far])[:, 4:, 6:])
    # A background point close by leaves the foreground point's own trace as it was.
    assert not torch.allclose(draw(maps, [near, far], [1, 0]), both)
    assert not torch.allclose(draw(maps, [near], [0]), draw(maps, [near], [1]))


def test_padding_draws_nothing(maps: PromptMaps) -> None:
    torch.testing.assert_close(
        draw(maps, [(20, 20), (50, 50)], [1, -1]), draw(maps, [(20, 20)], [1])
    )
    torch.testing.assert_close(
        draw(maps, [(0, 0)], [-1]),
        maps(torch.zeros(1, 16, 1, 1), (torch.zeros(1, 0, 2), torch.zeros(1, 0)), None, *GRID)[
            0
        ].detach(),
    )


def test_edges_of_a_box_are_told_apart_within_a_cell(maps: PromptMaps) -> None:
    box = (20.0, 20.0, 60.0, 60.0)
    one = draw(maps, box=box)
    other = draw(maps, box=(22.0, 20.0, 60.0, 60.0))
    assert (one - other).abs().amax(dim=(0, 1))[1] > 0.1  # the column of the edge that moved


def test_many_prompts_are_drawn_like_each_alone(sam: Sam) -> None:
    torch.manual_seed(1)
    points = torch.rand(40, 3, 2) * 128, torch.randint(-1, 2, (40, 3))
    boxes = torch.rand(40, 2, 2).mul(128).sort(dim=1).values.flatten(1)
    masks = torch.randn(40, 1, 32, 32)
    with torch.no_grad():
        _, together = sam.prompt_encoder(points, boxes, masks)
        for i in (0, 17, 39):
            one = slice(i, i + 1)
            _, alone = sam.prompt_encoder((points[0][one], points[1][one]), boxes[one], masks[one])
            torch.testing.assert_close(together[one], alone)


def test_a_part_is_what_the_whole_has_there(sam: Sam) -> None:
    points = torch.tensor([[[60.0, 70.0]]]), torch.ones(1, 1)
    with torch.no_grad():
        _, whole = sam.prompt_encoder(points, None, None)
        _, part = sam.prompt_encoder(points, None, None, part=(range(2, 5), range(1, 7)))
    torch.testing.assert_close(part, whole[..., 2:5, 1:7])


def test_new_maps_change_nothing() -> None:
    """Weights trained without them stay as good as they were."""
    with_maps, without = build_sam(VARIANT).eval(), build_sam(replace(VARIANT, prompt_map_dim=0))
    without.load_state_dict(with_maps.state_dict(), strict=False)
    points = torch.tensor([[[60.0, 70.0]]]), torch.ones(1, 1)
    with torch.no_grad():
        for made, expected in zip(
            with_maps.prompt_encoder(points, None, None),
            without.eval().prompt_encoder(points, None, None),
            strict=True,
        ):
            torch.testing.assert_close(made, expected)


def test_the_decoder_takes_them_in_its_precision(sam: Sam) -> None:
    points = torch.rand(3, 1, 2) * 128, torch.ones(3, 1)
    embedding, pe = torch.randn(1, 16, 8, 8), sam.prompt_encoder.get_dense_pe()
    with torch.no_grad():
        exact, _ = sam.mask_decoder(embedding, pe, *sam.prompt_encoder(points, None, None), True)
        sam.set_precision(torch.bfloat16)
        rounded, _ = sam.mask_decoder(embedding, pe, *sam.prompt_encoder(points, None, None), True)
    assert np.corrcoef(exact.flatten(), rounded.flatten())[0, 1] > 0.99


def test_the_variant_is_found_from_weights_with_maps() -> None:
    assert find_variant(build_sam("vit_nano").state_dict()).prompt_map_dim == 64
    assert find_variant(build_sam(VARIANT).state_dict()).prompt_map_dim == 8
