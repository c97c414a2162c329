"""Adapters: what they compute, what they leave alone, their files."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from recipe import SMALL_TINY_VIT, SMALL_VIT, load_seeded_weights, made_image
from safetensors import safe_open
from torch import Tensor

from src_model import Sam, SamPredictor, Variant, build_sam
from src_model.checkpoints import CheckpointError, model_hash, save_checkpoint
from src_model.image_encoder import Attention
from src_model.tiny_vit import WindowAttention
from src_model.training.adapter_files import (
    load_adapter,
    load_with_adapter,
    read_adapter,
    save_adapter,
)
from src_model.training.lora import (
    LoraConfig,
    add_lora,
    base_model,
    hold_batch_norm,
    lora_layers,
    lora_parameters,
    merge_lora,
)

VARIANTS = pytest.mark.parametrize("variant", [SMALL_VIT, SMALL_TINY_VIT], ids=lambda v: v.name)
EVERYWHERE = LoraConfig(rank=2, alpha=4, targets=("encoder.q", "encoder.v", "*proj", "*.mlp.*"))


def seeded(variant: Variant) -> Sam:
    return load_seeded_weights(build_sam(variant))


def shaken(sam: Sam) -> Sam:
    """Give the adapters something to say."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in lora_parameters(sam):
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return sam


def outputs(sam: Sam) -> Tensor:
    """Return the logits of a click, and of another that corrects it."""
    predictor = SamPredictor(sam)
    predictor.set_image(made_image(80, 100))
    points, labels = np.array([[30.0, 40.0], [70.0, 20.0]]), np.array([1, 0])
    first = predictor.predict(points[:1], labels[:1])[2]
    second = predictor.predict(points, labels, mask_input=first[:1], multimask_output=False)[2]
    return torch.from_numpy(np.concatenate([first, second]))


def train(sam: Sam, steps: int = 3) -> list[float]:
    """Fit the adapters to an arbitrary target; returns the losses."""
    frames = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.AdamW(lora_parameters(sam), lr=0.02)
    losses = []
    for _ in range(steps):
        sam.train()
        hold_batch_norm(sam)
        embedding = sam.image_encoder(frames)
        sparse, dense = sam.prompt_encoder(
            (torch.tensor([[[40.0, 50.0]]]), torch.ones(1, 1)), None, None
        )
        logits, iou = sam.mask_decoder(
            embedding[:1], sam.prompt_encoder.get_dense_pe(), sparse, dense, True
        )
        loss = ((logits - 1) ** 2).mean() + (iou**2).mean() + (embedding**2).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    sam.eval()
    return losses


@VARIANTS
def test_new_adapters_change_nothing_and_merging_takes_them_away(variant: Variant) -> None:
    sam = seeded(variant)
    keys, before, identity = list(sam.state_dict()), outputs(sam), model_hash(sam)
    add_lora(sam, EVERYWHERE)
    torch.testing.assert_close(outputs(sam), before, rtol=0, atol=0)
    assert {id(p) for p in sam.parameters() if p.requires_grad} == set(
        map(id, lora_parameters(sam))
    )
    merge_lora(sam)
    assert list(sam.state_dict()) == keys
    assert model_hash(sam) == identity
    assert all(p.requires_grad for p in sam.parameters())
    assert not lora_parameters(sam)


@VARIANTS
def test_merged_weights_compute_what_the_adapters_did(variant: Variant) -> None:
    sam = seeded(variant)
    before = outputs(sam)
    add_lora(sam, EVERYWHERE)
    adapted = outputs(shaken(sam))
    assert (adapted - before).abs().max() > 0.1 * before.abs().max()
    merge_lora(sam)
    torch.testing.assert_close(outputs(sam), adapted, rtol=1e-5, atol=1e-5)
    plain = build_sam(variant)
    plain.load_state_dict(sam.state_dict(), strict=True)
    torch.testing.assert_close(outputs(plain), outputs(sam), rtol=0, atol=0)


