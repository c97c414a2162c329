"""`load_model`: names, files, devices and precisions."""

import pytest
import torch

from src_model.checkpoints import CHECKPOINTS
from src_model.errors import CheckpointError
from src_model.loading import load_model
from src_model.sam import build_sam
from src_model.variants import Variant
from src_model.weight_files import model_hash, save_checkpoint

TINY = Variant(
    name="tiny",
    image_size=128,
    depth=2,
    embed_dim=32,
    num_heads=2,
    window_size=3,
    global_attn_indexes=(1,),
    out_chans=32,
    decoder_mlp_dim=32,
    decoder_heads=4,
    iou_head_hidden_dim=32,
)
TINY_TINY_VIT = Variant(
    name="tiny_tiny_vit",
    encoder="tiny_vit",
    image_size=128,
    stage_dims=(8, 16, 24, 32),
    stage_depths=(1, 1, 1, 1),
    stage_heads=(1, 2, 3, 4),
    stage_windows=(4, 4, 8, 4),
    out_chans=32,
    decoder_mlp_dim=32,
    iou_head_hidden_dim=32,
)


@pytest.fixture(params=[TINY, TINY_TINY_VIT], ids=lambda variant: variant.name)
def saved(request, tmp_path):
    """Return a network with random weights, and the file it is saved in."""
    torch.manual_seed(0)
    sam = build_sam(request.param)
    save_checkpoint(sam, tmp_path / "mine.safetensors")
    return sam, tmp_path / "mine.safetensors"


def outputs(sam):
    """Embed a fixed frame and decode one click on it."""
    size = sam.variant.image_size
    frame = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(3))
    point = torch.tensor([[[40.0, 70.0]]])
    with torch.inference_mode():
        embedding = sam.image_encoder(frame)
        sparse, dense = sam.prompt_encoder(points=(point, torch.ones(1, 1)), boxes=None, masks=None)
        masks, iou = sam.mask_decoder(
            image_embeddings=embedding,
            image_pe=sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )
    return embedding, masks, iou


def test_file_of_ours_gives_the_same_network(saved):
    sam, path = saved
    loaded = load_model(path, device="cpu", precision="float32")
    assert loaded.variant == sam.variant
    assert not loaded.training
    assert model_hash(loaded) == model_hash(sam)
    for ours, theirs in zip(outputs(loaded), outputs(sam.eval()), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_bfloat16_inside_float32_outside(saved):
    sam, path = saved
    loaded = load_model(str(path), device="cpu", precision="bfloat16")
    for name, parameter in loaded.image_encoder.named_parameters():
        # Batch normalisation stays exact.
        assert parameter.dtype == (torch.float32 if ".bn." in name else torch.bfloat16), name
    assert {p.dtype for p in loaded.mask_decoder.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in loaded.prompt_encoder.parameters()} == {torch.float32}
    assert model_hash(loaded) == model_hash(sam)
    for ours, theirs in zip(outputs(loaded), outputs(sam.eval()), strict=True):
        assert ours.dtype == torch.float32
        both = torch.stack((ours.flatten(), theirs.flatten()))
        assert ours.numel() < 10 or torch.corrcoef(both)[0, 1] > 0.99


@pytest.mark.parametrize("amx", [True, False])
@pytest.mark.parametrize("avx512", [True, False])
def test_automatic_precision_follows_the_processor(tmp_path, monkeypatch, amx, avx512):
    save_checkpoint(build_sam(TINY), tmp_path / "tiny.safetensors")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    sam = load_model(tmp_path / "tiny.safetensors", device="cpu")
    expected = torch.bfloat16 if amx or avx512 else torch.float32
    assert sam.image_encoder.pos_embed.dtype == expected


def test_variant_is_found_in_a_plain_file_or_passed(tmp_path):
    sam = build_sam(TINY)
    path = tmp_path / "plain.pth"
    torch.save(sam.state_dict(), path)
    assert load_model(path, device="cpu").variant.decoder_heads == 8
    assert load_model(path, device="cpu", variant=TINY).variant == TINY


def test_known_name_loads_its_downloaded_file(tmp_path, monkeypatch):
    save_checkpoint(build_sam("vit_nano"), tmp_path / "downloaded.safetensors")
    asked = []

    def download(name):
        asked.append(name)
        return tmp_path / "downloaded.safetensors"

    monkeypatch.setattr("src_model.loading.download", download)
    assert load_model("vit_nano", device="cpu").variant.name == "vit_nano"
    assert asked == ["vit_nano"]


def test_bundled_model_loads():
    sam = load_model("vit_nano", device="cpu")
    assert sam.variant.name == "vit_nano"


@pytest.mark.parametrize("name", ["vit_x", "", "."])
def test_unknown_name_lists_the_known_ones(name):
    with pytest.raises(CheckpointError, match="There is no model named") as error:
        load_model(name)
    assert all(known in str(error.value) for known in CHECKPOINTS)


def test_missing_file_is_not_called_a_name():
    with pytest.raises(CheckpointError, match=r"There is no file .*mine\.pth"):
        load_model("weights/mine.pth")


def test_file_of_another_network_is_named(tmp_path):
    torch.save({"conv1.weight": torch.zeros(3, 3)}, tmp_path / "resnet.pth")
    with pytest.raises(
        CheckpointError, match=r"resnet\.pth: These are not the weights of a Segment"
    ):
        load_model(tmp_path / "resnet.pth")


def test_devices_and_precisions_that_are_not_there(monkeypatch):
    with pytest.raises(ValueError, match="no device 'gpu'"):
        load_model("vit_nano", device="gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="'cuda' cannot be used here"):
        load_model("vit_nano", device="cuda")
    with pytest.raises(ValueError, match="no precision 'float8': choose one of 'auto'"):
        load_model("vit_nano", device="cpu", precision="float8")


def test_openvino_without_openvino_names_the_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"napari-sam-tiled\[openvino\]"):
        load_model("vit_nano", device="cpu", precision="openvino")
