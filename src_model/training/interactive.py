"""The loss of one image's objects over a simulated conversation, in bounded memory.

Objects are taken in chunks and every round is propagated back at once, into the parameters and
into the gradient of the embedding. What has to be held at any time is one round of one chunk,
however many objects an image has and however many rounds there are.

Most chunks may be decoded on a part of the embedding around each object instead of the whole: for
small objects a decoder step then costs a tenth, and a correct answer there is most of what there
is to learn. The others still see everything that must *not* be taken for the object.

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

from ..parts import fits_part, part_corners, part_place
from ..sam import Sam
from .losses import best_mask_loss
from .pictures import ObjectMasks
from .prompts import Round, error_points, first_point, noisy_box, plan_rounds

__all__ = ["Interaction", "backward_objects"]

# Sides, in cells, of the part of an embedding that is decoded for small objects: few, so that
# buffers are used again.
_PARTS = (12, 16, 24, 32)
# So many times more objects are decoded together when each needs a part only.
_MORE = 4


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
        Objects decoded together on the whole embedding.
    local : float
        Part of the chunks that is decoded around each object only: on what `decode` shows of it if
        the variant has a ``part_size``, else if the objects are small.
    """

    error_points: int = 8
    box_share: float = 0.5
    objects: int = 64
    chunk: int = 4
    local: float = 0.0


@dataclass
class _Prompts:
    """What the user has said about each object of a chunk so far."""

    points: Tensor | None = None  # (B, n, 2)
    labels: Tensor | None = None  # (B, n)
    boxes: Tensor | None = None  # (B, 4)
    masks: Tensor | None = None  # (B, 1, h, w)

    @property
    def middles(self) -> Tensor:
        """Where the first prompt of each object is, (B, 2)."""
        if self.boxes is not None:
            return (self.boxes[:, :2] + self.boxes[:, 2:]) / 2
        assert self.points is not None  # one of the two is there
        return self.points[:, 0]

    def move(self, view: _View) -> None:
        """Turn coordinates of the window into those of each object's part of it."""
        if self.boxes is not None:
            self.boxes = view.inside(self.boxes.view(-1, 2, 2)).flatten(1)
        if self.points is not None:
            self.points = view.inside(self.points)

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
        one. A window smaller than the model's frame is said to lie anywhere in it.
    objects : ObjectMasks
        At least one, in the pixels of the window that was encoded.
    interaction : Interaction
        How prompts are simulated.
    weight : float
        Factor of the loss: one over the number of images in a step.

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
        alike = chosen[by_box == kind].tolist()
        if interaction.local:  # objects of a size need parts of a size
            alike.sort(key=lambda i: max(objects.items[i].mask.shape))
        while alike:
            size, chunk = _next_chunk(rng, sam, embedding, objects, interaction, alike, kind)
            alike = alike[len(chunk) :]
            prompts = _begin(rng, embedding.device, objects, chunk, kind)
            view = _look_around(rng, sam, embedding, objects, chunk, size, prompts)
            prompts.move(view)
            rounds = plan_rounds(rng, interaction.error_points)
            share = weight * len(chunk) / len(chosen)
            _backward_rounds(rng, sam, view, prompts, rounds, share, figures)
            view.return_gradient(embedding)
    return {name: float(np.mean(values)) for name, values in figures.items()}


@dataclass
class _View:
    """What the decoder sees of the embedding for each object of a chunk.

    Parameters
    ----------
    embedding : Tensor
        A leaf: (1, C, h, w), shared by the objects, or (B, C, h, w), a part for each.
    target : Tensor
        (B, 4 h, 4 w) truth there.
    corners : Tensor
        (B, 2) first column and row of each object's part, in cells.
    image_pe : Tensor
        (1, C, h, w) position code of where in the frame the decoder is told that all this lies.
    cells : (range, range)
        That place: rows and columns of the frame's grid.
    stride : int
        Pixels per low-resolution pixel.
    """

    embedding: Tensor
    target: Tensor
    corners: Tensor
    image_pe: Tensor
    cells: tuple[range, range]
    stride: int

    @property
    def shift(self) -> Tensor:
        """That place, (x, y) in frame pixels, (2,)."""
        rows, cols = self.cells
        place = torch.tensor([cols.start, rows.start], device=self.corners.device)
        return place * 4 * self.stride

    def inside(self, points: Tensor) -> Tensor:
        """Turn the window's (x, y) of each object, (B, n, 2), into those of its part."""
        return points - 4 * self.stride * self.corners[:, None]

    def return_gradient(self, embedding: Tensor) -> None:
        """Add what the parts have learned to the gradient of the whole embedding."""
        if not embedding.requires_grad or self.embedding.grad is None:
            return
        if embedding.grad is None:
            embedding.grad = torch.zeros_like(embedding)
        h, w = self.embedding.shape[2:]
        parts = self.embedding.grad
        for part, (col, row) in zip(parts, self.corners.tolist(), strict=False):
            embedding.grad[0, :, row : row + h, col : col + w] += part


