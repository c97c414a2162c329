"""The mask decoder: the same answers however the work is cut, and nothing overwritten."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from recipe import TINIEST
from torch import Tensor

from src_model import mask_decoder, transformer
from src_model.sam import Sam, build_sam


@pytest.fixture(
    scope="module",
    params=[(0, 0), (3, 0), (3, 4)],
    ids=["plain", "with fine features", "with refinement"],
)
def sam(request: pytest.FixtureRequest) -> Sam:
    """Return a small model with random weights."""
    torch.manual_seed(7)
    detail, refine = request.param
    small = replace(TINIEST, out_chans=32, decoder_heads=4, detail_dim=detail, refine_dim=refine)
    sam = build_sam(small)
    if sam.mask_decoder.refinement is not None:  # as after training
        torch.nn.init.normal_(sam.mask_decoder.refinement.second.weight)
    return sam


@pytest.fixture(params=["one image", "an image for each prompt", "mask prompts"])
def prompts(request: pytest.FixtureRequest, sam: Sam) -> dict[str, Tensor]:
    """Return the decoder's arguments for five clicks."""
    draw = torch.Generator().manual_seed(1)
    points = 128 * torch.rand(5, 1, 2, generator=draw)
    images = 5 if request.param == "an image for each prompt" else 1
    masks = None
    if request.param == "mask prompts":
        size = sam.prompt_encoder.mask_input_size
        masks = torch.randn(5, 1, *size, generator=draw)
    with torch.no_grad():
        sparse, dense = sam.prompt_encoder((points, torch.ones(5, 1)), None, masks)
        return {
            "image_embeddings": torch.randn(images, *sam.variant.embedding_shape, generator=draw),
            "image_pe": sam.prompt_encoder.get_dense_pe(),
            "sparse_prompt_embeddings": sparse,
            "dense_prompt_embeddings": dense,
        }


@pytest.fixture(params=[False, True], ids=["whole", "in small parts"])
def small_parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Let the work be cut so small that five prompts and 64 positions make several parts."""
    if request.param:
        monkeypatch.setattr(mask_decoder, "_CHUNK_BYTES", 2 * 64 * 32 * 4)
        for module in (mask_decoder, transformer):
            monkeypatch.setattr(module, "BLOCK_BYTES", 24 * 32 * 4)
    return bool(request.param)


@pytest.mark.usefixtures("small_parts")
class TestPredictMasks:
    @pytest.mark.parametrize("multimask", [True, False])
    def test_same_without_gradients(
        self, sam: Sam, prompts: dict[str, Tensor], multimask: bool
    ) -> None:
        masks, iou = sam.mask_decoder(**prompts, multimask_output=multimask)
        assert masks.requires_grad
        with torch.no_grad():
            again, iou_again = sam.mask_decoder(**prompts, multimask_output=multimask)
        assert masks.shape == (5, 3 if multimask else 1, 32, 32)
        torch.testing.assert_close(again, masks, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(iou_again, iou, atol=1e-5, rtol=1e-4)

    def test_arguments_stay_as_they_are(self, sam: Sam, prompts: dict[str, Tensor]) -> None:
        before = {name: tensor.clone() for name, tensor in prompts.items()}
        with torch.no_grad():
            sam.mask_decoder.predict_masks(**prompts)
        for name, tensor in prompts.items():
            assert torch.equal(tensor, before[name]), name

    def test_each_prompt_by_itself(self, sam: Sam, prompts: dict[str, Tensor]) -> None:
        with torch.no_grad():
            masks, iou = sam.mask_decoder.predict_masks(**prompts)
            for i in range(5):
                one = {n: t if len(t) == 1 else t[i : i + 1] for n, t in prompts.items()}
                mask, one_iou = sam.mask_decoder.predict_masks(**one)
                torch.testing.assert_close(mask[0], masks[i], atol=1e-5, rtol=1e-4)
                torch.testing.assert_close(one_iou[0], iou[i], atol=1e-5, rtol=1e-4)


@pytest.mark.usefixtures("small_parts")
class TestPredictGoodMasks:
    @pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 1.0])
    def test_those_above_the_threshold(
        self, sam: Sam, prompts: dict[str, Tensor], share: float
    ) -> None:
        with torch.no_grad():
            masks, iou = sam.mask_decoder(**prompts, multimask_output=True)
            # Between two of the values, so that rounding decides nothing.
            ranked = torch.cat([iou.flatten(), iou.new_tensor([-9.0, 9.0])]).sort().values
            place = round((1 - share) * 15)
            threshold = float(ranked[place : place + 2].mean())
            found, found_iou, which = sam.mask_decoder.predict_good_masks(
                **prompts, iou_thresh=threshold
            )
        good = iou > threshold
        assert len(found) == good.sum() == round(share * 15)
        torch.testing.assert_close(found, masks[good], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(found_iou, iou[good], atol=1e-5, rtol=1e-4)
        which[:, 1] -= 1  # the single mask is number 0
        assert torch.equal(which, torch.nonzero(good))

    def test_draws_only_where_a_mask_is_good(
        self, sam: Sam, prompts: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        drawn = []
        upscale = sam.mask_decoder._upscale

        def counting(attended: mask_decoder._Attended, *others: Tensor) -> Tensor:
            drawn.append(attended.pixels.shape[0] * attended.pixels.shape[1])
            return upscale(attended, *others)

        monkeypatch.setattr(sam.mask_decoder, "_upscale", counting)
        with torch.no_grad():
            _, iou = sam.mask_decoder(**prompts, multimask_output=True)
            assert sum(drawn) == 5 * 64
            drawn.clear()
            best = iou.amax(dim=1).sort().values
            sam.mask_decoder.predict_good_masks(**prompts, iou_thresh=float(best[2:4].mean()))
        assert sum(drawn) == 2 * 64


def test_gradients_are_those_of_a_plain_sum(sam: Sam, prompts: dict[str, Tensor]) -> None:
    """In-place steps in the transformer must not reach what the backward pass needs."""
    embedding = prompts["image_embeddings"].double().requires_grad_()
    decoder = build_sam(sam.variant).double().mask_decoder
    arguments = {name: tensor.double() for name, tensor in prompts.items()}

    def loss(embedding: Tensor) -> Tensor:
        masks, iou = decoder.predict_masks(**{**arguments, "image_embeddings": embedding})
        return masks.square().mean() + iou.sum()

    (gradient,) = torch.autograd.grad(loss(embedding), embedding)
    direction = torch.randn(embedding.shape, dtype=torch.double)
    step = 1e-3
    with torch.no_grad():
        rise = loss(embedding + step * direction) - loss(embedding - step * direction)
    torch.testing.assert_close(
        (gradient * direction).sum(), rise.double() / (2 * step), atol=1e-4, rtol=2e-2
    )
