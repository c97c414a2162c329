"""Fine features from the encoder to the decoder: each where it belongs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from recipe import TINIEST
from torch import Tensor
from torch.nn import functional as F

from src_model import Sam, SamPredictor, Variant, build_sam
from src_model.variant_from_weights import find_variant

VARIANT = replace(TINIEST, detail_dim=2)


@pytest.fixture
def sam() -> Sam:
    torch.manual_seed(0)
    return build_sam(VARIANT).eval()


def click(sam: Sam, embedding: Tensor) -> Tensor:
    """Return all masks of one click, (4, 32, 32)."""
    points = torch.tensor([[[60.0, 70.0]]]), torch.ones(1, 1)
    pe = sam.prompt_encoder.get_dense_pe()
    prompts = sam.prompt_encoder(points, None, None)
    return sam.mask_decoder.predict_masks(embedding, pe, *prompts)[0][0]


def test_a_fine_feature_changes_its_own_pixel(sam: Sam) -> None:
    assert VARIANT.embedding_shape == (16 + 16 * 2, 8, 8)
    embedding = torch.randn(1, 16, 8, 8)
    fine = torch.zeros(1, 2, 32, 32)
    with torch.no_grad():
        before = click(sam, torch.cat([embedding, F.pixel_unshuffle(fine, 4)], dim=1))
        fine[0, :, 13, 22] = 5.0
        after = click(sam, torch.cat([embedding, F.pixel_unshuffle(fine, 4)], dim=1))
    changed = (before - after).abs().amax(dim=0) > 1e-4
    assert torch.nonzero(changed).tolist() == [[13, 22]]


def test_the_encoder_sees_the_place_of_an_edge_in_them(sam: Sam) -> None:
    """Where two frames differ in a few pixels, fine features differ around these most."""
    frame = torch.randn(1, 3, 128, 128)
    other = frame.clone()
    other[..., 40:44, 80:84] += 3.0
    with torch.no_grad():
        pair = [F.pixel_shuffle(sam.image_encoder(x)[:, 16:], 4) for x in (frame, other)]
    difference = (pair[0] - pair[1])[0].abs().sum(dim=0)
    row, col = divmod(int(difference.argmax()), 32)
    assert abs(row - 10) <= 1
    assert abs(col - 20) <= 1


def test_a_stored_embedding_has_them(sam: Sam) -> None:
    image = np.random.default_rng(0).integers(0, 256, (100, 128, 3), dtype=np.uint8)
    first, second = SamPredictor(sam), SamPredictor(sam)
    first.set_image(image)
    embedding = first.get_image_embedding()
    assert embedding.shape == (1, *VARIANT.embedding_shape)
    second.set_embedding(embedding.numpy(), (100, 128))
    prompt = {"point_coords": np.array([[50, 60]]), "point_labels": np.array([1])}
    for one, other in zip(first.predict(**prompt), second.predict(**prompt), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match=r"\(1, 48, 8, 8\) or \(48, 8, 8\)"):
        second.set_embedding(embedding[:, :16].numpy(), (100, 128))


def test_the_variant_is_found_from_weights_with_them() -> None:
    assert find_variant(build_sam(VARIANT).state_dict()).detail_dim == 2
    without = build_sam(replace(VARIANT, detail_dim=0))
    assert find_variant(without.state_dict()).detail_dim == 0


def test_a_plain_vit_has_none() -> None:
    with pytest.raises(ValueError, match="detail_dim needs a tiny_vit encoder"):
        Variant(detail_dim=4)
