"""Segment one picture that fits into memory: with prompts, or everything in it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.segment.objects import Candidate, cut_candidate, without_duplicates
from napari_sam.segment.prompts import Prompt, check_prompt

if TYPE_CHECKING:
    from src_model import Sam
    from src_model.automatic_thresholds import AutomaticThresholds

STABILITY_OFFSET = 1.0
"""Distance in logits of the two thresholds whose masks are compared."""

DEFAULT_THRESHOLDS = (0.88, 0.95, 0.7)
"""Least predicted IoU and stability of masks found without prompts, and greatest IoU of two of
them: the paper's."""

SINGLE_MASK_VARIANTS = ("vit_nano",)
"""Variants that judge their three masks so uncertainly that the single mask is the better answer to
a click: vit_nano's has a mean IoU of 0.77 on nuclei, and the best predicted of three no more."""

_CLICKS = 32
"""Clicks along a side of a picture in which everything is to be found: the paper's."""

AUTOMATIC_THRESHOLDS = {"vit_nano": (0.6, 0.4, 0.2)}
"""The same for variants that are less sure of themselves, chosen on 24 training images."""


def segment_prompts(model: "Sam", image: np.ndarray, prompts: Sequence[Prompt]) -> list[Candidate]:
    """Find the object that each prompt means.

    A single click is ambiguous: of the three masks offered, the one with the best predicted IoU
    is taken. Several points, or a box, say enough: the network's single-mask output answers, and
    for `SINGLE_MASK_VARIANTS` always.

    Parameters
    ----------
    model : Sam
        The network.
    image : ndarray
        uint8 RGB, shape (row, col, 3).
    prompts : sequence of Prompt
        One for each object; they share one run of the image encoder.

    Returns
    -------
    list of Candidate
        In the order of the prompts; a mask may be empty.

    Raises
    ------
    InputError
        As `check_prompt`.
    """
    from src_model import SamPredictor

    for prompt in prompts:
        check_prompt(prompt, image.shape[:2])
    predictor = SamPredictor(model)
    predictor.set_image(image)
    candidates = []
    for prompt in prompts:
        xy = np.array([(point.col, point.row) for point in prompt.points], dtype=np.float32)
        box = prompt.box
        logits, ious, _ = predictor.predict(
            point_coords=xy if prompt.points else None,
            point_labels=np.array([int(point.foreground) for point in prompt.points])
            if prompt.points
            else None,
            box=None if box is None else np.array([box.col0, box.row0, box.col1, box.row1]),
            multimask_output=prompt.kind == "point"
            and model.variant.name not in SINGLE_MASK_VARIANTS,
            return_logits=True,
        )
        best = int(np.argmax(ious))
        candidates.append(
            cut_candidate(
                logits[best] > model.mask_threshold,
                float(ious[best]),
                mask_stability(logits[best], model.mask_threshold),
                prompt.kind,
            )
        )
    return candidates


def automatic_thresholds(
    variant: str, own: "AutomaticThresholds | None" = None
) -> "AutomaticThresholds":
    """Return the thresholds for finding everything.

    Parameters
    ----------
    variant : str
        Name of the model's variant.
    own : AutomaticThresholds, optional
        Those that were found best for its weights: `Sam.automatic`.
    """
    from src_model.automatic_thresholds import AutomaticThresholds

    if own is not None:
        return own
    return AutomaticThresholds(*AUTOMATIC_THRESHOLDS.get(variant, DEFAULT_THRESHOLDS))


def segment_everything(
    model: "Sam",
    image: np.ndarray,
    progress: Callable[[int, int], object] | None = None,
    thresholds: "AutomaticThresholds | None" = None,
) -> list[Candidate]:
    """Find all objects of a picture with a grid of clicks, and one more deep inside each mask.

    Parameters
    ----------
    model : Sam
        The network.
    image : ndarray
        uint8 RGB, shape (row, col, 3).
    progress : callable, optional
        Called with the number of clicks done and of all clicks, which grows by those on masks.
    thresholds : AutomaticThresholds, optional
        Those of the model by default.

    Returns
    -------
    list of Candidate
        By decreasing predicted IoU; their prompt is "grid". Specks are removed from the masks, and
        no two masks are about the same.
    """
    from napari_sam.segment.everything.clicking import RawThresholds, click_tile
    from napari_sam.tiles.geometry import TileId
    from napari_sam.tiles.regions import Region
    from napari_sam.tiles.tile_predictor import TilePredictor
    from src_model import SamPredictor

    if thresholds is None:
        thresholds = automatic_thresholds(model.variant.name, model.automatic)
    predictor = SamPredictor(model)
    predictor.set_image(image)
    rows, cols = image.shape[:2]
    down, across = ((np.arange(_CLICKS) + 0.5) / _CLICKS * side - 0.5 for side in (rows, cols))
    raw = click_tile(
        TilePredictor(TileId(0, 0, 0), Region(0, 0, rows, cols), predictor),
        np.stack(np.meshgrid(down, across, indexing="ij"), axis=-1).reshape(-1, 2),
        RawThresholds(thresholds.predicted_iou, thresholds.stability, STABILITY_OFFSET),
        (rows, cols),
        progress,
    )
    candidates = [
        Candidate(
            int(raw.boxes[i, 0]),
            int(raw.boxes[i, 1]),
            raw.mask(i),
            float(raw.predicted_ious[i]),
            float(raw.stabilities[i]),
            "grid",
        )
        for i in range(len(raw))
    ]
    candidates.sort(key=lambda candidate: -candidate.predicted_iou)
    return without_duplicates(candidates, thresholds.overlap)


def mask_stability(logits: np.ndarray, threshold: float = 0.0) -> float:
    """Compare the masks cut a little above and a little below the threshold.

    Parameters
    ----------
    logits : ndarray
        Of one mask, any shape.
    threshold : float
        The logit above which a pixel belongs to the mask.

    Returns
    -------
    float
        Their IoU; 0 where both are empty.

    References
    ----------
    .. [1] Kirillov et al., "Segment Anything", 2023, appendix B.

    Examples
    --------
    >>> import numpy as np
    >>> mask_stability(np.array([-5.0, 0.5, 5.0]))
    0.5
    """
    import torch

    from src_model.masks import calculate_stability_score

    plane = torch.as_tensor(logits).reshape(1, -1)
    score = float(calculate_stability_score(plane, threshold, STABILITY_OFFSET))
    return 0.0 if np.isnan(score) else score