def _next_chunk(
    rng: np.random.Generator,
    sam: Sam,
    embedding: Tensor,
    objects: ObjectMasks,
    interaction: Interaction,
    alike: Sequence[int],
    by_box: bool,
) -> tuple[int | None, Sequence[int]]:
    """Choose the first objects of many, the smallest first, that are to be decoded together.

    Returns the side in cells of the part to decode around each, None for everything; and which.
    """
    whole = None, alike[: interaction.chunk]
    if rng.random() >= interaction.local:
        return whole
    chunk = alike[: _MORE * interaction.chunk]
    extents = [max(objects.items[i].mask.shape) / sam.variant.patch_size for i in chunk]
    if sam.variant.part_size:
        # What `decode` shows of an image. A click may be on an object that goes on beyond: its mask
        # has to reach the border, so that the whole is looked at.
        size = sam.variant.part_size
        if by_box:
            chunk = chunk[: int(fits_part(sam.variant, torch.tensor(extents)).sum())]
        return (size, chunk) if chunk and size < min(embedding.shape[2:]) else whole
    # Twice the object and some neighbours.
    sizes = [s for s in _PARTS if 2 * max(extents) + 4 <= s < min(embedding.shape[2:])]
    return (sizes[0], chunk) if sizes else whole


def _look_around(
    rng: np.random.Generator,
    sam: Sam,
    embedding: Tensor,
    objects: ObjectMasks,
    chunk: Sequence[int],
    size: int | None,
    prompts: _Prompts,
) -> _View:
    """Cut the part of the embedding that the decoder is to see for each object of a chunk."""
    device, stride = embedding.device, sam.variant.patch_size // 4
    h, w = embedding.shape[2:]
    room = sam.variant.grid_size - (size or max(h, w)) + 1
    row, col = int(rng.integers(room)), int(rng.integers(room))
    target = torch.from_numpy(objects.low_resolution(chunk, (4 * h, 4 * w), stride))
    if size is None:
        corners = torch.zeros(len(chunk), 2, dtype=torch.int64)
        parts = embedding.detach().clone()
    else:
        if sam.variant.part_size:
            corners = part_corners(prompts.middles.cpu() / sam.variant.patch_size, size, (h, w))
            row = col = part_place(sam.variant)
        else:
            corners = torch.tensor([_corner(rng, objects, i, size, (h, w), stride) for i in chunk])
        parts = torch.stack(
            [embedding[0, :, y : y + size, x : x + size].detach() for x, y in corners.tolist()]
        )
        target = torch.stack(
            [
                truth[4 * y : 4 * (y + size), 4 * x : 4 * (x + size)]
                for truth, (x, y) in zip(target, corners.tolist(), strict=True)
            ]
        )
    parts.requires_grad_(embedding.requires_grad)
    height, width = parts.shape[2:]
    image_pe = sam.prompt_encoder.get_dense_pe()[..., row : row + height, col : col + width]
    cells = range(row, row + height), range(col, col + width)
    return _View(parts, target.to(device), corners.to(device), image_pe, cells, stride)


def _corner(
    rng: np.random.Generator,
    objects: ObjectMasks,
    index: int,
    size: int,
    shape: tuple[int, int],
    stride: int,
) -> tuple[int, int]:
    """Return (column, row) of a part with the object inside, at a random place of it."""
    x0, y0, x1, y1 = (value // (4 * stride) for value in objects.box(index))
    corner = []
    for first, last, end in ((x0, x1, shape[1]), (y0, y1, shape[0])):
        low, high = max(0, last + 1 - size), min(first, end - size)
        corner.append(int(rng.integers(low, high + 1)))
    return corner[0], corner[1]


def _begin(
    rng: np.random.Generator,
    device: torch.device,
    objects: ObjectMasks,
    chunk: Sequence[int],
    by_box: bool,
) -> _Prompts:
    """Give each object of a chunk its first prompt, in pixels of the window."""
    prompts = _Prompts()
    if by_box:
        boxes = [noisy_box(rng, objects.box(i)) for i in chunk]
        prompts.boxes = torch.tensor(boxes, device=device)
    else:
        points = torch.tensor([[first_point(rng, objects.items[i])] for i in chunk], device=device)
        labels = torch.ones(len(chunk), 1, dtype=torch.int64, device=device)
        prompts.add_points(points, labels)
    return prompts


def _backward_rounds(
    rng: np.random.Generator,
    sam: Sam,
    view: _View,
    prompts: _Prompts,
    rounds: Sequence[Round],
    weight: float,
    figures: dict[str, list[float]],
) -> None:
    """Run all rounds of a chunk, each propagated back before the next begins."""
    by_box, target = prompts.boxes is not None, view.target
    everyone = torch.arange(len(target), device=target.device)
    for number, kind in enumerate(rounds):
        if kind == "point":
            assert prompts.masks is not None  # from the round before
            prompts.add_points(*error_points(rng, prompts.masks[:, 0], target, view.stride))
        logits, predicted = _decode(sam, view, prompts)
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
        prompts.masks = logits.detach()[everyone, best][:, None].clamp(-32, 32)


def _decode(sam: Sam, view: _View, prompts: _Prompts) -> tuple[Tensor, Tensor]:
    """Return logits (B, 4, 4 h, 4 w) and predicted IoU (B, 4), the single-mask token's first."""
    points = None
    if prompts.points is not None and prompts.labels is not None:
        points = (prompts.points + view.shift, prompts.labels)
    boxes = None if prompts.boxes is None else prompts.boxes + view.shift.repeat(2)
    sparse, dense = sam.prompt_encoder(points, boxes, prompts.masks, part=view.cells)
    return sam.mask_decoder.predict_masks(view.embedding, view.image_pe, sparse, dense)
