"""The automatic mask generator: against recorded runs, a plain full-size one, and on its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from src_model.automatic import MaskRecord, SamAutomaticMaskGenerator
from src_model.masks import batched_mask_to_box, box_nms, calculate_stability_score
from src_model.predictor import SamPredictor
from src_model.rle import area_from_rle, coco_decode_rle, rle_to_mask
from src_model.sam import Sam, build_sam
from src_model.utils.amg import build_point_grid
from src_model.variants import Variant

GOLDEN = ("tiny_scene", "tiny_scene_tall", "tiny_scene_wide")


@pytest.fixture(scope="module")
def sam() -> Sam:
    """Return a small model with random weights."""
    torch.manual_seed(3)
    small = Variant(
        image_size=128,
        depth=1,
        embed_dim=16,
        num_heads=2,
        out_chans=32,
        global_attn_indexes=(0,),
    )
    return build_sam(small)


@pytest.fixture(scope="module")
def image() -> NDArray[np.uint8]:
    """Return a wide image of noise in large blocks."""
    blocks = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    return np.kron(blocks, np.ones((12, 12, 1), np.uint8))


class DiscGenerator(SamAutomaticMaskGenerator):
    """A generator whose network answers a click with three ragged discs around it.

    A network with random weights answers every click with much the same masks over the whole image.
    """

    def discs(self, in_frame: NDArray[np.floating]) -> tuple[torch.Tensor, torch.Tensor]:
        feature = self.predictor.get_image_embedding()[0, 0]
        low = torch.nn.functional.interpolate(feature[None, None], scale_factor=4)[0, 0]
        y, x = torch.meshgrid(torch.arange(len(low)), torch.arange(len(low)), indexing="ij")
        clicks = torch.from_numpy(in_frame).float()[:, None, :, None, None] / 4
        distance = torch.hypot(x - clicks[:, :, 0], y - clicks[:, :, 1])
        logits = torch.tensor([1.5, 3.0, 9.0])[:, None, None] - distance + 2 * low.sin() * x.sin()
        ious = 0.7 + 0.3 * logits.mean(dim=(2, 3)).mul(50).sin()
        return logits, ious

    def _decode(
        self, in_frame: NDArray[np.floating]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        logits, ious = self.discs(in_frame)
        good = ious > (self.pred_iou_thresh or -torch.inf)
        return logits[good], ious[good], torch.nonzero(good)[:, 0]


def _generator(sam: Sam, **changes: Any) -> SamAutomaticMaskGenerator:
    settings: dict[str, Any] = {
        "points_per_side": 5,
        "points_per_batch": 7,
        "pred_iou_thresh": 0.5,
        "stability_score_thresh": 0.4,
        "output_mode": "uncompressed_rle",
    }
    return DiscGenerator(sam, **(settings | changes))


class TestGolden:
    @pytest.mark.parametrize("name", GOLDEN)
    @pytest.mark.parametrize("run", ["grid16", "grid16_crops"])
    def test_records_are_the_recorded_ones(self, shared: Path, name: str, run: str) -> None:
        imread = pytest.importorskip("skimage.io").imread
        load_file = pytest.importorskip("safetensors.torch").load_file
        folder = shared / "golden" / name
        sam = build_sam(Variant(**json.loads((folder / "meta.json").read_text())["config"]))
        sam.load_state_dict(load_file(shared / "golden" / "tiny_weights.safetensors"))
        golden = json.loads((folder / "automatic.json").read_text())[run]
        generator = SamAutomaticMaskGenerator(
            sam, output_mode="uncompressed_rle", **golden["settings"]
        )
        records = generator.generate(imread(folder / "image.png")[..., :3])
        assert len(records) == len(golden["records"])
        for ours, theirs in zip(records, golden["records"], strict=True):
            np.testing.assert_allclose(ours["point_coords"], theirs["point_coords"])
            assert ours["crop_box"] == theirs["crop_box"]
            np.testing.assert_allclose(ours["bbox"], theirs["bbox"], atol=1)
            assert ours["area"] == pytest.approx(theirs["area"], rel=0.005)
            assert ours["predicted_iou"] == pytest.approx(theirs["predicted_iou"], abs=1e-3)
            assert ours["stability_score"] == pytest.approx(theirs["stability_score"], abs=5e-3)
            overlap = _mask(ours) ^ _mask(theirs)
            assert overlap.mean() < 0.001


class TestRecords:
    def test_equal_to_working_at_full_size(self, sam: Sam, image: NDArray[np.uint8]) -> None:
        generator = _generator(sam)
        predictor = generator.predictor
        predictor.set_image(image)
        points = build_point_grid(5) * image.shape[1::-1]
        coords = predictor.transform.apply_coords(points, (72, 108))
        low_res, ious = generator.discs(coords)
        logits = sam.postprocess_masks(low_res, (85, 128), (72, 108)).flatten(0, 1)
        ious = ious.flatten()
        stability = calculate_stability_score(logits, 0.0, 1.0)
        good = torch.nonzero((ious > 0.5) & (stability >= 0.4)).squeeze(1)
        boxes = batched_mask_to_box(logits[good] > 0)
        kept = good[torch.from_numpy(box_nms(boxes.numpy(), ious[good].numpy(), 0.7))]
        assert 10 < len(kept) < len(good) < len(logits)

        records = generator.generate(image)
        assert len(records) == len(kept)
        for record, index in zip(records, kept.tolist(), strict=True):
            np.testing.assert_array_equal(_mask(record), (logits[index] > 0).numpy())
            assert record["predicted_iou"] == pytest.approx(ious[index].item(), abs=1e-5)
            assert record["stability_score"] == pytest.approx(stability[index].item(), abs=1e-3)
            np.testing.assert_allclose(record["point_coords"], [points[index // 3]])

    def test_clicks_reach_the_network(self, sam: Sam, image: NDArray[np.uint8]) -> None:
        predictor = SamPredictor(sam)
        predictor.set_image(image)
        points = build_point_grid(2) * image.shape[1::-1]
        coords = torch.from_numpy(predictor.transform.apply_coords(points, (72, 108))).float()
        masks, ious, _ = predictor.predict_torch(coords[:, None], torch.ones(4, 1))
        records = SamAutomaticMaskGenerator(
            sam,
            points_per_side=2,
            points_per_batch=3,
            pred_iou_thresh=0,
            stability_score_thresh=0,
            box_nms_thresh=1.0,
        ).generate(image)
        assert len(records) == 12
        order = ious.flatten().argsort(descending=True, stable=True).tolist()
        for record, index in zip(records, order, strict=True):
            assert record["predicted_iou"] == pytest.approx(ious.flatten()[index].item(), abs=1e-5)
            assert record["point_coords"] == [points[index // 3].tolist()]
            np.testing.assert_array_equal(record["segmentation"], masks.flatten(0, 1)[index])

    @pytest.mark.parametrize("layers", [0, 1])
    def test_fields_agree_with_the_mask(
        self, sam: Sam, image: NDArray[np.uint8], layers: int
    ) -> None:
        height, width = image.shape[:2]
        records = _generator(sam, crop_n_layers=layers).generate(image)
        assert records
        for record in records:
            mask = _mask(record)
            assert mask.shape == (height, width)
            assert record["area"] == mask.sum() > 0
            x0, y0, x1, y1 = batched_mask_to_box(torch.from_numpy(mask.copy())).tolist()
            assert record["bbox"] == [x0, y0, x1 - x0, y1 - y0]
            left, top, crop_width, crop_height = record["crop_box"]
            inside = np.zeros((height, width), bool)
            inside[top : top + crop_height, left : left + crop_width] = True
            assert not (mask & ~inside).any()
            ((x, y),) = record["point_coords"]
            assert inside[int(y), int(x)]
            assert 0.4 <= record["stability_score"] <= 1

    def test_crops_find_more(self, sam: Sam, image: NDArray[np.uint8]) -> None:
        crops = {
            tuple(record["crop_box"])
            for record in _generator(sam, crop_n_layers=1, crop_nms_thresh=1.0).generate(image)
        }
        assert (0, 0, 108, 72) in crops
        assert len(crops) > 1

    def test_no_small_regions_are_left(self, sam: Sam, image: NDArray[np.uint8]) -> None:
        ndimage = pytest.importorskip("scipy.ndimage")
        before = _generator(sam).generate(image)
        after = _generator(sam, min_mask_region_area=40).generate(image)
        assert any(_smallest_region(ndimage, record) < 40 for record in before)
        assert after
        assert all(_smallest_region(ndimage, record) >= 40 for record in after)

    def test_output_modes_agree(self, sam: Sam, image: NDArray[np.uint8]) -> None:
        plain = _generator(sam).generate(image)
        binary = _generator(sam, output_mode="binary_mask").generate(image)
        coco = _generator(sam, output_mode="coco_rle").generate(image)
        assert len(plain) == len(binary) == len(coco) > 0
        for p, b, c in zip(plain, binary, coco, strict=True):
            mask: Any = b["segmentation"]
            compressed: Any = c["segmentation"]
            assert mask.dtype == bool
            np.testing.assert_array_equal(mask, _mask(p))
            assert coco_decode_rle(compressed) == p["segmentation"]
            assert area_from_rle(p["segmentation"]) == mask.sum()  # type: ignore[arg-type]
            assert {**p, "segmentation": None} == {**b, "segmentation": None}
        assert json.dumps(coco)  # plain Python numbers throughout

    def test_same_whatever_the_batch(self, sam: Sam, image: NDArray[np.uint8]) -> None:
        one, other = (_generator(sam, points_per_batch=batch).generate(image) for batch in (4, 25))
        assert [record["bbox"] for record in one] == [record["bbox"] for record in other]
        assert one == _generator(sam, points_per_batch=4).generate(image)

    @pytest.mark.parametrize("layers", [0, 1])
    def test_nothing_good_enough(self, sam: Sam, image: NDArray[np.uint8], layers: int) -> None:
        generator = _generator(
            sam, pred_iou_thresh=100.0, crop_n_layers=layers, min_mask_region_area=5
        )
        assert generator.generate(image) == []

    def test_all_filters_off(self, sam: Sam, image: NDArray[np.uint8]) -> None:
        generator = _generator(sam, pred_iou_thresh=0, stability_score_thresh=0, box_nms_thresh=1.0)
        assert len(generator.generate(image)) == 5 * 5 * 3

    @pytest.mark.parametrize("shape", [(1, 1, 3), (1, 40, 3), (3, 2, 3)])
    def test_tiny_images(self, sam: Sam, shape: tuple[int, int, int]) -> None:
        records = _generator(sam, points_per_side=2, crop_n_layers=2).generate(
            np.full(shape, 7, np.uint8)
        )
        assert all(_mask(record).shape == shape[:2] for record in records)

    def test_own_points(self, sam: Sam, image: NDArray[np.uint8]) -> None:
        grid = np.array([[0.5, 0.25]])
        records = _generator(sam, points_per_side=None, point_grids=[grid]).generate(image)
        assert records
        assert all(record["point_coords"] == [[54.0, 18.0]] for record in records)

    def test_full_size_masks_are_not_made_of_all(
        self, sam: Sam, image: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        expected = _generator(sam).generate(image)
        monkeypatch.delattr(Sam, "postprocess_masks")
        assert _generator(sam).generate(image) == expected


class TestProgress:
    def test_counts_points(self, sam: Sam, image: NDArray[np.uint8]) -> None:
        seen: list[tuple[int, int]] = []
        generator = _generator(sam, points_per_side=4, crop_n_layers=1)
        generator.generate(image, progress=lambda done, total: seen.append((done, total)))
        assert seen[:3] == [(7, 80), (14, 80), (16, 80)]
        assert seen[-1] == (80, 80)

    def test_can_cancel(self, sam: Sam, image: NDArray[np.uint8]) -> None:
        def cancel(done: int, total: int) -> None:
            if done >= 14:
                raise KeyboardInterrupt

        generator = _generator(sam)
        expected = generator.generate(image)
        with pytest.raises(KeyboardInterrupt):
            generator.generate(image, progress=cancel)
        assert generator.generate(image) == expected


class TestArguments:
    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"points_per_side": None}, "exactly one of points_per_side and point_grids"),
            ({"point_grids": [build_point_grid(2)]}, "exactly one of"),
            ({"output_mode": "png"}, "output_mode must be one of .*, not 'png'"),
            ({"points_per_side": 0}, "points_per_side must be at least 1, not 0"),
            ({"points_per_batch": 0}, "points_per_batch must be at least 1"),
            ({"crop_n_layers": -1}, "crop_n_layers must be at least 0"),
            ({"stability_score_offset": -1}, "stability_score_offset must be at least 0"),
            (
                {"points_per_side": None, "point_grids": [build_point_grid(2)], "crop_n_layers": 1},
                "one per crop layer, 2 in all, not 1",
            ),
            (
                {"points_per_side": None, "point_grids": [np.zeros((2, 3))]},
                r"\(n, 2\) array .* not of shape \(2, 3\)",
            ),
        ],
    )
    def test_contradictions(self, sam: Sam, changes: dict[str, Any], sentence: str) -> None:
        with pytest.raises(ValueError, match=sentence):
            _generator(sam, **changes)

    @pytest.mark.parametrize(
        "bad",
        [
            np.zeros((8, 8), np.uint8),
            np.zeros((8, 8, 4), np.uint8),
            np.zeros((8, 8, 3), np.float32),
            np.zeros((0, 8, 3), np.uint8),
            "image.png",
        ],
    )
    def test_images(self, sam: Sam, bad: Any) -> None:
        with pytest.raises(ValueError, match=r"must be a \(height, width, 3\) uint8 RGB array"):
            _generator(sam).generate(bad)


def _mask(record: MaskRecord) -> NDArray[np.bool_]:
    return rle_to_mask(record["segmentation"])  # type: ignore[arg-type]


def _smallest_region(ndimage: Any, record: MaskRecord) -> int:
    mask = _mask(record)
    sizes = []
    for part in (mask, ~mask):
        labels, n = ndimage.label(part, structure=np.ones((3, 3)))
        sizes += np.bincount(labels.ravel(), minlength=n + 1)[1:].tolist()
    return int(min(sizes))
