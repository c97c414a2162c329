"""Segment one picture that fits into memory: with prompts, or everything in it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from napari_sam.segment.objects import Candidate, cut_candidate, without_duplicates
from napari_sam.segment.prompts import Prompt, check_prompt

if TYPE_CHECKING:
    from src_model import Sam
    from src_model.automatic_thresholds import AutomaticThresholds
    from src_model.rle import Rle

STABILITY_OFFSET = 1.0
"""Distance in logits of the two thresholds whose masks are compared."""

DEFAULT_THRESHOLDS = (0.88, 0.95, 0.7)
"""Least predicted IoU and stability of masks found without prompts, and greatest IoU of two of
them: the paper's."""

SINGLE_MASK_VARIANTS = ("vit_nano",)
"""Variants that judge their three masks so uncertainly that the single mask is the better answer to
a click: vit_nano's has a mean IoU of 0.71 on nuclei, the best predicted of three 0.70."""

_SMALL_PART = 0.1
"""Islands and holes of less than this share of a mask found without prompts are specks."""

AUTOMATIC_THRESHOLDS = {"vit_nano": (0.5, 0.6, 0.3)}
"""The same for variants that are less sure of themselves, chosen on training images."""


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
    """Find all objects of a picture with a grid of clicks.

    Parameters
    ----------
    model : Sam
        The network.
    image : ndarray
        uint8 RGB, shape (row, col, 3).
    progress : callable, optional
        Called with the number of clicks done and of all clicks.
    thresholds : AutomaticThresholds, optional
        Those of the model by default.

    Returns
    -------
    list of Candidate
        By decreasing predicted IoU; their prompt is "grid". Specks are removed from the masks, and
        no two masks are about the same.
    """
    from src_model import SamAutomaticMaskGenerator
    from src_model.rle import rle_to_mask

    if thresholds is None:
        thresholds = automatic_thresholds(model.variant.name, model.automatic)
    generator = SamAutomaticMaskGenerator(
        model,
        pred_iou_thresh=thresholds.predicted_iou,
        stability_score_thresh=thresholds.stability,
        output_mode="uncompressed_rle",
    )
    candidates = [
        cut_candidate(
            _without_specks(rle_to_mask(cast("Rle", record["segmentation"]))),
            record["predicted_iou"],
            record["stability_score"],
            "grid",
        )
        for record in generator.generate(image, progress=progress)
    ]
    candidates.sort(key=lambda candidate: -candidate.predicted_iou)
    return without_duplicates(candidates, thresholds.overlap)


def _without_specks(mask: np.ndarray) -> np.ndarray:
    """Remove small islands and fill small holes of a mask, bool (row, col)."""
    from src_model.masks import remove_small_regions

    area = _SMALL_PART * np.count_nonzero(mask)
    mask, _ = remove_small_regions(mask, area, "islands")
    mask, _ = remove_small_regions(mask, area, "holes")
    return mask


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
