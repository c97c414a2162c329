"""The loss of one image's objects over a simulated conversation, in bounded memory.

Objects are taken in chunks and every round is propagated back at once, into the parameters and
into the gradient of the embedding. What has to be held at any time is one round of one chunk,
however many objects an image has and however many rounds there are.

References
----------
.. [1] Kirillov et al., "Segment Anything", 2023, appendix A, "Training algorithm".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..sam import Sam
from .losses import best_mask_loss
from .pictures import ObjectMasks
from .prompts import Round, error_points, first_point, noisy_box, plan_rounds

__all__ = ["Interaction", "backward_objects"]


@dataclass(frozen=True)
class Interaction:
    """How a simulated user talks to the model.

    Parameters
    ----------
    error_points : int
        Corrections after the first prompt. 8 are 11 rounds in all, as in the paper; 0 is the
        first prompt alone.
    box_share : float
        Part of the objects that begin with a noisy box instead of a point.
    objects : int
        Objects trained per image at most, drawn anew each time.
    chunk : int
        Objects decoded together.
    """

    error_points: int = 8
    box_share: float = 0.5
    objects: int = 64
    chunk: int = 16


@dataclass
class _Prompts:
    """What the user has said about each object of a chunk so far."""

    points: Tensor | None = None  # (B, n, 2)
    labels: Tensor | None = None  # (B, n)
    boxes: Tensor | None = None  # (B, 4)
    masks: Tensor | None = None  # (B, 1, h, w)

    def add_points(self, points: Tensor, labels: Tensor) -> None:
        if self.points is None or self.labels is None:
            self.points, self.labels = points, labels
        else:
            self.points = torch.cat([self.points, points], 1)
            self.labels = torch.cat([self.labels, labels], 1)


def backward_objects(
    rng: np.random.Generator,
    sam: Sam,
    embedding: Tensor,
    objects: ObjectMasks,
    interaction: Interaction,
    weight: float = 1.0,
    offset: tuple[int, int] = (0, 0),
) -> dict[str, float]:
    """Train on the objects of one image: add their gradients to parameters and embedding.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of all randomness.
    sam : Sam
        Its prompt encoder and mask decoder are run.
    embedding : Tensor
        (1, C, h, w), a leaf; its ``grad`` receives what the encoder has to learn if it requires
        one.
    objects : ObjectMasks
        At least one, in the pixels of the window that was encoded.
    interaction : Interaction
        How prompts are simulated.
    weight : float
        Factor of the loss: one over the number of images in a step.
    offset : (int, int)
        Row and column, in embedding cells, of the encoded window in the model's frame.

    Returns
    -------
    dict of float
        Means over objects: ``loss``; IoU after a first click (``click``, best of three) and box
        (``box``, and ``box_single`` for the single mask), and after the corrections
        (``corrected``).
    """
    chosen = rng.choice(len(objects), min(interaction.objects, len(objects)), replace=False)
    figures: dict[str, list[float]] = defaultdict(list)
    by_box = rng.random(len(chosen)) < interaction.box_share
    # All objects of a chunk begin in the same way, so that they can be decoded together.
    for kind in (False, True):
        alike = chosen[by_box == kind]
        for start in range(0, len(alike), interaction.chunk):
            chunk = alike[start : start + interaction.chunk].tolist()
            _backward_chunk(
                rng,
                sam,
                embedding,
                objects,
                chunk,
                kind,
                plan_rounds(rng, interaction.error_points),
                weight * len(chunk) / len(chosen),
                offset,
                figures,
            )
    return {name: float(np.mean(values)) for name, values in figures.items()}


def _backward_chunk(
    rng: np.random.Generator,
    sam: Sam,
    embedding: Tensor,
    objects: ObjectMasks,
    chunk: Sequence[int],
    by_box: bool,
    rounds: Sequence[Round],
    weight: float,
    offset: tuple[int, int],
    figures: dict[str, list[float]],
) -> None:
    """Run all rounds of a few objects, each propagated back before the next begins."""
    device = embedding.device
    h, w = embedding.shape[2:]
    stride = sam.variant.patch_size // 4
    target = torch.from_numpy(objects.low_resolution(chunk, (4 * h, 4 * w), stride)).to(device)
    prompts = _Prompts()
    if by_box:
        boxes = [noisy_box(rng, objects.box(i)) for i in chunk]
        prompts.boxes = torch.tensor(boxes, device=device)
    else:
        points = [[first_point(rng, objects.items[i])] for i in chunk]
        labels = torch.ones(len(chunk), 1, dtype=torch.int64, device=device)
        prompts.add_points(torch.tensor(points, device=device), labels)
    for number, kind in enumerate(rounds):
        if kind == "point":
            assert prompts.masks is not None  # from the round before
            prompts.add_points(*error_points(rng, prompts.masks[:, 0], target, stride))
        logits, predicted = _decode(sam, embedding, prompts, offset)
        loss, iou = best_mask_loss(logits[:, 1:], predicted[:, 1:], target)
        # The paper trains the single mask alone once a prompt is no longer ambiguous. The three are
        # trained on here too, so that they stay an offer worth making with any number of prompts.
        unambiguous = by_box or number > 0
        single_iou = None
        if unambiguous:
            single, single_iou = best_mask_loss(logits[:, :1], predicted[:, :1], target)
            loss = loss + single
        torch.autograd.backward(loss * (weight / len(rounds)))
        figures["loss"].append(float(loss.detach()))
        if number == 0:
            name = "box" if by_box else "click"
            figures[name].append(float(iou.max(1).values.mean()))
            if single_iou is not None:
                figures["box_single"].append(float(single_iou.mean()))
        elif number == len(rounds) - 1 and single_iou is not None:
            figures["corrected"].append(float(single_iou.mean()))
        first_mask = 0 if unambiguous else 1
        best = predicted[:, first_mask:].argmax(1) + first_mask
        previous = logits.detach()[torch.arange(len(chunk), device=device), best]
        prompts.masks = previous[:, None].clamp(-32, 32)


def _decode(
    sam: Sam, embedding: Tensor, prompts: _Prompts, offset: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Return logits (B, 4, 4 h, 4 w) and predicted IoU (B, 4), the single-mask token's first."""
    h, w = embedding.shape[2:]
    row, col = offset
    patch = sam.variant.patch_size
    shift = torch.tensor([patch * col, patch * row], device=embedding.device)
    points = None
    if prompts.points is not None and prompts.labels is not None:
        points = (prompts.points + shift, prompts.labels)
    boxes = None if prompts.boxes is None else prompts.boxes + shift.repeat(2)
    sparse, dense = sam.prompt_encoder(points, boxes, prompts.masks)
    image_pe = sam.prompt_encoder.get_dense_pe()[..., row : row + h, col : col + w]
    return sam.mask_decoder.predict_masks(embedding, image_pe, sparse, dense[..., :h, :w])
