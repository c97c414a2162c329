"""Stochastic depth, and the layers that layer-wise decay counts."""

from __future__ import annotations

import pytest
import torch
from recipe import SMALL_TINY_VIT, SMALL_VIT, load_seeded_weights

from src_model import Variant, build_sam
from src_model.training.drop_path import set_drop_path
from src_model.training.layer_decay import layer_ids
from src_model.training.lora import LoraConfig, add_lora

VARIANTS = pytest.mark.parametrize("variant", [SMALL_VIT, SMALL_TINY_VIT], ids=lambda v: v.name)


def residual_modules(encoder: torch.nn.Module) -> list[torch.nn.Module]:
    names = (".attn", ".mlp", "blocks.0.conv3")
    return [m for name, m in encoder.named_modules() if name.endswith(names)]


@VARIANTS
def test_evaluation_and_rate_zero_are_as_without(variant: Variant) -> None:
    encoder = load_seeded_weights(build_sam(variant)).image_encoder
    frames = torch.randn(1, 3, 128, 128)
    keys = list(encoder.state_dict())
    with torch.no_grad():
        expected = encoder(frames)
        set_drop_path(encoder, 0.9)
        set_drop_path(encoder, 0.9)  # replaces, does not add
        assert max(len(m._forward_hooks) for m in encoder.modules()) == 1
        assert torch.equal(encoder(frames), expected)
        assert list(encoder.state_dict()) == keys
        set_drop_path(encoder, 0.0)
        assert not any(m._forward_hooks for m in encoder.modules())
    with pytest.raises(ValueError, match="drop_path"):
        set_drop_path(encoder, 1.0)


@VARIANTS
def test_branches_are_dropped_more_often_the_deeper_they_are(variant: Variant) -> None:
    encoder = load_seeded_weights(build_sam(variant)).image_encoder
    set_drop_path(encoder, 0.6)
    encoder.train()
    outputs: dict[int, list[torch.Tensor]] = {}
    branches = residual_modules(encoder)
    for i, module in enumerate(branches):
        outputs[i] = []
        module.register_forward_hook(
            lambda module, inputs, output, i=i: outputs[i].append(output.detach())
        )
    torch.manual_seed(0)
    with torch.no_grad():
        for _ in range(12):
            encoder(torch.randn(8, 3, 128, 128))
    dropped = [
        torch.cat([(o == 0).flatten(1).all(1) for o in outputs[i]]).float().mean().item()
        for i in range(len(branches))
    ]
    blocks = variant.depth if variant.encoder == "vit" else sum(variant.stage_depths)
    vit = variant.encoder == "vit"
    # A convolutional block has one branch, the others have two.
    depth_of = [i // 2 for i in range(2 * blocks)] if vit else [0, 1, 1, 2, 2, 3, 3, 4, 4]
    expected = [0.6 * depth / (blocks - 1) for depth in depth_of]
    assert dropped[0] == 0
    assert dropped == pytest.approx(expected, abs=0.16)  # 96 draws: 3 standard deviations


def test_branches_that_stay_are_scaled_up() -> None:
    encoder = load_seeded_weights(build_sam(SMALL_VIT)).image_encoder
    mlp, x = encoder.blocks[-1].mlp, torch.randn(64, 2, 2, 48)
    with torch.no_grad():
        expected = mlp(x)
        set_drop_path(encoder, 0.5)
        mlp.train()
        torch.manual_seed(0)
        output = mlp(x)
    kept = output.flatten(1).any(1)
    assert 0.25 < kept.float().mean() < 0.75
    torch.testing.assert_close(output[kept], 2 * expected[kept])
    assert mlp.to(torch.bfloat16)(x.bfloat16()).dtype == torch.bfloat16


@VARIANTS
def test_layers_are_counted_from_the_image(variant: Variant) -> None:
    sam = build_sam(variant)
    ids = layer_ids(sam)
    assert list(ids) == [name for name, _ in sam.named_parameters()]
    last = (variant.depth if variant.encoder == "vit" else sum(variant.stage_depths)) + 1
    assert set(ids.values()) == set(range(last + 1))
    encoder = {n: i for n, i in ids.items() if n.startswith("image_encoder.")}
    assert all(i == last for n, i in ids.items() if n not in encoder)
    assert all(i == 0 for n, i in encoder.items() if "patch_embed" in n or "pos_embed" in n)
    assert all(i == last for n, i in encoder.items() if ".neck." in n)
    # Modules are registered in the order they are run in.
    inner = [i for n, i in encoder.items() if "pos_embed" not in n]
    assert inner == sorted(inner)


def test_layers_of_known_parameters() -> None:
    ids = layer_ids(build_sam(SMALL_TINY_VIT))
    assert ids["image_encoder.layers.0.blocks.0.conv1.c.weight"] == 1
    assert ids["image_encoder.layers.0.downsample.conv1.c.weight"] == 1
    assert ids["image_encoder.layers.2.blocks.1.mlp.fc1.weight"] == 4
    assert ids["image_encoder.layers.3.blocks.0.attn.attention_biases"] == 5
    sam = build_sam(SMALL_VIT)
    assert layer_ids(sam)["image_encoder.blocks.2.attn.rel_pos_h"] == 3
    add_lora(sam, LoraConfig(targets=("encoder.qkv", "decoder.q_proj")))
    adapted = layer_ids(sam)
    name = "attn.qkv.parametrizations.weight.0.lora_a"
    assert adapted[f"image_encoder.blocks.1.{name}"] == 2
