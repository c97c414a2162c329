"""Our network against recorded outputs: the official implementation's, and our own small ones.

The small file in tests/data was recorded by `python tests/src_model/test_golden.py` after the
network had matched the official recordings; it protects a checkout that has no ../shared.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from recipe import SMALL_TINY_VIT, SMALL_VIT, load_seeded_weights, made_image
from safetensors.torch import load_file
from skimage import io

from src_model import VARIANTS, Sam, SamPredictor, Variant, build_sam
from src_model.sam import sam_model_registry

OWN_GOLDEN = Path(__file__).resolve().parents[1] / "data" / "small_golden.npz"
OWN_PROMPTS = {
    "point": {"point_coords": [[30.0, 40.0]], "point_labels": [1]},
    "two_points": {"point_coords": [[30.0, 40.0], [70.0, 20.0]], "point_labels": [1, 0]},
    "box": {"box": [10.0, 15.0, 60.0, 66.0]},
    "box_point": {
        "box": [10.0, 15.0, 60.0, 66.0],
        "point_coords": [[30.0, 40.0]],
        "point_labels": [1],
    },
}
FOLDERS = (
    "tiny_scene",
    "tiny_scene_wide",
    "tiny_scene_tall",
    "tiny_coffee",
    "vit_b_seed11",
    "vit_t_seed11",
)


def assert_close(ours: NDArray, golden: NDArray, tolerance: float = 1e-3) -> None:
    """Agree within ``tolerance`` of the largest magnitude."""
    ours = ours.reshape(golden.shape)
    assert np.abs(ours - golden).max() <= tolerance * np.abs(golden).max()


def official_model(folder: Path, meta: dict) -> Sam:
    if "config" not in meta:
        return load_seeded_weights(sam_model_registry[meta["model"]](checkpoint=None))
    sam = build_sam(Variant(**meta["config"]))
    sam.load_state_dict(load_file(folder.parent / "tiny_weights.safetensors"), strict=True)
    return sam


@pytest.mark.parametrize("name", FOLDERS)
def test_network_equals_the_official_one(shared: Path, name: str) -> None:
    folder = shared / "golden" / name
    meta = json.loads((folder / "meta.json").read_text())
    golden = np.load(folder / "outputs.npz")
    sam = official_model(folder, meta)
    predictor = SamPredictor(sam)
    image = io.imread(folder / "image.png")[..., :3]
    predictor.set_image(image)

    resized = torch.as_tensor(predictor.transform.apply_image(image)).permute(2, 0, 1)
    model_input = sam.preprocess(resized)[..., ::4, ::4].numpy()
    np.testing.assert_allclose(
        model_input.reshape(golden["model_input"].shape), golden["model_input"], atol=1e-4
    )
    thin = 1 if "config" in meta else 8
    assert_close(predictor.get_image_embedding()[:, ::thin].numpy(), golden["embedding"])
    with torch.no_grad():
        assert_close(sam.prompt_encoder.get_dense_pe()[:, ::thin].numpy(), golden["dense_pe"])

    for prompt_name, prompt in meta["prompts"].items():
        given = {k: np.array(v) for k, v in prompt.items() if k != "mask_input"}
        modes = ["multi", "single"]
        if "mask_input" in prompt:
            side = golden["point_single_low_res"].shape[-1]
            given["mask_input"] = golden["point_single_low_res"].reshape(1, side, side)
            modes = ["single"]
        for mode in modes:
            masks, iou, low_res = predictor.predict(**given, multimask_output=mode == "multi")
            key = f"{prompt_name}_{mode}"
            expected = golden[f"{key}_low_res"]
            if expected.size != low_res.size:
                low_res = low_res[..., ::4, ::4]
            assert_close(low_res, expected)
            np.testing.assert_allclose(iou, golden[f"{key}_iou"].reshape(iou.shape), atol=1e-3)
            expected_masks = np.unpackbits(golden[f"{key}_masks"], axis=-1)[..., : masks.shape[-1]]
            assert (masks == expected_masks.reshape(masks.shape)).mean() >= 0.999


def test_bfloat16_keeps_the_official_embedding(shared: Path) -> None:
    folder = shared / "golden" / "vit_b_seed11"
    golden = np.load(folder / "outputs.npz")["embedding"]
    sam = load_seeded_weights(build_sam("vit_b")).set_precision(torch.bfloat16)
    predictor = SamPredictor(sam)
    predictor.set_image(io.imread(folder / "image.png")[..., :3])
    ours = predictor.get_image_embedding()[:, ::8].numpy()
    assert np.corrcoef(ours.ravel(), golden.ravel())[0, 1] > 0.999


@pytest.mark.parametrize("name", ["tiny", "vit_b", "vit_l", "vit_h", "vit_t"])
def test_keys_and_shapes_are_the_official_ones(shared: Path, name: str) -> None:
    shapes = json.loads((shared / "golden" / "state_dict_shapes.json").read_text())[name]
    variant: Variant | str = name
    if name == "tiny":
        meta = json.loads((shared / "golden" / "tiny_scene" / "meta.json").read_text())
        variant = Variant(**meta["config"])
    with torch.device("meta"):
        state = build_sam(variant).state_dict()
    assert {key: list(value.shape) for key, value in state.items()} == shapes


# sha256 of the official keys and shapes as JSON with sorted keys, for checkouts without ../shared.
OFFICIAL_SHAPES = {
    "vit_b": "8a64b270d5c3416177f231e73b4a4db65f984aa0c688f1ad448411349f495ded",
    "vit_l": "ac053a817c4cfe40b3446c928da12cf53af1d2e1796a91e937b0fd799d2357bb",
    "vit_h": "2331ced78206ca0200deb10080ca1fef8c634c9d775adc6fd4188165df25ac93",
    "vit_t": "883493b966bc5088b0c92145e16a76521bd1099077b376582ab0d1da07fc2ba9",
}


@pytest.mark.parametrize("name", OFFICIAL_SHAPES)
def test_keys_and_shapes_have_the_official_hash(name: str) -> None:
    with torch.device("meta"):
        state = build_sam(name).state_dict()
    shapes = json.dumps({k: list(v.shape) for k, v in state.items()}, sort_keys=True)
    assert hashlib.sha256(shapes.encode()).hexdigest() == OFFICIAL_SHAPES[name]


def own_outputs(variant: Variant) -> dict[str, NDArray]:
    """Return everything recorded of one small model."""
    predictor = SamPredictor(load_seeded_weights(build_sam(variant)))
    predictor.set_image(made_image(80, 100))
    outputs = {"embedding": predictor.get_image_embedding().numpy()}
    for name, prompt in OWN_PROMPTS.items():
        given = {k: np.array(v) for k, v in prompt.items()}
        for multimask in (True, False):
            masks, iou, low_res = predictor.predict(**given, multimask_output=multimask)
            key = f"{name}_{'multi' if multimask else 'single'}"
            outputs |= {f"{key}_iou": iou, f"{key}_low_res": low_res}
            outputs[f"{key}_masks"] = np.packbits(masks, axis=-1)
        given["mask_input"] = low_res
        outputs[f"{name}_fed_back_low_res"] = predictor.predict(**given)[2]
    return outputs


@pytest.mark.parametrize("variant", [SMALL_VIT, SMALL_TINY_VIT], ids=lambda v: v.name)
def test_network_equals_its_small_recording(variant: Variant) -> None:
    golden = np.load(OWN_GOLDEN)
    for key, ours in own_outputs(variant).items():
        expected = golden[f"{variant.name}/{key}"]
        if key.endswith("_masks"):
            differing = np.unpackbits(ours ^ expected).mean()
            assert differing <= 0.001, key
        else:
            assert_close(ours, expected)


def test_every_variant_of_the_table_builds() -> None:
    with torch.device("meta"):
        for name, variant in VARIANTS.items():
            assert build_sam(name).variant == variant


if __name__ == "__main__":
    recorded = {
        f"{variant.name}/{key}": value
        for variant in (SMALL_VIT, SMALL_TINY_VIT)
        for key, value in own_outputs(variant).items()
    }
    OWN_GOLDEN.parent.mkdir(exist_ok=True)
    np.savez_compressed(OWN_GOLDEN, **recorded)
