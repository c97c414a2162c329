"""The paper's losses: focal and dice on the masks, squared error on the predicted IoU."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["best_mask_loss", "dice_loss", "focal_loss", "mask_iou"]


def focal_loss(logits: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
    """Focal loss per mask.

    Parameters
    ----------
    logits, target : Tensor
        (..., H, W); targets between 0 and 1, where fractions are the covered part of a pixel.
    gamma : float
        How strongly pixels that are already right are discounted.

    Returns
    -------
    Tensor
        (...), the mean over pixels.

    References
    ----------
    .. [1] Lin et al., "Focal Loss for Dense Object Detection", 2017. https://arxiv.org/abs/1708.02002
    """
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (entropy * (logits.sigmoid() - target).abs() ** gamma).mean(dim=(-2, -1))


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Dice loss per mask, shapes as in :func:`focal_loss`.

    References
    ----------
    .. [1] Milletari et al., "V-Net", 2016. https://arxiv.org/abs/1606.04797
    """
    probability = logits.sigmoid()
    overlap = 2 * (probability * target).sum(dim=(-2, -1)) + 1
    return 1 - overlap / (probability.sum(dim=(-2, -1)) + target.sum(dim=(-2, -1)) + 1)


def mask_iou(logits: Tensor, target: Tensor) -> Tensor:
    """IoU of thresholded masks per mask, shapes as in :func:`focal_loss`."""
    predicted, truth = logits > 0, target > 0.5
    union = (predicted | truth).sum(dim=(-2, -1))
    return (predicted & truth).sum(dim=(-2, -1)) / union.clamp(min=1)


def best_mask_loss(logits: Tensor, predicted_iou: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Loss of the best of several masks, with the IoU head trained on all of them.

    Focal and dice loss weigh 20 : 1 (paper, appendix A, "Losses").

    Parameters
    ----------
    logits : Tensor
        (B, masks, H, W).
    predicted_iou : Tensor
        (B, masks).
    target : Tensor
        (B, H, W).

    Returns
    -------
    loss : Tensor
        Scalar, mean over B.
    iou : Tensor
        (B, masks), measured; no gradient.
    """
    target = target[:, None].expand_as(logits)
    mask_loss = 20 * focal_loss(logits, target) + dice_loss(logits, target)
    with torch.no_grad():
        iou = mask_iou(logits, target)
    best = mask_loss.min(dim=1).values
    return best.mean() + F.mse_loss(predicted_iou, iou), iou
