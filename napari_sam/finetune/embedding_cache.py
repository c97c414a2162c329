"""Embeddings computed once and kept in zarr, for training that leaves the encoder alone."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from src_model import Sam
    from src_model.training.augment import Sample

__all__ = ["EmbeddingCache"]


class EmbeddingCache:
    """Embeddings by content: an image that changed is encoded again, and so is all for a new model.

    Parameters
    ----------
    path : Path
        Folder of the zarr group; made when first needed.
    sam : Sam
        The model whose encoder is used.
    model_hash : str
        Its hash; a group made by another model is discarded.
    on_encode : callable, optional
        Called after each image that had to be encoded.
    """

    def __init__(
        self, path: Path, sam: "Sam", model_hash: str, on_encode: Callable[[], None] | None = None
    ) -> None:
        import zarr

        self._sam, self._on_encode = sam, on_encode
        self._group = zarr.open_group(path, mode="a")
        if self._group.attrs.get("model_hash") != model_hash:
            self._group = zarr.open_group(path, mode="w")
            self._group.attrs["model_hash"] = model_hash

    def __call__(self, sample: "Sample") -> "Tensor":
        """Return the float32 (1, C, h, w) embedding of a sample's image."""
        import torch
        import xxhash
        import zarr

        digest = xxhash.xxh3_128_hexdigest(np.ascontiguousarray(sample.image).data)
        key = f"{digest}_{'x'.join(map(str, sample.image.shape))}"
        stored = self._group.get(key)
        # Marked only when it is whole: a crash in the middle of writing leaves no mark.
        if isinstance(stored, zarr.Array) and stored.attrs.get("whole"):
            return torch.from_numpy(np.asarray(stored[:]))
        embedding = self._encode(sample)
        values = embedding.cpu().numpy()
        array = self._group.create_array(
            key, shape=values.shape, chunks=values.shape, dtype=values.dtype, overwrite=True
        )
        array[:] = values
        array.attrs["whole"] = True
        if self._on_encode is not None:
            self._on_encode()
        return embedding

    def _encode(self, sample: "Sample") -> "Tensor":
        import torch

        from src_model.training.trainer import frames

        with torch.no_grad():
            return self._sam.image_encoder(
                frames(self._sam, [sample], self._sam.variant.image_size)
            )
