"""Masked pre-training: what is hidden stays hidden, the loss falls, runs go on where they were."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from recipe import SMALL_TINY_VIT, SMALL_VIT, load_seeded_weights
from torch import Tensor

from src_model import Sam, Variant, build_sam
from src_model.training.drop_path import set_drop_path
from src_model.training.encoder_fitting import FitStep
from src_model.training.mae import (
    MaeConfig,
    MaePretraining,
    encoder_state,
    picture_reconstruction,
    pretrain,
    settle_batch_norm,
)

TINY_VIT = replace(SMALL_TINY_VIT, image_size=64)
VARIANTS = pytest.mark.parametrize("variant", [SMALL_VIT, TINY_VIT], ids=lambda v: v.name)
CONFIG = MaeConfig(steps=4, batch=2, lr=3e-3, warmup=2, decoder_width=64)


def textures(count: int = 5, size: int = 160) -> list[NDArray[np.uint8]]:
    """Return coloured waves with a little noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size] / size
    pictures = []
    for _ in range(count):
        turn, waves = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.5)
        along = np.cos(turn) * x + np.sin(turn) * y
        wave = np.cos(2 * np.pi * waves * along + rng.uniform(0, 6))
        picture = 128 + wave[..., None] * rng.uniform(-60, 60, 3)
        picture = picture + rng.normal(0, 2, picture.shape)
        pictures.append(np.clip(picture, 0, 255).astype(np.uint8))
    return pictures


def seeded(variant: Variant) -> Sam:
    return load_seeded_weights(build_sam(variant))


@VARIANTS
def test_three_quarters_are_hidden_in_whole_units(variant: Variant) -> None:
    pretraining = MaePretraining(build_sam(variant).image_encoder, variant, MaeConfig())
    frames = torch.zeros(3, 3, variant.image_size, variant.image_size)
    mask = pretraining.random_mask(frames, torch.Generator().manual_seed(0))
    again = pretraining.random_mask(frames, torch.Generator().manual_seed(0))
    torch.testing.assert_close(mask, again)
    assert mask.flatten(1).float().mean(1).tolist() == [0.75] * 3
    assert not torch.equal(mask[0], mask[1]) or not torch.equal(mask[0], mask[2])
    step = 1 if variant.encoder == "vit" else 2  # patches of 16 pixels, or squares of 32
    units = mask[:, ::step, ::step].repeat_interleave(step, 1).repeat_interleave(step, 2)
    torch.testing.assert_close(mask, units)


@VARIANTS
def test_hidden_pixels_are_not_seen(variant: Variant) -> None:
    """Turning hidden patches upside down keeps their mean and contrast, and changes nothing."""
    torch.manual_seed(0)
    pretraining = MaePretraining(seeded(variant).image_encoder, variant, CONFIG).eval()
    frames = torch.randn(2, 3, variant.image_size, variant.image_size)
    mask = pretraining.random_mask(frames)
    top = torch.arange(mask.shape[1])[:, None] < 2
    pixels = mask.repeat_interleave(16, 1).repeat_interleave(16, 2)[:, None]
    patches = frames.unflatten(2, (-1, 16)).unflatten(4, (-1, 16)).flip(3, 5)
    other = torch.where(pixels, patches.flatten(4, 5).flatten(2, 3), frames)
    with torch.no_grad():
        _, first = pretraining.complete(frames, mask)
        _, second = pretraining.complete(other, mask)
        _, informed = pretraining.complete(frames, mask & top)
    torch.testing.assert_close(first, second, rtol=0, atol=1e-5)
    assert not torch.equal(other, frames)
    keep = ~pixels.expand_as(frames)
    torch.testing.assert_close(first[keep], frames[keep])  # visible pixels are kept
    assert (informed - first)[:, :, :32].abs().max() > 1e-3  # what is visible matters


