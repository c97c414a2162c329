"""Masked pre-training: an encoder learns from pictures without labels by completing them.

The loss is that of masked autoencoders (MAE, [1]_): three quarters of the patches are hidden, and
the mean squared error of their pixels, each patch normalised by its own mean and deviation, is
taken on hidden patches only. MAE leaves hidden patches out of the encoder; neither windows with
relative positions nor convolutions can do without them. As in SimMIM [2]_ they are therefore
replaced by a learned mask token behind the patch embedding, and the decoder is light. Under the
token the picture itself is blanked too, because a TinyViT's stem looks across patch borders.

References
----------
.. [1] He et al., "Masked Autoencoders Are Scalable Vision Learners", 2021.
   https://arxiv.org/abs/2111.06377
.. [2] Xie et al., "SimMIM: A Simple Framework for Masked Image Modeling", 2021.
   https://arxiv.org/abs/2111.09886
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ..resampling import resize_bilinear
from ..sam import Sam
from ..variants import Variant
from .encoder_fitting import FitConfig, FitStep, Images, draw_images, fit

__all__ = [
    "MaeConfig",
    "MaePretraining",
    "ReconstructionPictures",
    "encoder_state",
    "picture_reconstruction",
    "pretrain",
    "settle_batch_norm",
]

# Hidden squares of a hierarchical encoder, in pixels: 32 in SimMIM, for tokens that grow to 32
# pixels. Smaller ones could be filled in from their borders alone.
_HIERARCHICAL_UNIT = 32

# Pictures from which batch normalisation learns what whole frames look like.
_SETTLING_BATCHES = 16


@dataclass(frozen=True)
class MaeConfig(FitConfig):
    """How an encoder is pre-trained.

    Parameters
    ----------
    steps, batch, lr, warmup, weight_decay, precision, seed
        See :class:`~src_model.training.encoder_fitting.FitConfig`.
    mask_ratio : float
        Part of the patches that is hidden.
    decoder_width : int
        Channels of the decoder's hidden layer.

    Raises
    ------
    ValueError
        If a value is out of range; the sentence names it.
    """

    mask_ratio: float = 0.75
    decoder_width: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.mask_ratio < 1:
            raise ValueError(f"mask_ratio must lie between 0 and 1, not {self.mask_ratio}.")
        if self.decoder_width < 1:
            raise ValueError(f"decoder_width must be at least 1, not {self.decoder_width}.")


class MaePretraining(nn.Module):
    """An image encoder with what it needs to be pre-trained: a mask token and a light decoder.

    Parameters
    ----------
    encoder : nn.Module
        ``sam.image_encoder``, with random or trained weights; shared, not copied.
    variant : Variant
        Its dimensions.
    config : MaeConfig
        Masked share and width of the decoder.
    """

    def __init__(self, encoder: nn.Module, variant: Variant, config: MaeConfig) -> None:
        super().__init__()
        self.encoder = encoder
        self.variant = variant
        self.mask_ratio = config.mask_ratio
        vit = variant.encoder == "vit"
        self.mask_unit = variant.patch_size if vit else _HIERARCHICAL_UNIT
        width = variant.embed_dim if vit else variant.stage_dims[0]
        device = next(encoder.parameters()).device
        self.mask_token = nn.Parameter((0.02 * torch.randn(width)).to(device))
        pixels = 3 * variant.patch_size**2
        self.decoder = nn.Sequential(
            nn.Conv2d(variant.embedding_shape[0], config.decoder_width, kernel_size=3, padding=1),
            nn.GELU(),
            nn.Conv2d(config.decoder_width, pixels, kernel_size=1),
        ).to(device)

    def forward(
        self, frames: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Hide patches at random and complete them.

        Parameters
        ----------
        frames : Tensor
            (B, 3, H, W), normalised; H and W are the model's frame, or for a TinyViT any multiple
            of 16.
        generator : torch.Generator, optional
            On the CPU; decides what is hidden.

        Returns
        -------
        loss : Tensor
            Scalar: 1 is what filling every patch with its own mean colour would cost.
        reconstruction : Tensor
            float32 (B, 3, H, W), normalised like the frames; see :meth:`complete`.
        """
        return self.complete(frames, self.random_mask(frames, generator))

    def random_mask(self, frames: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return which patches to hide, bool (B, H / patch, W / patch), True where hidden."""
        patch = self.variant.patch_size
        rows, cols = frames.shape[2] // patch, frames.shape[3] // patch
        step = max(1, self.mask_unit // patch)
        units = -(-rows // step), -(-cols // step)
        count = units[0] * units[1]
        hidden = min(count - 1, max(1, round(self.mask_ratio * count)))
        order = torch.rand(len(frames), count, generator=generator).argsort(dim=1)
        mask = (order < hidden).unflatten(1, units)
        mask = mask.repeat_interleave(step, 1).repeat_interleave(step, 2)
        return mask[:, :rows, :cols].to(frames.device)

    def complete(self, frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Complete what a mask hides.

        Parameters
        ----------
        frames : Tensor
            (B, 3, H, W), normalised.
        mask : Tensor
            bool (B, H / patch, W / patch), True where hidden.

        Returns
        -------
        loss : Tensor
            Scalar, over hidden patches.
        reconstruction : Tensor
            float32 (B, 3, H, W): the frames, with hidden patches as predicted. The network
            predicts a patch up to brightness and contrast, which are taken from the original.
        """
        patch = self.variant.patch_size
        blank = mask.repeat_interleave(patch, 1).repeat_interleave(patch, 2)[:, None]
        embedding = self._encode(frames.masked_fill(blank, 0.0), mask)
        predicted = self.decoder(embedding.to(self.mask_token.dtype))
        # (B, h, w, 3 * patch * patch) each, channels first within a patch as pixel_shuffle has it.
        predicted = predicted.float().permute(0, 2, 3, 1)
        target = F.pixel_unshuffle(frames.float(), patch).permute(0, 2, 3, 1)
        mean = target.mean(dim=-1, keepdim=True)
        deviation = (target.var(dim=-1, keepdim=True) + 1e-6).sqrt()
        error = (predicted - (target - mean) / deviation).square().mean(dim=-1)
        loss = error[mask].mean()
        filled = torch.where(mask[..., None], predicted * deviation + mean, target)
        return loss, F.pixel_shuffle(filled.detach().permute(0, 3, 1, 2), patch)

    def _encode(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Encode (B, 3, H, W) with the mask token wherever (B, h, w) is masked."""

        def hide(module: nn.Module, inputs: Any, tokens: Tensor) -> Tensor:
            if self.variant.encoder == "vit":  # (B, h, w, C)
                return torch.where(mask[..., None], self.mask_token, tokens)
            step = tokens.shape[2] // mask.shape[1]  # (B, C, 4 h, 4 w) behind a TinyViT's stem
            hidden = mask.repeat_interleave(step, 1).repeat_interleave(step, 2)[:, None]
            return torch.where(hidden, self.mask_token.view(-1, 1, 1), tokens)

        patch_embed = self.encoder.get_submodule("patch_embed")
        handle = patch_embed.register_forward_hook(hide)
        try:
            return self.encoder(frames)
        finally:
            handle.remove()


def pretrain(
    sam: Sam,
    images: Images,
    config: MaeConfig,
    on_step: Callable[[FitStep], None] | None = None,
    resume: Mapping[str, Any] | None = None,
) -> MaePretraining:
    """Pre-train a model's image encoder on pictures without labels.

    Pictures are seen through random square windows of half to all of their shorter side, resized
    to the frame, turned and mirrored. Where the full resolution matters, give tiles no larger than
    the frame.

    Parameters
    ----------
    sam : Sam
        With random or trained weights, in float32; its image encoder is trained in place.
    images : sequence or callable
        (H, W, 3) uint8 pictures; or a function that draws one with a numpy random generator.
    config : MaeConfig
        The schedule.
    on_step : callable, optional
        Called after every step, with the state to save; its ``module`` is the
        :class:`MaePretraining` to draw pictures of (:func:`picture_reconstruction`).
    resume : dict, optional
        A state from :class:`~src_model.training.encoder_fitting.FitStep`. On a CPU with one thread
        the result is bitwise that of a run without interruption.

    Returns
    -------
    MaePretraining
        In evaluation mode. Batch normalisation has already got used to whole frames
        (:func:`settle_batch_norm`), so reconstructions are best drawn in ``on_step``.

    Raises
    ------
    ValueError
        As from :func:`~src_model.training.encoder_fitting.fit`, or for a picture of another shape
        or type.
    """
    with torch.random.fork_rng([]):
        torch.manual_seed(config.seed)
        pretraining = MaePretraining(sam.image_encoder, sam.variant, config)

    def batch_loss(rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        return pretraining(_draw_frames(sam, images, rng, config.batch), generator)[0]

    fit(pretraining, batch_loss, config, on_step, resume)
    settle_batch_norm(sam, images, config)
    return pretraining


def settle_batch_norm(sam: Sam, images: Images, config: MaeConfig) -> None:
    """Let batch normalisation measure whole frames again, after training on masked ones.

    A frame that is hidden to three quarters has other statistics than the frames the encoder will
    see. Nothing happens to encoders without batch normalisation.

    Parameters
    ----------
    sam : Sam
        Changed in place; in evaluation mode afterwards.
    images, config
        As for :func:`pretrain`.
    """
    norms = [m for m in sam.image_encoder.modules() if isinstance(m, nn.BatchNorm2d)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over all that follows
    rng = np.random.default_rng((config.seed, config.steps))
    sam.image_encoder.train()
    with torch.no_grad():
        for _ in range(_SETTLING_BATCHES):
            sam.image_encoder(_draw_frames(sam, images, rng, config.batch))
    sam.image_encoder.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def encoder_state(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the encoder's weights from a saved pre-training.

    Parameters
    ----------
    state : dict
        From :class:`~src_model.training.encoder_fitting.FitStep`, of a run that may have been in
        any precision.

    Returns
    -------
    dict of str to Tensor
        float32, for ``sam.image_encoder.load_state_dict``. A TinyViT should be given to
        :func:`settle_batch_norm` afterwards.
    """
    weights = dict(state["module"]) | dict(state["optimizer"]["master"])
    prefix = "encoder."
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


class ReconstructionPictures(NamedTuple):
    """Three (S, S, 3) uint8 pictures: the frame, what the encoder saw of it, what it made of it."""

    original: NDArray[np.uint8]
    masked: NDArray[np.uint8]
    reconstructed: NDArray[np.uint8]


@torch.no_grad()
def picture_reconstruction(
    pretraining: MaePretraining, image: NDArray[np.uint8], seed: int = 0
) -> ReconstructionPictures:
    """Show how an encoder completes a picture.

    Parameters
    ----------
    pretraining : MaePretraining
        In any mode, which it keeps.
    image : (H, W, 3) uint8 array
        Its central square is shown.
    seed : int
        Decides what is hidden.

    Returns
    -------
    ReconstructionPictures
        Of the frame's size; hidden patches are grey in the second.
    """
    variant = pretraining.variant
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = image[top : top + side, left : left + side]
    original = resize_bilinear(square, variant.image_size, variant.image_size)
    device = pretraining.mask_token.device
    mean = torch.tensor(variant.pixel_mean, device=device).view(-1, 1, 1)
    std = torch.tensor(variant.pixel_std, device=device).view(-1, 1, 1)
    frame = ((torch.tensor(original, device=device).permute(2, 0, 1) - mean) / std)[None]
    mask = pretraining.random_mask(frame, torch.Generator().manual_seed(seed))
    was_training = pretraining.training
    pretraining.eval()
    completed = pretraining.complete(frame, mask)[1][0]
    pretraining.train(was_training)
    pixels = (completed * std + mean).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
    hidden = mask[0].cpu().numpy().repeat(variant.patch_size, 0).repeat(variant.patch_size, 1)
    masked = original.copy()
    masked[hidden] = 128
    return ReconstructionPictures(original, masked, pixels)


def _draw_frames(sam: Sam, images: Images, rng: np.random.Generator, count: int) -> Tensor:
    """Draw random windows of pictures as normalised frames, (count, 3, S, S)."""
    size = sam.variant.image_size
    frames = []
    for _, image in draw_images(images, rng, count):
        side = max(1, round(rng.uniform(0.5, 1.0) * min(image.shape[:2])))
        top = int(rng.integers(image.shape[0] - side + 1))
        left = int(rng.integers(image.shape[1] - side + 1))
        window = resize_bilinear(image[top : top + side, left : left + side], size, size)
        window = np.rot90(window, int(rng.integers(4)))
        frames.append(window[:, ::-1] if rng.random() < 0.5 else window)
    pixels = torch.from_numpy(np.stack(frames)).to(sam.device)
    return sam.preprocess(pixels.permute(0, 3, 1, 2))