def test_the_update_is_scaled_by_alpha_over_rank() -> None:
    sam = seeded(SMALL_VIT)
    before = sam.image_encoder.blocks[0].attn.proj.weight.detach().clone()
    add_lora(sam, LoraConfig(rank=2, alpha=6, targets=("image_encoder.blocks.0.attn.proj",)))
    ((_, _, (low_rank,)),) = lora_layers(shaken(sam))
    merge_lora(sam)
    expected = before + 3 * low_rank.lora_b @ low_rank.lora_a
    torch.testing.assert_close(sam.image_encoder.blocks[0].attn.proj.weight, expected)


@VARIANTS
@pytest.mark.parametrize("part", ["q", "k", "v"])
def test_a_part_of_the_fused_layer_changes_alone(variant: Variant, part: str) -> None:
    """Compare what the heads are given before and after, as the attention itself splits it."""
    sam = seeded(variant)
    attention = next(
        m for m in sam.image_encoder.modules() if isinstance(m, Attention | WindowAttention)
    )
    x = torch.randn(5, attention.qkv.in_features)

    def split() -> list[Tensor]:
        fused = attention.qkv(x)
        if isinstance(attention, Attention):
            return list(fused.unflatten(1, (3, attention.num_heads, -1)).unbind(1))
        return list(fused.unflatten(1, (attention.num_heads, 3, -1)).unbind(2))

    before = split()
    add_lora(sam, LoraConfig(targets=(f"encoder.{part}",)))
    shaken(sam)
    changed = [not torch.equal(a, b) for a, b in zip(before, split(), strict=True)]
    assert changed == [name == part for name in "qkv"]


@VARIANTS
def test_every_adapter_learns_and_nothing_else_does(variant: Variant) -> None:
    torch.manual_seed(0)
    sam = seeded(variant)
    identity = model_hash(sam)
    add_lora(sam, EVERYWHERE)
    parameters = lora_parameters(sam)
    before = [p.detach().clone() for p in parameters]
    losses = train(sam)
    assert losses[-1] < losses[0]
    # The very last value projection and the like all take part: no adapter is bypassed.
    assert all(not torch.equal(a, b) for a, b in zip(before, parameters, strict=True))
    assert model_hash(base_model(sam)) == identity


@VARIANTS
def test_training_goes_on_from_a_saved_state(variant: Variant, tmp_path: Path) -> None:
    torch.manual_seed(0)
    sam = seeded(variant)
    add_lora(sam, EVERYWHERE)
    train(sam, 2)
    torch.save(sam.state_dict(), tmp_path / "last.pt")
    copied = copy.deepcopy(sam)
    resumed = build_sam(variant)
    add_lora(resumed, EVERYWHERE)
    resumed.load_state_dict(torch.load(tmp_path / "last.pt", weights_only=True))
    expected = train(sam, 2)
    assert train(resumed, 2) == expected
    assert train(copied, 2) == expected


@VARIANTS
def test_a_bfloat16_model_has_float32_adapters(variant: Variant) -> None:
    torch.manual_seed(0)
    sam = seeded(variant).set_precision(torch.bfloat16)
    add_lora(sam, EVERYWHERE)
    losses = train(sam, 4)
    assert losses[-1] < losses[0]
    assert {p.dtype for p in lora_parameters(sam)} == {torch.float32}
    adapted = outputs(sam)
    merge_lora(sam)
    torch.testing.assert_close(outputs(sam), adapted, rtol=0, atol=0)