@VARIANTS
def test_predicting_the_mean_of_each_patch_costs_one(variant: Variant) -> None:
    pretraining = MaePretraining(build_sam(variant).image_encoder, variant, CONFIG)
    last = pretraining.decoder[-1]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    frames = 3 * torch.rand(2, 3, variant.image_size, variant.image_size) + 1
    loss, reconstruction = pretraining(frames)
    assert abs(loss.item() - 1) < 0.01
    patch = reconstruction[0, :, :16, :16]
    whole = frames[0, :, :16, :16]
    assert torch.equal(patch, whole) or patch.std() < 1e-3  # kept, or one colour


@pytest.mark.parametrize(
    ("variant", "precision", "from_weights"),
    [(SMALL_VIT, "bfloat16", False), (SMALL_TINY_VIT, "float32", True)],
)
def test_pretraining_completes_textures(
    variant: Variant, precision: str, from_weights: bool
) -> None:
    torch.manual_seed(0)
    sam = seeded(variant) if from_weights else build_sam(variant)
    before = copy.deepcopy(sam.state_dict())
    config = replace(CONFIG, steps=45, batch=6, warmup=5, precision=precision)
    losses = []
    pictures = []

    def on_step(step: FitStep) -> None:
        losses.append(step.loss)
        if step.step == config.steps:
            pictures.append(picture_reconstruction(step.module, textures()[0]))

    pretrain(sam, textures(3), config, on_step)
    assert len(losses) == config.steps
    assert np.mean(losses[:3]) > 0.9
    assert np.mean(losses[-8:]) < 0.8  # 1 is what patches of one colour cost

    # The same in pixels: against hidden patches filled with their own mean colour.
    original, masked, reconstructed = (picture.astype(float) for picture in pictures[0])
    hidden = (masked == 128).all(-1)
    side = variant.grid_size
    means = original.reshape(side, 16, side, 16, 3).mean((1, 3, 4)).repeat(16, 0).repeat(16, 1)
    flat = np.square(original - means[..., None])[hidden].mean()
    assert np.square(original - reconstructed)[hidden].mean() < 0.8 * flat

    state = sam.state_dict()
    assert not sam.training
    assert {tensor.dtype for tensor in sam.parameters()} == {torch.float32}
    for key, tensor in state.items():
        if not key.startswith("image_encoder."):
            torch.testing.assert_close(tensor, before[key], rtol=0, atol=0)
    key = "image_encoder.neck.0.weight"
    assert not torch.equal(state[key], before[key])


class Stopped(Exception):
    pass


@VARIANTS
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_resumed_run_ends_bitwise_the_same(
    variant: Variant, precision: str, tmp_path: Path
) -> None:
    config = replace(CONFIG, precision=precision)

    def run(stop: int = 99, resume: dict | None = None) -> tuple[dict[str, Tensor], list[float]]:
        torch.manual_seed(stop)  # what others draw does not matter
        sam = seeded(variant)
        set_drop_path(sam.image_encoder, 0.5)
        losses = []

        def on_step(step: FitStep) -> None:
            losses.append(step.loss)
            if step.step == stop:
                torch.save(step.state(), tmp_path / "last.pt")
                raise Stopped

        if stop < config.steps:
            with pytest.raises(Stopped):
                pretrain(sam, textures(), config, on_step, resume)
        else:
            pretrain(sam, textures(), config, on_step, resume)
        return sam.state_dict(), losses

    whole, losses = run()
    half, first = run(stop=2)
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    carried = build_sam(variant)
    carried.image_encoder.load_state_dict(encoder_state(state))
    for key, tensor in carried.image_encoder.state_dict().items():
        assert torch.equal(tensor, half[f"image_encoder.{key}"]), key
    resumed, rest = run(resume=state)
    assert first + rest == losses
    for key, tensor in whole.items():
        assert torch.equal(tensor, resumed[key]), key
    assert any(not torch.equal(whole[key], half[key]) for key in whole)
    with pytest.raises(ValueError, match=r"saved run has lr 0\.003, not 1\.0: go on with the same"):
        pretrain(seeded(variant), textures(), replace(config, lr=1.0), resume=state)


