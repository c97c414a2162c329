"""Any image into the model's frame, and coordinates there and back."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from .resampling import resize_bilinear

__all__ = ["ResizeLongestSide"]


class ResizeLongestSide:
    """Resize images so that the longer side fills the frame, and coordinates with them.

    Parameters
    ----------
    target_length : int
        Length of the longer side after resizing, in pixels.

    Examples
    --------
    >>> transform = ResizeLongestSide(1024)
    >>> transform.get_preprocess_shape(512, 256, 1024)
    (1024, 512)
    >>> transform.apply_coords(np.array([[10.0, 20.0]]), (512, 256))
    array([[20., 40.]])
    """

    def __init__(self, target_length: int) -> None:
        self.target_length = target_length

    def apply_image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize ``image`` (H, W, C) uint8; bilinear with antialiasing."""
        height, width = image.shape[:2]
        return resize_bilinear(image, *self.get_preprocess_shape(height, width, self.target_length))

    def apply_coords(
        self, coords: NDArray[np.floating], original_size: tuple[int, ...]
    ) -> NDArray[np.floating]:
        """Map ``coords`` (..., 2), (x, y) in the original (H, W) image, to the resized one."""
        scale_x, scale_y = self._scale(original_size)
        coords = deepcopy(coords).astype(float)
        coords[..., 0] = coords[..., 0] * scale_x
        coords[..., 1] = coords[..., 1] * scale_y
        return coords

    def apply_boxes(
        self, boxes: NDArray[np.floating], original_size: tuple[int, ...]
    ) -> NDArray[np.floating]:
        """Map ``boxes`` (B, 4), (x0, y0, x1, y1), like :meth:`apply_coords`."""
        return self.apply_coords(boxes.reshape(-1, 2, 2), original_size).reshape(-1, 4)

    def apply_image_torch(self, image: Tensor) -> Tensor:
        """Resize a batch ``image`` (B, C, H, W) of floats; bilinear with antialiasing."""
        size = self.get_preprocess_shape(image.shape[2], image.shape[3], self.target_length)
        return F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)

    def apply_coords_torch(self, coords: Tensor, original_size: tuple[int, ...]) -> Tensor:
        """Map a tensor of coordinates (..., 2) like :meth:`apply_coords`."""
        return coords.float() * torch.tensor(self._scale(original_size), device=coords.device)

    def apply_boxes_torch(self, boxes: Tensor, original_size: tuple[int, ...]) -> Tensor:
        """Map a tensor of boxes (B, 4) like :meth:`apply_boxes`."""
        return self.apply_coords_torch(boxes.reshape(-1, 2, 2), original_size).reshape(-1, 4)

    def _scale(self, original_size: tuple[int, ...]) -> tuple[float, float]:
        """Return the factors for x and y."""
        old_h, old_w = original_size
        new_h, new_w = self.get_preprocess_shape(old_h, old_w, self.target_length)
        return new_w / old_w, new_h / old_h

    @staticmethod
    def get_preprocess_shape(oldh: int, oldw: int, long_side_length: int) -> tuple[int, int]:
        """Return the (height, width) of an (oldh, oldw) image after resizing; at least 1 pixel."""
        scale = long_side_length / max(oldh, oldw)
        return max(1, int(oldh * scale + 0.5)), max(1, int(oldw * scale + 0.5))
