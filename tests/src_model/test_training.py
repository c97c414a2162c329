"""Losses against their definitions, and generated scenes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from src_model.training.losses import best_mask_loss, dice_loss, focal_loss, mask_iou
from src_model.training.scenes import generate_scene


def test_perfect_masks_cost_nothing() -> None:
    target = (torch.rand(3, 16, 16) > 0.5).float()
    logits = 100 * (2 * target - 1)
    assert focal_loss(logits, target).max() < 1e-6
    assert dice_loss(logits, target).max() < 1e-6
    torch.testing.assert_close(mask_iou(logits, target), torch.ones(3))


def test_focal_loss_is_its_definition() -> None:
    logits, target = torch.randn(2, 4, 4), (torch.rand(2, 4, 4) > 0.5).float()
    p = logits.sigmoid()
    right = torch.where(target > 0, p, 1 - p)
    expected = (-((1 - right) ** 2) * right.log()).mean(dim=(1, 2))
    torch.testing.assert_close(focal_loss(logits, target), expected)


def test_only_the_best_mask_gets_mask_gradients() -> None:
    target = torch.zeros(1, 8, 8)
    target[:, 2:6, 2:6] = 1
    logits = torch.stack([4 * target - 2, torch.zeros(1, 8, 8), 2 - 4 * target], dim=1)
    logits.requires_grad_()
    iou = torch.zeros(1, 3, requires_grad=True)
    loss, measured = best_mask_loss(logits, iou, target)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[0, 0].any()
    assert not logits.grad[0, 1:].any()
    assert iou.grad is not None
    assert iou.grad[0, 0] != 0
    torch.testing.assert_close(measured, torch.tensor([[1.0, 0.0, 0.0]]))


@pytest.mark.parametrize("size", [32, 96])
@given(seed=st.integers(0, 10_000))
def test_scenes_are_whole_and_repeatable(size: int, seed: int) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (40, 30, 3)).astype(np.uint8)
    image, labels = generate_scene(np.random.default_rng(seed), size, [picture], max_objects=6)
    again, labels_again = generate_scene(
        np.random.default_rng(seed), size, [picture], max_objects=6
    )
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(labels, labels_again)
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8
    assert 0 <= labels.min() <= labels.max() <= 6


def test_scenes_show_their_objects() -> None:
    """Objects can be seen: inside and outside differ in most scenes."""
    contrasts = []
    for seed in range(20):
        image, labels = generate_scene(np.random.default_rng(seed), 128, max_objects=8)
        background = image[labels == 0].astype(float).mean(axis=0)
        for label in np.unique(labels[labels > 0]):
            contrasts.append(np.abs(image[labels == label].mean(axis=0) - background).max())
    assert np.median(contrasts) > 15