@VARIANTS
def test_adapter_files_bring_the_trained_model_back(variant: Variant, tmp_path: Path) -> None:
    sam = seeded(variant)
    save_checkpoint(sam, tmp_path / "base.safetensors")
    identity = model_hash(sam)
    add_lora(sam, EVERYWHERE)
    shaken(sam)
    save_adapter(tmp_path / "adapter.safetensors", sam, identity)
    assert [path.name for path in tmp_path.iterdir() if path.name[0] == "."] == []

    info = read_adapter(tmp_path / "adapter.safetensors")
    assert (info.config, info.variant, info.base_hash) == (EVERYWHERE, variant, identity)
    assert info.created.endswith("+00:00")
    with safe_open(tmp_path / "adapter.safetensors", framework="pt") as file:
        assert sum(file.get_tensor(key).numel() for key in file.keys()) == sum(  # noqa: SIM118
            p.numel() for p in lora_parameters(sam)
        )

    fresh = seeded(variant)
    assert load_adapter(fresh, tmp_path / "adapter.safetensors") == EVERYWHERE
    torch.testing.assert_close(outputs(fresh), outputs(sam), rtol=0, atol=0)
    loaded = load_with_adapter(
        tmp_path / "base.safetensors", tmp_path / "adapter.safetensors", "cpu", "float32"
    )
    torch.testing.assert_close(outputs(loaded), outputs(sam), rtol=1e-4, atol=1e-4)
    assert list(loaded.state_dict()) == list(build_sam(variant).state_dict())


def test_adapter_files_refuse_another_base(tmp_path: Path) -> None:
    path = tmp_path / "adapter.safetensors"
    sam = seeded(SMALL_VIT)
    identity = model_hash(sam)
    add_lora(sam, EVERYWHERE)
    save_adapter(path, sam, identity)

    other = load_seeded_weights(build_sam(SMALL_VIT), seed=12)
    hash_before = model_hash(other)
    with pytest.raises(CheckpointError, match=r"another small_vit .* load the weights"):
        load_adapter(other, path)
    assert model_hash(other) == hash_before
    with pytest.raises(CheckpointError, match=r"small_tiny_vit\) in encoder, .*: load the model"):
        load_adapter(seeded(SMALL_TINY_VIT), path)
    with pytest.raises(ValueError, match="already has LoRA adapters"):
        load_adapter(sam, path)
    with pytest.raises(CheckpointError, match="no file"):
        read_adapter(tmp_path / "absent.safetensors")
    save_checkpoint(other, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="holds no LoRA adapter"):
        read_adapter(tmp_path / "model.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="damaged"):
        load_adapter(seeded(SMALL_VIT), path)


def test_adapters_are_saved_only_if_they_are_all_that_changed(tmp_path: Path) -> None:
    sam = seeded(SMALL_TINY_VIT)
    identity = model_hash(sam)
    path = tmp_path / "adapter.safetensors"
    with pytest.raises(ValueError, match="no LoRA adapters"):
        save_adapter(path, sam, identity)
    add_lora(sam, EVERYWHERE)
    with pytest.raises(CheckpointError, match=r"end in \.safetensors"):
        save_adapter(tmp_path / "adapter.pt", sam, identity)
    with pytest.raises(CheckpointError, match="could not be written"):
        save_adapter(tmp_path / "absent" / "adapter.safetensors", sam, identity)
    sam.train()
    with torch.no_grad():
        sam.image_encoder(torch.randn(2, 3, 128, 128))  # moves the batch statistics
    with pytest.raises(ValueError, match="no longer those of its base"):
        save_adapter(path, sam, identity)
    assert not path.exists()


def test_targets_are_checked() -> None:
    sam = seeded(SMALL_VIT)
    with pytest.raises(ValueError, match=r"'encoder\.querry' matches no .* encoder\.qkv"):
        add_lora(sam, LoraConfig(targets=("encoder.q", "encoder.querry")))
    assert all(p.requires_grad for p in sam.parameters())
    add_lora(sam, LoraConfig(targets=("encoder.*",)))
    # The fused layer once as a whole, not again in parts.
    assert [len(adapters) for _, _, adapters in lora_layers(sam)] == [1] * 2 * SMALL_VIT.depth
    with pytest.raises(ValueError, match="already has"):
        add_lora(sam, LoraConfig())
    with pytest.raises(ValueError, match="rank of at least 1"):
        LoraConfig(rank=0)
    with pytest.raises(ValueError, match="at least one target"):
        LoraConfig(targets=())