def test_batch_norm_gets_used_to_whole_frames() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    sam = seeded(TINY_VIT)
    norm = sam.image_encoder.patch_embed.seq[0].bn
    settle_batch_norm(sam, [noise], CONFIG)
    frame = sam.preprocess(torch.from_numpy(noise).permute(2, 0, 1)[None])
    responses = sam.image_encoder.patch_embed.seq[0].c(frame)
    difference = norm.running_mean - responses.mean((0, 2, 3))
    assert (difference.abs() < 0.1 * responses.std((0, 2, 3))).all()
    assert norm.momentum == 0.1
    assert not norm.training


@VARIANTS
def test_pictures_show_what_was_hidden(variant: Variant) -> None:
    pretraining = MaePretraining(seeded(variant).image_encoder, variant, CONFIG).train()
    image = np.full((70, 90, 3), 200, np.uint8)
    image[20:50, 30:60] = 60
    shown = picture_reconstruction(pretraining, image, seed=3)
    assert pretraining.training
    side = variant.image_size
    assert all(p.shape == (side, side, 3) and p.dtype == np.uint8 for p in shown)
    hidden = (shown.masked == 128).all(-1)
    assert hidden.mean() == 0.75
    np.testing.assert_array_equal(shown.masked[~hidden], shown.original[~hidden])
    np.testing.assert_array_equal(shown.reconstructed[~hidden], shown.original[~hidden])


def test_frozen_weights_keep_their_precision() -> None:
    states = []
    config = replace(CONFIG, steps=2, precision="bfloat16")
    before = seeded(SMALL_VIT).image_encoder.blocks[0].state_dict()

    def check(resume: dict | None) -> None:
        sam = seeded(SMALL_VIT)
        sam.image_encoder.blocks[0].requires_grad_(False)
        pretrain(sam, textures(), config, lambda s: states.append(copy.deepcopy(s.state())), resume)
        for key, tensor in sam.image_encoder.blocks[0].state_dict().items():
            assert torch.equal(tensor, before[key])

    check(None)
    check(states[0])
    carried = encoder_state(states[1])
    assert torch.equal(carried["blocks.0.mlp.lin1.weight"], before["mlp.lin1.weight"])


def test_pictures_may_come_from_a_function() -> None:
    drawn = []

    def draw(rng: np.random.Generator) -> NDArray[np.uint8]:
        drawn.append(int(rng.integers(1000)))
        return rng.integers(0, 255, (40, 30, 3)).astype(np.uint8)

    pretrain(seeded(SMALL_VIT), draw, replace(CONFIG, steps=2))
    first, drawn = drawn, []
    pretrain(seeded(SMALL_VIT), draw, replace(CONFIG, steps=2))
    assert drawn == first
    assert len(set(drawn)) == 4


def test_bad_input_is_refused() -> None:
    sam = seeded(SMALL_VIT)
    with pytest.raises(ValueError, match="no pictures to train on"):
        pretrain(sam, [], CONFIG)
    with pytest.raises(ValueError, match=r"Picture 0 must be .* \(8, 8\) uint8"):
        pretrain(sam, [np.zeros((8, 8), np.uint8)], CONFIG)
    with pytest.raises(ValueError, match="float64: stretch"):
        pretrain(sam, [np.zeros((8, 8, 3))], CONFIG)
    with pytest.raises(ValueError, match="mask_ratio"):
        MaeConfig(mask_ratio=1.0)
    with pytest.raises(ValueError, match="steps"):
        MaeConfig(steps=0)
    with pytest.raises(ValueError, match="precision"):
        MaeConfig(precision="float16")  # type: ignore[arg-type]
    broken = seeded(SMALL_VIT)
    with torch.no_grad():
        broken.image_encoder.pos_embed.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"loss is nan at step 1: .* lower lr"):
        pretrain(broken, textures(), CONFIG)
    sam.set_precision(torch.bfloat16)
    with pytest.raises(ValueError, match=r"must be float32, but .* is torch\.bfloat16"):
        pretrain(sam, textures(), CONFIG)
