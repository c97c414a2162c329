"""Decoupled distillation: a small encoder learns to give a large one's embeddings.

MobileSAM's way: the student's encoder is fitted to the teacher's embeddings by mean squared error,
then the teacher's prompt encoder and mask decoder are taken over as they are. No prompts and no
masks take part.

References
----------
.. [1] Zhang et al., "Faster Segment Anything: Towards Lightweight SAM for Mobile Applications",
   2023. https://arxiv.org/abs/2306.14289
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..mask_decoder import MaskDecoder
from ..preprocessing import ResizeLongestSide
from ..prompt_encoder import PromptEncoder
from ..sam import Sam
from .encoder_fitting import FitConfig, FitStep, Images, draw_images, fit

__all__ = ["distill", "take_over_decoder"]

_DECODER_FIELDS = (
    "mask_in_chans",
    "decoder_depth",
    "decoder_mlp_dim",
    "decoder_heads",
    "iou_head_depth",
    "iou_head_hidden_dim",
    "num_multimask_outputs",
    "mask_threshold",
)


def distill(
    student: Sam,
    teacher: Sam,
    images: Images,
    config: FitConfig,
    on_step: Callable[[FitStep], None] | None = None,
    resume: Mapping[str, Any] | None = None,
    cache: MutableMapping[int, Tensor] | None = None,
) -> None:
    """Fit a student's image encoder to a teacher's embeddings and give it the teacher's decoder.

    Pictures are brought to the frame as for prediction: the longer side fills it, the rest is
    padding.

    Parameters
    ----------
    student : Sam
        In float32; changed in place. Its decoder becomes the teacher's when the run is complete.
    teacher : Sam
        With an embedding of the same channels and grid; not changed. Any precision.
    images : sequence or callable
        (H, W, 3) uint8 pictures; or a function that draws one with a numpy random generator.
    config : FitConfig
        The schedule.
    on_step : callable, optional
        Called after every step, with the state to save.
    resume : dict, optional
        A state from :class:`~src_model.training.encoder_fitting.FitStep`. On a CPU with one thread
        the result is bitwise that of a run without interruption.
    cache : mutable mapping, optional
        The teacher's embeddings by index of the picture, float32 (C, h, w) on the CPU: those in it
        are used, others are added as they are needed. Only for a sequence of pictures.

    Raises
    ------
    ValueError
        If the embeddings differ in channels or grid, a cache is given for pictures without
        indices, a cached embedding has another shape, or as from
        :func:`~src_model.training.encoder_fitting.fit`.
    """
    _check_embeddings(student, teacher)
    if cache is not None and callable(images):
        raise ValueError("Embeddings of pictures drawn by a function cannot be cached.")
    teacher.eval()
    expected = teacher.variant.embedding_shape

    def target(index: int | None, image: NDArray[np.uint8]) -> Tensor:
        if cache is not None and index is not None and index in cache:
            embedding = cache[index]
            if tuple(embedding.shape) != expected:
                raise ValueError(
                    f"The cached embedding of picture {index} has shape {tuple(embedding.shape)}, "
                    f"not {expected}: empty the cache."
                )
            return embedding
        with torch.no_grad():
            embedding = teacher.image_encoder(_frame(teacher, image))[0].cpu()
        if cache is not None and index is not None:
            cache[index] = embedding
        return embedding

    def batch_loss(rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        drawn = draw_images(images, rng, config.batch)
        targets = torch.stack([target(index, image) for index, image in drawn])
        frames = torch.cat([_frame(student, image) for _, image in drawn])
        return F.mse_loss(student.image_encoder(frames), targets.to(student.device))

    fit(student.image_encoder, batch_loss, config, on_step, resume)
    take_over_decoder(student, teacher)


def take_over_decoder(student: Sam, teacher: Sam) -> None:
    """Give a student copies of the teacher's prompt encoder and mask decoder, in float32.

    Where the teacher's have other dimensions, the student's variant changes with them and is then
    called ``"custom"``.

    Raises
    ------
    ValueError
        If the embeddings differ in channels or grid.
    """
    _check_embeddings(student, teacher)
    taken = {field: getattr(teacher.variant, field) for field in _DECODER_FIELDS}
    variant = replace(student.variant, **taken)
    if variant != student.variant:
        variant = replace(variant, name="custom")
    student.variant = variant
    student.mask_threshold = teacher.mask_threshold
    for name, kind in (("prompt_encoder", PromptEncoder), ("mask_decoder", MaskDecoder)):
        part = kind(variant)
        part.load_state_dict(getattr(teacher, name).state_dict())
        setattr(student, name, part.to(student.device).eval())


def _check_embeddings(student: Sam, teacher: Sam) -> None:
    """Refuse a teacher whose embedding the student cannot give."""
    own, wanted = student.variant, teacher.variant
    if (own.embedding_shape, own.out_chans) != (wanted.embedding_shape, wanted.out_chans):
        raise ValueError(
            f"The student {own.name} gives embeddings of {_times(own.embedding_shape)} and the "
            f"teacher {wanted.name} of {_times(wanted.embedding_shape)}: choose a student of the "
            f"same out_chans, detail_dim and grid, or build one with "
            f"Variant(out_chans={wanted.out_chans}, detail_dim={wanted.detail_dim}, ...)."
        )


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _frame(sam: Sam, image: NDArray[np.uint8]) -> Tensor:
    """Bring a picture to a model's frame, normalised and padded: (1, 3, S, S)."""
    resized = ResizeLongestSide(sam.variant.image_size).apply_image(image)
    pixels = torch.tensor(resized, device=sam.device)  # a copy: files may be read as read-only
    return sam.preprocess(pixels.permute(2, 0, 1))[None]
