"""What scripts written for the published API rely on."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from recipe import SMALL_TINY_VIT, SMALL_VIT, load_seeded_weights, made_image

from src_model import Sam, SamPredictor, Variant, build_sam, sam_model_registry
from src_model.utils.transforms import ResizeLongestSide


@pytest.fixture(scope="module")
def sam() -> Sam:
    return load_seeded_weights(build_sam(SMALL_VIT))


@pytest.fixture
def predictor(sam: Sam) -> SamPredictor:
    predictor = SamPredictor(sam)
    predictor.set_image(made_image(80, 100))
    return predictor


def test_registry_has_the_published_names() -> None:
    assert set(sam_model_registry) >= {"default", "vit_h", "vit_l", "vit_b", "vit_t", "vit_nano"}


def test_many_prompts_at_once_equal_one_by_one(predictor: SamPredictor) -> None:
    points = np.array([[30.0, 40.0], [5.0, 5.0], [90.0, 70.0], [50.0, 10.0], [0.0, 79.0]])
    frame = predictor.transform.apply_coords(points, predictor.original_size)
    coords = torch.as_tensor(frame, dtype=torch.float)[:, None]
    together, iou, _ = predictor.predict_torch(coords, torch.ones(5, 1), return_logits=True)
    for i, point in enumerate(points):
        alone, alone_iou, _ = predictor.predict(point[None], np.array([1]), return_logits=True)
        np.testing.assert_allclose(together[i].numpy(), alone, atol=1e-4)
        np.testing.assert_allclose(iou[i].numpy(), alone_iou, atol=1e-5)


def test_many_mask_prompts_at_once_equal_one_by_one(predictor: SamPredictor) -> None:
    rng = np.random.default_rng(0)
    masks = rng.normal(0, 4, (3, 1, 32, 32)).astype(np.float32)
    points = np.array([[30.0, 40.0], [5.0, 5.0], [90.0, 70.0]])
    frame = predictor.transform.apply_coords(points, predictor.original_size)
    coords = torch.as_tensor(frame, dtype=torch.float)[:, None]
    together, _, _ = predictor.predict_torch(
        coords, torch.ones(3, 1), mask_input=torch.as_tensor(masks), return_logits=True
    )
    for i, point in enumerate(points):
        alone, _, _ = predictor.predict(
            point[None], np.array([1]), mask_input=masks[i], return_logits=True
        )
        np.testing.assert_allclose(together[i].numpy(), alone, atol=1e-4)


def test_forward_equals_predictor(sam: Sam, predictor: SamPredictor) -> None:
    image = made_image(80, 100)
    transform = ResizeLongestSide(sam.image_encoder.img_size)
    box = np.array([[10.0, 15.0, 60.0, 66.0], [0.0, 0.0, 20.0, 20.0]])
    record = {
        "image": torch.as_tensor(transform.apply_image(image)).permute(2, 0, 1),
        "original_size": (80, 100),
        "boxes": transform.apply_boxes_torch(torch.as_tensor(box), (80, 100)),
    }
    outputs = sam([record, record], multimask_output=False)
    assert len(outputs) == 2
    assert outputs[1]["masks"].shape == (2, 1, 80, 100)
    for i in range(2):
        masks, iou, low_res = predictor.predict(box=box[i], multimask_output=False)
        np.testing.assert_array_equal(outputs[1]["masks"][i].numpy(), masks)
        np.testing.assert_allclose(outputs[1]["iou_predictions"][i].numpy(), iou, atol=1e-5)
        np.testing.assert_allclose(outputs[1]["low_res_logits"][i].numpy(), low_res, atol=1e-4)


def test_gradients_reach_every_part(sam: Sam) -> None:
    sam = load_seeded_weights(build_sam(SMALL_VIT)).train()
    embedding = sam.image_encoder(torch.randn(1, 3, 128, 128))
    sparse, dense = sam.prompt_encoder(
        (torch.rand(5, 2, 2) * 128, torch.tensor([[1, 0]] * 5)), None, torch.randn(5, 1, 32, 32)
    )
    masks, iou = sam.mask_decoder(
        image_embeddings=embedding,
        image_pe=sam.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=True,
    )
    (masks.square().mean() + iou.square().mean()).backward()
    without = {name for name, p in sam.named_parameters() if p.grad is None or not p.grad.any()}
    # Keys' biases cancel in every softmax; the others belong to prompts not given here.
    expected_without = {"prompt_encoder.point_embeddings.2", "prompt_encoder.point_embeddings.3"}
    unexpected = {
        name
        for name in without
        if name.rsplit(".", 1)[0] not in expected_without
        and not name.endswith("k_proj.bias")
        and "no_mask_embed" not in name
        and "hypernetworks_mlps.0" not in name
    }
    assert not unexpected


@pytest.mark.parametrize("variant", [SMALL_VIT, SMALL_TINY_VIT], ids=lambda v: v.name)
def test_bfloat16_stays_close_and_gives_float32(variant: Variant) -> None:
    image = made_image(80, 100)
    exact = SamPredictor(load_seeded_weights(build_sam(variant)))
    rounded = SamPredictor(load_seeded_weights(build_sam(variant)).set_precision(torch.bfloat16))
    for predictor in (exact, rounded):
        predictor.set_image(image)
    a, b = exact.get_image_embedding(), rounded.get_image_embedding()
    assert b.dtype == torch.float32
    assert np.corrcoef(a.flatten(), b.flatten())[0, 1] > 0.999
    low_res = [p.predict(np.array([[30, 40]]), np.array([1]))[2] for p in (exact, rounded)]
    assert low_res[1].dtype == np.float32
    assert np.corrcoef(low_res[0].ravel(), low_res[1].ravel())[0, 1] > 0.99


def test_bgr_is_turned(sam: Sam) -> None:
    predictor, image = SamPredictor(sam), made_image(40, 60)
    predictor.set_image(image)
    rgb = predictor.get_image_embedding()
    predictor.set_image(image[..., ::-1], image_format="BGR")
    torch.testing.assert_close(predictor.get_image_embedding(), rgb)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 2)])
def test_images_of_a_pixel_or_a_line(sam: Sam, shape: tuple[int, int]) -> None:
    predictor = SamPredictor(sam)
    predictor.set_image(made_image(*shape))
    masks, _, _ = predictor.predict(np.array([[0, 0]]), np.array([1]))
    assert masks.shape == (3, *shape)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"point_coords": [[1, 2]]}, "point_labels are missing"),
        ({"point_coords": [1, 2], "point_labels": [1]}, "shape"),
        ({"point_coords": [[1, 2]], "point_labels": [1, 0]}, "shape"),
        ({"box": [1, 2, 3]}, "4 numbers"),
        ({"mask_input": np.zeros((1, 5, 5))}, r"\(1, 32, 32\)"),
    ],
)
def test_bad_prompts_are_named(predictor: SamPredictor, arguments: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        predictor.predict(**arguments)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((10, 10, 3), np.float32),
        np.zeros((0, 10, 3), np.uint8),
    ],
)
def test_bad_images_are_named(sam: Sam, image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="image"):
        SamPredictor(sam).set_image(image)


def test_predicting_without_an_image_is_an_error(sam: Sam) -> None:
    predictor = SamPredictor(sam)
    with pytest.raises(RuntimeError, match="set_image"):
        predictor.predict(np.array([[1, 2]]), np.array([1]))
    predictor.set_image(made_image(20, 20))
    predictor.reset_image()
    with pytest.raises(RuntimeError, match="set_image"):
        predictor.get_image_embedding()


@pytest.mark.parametrize("shape", [(80, 100), (300, 7), (1, 1), (128, 128)])
def test_an_embedding_computed_before_gives_the_same_masks(
    sam: Sam, shape: tuple[int, int]
) -> None:
    predictor, later = SamPredictor(sam), SamPredictor(sam)
    predictor.set_image(made_image(*shape))
    embedding, size = predictor.get_image_embedding(), predictor.original_size
    prompts = {"point_coords": np.array([[2.0, 5.0]]), "point_labels": np.array([1])}
    box = np.array([0.0, 0.0, 6.0, 60.0])
    expected = predictor.predict(**prompts, box=box, return_logits=True)
    read_only = embedding[0].numpy().copy()
    read_only.flags.writeable = False
    for given in (embedding, embedding[0], read_only, embedding.double()):
        later.set_image(made_image(20, 30))  # of which nothing must stay
        later.set_embedding(given, list(size))
        assert (later.is_image_set, later.original_size) == (True, size)
        assert later.input_size == predictor.input_size
        for one, other in zip(
            later.predict(**prompts, box=box, return_logits=True), expected, strict=True
        ):
            np.testing.assert_array_equal(one, other)


def test_setting_an_embedding_copies_nothing(predictor: SamPredictor, sam: Sam) -> None:
    embedding = predictor.get_image_embedding()
    other = SamPredictor(sam)
    for given in (embedding, embedding[0]):
        other.set_embedding(given, predictor.original_size)
        assert other.get_image_embedding().data_ptr() == embedding.data_ptr()


@pytest.mark.parametrize(
    ("shape", "dtype", "size", "sentence"),
    [
        ((1, 32, 8, 4), torch.float32, (80, 100), r"\(1, 32, 8, 4\).*the model that made it"),
        ((2, 32, 8, 8), torch.float32, (80, 100), r"\(32, 8, 8\)"),
        ((16, 8, 8), torch.float32, (80, 100), r"\(16, 8, 8\)"),
        ((32, 8, 8), torch.int64, (80, 100), "float type"),
        ((32, 8, 8), torch.float32, (80,), "height and width"),
        ((32, 8, 8), torch.float32, (80.0, 100.0), "height and width"),
        ((32, 8, 8), torch.float32, (80, 0), "height and width"),
        ((32, 8, 8), torch.float32, (80, 100, 3), "height and width"),
    ],
)
def test_bad_embeddings_are_named(
    predictor: SamPredictor,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    size: tuple,
    sentence: str,
) -> None:
    before = predictor.get_image_embedding()
    with pytest.raises(ValueError, match=sentence):
        predictor.set_embedding(torch.zeros(shape, dtype=dtype), size)
    assert predictor.get_image_embedding() is before


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"embed_dim": 100, "num_heads": 12}, "num_heads"),
        ({"image_size": 1000}, "patch_size"),
        ({"global_attn_indexes": (12,)}, "global_attn_indexes"),
        ({"encoder": "resnet"}, "encoder"),
        ({"encoder": "tiny_vit", "stage_dims": (1, 2, 3)}, "4 entries"),
        ({"out_chans": 20}, "out_chans"),
        ({"mask_in_chans": 6}, "mask_in_chans"),
    ],
)
def test_impossible_dimensions_are_named(fields: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Variant(**fields)


def test_a_variant_survives_json() -> None:
    assert Variant(**json.loads(json.dumps(SMALL_TINY_VIT.to_dict()))) == SMALL_TINY_VIT


def test_batch_normalisation_is_never_rounded() -> None:
    exact = load_seeded_weights(build_sam(SMALL_TINY_VIT))
    rounded = load_seeded_weights(build_sam(SMALL_TINY_VIT)).set_precision(torch.bfloat16)
    state = rounded.state_dict()
    kept = [key for key in state if ".bn." in key]
    assert kept
    for key in kept:
        torch.testing.assert_close(state[key], exact.state_dict()[key], rtol=0, atol=0)
