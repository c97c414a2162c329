"""One encoded picture, and many objects' prompts decoded on it together."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...decoding import decode
from ...predictor import SamPredictor
from ...sam import Sam
from ...upsample import MaskUpsampler
from ..pictures import ObjectMask
from .regions import cut_mask

__all__ = ["EncodedPicture"]

# Prompts decoded together: each holds an image-sized activation if it has a mask prompt.
_CHUNK = 16


class EncodedPicture:
    """Encode a picture once, decode prompts in batches, threshold masks in their windows only.

    Gives what :class:`~src_model.SamPredictor` gives, up to float rounding.

    Parameters
    ----------
    sam : Sam
        The model.
    image : (H, W, 3) uint8 array
        RGB.
    """

    def __init__(self, sam: Sam, image: NDArray[np.uint8]) -> None:
        self._predictor = SamPredictor(sam)
        self._predictor.set_image(image)
        self.shape = (image.shape[0], image.shape[1])
        frame = sam.image_encoder.img_size
        self._upsampler = MaskUpsampler(
            sam.prompt_encoder.mask_input_size,
            frame,
            self._predictor.transform.get_preprocess_shape(*self.shape, frame),
            self.shape,
        )

    @torch.no_grad()
    def decode(
        self,
        points: NDArray[np.floating] | None = None,
        labels: NDArray[np.integer] | None = None,
        boxes: NDArray[np.floating] | None = None,
        masks: Tensor | None = None,
    ) -> tuple[Tensor, NDArray[np.float64]]:
        """Decode the prompts of B objects.

        Parameters
        ----------
        points : (B, n, 2) array, optional
            (x, y) in the picture.
        labels : (B, n) array, optional
            1 foreground, 0 background.
        boxes : (B, 4) array, optional
            (x0, y0, x1, y1) in the picture.
        masks : Tensor, optional
            (B, low_res, low_res) logits of an earlier answer.

        Returns
        -------
        low_res : Tensor
            (B, 4, low_res, low_res) float32 logits on the CPU: the single mask's first, then the
            three for ambiguous prompts.
        predicted_iou : (B, 4) array
            Of the same masks.
        """
        size = len(points) if points is not None else len(boxes) if boxes is not None else 0
        answers = []
        for start in range(0, size, _CHUNK):
            part = slice(start, start + _CHUNK)
            answers.append(
                self._decode(
                    None if points is None else points[part],
                    None if labels is None else labels[part],
                    None if boxes is None else boxes[part],
                    None if masks is None else masks[part],
                )
            )
        low_res, iou = (torch.cat(parts) for parts in zip(*answers, strict=True))
        return low_res, iou.numpy().astype(float)

    def mask(self, low_res: Tensor) -> ObjectMask:
        """Threshold one mask's (low_res, low_res) logits at the size of the picture."""
        threshold = self._predictor.model.mask_threshold
        window = self._upsampler.active_window(low_res, threshold)
        if window is None:
            return cut_mask(np.zeros((0, 0), bool))
        logits = self._upsampler.logits(low_res, window).numpy()
        return cut_mask(logits > threshold, window.rows.start, window.cols.start)

    def _decode(
        self,
        points: NDArray[np.floating] | None,
        labels: NDArray[np.integer] | None,
        boxes: NDArray[np.floating] | None,
        masks: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        predictor, model = self._predictor, self._predictor.model
        device = predictor.device
        clicks = frames = None
        if points is not None:
            coords = predictor.transform.apply_coords(np.asarray(points, float), self.shape)
            clicks = (
                torch.as_tensor(coords, dtype=torch.float32, device=device),
                torch.as_tensor(labels, dtype=torch.int64, device=device),
            )
        if boxes is not None:
            corners = predictor.transform.apply_boxes(np.asarray(boxes, float), self.shape)
            frames = torch.as_tensor(corners, dtype=torch.float32, device=device)
        previous = None if masks is None else masks[:, None].to(device)
        low_res, iou = decode(model, predictor.get_image_embedding(), clicks, frames, previous)
        return low_res.cpu(), iou.cpu()
