"""Reading, finding the variant of, loading, saving and hashing weights."""

import json
import os
import pathlib
import re
from dataclasses import replace

import pytest
import torch
from recipe import TINIEST
from safetensors.torch import load_file, save_file
from sentences import one_sentence

from src_model.errors import CheckpointError
from src_model.sam import build_sam
from src_model.variant_from_weights import find_variant
from src_model.variants import VARIANTS, Variant
from src_model.weight_files import (
    encoder_hash,
    load_weights,
    model_hash,
    read_state_dict,
    read_variant,
    save_checkpoint,
)

TINY = Variant(
    name="tiny",
    image_size=128,
    depth=3,
    embed_dim=32,
    num_heads=2,
    mlp_ratio=2.0,
    window_size=3,
    global_attn_indexes=(1,),
    out_chans=16,
    mask_in_chans=8,
    decoder_depth=1,
    decoder_mlp_dim=24,
    decoder_heads=2,
    iou_head_depth=2,
    iou_head_hidden_dim=20,
    num_multimask_outputs=2,
)
TINY_TINY_VIT = Variant(
    name="tiny_tiny_vit",
    encoder="tiny_vit",
    image_size=128,
    stage_dims=(8, 16, 24, 32),
    stage_depths=(1, 2, 1, 1),
    stage_heads=(1, 2, 3, 4),
    stage_windows=(4, 4, 8, 4),
    out_chans=16,
    decoder_mlp_dim=24,
    iou_head_hidden_dim=20,
)


@pytest.fixture
def sam():
    """Return a network of a few thousand random weights."""
    torch.manual_seed(0)
    return build_sam(TINY)


@pytest.fixture
def other():
    """Return the same network with other weights."""
    torch.manual_seed(1)
    return build_sam(TINY)


def same_weights(one, two):
    first, second = one.state_dict(), two.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


# ---------------------------------------------------------------------------------------- reading


def _plain(state):
    return state


def _micro_sam(state):
    return {
        "model_state": {f"sam.{key}": value for key, value in state.items()},
        "decoder_state": {"out_conv.weight": torch.zeros(2, 2)},
        "epoch": 7,
    }


def _parallel(state):
    return {"model": {f"module.{key}": value for key, value in state.items()}, "optimizer": {}}


@pytest.mark.parametrize("wrap", [_plain, _micro_sam, _parallel])
@pytest.mark.parametrize("new_format", [True, False])
def test_torch_files_of_all_kinds_load(sam, other, tmp_path, wrap, new_format):
    path = tmp_path / "weights.pt"
    torch.save(wrap(sam.state_dict()), path, _use_new_zipfile_serialization=new_format)
    load_weights(other, path)
    assert same_weights(sam, other)
    assert read_variant(path) is None


