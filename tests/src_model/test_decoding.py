"""Decoding a part around the prompts: its place says nothing, and what it cuts is seen whole."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from recipe import TINIEST
from torch import Tensor

from src_model import Sam, build_sam
from src_model.decoding import decode, decode_good

GRID, PART = 24, 8
WHOLE = replace(
    TINIEST,
    image_size=16 * GRID,
    out_chans=16,
    decoder_heads=2,
    prompt_map_dim=8,
    detail_dim=2,
    refine_dim=4,
)
VARIANT = replace(WHOLE, part_size=PART)


def with_trained_maps(sam: Sam) -> Sam:
    """Let what begins with zeros say something, as after training."""
    torch.manual_seed(1)
    for parameter in sam.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return sam.eval()


@pytest.fixture(scope="module")
def sam() -> Sam:
    torch.manual_seed(0)
    return with_trained_maps(build_sam(VARIANT))


@pytest.fixture(scope="module")
def whole(sam: Sam) -> Sam:
    """The same weights, for a decoder that looks at whole frames only."""
    other = build_sam(WHOLE).eval()
    other.load_state_dict(sam.state_dict())
    return other


@pytest.fixture(scope="module")
def embedding(sam: Sam) -> Tensor:
    return torch.randn(1, *sam.variant.embedding_shape, generator=torch.Generator().manual_seed(2))


def clicks(*places: tuple[float, float]) -> tuple[Tensor, Tensor]:
    return torch.tensor(places)[:, None], torch.ones(len(places), 1, dtype=torch.int64)


def small_masks(sam: Sam, monkeypatch: pytest.MonkeyPatch, empty: bool = True) -> None:
    """Let no mask of a part reach its border, or every one."""
    monkeypatch.setattr(sam, "mask_threshold", 1e6 if empty else -1e6)


@torch.no_grad()
def test_what_lies_elsewhere_is_answered_in_the_same_way(
    sam: Sam, embedding: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_masks(sam, monkeypatch)
    points = clicks((200.0, 150.0))
    masks = torch.randn(1, 1, 4 * GRID, 4 * GRID)
    prompts = {
        "points": points,
        "boxes": torch.tensor([[180.0, 140.0, 215.0, 170.0]]),
        "masks": masks.where(masks < 0, -masks),
    }
    masks[:, :, 36:40, 46:52] = 1e7
    prompts["masks"] = masks
    low_res, iou = decode(sam, embedding, **prompts)
    # All moves by 3 cells down and 2 to the left.
    moved = {
        "points": (points[0] + torch.tensor([-32.0, 48.0]), points[1]),
        "boxes": prompts["boxes"] + torch.tensor([-32.0, 48.0, -32.0, 48.0]),
        "masks": masks.roll((12, -8), (2, 3)),
    }
    again, iou_again = decode(sam, embedding.roll((3, -2), (2, 3)), **moved)
    torch.testing.assert_close(again.roll((-12, 8), (2, 3)), low_res)
    torch.testing.assert_close(iou_again, iou)


@torch.no_grad()
def test_a_part_says_nothing_of_what_lies_outside(
    sam: Sam, embedding: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_masks(sam, monkeypatch)
    low_res, _ = decode(sam, embedding, clicks((200.0, 150.0), (3.0, 380.0)))
    rows = [torch.nonzero((mask != low_res.min()).any(0).any(1))[:, 0] for mask in low_res]
    # 12.5 and 9.4 cells to the right and down: cells 5 to 12. The second lies in a corner.
    assert [(int(r[0]), int(r[-1])) for r in rows] == [(20, 51), (64, 95)]
    changed = embedding.clone()
    changed[..., 14:, :] += 1.0
    torch.testing.assert_close(decode(sam, changed, clicks((200.0, 150.0)))[0][0], low_res[0])


@torch.no_grad()
def test_masks_that_reach_the_border_are_those_of_the_whole(
    sam: Sam, whole: Sam, embedding: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_masks(sam, monkeypatch, empty=False)
    points = clicks((200.0, 150.0), (90.0, 300.0))
    for wanted in (slice(None), slice(1, None), slice(0, 1)):
        for one, other in zip(
            decode(sam, embedding, points, wanted=wanted),
            decode(whole, embedding, points, wanted=wanted),
            strict=True,
        ):
            torch.testing.assert_close(one, other)


@torch.no_grad()
def test_prompts_too_far_apart_see_the_whole(
    sam: Sam, whole: Sam, embedding: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_masks(sam, monkeypatch)
    boxes = torch.tensor([[20.0, 20.0, 60.0, 70.0], [20.0, 20.0, 120.0, 70.0]])
    low_res, iou = decode(sam, embedding, boxes=boxes)
    far, far_iou = decode(whole, embedding, boxes=boxes)
    torch.testing.assert_close((low_res[1], iou[1]), (far[1], far_iou[1]))
    assert not torch.allclose(low_res[0], far[0])
    # Padding points lie nowhere.
    coords = torch.tensor([[[200.0, 150.0], [0.0, 0.0]]])
    padded = decode(sam, embedding, (coords, torch.tensor([[1, -1]])))[0]
    assert (padded == padded.min()).float().mean() > 0.8


@torch.no_grad()
def test_each_prompt_has_its_own_embedding(
    sam: Sam, embedding: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_masks(sam, monkeypatch)
    boxes = torch.tensor([[20.0, 20.0, 60.0, 70.0], [20.0, 20.0, 120.0, 70.0]])
    both = torch.cat([embedding, embedding.flip(2)])
    together = decode(sam, both, boxes=boxes)
    for i in range(2):
        alone = decode(sam, both[i : i + 1], boxes=boxes[i : i + 1])
        torch.testing.assert_close((together[0][i], together[1][i]), (alone[0][0], alone[1][0]))


@torch.no_grad()
@pytest.mark.parametrize("reach", ["none", "some", "all"])
def test_good_masks_are_those_of_decode(
    sam: Sam, embedding: Tensor, monkeypatch: pytest.MonkeyPatch, reach: str
) -> None:
    points = clicks(*torch.rand(6, 2, generator=torch.Generator().manual_seed(3)).mul(384).tolist())
    if reach == "some":  # about half of the borders
        part, _ = decode(sam, embedding, points)
        monkeypatch.setattr(sam, "mask_threshold", float(part[part > -16].quantile(0.999)))
    else:
        small_masks(sam, monkeypatch, empty=reach == "none")
    low_res, iou = decode(sam, embedding, points, wanted=slice(1, None))
    found, found_iou, which = decode_good(sam, embedding, points, -1e9)
    torch.testing.assert_close(found, low_res.flatten(0, 1))
    torch.testing.assert_close(found_iou, iou.flatten())
    assert which.tolist() == [i for i in range(6) for _ in range(3)]


@torch.no_grad()
def test_published_variants_see_the_whole(whole: Sam, embedding: Tensor) -> None:
    points = clicks((200.0, 150.0))
    pe = whole.prompt_encoder.get_dense_pe()
    expected = whole.mask_decoder.predict_masks(
        embedding, pe, *whole.prompt_encoder(points, None, None)
    )
    for one, other in zip(decode(whole, embedding, points), expected, strict=True):
        assert torch.equal(one, other)
