"""Settings for people who name none: usable with every model, and more for more data."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from training_toys import TINY, tiny_sam

from napari_sam.errors import InputError
from napari_sam.finetune.settings import settings_from_dict
from napari_sam.finetune.suggestions import suggested, suggested_settings
from src_model import Variant
from src_model.training.config import TrainingConfig
from src_model.training.trainer import check_config
from src_model.variants import VARIANTS
from src_model.weight_files import save_checkpoint


@pytest.mark.parametrize("variant", [*VARIANTS.values(), TINY, None])
@pytest.mark.parametrize("method", ["decoder", "lora", "full", "mae"])
@pytest.mark.parametrize(("pictures", "objects"), [(1, 1), (10, 300), (500, 20_000)])
def test_they_can_be_used(
    method: str, variant: Variant | None, pictures: int, objects: int
) -> None:
    values = suggested_settings(method, variant, pictures, objects)
    settings = settings_from_dict({"images": "somewhere", "method": method, **values})
    if method == "mae":
        settings_from_dict({"images": "x", "pretraining_images": "y", "pretraining": values})
    if variant is not None and isinstance(settings.training, TrainingConfig):
        check_config(settings.training, SimpleNamespace(variant=variant))  # type: ignore[arg-type]


def test_more_pictures_get_more_steps() -> None:
    def steps(pictures: int) -> Any:
        return suggested_settings("full", None, pictures, 10 * pictures)["steps"]

    assert steps(1) < steps(10) < steps(100) <= steps(100_000)


def test_the_model_is_looked_at(tmp_path: Path) -> None:
    dataset: Any = SimpleNamespace(part=lambda name: [0] * 10, objects=lambda name: 200)
    assert suggested("full", dataset)["window"] == 512
    save_checkpoint(tiny_sam(), tmp_path / "own.safetensors")  # a frame of 128 pixels
    assert "window" not in suggested("full", dataset, str(tmp_path / "own.safetensors"))
    assert suggested("full", dataset, "vit_b")["checkpointing"]
    with pytest.raises(InputError, match="no suggestions"):
        suggested("distill", dataset)
