"""One image, many prompts."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .decoding import decode, offered
from .preprocessing import ResizeLongestSide
from .sam import Sam

__all__ = ["SamPredictor"]


class SamPredictor:
    """Encode an image once, then answer prompts on it.

    Coordinates are (x, y) in pixels of the image given, boxes (x0, y0, x1, y1).

    Parameters
    ----------
    sam_model : Sam
        The model.

    Examples
    --------
    >>> from src_model import Variant, build_sam
    >>> sam = build_sam(Variant(image_size=64, depth=2, embed_dim=32, num_heads=2, out_chans=32,
    ...                         global_attn_indexes=(1,)))
    >>> predictor = SamPredictor(sam)
    >>> predictor.set_image(np.zeros((40, 60, 3), np.uint8))
    >>> masks, iou, low_res = predictor.predict(np.array([[30, 20]]), np.array([1]))
    >>> masks.shape, masks.dtype, iou.shape, low_res.shape
    ((3, 40, 60), dtype('bool'), (3,), (3, 16, 16))
    """

    def __init__(self, sam_model: Sam) -> None:
        self.model = sam_model
        self.transform = ResizeLongestSide(sam_model.image_encoder.img_size)
        self.is_image_set = False
        self.features: Tensor | None = None
        self.original_size: tuple[int, ...] = ()
        self.input_size: tuple[int, ...] = ()

    def set_image(self, image: NDArray[np.uint8], image_format: str = "RGB") -> None:
        """Encode an image.

        Parameters
        ----------
        image : (H, W, 3) uint8 array
            Pixels, 0-255.
        image_format : {"RGB", "BGR"}
            Order of its channels.

        Raises
        ------
        ValueError
            If the image has another shape or type, or no pixels.
        """
        image = np.asarray(image)
        if image_format not in ("RGB", "BGR"):
            raise ValueError(f"image_format must be 'RGB' or 'BGR', not {image_format!r}.")
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(
                f"The image must be an (H, W, 3) uint8 array, not {image.shape} {image.dtype}: "
                "stretch it to 0-255 and repeat a grey channel three times."
            )
        if not image.size:
            raise ValueError(f"The image has no pixels: its shape is {image.shape}.")
        if image_format != self.model.image_format:
            image = image[..., ::-1]
        # An image that fits already comes back as it is, and files are often read as read-only.
        pixels = np.require(self.transform.apply_image(image), requirements="W")
        resized = torch.as_tensor(pixels, device=self.model.device)
        self.set_torch_image(resized.permute(2, 0, 1).contiguous()[None], image.shape[:2])

    @torch.no_grad()
    def set_torch_image(
        self, transformed_image: Tensor, original_image_size: tuple[int, ...]
    ) -> None:
        """Encode an image that is already resized to the frame.

        Parameters
        ----------
        transformed_image : Tensor
            (1, 3, H, W), 0-255, as from ``ResizeLongestSide``; its longer side fills the frame.
        original_image_size : tuple of int
            (H, W) before resizing.

        Raises
        ------
        ValueError
            If the tensor has another shape.
        """
        size = self.model.image_encoder.img_size
        shape = tuple(transformed_image.shape)
        if len(shape) != 4 or shape[1] != 3 or max(shape[2:]) != size:
            raise ValueError(
                f"The resized image must have shape (1, 3, H, W) with a longer side of {size} "
                f"pixels, not {shape}."
            )
        self.reset_image()
        self.original_size = tuple(original_image_size)
        self.input_size = shape[-2:]
        self.features = self.model.image_encoder(self.model.preprocess(transformed_image))
        self.is_image_set = True

    def set_embedding(
        self, embedding: Tensor | NDArray[np.floating], original_size: Sequence[int]
    ) -> None:
        """Take an image that was encoded before; nothing is encoded.

        What has to be kept of an image for this is what :meth:`get_image_embedding` returns, and
        ``original_size``: every mask is then the same to the last bit. A float32 tensor that is
        where the model is is not copied, so that many images can be prompted in turn, or each
        have a predictor of its own with the same model, at no cost.

        Parameters
        ----------
        embedding : Tensor or array
            (1, C, h, w) or (C, h, w), of any float type and on any device.
        original_size : (int, int)
            (H, W) of the image that it was made from, in pixels, before resizing.

        Raises
        ------
        ValueError
            If the embedding is not one of this model, or the size is not that of an image. The
            image set before stays.

        Examples
        --------
        >>> from src_model import Variant, build_sam
        >>> sam = build_sam(Variant(image_size=64, depth=2, embed_dim=32, num_heads=2, out_chans=32,
        ...                         global_attn_indexes=(1,)))
        >>> first, later = SamPredictor(sam), SamPredictor(sam)
        >>> first.set_image(np.zeros((40, 60, 3), np.uint8))
        >>> later.set_embedding(first.get_image_embedding(), first.original_size)
        >>> masks, _, _ = later.predict(np.array([[30, 20]]), np.array([1]))
        >>> masks.shape
        (3, 40, 60)
        """
        if not isinstance(embedding, Tensor):
            # Torch shares an array's memory, which read-only ones do not allow.
            embedding = torch.as_tensor(np.require(embedding, requirements="W"))
        variant = self.model.variant
        expected = variant.embedding_shape
        shape = tuple(embedding.shape)
        if shape not in (expected, (1, *expected)) or not embedding.is_floating_point():
            raise ValueError(
                f"The embedding must have shape {(1, *expected)} or {expected} and a float type "
                f"for this model, not {shape} {embedding.dtype}: use the model that made it."
            )
        size = tuple(original_size)
        if len(size) != 2 or not all(isinstance(side, Integral) and side > 0 for side in size):
            raise ValueError(
                "original_size must be the height and width of the image in pixels, each 1 or "
                f"more, not {size}."
            )
        features = embedding.detach().to(self.device, torch.float32)
        self.reset_image()
        self.original_size = (int(size[0]), int(size[1]))
        self.input_size = self.transform.get_preprocess_shape(
            *self.original_size, self.transform.target_length
        )
        self.features = features.reshape(1, *expected)
        self.is_image_set = True

    def predict(
        self,
        point_coords: NDArray[np.floating] | None = None,
        point_labels: NDArray[np.integer] | None = None,
        box: NDArray[np.floating] | None = None,
        mask_input: NDArray[np.floating] | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32], NDArray[np.float32]]:
        """Predict the masks of one object.

        Parameters
        ----------
        point_coords : (N, 2) array, optional
            Points, (x, y).
        point_labels : (N,) array, optional
            1 foreground, 0 background.
        box : (4,) array, optional
            (x0, y0, x1, y1).
        mask_input : (1, low_res, low_res) array, optional
            Logits of an earlier prediction.
        multimask_output : bool
            Three masks, best for a single ambiguous prompt, or one.
        return_logits : bool
            Give the masks as logits, not thresholded.

        Returns
        -------
        masks : (masks, H, W) bool array, or float32 logits
        iou : (masks,) float32 array
            The IoU the model predicts for each mask.
        low_res : (masks, low_res, low_res) float32 array
            Logits that can be given as ``mask_input`` next time.

        Raises
        ------
        RuntimeError
            If no image is set.
        ValueError
            If a prompt has a wrong shape, or points come without labels.
        """
        self.get_image_embedding()  # refuses before prompts are looked at
        coords, labels, boxes, mask = self._as_tensors(point_coords, point_labels, box, mask_input)
        masks, iou, low_res = self.predict_torch(
            coords, labels, boxes, mask, multimask_output, return_logits
        )
        return masks[0].cpu().numpy(), iou[0].cpu().numpy(), low_res[0].cpu().numpy()

    @torch.no_grad()
    def predict_torch(
        self,
        point_coords: Tensor | None,
        point_labels: Tensor | None,
        boxes: Tensor | None = None,
        mask_input: Tensor | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Predict the masks of B objects at once.

        Parameters
        ----------
        point_coords : Tensor or None
            (B, N, 2), (x, y) in the frame: see ``transform.apply_coords_torch``.
        point_labels : Tensor or None
            (B, N): 1 foreground, 0 background, -1 padding.
        boxes : Tensor or None
            (B, 4) in the frame.
        mask_input : Tensor or None
            (B, 1, low_res, low_res) logits.
        multimask_output, return_logits : bool
            As in :meth:`predict`.

        Returns
        -------
        masks : Tensor
            (B, masks, H, W) bool, or float32 logits.
        iou : Tensor
            (B, masks).
        low_res : Tensor
            (B, masks, low_res, low_res) logits.

        Raises
        ------
        RuntimeError
            If no image is set.
        """
        embedding = self.get_image_embedding()
        points = None
        if point_coords is not None:
            if point_labels is None:
                raise ValueError("point_labels are missing: give 1 or 0 for each point.")
            points = point_coords, point_labels
        low_res, iou = decode(
            self.model, embedding, points, boxes, mask_input, offered(multimask_output)
        )
        masks = self.model.postprocess_masks(low_res, self.input_size, self.original_size)
        if not return_logits:
            masks = masks > self.model.mask_threshold
        return masks, iou, low_res

    def get_image_embedding(self) -> Tensor:
        """Return the embedding of the image set, float32 (1, C, h, w).

        With ``original_size`` it is all that :meth:`set_embedding` needs.

        Raises
        ------
        RuntimeError
            If no image is set.
        """
        if self.features is None:
            raise RuntimeError("No image is set: call set_image(image) before predicting.")
        return self.features

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

    def reset_image(self) -> None:
        """Forget the image."""
        self.is_image_set = False
        self.features = None
        self.original_size = self.input_size = ()

    def _as_tensors(
        self,
        point_coords: NDArray[np.floating] | None,
        point_labels: NDArray[np.integer] | None,
        box: NDArray[np.floating] | None,
        mask_input: NDArray[np.floating] | None,
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
        """Check the prompts and bring them to the frame, each with a batch axis of 1."""
        coords = labels = boxes = masks = None
        if point_coords is not None:
            points = np.asarray(point_coords, dtype=float)
            if point_labels is None:
                raise ValueError("point_labels are missing: give 1 or 0 for each point.")
            given = np.asarray(point_labels)
            if points.ndim != 2 or points.shape[1] != 2 or given.shape != points.shape[:1]:
                raise ValueError(
                    "point_coords must have shape (N, 2) and point_labels (N,), not "
                    f"{points.shape} and {given.shape}."
                )
            coords = self._tensor(self.transform.apply_coords(points, self.original_size))[None]
            labels = torch.as_tensor(given, dtype=torch.int, device=self.device)[None]
        if box is not None:
            corners = np.asarray(box, dtype=float)
            if corners.size != 4:
                raise ValueError(f"box must have 4 numbers (x0, y0, x1, y1), not {corners.size}.")
            boxes = self._tensor(self.transform.apply_boxes(corners, self.original_size))
        if mask_input is not None:
            expected = (1, *self.model.prompt_encoder.mask_input_size)
            if np.shape(mask_input) != expected:
                raise ValueError(
                    f"mask_input must have shape {expected}, not {np.shape(mask_input)}."
                )
            masks = self._tensor(mask_input)[None]
        return coords, labels, boxes, masks

    def _tensor(self, array: NDArray[np.floating]) -> Tensor:
        return torch.as_tensor(array, dtype=torch.float, device=self.device)
