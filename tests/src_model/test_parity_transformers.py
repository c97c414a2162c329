"""Our network against `transformers`' SamModel with the same random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from recipe import SMALL_VIT, load_seeded_weights
from transformers_weights import transformers_model

from src_model import Sam, build_sam

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def models() -> tuple[Sam, torch.nn.Module]:
    ours = load_seeded_weights(build_sam(SMALL_VIT), seed=3)
    return ours, transformers_model(ours)


def assert_close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    # Their decoder normalises with eps 1e-6 where the official one has 1e-5.
    assert (ours - theirs).abs().max() <= 1e-3 * theirs.abs().max()


@torch.no_grad()
def test_encoder(models: tuple[Sam, torch.nn.Module]) -> None:
    ours, theirs = models
    frames = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    assert_close(ours.image_encoder(frames), theirs.get_image_embeddings(frames))


@torch.no_grad()
@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("kind", ["point", "points", "box", "points and mask"])
def test_decoder(models: tuple[Sam, torch.nn.Module], kind: str, multimask: bool) -> None:
    ours, theirs = models
    rng = np.random.default_rng(1)
    prompts = 6
    embedding = torch.as_tensor(rng.normal(size=(1, 32, 8, 8)), dtype=torch.float)
    count = 1 if kind == "point" else 3
    coords = torch.as_tensor(rng.uniform(0, 128, (prompts, count, 2)), dtype=torch.float)
    labels = torch.as_tensor(rng.integers(0, 2, (prompts, count)))
    corners = np.sort(rng.uniform(0, 128, (prompts, 2, 2)), axis=1).reshape(prompts, 4)
    boxes = torch.as_tensor(corners, dtype=torch.float)
    mask = torch.as_tensor(rng.normal(0, 3, (1, 1, 32, 32)), dtype=torch.float)
    points = None if kind == "box" else (coords, labels)
    sparse, dense = ours.prompt_encoder(
        points,
        boxes if kind == "box" else None,
        mask.expand(prompts, -1, -1, -1) if "mask" in kind else None,
    )
    masks, iou = ours.mask_decoder(
        image_embeddings=embedding,
        image_pe=ours.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=multimask,
    )
    given = (
        {"input_boxes": boxes[None]}
        if kind == "box"
        else {
            "input_points": coords[None],
            "input_labels": labels[None],
        }
    )
    if "mask" in kind:
        given["input_masks"] = mask
    expected = theirs(image_embeddings=embedding, multimask_output=multimask, **given)
    assert_close(masks, expected.pred_masks[0])
    assert_close(iou, expected.iou_scores[0])
