"""From an embedding and prompts to masks: on the part around the prompts, or on the whole.

A decoder that looks at a whole frame spends nearly all of its work far from the object, and what it
sees there leads it astray: with the same weights vit_nano's masks of nuclei are better on a third
of the frame on a side. So a variant with a ``part_size`` is shown a square part of the embedding
around each prompt, always as if it lay in the middle of the frame. What it answers then depends on
the object's surroundings and not on its place. Masks that reach the part's border are taken from
the whole instead, and so are prompts that lie too far apart. The published variants have no
``part_size`` and see the whole always.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .parts import fits_part, part_corners, part_place

if TYPE_CHECKING:
    from .sam import Sam

__all__ = ["decode", "decode_good", "offered"]

_OUTSIDE = -16.0
"""Logit where a part says nothing: about what the network says far from an object."""


def decode(
    sam: Sam,
    embedding: Tensor,
    points: tuple[Tensor, Tensor] | None = None,
    boxes: Tensor | None = None,
    masks: Tensor | None = None,
    wanted: slice = slice(None),
) -> tuple[Tensor, Tensor]:
    """Decode B prompts; each may combine points, a box and a mask.

    Parameters
    ----------
    sam : Sam
        The network.
    embedding : Tensor
        (1, C, grid, grid), shared by the prompts, or (B, C, grid, grid).
    points : (Tensor, Tensor), optional
        Coordinates (B, N, 2) as (x, y) in frame pixels, and labels (B, N): 1 foreground,
        0 background, -1 padding.
    boxes : Tensor, optional
        (B, 4) as (x0, y0, x1, y1) in frame pixels.
    masks : Tensor, optional
        Logits (B, 1, 4 * grid, 4 * grid) of an earlier answer.
    wanted : slice
        Which masks: number 0 is the single mask, those for ambiguous prompts follow.

    Returns
    -------
    low_res : Tensor
        float32 logits (B, wanted, 4 * grid, 4 * grid).
    iou : Tensor
        float32 predicted IoU (B, wanted).
    """
    prompts = _Prompts(points, boxes, masks)
    near = _near(sam, prompts)
    if near is None:
        return sam.mask_decoder.predict_masks(*_whole(sam, embedding, prompts), wanted)
    low_res, iou, _ = _around(sam, embedding, prompts, near, -torch.inf, wanted)
    return low_res.unflatten(0, (len(prompts), -1)), iou.unflatten(0, (len(prompts), -1))


def offered(ambiguous: bool) -> slice:
    """Return which masks are offered: three to an ambiguous prompt, else the single one."""
    return slice(1, None) if ambiguous else slice(0, 1)


def decode_good(
    sam: Sam, embedding: Tensor, points: tuple[Tensor, Tensor], iou_thresh: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Decode the masks for ambiguous prompts, but only those of high predicted IoU.

    Parameters
    ----------
    sam : Sam
        The network.
    embedding : Tensor
        (1, C, grid, grid).
    points : (Tensor, Tensor)
        As for :func:`decode`.
    iou_thresh : float
        Masks with a predicted IoU above it are wanted.

    Returns
    -------
    low_res : Tensor
        float32 logits (n, 4 * grid, 4 * grid).
    iou : Tensor
        float32 predicted IoU (n,).
    prompts : Tensor
        int64 (n,), ascending: the prompt that each mask belongs to.
    """
    prompts = _Prompts(points)
    near = _near(sam, prompts)
    if near is None:
        whole = _whole(sam, embedding, prompts)
        low_res, iou, which = sam.mask_decoder.predict_good_masks(*whole, iou_thresh)
    else:
        low_res, iou, which = _around(sam, embedding, prompts, near, iou_thresh, offered(True))
    return low_res, iou, which[:, 0]


def _around(
    sam: Sam, embedding: Tensor, prompts: _Prompts, near: _Near, iou_thresh: float, wanted: slice
) -> tuple[Tensor, Tensor, Tensor]:
    """Do as `MaskDecoder.predict_good_masks` on parts, and on the whole where a part cuts."""
    decoder, side = sam.mask_decoder, sam.variant.low_res_size
    parts, iou, which = decoder.predict_good_masks(
        *_part(sam, embedding, prompts, near), iou_thresh, wanted
    )
    low_res = parts.new_full((len(parts), side, side), _OUTSIDE)
    for index, number in enumerate(which[:, 0].tolist()):
        low_res[(index, *near.pixels(number))] = parts[index]
    cut = near.cut(parts, which[:, 0], sam)
    which[:, 0] = near.prompts[which[:, 0]]
    missing = torch.ones(len(prompts), decoder.num_mask_tokens, dtype=torch.bool, device=iou.device)
    missing[near.prompts] = False
    missing[which[cut, 0], which[cut, 1]] = True
    again = missing.any(1)
    if not again.any():
        return low_res, iou, which
    own = embedding if len(embedding) == 1 else embedding[again]
    others, other_iou, other = decoder.predict_good_masks(
        *_whole(sam, own, prompts.of(again)), iou_thresh, wanted
    )
    other[:, 0] = again.nonzero()[:, 0][other[:, 0]]
    taken = missing[other[:, 0], other[:, 1]]
    which = torch.cat([which[~cut], other[taken]])
    order = torch.argsort(which[:, 0] * decoder.num_mask_tokens + which[:, 1])
    return (
        torch.cat([low_res[~cut], others[taken]])[order],
        torch.cat([iou[~cut], other_iou[taken]])[order],
        which[order],
    )


