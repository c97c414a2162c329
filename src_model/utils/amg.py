"""Names of `segment_anything.utils.amg`, from where they live here."""

from collections.abc import Iterator
from typing import Any

from src_model.crops import (
    build_all_layer_point_grids,
    build_point_grid,
    generate_crop_boxes,
    is_box_near_crop_edge,
    uncrop_boxes_xyxy,
    uncrop_masks,
    uncrop_points,
)
from src_model.masks import (
    batched_mask_to_box,
    box_xyxy_to_xywh,
    calculate_stability_score,
    remove_small_regions,
)
from src_model.rle import area_from_rle, coco_encode_rle, mask_to_rle_pytorch, rle_to_mask

__all__ = [
    "area_from_rle",
    "batch_iterator",
    "batched_mask_to_box",
    "box_xyxy_to_xywh",
    "build_all_layer_point_grids",
    "build_point_grid",
    "calculate_stability_score",
    "coco_encode_rle",
    "generate_crop_boxes",
    "is_box_near_crop_edge",
    "mask_to_rle_pytorch",
    "remove_small_regions",
    "rle_to_mask",
    "uncrop_boxes_xyxy",
    "uncrop_masks",
    "uncrop_points",
]


def batch_iterator(batch_size: int, *args: Any) -> Iterator[list[Any]]:
    """Cut sequences of equal length into batches.

    Parameters
    ----------
    batch_size : int
        Entries in each batch; the last may have fewer.
    *args : sequence
        At least one; arrays, tensors, lists.

    Yields
    ------
    list
        The batch of each sequence.

    Raises
    ------
    ValueError
        If there is no sequence or their lengths differ.

    Examples
    --------
    >>> list(batch_iterator(2, [1, 2, 3], "abc"))
    [[[1, 2], 'ab'], [[3], 'c']]
    """
    lengths = {len(sequence) for sequence in args}
    if len(lengths) != 1:
        raise ValueError(
            f"Batches need sequences of one common length, got {sorted(lengths) or 'none'}."
        )
    for start in range(0, lengths.pop(), batch_size):
        yield [sequence[start : start + batch_size] for sequence in args]