def test_safetensors_of_others_load(sam, other, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(sam.state_dict(), path)
    load_weights(other, path)
    assert same_weights(sam, other)
    assert read_variant(path) is None


def test_content_decides_not_the_name(sam, other, tmp_path):
    path = tmp_path / "weights.pth"
    save_file(sam.state_dict(), path)
    load_weights(other, path)
    assert same_weights(sam, other)


class Harmful:
    """Pickles to code that creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("new_format", [True, False])
def test_pickled_code_is_refused_and_not_run(sam, tmp_path, new_format):
    trace = tmp_path / "was-run"
    path = tmp_path / "harmful.pt"
    content = {"model_state": sam.state_dict(), "init": Harmful(trace)}
    torch.save(content, path, _use_new_zipfile_serialization=new_format)
    with pytest.raises(CheckpointError) as error:
        read_state_dict(path)
    message = one_sentence(error)
    assert str(path) in message
    assert "contains pickled code (" in message
    assert not trace.exists()
    torch.load(path, weights_only=False)["init"].close()
    assert trace.exists()  # so it would have been


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("keep", [0, 5, 20, 200, 0.5, 0.99])
def test_truncated_file(sam, tmp_path, name, keep):
    path = tmp_path / name
    if name.endswith("safetensors"):
        save_checkpoint(sam, path)
    else:
        torch.save(sam.state_dict(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: keep if isinstance(keep, int) else int(keep * len(whole))])
    with pytest.raises(CheckpointError) as error:
        read_state_dict(path)
    message = one_sentence(error)
    assert str(path) in message
    assert "truncated, damaged" in message


@pytest.mark.parametrize("content", [b"<html>404</html>", b"\x80\x02}junk", b"\x00" * 64])
def test_file_that_is_something_else(tmp_path, content):
    path = tmp_path / "page.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        read_state_dict(path)
    assert "truncated, damaged or not a file of weights" in one_sentence(error)


@pytest.mark.parametrize("content", [[1, 2], {}, {"epoch": 3}, {"a": torch.zeros(1), "b": "text"}])
def test_torch_file_without_weights(tmp_path, content):
    path = tmp_path / "other.pt"
    torch.save(content, path)
    with pytest.raises(CheckpointError) as error:
        read_state_dict(path)
    assert "state dict" in one_sentence(error)


def test_missing_file(tmp_path):
    with pytest.raises(CheckpointError) as error:
        read_state_dict(tmp_path / "absent.pth")
    assert "absent.pth" in one_sentence(error)


# ---------------------------------------------------------------------------------- strict loading


def test_other_architecture_names_keys_and_counts(sam, tmp_path):
    path = tmp_path / "other.safetensors"
    save_checkpoint(build_sam(replace(TINY, depth=4, decoder_mlp_dim=40)), path)
    before = {key: value.clone() for key, value in sam.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        load_weights(sam, path)
    message = one_sentence(error)
    assert "other.safetensors does not fit the variant tiny" in message
    assert "14 keys (image_encoder.blocks.3." in message
    assert "..." in message
    assert "unexpected" in message
    assert "3 keys" in message
    assert "lin1.weight (40x16 instead of 24x16)" in message
    assert "missing" not in message
    assert all(torch.equal(before[key], value) for key, value in sam.state_dict().items())


def test_missing_key(sam, tmp_path):
    state = sam.state_dict()
    del state["mask_decoder.iou_token.weight"]
    torch.save(state, tmp_path / "incomplete.pth")
    with pytest.raises(CheckpointError, match=r"1 key \(mask_decoder\.iou_token\.weight\) missing"):
        load_weights(sam, tmp_path / "incomplete.pth")


# ------------------------------------------------------------------------------------------ saving


@pytest.mark.parametrize("variant", [TINY, TINY_TINY_VIT], ids=lambda variant: variant.name)
def test_save_and_load(variant, tmp_path):
    path = tmp_path / "weights.safetensors"
    saved = build_sam(variant)
    save_checkpoint(saved, path)
    loaded = build_sam(read_variant(path))
    load_weights(loaded, path)
    assert loaded.variant == variant
    assert same_weights(saved, loaded)
    assert [file.name for file in tmp_path.iterdir()] == ["weights.safetensors"]


@pytest.mark.skipif(os.name != "posix", reason="the file modes of POSIX")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640)])
def test_others_may_read_what_the_umask_lets_them(sam, tmp_path, umask, mode):
    path = tmp_path / "weights.safetensors"
    before = os.umask(umask)
    try:
        save_checkpoint(sam, path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode


def test_half_precision_is_half_the_size_and_loads_to_float32(sam, other, tmp_path):
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    save_checkpoint(sam, whole)
    save_checkpoint(sam, half, torch.float16)
    assert {tensor.dtype for tensor in load_file(half).values()} == {torch.float16}
    assert half.stat().st_size < 0.7 * whole.stat().st_size
    load_weights(other, half)
    for key, value in other.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, sam.state_dict()[key].half().float())


def test_counters_stay_integers_in_half_precision(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_checkpoint(build_sam(TINY_TINY_VIT), path, torch.float16)
    counters = [t for key, t in load_file(path).items() if key.endswith("num_batches_tracked")]
    assert counters
    assert all(not tensor.is_floating_point() for tensor in counters)


def test_failed_save_leaves_the_old_file(sam, other, tmp_path, monkeypatch):
    path = tmp_path / "weights.safetensors"
    save_checkpoint(sam, path)

    def full_disk(tensors, file, metadata):
        pathlib.Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full_disk)
    with pytest.raises(CheckpointError) as error:
        save_checkpoint(other, path)
    assert "No space left on device" in one_sentence(error)
    assert [file.name for file in tmp_path.iterdir()] == ["weights.safetensors"]
    load_weights(other, path)
    assert same_weights(sam, other)


def test_save_to_nowhere_or_under_another_suffix(sam, tmp_path):
    with pytest.raises(CheckpointError) as error:
        save_checkpoint(sam, tmp_path / "absent" / "weights.safetensors")
    assert "could not be written" in one_sentence(error)
    with pytest.raises(CheckpointError) as error:
        save_checkpoint(sam, tmp_path / "weights.pth")
    assert ".safetensors" in one_sentence(error)


@pytest.mark.parametrize("text", ["{", '{"colour": 3}', '{"image_size": 100}'])
def test_file_with_a_variant_of_the_future(sam, tmp_path, text):
    path = tmp_path / "weights.safetensors"
    save_file(sam.state_dict(), path, {"variant": text})
    with pytest.raises(CheckpointError) as error:
        read_variant(path)
    assert "cannot build" in one_sentence(error)


# ---------------------------------------------------------------------------------- finding
# variants


def meta_state(variant):
    with torch.device("meta"):
        return build_sam(variant).state_dict()


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_of_the_table_is_found(name):
    assert find_variant(meta_state(name)) is VARIANTS[name]


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h", "vit_t"])
def test_official_shapes_are_found(name, shared):
    shapes = json.loads((shared / "golden/state_dict_shapes.json").read_text())[name]
    state = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    assert find_variant(state) is VARIANTS[name]


def test_golden_tiny_shapes_are_found(shared):
    state = read_state_dict(shared / "golden/tiny_weights.safetensors")
    config = json.loads((shared / "golden/tiny_scene/meta.json").read_text())["config"]
    assert find_variant(state) == Variant(**config | {"decoder_heads": 8})


@pytest.mark.parametrize(
    "variant",
    [
        TINY,
        TINY_TINY_VIT,
        replace(TINY, global_attn_indexes=()),
        replace(TINY, global_attn_indexes=(0, 1, 2), window_size=14),
        replace(VARIANTS["vit_b"], image_size=512),
        replace(VARIANTS["vit_b"], patch_size=8, image_size=256),
    ],
)
def test_dimensions_of_custom_variants_are_found(variant):
    # What leaves no trace in the weights comes from the defaults.
    untraced = {"name": "custom", "decoder_heads": 8}
    if variant.encoder == "tiny_vit":
        untraced["image_size"] = 1024
    assert find_variant(meta_state(variant)) == replace(variant, **untraced)


def test_untraced_fields_come_from_the_table():
    found = find_variant(meta_state(replace(VARIANTS["vit_nano"], name="mine")))
    assert found.image_size == VARIANTS["vit_nano"].image_size


def test_weights_the_default_heads_do_not_fit():
    variant = Variant(image_size=64, depth=1, embed_dim=16, num_heads=1, global_attn_indexes=())
    state = meta_state(replace(variant, out_chans=24, decoder_heads=4))
    with pytest.raises(CheckpointError) as error:
        find_variant(state)
    assert "decoder_heads" in one_sentence(error)


@pytest.mark.parametrize("drop", ["mask_decoder.mask_tokens.weight", "image_encoder.pos_embed"])
def test_other_networks_have_no_variant(drop):
    state = meta_state(TINY)
    del state[drop]
    with pytest.raises(CheckpointError) as error:
        find_variant(state)
    assert "not the weights of a Segment Anything model" in one_sentence(error)


# ----------------------------------------------------------------------------------------- hashing


def test_hash_is_the_weights_and_dimensions(sam, other, tmp_path):
    first = model_hash(sam)
    assert re.fullmatch("[0-9a-f]{64}", first)
    assert model_hash(other) != first
    save_checkpoint(sam, tmp_path / "weights.safetensors")
    load_weights(other, tmp_path / "weights.safetensors")
    assert model_hash(other) == first
    other.variant = replace(TINY, name="another name")
    assert model_hash(other) == first
    other.variant = replace(TINY, decoder_heads=4)
    assert model_hash(other) != first


def test_hash_is_the_same_in_any_precision_and_layout(sam):
    first = model_hash(sam)
    sam.image_encoder.to(torch.bfloat16).to(memory_format=torch.channels_last)
    sam.mask_decoder.to(torch.bfloat16)
    assert model_hash(sam) == first


def test_hashes_stay_those_that_stores_were_written_with():
    sam = build_sam(TINIEST)
    with torch.no_grad():
        for tensor in sam.state_dict().values():
            if tensor.is_floating_point():
                tensor.fill_(0.5)
    assert model_hash(sam).startswith("d0d19f3d2bb843bf5c0774e3e2e45ca1")
    assert encoder_hash(sam).startswith("1c4ac44cce1be6b75d06632e12be8b6b")


def test_hash_sees_a_single_weight(sam):
    first = model_hash(sam)
    with torch.no_grad():
        sam.image_encoder.pos_embed[0, 0, 0, 0] += 0.01
    assert model_hash(sam) != first