@dataclass(frozen=True)
class _Prompts:
    """B prompts."""

    points: tuple[Tensor, Tensor] | None
    boxes: Tensor | None = None
    masks: Tensor | None = None

    def __len__(self) -> int:
        for given in (self.boxes, self.masks, None if self.points is None else self.points[0]):
            if given is not None:
                return len(given)
        return 1

    def of(self, chosen: Tensor) -> _Prompts:
        """Return some of them; (n,) indices, or (B,) bool."""
        points, boxes, masks = self.points, self.boxes, self.masks
        return _Prompts(
            None if points is None else (points[0][chosen], points[1][chosen]),
            None if boxes is None else boxes[chosen],
            None if masks is None else masks[chosen],
        )

    def places(self, sam: Sam) -> tuple[Tensor, Tensor]:
        """Return where points, corners of boxes, and first and last pixels of masks lie.

        Returns
        -------
        (B, n, 2) and (B, n) Tensor
            (x, y) in frame pixels, and which of them there are.
        """
        places, given = [], []
        if self.points is not None:
            places.append(self.points[0].float())
            given.append(self.points[1] >= 0)
        if self.boxes is not None:
            places.append(self.boxes.float().view(-1, 2, 2))
            given.append(torch.ones_like(places[-1][..., 0], dtype=torch.bool))
        if self.masks is not None:
            inside = self.masks[:, 0] > sam.mask_threshold
            sides = [_ends(inside.any(axis)) for axis in (1, 2)]  # along x, then y
            pixel = sam.variant.patch_size / 4
            places.append((torch.stack(sides, dim=2) + 0.5) * pixel - 0.5)
            given.append(inside.any(2).any(1, keepdim=True).expand(-1, 2))
        return torch.cat(places, dim=1), torch.cat(given, dim=1)


@dataclass(frozen=True)
class _Near:
    """The parts around some of the prompts.

    Parameters
    ----------
    prompts : Tensor
        int64 (n,), which.
    corners : Tensor
        int64 (n, 2), first column and row of each part, in positions.
    size : int
        Side of a part in positions.
    """

    prompts: Tensor
    corners: Tensor
    size: int

    def cells(self, number: int) -> tuple[slice, slice]:
        """Return rows and columns of the embedding of one part."""
        col, row = self.corners[number].tolist()
        return slice(row, row + self.size), slice(col, col + self.size)

    def pixels(self, number: int) -> tuple[slice, slice]:
        """Return rows and columns of the low-resolution logits of one part."""
        rows, cols = self.cells(number)
        return slice(4 * rows.start, 4 * rows.stop), slice(4 * cols.start, 4 * cols.stop)

    def cut(self, logits: Tensor, numbers: Tensor, sam: Sam) -> Tensor:
        """Tell which masks reach a border of their part where the frame goes on.

        Takes (m, 4 size, 4 size) and (m,), the parts that they are of; returns (m,) bool.
        """
        inside = logits > sam.mask_threshold
        col, row = self.corners[numbers].T
        end = sam.variant.grid_size - self.size
        return (
            (inside[:, 0].any(1) & (row > 0))
            | (inside[:, -1].any(1) & (row < end))
            | (inside[:, :, 0].any(1) & (col > 0))
            | (inside[:, :, -1].any(1) & (col < end))
        )


def _near(sam: Sam, prompts: _Prompts) -> _Near | None:
    """Find the parts around the prompts that fit into one; None without any."""
    size, patch = sam.variant.part_size, sam.variant.patch_size
    if not size or (prompts.points is None and prompts.boxes is None and prompts.masks is None):
        return None
    places, given = prompts.places(sam)
    ends = (places.where(given[..., None], places.new_tensor(end)) for end in (1e9, -1e9))
    first, last = next(ends).amin(1), next(ends).amax(1)
    fits = given.any(1) & fits_part(sam.variant, (last - first).amax(1) / patch)
    if not fits.any():
        return None
    middles = (first + last + 1)[fits] / (2 * patch)
    grid = sam.variant.grid_size
    return _Near(fits.nonzero()[:, 0], part_corners(middles, size, (grid, grid)), size)


def _part(
    sam: Sam, embedding: Tensor, prompts: _Prompts, near: _Near
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what the mask decoder takes for parts: embeddings, positions and prompts."""
    chosen = prompts.of(near.prompts)
    place = part_place(sam.variant)
    there = range(place, place + near.size)
    # From where a part lies to where it is said to lie.
    shift = (place - near.corners) * sam.variant.patch_size
    points, boxes, masks = chosen.points, chosen.boxes, chosen.masks
    if points is not None:
        points = points[0] + shift[:, None], points[1]
    if boxes is not None:
        boxes = boxes + shift.repeat(1, 2)
    numbers = range(len(near.prompts))
    if masks is not None:
        masks = torch.stack([masks[n, :, *near.pixels(n)] for n in numbers])
    owners = near.prompts.tolist() if len(embedding) > 1 else [0] * len(near.prompts)
    embedding = embedding.to(sam.mask_decoder.iou_token.weight.dtype)  # once, not in every part
    cut = torch.stack([embedding[owners[n], :, *near.cells(n)] for n in numbers])
    positions = sam.prompt_encoder.get_dense_pe()[:, :, place : there.stop, place : there.stop]
    return cut, positions, *sam.prompt_encoder(points, boxes, masks, part=(there, there))


def _whole(sam: Sam, embedding: Tensor, prompts: _Prompts) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what the mask decoder takes for whole frames."""
    encoder = sam.prompt_encoder
    return (
        embedding,
        encoder.get_dense_pe(),
        *encoder(prompts.points, prompts.boxes, prompts.masks),
    )


def _ends(marks: Tensor) -> Tensor:
    """Return the first and the last place of each row that is set, (B, n) to (B, 2)."""
    numbers = marks.to(torch.uint8)
    last = marks.shape[1] - 1 - numbers.flip(1).argmax(1)
    return torch.stack([numbers.argmax(1), last], dim=1)
