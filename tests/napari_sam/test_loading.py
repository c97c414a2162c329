"""Models by name, by file, and by the adapter that a LoRA run saved."""

from pathlib import Path

import pytest
import torch

from napari_sam.errors import InputError
from napari_sam.loading import load
from src_model import Sam, Variant, build_sam, load_model
from src_model.training.adapter_files import save_adapter
from src_model.training.lora import LoraConfig, add_lora, lora_parameters, merge_lora
from src_model.weight_files import model_hash

CONFIG = LoraConfig(rank=2, alpha=2, targets=("encoder.qkv",))


def adapter_of(base: Sam, path: Path) -> Sam:
    """Save an adapter that says something; returns the model with it merged."""
    base_hash = model_hash(base)
    add_lora(base, CONFIG)
    with torch.no_grad():
        for parameter in lora_parameters(base):
            parameter.fill_(0.01)
    save_adapter(path, base, base_hash)
    merge_lora(base)
    return base


def test_an_adapter_is_loaded_with_its_base(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    expected = adapter_of(load_model("vit_nano", precision="float32"), path)
    assert path.stat().st_size < 1_000_000
    found = load(str(path), precision="float32")
    for name, weight in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], weight)
    assert model_hash(found) != model_hash(load("vit_nano", precision="float32"))


def test_an_adapter_to_a_model_without_a_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    small = Variant(
        image_size=64, depth=1, embed_dim=16, num_heads=2, out_chans=32, global_attn_indexes=(0,)
    )
    adapter_of(build_sam(small).eval(), path)
    with pytest.raises(InputError, match=r"adapter to a model of your own .*whole model"):
        load(str(path))


def test_what_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"no weights")
    with pytest.raises(InputError, match="damaged"):
        load(str(path))
